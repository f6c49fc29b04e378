//! Finds in a client's SQL what only CockroachDB knows, and puts in its place what PostgreSQL can run against the
//! schema `crdb_internal`. Everything else stays byte for byte as it was.
//!
//! Does not own: reads of the past (`as_of`), the grammar of CREATE CHANGEFEED (`statement`), of ALTER CHANGEFEED
//! (`alter`) and of SHOW (`show`), or any effect: a rewritten statement acts when PostgreSQL runs it, so that preparing
//! one does nothing.

use crate::alter;
use crate::as_of;
use crate::cursor::Cursor;
use crate::failure::Failure;
use crate::keys;
use crate::lex::{self, Token, identifier, literal};
use crate::row_json;
use crate::schema::SYSTEM_PRIVILEGES;
use crate::settings;
use crate::show;
use crate::slices;
use crate::statement;
use crate::transaction::Transaction;
use crate::variables;
use crate::version::Version;
use crate::zone;

/// A piece of the SQL text and what replaces it.
pub(crate) struct Edit {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) text: String,
}

/// Functions that PostgreSQL lacks or answers otherwise.
const FUNCTIONS: [&str; 3] = ["cluster_logical_timestamp", "unique_rowid", "version"];

/// Types by CockroachDB's names that PostgreSQL lacks.
const TYPES: [(&str, &str); 2] = [("STRING", "text"), ("BYTES", "bytea")];

#[cfg(test)]
pub(crate) fn rewrite(sql: &str, version: &Version) -> Option<String> {
    rewrite_in(&mut Transaction::default(), sql, version)
}

/// The statement that PostgreSQL is to get, if it is another.
pub(crate) fn rewrite_in(transaction: &mut Transaction, sql: &str, version: &Version) -> Option<String> {
    let tokens = lex::tokens(sql);
    let mut edits = Vec::new();
    for statement in tokens.split(|token| token.is_symbol(';')).filter(|statement| !statement.is_empty()) {
        match transaction.follow(statement).or_else(|| whole(sql, statement, version)) {
            Some(Ok(text)) => edits.push(replace(statement, text)),
            Some(Err(failure)) => edits.push(replace(statement, raise(&failure))),
            None => match parts(statement, transaction.time.as_deref(), version) {
                Ok(found) => edits.extend(found),
                Err(failure) => edits.push(replace(statement, raise(&failure))),
            },
        }
    }
    if edits.is_empty() { None } else { Some(apply(sql, edits)) }
}

fn replace(statement: &[Token<'_>], text: String) -> Edit {
    let end = statement.last().map_or(0, Token::end);
    Edit { start: statement[0].start, end, text }
}

pub(crate) fn apply(sql: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|edit| edit.start);
    let (mut text, mut at) = (String::with_capacity(sql.len() + 256), 0);
    for edit in edits {
        // What lies inside a piece has been replaced with it.
        if edit.start < at {
            continue;
        }
        text.push_str(&sql[at..edit.start]);
        text.push_str(&edit.text);
        at = edit.end;
    }
    text.push_str(&sql[at..]);
    text
}

/// A statement that fails with this error when it is run, not when it is prepared.
fn raise(failure: &Failure) -> String {
    let Failure { code, message, hint } = failure;
    format!("SELECT crdb_internal.fail({}, {}, {})", literal(code), literal(message), literal(hint))
}

/// Statements that are replaced as a whole.
fn whole(sql: &str, statement: &[Token<'_>], version: &Version) -> Option<Result<String, Failure>> {
    let mut cursor = Cursor::new(statement);
    if cursor.accept(&["CREATE", "CHANGEFEED"]) {
        let spec = statement::create_changefeed(statement, version);
        return Some(spec.map(|spec| {
            format!("SELECT job_id FROM crdb_internal.create_changefeed({}::jsonb)", literal(&spec.to_string()))
        }));
    }
    if cursor.accept(&["ALTER", "CHANGEFEED"]) {
        return Some(alter::rewrite(&mut cursor, version));
    }
    let mut ahead = cursor;
    if ahead.accept(&["ALTER", "TABLE"]) {
        return keys::alter_table(ahead).or_else(|| zone::alter_table(ahead));
    }
    if cursor.accept(&["EXPERIMENTAL", "CHANGEFEED"]) {
        return Some(Err(Failure::unsupported(format!("{} CHANGEFEED", statement[0].text.to_uppercase()))));
    }
    let mut ahead = cursor;
    if ahead.accept(&["CALL", "crdb_internal"]) && ahead.accept_symbol('.') && ahead.accept(&["license"]) {
        return Some(call_license(&mut ahead));
    }
    if cursor.accept(&["DROP", "DATABASE"]) {
        return Some(drop_database(cursor));
    }
    if cursor.accept(&["SET", "CLUSTER", "SETTING"]) {
        return Some(settings::set(&mut cursor));
    }
    let mut ahead = cursor;
    if ahead.accept(&["SET"])
        && let Some(text) = variables::set(ahead, version)
    {
        return Some(text);
    }
    let mut ahead = cursor;
    if ahead.accept(&["SET", "default_transaction_isolation"]) && statement.iter().any(|token| is_serializable(token)) {
        // Commits have their order from the capture's lock, and reads of the past need PostgreSQL's lower levels.
        return Some(Ok("SET default_transaction_isolation = 'read uncommitted'".into()));
    }
    if cursor.accept(&["SHOW"]) {
        return variables::show(cursor, version).or_else(|| show::rewrite(sql, cursor, version));
    }
    for verb in ["PAUSE", "RESUME", "CANCEL"] {
        if cursor.accept(&[verb]) {
            return Some(control(sql, verb, cursor, version));
        }
    }
    for verb in ["GRANT", "REVOKE"] {
        if cursor.accept(&[verb, "SYSTEM"]) {
            return Some(grant_system(verb, cursor));
        }
        if cursor.accept(&[verb, "CHANGEFEED", "ON"]) {
            return Some(grant(verb, cursor));
        }
    }
    None
}

fn is_serializable(token: &Token<'_>) -> bool {
    token.is("serializable") || token.string().is_some_and(|text| text.eq_ignore_ascii_case("serializable"))
}

/// The stand-in's own connections to the database must not stand in the way.
fn drop_database(mut cursor: Cursor<'_>) -> Result<String, Failure> {
    let condition = if cursor.accept(&["IF", "EXISTS"]) { "IF EXISTS " } else { "" };
    let name = identifier(&cursor.name()?.join("."));
    let _ = cursor.accept(&["CASCADE"]) || cursor.accept(&["RESTRICT"]);
    cursor.expect_end()?;
    Ok(format!("DROP DATABASE {condition}{name} WITH (FORCE)"))
}

fn control(sql: &str, verb: &str, mut cursor: Cursor<'_>, version: &Version) -> Result<String, Failure> {
    if cursor.accept(&["JOB"]) {
        let job = cursor.next().ok_or_else(|| Failure::syntax("EOF"))?;
        if cursor.accept(&["WITH", "REASON"]) {
            cursor.expect_symbol('=')?;
            cursor.value()?;
        }
        cursor.expect_end()?;
        return Ok(format!("CALL crdb_internal.control_job('{verb}', {})", job.text));
    }
    if cursor.accept(&["JOBS"]) {
        let jobs = cursor.rest(sql);
        return Ok(many(verb, &format!("ARRAY({jobs})"), &format!("{verb} JOBS"), version));
    }
    if cursor.accept(&["ALL", "CHANGEFEED", "JOBS"]) {
        cursor.expect_end()?;
        let jobs = format!("crdb_internal.controllable('{verb}')");
        return Ok(many(verb, &jobs, &format!("{verb} ALL CHANGEFEED JOBS"), version));
    }
    Err(Failure::unsupported(format!("{verb} {}", cursor.rest(sql))))
}

/// DO returns no rows and takes subqueries, which CALL does not.
fn many(verb: &str, jobs: &str, tag: &str, version: &Version) -> String {
    let inner = apply_parts(jobs, version);
    format!("DO $crdb$ BEGIN PERFORM crdb_internal.control_jobs('{verb}', {inner}, '{tag}'); END $crdb$")
}

fn apply_parts(sql: &str, version: &Version) -> String {
    match parts(&lex::tokens(sql), None, version) {
        Ok(edits) => apply(sql, edits),
        Err(_) => sql.to_owned(),
    }
}

fn grant(verb: &str, mut cursor: Cursor<'_>) -> Result<String, Failure> {
    let _ = cursor.accept(&["TABLE"]);
    let (mut tables, mut roles) = (Vec::new(), Vec::new());
    loop {
        tables.push(show::table(&mut cursor)?);
        if !cursor.accept_symbol(',') {
            break;
        }
    }
    cursor.expect(&[if verb == "GRANT" { "TO" } else { "FROM" }])?;
    loop {
        roles.push(literal(&cursor.name()?.join(".")));
        if !cursor.accept_symbol(',') {
            break;
        }
    }
    cursor.expect_end()?;
    let (tables, roles) = (tables.join(", "), roles.join(", "));
    Ok(format!("CALL crdb_internal.grant_changefeed(ARRAY[{tables}], ARRAY[{roles}], {})", verb == "REVOKE"))
}

fn grant_system(verb: &str, mut cursor: Cursor<'_>) -> Result<String, Failure> {
    let (mut privileges, mut roles) = (Vec::new(), Vec::new());
    loop {
        let token = cursor.next().ok_or_else(|| Failure::syntax("EOF"))?;
        if !token.is_any(&SYSTEM_PRIVILEGES) {
            return Err(Failure::unsupported(format!("{verb} SYSTEM {}", token.text)));
        }
        privileges.push(literal(&token.text.to_uppercase()));
        if !cursor.accept_symbol(',') {
            break;
        }
    }
    cursor.expect(&[if verb == "GRANT" { "TO" } else { "FROM" }])?;
    loop {
        roles.push(literal(&cursor.name()?.join(".")));
        if !cursor.accept_symbol(',') {
            break;
        }
    }
    if cursor.accept(&["WITH", "GRANT", "OPTION"]) {
        return Err(Failure::unsupported(format!("{verb} SYSTEM with a grant option")));
    }
    cursor.expect_end()?;
    let (privileges, roles) = (privileges.join(", "), roles.join(", "));
    Ok(format!("CALL crdb_internal.grant_system(ARRAY[{privileges}], ARRAY[{roles}], {})", verb == "REVOKE"))
}

/// `CALL crdb_internal.license('none')` sets the licence and, from 24.3 on, that the cluster is throttled without it:
/// both at once, where `SELECT crdb_internal.license` sets the licence alone.
fn call_license(cursor: &mut Cursor<'_>) -> Result<String, Failure> {
    cursor.expect_symbol('(')?;
    let state = cursor.value()?;
    cursor.expect_symbol(')')?;
    cursor.expect_end()?;
    Ok(format!("SELECT crdb_internal.license({}, is_throttled => true)", literal(&state)))
}

/// Releases before 24.1 have no function that protects history.
fn check_functions(statement: &[Token<'_>], version: &Version) -> Result<(), Failure> {
    let missing = ["protect_mvcc_history", "extend_mvcc_history_protection"];
    let found = statement.windows(2).find(|window| window[0].is_any(&missing) && window[1].is_symbol('('));
    let Some([name, _]) = found.filter(|_| !version.is_at_least(24, 1)) else { return Ok(()) };
    let name = name.text.to_lowercase();
    Err(Failure::new("42883", format!("unknown function: crdb_internal.{name}()")))
}

/// What is replaced inside a statement that otherwise stays.
fn parts(statement: &[Token<'_>], around: Option<&str>, version: &Version) -> Result<Vec<Edit>, Failure> {
    check_functions(statement, version)?;
    slices::refuse(statement)?;
    let mut edits = as_of::edits(statement, around)?;
    edits.extend(keys::edits(statement)?);
    edits.extend(row_json::edits(statement, around)?);
    for (at, token) in statement.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| statement[before]);
        let after = |offset: usize| statement.get(at + offset);
        let is_call = after(1).is_some_and(|t| t.is_symbol('(')) && after(2).is_some_and(|t| t.is_symbol(')'));
        let is_qualified = before.is_some_and(|token| token.is_symbol('.'));
        if is_call && !is_qualified && token.is_any(&FUNCTIONS) {
            edits.push(Edit { start: token.start, end: token.start, text: "crdb_internal.".to_owned() });
        } else if let Some(name) = of_type(statement, at) {
            edits.push(Edit { start: token.start, end: token.end(), text: name.to_owned() });
        } else if token.is("SHOW") {
            edits.extend(show::nested(&statement[at - usize::from(at > 0)..], version)?);
        } else if token.is("pg_catalog") && after(1).is_some_and(|t| t.is_symbol('.')) {
            // Virtual columns are told there; functions of CockroachDB have this schema too.
            edits.extend(after(2).filter(|name| name.is("pg_attribute") || name.is("version")).map(|_| Edit {
                start: token.start,
                end: token.end(),
                text: "crdb_internal".to_owned(),
            }));
        } else if token.is("information_schema") && after(1).is_some_and(|t| t.is_symbol('.')) {
            edits.extend(after(2).filter(|name| name.is("columns")).map(|name| Edit {
                start: token.start,
                end: name.end(),
                text: "crdb_internal.information_schema_columns".to_owned(),
            }));
        }
    }
    Ok(edits)
}

/// PostgreSQL's name of a type that stands behind `::` and that it does not know.
fn of_type(statement: &[Token<'_>], at: usize) -> Option<&'static str> {
    let is_cast = at >= 2 && statement[at - 2].is_symbol(':') && statement[at - 1].is_symbol(':');
    let (_, name) = TYPES.iter().find(|(name, _)| is_cast && statement[at].is(name))?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expected: &str) {
        let version = Version::parse("25.2.1").unwrap();
        assert_eq!(rewrite(sql, &version).as_deref().unwrap_or(sql), expected);
    }

    #[test]
    fn ordinary_statements_stay() {
        for sql in [
            "SELECT 'SHOW CHANGEFEED JOBS; version()'",
            "SHOW server_version",
            "INSERT INTO \"version\" VALUES (1)",
            "",
            ";",
        ] {
            check(sql, sql);
        }
    }

    #[test]
    fn jobs_are_shown_and_controlled() {
        check("SHOW CHANGEFEED JOBS", "SELECT * FROM crdb_internal.show_changefeed_jobs()");
        check(
            "SELECT status FROM [SHOW CHANGEFEED JOB 5] WHERE 1=1;",
            "SELECT status FROM crdb_internal.show_changefeed_job(5) WHERE 1=1;",
        );
        check(
            "with x as (show changefeed jobs) select * from x",
            "with x as (SELECT * FROM crdb_internal.show_changefeed_jobs()) select * from x",
        );
        check("PAUSE JOB $1", "CALL crdb_internal.control_job('PAUSE', $1)");
        check(
            "CANCEL JOBS (SELECT job_id FROM [SHOW CHANGEFEED JOBS])",
            "DO $crdb$ BEGIN PERFORM crdb_internal.control_jobs('CANCEL', ARRAY((SELECT job_id FROM crdb_internal.show_changefeed_jobs())), 'CANCEL JOBS'); END $crdb$",
        );
    }

    #[test]
    fn functions_and_views_of_its_own() {
        check("SELECT version(), pg_catalog.version()", "SELECT crdb_internal.version(), crdb_internal.version()");
        check(
            "INSERT INTO t VALUES (1) RETURNING cluster_logical_timestamp()",
            "INSERT INTO t VALUES (1) RETURNING crdb_internal.cluster_logical_timestamp()",
        );
        check("SELECT * FROM information_schema.columns c", "SELECT * FROM crdb_internal.information_schema_columns c");
        check(
            "SHOW COLUMNS FROM db.public.\"T\"",
            "SELECT * FROM crdb_internal.show_columns('\"public\".\"T\"'::regclass)",
        );
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        check("SHOW CREATE TABLE t", "SELECT crdb_internal.fail('0A000', 'stand-in: not supported: SHOW CREATE', '')");
        let slicing = "SELECT crdb_internal.fail('0A000', 'unimplemented: ARRAY slicing', '')";
        check("SELECT (k::int2[])[0:n - 1] FROM pg_index", slicing);
        check("SELECT a[1], b::int[], ARRAY[1::int, 2], '[1:2]'", "SELECT a[1], b::int[], ARRAY[1::int, 2], '[1:2]'");
        check("SHOW CHANGEFEED JOB 5 x", "SELECT crdb_internal.fail('42601', 'at or near \"x\": syntax error', '')");
    }
}
