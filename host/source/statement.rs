//! The text of CREATE CHANGEFEED.
//!
//! Owns: quoting and the sink's URL. Does not own: which options and tables. Pure. The text holds keys and tokens, so it
//! is a [`Secret`]; a second text without them is for people.

use ebb_sdk::{Secret, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::Changefeed;

/// Characters of a path segment that stand as they are.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What a changefeed is to be.
pub struct Statement<'a> {
    pub settings: &'a Changefeed,
    /// Schema and name at the source.
    pub tables: Vec<(String, String)>,
    /// The segments of the sink's path.
    pub path: &'a [String],
    pub cursor: Timestamp,
    /// `None` leaves the option of the settings; a changefeed that goes on never scans again.
    pub initial_scan: Option<&'static str>,
}

impl Statement<'_> {
    pub fn sql(&self) -> Secret {
        Secret::new(self.text(|secret| secret.reveal().to_owned()))
    }

    /// For logs and questions: every value that may be a secret is masked.
    pub fn shown(&self) -> String {
        self.text(ToString::to_string)
    }

    fn text(&self, reveal: impl Fn(&Secret) -> String) -> String {
        let mut names: Vec<String> = self.tables.iter().map(|(schema, name)| self.table(schema, name)).collect();
        names.sort();
        let mut url = sink_address(self.settings, self.path);
        let query = &self.settings.sink_query_parameters;
        if !query.reveal().is_empty() {
            url.push_str(&format!("?{}", reveal(query)));
        }
        let mut options = vec!["updated".to_owned()];
        for (name, value) in &self.settings.options {
            let scan = self.initial_scan.filter(|_| name == "initial_scan").map(str::to_owned);
            options.push(match (scan, value) {
                (Some(scan), _) => format!("{name} = {}", literal(&scan)),
                (None, Some(value)) if is_secret(name) => format!("{name} = {}", literal(&reveal(value))),
                (None, Some(value)) => format!("{name} = {}", literal(value.reveal())),
                (None, None) => name.clone(),
            });
            if name == "initial_scan" {
                options.push(format!("cursor = {}", literal(&self.cursor.to_string())));
            }
        }
        if self.qualified() {
            options.push("full_table_name".into());
        }
        format!("CREATE CHANGEFEED FOR TABLE {} INTO {} WITH {}", names.join(", "), literal(&url), options.join(", "))
    }

    /// Whether topics must say the schema.
    pub fn qualified(&self) -> bool {
        let mut schemas = self.tables.iter().map(|(schema, _)| schema);
        let first = schemas.next();
        schemas.any(|schema| Some(schema) != first)
    }

    fn table(&self, schema: &str, name: &str) -> String {
        match !self.qualified() && schema == "public" {
            true => identifier(name),
            false => format!("{}.{}", identifier(schema), identifier(name)),
        }
    }
}

/// The sink's URL without its query: what tells one changefeed's receiver from another's.
pub fn sink_address(settings: &Changefeed, path: &[String]) -> String {
    let path: Vec<_> = path.iter().map(|segment| utf8_percent_encode(segment, SEGMENT).to_string()).collect();
    format!("webhook-https://{}:{}/{}", settings.host, settings.port, path.join("/"))
}

fn is_secret(option: &str) -> bool {
    matches!(option, "webhook_auth_header" | "extra_headers")
}

/// Quoted only where it must be, so that the statement reads as the documents show it.
fn identifier(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|other| other.is_ascii_lowercase() || other.is_ascii_digit() || other == '_')
        && !RESERVED.contains(&name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Words that CockroachDB takes for its own where a table's name stands
/// (<https://www.cockroachlabs.com/docs/stable/keywords-and-identifiers>, reserved keywords).
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "concurrently",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "family",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "index",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "nothing",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "view",
    "when",
    "where",
    "window",
    "with",
    "work",
];

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{InitialScan, OnExit};

    fn settings() -> Changefeed {
        let option = |name: &str, value: &str| (name.to_owned(), Some(Secret::new(value)));
        Changefeed {
            table_filter: regex::Regex::new(".*").unwrap(),
            table_exclusion_filter: None,
            schema_filter: regex::Regex::new(".*").unwrap(),
            host: "localhost".into(),
            port: 30004,
            sink_query_parameters: Secret::new("client_cert=geheim&ca_cert=y"),
            options: vec![
                option("resolved", "1s"),
                option("min_checkpoint_frequency", "1s"),
                option("initial_scan", "no"),
                option("webhook_client_timeout", "10s"),
                option("webhook_sink_config", "{\"Flush\":{\"Bytes\":1048576,\"Frequency\":\"1s\"}}"),
            ],
            initial_scan: InitialScan::No,
            on_exit: OnExit::Leave,
        }
    }

    fn statement<'a>(settings: &'a Changefeed, path: &'a [String], tables: &[(&str, &str)]) -> Statement<'a> {
        let tables = tables.iter().map(|(schema, name)| ((*schema).to_owned(), (*name).to_owned())).collect();
        Statement { settings, tables, path, cursor: Timestamp { wall: 17, logical: 2 }, initial_scan: None }
    }

    #[test]
    fn the_statement_is_that_of_the_documents() {
        let (settings, path) = (settings(), ["molt".to_owned(), "public".to_owned()]);
        let statement = statement(&settings, &path, &[("public", "payments"), ("public", "employees")]);
        assert_eq!(
            statement.sql().reveal(),
            "CREATE CHANGEFEED FOR TABLE employees, payments INTO \
             'webhook-https://localhost:30004/molt/public?client_cert=geheim&ca_cert=y' WITH updated, resolved = '1s', \
             min_checkpoint_frequency = '1s', initial_scan = 'no', cursor = '17.0000000002', \
             webhook_client_timeout = '10s', webhook_sink_config = '{\"Flush\":{\"Bytes\":1048576,\"Frequency\":\"1s\"}}'"
        );
        assert!(!statement.shown().contains("geheim"), "{}", statement.shown());
    }

    #[test]
    fn names_are_quoted_where_they_must_be() {
        let (settings, path) = (settings(), ["My db".to_owned()]);
        let text = |tables: &[(&str, &str)]| statement(&settings, &path, tables).sql().reveal().to_owned();
        let sql = text(&[("public", "order"), ("public", "My \"T\"")]);
        assert!(sql.contains("FOR TABLE \"My \"\"T\"\"\", \"order\" INTO"), "{sql}");
        assert!(sql.contains("localhost:30004/My%20db?"), "{sql}");
        let sql = text(&[("public", "a"), ("s", "a")]);
        assert!(sql.contains("FOR TABLE public.a, s.a INTO") && sql.ends_with(", full_table_name"), "{sql}");
        assert!(text(&[("s", "a")]).contains("FOR TABLE s.a INTO"));
    }
}
