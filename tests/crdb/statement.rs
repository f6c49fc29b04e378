//! `CREATE CHANGEFEED`: the statement's grammar, and what of it can be checked without looking at a table.
//!
//! Does not own: the meaning of options (`options`), the tables and the job (`schema/jobs.sql`).

use serde_json::{Value, json};

use crate::address::{self, Address};
use crate::cursor::Cursor;
use crate::failure::Failure;
use crate::lex::{Kind, Token, identifier, literal};
use crate::options::{self, Scan, WrittenOptions};
use crate::tls;
use crate::version::Version;

struct Statement {
    targets: Vec<Vec<String>>,
    sink: String,
    options: WrittenOptions,
}

/// The argument of `crdb_internal.create_changefeed`, or the error that comes before any table is looked at.
pub(crate) fn create_changefeed(tokens: &[Token<'_>], version: &Version) -> Result<Value, Failure> {
    let statement = parse(tokens)?;
    options::check_names(&statement.options, version)?;
    let scan = options::scan(&statement.options)?;
    let late_error = check_late(&statement, version).err();
    let mut spec = json!({
        "targets": statement.targets,
        "sink": statement.sink,
        "sink_redacted": address::redacted(&statement.sink),
        "options": statement.options,
        "scan": match scan { Scan::Yes => "yes", Scan::No => "no", Scan::Only => "only" },
        "description": describe(&statement),
        "notices": options::notices(&statement.options, version),
        "is_bare": version.has_bare_topics(),
        "series": version.series(),
    });
    if let Some(Failure { code, message, hint }) = late_error {
        spec["late_error"] = json!({ "code": code, "message": message, "hint": hint });
    }
    Ok(spec)
}

fn check_late(statement: &Statement, version: &Version) -> Result<(), Failure> {
    options::check(&statement.options, version)?;
    tls::client_config(&Address::parse(&statement.sink)?).map(drop)
}

fn parse(tokens: &[Token<'_>]) -> Result<Statement, Failure> {
    let mut cursor = Cursor::new(tokens);
    cursor.expect(&["CREATE", "CHANGEFEED"])?;
    if !cursor.accept(&["FOR"]) {
        return Err(Failure::unsupported("a changefeed of a query (CREATE CHANGEFEED … AS SELECT)"));
    }
    if cursor.accept(&["DATABASE"]) {
        return Err(Failure::unsupported("CREATE CHANGEFEED FOR DATABASE"));
    }
    let mut targets = Vec::new();
    loop {
        // Not a table of that name: `FOR TABLE, b` and `FOR TABLE INTO` keep it as a name.
        let mut ahead = cursor;
        if ahead.accept(&["TABLE"]) && ahead.peek().is_some_and(|token| token.name().is_some() && !token.is("INTO")) {
            cursor = ahead;
        }
        if cursor.peek().is_some_and(|token| token.is_any(&["INTO", "WITH"])) {
            return Err(cursor.unexpected());
        }
        targets.push(cursor.name()?);
        if cursor.accept(&["FAMILY"]) {
            return Err(Failure::unsupported("column families"));
        }
        if !cursor.accept_symbol(',') {
            break;
        }
    }
    let sink = parse_sink(&mut cursor)?;
    let options = if cursor.accept(&["WITH"]) { parse_options(&mut cursor)? } else { WrittenOptions::new() };
    cursor.expect_end()?;
    Ok(Statement { targets, sink, options })
}

fn parse_sink(cursor: &mut Cursor<'_>) -> Result<String, Failure> {
    if !cursor.accept(&["INTO"]) {
        return Err(Failure::unsupported("a changefeed without a sink"));
    }
    match cursor.peek().map(|token| token.kind) {
        Some(Kind::Parameter) => {
            Err(Failure::unsupported("placeholders in CREATE CHANGEFEED; write the values into the statement"))
        }
        Some(Kind::Text) => match cursor.value()? {
            sink if sink.is_empty() => Err(Failure::uncategorized("omit the SINK clause for inline results")),
            sink => Ok(sink),
        },
        _ => Err(cursor.unexpected()),
    }
}

fn parse_options(cursor: &mut Cursor<'_>) -> Result<WrittenOptions, Failure> {
    let mut ahead = *cursor;
    let is_list = ahead.accept(&["OPTIONS"]) && ahead.accept_symbol('(');
    if is_list {
        *cursor = ahead;
    }
    let mut options = WrittenOptions::new();
    loop {
        let token = cursor.next().ok_or_else(|| Failure::syntax("EOF"))?;
        let name = token.name().or_else(|| token.string()).ok_or_else(|| Failure::syntax(token.text))?;
        let value = if cursor.accept_symbol('=') { Some(cursor.value()?) } else { None };
        options.insert(name, value);
        if !cursor.accept_symbol(',') {
            break;
        }
    }
    if is_list {
        cursor.expect_symbol(')')?;
    }
    Ok(options)
}

/// As `SHOW CHANGEFEED JOBS` shows the statement: secrets hidden, options sorted by name.
fn describe(statement: &Statement) -> String {
    let targets: Vec<String> = statement.targets.iter().map(|parts| name(parts)).collect();
    let sink = literal(&address::redacted(&statement.sink));
    let mut text = format!("CREATE CHANGEFEED FOR TABLE {} INTO {sink}", targets.join(", "));
    let options = statement.options.iter().map(|(name, value)| match (name.as_str(), value) {
        ("webhook_auth_header", Some(_)) => format!("{name} = 'redacted'"),
        (_, Some(value)) => format!("{name} = {}", literal(value)),
        (_, None) => name.clone(),
    });
    let options: Vec<String> = options.collect();
    if !options.is_empty() {
        text.push_str(&format!(" WITH OPTIONS ({})", options.join(", ")));
    }
    text
}

fn name(parts: &[String]) -> String {
    let is_plain = |part: &str| part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let part = |part: &String| if is_plain(part) { part.clone() } else { identifier(part) };
    parts.iter().map(part).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lex;

    fn spec(sql: &str) -> Result<Value, Failure> {
        create_changefeed(&lex::tokens(sql), &Version::parse("25.2.1").unwrap())
    }

    #[test]
    fn both_forms_of_options_and_all_forms_of_names() {
        let bare = spec(
            r#"create changefeed for table a, TABLE public."B c", db.public.d into 'webhook-https://h:1/x'
               with updated, resolved='1s', envelope=wrapped, "diff""#,
        )
        .unwrap();
        assert_eq!(bare["targets"], json!([["a"], ["public", "B c"], ["db", "public", "d"]]));
        assert_eq!(bare["options"], json!({"diff": null, "envelope": "wrapped", "resolved": "1s", "updated": null}));
        assert_eq!(
            bare["description"],
            r#"CREATE CHANGEFEED FOR TABLE a, public."B c", db.public.d INTO 'webhook-https://h:1/x' WITH OPTIONS (diff, envelope = 'wrapped', resolved = '1s', updated)"#
        );
        let list =
            spec("CREATE CHANGEFEED FOR a INTO 'webhook-https://h' WITH OPTIONS (webhook_auth_header='Bearer x')")
                .unwrap();
        assert!(list["description"].as_str().unwrap().ends_with("WITH OPTIONS (webhook_auth_header = 'redacted')"));
        assert_eq!(list["scan"], "yes");
    }

    #[test]
    fn early_errors_stop_and_late_ones_wait_for_the_tables() {
        let refusal = |sql: &str| spec(sql).unwrap_err().message;
        assert_eq!(refusal("CREATE CHANGEFEED FOR a INTO ''"), "omit the SINK clause for inline results");
        assert_eq!(refusal("CREATE CHANGEFEED FOR a INTO 'x' WITH foo"), "invalid option \"foo\"");
        assert_eq!(refusal("CREATE CHANGEFEED FOR a, INTO 'x'"), "at or near \"INTO\": syntax error");
        assert!(refusal("CREATE CHANGEFEED FOR a INTO $1").contains("placeholders"));
        let late = spec("CREATE CHANGEFEED FOR a INTO 'webhook-http://h'").unwrap();
        assert_eq!(late["late_error"]["message"], "this sink requires webhook-https");
    }
}
