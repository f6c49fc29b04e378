//! `SHOW CLUSTER SETTING` and `SET CLUSTER SETTING`: which settings exist, of which type, with which default.
//!
//! Does not own: where a changed value is kept (`schema/jobs.sql`).

use crate::cursor::Cursor;
use crate::failure::Failure;
use crate::lex::{identifier, literal};

/// Name, type in PostgreSQL, default.
const SETTINGS: &[(&str, &str, &str)] = &[
    ("changefeed.aggregator.heartbeat", "interval", "4s"),
    ("changefeed.event_consumer_workers", "int8", "0"),
    ("changefeed.memory.per_changefeed_limit", "text", "512 MiB"),
    ("changefeed.permissions.require_external_connection_sink.enabled", "bool", "false"),
    ("changefeed.protect_timestamp.lag", "interval", "10m"),
    ("changefeed.protect_timestamp.max_age", "interval", "96h"),
    ("changefeed.protect_timestamp_interval", "interval", "10m"),
    ("changefeed.sink_io_workers", "int8", "0"),
    ("changefeed.span_checkpoint.interval", "interval", "10m"),
    ("feature.changefeed.enabled", "bool", "true"),
    ("kv.rangefeed.enabled", "bool", "false"),
];

/// The cursor stands behind `SHOW CLUSTER SETTING`.
pub(crate) fn show(cursor: &mut Cursor<'_>) -> Result<String, Failure> {
    let name = cursor.name()?.join(".");
    cursor.expect_end()?;
    let Some((name, kind, default)) = SETTINGS.iter().find(|setting| setting.0 == name) else {
        return Err(Failure::uncategorized(format!("unknown setting: {name:?}")));
    };
    Ok(format!(
        "SELECT crdb_internal.show_cluster_setting({}, {})::{kind} AS {}",
        literal(name),
        literal(default),
        identifier(name)
    ))
}

/// The cursor stands behind `SET CLUSTER SETTING`.
pub(crate) fn set(cursor: &mut Cursor<'_>) -> Result<String, Failure> {
    let name = cursor.name()?.join(".");
    if !cursor.accept_symbol('=') {
        cursor.expect(&["TO"])?;
    }
    let is_default = cursor.accept(&["DEFAULT"]);
    let value = if is_default { None } else { Some(cursor.value()?) };
    cursor.expect_end()?;
    let Some((name, kind, _)) = SETTINGS.iter().find(|setting| setting.0 == name) else {
        return Err(Failure::uncategorized(format!("unknown cluster setting '{name}'")));
    };
    // The cast refuses a value of the wrong type when the statement runs.
    let value = value.map_or("NULL".to_owned(), |value| format!("({}::{kind})::text", literal(&value)));
    Ok(format!("CALL crdb_internal.set_cluster_setting({}, {value})", literal(name)))
}

#[cfg(test)]
mod tests {
    use crate::rewrite::rewrite;
    use crate::version::Version;

    fn check(sql: &str, expected: &str) {
        assert_eq!(rewrite(sql, &Version::parse("25.2.1").unwrap()).unwrap(), expected);
    }

    #[test]
    fn settings_are_shown_under_their_name_and_set_by_type() {
        check(
            "SHOW CLUSTER SETTING kv.rangefeed.enabled",
            "SELECT crdb_internal.show_cluster_setting('kv.rangefeed.enabled', 'false')::bool AS \"kv.rangefeed.enabled\"",
        );
        check(
            "SET CLUSTER SETTING kv.rangefeed.enabled = true",
            "CALL crdb_internal.set_cluster_setting('kv.rangefeed.enabled', ('true'::bool)::text)",
        );
        check("SHOW CLUSTER SETTING a.b", "SELECT crdb_internal.fail('XXUUU', 'unknown setting: \"a.b\"', '')");
    }
}
