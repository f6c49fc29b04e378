//! Variables of a session that only CockroachDB has, kept as PostgreSQL's custom ones: `SET` and `SHOW` of them.
//!
//! Does not own: what a variable changes (`schema/retention.sql`), and settings of the cluster (`settings`).

use crate::cursor::Cursor;
use crate::failure::Failure;
use crate::lex::{identifier, literal};
use crate::version::Version;

/// Name, default, values, and the release that brings it.
type Variable = (&'static str, &'static str, &'static [&'static str], (u32, u32));

const VARIABLES: [Variable; 2] = [
    ("allow_unsafe_internals", "off", &["on", "off"], (26, 1)),
    ("default_transaction_quality_of_service", "regular", &["background", "regular", "critical"], (0, 0)),
];

/// None for every variable of PostgreSQL. The cursor stands behind `SET`.
pub(crate) fn set(mut cursor: Cursor<'_>, version: &Version) -> Option<Result<String, Failure>> {
    let is_local = cursor.accept(&["LOCAL"]);
    let _ = is_local || cursor.accept(&["SESSION"]);
    let variable = find(&mut cursor)?;
    Some(set_variable(variable, if is_local { "LOCAL " } else { "" }, cursor, version))
}

fn set_variable(
    variable: &Variable,
    scope: &str,
    mut cursor: Cursor<'_>,
    version: &Version,
) -> Result<String, Failure> {
    let (name, default, values, _) = variable;
    check(variable, version)?;
    if !cursor.accept_symbol('=') {
        cursor.expect(&["TO"])?;
    }
    let is_default = cursor.accept(&["DEFAULT"]);
    let value = if is_default { (*default).to_owned() } else { cursor.value()? };
    cursor.expect_end()?;
    let value = match value.to_lowercase().as_str() {
        "true" => "on".to_owned(),
        "false" => "off".to_owned(),
        lower => lower.to_owned(),
    };
    if !values.contains(&value.as_str()) {
        // The real one has a hint too.
        return Err(Failure::invalid(format!("invalid value for parameter {name:?}: {value:?}")));
    }
    Ok(format!("SET {scope}crdb.{name} = {}", literal(&value)))
}

/// The cursor stands behind `SHOW`.
pub(crate) fn show(mut cursor: Cursor<'_>, version: &Version) -> Option<Result<String, Failure>> {
    let variable = find(&mut cursor).filter(|_| cursor.is_at_end())?;
    let (name, default, ..) = variable;
    let value = format!("coalesce(nullif(current_setting('crdb.{name}', true), ''), {})", literal(default));
    Some(check(variable, version).map(|()| format!("SELECT {value} AS {}", identifier(name))))
}

fn find(cursor: &mut Cursor<'_>) -> Option<&'static Variable> {
    let name = cursor.name().ok()?;
    VARIABLES.iter().find(|variable| name == [variable.0])
}

fn check((name, _, _, (major, minor)): &Variable, version: &Version) -> Result<(), Failure> {
    if version.is_at_least(*major, *minor) {
        return Ok(());
    }
    Err(Failure::new("42704", format!("unrecognized configuration parameter {name:?}")))
}

#[cfg(test)]
mod tests {
    use crate::rewrite::rewrite;
    use crate::version::Version;

    fn check(version: &str, sql: &str, expected: &str) {
        let found = rewrite(sql, &Version::parse(version).unwrap());
        assert_eq!(found.as_deref().unwrap_or(sql), expected);
    }

    #[test]
    fn variables_are_custom_ones_of_postgresql() {
        for sql in ["SET TimeZone = 'UTC'", "SET extra_float_digits = 0", "SET SESSION statement_timeout = '5s'"] {
            check("25.2.1", sql, sql);
        }
        check(
            "25.2.1",
            "SET default_transaction_quality_of_service = background",
            "SET crdb.default_transaction_quality_of_service = 'background'",
        );
        check("26.1.0", "set local allow_unsafe_internals to true", "SET LOCAL crdb.allow_unsafe_internals = 'on'");
        check(
            "26.1.0",
            "SHOW allow_unsafe_internals",
            "SELECT coalesce(nullif(current_setting('crdb.allow_unsafe_internals', true), ''), 'off') \
             AS \"allow_unsafe_internals\"",
        );
        check(
            "25.4.1",
            "SET allow_unsafe_internals = on",
            "SELECT crdb_internal.fail('42704', 'unrecognized configuration parameter \"allow_unsafe_internals\"', '')",
        );
        check(
            "25.2.1",
            "SET default_transaction_quality_of_service = 'slow'",
            "SELECT crdb_internal.fail('22023', \
             'invalid value for parameter \"default_transaction_quality_of_service\": \"slow\"', '')",
        );
    }

    #[test]
    fn history_is_protected_from_24_1_on() {
        let sql = "SELECT crdb_internal.protect_mvcc_history(1.0, '1h', 'x')";
        check("24.1.0", sql, sql);
        check(
            "23.2.0",
            sql,
            "SELECT crdb_internal.fail('42883', 'unknown function: crdb_internal.protect_mvcc_history()', '')",
        );
    }
}
