//! Transactions that read at one time: `BEGIN AS OF SYSTEM TIME t` and `SET TRANSACTION AS OF SYSTEM TIME t`. For
//! PostgreSQL they are read-only ones, and each of their statements gets the time.
//!
//! A statement must be prepared in the transaction that runs it: what was prepared elsewhere has another time in it.
//! Does not own: what a time makes of a statement (`as_of`), and when a transaction has ended without a word (`proxy`).

use crate::as_of;
use crate::cursor::Cursor;
use crate::failure::Failure;
use crate::lex::Token;

/// Where a statement comes from, and the time of the transaction around it.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) time: Option<String>,
    /// It may be run again at any time, or never.
    pub(crate) is_prepared: bool,
}

impl Transaction {
    /// What stands for a statement that begins such a transaction; None for every other. Takes note of ends.
    pub(crate) fn follow(&mut self, statement: &[Token<'_>]) -> Option<Result<String, Failure>> {
        let mut cursor = Cursor::new(statement);
        let mut ahead = cursor;
        if ahead.next()?.is_any(&["COMMIT", "END", "ABORT", "ROLLBACK"]) {
            let _ = ahead.accept(&["TRANSACTION"]) || ahead.accept(&["WORK"]);
            if !ahead.accept(&["TO"]) {
                self.time = None;
            }
            return None;
        }
        let replacement = if cursor.accept(&["SET", "TRANSACTION"]) {
            "SET TRANSACTION READ ONLY"
        } else if cursor.accept(&["BEGIN"]) || cursor.accept(&["START"]) {
            let _ = cursor.accept(&["TRANSACTION"]);
            "BEGIN READ ONLY"
        } else {
            return None;
        };
        let time = as_of::time(statement).transpose()?;
        Some(time.and_then(|time| self.begin(cursor, time)).map(|()| replacement.to_owned()))
    }

    /// The cursor stands at the modes, of which the time must be the last.
    fn begin(&mut self, mut cursor: Cursor<'_>, time: String) -> Result<(), Failure> {
        if cursor.accept(&["READ", "ONLY"]) {
            cursor.accept_symbol(',');
        }
        cursor.expect(&["AS", "OF", "SYSTEM", "TIME"])?;
        cursor.value()?;
        cursor.expect_end()?;
        if self.is_prepared {
            return Err(Failure::unsupported("a prepared statement that begins a transaction AS OF SYSTEM TIME"));
        } else if !time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(Failure::unsupported("a transaction AS OF SYSTEM TIME of anything but a decimal"));
        } else if self.time.as_ref().is_some_and(|known| *known != time) {
            return Err(Failure::unsupported("a second time in a transaction AS OF SYSTEM TIME"));
        }
        self.time = Some(time);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::rewrite_in;
    use crate::version::Version;

    fn check(transaction: &mut Transaction, sql: &str, expected: &str) {
        let version = Version::parse("25.2.1").unwrap();
        let found = rewrite_in(transaction, sql, &version).unwrap_or_else(|| sql.to_owned());
        assert_eq!(found, expected, "{sql}");
    }

    #[test]
    fn statements_get_the_time_of_their_transaction() {
        let mut transaction = Transaction::default();
        let read = "SELECT * FROM crdb_internal.as_of(NULL::\"t\", '17.5') AS \"t\"";
        check(
            &mut transaction,
            "BEGIN READ ONLY; SET TRANSACTION AS OF SYSTEM TIME 17.5; SELECT * FROM t; COMMIT; SELECT * FROM t",
            &format!("BEGIN READ ONLY; SET TRANSACTION READ ONLY; {read}; COMMIT; SELECT * FROM t"),
        );
        check(&mut transaction, "begin transaction as of system time '17.5'", "BEGIN READ ONLY");
        check(&mut transaction, "SELECT * FROM t", read);
        check(&mut transaction, "SELECT * FROM t AS OF SYSTEM TIME '17.5'", &format!("{read} "));
        check(&mut transaction, "ROLLBACK TO SAVEPOINT s", "ROLLBACK TO SAVEPOINT s");
        check(&mut transaction, "INSERT INTO t SELECT 1", "INSERT INTO t SELECT 1");
        assert_eq!(transaction.time.as_deref(), Some("17.5"));
        check(&mut transaction, "ROLLBACK", "ROLLBACK");
        check(&mut transaction, "SELECT * FROM t", "SELECT * FROM t");
    }

    #[test]
    fn what_is_not_known_of_such_a_transaction_is_refused() {
        let version = Version::parse("25.2.1").unwrap();
        let mut transaction = Transaction::default();
        let mut refusal = |sql: &str| rewrite_in(&mut transaction, sql, &version).unwrap();
        assert!(refusal("BEGIN AS OF SYSTEM TIME '-1s'").contains("anything but a decimal"));
        assert!(refusal("BEGIN AS OF SYSTEM TIME 17, READ ONLY").contains("syntax error"));
        assert_eq!(refusal("BEGIN AS OF SYSTEM TIME 17"), "BEGIN READ ONLY");
        assert!(refusal("SET TRANSACTION AS OF SYSTEM TIME 18").contains("a second time"));
        assert!(refusal("SELECT * FROM t AS OF SYSTEM TIME 18").contains("inconsistent"));
        assert!(refusal("SELECT cluster_logical_timestamp()").contains("not supported"));
        transaction = Transaction { is_prepared: true, ..Transaction::default() };
        let found = rewrite_in(&mut transaction, "BEGIN AS OF SYSTEM TIME 17", &version).unwrap();
        assert!(found.contains("a prepared statement that begins"));
    }
}
