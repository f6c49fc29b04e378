//! `ALTER CHANGEFEED`: its grammar, and which options it may change.
//!
//! Does not own: that the job is paused, and the change itself (`schema/alter.sql`).

use serde_json::{Value, json};

use crate::address::{self, Address};
use crate::cursor::Cursor;
use crate::failure::Failure;
use crate::lex::literal;
use crate::options::{self, WrittenOptions};
use crate::tls;
use crate::version::Version;

const SINK: &str = "sink";
/// The only scheme that a feed of the stand-in has.
const SCHEME: &str = "webhook-https";
/// Options that stay what they were. That `full_table_name` is refused in the words of the others is from memory.
const FIXED: [&str; 6] =
    ["cursor", "end_time", "full_table_name", "initial_scan", "initial_scan_only", "no_initial_scan"];

/// What the clauses come to, the later ones above the earlier.
#[derive(Default)]
struct Changes {
    set: WrittenOptions,
    unset: Vec<String>,
    sink: Option<String>,
}

/// The cursor stands behind `ALTER CHANGEFEED`.
pub(crate) fn rewrite(cursor: &mut Cursor<'_>, version: &Version) -> Result<String, Failure> {
    let id = cursor.next().ok_or_else(|| Failure::syntax("EOF"))?.text;
    let changes = parse(cursor)?;
    options::check_names(&changes.set, version)?;
    // CockroachDB looks at the job before it looks at these.
    let late_error = check_late(&changes, version).err();
    let Changes { set, unset, sink } = changes;
    let mut spec = json!({ "set": set, "unset": unset, "sink": {} });
    if let Some(sink) = sink {
        spec["sink"] = json!({ "sink": sink, "sink_redacted": address::redacted(&sink) });
    }
    if let Some(Failure { code, message, hint }) = late_error {
        spec["late_error"] = json!({ "code": code, "message": message, "hint": hint });
    }
    let spec = literal(&Value::to_string(&spec));
    Ok(format!("SELECT job_id, job_description FROM crdb_internal.alter_changefeed({id}, {spec}::jsonb)"))
}

fn parse(cursor: &mut Cursor<'_>) -> Result<Changes, Failure> {
    let mut changes = Changes::default();
    loop {
        if cursor.accept(&["SET"]) {
            parse_set(cursor, &mut changes)?;
        } else if cursor.accept(&["UNSET"]) {
            parse_unset(cursor, &mut changes)?;
        } else if cursor.accept(&["ADD"]) || cursor.accept(&["DROP"]) {
            return Err(Failure::unsupported("ALTER CHANGEFEED with ADD or DROP"));
        } else {
            return Err(cursor.unexpected());
        }
        if cursor.is_at_end() {
            return Ok(changes);
        }
    }
}

fn parse_set(cursor: &mut Cursor<'_>, changes: &mut Changes) -> Result<(), Failure> {
    loop {
        let name = name(cursor)?;
        let value = if cursor.accept_symbol('=') { Some(cursor.value()?) } else { None };
        changes.unset.retain(|unset| *unset != name);
        match (name.as_str(), value) {
            (SINK, Some(value)) => changes.sink = Some(value),
            (SINK, None) => return Err(Failure::invalid(format!("option {name:?} requires a value"))),
            (_, value) => drop(changes.set.insert(name, value)),
        }
        if !cursor.accept_symbol(',') {
            return Ok(());
        }
    }
}

fn parse_unset(cursor: &mut Cursor<'_>, changes: &mut Changes) -> Result<(), Failure> {
    loop {
        let name = name(cursor)?;
        changes.set.remove(&name);
        changes.unset.push(name);
        if !cursor.accept_symbol(',') {
            return Ok(());
        }
    }
}

fn name(cursor: &mut Cursor<'_>) -> Result<String, Failure> {
    let token = cursor.next().ok_or_else(|| Failure::syntax("EOF"))?;
    token.name().or_else(|| token.string()).ok_or_else(|| Failure::syntax(token.text))
}

fn check_late(changes: &Changes, version: &Version) -> Result<(), Failure> {
    let Changes { set, unset, sink } = changes;
    for name in unset {
        if name == SINK {
            return Err(Failure::invalid(format!("cannot unset option {name:?}")));
        } else if !options::is_known(name, version) {
            return Err(Failure::invalid(format!("invalid option {name:?}")));
        }
    }
    if let Some(fixed) = set.keys().chain(unset).find(|name| FIXED.contains(&name.as_str())) {
        return Err(Failure::invalid(format!("cannot alter option {fixed:?}")));
    }
    options::check(set, version)?;
    let Some(sink) = sink else { return Ok(()) };
    let scheme = sink.split_once("://").map_or("", |(scheme, _)| scheme);
    if scheme != SCHEME {
        return Err(Failure::invalid(format!(
            "New sink type {scheme:?} does not match original sink type {SCHEME:?}. Altering the sink type of a \
             changefeed is disallowed, consider creating a new changefeed instead."
        )));
    }
    tls::client_config(&Address::parse(sink)?).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lex;

    fn changes(sql: &str) -> Result<Changes, Failure> {
        parse(&mut Cursor::new(&lex::tokens(sql)))
    }

    #[test]
    fn later_clauses_stand_above_earlier_ones() {
        let found = changes("SET a = '1', b UNSET a, c SET c = 2, sink = 'x://y'").unwrap();
        assert_eq!(found.set, WrittenOptions::from([("b".to_owned(), None), ("c".to_owned(), Some("2".to_owned()))]));
        assert_eq!((found.unset, found.sink.as_deref()), (vec!["a".to_owned()], Some("x://y")));
    }

    #[test]
    fn what_is_no_change_is_refused() {
        let refusal = |sql: &str| changes(sql).err().unwrap().message;
        assert_eq!(refusal(""), "at or near \"EOF\": syntax error");
        assert_eq!(refusal("SET a = '1' b"), "at or near \"b\": syntax error");
        assert_eq!(refusal("SET sink"), "option \"sink\" requires a value");
        assert_eq!(refusal("ADD t"), "stand-in: not supported: ALTER CHANGEFEED with ADD or DROP");
    }
}
