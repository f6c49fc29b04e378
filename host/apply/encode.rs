//! From staged JSON to the blocks that a plugin writes: columns by name, values as typed text.
//!
//! Owns: matching a row's columns to the target's, and making blocks of them. Does not own: reading a row (`row`); types of the
//! target: a value keeps the text that it had on the wire.

use std::collections::HashMap;

use ebb_sdk::{Catalog, ColumnIndex, Operation, RowBuffer, SHOWN_CHARS_MAX, TableIndex, Value, shortened};
use serde_json::value::RawValue;

use super::refused_row::RefusedRow;
use super::unwritable::{Unwritable, not_applied, unknown_key, unread};
use crate::code;
use crate::columns::{Columns, push_value};
use crate::error::{Error, Result};
use crate::names::{self, ColumnMatch};
use crate::row::StagedRow;
use crate::stage::{Change, Entry, TableId};
use crate::tables::{Table, Tables};

/// Rows of one table, operation and set of columns.
#[derive(Debug)]
pub(super) struct Block {
    /// Position in the catalog.
    pub table: TableIndex,
    pub operation: Operation,
    /// Positions in the table.
    pub columns: Vec<ColumnIndex>,
    pub rows: RowBuffer,
}

/// Turns entries into blocks.
pub(super) struct Encoder<'a> {
    catalog: &'a Catalog,
    tables: &'a Tables,
    case_sensitive: bool,
    blocks: Vec<Block>,
    /// Which columns a row of these names fills, by table number: rows of one table nearly always have the same names.
    mappings: HashMap<TableId, Vec<Mapping>>,
}

/// A set of column names as they come, and what each of them is on the target.
struct Mapping {
    names: Vec<String>,
    /// `None` for a column that is not written.
    positions: Vec<Option<ColumnIndex>>,
    /// Every column is there that the target does not compute.
    covers: bool,
    /// Where its rows are collected.
    block: Option<usize>,
}

/// What is to be made of a row. Between two tasks for one table the blocks are taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task<'t> {
    /// `Upsert` or `Replace`; the blank columns are written as NULL.
    Whole { operation: Operation, blank: &'t [ColumnIndex] },
    /// `Delete`, `Verify`, or `Update` of the blank columns to NULL.
    Key { operation: Operation, blank: &'t [ColumnIndex] },
}

impl<'a> Encoder<'a> {
    pub(super) fn new(catalog: &'a Catalog, tables: &'a Tables, case_sensitive: bool) -> Self {
        Self { catalog, tables, case_sensitive, blocks: Vec::new(), mappings: HashMap::new() }
    }

    /// Adds one row.
    ///
    /// # Errors
    /// When the row has a column that the target lacks, or lacks a key column that the target has.
    pub(super) fn push(&mut self, entry: &Entry) -> Result<(), Unwritable> {
        match entry.change() {
            Change::Upsert(_) => self.push_as(entry, Task::Whole { operation: Operation::Upsert, blank: &[] }),
            Change::Delete(_) => self.push_as(entry, Task::Key { operation: Operation::Delete, blank: &[] }),
        }
    }

    /// Bytes collected so far.
    pub(super) fn bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.rows.bytes()).sum()
    }

    /// The blocks collected so far; the encoder can go on.
    pub(super) fn take(&mut self) -> Vec<Block> {
        self.mappings.values_mut().flatten().for_each(|mapping| mapping.block = None);
        std::mem::take(&mut self.blocks)
    }

    /// Adds one row for a phase of a plan. A task for whole rows passes deleted rows over.
    pub(super) fn push_as(&mut self, entry: &Entry, task: Task<'_>) -> Result<(), Unwritable> {
        let table = self.table(entry)?;
        match (task, self.read(entry, table)?) {
            (Task::Whole { operation, blank }, StagedRow::Whole(columns)) => {
                self.whole(table, &columns, operation, blank)
            }
            (Task::Whole { .. }, StagedRow::Deleted { .. }) => Ok(()),
            (Task::Key { operation, blank }, StagedRow::Whole(columns)) => {
                self.key_of_row(table, &columns, operation, blank)
            }
            (Task::Key { operation, blank }, StagedRow::Deleted { key, before }) => {
                let case_sensitive = self.case_sensitive;
                let value = |at, name: &str| {
                    let from_key = table.key.value(entry.timestamp, at, &key);
                    from_key.or_else(|| before.named(name, case_sensitive))
                };
                self.key_of_deleted(table, value, operation, blank)
            }
        }
    }

    /// Whether a row has a value for every column that the target does not compute: only then can it be deleted and
    /// inserted again without loss.
    pub(super) fn covers(&mut self, entry: &Entry) -> Result<bool, Unwritable> {
        let table = self.table(entry)?;
        let StagedRow::Whole(columns) = self.read(entry, table)? else { return Ok(true) };
        let at = self.mapping(table, &columns)?;
        Ok(self.mappings[&table.number][at].covers)
    }

    fn whole(
        &mut self,
        table: &Table,
        columns: &Columns<'_>,
        operation: Operation,
        blank: &[ColumnIndex],
    ) -> Result<(), Unwritable> {
        let at = self.mapping(table, columns)?;
        let mapping = &mut self.mappings.get_mut(&table.number).expect("the mapping was just found")[at];
        let block = *mapping.block.get_or_insert_with(|| {
            let columns: Vec<ColumnIndex> = mapping.positions.iter().flatten().copied().collect();
            let rows = RowBuffer::new(columns.len());
            self.blocks.push(Block { table: table.position, operation, columns, rows });
            self.blocks.len() - 1
        });
        let rows = &mut self.blocks[block].rows;
        for (value, position) in columns.values().zip(&mapping.positions) {
            match position {
                None => {}
                Some(position) if blank.contains(position) => rows.push(Value::Null),
                Some(_) => push_value(rows, value.get()),
            }
        }
        Ok(())
    }

    fn key_of_row(
        &mut self,
        table: &Table,
        columns: &Columns<'_>,
        operation: Operation,
        blank: &[ColumnIndex],
    ) -> Result<(), Unwritable> {
        let at = self.mapping(table, columns)?;
        // A column that the row does not have keeps its value.
        let positions = &self.mappings[&table.number][at].positions;
        let blank: Vec<ColumnIndex> =
            blank.iter().copied().filter(|column| positions.contains(&Some(*column))).collect();
        if blank.is_empty() && operation == Operation::Update {
            return Ok(());
        }
        let block = self.key_block(table.position, operation, &blank);
        let mapping = &self.mappings[&table.number][at];
        for key in &self.catalog.tables[table.position].primary_key {
            let place = mapping.positions.iter().position(|position| position.as_ref() == Some(key));
            let place = place.expect("a mapping without a column of the key is refused when it is made");
            push_value(&mut self.blocks[block].rows, columns.value(place).get());
        }
        blank.iter().for_each(|_| self.blocks[block].rows.push(Value::Null));
        Ok(())
    }

    /// `value` has those of the target's key, by place and name.
    fn key_of_deleted<'v>(
        &mut self,
        table: &Table,
        value: impl Fn(usize, &str) -> Option<&'v RawValue>,
        operation: Operation,
        blank: &[ColumnIndex],
    ) -> Result<(), Unwritable> {
        let target = &self.catalog.tables[table.position];
        let block = self.key_block(table.position, operation, blank);
        for (at, &position) in target.primary_key.iter().enumerate() {
            let name = &target.columns[position].name;
            let value = value(at, name).ok_or_else(|| unknown_key(target, name))?;
            push_value(&mut self.blocks[block].rows, value.get());
        }
        blank.iter().for_each(|_| self.blocks[block].rows.push(Value::Null));
        Ok(())
    }

    fn read<'e>(&self, entry: &'e Entry, table: &Table) -> Result<StagedRow<'e>> {
        let read = StagedRow::read(entry, &table.key);
        read.map_err(|why| unread(entry, &self.catalog.tables[table.position], &why))
    }

    /// The block of keys, followed by columns that become NULL.
    fn key_block(&mut self, table: TableIndex, operation: Operation, blank: &[ColumnIndex]) -> usize {
        let key = &self.catalog.tables[table].primary_key;
        let is_it = |block: &Block| {
            let columns = key.iter().chain(blank);
            block.table == table && block.operation == operation && block.columns.iter().eq(columns)
        };
        self.blocks.iter().position(is_it).unwrap_or_else(|| {
            let columns: Vec<ColumnIndex> = key.iter().chain(blank).copied().collect();
            let rows = RowBuffer::new(columns.len());
            self.blocks.push(Block { table, operation, columns, rows });
            self.blocks.len() - 1
        })
    }

    fn table(&self, entry: &Entry) -> Result<&'a Table> {
        self.tables.numbered(entry.table).ok_or_else(|| not_applied(entry))
    }

    fn mapping(&mut self, table: &Table, columns: &Columns<'_>) -> Result<usize, Unwritable> {
        let same = |mapping: &Mapping| mapping.names.iter().eq(columns.names());
        let known = self.mappings.entry(table.number).or_default();
        if let Some(at) = known.iter().position(same) {
            return Ok(at);
        }
        let positions: Result<Vec<_>, _> = columns.names().map(|name| self.position(table, name)).collect();
        let positions = positions?;
        let target = &self.catalog.tables[table.position];
        if let Some(&missing) = target.primary_key.iter().find(|&&key| !positions.contains(&Some(key))) {
            return Err(Unwritable::Other(
                Error::new(
                    code::row::KEY_COLUMN,
                    format!("a row of {target} has no value for the key column {}", target.columns[missing].name),
                )
                .hint("source and target must have the same primary key"),
            ));
        }
        let names: Vec<String> = columns.names().map(str::to_owned).collect();
        let missing: Vec<&str> =
            table.columns.iter().filter(|column| !names.contains(column)).map(String::as_str).collect();
        if !missing.is_empty() {
            tracing::warn!(
                error_code = code::row::COLUMN_KEPT.text(),
                table = target.to_string(),
                hint = "if they were dropped at the source, drop them on the target too",
                "rows of {target} come without {}: the target keeps what it has in them",
                missing.join(", ")
            );
        }
        let mut columns = target.columns.iter().zip(ColumnIndex::all());
        let covers = columns.all(|(column, at)| column.generated || positions.contains(&Some(at)));
        let known = self.mappings.entry(table.number).or_default();
        known.push(Mapping { names, positions, covers, block: None });
        Ok(known.len() - 1)
    }

    /// Where a column of the source stands on the target; `None` when it is not to be written.
    fn position(&self, table: &Table, name: &str) -> Result<Option<ColumnIndex>, Unwritable> {
        let target = &self.catalog.tables[table.position];
        let found = match names::column(target, name, self.case_sensitive) {
            ColumnMatch::One(at) => Some(at),
            ColumnMatch::None | ColumnMatch::Several => None,
        };
        match found {
            Some(at) if target.columns[at].generated => Ok(None),
            Some(at) => Ok(Some(at)),
            None if table.hidden_columns.iter().any(|hidden| hidden == name) => Ok(None),
            None => {
                let name = shortened(name, SHOWN_CHARS_MAX);
                let error = Error::new(
                    code::row::COLUMN_MISSING,
                    format!("the source has a column {name} that {target} lacks"),
                )
                .hint(format!(
                    "add the column to {target} and start again; or only start again if the source hides it, as the crdb_region of \
                     REGIONAL BY ROW; its rows are kept"
                ))
                .field("table", target.to_string())
                .field("column", name);
                Err(Unwritable::Row(RefusedRow::of(target, error)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::stage::RowBatch;
    use crate::tables::{KeyShape, SourceKey};
    use ebb_sdk::{Column, Timestamp};

    fn catalog() -> Catalog {
        let column = |name: &str| Column { name: name.into(), ..Column::default() };
        let generated = Column { generated: true, ..column("total") };
        let table = ebb_sdk::Table {
            namespace: vec!["molt".into(), "public".into()],
            name: "orders".into(),
            columns: vec![column("city"), column("id"), column("Note"), generated],
            primary_key: [0, 1].map(ColumnIndex).to_vec(),
            ..ebb_sdk::Table::default()
        };
        Catalog { tables: vec![table], ..Catalog::default() }
    }

    fn tables(key_columns: Option<&[&str]>) -> Tables {
        let mut tables = Tables::default();
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let shape = |names: &[&str]| KeyShape { since: Timestamp::ZERO, columns: owned(names), families: Vec::new() };
        let shapes = key_columns.map(shape).into_iter().collect();
        let key = Arc::new(SourceKey::new(owned(&["city", "id"]), false, shapes));
        let hidden_columns = vec!["crdb_region".to_owned()];
        let (number, position) = (TableId(1), TableIndex(0));
        tables.add(&[], &[], false, Table { number, position, key, hidden_columns, ..Table::default() });
        tables
    }

    fn encode(key_columns: Option<&[&str]>, key: &str, change: Change<'_>) -> Result<Vec<Block>> {
        let mut batch = RowBatch::default();
        batch.push(Timestamp::ZERO, TableId(1), key, change);
        let (catalog, tables) = (catalog(), tables(key_columns));
        let mut encoder = Encoder::new(&catalog, &tables, false);
        let pushed = encoder.push(&batch.entries().remove(0)?);
        pushed.map_err(|unwritable| match unwritable {
            Unwritable::Row(RefusedRow { error, .. }) | Unwritable::Other(error) => error,
        })?;
        Ok(encoder.take())
    }

    fn shown(blocks: &[Block]) -> String {
        let block = &blocks[0];
        let (catalog, width) = (catalog(), block.columns.len());
        let rows = ebb_sdk::Block::new(
            &catalog.tables[0],
            block.operation,
            &block.columns,
            block.rows.cells(),
            block.rows.text(),
        );
        let values: Vec<_> = (0..width).map(|at| format!("{:?}", rows.value(0, at))).collect();
        let names: Vec<_> = rows.columns().map(|column| column.name.as_str()).collect();
        format!("{:?} {} {}", block.operation, names.join(","), values.join(","))
    }

    #[test]
    fn columns_are_matched_by_name() {
        let key = "[\"ro\\\"me\",7]";
        let row = r#"{"city": "ro\"me", "crdb_region": "eu", "id": 7, "note": {"a": [1.10]}, "total": 3}"#;
        let blocks = encode(None, key, Change::Upsert(row)).unwrap();
        let expected = "Upsert city,id,Note String(\"ro\\\"me\"),Number(\"7\"),Json(\"{\\\"a\\\": [1.10]}\")";
        assert_eq!(shown(&blocks), expected);
        let row = r#"{"city": null, "id": true, "note": {"__crdb_json_null__": true}}"#;
        let blocks = encode(None, "[true,null]", Change::Upsert(row)).unwrap();
        assert_eq!(shown(&blocks), "Upsert city,id,Note Null,Bool(true),Json(\"null\")");
    }

    #[test]
    fn unknown_and_missing_columns_stop() {
        let error = encode(None, "[\"a\",1]", Change::Upsert(r#"{"city":"a","id":1,"extra":2}"#)).unwrap_err();
        assert_eq!(error.message, "the source has a column extra that public.orders lacks");
        let named = Some(["id", "city"].as_slice());
        let error = encode(named, "[1,\"a\"]", Change::Upsert(r#"{"id":1}"#)).unwrap_err();
        assert!(error.message.contains("and has no value for the key column city"), "{error}");
        let error = encode(named, "[1,\"a\"]", Change::Upsert(r#"{"city":"b","id":1}"#)).unwrap_err();
        assert!(error.message.contains("its column city says otherwise"), "{error}");
        let error = encode(None, "[]", Change::Upsert(r#"{"id":1}"#)).unwrap_err();
        assert!(error.message.contains("0 values, and the primary key has 2 columns"), "{error}");
    }

    #[test]
    fn keys_of_deletes_go_by_name() {
        let by_name = encode(Some(&["shard", "ID", "city"]), "[3,7,\"rome\"]", Change::Delete(None)).unwrap();
        assert_eq!(shown(&by_name), "Delete city,id String(\"rome\"),Number(\"7\")");
        let before = Change::Delete(Some(r#"{"city":"rome","id":7,"note":null}"#));
        assert_eq!(shown(&encode(None, "[7,\"rome\"]", before).unwrap()), shown(&by_name));
        assert!(encode(None, "[7,\"rome\"]", Change::Delete(None)).is_err());
    }
}
