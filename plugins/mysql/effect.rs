//! Whether a statement had the effect that was meant, which the server does not say by itself.
//!
//! Owns: what the counts of affected rows prove, the questions where they prove nothing, and writing rows of tables whose
//! triggers fire. Does not own: the statements (`write`), their SQL (`statement`).
//!
//! MySQL has no rules and no policies, tables are described and views are not, strict mode makes errors of what would be warnings,
//! and nothing here says IGNORE: a row of an INSERT is written or the statement fails. The session counts found rows
//! (`CLIENT_FOUND_ROWS`), so that `ON DUPLICATE KEY UPDATE` counts 1 for a new row, 2 for a changed one and 1 for one that
//! stays as it is: never nothing. Fewer than the rows of the statement are therefore proof that some were not written. What
//! may still change a row on its way are triggers, which cannot leave it out, but can give it another key.

use std::ops::Range;

use ebb_sdk::Rounding;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Value};

use crate::before::Question;
use crate::statement;
use crate::write::{Attempt, Failure};

impl Attempt<'_> {
    /// For INSERT, with or without `ON DUPLICATE KEY UPDATE`.
    pub(crate) fn all_written(&self, written: u64, rows: usize) -> Result<(), Failure> {
        if written >= rows as u64 {
            return Ok(());
        }
        let why = format!("the server has written {written} of {rows} rows and has not said why");
        Err(Failure::NoEffect { row: None, why })
    }

    /// Writes rows of a table whose triggers fire, each by the statement of what happens to it.
    pub(crate) async fn upsert_by_event(&self, conn: &mut Conn, rows: Range<usize>) -> Result<(), Failure> {
        let is_key_only = self.targets.iter().all(|target| target.is_key);
        if self.count(conn, rows.clone()).await? == 0 {
            self.insert(conn, rows.clone()).await?;
        } else {
            for row in rows.clone() {
                let found = match is_key_only {
                    true => self.count(conn, row..row + 1).await?,
                    false => self.update(conn, row).await?,
                };
                if found == 0 {
                    self.insert(conn, row..row + 1).await?;
                }
            }
        }
        self.must_be_there(conn, rows).await
    }

    /// A trigger may have given a row another key.
    pub(crate) async fn must_be_there(&self, conn: &mut Conn, rows: Range<usize>) -> Result<(), Failure> {
        if self.count(conn, rows.clone()).await? == rows.len() as u64 {
            return Ok(());
        }
        for row in rows {
            if self.count(conn, row..row + 1).await? == 0 {
                return Err(self.no_effect(row, "the row was written and is not there under its key"));
            }
        }
        Err(Failure::NoEffect { row: None, why: "the rows were written and are not all there".into() })
    }

    /// A delete found fewer rows than it has keys: the others must not be there in any sense.
    pub(crate) async fn must_be_gone(&self, conn: &mut Conn, rows: Range<usize>) -> Result<(), Failure> {
        if self.count(conn, rows.clone()).await? == 0 {
            return Ok(());
        }
        for row in rows {
            if self.count(conn, row..row + 1).await? > 0 {
                return Err(self.no_effect(row, "the row was deleted and is still there"));
            }
        }
        Ok(())
    }

    /// An update found some of the rows: the others must not be there in any sense.
    pub(crate) async fn none_missed(&self, conn: &mut Conn, found: u64, rows: Range<usize>) -> Result<(), Failure> {
        if found >= rows.len() as u64 || self.count(conn, rows.clone()).await? <= found {
            return Ok(());
        }
        let row = (rows.len() == 1).then_some(rows.start);
        Err(Failure::NoEffect { row, why: "an update has not found a row that is there".into() })
    }

    fn no_effect(&self, row: usize, why: &str) -> Failure {
        let triggers = self.triggers.as_ref().map(|names| format!(" (its triggers are {names})")).unwrap_or_default();
        Failure::NoEffect { row: Some(row), why: format!("{why}{triggers}") }
    }

    /// How many rows of these keys there are.
    async fn count(&self, conn: &mut Conn, rows: Range<usize>) -> Result<u64, Failure> {
        let sql = statement::count(self.block.table(), &self.key(), rows.len());
        let found: Option<u64> = conn.exec_first(sql, Params::Positional(self.keys(rows)?)).await?;
        Ok(found.unwrap_or_default())
    }

    /// The values that rows of these keys have now in some columns.
    pub(crate) async fn ask(
        &self,
        conn: &mut Conn,
        question: &Question,
        rows: Range<usize>,
    ) -> Result<Vec<Vec<Value>>, Failure> {
        let condition = statement::same_keys("", &self.key(), rows.len());
        let sql = format!("{} WHERE {condition}", question.select);
        let found: Vec<mysql_async::Row> = conn.exec(sql, Params::Positional(self.keys(rows)?)).await?;
        Ok(found.into_iter().map(mysql_async::Row::unwrap).collect())
    }

    /// Values that lost digits where they may.
    pub(crate) fn count_rounded(&self, rounding: &mut Rounding) {
        for (at, target) in self.targets.iter().enumerate().filter(|(_, target)| target.may_round) {
            let values = self.block.column_values(at);
            let count = values.filter(|&value| target.column_type.conversion.lost_digits(value).is_some()).count();
            rounding.add(self.block.table(), &target.column.name, count as u64);
        }
    }
}
