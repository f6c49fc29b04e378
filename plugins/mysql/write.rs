//! Upserts and deletes of whole blocks: prepared statements of many rows.
//!
//! Owns: how many rows a statement takes, and its parameters. Does not own: the SQL (`statement`), the values (`values`),
//! finding the row that was refused (`locate`).

use std::ops::Range;

use ebb_sdk::{Block, Error, ErrorKind, Operation, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Value};

use crate::statement::{self, Target};
use crate::values::Reason;
use crate::{Session, answered, locate};

/// A statement takes a power of this many rows, so that few are prepared.
const SHAPE: usize = 4;
const ROWS_MAX: usize = 1024;
/// MySQL counts the parameters of a statement in two bytes.
const PARAMETERS_MAX: usize = 65_535;
/// A message is at most so many bytes, even where the server takes more.
const STATEMENT_BYTES_MAX: usize = 8 << 20;

/// Writes one block inside the open transaction.
pub(crate) async fn write(session: &mut Session, block: &Block<'_>) -> Result<()> {
    let doing = doing(block);
    let targets = targets(session, block)?;
    let guards = session.tables.facts.get(&block.table().name).is_some_and(|facts| facts.has_unique_keys);
    let bytes_max = (session.server.packet_bytes_max / 2).min(STATEMENT_BYTES_MAX);
    let attempt = Attempt { block, targets: &targets, guards, bytes_max, doing: &doing };
    let wait = session.answer_wait;
    let conn = &mut session.conn;
    let mut rows = 0..block.rows();
    while !rows.is_empty() {
        let some = attempt.some_of(rows.clone());
        rows.start = some.end;
        let outcome = async { Ok(attempt.run(conn, some.clone()).await) };
        if let Err(failure) = answered(wait, &doing, outcome).await? {
            return answered(wait, &doing, async { Ok(locate::explain(&attempt, conn, &failure, some).await) })
                .await
                .and_then(Err);
        }
    }
    Ok(())
}

pub(crate) fn doing(block: &Block<'_>) -> String {
    match block.operation() {
        Operation::Upsert | Operation::Update | Operation::Replace => format!("write to {}", block.table()),
        Operation::Delete => format!("delete from {}", block.table()),
        Operation::Verify => format!("verify the constraints of {}", block.table()),
    }
}

pub(crate) fn targets(session: &Session, block: &Block<'_>) -> Result<Vec<Target>> {
    let table = block.table();
    let undescribed = || Error::new(ErrorKind::Broken, format!("the host writes to {table}, which was not described"));
    let facts = session.tables.facts.get(&table.name).ok_or_else(undescribed)?;
    let target = |column: &ebb_sdk::Column| {
        let position = table.column(&column.name).ok_or_else(undescribed)?;
        let column_type = facts.columns.get(position as usize).cloned().ok_or_else(undescribed)?;
        Ok(Target { column: column.clone(), column_type, is_key: table.primary_key.contains(&position) })
    };
    block.columns().map(target).collect()
}

/// One block on its way into the database.
pub(crate) struct Attempt<'a> {
    pub(crate) block: &'a Block<'a>,
    pub(crate) targets: &'a [Target],
    /// An upsert may meet another row than it means.
    guards: bool,
    bytes_max: usize,
    /// Completes "cannot …" in messages.
    pub(crate) doing: &'a str,
}

/// Why rows were not written.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server or the driver said no.
    Database(mysql_async::Error),
    /// A value is nothing that its column could take; nothing was sent.
    Unfit { row: usize, column: usize, why: Reason },
}

impl From<mysql_async::Error> for Failure {
    fn from(error: mysql_async::Error) -> Self {
        Self::Database(error)
    }
}

impl Attempt<'_> {
    /// The first rows that go into one statement.
    fn some_of(&self, rows: Range<usize>) -> Range<usize> {
        let mut count = SHAPE.pow(rows.len().min(ROWS_MAX).ilog(SHAPE));
        while count > 1
            && (count * self.parameters_per_row() > PARAMETERS_MAX || self.bytes(rows.start, count) > self.bytes_max)
        {
            count /= SHAPE;
        }
        rows.start..rows.start + count
    }

    fn parameters_per_row(&self) -> usize {
        let key = self.targets.iter().filter(|target| target.is_key).count();
        self.targets.len() + key
    }

    fn bytes(&self, start: usize, count: usize) -> usize {
        let of = |row| (0..self.targets.len()).map(move |at| self.block.value(row, at).text().map_or(1, str::len) + 9);
        (start..start + count).flat_map(of).sum()
    }

    /// Runs the statements for some rows of the block, no more than [`Attempt::some_of`] gives.
    pub(crate) async fn run(&self, conn: &mut Conn, rows: Range<usize>) -> Result<(), Failure> {
        let (table, count) = (self.block.table(), rows.len());
        match self.block.operation() {
            Operation::Upsert => {
                let sql = statement::upsert(table, self.targets, count, self.guards);
                self.execute(conn, sql, self.values(rows, |_| true)?).await
            }
            Operation::Delete => {
                let sql = statement::delete(table, self.targets, count);
                self.execute(conn, sql, self.keys(rows)?).await
            }
            Operation::Replace => {
                let key: Vec<_> = self.targets.iter().filter(|target| target.is_key).cloned().collect();
                let keys = self.keys(rows.clone())?;
                self.execute(conn, statement::delete(table, &key, count), keys).await?;
                let sql = statement::insert(table, self.targets, count);
                self.execute(conn, sql, self.values(rows, |_| true)?).await
            }
            Operation::Update if self.is_blank(rows.clone()) => {
                let sql = statement::release(table, self.targets, count);
                self.execute(conn, sql, self.keys(rows)?).await
            }
            Operation::Update => {
                let sql = statement::update(table, self.targets);
                for row in rows {
                    let mut values = self.values(row..row + 1, |target| !target.is_key)?;
                    values.extend(self.keys(row..row + 1)?);
                    self.execute(conn, sql.clone(), values).await?;
                }
                Ok(())
            }
            // One question per foreign key; see `verify`.
            Operation::Verify => Ok(()),
        }
    }

    /// Inserts one row, to see which unique key stands in its way.
    pub(crate) async fn insert(&self, conn: &mut Conn, row: usize) -> Result<(), Failure> {
        let sql = statement::insert(self.block.table(), self.targets, 1);
        self.execute(conn, sql, self.values(row..row + 1, |_| true)?).await
    }

    async fn execute(&self, conn: &mut Conn, sql: String, values: Vec<Value>) -> Result<(), Failure> {
        Ok(conn.exec_drop(sql, Params::Positional(values)).await?)
    }

    fn values(&self, rows: Range<usize>, is_wanted: impl Fn(&Target) -> bool) -> Result<Vec<Value>, Failure> {
        let mut values = Vec::with_capacity(rows.len() * self.targets.len());
        for row in rows {
            for (column, target) in self.targets.iter().enumerate().filter(|(_, target)| is_wanted(target)) {
                let value =
                    target.column_type.form.parameter(self.block.value(row, column), target.column_type.nullable);
                values.push(value.map_err(|why| Failure::Unfit { row, column, why })?);
            }
        }
        Ok(values)
    }

    /// The parameters of [`statement::same_keys`].
    fn keys(&self, rows: Range<usize>) -> Result<Vec<Value>, Failure> {
        let mut keys = self.values(rows, |target| target.is_key)?;
        let is_folded = self.targets.iter().any(|target| target.is_key && target.column_type.is_folded());
        if is_folded {
            keys.extend_from_within(..);
        }
        Ok(keys)
    }

    /// Whether all values but those of the key are NULL.
    fn is_blank(&self, mut rows: Range<usize>) -> bool {
        let others = || self.targets.iter().enumerate().filter(|(_, target)| !target.is_key);
        rows.all(|row| others().all(|(column, _)| self.block.value(row, column).text().is_none()))
    }
}
