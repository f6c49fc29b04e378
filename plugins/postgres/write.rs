//! Upserts and deletes of whole blocks: one statement per block, one array of text per column.
//!
//! Owns: the statements, and finding the row that the server refused. Does not own: the texts of values (`values`).
//! The text of a statement depends on table, columns and operation only, so each is prepared once.

use std::error::Error as StdError;
use std::ops::Range;

use bytes::{BufMut, BytesMut};
use ebb_sdk::{Block, Error, ErrorKind, Identity, Operation, Result};
use tokio_postgres::Statement;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use crate::describe::ColumnType;
use crate::error::translate;
use crate::values::Form;
use crate::{Connection, quoted};

/// Prepared statements kept; at the limit all are forgotten and prepared anew.
const STATEMENTS_MAX: usize = 1000;
/// Longest part of a value that a message shows.
const SHOWN_CHARS_MAX: usize = 100;
const TEXT_OID: u32 = 25;

/// Writes one block inside the open transaction.
pub(crate) async fn write(connection: &mut Connection, block: Block<'_>) -> Result<()> {
    let key = key(&block);
    let types = connection.types.get(&(key.0.clone(), key.1.clone())).cloned();
    let types = types.ok_or_else(|| Error::new(ErrorKind::Broken, format!("{} was not described", block.table())))?;
    let types: Vec<ColumnType> = key.3.iter().map(|&at| types[at as usize].clone()).collect();
    check_values(&block, &types)?;
    let statement = match connection.statements.get(&key) {
        Some(statement) => statement.clone(),
        None => {
            let sql = statement(&block, &types);
            let prepared = connection.client.prepare(&sql).await;
            let prepared = prepared.map_err(|failure| translate(&failure, &format!("write {}", block.table())))?;
            if connection.statements.len() >= STATEMENTS_MAX {
                connection.statements.clear();
            }
            connection.statements.insert(key, prepared.clone());
            prepared
        }
    };
    let rows = 0..block.rows();
    let attempt = Attempt { connection, statement: &statement, block: &block, types: &types };
    match attempt.run(rows.clone()).await {
        Ok(()) => Ok(()),
        Err(failure) => Err(attempt.explain(&failure, rows).await),
    }
}

fn key(block: &Block<'_>) -> crate::StatementKey {
    let table = block.table();
    let schema = table.namespace.last().cloned().unwrap_or_default();
    let columns = block.columns().filter_map(|column| table.column(&column.name)).collect();
    (schema, table.name.clone(), block.operation(), columns)
}

fn statement(block: &Block<'_>, types: &[ColumnType]) -> String {
    match block.operation() {
        Operation::Upsert => upsert(block, types),
        Operation::Delete => delete(block, types),
    }
}

fn upsert(block: &Block<'_>, types: &[ColumnType]) -> String {
    let table = block.table();
    let names: Vec<String> = block.columns().map(|column| quoted(&column.name)).collect();
    let values = types.iter().enumerate().map(|(at, column)| format!("v.c{at}::{}", column.cast));
    let overriding = block.columns().any(|column| column.identity == Identity::Always);
    let key: Vec<String> = table.primary_key.iter().map(|&at| quoted(&table.columns[at as usize].name)).collect();
    let assigned: Vec<_> =
        names.iter().filter(|name| !key.contains(name)).map(|name| format!("{name} = EXCLUDED.{name}")).collect();
    format!(
        "INSERT INTO {} ({}) {}SELECT {} FROM {} ON CONFLICT ({}) DO {}",
        qualified(block),
        names.join(", "),
        if overriding { "OVERRIDING SYSTEM VALUE " } else { "" },
        values.collect::<Vec<_>>().join(", "),
        unnest(types.len(), "v"),
        key.join(", "),
        if assigned.is_empty() { "NOTHING".into() } else { format!("UPDATE SET {}", assigned.join(", ")) },
    )
}

fn delete(block: &Block<'_>, types: &[ColumnType]) -> String {
    // The parameter is cast, not the column, so that the index of the key serves.
    let same =
        |(at, column): (usize, &ebb_sdk::Column)| format!("t.{} = k.c{at}::{}", quoted(&column.name), types[at].cast);
    let conditions: Vec<_> = block.columns().enumerate().map(same).collect();
    format!(
        "DELETE FROM {} AS t USING {} WHERE {}",
        qualified(block),
        unnest(types.len(), "k"),
        conditions.join(" AND ")
    )
}

fn unnest(columns: usize, alias: &str) -> String {
    let parameters: Vec<_> = (1..=columns).map(|at| format!("${at}::text[]")).collect();
    let names: Vec<_> = (0..columns).map(|at| format!("c{at}")).collect();
    format!("unnest({}) AS {alias} ({})", parameters.join(", "), names.join(", "))
}

fn qualified(block: &Block<'_>) -> String {
    let table = block.table();
    let schema = table.namespace.last().map(|schema| format!("{}.", quoted(schema))).unwrap_or_default();
    format!("{schema}{}", quoted(&table.name))
}

/// Refuses, before anything is sent, what no text of PostgreSQL can say.
fn check_values(block: &Block<'_>, types: &[ColumnType]) -> Result<()> {
    for (at, column) in types.iter().enumerate() {
        for (row, value) in block.column_values(at).enumerate() {
            if let Err(why) = column.form.text(value) {
                let error = Error::new(ErrorKind::Refused, format!("{} refuses a row: {why}", block.table()));
                return Err(located(error, block, row, Some(at)));
            }
        }
    }
    Ok(())
}

/// One block on its way into the database.
struct Attempt<'a> {
    connection: &'a Connection,
    statement: &'a Statement,
    block: &'a Block<'a>,
    types: &'a [ColumnType],
}

impl Attempt<'_> {
    async fn command(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.connection.client.batch_execute(sql).await
    }

    async fn run(&self, rows: Range<usize>) -> Result<(), tokio_postgres::Error> {
        let columns: Vec<TextArray<'_>> = self
            .types
            .iter()
            .enumerate()
            .map(|(column, column_type)| TextArray {
                block: self.block,
                column,
                form: &column_type.form,
                rows: rows.clone(),
            })
            .collect();
        let parameters: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
        self.connection.client.execute(self.statement, &parameters).await.map(drop)
    }

    /// Makes the error name the row. The transaction has failed in any case; in another one, of which nothing is kept,
    /// halves of the block are tried until one row is left.
    async fn explain(&self, failure: &tokio_postgres::Error, mut rows: Range<usize>) -> Error {
        let doing = match self.block.operation() {
            Operation::Upsert => format!("write to {}", self.block.table()),
            Operation::Delete => format!("delete from {}", self.block.table()),
        };
        let error = translate(failure, &doing);
        // Unique and foreign keys depend on the rows around; their messages name the key by themselves.
        let by_value = error.kind == ErrorKind::Refused && !matches!(error.code.as_deref(), Some("23505" | "23503"));
        if !by_value {
            return error;
        }
        if self.command("ROLLBACK; BEGIN; SAVEPOINT ebb_block").await.is_err() {
            return error;
        }
        let mut last = error;
        while rows.len() > 1 {
            let middle = rows.start + rows.len() / 2;
            match self.try_rows(rows.start..middle).await {
                Ok(()) => rows.start = middle,
                Err(failure) => {
                    last = translate(&failure, &doing);
                    rows.end = middle;
                }
            }
        }
        // The message may be that of a larger half, which failed at the same row.
        if let Err(failure) = self.try_rows(rows.clone()).await {
            last = translate(&failure, &doing);
        }
        let column =
            last.column.as_deref().and_then(|name| self.block.columns().position(|column| column.name == name));
        located(last, self.block, rows.start, column)
    }

    async fn try_rows(&self, rows: Range<usize>) -> Result<(), tokio_postgres::Error> {
        self.command("ROLLBACK TO SAVEPOINT ebb_block").await?;
        let outcome = self.run(rows).await;
        self.command("ROLLBACK TO SAVEPOINT ebb_block").await?;
        outcome
    }
}

/// Adds table, key and, where it is known, column and value.
fn located(error: Error, block: &Block<'_>, row: usize, column: Option<usize>) -> Error {
    let key = block.key_text(row);
    let mut message = format!("{}; the row is {key}", error.message);
    let mut error = error.table(block.table().to_string()).key(key);
    if let Some(at) = column {
        let name = block.columns().nth(at).map(|column| column.name.clone()).unwrap_or_default();
        let value: String = block.value(row, at).text().unwrap_or("NULL").chars().take(SHOWN_CHARS_MAX).collect();
        message.push_str(&format!(", column {name}, value {value:?}"));
        error = error.column(name);
    }
    error.message = message;
    error
}

/// One column of a block as a parameter of type `text[]`, written without a copy per value.
/// Form: <https://www.postgresql.org/docs/current/arrays.html>, in binary: dimensions, whether there are NULLs, element
/// type, length and lower bound, then each element with its length.
#[derive(Debug)]
struct TextArray<'a> {
    block: &'a Block<'a>,
    column: usize,
    form: &'a Form,
    rows: Range<usize>,
}

impl ToSql for TextArray<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.put_i32(1);
        out.put_i32(1);
        out.put_u32(TEXT_OID);
        out.put_i32(i32::try_from(self.rows.len())?);
        out.put_i32(1);
        for row in self.rows.clone() {
            match self.form.text(self.block.value(row, self.column))? {
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
