//! What an error of MySQL or MariaDB means for the host, by its number
//! (<https://dev.mysql.com/doc/mysql-errors/9.0/en/server-error-reference.html>,
//! <https://mariadb.com/kb/en/mariadb-error-code-reference/>).
//!
//! Owns: the mapping to the four kinds, and hints. Does not own: which row was at fault (`locate`), which column and
//! constraint (`names`).

use std::error::Error as StdError;
use std::io;

use ebb_sdk::{Error, ErrorKind, HIDDEN, Topic, shortened, values_are_hidden, with_causes};
use mysql_async::{Error as Failure, IoError, ServerError};

/// Longest part of the server's own words that a message repeats; they may quote a whole value.
const SAID_CHARS_MAX: usize = 300;

/// Translates an error; `doing` completes "cannot …". The text never holds a password: neither server nor driver repeats
/// one.
pub(crate) fn translate(failure: &Failure, doing: &str) -> Error {
    translated(failure, doing, Doing::Other)
}

/// As [`translate`], of a statement that writes rows, on which triggers may act.
pub(crate) fn translate_write(failure: &Failure, doing: &str) -> Error {
    translated(failure, doing, Doing::Write)
}

/// What failed, as far as it decides who may have chosen the words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Write,
    Other,
}

fn translated(failure: &Failure, doing: &str, what: Doing) -> Error {
    let Failure::Server(answer) = failure else { return without_answer(failure, doing) };
    let mut error = Error::new(kind(answer), format!("cannot {doing}: {}", said(answer, what, values_are_hidden())))
        .topic(topic(answer.code))
        .code(answer.code.to_string());
    if let Some(hint) = hint(answer.code) {
        error = error.hint(hint);
    }
    // Foreign key and unique key: they depend on other rows, so that the order of the statements matters.
    if is_conflict(answer.code) { error.conflict() } else { error }
}

/// What the server says of it, as far as it may be repeated.
fn said(answer: &ServerError, what: Doing, are_hidden: bool) -> String {
    // Its words about data, and those of triggers, quote values; those about rights and objects do not. A trigger may choose any
    // number (SIGNAL … SET MYSQL_ERRNO), and nothing tells its words from the server's.
    let may_quote = what == Doing::Write || kind(answer) != ErrorKind::Config || answer.code == SYNTAX;
    match are_hidden && may_quote {
        true => format!("the target refuses it with error {}, and its words may hold values {HIDDEN}", answer.code),
        false => shortened(&answer.message, SAID_CHARS_MAX),
    }
}

/// What the server would say, said before anything is sent.
pub(crate) fn refused(code: u16, doing: &str, why: &str) -> Error {
    let error =
        Error::new(ErrorKind::Refused, format!("cannot {doing}: {why}")).topic(topic(code)).code(code.to_string());
    match hint(code) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// It quotes the statement.
const SYNTAX: u16 = 1064;
pub(crate) const DUPLICATE: u16 = 1062;
pub(crate) const DIVISION_BY_ZERO: u16 = 1365;
pub(crate) const NO_REFERENCED_ROW: u16 = 1452;
/// A character that the column's character set lacks; of newer servers, which do not name the column.
pub(crate) const NO_CHARACTER: u16 = 3988;

pub(crate) fn is_conflict(code: u16) -> bool {
    matches!(code, DUPLICATE | 1169 | 1216 | 1217 | 1451 | NO_REFERENCED_ROW | 1586 | 1761 | 1762)
}

/// An error of the connection, of TLS, or of the driver.
fn without_answer(failure: &Failure, doing: &str) -> Error {
    let text = with_causes(failure);
    let message = format!("cannot {doing}: {text}");
    let causes = || std::iter::successors(Some(failure as &(dyn StdError + 'static)), |&error| error.source());
    // rustls speaks through errors of the socket of this one kind.
    let is_tls = |cause: &(dyn StdError + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
    };
    match failure {
        Failure::Io(error) if matches!(error, IoError::Tls(_)) || causes().any(is_tls) => Error::new(
            ErrorKind::Config,
            message,
        )
        .topic(Topic::Tls)
        .hint(
            "add sslrootcert=PATH of the CA certificate that issued the server's to the target's URL, or put it into \
             ~/.postgresql/root.crt; see also sslmode, sslcert and sslkey",
        ),
        Failure::Driver(mysql_async::DriverError::ConnectionClosed) | Failure::Io(_) => {
            ebb_sdk::unreachable(doing, &text)
        }
        Failure::Driver(mysql_async::DriverError::PacketTooLarge) => {
            Error::new(ErrorKind::Refused, message).topic(Topic::Size).hint("raise max_allowed_packet on the target")
        }
        Failure::Driver(_) => ebb_sdk::unreachable(doing, &text),
        _ => Error::new(ErrorKind::Broken, message),
    }
}

fn topic(code: u16) -> Topic {
    match code {
        1290 | 1792 | 1836 => Topic::ReadOnly,
        1045 | 1130 | 1251 | 1698 | 1820 | 1862 | 1524 | 3118 | 3955 => Topic::Login,
        3159 => Topic::Unencrypted,
        1044 | 1049 => Topic::Database,
        1141..=1143 | 1227 | 1370 => Topic::Privilege,
        1205 | 1213 | 1317 | 1412 | 1613 | 1614 | 1969 | 3024 | 3058 | 3572 => Topic::TooSlow,
        1021 | 1030 | 1037 | 1038 | 1040 | 1041 | 1114 | 1129 | 1135 | 1203 | 1206 | 1226 => Topic::Resources,
        1053 | 1077 | 1079 | 1080 | 1152 | 3032 | 1158..=1161 | 1184 | 1927 | 4031 => Topic::Unreachable,
        DUPLICATE | 1169 | 1586 | 1761 | 1762 => Topic::UniqueKey,
        1216 | 1217 | 1451 | NO_REFERENCED_ROW => Topic::ForeignKey,
        3819 | 4025 => Topic::Check,
        1048 | 1364 => Topic::NotNull,
        DIVISION_BY_ZERO => Topic::SameKey,
        1118 | 1153 | 1713 => Topic::Size,
        1526 | 1591 | 1748 => Topic::Check,
        1172 | 1242 | 1339 | 1442 | 1642..=1644 => Topic::Trigger,
        1054 | 1146 => Topic::Changed,
        1264..=1267 | 1292 | 1300 | 1366 | 1406 | 1411 | 1416 | 1690 | NO_CHARACTER => Topic::Value,
        3140..=3158 | 3616..=3619 | 4078 | 4079 | 6136..=6139 => Topic::Value,
        _ => Topic::Other,
    }
}

#[expect(clippy::too_many_lines, reason = "a table of the server's error codes")]
fn kind(answer: &ServerError) -> ErrorKind {
    match answer.code {
        // Lock wait, deadlock, too many locks or transactions; too many connections; disk or table full; read-only, also a
        // replica that may be promoted; shutting down, killed, interrupted, out of time; the network; certified too late.
        1205
        | 1213
        | 1206
        | 1613
        | 1614
        | 1637
        | 3058
        | 3572
        | 1040
        | 1203
        | 1226
        | 1021
        | 1114
        | 1030
        | 1037
        | 1038
        | 1041
        | 1290
        | 1792
        | 1836
        | 3032
        | 3100
        | 3101
        | 1053
        | 1077
        | 1079
        | 1080
        | 1158..=1161
        | 1180
        | 1184
        | 1317
        | 1412
        | 1615
        | 1927
        | 1969
        | 3024
        | 4031
        | 1129
        | 1135
        | 1152 => ErrorKind::Retry,
        // Access, database, table, column, rights, an expired password, TLS demanded.
        1044
        | 1045
        | 1049
        | 1054
        | 1130
        | 1141..=1143
        | 1146
        | 1227
        | 1251
        | 1370
        | 1449
        | 1665
        | 1698
        | 1820
        | 1862
        | 3159
        | 1524
        | 1064
        | 3118
        | 3955 => ErrorKind::Config,
        // A value, a constraint, a trigger that said no; those without a class of their own.
        1172
        | 1364
        | 1366
        | 1526
        | 1591
        | 1713
        | 1748
        | 1265
        | 1292
        | 1264
        | 1300
        | 1411
        | 1416
        | 1267
        | 1270
        | 1271
        | 1118
        | 1153
        | 1406
        | 1442
        | 1467
        | 1690
        | 3140..=3158
        | 3516
        | 3548
        | 3616..=3619
        | 3819
        | 4025
        | 4078
        | 4079
        | 4161
        | 1642..=1644
        | 3988
        | 6136..=6139
        | 1210
        | 1367
        | 1470
        | 1071
        | 1709
        | 3037
        | 3069
        | 3643
        | 3903 => ErrorKind::Refused,
        _ => match answer.state.get(..2) {
            Some("08" | "40") => ErrorKind::Retry,
            Some("20" | "21" | "22" | "23" | "44" | "45") => ErrorKind::Refused,
            Some("28" | "42" | "3D") => ErrorKind::Config,
            _ => ErrorKind::Broken,
        },
    }
}

fn hint(code: u16) -> Option<&'static str> {
    Some(match code {
        1045 | 1698 | 1251 => {
            "see user, password and sslmode in the target's connection string, and what CREATE USER requires of this user"
        }
        1044 | 1049 => "see the database in the target's connection string, and the user's rights in it",
        1130 => "the target does not let this user in from this host: see CREATE USER 'user'@'host'",
        3159 => "the target demands TLS: put sslmode=verify-full into its connection string",
        1142 | 1143 | 1227 => {
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, REFERENCES ON the database of the connection string TO its user"
        }
        1054 | 1146 => "the table was changed or dropped on the target; start ebb again once it is as before",
        1665 => "set binlog_format = ROW on the target",
        1062 | 1451 | 1452 | 1216 | 1217 => {
            "see the row and the constraint named; the target may hold rows that the source does not"
        }
        1365 => {
            "the source has two rows whose keys are one key to the target: give the key column there a collation that tells \
             them apart, such as utf8mb4_bin"
        }
        1048 | 1364 | 3819 | 4025 => "change the constraint on the target",
        1406 | 1264 => "widen the column on the target",
        1366 | 1265 | 1292 | 3140 | NO_CHARACTER => "change the column's type on the target",
        1153 => "raise max_allowed_packet on the target",
        1290 | 1792 | 1836 => "the target is read-only: it is a replica, or read_only is on",
        1021 | 1114 => "the target's disk or tablespace is full",
        1040 | 1203 | 1226 => "the target admits no more connections (max_connections, or the user's limits)",
        1412 => "a table was altered on the target after the snapshot had begun; begin the comparison again",
        1205 => "another session holds a lock on the target: see SHOW PROCESSLIST and information_schema.innodb_trx",
        1317 | 1969 | 3024 => "the statement was interrupted, or ran longer than --applyTimeout",
        1526 | 1591 | 1748 => "add a partition of the table on the target for this value",
        1172 | 1242 | 1339 | 1644 => "see the triggers of the table on the target",
        1713 => "the row changes more in indexed columns than InnoDB can undo: index prefixes of them instead",
        3032 => "the target is in offline_mode; ebb goes on once it is off",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, state: &str, message: &str) -> Failure {
        Failure::Server(ServerError { code, state: state.into(), message: message.into() })
    }

    #[test]
    fn kinds_by_number() {
        for (codes, expected) in [
            ("1205 1213 1290 1836 1040 1053 1317 1969 3032", ErrorKind::Retry),
            ("1062 1048 1264 1265 1292 1366 1406 1451 1452 3819 4025 1644 1526 1748 1713 1172", ErrorKind::Refused),
            ("1044 1045 1049 1054 1142 1146 3159", ErrorKind::Config),
            ("1105", ErrorKind::Broken),
        ] {
            for code in codes.split(' ') {
                let code = code.parse().unwrap();
                let state = if matches!(code, 1062 | 1048 | 1451 | 1452) { "23000" } else { "HY000" };
                assert_eq!(translate(&server(code, state, ""), "test").kind, expected, "{code}");
            }
        }
    }

    #[test]
    fn what_a_trigger_may_have_said_is_not_repeated() {
        let answer = ServerError { code: 1142, state: "42000".into(), message: "canary".into() };
        let is_told = |what, are_hidden| said(&answer, what, are_hidden).contains("canary");
        assert!(is_told(Doing::Write, false) && is_told(Doing::Other, true));
        assert!(!is_told(Doing::Write, true));
    }
}
