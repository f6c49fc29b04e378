//! Whether a statement that met no error did what it was to do: rules, row security, triggers and loose keys turn writes into
//! nothing, or into others, without a word.
//!
//! Owns: when another look is needed, and the look. Does not own: the statement and its count (`write`). Most blocks need
//! no look, since the count of their statement says it all.

use ebb_sdk::{Error, ErrorKind, Operation, Result, SHOWN_CHARS_MAX, Topic, shortened, shown_value};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::column::Equality;
use crate::error::{refused, translate_write};
use crate::quoted;
use crate::statement::{JOINED, TargetColumn, exactly, qualified, rows, same_key};
use crate::write::{Attempt, TextArray, Written};

/// Makes sure of the effect of a block that was written. `fires` says that a trigger of a user had a hand in it.
pub(crate) async fn check(attempt: &Attempt<'_>, written: &Written, fires: bool) -> Result<()> {
    let is_whole = written.rows == attempt.block.rows() as u64;
    match attempt.block.operation() {
        Operation::Verify => Ok(()),
        _ if is_whole && !fires => Ok(()),
        Operation::Upsert | Operation::Replace => EffectCheck::new(attempt).all_there().await,
        Operation::Delete => EffectCheck::new(attempt).none_there().await,
        Operation::Update => EffectCheck::new(attempt).all_updated(written.rows).await,
    }
}

/// Reads the rows of the keys of a block.
struct EffectCheck<'a> {
    attempt: &'a Attempt<'a>,
    key: Vec<TargetColumn>,
    /// Where the columns of the key are in the block.
    places: Vec<usize>,
}

impl<'a> EffectCheck<'a> {
    fn new(attempt: &'a Attempt<'a>) -> Self {
        let targets = attempt.prepared.targets.iter().enumerate().filter(|(_, target)| target.is_key);
        let (places, key) = targets.map(|(at, target)| (at, target.clone())).unzip();
        Self { attempt, key, places }
    }

    /// After an upsert: each of the rows.
    async fn all_there(&self) -> Result<()> {
        let is_there = format!("SELECT FROM {} AS t WHERE {}", self.table(), same_key("t", &self.key));
        let sql = format!("SELECT {} FROM {} WHERE NOT EXISTS ({is_there}) LIMIT 1", self.shown("v"), self.rows());
        match self.first(&sql).await? {
            None => Ok(()),
            Some(row) => Err(self.found(&row, "the row is not there, although the target reported no error")?),
        }
    }

    /// After a delete: none of the rows, neither as the index of the key compares them nor letter by letter.
    async fn none_there(&self) -> Result<()> {
        let sql = format!(
            "SELECT {}, {}, {} FROM {} JOIN {} AS t ON {} LIMIT 1",
            self.shown("v"),
            self.is_exact(),
            self.shown("t"),
            self.rows(),
            self.table(),
            self.is_equal()
        );
        let Some(row) = self.first(&sql).await? else { return Ok(()) };
        let read = |failure| translate_write(&failure, self.attempt.doing);
        if row.try_get::<_, bool>(1).map_err(read)? {
            return Err(self.found(&row, "the row is still there, although the target reported no error")?);
        }
        let other: String = row.try_get(2).map_err(read)?;
        let why = format!(
            "the target has the row {}, whose key it takes for the same",
            shown_value(&shortened(&other, SHOWN_CHARS_MAX))
        );
        let error = refused("21000", self.attempt.doing, &why).conflict();
        self.named(error, &row).and_then(Err)
    }

    /// After an update: as many as there are. The others are not there.
    async fn all_updated(&self, updated: u64) -> Result<()> {
        let is_there = format!("SELECT FROM {} AS t WHERE {}", self.table(), same_key("t", &self.key));
        let sql = format!("SELECT pg_catalog.count(*) FROM {} WHERE EXISTS ({is_there})", self.rows());
        let there = self.first(&sql).await?.and_then(|row| row.try_get::<_, i64>(0).ok());
        match there.and_then(|there| u64::try_from(there).ok()) == Some(updated) {
            true => Ok(()),
            false => Err(self.suppressed("not every row was updated, although the target reported no error")),
        }
    }

    /// Equal to the index of the key.
    fn is_equal(&self) -> String {
        let part = |(at, target): (usize, &TargetColumn)| {
            format!("t.{} {} {}", quoted(&target.column.name), target.column_type.equals, target.column_type.given(at))
        };
        self.key.iter().enumerate().map(part).collect::<Vec<_>>().join(" AND ")
    }

    /// Numbers are one whatever their zeros.
    fn is_exact(&self) -> String {
        let part = |(at, target): (usize, &TargetColumn)| match target.column_type.equality {
            Equality::Number => None,
            _ => Some(exactly(&format!("t.{}", quoted(&target.column.name)), &target.column_type.given(at))),
        };
        let parts: Vec<_> = self.key.iter().enumerate().filter_map(part).collect();
        if parts.is_empty() { "true".into() } else { parts.join(" AND ") }
    }

    fn table(&self) -> String {
        qualified(self.attempt.block.table())
    }

    fn rows(&self) -> String {
        rows(self.key.len())
    }

    /// The key as messages show it, of the row that is stored or of the one that came.
    fn shown(&self, alias: &str) -> String {
        let part = |(at, target): (usize, &TargetColumn)| {
            let column = quoted(&target.column.name);
            let value = if alias == "v" { format!("v.c{at}") } else { format!("{alias}.{column}::pg_catalog.text") };
            format!("'{}=' OPERATOR(pg_catalog.||) {value}", target.column.name.replace('\'', "''"))
        };
        self.key.iter().enumerate().map(part).collect::<Vec<_>>().join(JOINED)
    }

    async fn first(&self, sql: &str) -> Result<Option<Row>> {
        let Attempt { block, client, doing, .. } = self.attempt;
        let columns = self.places.iter().zip(&self.key).map(|(&at, target)| TextArray::new(block, at, target));
        let columns: Vec<_> = columns.collect();
        let typed: Vec<_> = columns.iter().map(|column| (column as &(dyn ToSql + Sync), Type::TEXT_ARRAY)).collect();
        let asked = client.query_typed(sql, &typed).await;
        Ok(asked.map_err(|failure| translate_write(&failure, doing))?.into_iter().next())
    }

    fn found(&self, row: &Row, why: &str) -> Result<Error> {
        self.named(self.suppressed(why), row)
    }

    fn suppressed(&self, why: &str) -> Error {
        let table = self.attempt.block.table();
        let message = format!("cannot {}: {why}", self.attempt.doing);
        Error::new(ErrorKind::Refused, message).topic(Topic::Trigger).table(table.to_string()).hint(format!(
            "see the triggers (pg_trigger), rules (pg_rewrite) and row security (pg_policy) of {table} on the target: one of \
             them keeps or changes rows; drop or disable it"
        ))
    }

    fn named(&self, mut error: Error, row: &Row) -> Result<Error> {
        let key: String = row.try_get(0).map_err(|failure| translate_write(&failure, self.attempt.doing))?;
        let key = shortened(&key, SHOWN_CHARS_MAX);
        error.message = format!("{}; the row is {}", error.message, shown_value(&key));
        Ok(error.table(self.attempt.block.table().to_string()).key(key))
    }
}
