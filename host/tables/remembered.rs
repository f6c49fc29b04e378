//! The tables of the last start, for one while the source is down.
//!
//! Owns: the note in the staging folder. Does not own: what is done without the source (`daemon`).

use ebb_sdk::Catalog;
use serde::{Deserialize, Serialize};

use super::Watched;
use super::key::KeyShape;
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
    let watched = tables.into_iter().map(|known| {
        let position = catalog
            .tables
            .iter()
            .position(|table| (&table.namespace, &table.name) == (&known.namespace, &known.name))
            .ok_or_else(|| {
                let name = format!("{}.{}", known.namespace.join("."), known.name);
                Error::new(format!("the target has no table {name} any more, and rows of it may be staged"))
                    .hint("put the table back, with its rows, or start while CockroachDB can be reached")
            })?;
        Ok(Watched {
            path: known.path,
            topics: known.topics,
            position: u32::try_from(position).unwrap_or(u32::MAX),
            source: known.source,
            key: known.key,
            columns: known.columns,
            hidden_columns: known.hidden_columns,
            refused: None,
        })
    });
    Ok((watched.collect::<Result<_>>()?, Some(database)))
}
