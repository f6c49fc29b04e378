//! What one session of the target does: counts tables, compares chunks.
//!
//! Owns: turning the plugin's answer into rows that a person can look at. Does not own: which work there is (`pass`).

use ebb_sdk::{Block, Catalog, Compared, Key, Operation, Table, Timestamp};

use super::failure::Failure;
use super::pairs::Pair;
use super::read::{Chunk, text};
use super::state::{self, Kind, Mismatch, Values};
use crate::plugin::Session;

/// What every worker needs to know.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) pairs: &'a [Pair],
    pub(super) at: Timestamp,
    /// So many rows of a chunk are described.
    pub(super) shown_max: usize,
}

/// Compares a chunk: how many rows are missing or differ, and the first of them.
pub(super) fn compare(session: &mut Session, ground: Ground<'_>, chunk: Chunk) -> Result<state::Compared, Failure> {
    let pair = &ground.pairs[chunk.pair];
    let positions = pair.positions();
    let found = session.compare(pair.position, &positions, &chunk.rows)?;
    let table = &ground.catalog.tables[pair.position];
    let block = Block::new(table, Operation::Upsert, &positions, chunk.rows.cells(), chunk.rows.text());
    let mut shown = Vec::new();
    for &row in found.missing.iter().take(ground.shown_max) {
        shown.push(mismatch(session, ground, pair, &block, row, Kind::Missing, Vec::new())?);
    }
    for difference in found.different.iter().take(ground.shown_max.saturating_sub(shown.len())) {
        let values = |column: &ebb_sdk::DifferentColumn| Values {
            column: table.columns[column.column].name.clone(),
            source: column.expected.as_deref().map(cut),
            target: column.found.as_deref().map(cut),
        };
        let columns = difference.columns.iter().map(values).collect();
        shown.push(mismatch(session, ground, pair, &block, difference.row, Kind::Different, columns)?);
    }
    let Compared { missing, different } = found;
    Ok(state::Compared {
        rows: block.rows() as u64,
        missing: missing.len() as u64,
        different: different.len() as u64,
        after: chunk.after,
        shown,
    })
}

fn mismatch(
    session: &mut Session,
    ground: Ground<'_>,
    pair: &Pair,
    block: &Block<'_>,
    row: u32,
    kind: Kind,
    columns: Vec<Values>,
) -> Result<Mismatch, Failure> {
    let table = block.table();
    let key = key_of(table, block, row as usize);
    described(session, ground, pair, kind, &key, columns)
}

/// A row by its key, with the statements that show it. `key` has the texts of the target's primary key.
pub(super) fn described(
    session: &mut Session,
    ground: Ground<'_>,
    pair: &Pair,
    kind: Kind,
    key: &Key,
    columns: Vec<Values>,
) -> Result<Mismatch, Failure> {
    let table = &ground.catalog.tables[pair.position];
    let names = table.primary_key.iter().map(|&at| table.columns[at].name.clone());
    // Where values are hidden, a statement does not show them either.
    let key: &Key = &key.iter().map(|value| ebb_sdk::shown_value(value).into_owned()).collect();
    Ok(Mismatch {
        table: pair.name.clone(),
        kind,
        source_sql: pair.look(ground.at, key),
        target_sql: session.look(pair.position, key)?,
        key: names.zip(key.iter().map(|value| cut(value))).collect(),
        columns,
    })
}

fn key_of(table: &Table, block: &Block<'_>, row: usize) -> Key {
    let value = |at: &ebb_sdk::ColumnIndex| {
        let name = &table.columns[*at].name;
        let place = block.columns().position(|column| column.name == *name);
        place.and_then(|place| text(block.value(row, place))).unwrap_or_default()
    };
    table.primary_key.iter().map(value).collect()
}

fn cut(value: &str) -> String {
    let value = ebb_sdk::shortened(value, ebb_sdk::DifferentColumn::CHARS_MAX);
    ebb_sdk::shown_value(&value).to_string()
}
