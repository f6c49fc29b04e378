//! The tables of the last start: for one while the source is down, and for rows of tables that are not replicated any more.
//!
//! Owns: the note in the staging folder. Does not own: what is done without the source (`daemon`).

use std::collections::BTreeMap;

use ebb_sdk::{Catalog, Table, Timestamp};
use serde::{Deserialize, Serialize};

use super::key::KeyShape;
use super::{Watched, registered};
use crate::error::{Error, Result};
use crate::stage::{Note, Stage};

#[derive(Deserialize, Serialize)]
struct Remembered {
    /// The source's.
    database: String,
    tables: Vec<Known>,
}

/// A table that rows were taken of; see [`Watched`].
#[derive(Deserialize, Serialize)]
struct Known {
    namespace: Vec<String>,
    name: String,
    path: Vec<String>,
    topics: Vec<String>,
    source: Option<(String, String)>,
    key: Option<KeyShape>,
    columns: Vec<String>,
    hidden_columns: Vec<String>,
    is_left: bool,
}

/// Keeps what the source has said.
pub fn remember(stage: &Stage, catalog: &Catalog, watched: &[Watched], database: &str) -> Result<()> {
    let known = |watched: &Watched| {
        let table = &catalog.tables[watched.position as usize];
        Known {
            namespace: table.namespace.clone(),
            name: table.name.clone(),
            path: watched.path.clone(),
            topics: watched.topics.clone(),
            source: watched.source.clone(),
            key: watched.key.clone(),
            columns: watched.columns.clone(),
            hidden_columns: watched.hidden_columns.clone(),
            is_left: watched.is_left,
        }
    };
    let taken = watched.iter().filter(|watched| watched.refused.is_none());
    let remembered = Remembered { database: database.to_owned(), tables: taken.map(known).collect() };
    stage.save(Note::Tables, &remembered)
}

/// Whether an earlier start has kept its tables.
pub fn are_remembered(stage: &Stage) -> Result<bool> {
    stage.load::<Remembered>(Note::Tables).map(|known| known.is_some())
}

/// What was kept, and the name of the source's database.
pub fn remembered(stage: &Stage, catalog: &Catalog) -> Result<(Vec<Watched>, Option<String>)> {
    let known = stage.load::<Remembered>(Note::Tables)?;
    let Remembered { database, tables } = known.ok_or_else(|| {
        Error::new("the staging folder does not say which tables its rows are of")
            .hint("start once without --apply-only, while CockroachDB can be reached")
    })?;
    let watched = tables.into_iter().map(|known| known.watched(catalog)).collect::<Result<_>>()?;
    Ok((watched, Some(database)))
}

/// Tables of the last start that are not among those of this one, and of which rows are staged: they are applied, and none
/// are taken any more.
pub fn left(stage: &Stage, catalog: &Catalog, watched: &[Watched], applied: Timestamp) -> Result<Vec<Watched>> {
    let Some(Remembered { tables, .. }) = stage.load(Note::Tables)? else { return Ok(Vec::new()) };
    let is_watched = |known: &Known| {
        let place = |watched: &Watched| catalog.tables.get(watched.position as usize);
        watched.iter().filter_map(place).any(|table| known.is(table))
    };
    let gone: Vec<Known> = tables.into_iter().filter(|known| !is_watched(known)).collect();
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let numbers = stage.register_tables(&gone.iter().map(|known| known.registered()).collect::<Vec<_>>())?;
    let end = Timestamp { wall: i64::MAX, logical: 0 };
    let mut last = BTreeMap::new();
    for row in stage.store().scan(applied, end) {
        let row = row?;
        last.insert(row.table, row.timestamp);
    }
    let mut left = Vec::new();
    for (known, number) in gone.into_iter().zip(numbers) {
        let Some(last) = last.get(&number) else { continue };
        tracing::warn!(
            "rows of {} are staged up to {last}: they are applied, and what came later is not replicated any more",
            known.shown()
        );
        left.push(Watched { topics: Vec::new(), is_left: true, ..known.watched(catalog)? });
    }
    Ok(left)
}

impl Known {
    fn is(&self, table: &Table) -> bool {
        (&table.namespace, &table.name) == (&self.namespace, &self.name)
    }

    fn registered(&self) -> String {
        registered(&self.namespace, &self.name)
    }

    fn shown(&self) -> String {
        match self.namespace.last() {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }

    fn watched(self, catalog: &Catalog) -> Result<Watched> {
        let position = catalog.tables.iter().position(|table| self.is(table)).ok_or_else(|| {
            Error::new(format!("the target has no table {} any more, and rows of it are staged", self.shown()))
                .hint("create it again on the target, and start: the rows are applied first; it may be dropped then")
        })?;
        Ok(Watched {
            path: self.path,
            topics: self.topics,
            position: u32::try_from(position).unwrap_or(u32::MAX),
            source: self.source,
            key: self.key,
            columns: self.columns,
            hidden_columns: self.hidden_columns,
            is_left: self.is_left,
            refused: None,
        })
    }
}
