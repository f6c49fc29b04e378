//! The tables of the last start: for one while the source is down, and for rows of tables that are not replicated any more.
//!
//! Owns: the note in the staging folder. Does not own: what is done without the source (`daemon`).

use std::collections::BTreeMap;
use std::path::Path;

use ebb_sdk::{Catalog, Table, TableIndex, Timestamp};
use serde::{Deserialize, Serialize};

use super::key::KeyShape;
use super::seen_keys::Seen;
use super::{TableRoute, registered};
use crate::code;
use crate::error::{Error, Result};
use crate::stage::{self, Backlog, Bounds, MetadataFile, RunState, TableId};
use crate::target::SourceName;

#[derive(Deserialize, Serialize)]
struct Remembered {
    /// The source's.
    database: String,
    /// The target was asked whether it takes the types of the source's columns, and does.
    #[serde(default)]
    are_types_known: bool,
    /// A run that did not keep them has come since.
    #[serde(default)]
    is_outdated: bool,
    tables: Vec<Known>,
}

/// A table that rows were taken of; see [`TableRoute`].
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
    #[serde(default)]
    bounds: Bounds,
}

/// Keeps what the source has said.
pub fn remember<'w>(
    run_state: &RunState,
    catalog: &Catalog,
    routes: impl Iterator<Item = &'w TableRoute>,
    (database, are_types_known): (&str, bool),
) -> Result<()> {
    let known = |route: &TableRoute| {
        let table = &catalog.tables[route.position];
        Known {
            namespace: table.namespace.clone(),
            name: table.name.clone(),
            path: route.path.clone(),
            topics: route.topics.clone(),
            source: route.source.clone(),
            key: route.key.clone(),
            columns: route.columns.clone(),
            hidden_columns: route.hidden_columns.clone(),
            is_left: route.is_left,
            bounds: route.bounds,
        }
    };
    let tables = routes.filter(|route| route.refused.is_none()).map(known).collect();
    let remembered = Remembered { database: database.to_owned(), are_types_known, is_outdated: false, tables };
    run_state.save(MetadataFile::Tables, &remembered)
}

/// Whether an earlier start has kept its tables.
pub fn are_remembered(run_state: &RunState) -> Result<bool> {
    run_state.load::<Remembered>(MetadataFile::Tables).map(|known| known.is_some())
}

/// Whether the types of these tables were looked at.
pub fn are_types_known(run_state: &RunState) -> Result<bool> {
    run_state.load::<Remembered>(MetadataFile::Tables).map(|known| known.is_some_and(|known| known.are_types_known))
}

/// Those that the last start replicated to the target as it is, which has seen so many starts, by their names at the source;
/// `None` when that is not known. One that was taken in by a later start is not in a target of before.
pub fn last(run_state: &RunState, epoch: i64) -> Result<Option<Vec<SourceName>>> {
    let known = run_state.load::<Remembered>(MetadataFile::Tables)?.filter(|known| !known.is_outdated);
    let is_there = |known: &Known| !known.is_left && known.bounds.epoch <= epoch;
    let replicated =
        |known: Remembered| known.tables.into_iter().filter(is_there).filter_map(|known| known.source).collect();
    Ok(known.map(replicated))
}

/// Every key that a table of a staging folder is known to have had, by its name on the target; empty where none is known.
pub fn keys_of(folder: &Path, table: &str) -> Result<Vec<KeyShape>> {
    let Some(Remembered { tables, .. }) = stage::saved(folder, MetadataFile::Tables)? else { return Ok(Vec::new()) };
    let Some(known) = tables.into_iter().find(|known| known.shown() == table) else { return Ok(Vec::new()) };
    let seen: Seen = stage::saved(folder, MetadataFile::Keys)?.unwrap_or_default();
    let earlier = seen.shapes.into_iter().filter(|(place, _)| Some(place) == known.source.as_ref());
    Ok(earlier.flat_map(|(_, shapes)| shapes).chain(known.key).collect())
}

/// A run whose changefeed is somebody else's does not know which tables it sends.
pub fn outdate(run_state: &RunState) -> Result<()> {
    match run_state.load::<Remembered>(MetadataFile::Tables)? {
        Some(known) if !known.is_outdated => {
            run_state.save(MetadataFile::Tables, &Remembered { is_outdated: true, ..known })
        }
        _ => Ok(()),
    }
}

/// # Errors
/// When the folder's rows are of another database of the source.
pub fn refuse_other_database(run_state: &RunState, database: &str) -> Result<()> {
    match run_state.load::<Remembered>(MetadataFile::Tables)? {
        Some(known) if known.database != database => Err(Error::new(
            code::table::OTHER_DATABASE,
            format!(
                "this staging folder was filled from the database {} of CockroachDB, and --source names {database}",
                known.database
            ),
        )
        .hint(format!(
            "give --source with the database {}; for {database} begin a run of its own: another --stagingSchema",
            known.database
        ))),
        _ => Ok(()),
    }
}

/// Which rows of the tables are replicated, where that is not all of them, as the last start has left it.
pub fn keep_bounds(run_state: &RunState, routes: &mut [TableRoute], catalog: &Catalog) -> Result<()> {
    let Some(Remembered { tables, .. }) = run_state.load(MetadataFile::Tables)? else { return Ok(()) };
    for route in routes {
        let table = &catalog.tables[route.position];
        if let Some(known) = tables.iter().find(|known| known.is(table) && !known.is_left) {
            route.bounds = known.bounds;
        }
    }
    Ok(())
}

/// What was kept, and the name of the source's database.
pub fn remembered(run_state: &RunState, catalog: &Catalog) -> Result<(Vec<TableRoute>, Option<String>)> {
    let known = run_state.load::<Remembered>(MetadataFile::Tables)?;
    let Remembered { database, tables, .. } = known.ok_or_else(|| {
        Error::new(code::table::NOT_REMEMBERED, "the staging folder does not say which tables its rows are of")
            .hint("start once without --apply-only while CockroachDB can be reached: ebb then notes its tables")
    })?;
    let routes = tables.into_iter().map(|known| known.route(catalog)).collect::<Result<_>>()?;
    Ok((routes, Some(database)))
}

/// Tables of the last start that are not among those of this one, and of which rows are staged: those of complete source
/// transactions are applied, and none are taken any more.
pub fn left(
    (run_state, backlog): (&RunState, &Backlog),
    catalog: &Catalog,
    routes: &[TableRoute],
    applied: Timestamp,
) -> Result<Vec<TableRoute>> {
    let Some(Remembered { tables, .. }) = run_state.load(MetadataFile::Tables)? else { return Ok(Vec::new()) };
    let is_watched = |known: &Known| {
        let place = |route: &TableRoute| catalog.tables.get(route.position.place());
        routes.iter().filter_map(place).any(|table| known.is(table))
    };
    let gone: Vec<Known> = tables.into_iter().filter(|known| !is_watched(known)).collect();
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    for known in gone.iter().filter(|known| !known.is_left) {
        tracing::warn!(
            error_code = code::table::LEFT.text(),
            "{} is not replicated any more: what is changed there after {} is not on the target",
            known.shown(),
            known.end(run_state)
        );
    }
    let numbers = run_state.register_tables(&gone.iter().map(|known| known.registered()).collect::<Vec<_>>())?;
    let ends: BTreeMap<TableId, Timestamp> =
        numbers.iter().copied().zip(gone.iter().map(|known| known.end(run_state))).collect();
    let mut last: BTreeMap<TableId, Option<Timestamp>> = BTreeMap::new();
    for row in backlog.rest(applied) {
        let row = row?;
        let within = ends.get(&row.table).is_some_and(|&end| row.timestamp <= end).then_some(row.timestamp);
        let last = last.entry(row.table).or_default();
        *last = within.or(*last);
    }
    let mut left = Vec::new();
    for (known, number) in gone.into_iter().zip(numbers) {
        let Some(last) = last.get(&number) else { continue };
        let up_to = ends[&number];
        if let Some(last) = last {
            tracing::warn!(
                error_code = code::table::LEFT.text(),
                "rows of {} are staged up to {last}: they are applied, and what came after {up_to} is not replicated any more",
                known.shown()
            );
        } else if !catalog.tables.iter().any(|table| known.is(table)) {
            // None of them would be applied.
            let none = Bounds { up_to: Some(Timestamp::ZERO), ..Bounds::default() };
            run_state.limit([(number, none)].into_iter());
            continue;
        }
        // A source transaction of which the other tables' rows are sent again is not complete here.
        let bounds = Bounds { up_to: Some(up_to), ..known.bounds };
        left.push(TableRoute { topics: Vec::new(), is_left: true, bounds, ..known.route(catalog)? });
    }
    Ok(left)
}

impl Known {
    /// Up to here its rows are replicated, once it is not any more.
    fn end(&self, run_state: &RunState) -> Timestamp {
        self.bounds.up_to.unwrap_or_else(|| run_state.resolved())
    }

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

    fn route(self, catalog: &Catalog) -> Result<TableRoute> {
        let position = catalog.tables.iter().position(|table| self.is(table)).ok_or_else(|| {
            Error::new(
                code::table::TABLE_GONE,
                format!("the target has no table {} any more, and rows of it may be staged", self.shown()),
            )
            .hint("create it again on the target, then start: ebb applies the staged rows first; you may drop it after that")
        })?;
        Ok(TableRoute {
            path: self.path,
            topics: self.topics,
            position: TableIndex::at(position),
            source: self.source,
            key: self.key,
            columns: self.columns,
            hidden_columns: self.hidden_columns,
            is_left: self.is_left,
            bounds: self.bounds,
            refused: None,
        })
    }
}
