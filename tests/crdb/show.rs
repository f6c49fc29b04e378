//! `SHOW` statements that only CockroachDB has, alone and inside other statements: which functions of `schema/show.sql`
//! answer them.
//!
//! Does not own: settings of the cluster (`settings`), and SHOW statements that PostgreSQL has too; those stay.

use crate::cursor::Cursor;
use crate::failure::Failure;
use crate::lex::{Token, identifier, literal};
use crate::rewrite::Edit;
use crate::settings;
use crate::version::Version;
use crate::zone;

/// Those of CockroachDB that are no settings of PostgreSQL either.
const UNSUPPORTED: &[&str] = &[
    "ALL CLUSTER",
    "AUTOMATIC",
    "BACKUP",
    "BACKUPS",
    "CLUSTER SETTINGS",
    "COMMIT TIMESTAMP",
    "CONSTRAINT",
    "CONSTRAINTS",
    "CREATE",
    "DATABASES",
    "DEFAULT",
    "ENUMS",
    "EXTERNAL",
    "FINGERPRINTS",
    "FULL",
    "FUNCTIONS",
    "GRANTS",
    "JOB",
    "JOBS",
    "LOCALITY",
    "PARTITIONS",
    "PROCEDURES",
    "QUERIES",
    "RANGE",
    "RANGES",
    "REGIONS",
    "ROLES",
    "SAVEPOINT",
    "SCHEDULES",
    "SCHEMAS",
    "SEQUENCES",
    "SESSIONS",
    "STATEMENTS",
    "STATISTICS",
    "SURVIVAL",
    "SYNTAX",
    "TRACE",
    "TRANSACTIONS",
    "TRANSFER",
    "TYPES",
    "USERS",
    "VIRTUAL",
    "ZONE",
];

/// The statement that answers; None where PostgreSQL may. The cursor stands behind the word.
pub(crate) fn rewrite(sql: &str, mut cursor: Cursor<'_>, version: &Version) -> Option<Result<String, Failure>> {
    let mut ahead = cursor;
    if ahead.accept(&["CLUSTER", "SETTING"]) {
        return Some(settings::show(&mut ahead));
    }
    if ahead.accept(&["CRDB_VERSION"]) {
        return Some(Ok("SELECT crdb_internal.show_version() AS crdb_version".to_owned()));
    }
    if let Some(source) = source(sql, &mut ahead, version).transpose() {
        let end = ahead.expect_end();
        return Some(source.and_then(|source| end.map(|()| format!("SELECT * FROM {source}"))));
    }
    let unsupported = UNSUPPORTED.iter().find(|words| cursor.accept(&words.split(' ').collect::<Vec<_>>()));
    unsupported.map(|words| Err(Failure::unsupported(format!("SHOW {words}"))))
}

/// `[SHOW …]` stands where a table may; `(SHOW …)` where a query may. The first token is the bracket.
pub(crate) fn nested(tokens: &[Token<'_>], version: &Version) -> Result<Option<Edit>, Failure> {
    let (open, close) = match tokens.first() {
        Some(token) if token.is_symbol('[') => ('[', ']'),
        Some(token) if token.is_symbol('(') => ('(', ')'),
        _ => return Ok(None),
    };
    let Some(length) = tokens.iter().position(|token| token.is_symbol(close)) else { return Ok(None) };
    let mut cursor = Cursor::new(&tokens[2..length]);
    let source = match source("", &mut cursor, version)? {
        Some(source) => source,
        None if open == '[' => return Err(Failure::unsupported("this SHOW statement inside another")),
        // A column may be called so.
        None => return Ok(None),
    };
    cursor.expect_end()?;
    let text = if open == '[' { source } else { format!("(SELECT * FROM {source})") };
    Ok(Some(Edit { start: tokens[0].start, end: tokens[length].end(), text }))
}

/// The function that gives the rows of a SHOW; the cursor stands behind that word.
fn source(sql: &str, cursor: &mut Cursor<'_>, version: &Version) -> Result<Option<String>, Failure> {
    // Releases before 25.1 have no time that a person can read.
    let release = if version.is_at_least(25, 1) { "" } else { "_before_25_1" };
    if cursor.accept(&["CHANGEFEED", "JOBS"]) {
        return Ok(Some(format!("crdb_internal.show_changefeed_jobs{release}()")));
    }
    if cursor.accept(&["CHANGEFEED", "JOB"]) {
        let job = cursor.next().ok_or_else(|| Failure::syntax("EOF"))?;
        return Ok(Some(format!("crdb_internal.show_changefeed_job{release}({})", job.text)));
    }
    if cursor.accept(&["JOBS"]) && cursor.is_at_end() {
        return Ok(Some("crdb_internal.show_jobs()".to_owned()));
    }
    if let Some(source) = zone::source(cursor)? {
        return Ok(Some(source));
    }
    if cursor.accept(&["TABLES"]) {
        return if cursor.is_at_end() {
            Ok(Some("crdb_internal.show_tables()".to_owned()))
        } else {
            Err(Failure::unsupported(format!("SHOW TABLES {}", cursor.rest(sql))))
        };
    }
    if cursor.accept(&["COLUMNS", "FROM"]) {
        return Ok(Some(format!("crdb_internal.show_columns({}::regclass)", table(cursor)?)));
    }
    for word in ["INDEXES", "INDEX", "KEYS"] {
        if cursor.accept(&[word, "FROM"]) {
            return Ok(Some(format!("crdb_internal.show_indexes({}::regclass)", table(cursor)?)));
        }
    }
    Ok(None)
}

/// A table's name as a string that `regclass` reads, without the database.
pub(crate) fn table(cursor: &mut Cursor<'_>) -> Result<String, Failure> {
    let parts = cursor.name()?;
    let parts: Vec<String> = parts.iter().skip(parts.len().saturating_sub(2)).map(|part| identifier(part)).collect();
    Ok(literal(&parts.join(".")))
}
