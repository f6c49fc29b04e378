//! Upserts and deletes of whole blocks: one statement per block, one array of text per column.
//!
//! Owns: prepared statements and their parameters. Does not own: the SQL (`statement`), the texts of values (`values`),
//! finding the row that was refused (`locate`).

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{BufMut, BytesMut};
use ebb_sdk::{Block, Checks, Error, ErrorKind, Operation, Result, Table, Value};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};

use crate::error::translate;
use crate::names::Names;
use crate::statement::{self, TargetColumn};
use crate::values::{LOST, Reason};
use crate::{Session, before, effect, locate};

/// Prepared statements kept; at the limit all are forgotten and prepared anew.
const STATEMENTS_MAX: usize = 1000;
const TEXT_OID: u32 = 25;

/// Schema and table, operation, names of the columns.
pub(crate) type StatementKey = (String, String, Operation, Vec<String>);

/// A statement ready to run, and the columns of its parameters.
pub(crate) struct Prepared {
    query_plan: QueryPlan,
    pub(crate) targets: Vec<TargetColumn>,
    writes_every_row: bool,
}

/// Who decides how a statement finds its rows.
enum QueryPlan {
    /// The server, once: an upsert has nothing to choose.
    Kept(Statement),
    /// The server, each time, knowing how many rows come and how large the table is now. A delete joins the two, and a
    /// plan kept from the time when the table was small reads the whole of a large one.
    Fresh(String),
}

/// Writes one block inside the open transaction.
pub(crate) async fn write(session: &mut Session, block: &Block<'_>) -> Result<()> {
    if block.rows() == 0 {
        return Ok(());
    }
    let doing = doing(block);
    let prepared = prepared(session, block, &doing).await?;
    let prior_queries = match session.checks {
        Checks::Suspended => before::prior_queries(session, block).await?,
        Checks::Immediate | Checks::Deferred => Vec::new(),
    };
    let attempt = Attempt { client: &session.client, prepared: &prepared, block, names: &session.names, doing: &doing };
    let rows = 0..block.rows();
    let work = async {
        let mut found = Vec::with_capacity(prior_queries.len());
        for query in &prior_queries {
            found.push(query.read(&attempt).await?);
        }
        Ok((found, attempt.run(rows.clone()).await?))
    };
    let (found, written) = match session.answered(&doing, async { Ok(work.await) }).await? {
        Ok(done) => done,
        Err(failure) => return Err(locate::explain(&attempt, &failure, rows).await),
    };
    session.answered(&doing, effect::check(&attempt, &written, fires(session, block))).await?;
    session.before.keep(block, found);
    for (target, &values) in prepared.targets.iter().zip(&written.rounded) {
        session.rounded.add(block.table(), &target.column.name, values);
    }
    Ok(())
}

/// Whether a trigger of a user fires on what this transaction writes to the table.
fn fires(session: &Session, block: &Block<'_>) -> bool {
    let table = block.table();
    let schema = table.namespace.last().cloned().unwrap_or_default();
    let details = session.details.get(&(schema, table.name.clone()));
    details.is_some_and(
        |details| if session.checks == Checks::Suspended { details.fires_suspended } else { details.fires },
    )
}

pub(crate) fn doing(block: &Block<'_>) -> String {
    match block.operation() {
        Operation::Upsert | Operation::Update | Operation::Replace => format!("write to {}", block.table()),
        Operation::Delete => format!("delete from {}", block.table()),
        Operation::Verify => format!("verify the constraints of {}", block.table()),
    }
}

async fn prepared(session: &mut Session, block: &Block<'_>, doing: &str) -> Result<Arc<Prepared>> {
    let table = block.table();
    let schema = table.namespace.last().cloned().unwrap_or_default();
    let key =
        (schema, table.name.clone(), block.operation(), block.columns().map(|column| column.name.clone()).collect());
    if let Some(known) = session.statements.get(&key) {
        return Ok(Arc::clone(known));
    }
    let targets = targets(session, block)?;
    let sql = statement::text(table, block.operation(), &targets);
    let query_plan = match block.operation() {
        Operation::Delete | Operation::Update | Operation::Replace | Operation::Verify => QueryPlan::Fresh(sql),
        Operation::Upsert => {
            let prepare = async { session.client.prepare(&sql).await.map_err(|failure| translate(&failure, doing)) };
            QueryPlan::Kept(session.answered(doing, prepare).await?)
        }
    };
    let writes_every_row = statement::writes_every_row(table, block.operation(), &targets);
    let prepared = Arc::new(Prepared { query_plan, targets, writes_every_row });
    if session.statements.len() >= STATEMENTS_MAX {
        session.statements.clear();
    }
    session.statements.insert(key, Arc::clone(&prepared));
    Ok(prepared)
}

pub(crate) fn targets(session: &Session, block: &Block<'_>) -> Result<Vec<TargetColumn>> {
    targets_of(session, block.table(), block.columns())
}

/// Columns of a table and how their values are written.
pub(crate) fn targets_of<'a>(
    session: &Session,
    table: &Table,
    columns: impl Iterator<Item = &'a ebb_sdk::Column>,
) -> Result<Vec<TargetColumn>> {
    let schema = table.namespace.last().cloned().unwrap_or_default();
    let undescribed = || Error::new(ErrorKind::Broken, format!("the host writes to {table}, which was not described"));
    let types = &session.details.get(&(schema, table.name.clone())).ok_or_else(undescribed)?.types;
    let target = |column: &ebb_sdk::Column| {
        let at = table.column(&column.name).ok_or_else(undescribed)?;
        let mut column_type = types.get(at.place()).cloned().ok_or_else(undescribed)?;
        if session.options.source_is_known {
            column_type.conversion = column_type.conversion.of_known_source();
        }
        let may_round = session.options.may_round(table, &column.name);
        Ok(TargetColumn { column: column.clone(), column_type, is_key: table.primary_key.contains(&at), may_round })
    };
    columns.map(target).collect()
}

/// What a statement did.
pub(crate) struct Written {
    pub(crate) rows: u64,
    /// Values that lost digits, by column.
    pub(crate) rounded: Vec<u64>,
}

/// One block on its way into the database.
pub(crate) struct Attempt<'a> {
    pub(crate) client: &'a Client,
    pub(crate) prepared: &'a Prepared,
    pub(crate) block: &'a Block<'a>,
    pub(crate) names: &'a Names,
    /// Completes "cannot …" in messages.
    pub(crate) doing: &'a str,
}

/// Why rows were not written.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server or the driver said no.
    Database(tokio_postgres::Error),
    /// A value has no text that its column could take; nothing was sent.
    NotConvertible(NotConvertible),
    /// No error, and fewer rows written than sent, or more.
    LeftOut,
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.source().and_then(|source| source.downcast_ref::<NotConvertible>()) {
            Some(not_convertible) => Self::NotConvertible(*not_convertible),
            None => Self::Database(error),
        }
    }
}

impl Attempt<'_> {
    /// Runs the statement for some rows of the block.
    pub(crate) async fn run(&self, rows: Range<usize>) -> Result<Written, Failure> {
        let columns: Vec<_> = (0..self.prepared.targets.len()).map(|at| self.parameter(at, rows.clone())).collect();
        let parameters = columns.iter().map(|column| column as &(dyn ToSql + Sync));
        let written = match &self.prepared.query_plan {
            QueryPlan::Kept(statement) => self.client.execute(statement, &parameters.collect::<Vec<_>>()).await?,
            QueryPlan::Fresh(sql) => {
                let typed: Vec<_> = parameters.map(|parameter| (parameter, Type::TEXT_ARRAY)).collect();
                self.client.execute_typed(sql, &typed).await?
            }
        };
        let is_whole = match self.prepared.writes_every_row {
            true => written == rows.len() as u64,
            // More are rows of other tables, which no key of this one keeps apart.
            false => written <= rows.len() as u64,
        };
        match is_whole {
            true => Ok(Written { rows: written, rounded: columns.iter().map(TextArray::rounded).collect() }),
            false => Err(Failure::LeftOut),
        }
    }

    /// The values of one column as a parameter.
    pub(crate) fn parameter(&self, column: usize, rows: Range<usize>) -> TextArray<'_> {
        TextArray::of(self.block, column, &self.prepared.targets[column], rows)
    }
}

/// One column of a block as a parameter of type `text[]`, written without a copy per value.
/// Form: <https://www.postgresql.org/docs/current/arrays.html>, in binary: dimensions, whether there are NULLs, element
/// type, length and lower bound, then each element with its length.
#[derive(Debug)]
pub(crate) struct TextArray<'a> {
    block: &'a Block<'a>,
    column: usize,
    target: &'a TargetColumn,
    rows: Range<usize>,
    /// Values that lose digits and may.
    rounded: AtomicU64,
}

impl<'a> TextArray<'a> {
    /// Every value of a column.
    pub(crate) fn new(block: &'a Block<'a>, column: usize, target: &'a TargetColumn) -> Self {
        Self::of(block, column, target, 0..block.rows())
    }

    fn of(block: &'a Block<'a>, column: usize, target: &'a TargetColumn, rows: Range<usize>) -> Self {
        Self { block, column, target, rows, rounded: AtomicU64::new(0) }
    }

    /// How many, once they were written.
    fn rounded(&self) -> u64 {
        self.rounded.load(Ordering::Relaxed)
    }

    fn text(&self, value: Value<'a>) -> Result<Option<Cow<'a, str>>, Reason> {
        let mut is_lost = false;
        let text = text(self.target, value, &mut is_lost)?;
        if is_lost {
            self.rounded.fetch_add(1, Ordering::Relaxed);
        }
        Ok(text)
    }
}

/// The text of a value as it is sent for a column, `None` for NULL. Where digits are lost, and may be, `is_lost` is set.
pub(crate) fn text<'a>(
    target: &TargetColumn,
    value: Value<'a>,
    is_lost: &mut bool,
) -> Result<Option<Cow<'a, str>>, Reason> {
    if target.is_key {
        target.column_type.key.check(value)?;
    }
    let text = target.column_type.conversion.text(value, is_lost)?;
    if *is_lost && !target.may_round { Err(LOST) } else { Ok(text) }
}

impl ToSql for TextArray<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.put_i32(1);
        out.put_i32(1);
        out.put_u32(TEXT_OID);
        out.put_i32(i32::try_from(self.rows.len())?);
        out.put_i32(1);
        for row in self.rows.clone() {
            let not_convertible = |why| NotConvertible { row, column: self.column, why };
            match self.text(self.block.value(row, self.column)).map_err(not_convertible)? {
                None => out.put_i32(-1),
                Some(text) => {
                    out.put_i32(i32::try_from(text.len())?);
                    out.put_slice(text.as_bytes());
                }
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TEXT_ARRAY
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Binary
    }

    to_sql_checked!();
}

/// A value that cannot be sent. It travels through the driver as the reason why a parameter could not be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotConvertible {
    pub(crate) row: usize,
    pub(crate) column: usize,
    pub(crate) why: Reason,
}

impl fmt::Display for NotConvertible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why.text)
    }
}

impl StdError for NotConvertible {}
