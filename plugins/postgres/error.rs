//! What a PostgreSQL error means for the host, by its SQLSTATE
//! (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
//!
//! Owns: the mapping to the four kinds, and hints. Does not own: which row was at fault (`locate`), which table, column and
//! constraint (`names`).

use std::error::Error as StdError;
use std::io;

use ebb_sdk::{Error, ErrorKind, HIDDEN, Topic, shortened, values_are_hidden, with_causes};
use tokio_postgres::error::DbError;

/// Longest part of the server's own words that a message repeats; they may quote a whole value.
const SAID_CHARS_MAX: usize = 300;

/// Translates an error; `doing` completes "cannot …". The text never holds a password: neither PostgreSQL nor the driver
/// repeats one.
pub(crate) fn translate(failure: &tokio_postgres::Error, doing: &str) -> Error {
    translated(failure, doing, Doing::Other)
}

/// As [`translate`], of a statement that writes rows: whatever the target's constraints and triggers call may fail.
pub(crate) fn translate_write(failure: &tokio_postgres::Error, doing: &str) -> Error {
    translated(failure, doing, Doing::Write)
}

/// What failed, as far as it decides whether the words may hold values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Write,
    Other,
}

fn translated(failure: &tokio_postgres::Error, doing: &str, what: Doing) -> Error {
    let Some(answer) = failure.as_db_error() else {
        return without_answer(failure, doing);
    };
    let code = answer.code().code();
    let (kind, topic, hint) = match is_raised(answer) {
        true => (ErrorKind::Refused, Topic::Trigger, Some(TRIGGERS)),
        false => (kind(code), topic(code), hint(code)),
    };
    let words = if values_are_hidden() { said_without_values(answer, what) } else { said(answer) };
    let mut error = Error::new(kind, format!("cannot {doing}: {words}")).topic(topic).code(code);
    if let Some(hint) = hint {
        error = error.hint(hint);
    }
    // Foreign key, unique key, exclusion: they depend on other rows, so that the order of the statements matters.
    if matches!(code, "23503" | "23001" | "23505" | "23P01" | "21000") { error.conflict() } else { error }
}

/// Whether a function of the user's own said it (RAISE): its code may be any, and means what the server would mean by it only
/// where it asks for another try.
fn is_raised(answer: &DbError) -> bool {
    let code = answer.code().code();
    is_of_function(answer) && (kind(code) != ErrorKind::Retry || code == "XX000")
}

/// Whatever its code: these words are the function's own, and may quote a row.
fn is_of_function(answer: &DbError) -> bool {
    answer.routine() == Some("exec_stmt_raise")
}

/// What the server says of it, where values of rows may not be repeated.
fn said_without_values(answer: &DbError, what: Doing) -> String {
    let code = answer.code().code();
    // Its words about data quote values; those about rights, objects and connections do not, unless they are those of a
    // function, or of a statement that a function has put together (EXECUTE), which a context goes with.
    let is_of_function = is_of_function(answer) || answer.where_().is_some();
    let is_about_data = !matches!(kind(code), ErrorKind::Config | ErrorKind::Retry) || code.starts_with("XX");
    match what == Doing::Write || is_of_function || is_about_data {
        true => format!("the target refuses it with SQLSTATE {code}, and its words may hold values {HIDDEN}"),
        false => shortened(answer.message(), SAID_CHARS_MAX),
    }
}

/// What the server says of it.
fn said(answer: &DbError) -> String {
    let code = answer.code().code();
    let message = shortened(answer.message(), SAID_CHARS_MAX);
    // The detail names the key of a violated constraint; of other constraints it repeats the whole row.
    match answer.detail().filter(|_| !matches!(code, "23502" | "23514")) {
        Some(detail) => format!("{message} ({})", shortened(detail, SAID_CHARS_MAX)),
        None => message,
    }
}

/// What PostgreSQL would say, said before anything is sent.
pub(crate) fn refused(code: &str, doing: &str, why: &str) -> Error {
    let error = Error::new(ErrorKind::Refused, format!("cannot {doing}: {why}")).topic(topic(code)).code(code);
    match hint(code) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// An error of the connection, of TLS, or of the driver.
fn without_answer(failure: &tokio_postgres::Error, doing: &str) -> Error {
    let (kind, topic, hint) = match DriverFailure::of(failure) {
        DriverFailure::Tls => (
            ErrorKind::Config,
            Topic::Tls,
            "add sslrootcert=PATH of the CA certificate that issued the server's to the target's URL, or put it into \
             ~/.postgresql/root.crt; see also sslmode, sslcert and sslkey",
        ),
        DriverFailure::Settings => {
            (ErrorKind::Config, Topic::Login, "put user:password into the target's connection string")
        }
        DriverFailure::Size => (ErrorKind::Refused, Topic::Size, "a message to PostgreSQL holds at most 1 GiB"),
        DriverFailure::NoTls | DriverFailure::Connection => {
            return ebb_sdk::unreachable(doing, &with_causes(failure));
        }
    };
    Error::new(kind, format!("cannot {doing}: {}", with_causes(failure))).topic(topic).hint(hint)
}

/// What failed where the server sent no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DriverFailure {
    Tls,
    /// The server has no TLS, and was told nothing more.
    NoTls,
    Settings,
    /// A message is too large.
    Size,
    Connection,
}

impl DriverFailure {
    /// The driver keeps the kinds of its errors to itself: their text is all that it tells.
    fn of(failure: &tokio_postgres::Error) -> Self {
        let mut causes = std::iter::successors(Some(failure as &(dyn StdError + 'static)), |&error| error.source());
        // rustls speaks through errors of the socket of this one kind.
        let is_tls = |cause: &(dyn StdError + 'static)| {
            cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
        };
        let text = with_causes(failure);
        let begins = |words: [&str; 2]| words.iter().any(|words| text.starts_with(words));
        match () {
            () if causes.any(is_tls) && text.contains("TLS") => Self::Tls,
            () if text.contains("server does not support TLS") => Self::NoTls,
            () if begins(["authentication error", "invalid configuration"]) => Self::Settings,
            () if begins(["error serializing", "error encoding"]) => Self::Size,
            () => Self::Connection,
        }
    }
}

pub(crate) fn lacks_tls(failure: &tokio_postgres::Error) -> bool {
    failure.as_db_error().is_none() && DriverFailure::of(failure) == DriverFailure::NoTls
}

pub(crate) fn topic(code: &str) -> Topic {
    match code {
        "25006" => Topic::ReadOnly,
        "42501" => Topic::Privilege,
        "55P03" | "55006" | "57014" | "25P03" | "25P04" | "72000" => Topic::TooSlow,
        "57P04" => Topic::Database,
        "23505" | "23P01" => Topic::UniqueKey,
        "23503" | "23001" => Topic::ForeignKey,
        "23514" => Topic::Check,
        "23502" => Topic::NotNull,
        "21000" => Topic::SameKey,
        "42804" | "42846" | "0A000" => Topic::Value,
        "428C9" | "42704" | "42883" | "42P01" | "42703" | "42P10" | "55000" => Topic::Changed,
        _ => match &code[..2] {
            "08" | "57" => Topic::Unreachable,
            "28" => Topic::Login,
            "3D" | "3F" => Topic::Database,
            "40" => Topic::TooSlow,
            "53" | "58" => Topic::Resources,
            "22" => Topic::Value,
            "54" => Topic::Size,
            "P0" | "09" | "27" | "38" | "39" | "44" | "45" => Topic::Trigger,
            class if is_of_users(class) => Topic::Trigger,
            _ => Topic::Other,
        },
    }
}

/// Classes that begin with 5 to 9 or I to Z have no meaning in the standard
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html> lists those that PostgreSQL gives one).
fn is_of_users(class: &str) -> bool {
    class.starts_with(|first| matches!(first, '5'..='9' | 'I'..='Z')) && !matches!(class, "55" | "58" | "72" | "XX")
}

fn kind(code: &str) -> ErrorKind {
    match code {
        // Deferred constraints are in class 23, and data that a cast does not take is in class 42 as well.
        // Two rows of one statement that are one row to it are data as well.
        "42804" | "42846" | "21000" => ErrorKind::Refused,
        // Lock not available, object in use, read-only (a standby that may be promoted), ended while in a transaction.
        "55P03" | "55006" | "25006" | "25P03" | "25P04" | "72000" | "XX000" => ErrorKind::Retry,
        // The database was dropped; a pooler forgot or mixed up prepared statements.
        "57P04" | "26000" | "42P05" => ErrorKind::Config,
        // Generated column, missing object, table or column, no key to conflict with, deferrable key.
        "428C9" | "42704" | "42883" | "42P01" | "42703" | "42P10" | "42501" | "55000" => ErrorKind::Config,
        _ => match &code[..2] {
            // Connection, transaction rolled back, out of resources, intervention (also time-outs), operating system.
            "08" | "40" | "53" | "57" | "58" => ErrorKind::Retry,
            // Data, constraints, the row limits of an index or of nesting, triggers and their functions.
            "22" | "23" | "44" | "45" | "54" | "P0" | "09" | "27" | "38" | "39" => ErrorKind::Refused,
            // Password or access, database, schema.
            "28" | "3D" | "3F" => ErrorKind::Config,
            // Functions of the user's own: the standard leaves them these classes, of which PostgreSQL has taken some.
            class if is_of_users(class) => ErrorKind::Refused,
            _ => ErrorKind::Broken,
        },
    }
}

const TRIGGERS: &str = "see the triggers of the table on the target";

fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "28P01" => "see user and password in the target's connection string",
        "28000" => "see the user in the target's connection string, sslmode, and pg_hba.conf of the server",
        "3D000" | "57P04" => "see the database in the target's connection string",
        "42501" => {
            "GRANT USAGE ON SCHEMA …, and GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA … TO the user of the \
             connection string"
        }
        "42P01" | "42703" | "42704" | "428C9" => {
            "the table was changed or dropped on the target; start ebb again once it is as before"
        }
        "42P10" => "the table's primary key was dropped on the target; add it and start ebb again",
        "55000" => "a DEFERRABLE primary key cannot decide between INSERT and UPDATE: make it NOT DEFERRABLE",
        "26000" | "42P05" => "connect to PostgreSQL itself, or to a pooler in session mode",
        "23505" | "23503" | "23P01" => {
            "see the row and the constraint named; the target may hold rows that the source does not"
        }
        "21000" => {
            "the source has two rows whose keys are one key to the target: give the key column there a type or collation that \
             tells them apart, such as text COLLATE \"C\""
        }
        "23502" | "23514" => "change the constraint on the target",
        "22001" | "22003" => "widen the column on the target",
        "0A000" => "change the column's type on the target, or leave the column out",
        "25006" => "the target is read-only: it is a standby, or default_transaction_read_only is on",
        "53100" => "the target's disk is full",
        "53300" => "the target admits no more connections (max_connections)",
        "55P03" => "another session holds a lock on the target: see pg_stat_activity and pg_locks",
        "57014" => "the statement was cancelled, or ran longer than --applyTimeout",
        _ if code.starts_with("22") => "change the column's type on the target",
        _ if code.starts_with("P0") => TRIGGERS,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_code() {
        for (codes, expected) in [
            ("40001 40P01 55P03 57014 57P01 57P02 57P03 08006 53300 53100 25006 25P03 XX000", ErrorKind::Retry),
            ("21000 22001 22003 22P02 23502 23505 23503 23514 42804 54000 P0001", ErrorKind::Refused),
            ("28P01 28000 3D000 42501 42P01 42P10 55000", ErrorKind::Config),
            ("ZX001 I0001 99999 RR000", ErrorKind::Refused),
            ("25P02 42601 XX001 F0000 HV000 2F000", ErrorKind::Broken),
        ] {
            for code in codes.split(' ') {
                assert_eq!(kind(code), expected, "{code}");
            }
        }
    }
}
