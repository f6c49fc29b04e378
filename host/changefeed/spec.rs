//! The text of CREATE CHANGEFEED and ALTER CHANGEFEED.
//!
//! Owns: quoting and the sink's URL. Does not own: which options and tables. Pure. The text holds keys and tokens, so it
//! is a [`Secret`]; a second text without them is for people.

use ebb_sdk::{Secret, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::{Changefeed, STAGING_PARAMETER};
use crate::source::{Release, identifier, own_options};

/// Characters of a path segment that stand as they are.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Says what happens once, at the beginning.
const INITIAL_SCAN: &str = "initial_scan";

/// What a changefeed is to be.
pub struct ChangefeedSpec<'a> {
    pub settings: &'a Changefeed,
    /// Schema and name at the source.
    pub tables: Vec<(String, String)>,
    /// The segments of the sink's path.
    pub path: &'a [String],
    /// Which staging folder it delivers to; see [`STAGING_PARAMETER`].
    pub staging: &'a str,
    pub cursor: Timestamp,
    /// `None` leaves the option of the settings; a changefeed that goes on never scans again.
    pub initial_scan: Option<&'static str>,
    /// Of the source; decides which options it takes.
    pub release: Option<Release>,
}

impl ChangefeedSpec<'_> {
    pub fn sql(&self) -> Secret {
        Secret::new(self.text(|secret| secret.reveal().to_owned()))
    }

    /// For logs and questions: every value that may be a secret is masked.
    pub fn shown(&self) -> String {
        self.text(ToString::to_string)
    }

    /// ALTER CHANGEFEED with everything of it that may be altered.
    pub fn alteration(&self, job: i64, dropped: &[&str]) -> Secret {
        let url = self.url(|secret| secret.reveal().to_owned());
        let mut set = vec![format!("sink = {}", literal(&url))];
        for (name, value) in self.settings.options.iter().filter(|(name, _)| name != INITIAL_SCAN) {
            set.push(format!("{name} = {}", literal(value.reveal())));
        }
        set.extend(self.own_options().map(str::to_owned));
        let unset = if dropped.is_empty() { String::new() } else { format!(" UNSET {}", dropped.join(", ")) };
        Secret::new(format!("ALTER CHANGEFEED {job} SET {}{unset}", set.join(", ")))
    }

    /// The names of the options that may be altered.
    pub fn options(&self) -> impl Iterator<Item = String> {
        let settings = self.settings.options.iter().map(|(name, _)| name.clone()).filter(|name| name != INITIAL_SCAN);
        settings.chain(self.own_options().map(str::to_owned))
    }

    fn own_options(&self) -> impl Iterator<Item = &'static str> {
        own_options(self.release)
    }

    /// Each table in full, with quotes where they are needed.
    pub fn identifiers(&self) -> impl Iterator<Item = String> {
        self.tables.iter().map(|(schema, name)| format!("{}.{}", identifier(schema), identifier(name)))
    }

    /// The tables as the statement lists them: sorted, and with their schema where it says more.
    pub fn table_list(&self) -> String {
        let mut names: Vec<String> = self.tables.iter().map(|(schema, name)| self.table(schema, name)).collect();
        names.sort();
        names.join(", ")
    }

    /// Masks what a message of the source may repeat from the statement.
    pub fn redacted(&self, message: &str) -> String {
        let query = self.settings.sink_query_parameters.reveal();
        let values = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| value);
        let options = self.settings.options.iter().filter(|(name, _)| is_secret(name));
        let secrets = options.map(|(_, value)| value.reveal()).chain([query]).chain(values);
        let hides = |secret: &&str| !matches!(*secret, "" | "true" | "false");
        secrets.filter(hides).fold(message.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    fn text(&self, reveal: impl Fn(&Secret) -> String) -> String {
        let url = self.url(&reveal);
        let mut options = vec!["updated".to_owned()];
        for (name, value) in &self.settings.options {
            let scan = self.initial_scan.filter(|_| name == INITIAL_SCAN).map(str::to_owned);
            let value = match scan {
                Some(scan) => scan,
                None if is_secret(name) => reveal(value),
                None => value.reveal().to_owned(),
            };
            options.push(format!("{name} = {}", literal(&value)));
        }
        // Without a cursor the feed would begin at the time of the statement, and everything before would be missing.
        let behind_scan = options.iter().position(|option| option.starts_with("initial_scan ")).map_or(1, |at| at + 1);
        options.insert(behind_scan, format!("cursor = {}", literal(&self.cursor.to_string())));
        options.extend(self.own_options().map(str::to_owned));
        if self.qualified() {
            options.push("full_table_name".into());
        }
        let (tables, url, options) = (self.table_list(), literal(&url), options.join(", "));
        format!("CREATE CHANGEFEED FOR TABLE {tables} INTO {url} WITH {options}")
    }

    fn url(&self, reveal: impl Fn(&Secret) -> String) -> String {
        let query = &self.settings.sink_query_parameters;
        let given = if query.reveal().is_empty() { String::new() } else { format!("{}&", reveal(query)) };
        format!("{}?{given}{STAGING_PARAMETER}={}", self.sink_address(), self.staging)
    }

    /// The sink's URL without its query: what tells one changefeed's receiver from another's.
    pub(super) fn sink_address(&self) -> String {
        sink_address(&self.settings.host, self.settings.port, self.path)
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

/// Where a changefeed sends that has this path, without the query of its sink.
pub fn sink_address(host: &str, port: u16, path: &[String]) -> String {
    let path: Vec<_> = path.iter().map(|segment| utf8_percent_encode(segment, SEGMENT).to_string()).collect();
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    format!("webhook-https://{host}:{port}/{}", path.join("/"))
}

fn is_secret(option: &str) -> bool {
    matches!(option, "webhook_auth_header" | "extra_headers")
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{InitialScan, NewTables, OnExit};

    fn settings() -> Changefeed {
        let option = |name: &str, value: &str| (name.to_owned(), Secret::new(value));
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
            cursor: None,
            new_tables: NewTables::Refuse,
            initial_scan: InitialScan::No,
            on_exit: OnExit::Leave,
        }
    }

    fn spec<'a>(settings: &'a Changefeed, path: &'a [String], tables: &[(&str, &str)]) -> ChangefeedSpec<'a> {
        let tables = tables.iter().map(|(schema, name)| ((*schema).to_owned(), (*name).to_owned())).collect();
        let cursor = Timestamp { wall: 17, logical: 2 };
        ChangefeedSpec { settings, tables, path, staging: "7a", cursor, initial_scan: None, release: None }
    }

    #[test]
    fn the_statement_is_that_of_the_documents() {
        let (settings, path) = (settings(), ["molt".to_owned(), "public".to_owned()]);
        let spec = spec(&settings, &path, &[("public", "payments"), ("public", "employees")]);
        assert_eq!(
            spec.sql().reveal(),
            "CREATE CHANGEFEED FOR TABLE employees, payments INTO \
             'webhook-https://localhost:30004/molt/public?client_cert=geheim&ca_cert=y&ebb_staging=7a' WITH updated, \
             resolved = '1s', min_checkpoint_frequency = '1s', initial_scan = 'no', cursor = '17.0000000002', \
             webhook_client_timeout = '10s', webhook_sink_config = '{\"Flush\":{\"Bytes\":1048576,\"Frequency\":\"1s\"}}'"
        );
        assert!(!spec.shown().contains("geheim"), "{}", spec.shown());
    }

    #[test]
    fn names_are_quoted_where_they_must_be() {
        let (settings, path) = (settings(), ["My db".to_owned()]);
        let text = |tables: &[(&str, &str)]| spec(&settings, &path, tables).sql().reveal().to_owned();
        let of_release = |release| ChangefeedSpec { release: Some(release), ..spec(&settings, &path, &[("s", "t")]) };
        assert!(!of_release((23, 2, 9)).sql().reveal().contains("ignore_disable"));
        let options = "ignore_disable_changefeed_replication, encode_json_value_null_as_object";
        assert!(of_release((25, 1, 0)).sql().reveal().ends_with(options));
        let altered = of_release((24, 1, 3)).alteration(7, &[]);
        assert!(altered.reveal().ends_with(", ignore_disable_changefeed_replication"));
        let sql = text(&[("public", "order"), ("public", "My \"T\"")]);
        assert!(sql.contains("FOR TABLE \"My \"\"T\"\"\", \"order\" INTO"), "{sql}");
        assert!(sql.contains("localhost:30004/My%20db?"), "{sql}");
        let sql = text(&[("public", "a"), ("s", "a")]);
        assert!(sql.contains("FOR TABLE public.a, s.a INTO") && sql.ends_with(", full_table_name"), "{sql}");
        assert!(text(&[("s", "a")]).contains("FOR TABLE s.a INTO"));
    }

    #[test]
    fn an_address_of_ipv6_stands_in_brackets() {
        assert_eq!(sink_address("::1", 30004, &["molt".into()]), "webhook-https://[::1]:30004/molt");
    }

    #[test]
    fn what_the_source_repeats_is_masked() {
        let mut settings = settings();
        settings.sink_query_parameters = Secret::new("insecure_tls_skip_verify=true&client_key=geheim");
        settings.options.push(("webhook_auth_header".into(), Secret::new("Bearer geheimer")));
        let path = ["molt".to_owned()];
        let spec = spec(&settings, &path, &[("public", "a")]);
        let check = |message: &str, expected: &str| assert_eq!(spec.redacted(message), expected);
        check("true: param client_key geheim is not base 64", "true: param client_key *** is not base 64");
        check("header Bearer geheimer", "header ***");
        let repeated = spec.redacted(spec.sql().reveal());
        assert!(!repeated.contains("geheim") && repeated.contains("localhost:30004/molt?***"), "{repeated}");
    }
}
