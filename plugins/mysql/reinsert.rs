//! Rows that are deleted and inserted again: all of a block go before the first one comes, and columns that only the target
//! has keep their values.
//!
//! Owns: the order, and what is kept meanwhile. Does not own: the statements (`statement`), finding the row that was refused
//! (`locate`).

use std::ops::Range;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Row, Value};

use crate::quoted;
use crate::statement::{self, same_keys};
use crate::write::{Attempt, Failure};

/// What the columns that a block does not have hold, row by row; `None` for a row that is not there.
#[derive(Default)]
pub(crate) struct TargetOnly {
    columns: Vec<String>,
    rows: Vec<Option<Vec<Value>>>,
}

impl Attempt<'_> {
    /// Reads what is to be kept of some rows.
    pub(crate) async fn read_target_only(
        &self,
        conn: &mut Conn,
        rows: Range<usize>,
        target_only: &mut TargetOnly,
    ) -> Result<(), Failure> {
        let table = self.block.table();
        let is_given = |name: &String| self.targets.iter().any(|target| target.column.name == *name);
        let others = table.columns.iter().filter(|column| !column.generated && !is_given(&column.name));
        target_only.columns = others.map(|column| column.name.clone()).collect();
        if target_only.columns.is_empty() {
            return Ok(());
        }
        let columns: Vec<_> = target_only.columns.iter().map(|name| quoted(name)).collect();
        let condition = same_keys("", &self.key(), 1);
        let sql = format!("SELECT {} FROM {} WHERE {condition} FOR UPDATE", columns.join(", "), quoted(&table.name));
        for row in rows {
            let keys = Params::Positional(self.keys(row..row + 1)?);
            let found: Option<Row> = conn.exec_first(sql.as_str(), keys).await?;
            target_only.rows.push(found.map(Row::unwrap));
        }
        Ok(())
    }

    /// Deletes some rows, of which none need be there.
    pub(crate) async fn delete_for_reinsert(&self, conn: &mut Conn, rows: Range<usize>) -> Result<(), Failure> {
        let sql = statement::delete(self.block.table(), &self.key(), rows.len());
        self.execute(conn, sql, self.keys(rows)?).await.map(drop)
    }

    /// Inserts some rows, each with what was kept of it.
    pub(crate) async fn reinsert(
        &self,
        conn: &mut Conn,
        rows: Range<usize>,
        target_only: &TargetOnly,
    ) -> Result<(), Failure> {
        if target_only.columns.is_empty() {
            return self.insert(conn, rows).await;
        }
        for row in rows {
            let Some(values) = target_only.rows.get(row).and_then(Option::as_ref) else {
                self.insert(conn, row..row + 1).await?;
                continue;
            };
            let sql = statement::insert_with(self.block.table(), self.targets, &target_only.columns);
            let mut given = self.values(row..row + 1, |_| true)?;
            given.extend(values.iter().cloned());
            let written = self.execute(conn, sql, given).await?;
            self.all_written(written, 1)?;
        }
        Ok(())
    }
}
