//! Upserts and deletes of whole blocks: prepared statements of many rows.
//!
//! Owns: how many rows a statement takes, and its parameters. Does not own: the SQL (`statement`), the values (`values`),
//! rows that are deleted and inserted again (`reinsert`), whether a statement had its effect (`effect`), finding the row that was refused (`locate`).

use std::ops::Range;

use ebb_sdk::{Block, Error, ErrorKind, Operation, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Value};

use crate::names::Names;
use crate::reinsert::TargetOnly;
use crate::statement::{self, TargetColumn};
use crate::values::{ANOTHER_LETTER, Reason, is_another_letter};
use crate::{Session, answered, before, locate};

/// A statement takes a power of this many rows, so that few are prepared.
const SHAPE: usize = 4;
const ROWS_MAX: usize = 1024;
/// MySQL counts the parameters of a statement in two bytes.
const PARAMETERS_MAX: usize = 65_535;
/// A message is at most so many bytes, even where the server takes more.
pub(crate) const STATEMENT_BYTES_MAX: usize = 8 << 20;

/// Writes one block inside the open transaction.
pub(crate) async fn write(session: &mut Session, block: &Block<'_>) -> Result<()> {
    let doing = doing(block);
    let targets = targets(session, block)?;
    let details = session.tables.details.get(&block.table().name);
    let guards = details.is_some_and(|details| details.has_unique_keys);
    let triggers = details.and_then(|details| details.triggers.clone());
    let bytes_max = (session.server.packet_bytes_max / 2).min(STATEMENT_BYTES_MAX);
    let names = &session.tables.names;
    let attempt = Attempt { block, targets: &targets, names, guards, triggers, bytes_max, doing: &doing };
    let remembers = before::questions(session, block);
    let wait = session.answer_wait;
    let conn = &mut session.conn;
    let (passes, mut target_only): (&[Pass], _) = match block.operation() {
        Operation::Replace => (&[Pass::Delete, Pass::Reinsert], TargetOnly::default()),
        _ => (&[Pass::Write], TargetOnly::default()),
    };
    for (pass, some) in passes.iter().flat_map(|pass| attempt.parts().map(move |some| (pass, some))) {
        let outcome = async {
            for question in remembers.iter().filter(|_| !matches!(pass, Pass::Reinsert)) {
                match attempt.ask(conn, question, some.clone()).await {
                    Ok(found) => session.before.add(question.reference, found),
                    Err(failure) => return Ok(Err(failure)),
                }
            }
            Ok(attempt.pass(*pass, conn, some.clone(), &mut target_only).await)
        };
        if let Err(failure) = answered(wait, &doing, outcome).await? {
            return answered(wait, &doing, async { Ok(locate::explain(&attempt, conn, &failure, some).await) })
                .await
                .and_then(Err);
        }
    }
    attempt.count_rounded(&mut session.rounding);
    Ok(())
}

/// What is done to every part of a block before the next is done to any.
#[derive(Clone, Copy)]
enum Pass {
    Write,
    Delete,
    Reinsert,
}

pub(crate) fn doing(block: &Block<'_>) -> String {
    match block.operation() {
        Operation::Upsert | Operation::Update | Operation::Replace => format!("write to {}", block.table()),
        Operation::Delete => format!("delete from {}", block.table()),
        Operation::Verify => format!("verify the constraints of {}", block.table()),
    }
}

pub(crate) fn targets(session: &Session, block: &Block<'_>) -> Result<Vec<TargetColumn>> {
    let table = block.table();
    let undescribed = || Error::new(ErrorKind::Broken, format!("the host writes to {table}, which was not described"));
    let details = session.tables.details.get(&table.name).ok_or_else(undescribed)?;
    let target = |column: &ebb_sdk::Column| {
        let position = table.column(&column.name).ok_or_else(undescribed)?;
        let column_type = details.columns.get(position.place()).cloned().ok_or_else(undescribed)?;
        let is_key = table.primary_key.contains(&position);
        Ok(TargetColumn { column: column.clone(), may_round: column_type.may_round, column_type, is_key })
    };
    block.columns().map(target).collect()
}

/// The value to send. What a key could take for another one is refused, and so are digits that would be lost.
pub(crate) fn parameter(target: &TargetColumn, value: ebb_sdk::Value<'_>) -> Result<Value, Reason> {
    let conversion = &target.column_type.conversion;
    let parameter = conversion.parameter(value, target.column_type.nullable)?;
    if target.is_key {
        conversion.check_key(value)?;
    }
    if is_another_letter(target.column_type.charset.as_deref(), value.text().unwrap_or_default()) {
        return Err(ANOTHER_LETTER);
    }
    match target.may_round {
        true => Ok(parameter),
        false => conversion.lost_digits(value).map_or(Ok(parameter), Err),
    }
}

/// One block on its way into the database.
pub(crate) struct Attempt<'a> {
    pub(crate) block: &'a Block<'a>,
    pub(crate) targets: &'a [TargetColumn],
    pub(crate) names: &'a Names,
    /// An upsert may meet another row than it means.
    guards: bool,
    /// Those that fire when rows are written, if there are any or none can be seen: then rows that are there are written by
    /// UPDATE and new ones by INSERT, so that those of the real event fire.
    pub(crate) triggers: Option<String>,
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
    NotConvertible { row: usize, column: usize, why: Reason },
    /// The server said yes, and the rows are not what they were to be.
    NoEffect { row: Option<usize>, why: String },
}

impl From<mysql_async::Error> for Failure {
    fn from(error: mysql_async::Error) -> Self {
        Self::Database(error)
    }
}

impl Attempt<'_> {
    async fn pass(
        &self,
        pass: Pass,
        conn: &mut Conn,
        rows: Range<usize>,
        target_only: &mut TargetOnly,
    ) -> Result<(), Failure> {
        match pass {
            Pass::Write => self.run(conn, rows).await,
            Pass::Delete => {
                self.read_target_only(conn, rows.clone(), target_only).await?;
                self.delete_for_reinsert(conn, rows).await
            }
            Pass::Reinsert => {
                self.reinsert(conn, rows.clone(), target_only).await?;
                if self.triggers.is_some() { self.must_be_there(conn, rows).await } else { Ok(()) }
            }
        }
    }

    /// All rows, as many at once as go into one statement.
    fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        let mut rows = 0..self.block.rows();
        std::iter::from_fn(move || {
            let some = (!rows.is_empty()).then(|| self.some_of(rows.clone()))?;
            rows.start = some.end;
            Some(some)
        })
    }

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
            Operation::Upsert if self.triggers.is_some() => self.upsert_by_event(conn, rows).await,
            Operation::Upsert => {
                let sql = statement::upsert(table, self.targets, count, self.guards);
                let written = self.execute(conn, sql, self.values(rows, |_| true)?).await?;
                self.all_written(written, count)
            }
            Operation::Delete => {
                let sql = statement::delete(table, self.targets, count);
                let deleted = self.execute(conn, sql, self.keys(rows.clone())?).await?;
                if deleted < count as u64 { self.must_be_gone(conn, rows).await } else { Ok(()) }
            }
            Operation::Replace => {
                self.delete_for_reinsert(conn, rows.clone()).await?;
                self.insert(conn, rows).await
            }
            Operation::Update if self.is_blank(rows.clone()) => {
                let sql = statement::release(table, self.targets, count);
                let written = self.execute(conn, sql, self.keys(rows.clone())?).await?;
                self.none_missed(conn, written, rows).await
            }
            Operation::Update => {
                for row in rows {
                    let written = self.update(conn, row).await?;
                    self.none_missed(conn, written, row..row + 1).await?;
                }
                Ok(())
            }
            // One question per foreign key; see `verify`.
            Operation::Verify => Ok(()),
        }
    }

    /// Inserts some rows; where it is one, its failure says which unique key stands in its way.
    pub(crate) async fn insert(&self, conn: &mut Conn, rows: Range<usize>) -> Result<(), Failure> {
        let (count, sql) = (rows.len(), statement::insert(self.block.table(), self.targets, rows.len()));
        let written = self.execute(conn, sql, self.values(rows, |_| true)?).await?;
        self.all_written(written, count)
    }

    /// Gives a row that is there its values, and says whether it was there.
    pub(crate) async fn update(&self, conn: &mut Conn, row: usize) -> Result<u64, Failure> {
        let mut values = self.values(row..row + 1, |target| !target.is_key)?;
        values.extend(self.keys(row..row + 1)?);
        self.execute(conn, statement::update(self.block.table(), self.targets), values).await
    }

    /// How many rows the statement met: those of a condition count also where they stay as they are.
    pub(crate) async fn execute(&self, conn: &mut Conn, sql: String, values: Vec<Value>) -> Result<u64, Failure> {
        conn.exec_drop(sql, Params::Positional(values)).await?;
        Ok(conn.affected_rows())
    }

    /// The columns of the key.
    pub(crate) fn key(&self) -> Vec<TargetColumn> {
        self.targets.iter().filter(|target| target.is_key).cloned().collect()
    }

    pub(crate) fn values(
        &self,
        rows: Range<usize>,
        is_wanted: impl Fn(&TargetColumn) -> bool,
    ) -> Result<Vec<Value>, Failure> {
        let mut values = Vec::with_capacity(rows.len() * self.targets.len());
        for row in rows {
            for (column, target) in self.targets.iter().enumerate().filter(|(_, target)| is_wanted(target)) {
                let value = parameter(target, self.block.value(row, column));
                values.push(value.map_err(|why| Failure::NotConvertible { row, column, why })?);
            }
        }
        Ok(values)
    }

    /// The parameters of [`statement::same_keys`].
    pub(crate) fn keys(&self, rows: Range<usize>) -> Result<Vec<Value>, Failure> {
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
