//! A session of a dialect as the host drives it, for rows given as JSON.
//!
//! Owns: writing blocks and moving the progress. It is a module of the plugins' tests; their `world` opens the session.

use ebb_sdk::{
    Advance, Block, Catalog, Checks, ColumnIndex, Operation, Progress, Result, RowBuffer, Session, Table, Timestamp,
    Value,
};

pub(crate) const FEED: &str = "/db/public";

pub(crate) struct Writer<S> {
    pub session: S,
    pub catalog: Catalog,
    pub progress: Progress,
}

impl<S: Session> Writer<S> {
    pub(crate) async fn new(mut session: S) -> Self {
        let progress = session.take_over(FEED, 1).await.expect("the feed");
        let catalog = session.describe().await.expect("a catalog");
        Self { session, catalog, progress }
    }

    /// Writes rows of JSON values, in one block and inside the open transaction.
    pub(crate) async fn write(
        &mut self,
        table: &str,
        operation: Operation,
        columns: &[&str],
        rows: &[&[&str]],
    ) -> Result<()> {
        let table = table_of(&self.catalog, table);
        let columns: Vec<ColumnIndex> = columns.iter().map(|name| table.column(name).expect("a column")).collect();
        let mut buffer = RowBuffer::new(columns.len());
        rows.iter().copied().flatten().for_each(|json| push(&mut buffer, json));
        let block = Block::new(table, operation, &columns, buffer.cells(), buffer.text());
        self.session.write(block).await
    }

    /// Moves the progress by one step and commits.
    pub(crate) async fn commit(&mut self) -> Result<()> {
        let to = Timestamp { wall: self.progress.applied.wall + 1, logical: 7 };
        let advance = Advance { feed: FEED.into(), epoch: self.progress.epoch, from: self.progress.applied, to };
        self.session.commit(&advance).await?;
        self.progress.applied = to;
        Ok(())
    }

    async fn apply(&mut self, table: &str, operation: Operation, columns: &[&str], rows: &[&[&str]]) -> Result<()> {
        self.session.begin(Checks::Immediate).await?;
        match self.write(table, operation, columns, rows).await {
            Ok(()) => self.commit().await,
            Err(error) => {
                self.session.rollback().await?;
                Err(error)
            }
        }
    }

    /// One transaction of one block.
    pub(crate) async fn upsert(&mut self, table: &str, columns: &[&str], rows: &[&[&str]]) -> Result<()> {
        self.apply(table, Operation::Upsert, columns, rows).await
    }

    /// One transaction of one block; the columns are those of the key.
    pub(crate) async fn delete(&mut self, table: &str, columns: &[&str], rows: &[&[&str]]) -> Result<()> {
        self.apply(table, Operation::Delete, columns, rows).await
    }
}

/// A table by its name, or by schema and name.
#[track_caller]
pub(crate) fn table_of<'a>(catalog: &'a Catalog, name: &str) -> &'a Table {
    let is_it = |table: &&Table| table.name == name || table.to_string() == name;
    catalog.tables.iter().find(is_it).unwrap_or_else(|| panic!("no table {name}"))
}

/// A value as the host takes it out of a changefeed's JSON.
pub(crate) fn push(rows: &mut RowBuffer, json: &str) {
    match json.as_bytes().first() {
        Some(b'n') | None => rows.push(Value::Null),
        Some(b't') => rows.push(Value::Bool(true)),
        Some(b'f') => rows.push(Value::Bool(false)),
        Some(b'"') => {
            let text: String = serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
            rows.push(Value::String(&text));
        }
        Some(b'{') if json.contains("__crdb_json_null__") => rows.push(Value::Json("null")),
        Some(b'{' | b'[') => rows.push(Value::Json(json)),
        Some(_) => rows.push(Value::Number(json)),
    }
}
