//! Which row and which column of a block the server refused.
//!
//! Owns: the search, and the message that names table, key, column and value. Does not own: what an error means
//! (`error`). The search runs in a transaction of its own, of which nothing is kept.

use std::ops::Range;

use ebb_sdk::{Error, ErrorKind, Topic};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::error::{DIVISION_BY_ZERO, NO_CHARACTER, refused, translate_write};
use crate::names;
use crate::values::{Mend, Reason};
use crate::write::{Attempt, Failure};
use crate::{quoted, statement};

/// Makes of a failure an error that names the row, where one row is to blame. The transaction is over in any case.
pub(crate) async fn explain(attempt: &Attempt<'_>, conn: &mut Conn, failure: &Failure, rows: Range<usize>) -> Error {
    let error = error(attempt, failure);
    let (row, column) = match failure {
        Failure::NotConvertible { row, column, .. } => (Some(*row), Some(*column)),
        Failure::Database(failure) => (names::row(failure).map(|row| rows.start + row - 1), None),
        Failure::NoEffect { row, .. } => (*row, None),
    };
    if let Some(row) = row.filter(|row| rows.contains(row)) {
        return located(attempt, error, row, column);
    }
    // Unique and foreign keys depend on other rows too, and their messages name the key by themselves.
    if error.kind != ErrorKind::Refused || error.constraint.is_some() && error.conflict {
        return error;
    }
    let found = search(attempt, conn, rows).await;
    // The search leaves no locks behind; when the connection has ended, there are none.
    let _ = conn.query_drop("ROLLBACK").await;
    found.ok().flatten().unwrap_or(error)
}

fn error(attempt: &Attempt<'_>, failure: &Failure) -> Error {
    match failure {
        Failure::NotConvertible { why, column, .. } => not_convertible(attempt, *column, why),
        Failure::NoEffect { why, .. } => Error::new(ErrorKind::Refused, format!("cannot {}: {why}", attempt.doing))
            .topic(Topic::Trigger)
            .hint("see the triggers of the table on the target (SHOW TRIGGERS), and the type of its key"),
        // The guard of an upsert.
        Failure::Database(mysql_async::Error::Server(answer)) if answer.code == DIVISION_BY_ZERO => {
            let why = "the row has a unique value, or a key that the target takes for the same, of another row";
            refused(DIVISION_BY_ZERO, attempt.doing, why).conflict()
        }
        Failure::Database(failure) => attempt.names.placed(translate_write(failure, attempt.doing), failure),
    }
}

fn not_convertible(attempt: &Attempt<'_>, column: usize, why: &Reason) -> Error {
    let error = refused(why.code, attempt.doing, &why.text);
    let target = &attempt.targets[column];
    match why.mend {
        Mend::ByCode => error,
        Mend::Key => error.topic(Topic::SameKey).hint(
            "give the key column the type that it has at the source: other keys would be the same on the target",
        ),
        Mend::Document => error.hint(format!(
            "if it is a text at the source, give it the type JSONB there: ALTER TABLE … ALTER COLUMN {0} SET DATA TYPE JSONB \
             USING {0}::JSONB; or make it a text on the target: MODIFY it to LONGTEXT, without a check of json_valid",
            target.column.name
        )),
        Mend::Digits if target.is_key => {
            error.topic(Topic::Rounding).hint("give the key column as many digits as the source has: in a key none may be lost")
        }
        Mend::Digits => error.topic(Topic::Rounding).hint(format!(
            "give the column as many digits as the source has, or let it lose them with --allow-rounding {}.{}",
            attempt.block.table().name,
            target.column.name
        )),
    }
}

/// Something else came between: a lock, the end of the connection.
struct Interrupted;

impl From<mysql_async::Error> for Interrupted {
    fn from(_: mysql_async::Error) -> Self {
        Self
    }
}

/// Tries halves of the rows until one row is left. `None` when no row fails by itself.
async fn search(attempt: &Attempt<'_>, conn: &mut Conn, mut rows: Range<usize>) -> Result<Option<Error>, Interrupted> {
    for sql in ["ROLLBACK", "START TRANSACTION", "SAVEPOINT ebb_search"] {
        conn.query_drop(sql).await?;
    }
    while rows.len() > 1 {
        let middle = rows.start + rows.len() / 2;
        match refusal(attempt, conn, rows.start..middle).await? {
            Some(_) => rows.end = middle,
            None => rows.start = middle,
        }
    }
    let row = rows.start;
    let Some(refused) = refusal(attempt, conn, rows).await? else { return Ok(None) };
    if refused.code.as_deref() == Some(&DIVISION_BY_ZERO.to_string()) {
        let duplicate = attempt.insert(conn, row..row + 1).await.err().map(|failure| error(attempt, &failure));
        // Where it is the primary key, the first refusal says what is to be done.
        let named = duplicate.filter(|named| named.constraint.as_deref().is_some_and(|name| name != "PRIMARY"));
        return Ok(Some(located(attempt, named.unwrap_or(refused), row, None)));
    }
    let column = match refused.code.as_deref() == Some(&NO_CHARACTER.to_string()) {
        true => column_without_letter(attempt, conn, row).await?,
        false => None,
    };
    Ok(Some(located(attempt, refused, row, column)))
}

async fn column_without_letter(
    attempt: &Attempt<'_>,
    conn: &mut Conn,
    row: usize,
) -> Result<Option<usize>, Interrupted> {
    for (at, target) in attempt.targets.iter().enumerate() {
        let (Some(charset), Some(text)) = (&target.column_type.charset, attempt.block.value(row, at).text()) else {
            continue;
        };
        let has_letters: Result<Option<bool>, _> = conn.exec_first(statement::has_letters(charset), (text, text)).await;
        match has_letters {
            Ok(Some(false)) => return Ok(Some(at)),
            // Some servers refuse the question too.
            Err(mysql_async::Error::Server(answer)) if answer.code == NO_CHARACTER => return Ok(Some(at)),
            Ok(_) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    Ok(None)
}

/// The error with which these rows are refused, `None` when they are taken.
async fn refusal(attempt: &Attempt<'_>, conn: &mut Conn, rows: Range<usize>) -> Result<Option<Error>, Interrupted> {
    let outcome = attempt.run(conn, rows).await;
    conn.query_drop("ROLLBACK TO SAVEPOINT ebb_search").await?;
    match outcome.map_err(|failure| error(attempt, &failure)) {
        Ok(()) => Ok(None),
        Err(error) if error.kind == ErrorKind::Refused => Ok(Some(error)),
        Err(_) => Err(Interrupted),
    }
}

/// Names the row, and the column that is known or that the server has named.
fn located(attempt: &Attempt<'_>, error: Error, row: usize, column: Option<usize>) -> Error {
    let named = error.column.as_deref();
    let named = attempt.targets.iter().position(|target| Some(target.column.name.as_str()) == named);
    let error = widened(attempt, error, column.or(named));
    error.at(attempt.block, row, column.or(named))
}

/// The statement by which a column that is too narrow takes the value, where its type has a wider one.
fn widened(attempt: &Attempt<'_>, error: Error, column: Option<usize>) -> Error {
    let Some(target) = column.map(|at| &attempt.targets[at]) else { return error };
    // Digits have a way out of their own.
    if error.topic != Topic::Value || !matches!(error.code.as_deref(), Some("1264" | "1406")) {
        return error;
    }
    let column = &target.column;
    let Some(wider) = wider(&column.type_name) else { return error };
    let not_null = if column.nullable { "" } else { " NOT NULL" };
    let length = if wider.ends_with("(n)") { "an n for the longest value and " } else { "" };
    error.hint(format!(
        "ALTER TABLE {} MODIFY {} {wider}{not_null}, with {length}the column's other attributes",
        quoted(&attempt.block.table().name),
        quoted(&column.name)
    ))
}

fn wider(type_name: &str) -> Option<&'static str> {
    let type_name = type_name.to_lowercase();
    let base = type_name.split(['(', ' ']).next().unwrap_or_default();
    Some(match base {
        "tinyint" | "smallint" | "mediumint" | "int" => "bigint",
        "bigint" if type_name.contains("unsigned") => "bigint",
        "char" | "varchar" => "varchar(n)",
        "binary" | "varbinary" => "varbinary(n)",
        "tinytext" | "text" | "mediumtext" => "longtext",
        "tinyblob" | "blob" | "mediumblob" => "longblob",
        _ => return None,
    })
}
