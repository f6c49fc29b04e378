//! What a PostgreSQL error means for the host, by its SQLSTATE
//! (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
//!
//! Owns: the mapping to the four kinds, and hints. Does not own: which row was at fault (`write`).

use ebb_sdk::{Error, ErrorKind};

/// Translates an error; `doing` completes "cannot …". The text never holds a password: neither PostgreSQL nor the driver
/// repeats one.
pub(crate) fn translate(failure: &tokio_postgres::Error, doing: &str) -> Error {
    let Some(answer) = failure.as_db_error() else {
        return without_answer(failure, doing);
    };
    let code = answer.code().code();
    let mut message = format!("cannot {doing}: {}", answer.message());
    // The detail names the key of a violated constraint.
    if let Some(detail) = answer.detail() {
        message.push_str(&format!(" ({detail})"));
    }
    let mut error = Error::new(kind(code), message).code(code);
    if let Some(hint) = hint(code) {
        error = error.hint(hint);
    }
    if let Some(table) = answer.table() {
        error = error.table(format!("{}.{table}", answer.schema().unwrap_or("public")));
    }
    if let Some(column) = answer.column() {
        error = error.column(column);
    }
    match answer.constraint() {
        Some(constraint) => error.constraint(constraint),
        None => error,
    }
}

/// An error of the connection, of TLS, or of the driver.
fn without_answer(failure: &tokio_postgres::Error, doing: &str) -> Error {
    let mut text = failure.to_string();
    let mut cause = std::error::Error::source(failure);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(&format!(": {inner_text}"));
        }
        cause = inner.source();
    }
    let message = format!("cannot {doing}: {text}");
    if text.contains("certificate") || text.contains("TLS") {
        return Error::new(ErrorKind::Config, message)
            .hint("see sslmode and sslrootcert in the target's connection string, and the server's certificate");
    }
    if text.contains("password") || text.contains("invalid configuration") {
        return Error::new(ErrorKind::Config, message).hint("put user:password into the target's connection string");
    }
    Error::new(ErrorKind::Retry, message).hint("see that the target runs and can be reached")
}

fn kind(code: &str) -> ErrorKind {
    match code {
        // Serialization failure, deadlock, lock not available, cancelled or timed out, shutting down, starting up,
        // read-only (a standby that may be promoted), object in use.
        "40001" | "40P01" | "55P03" | "57014" | "57P01" | "57P02" | "57P03" | "25006" | "55006" => ErrorKind::Retry,
        // The session was ended while it held a transaction.
        "25P03" | "57P05" => ErrorKind::Retry,
        "28000" | "28P01" | "3D000" | "3F000" | "42501" | "42P01" | "42703" | "42P10" => ErrorKind::Config,
        _ => match &code[..2] {
            // Connection, out of resources, operating system.
            "08" | "53" | "58" => ErrorKind::Retry,
            // Data, constraints, assignment of a value of another type.
            "22" | "23" | "44" => ErrorKind::Refused,
            "42" if code == "42804" || code == "42846" => ErrorKind::Refused,
            _ => ErrorKind::Broken,
        },
    }
}

fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "28000" | "28P01" => "see user and password in the target's connection string, and pg_hba.conf of the server",
        "3D000" => "see the database in the target's connection string",
        "42501" => {
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA … TO the user of the connection string"
        }
        "42P01" | "42703" => "the table was changed or dropped on the target; start ebb again once it is as before",
        "42P10" => "the table's primary key was dropped on the target; add it and start ebb again",
        "23505" | "23503" | "23P01" => {
            "see the row and the constraint named; the target may hold rows that the source does not"
        }
        "23502" | "23514" => "correct the row at the source, or the constraint on the target",
        "22001" | "22003" => "widen the column on the target, or correct the row at the source",
        "25006" => "the target is read-only: it is a standby, or default_transaction_read_only is on",
        "53100" => "the target's disk is full",
        "53300" => "the target admits no more connections (max_connections)",
        _ => return None,
    })
}
