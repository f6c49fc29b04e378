//! From staged JSON to the blocks that a plugin writes: columns by name, values as typed text.
//!
//! Owns: matching a row's columns to the target's, and the key of a delete. Does not own: types of the target; a value
//! keeps the text that it had on the wire.

use std::borrow::Cow;
use std::collections::HashMap;

use ebb_sdk::{Catalog, Operation, RowBuffer, SHOWN_CHARS_MAX, Value, shortened};
use serde_json::value::RawValue;

use super::unwritable::{Unwritable, damaged, not_applied, unknown_key, unreadable_key};
use super::value::push_value;
use crate::error::{Error, Result};
use crate::row::{self, Pairs};
use crate::stage::{Change, Entry};
use crate::tables::names::{self, ColumnMatch};
use crate::tables::parts_of;
use crate::tables::{Table, Tables};

/// Rows of one table, operation and set of columns.
#[derive(Debug)]
pub struct Block {
    /// Position in the catalog.
    pub table: u32,
    pub operation: Operation,
    /// Positions in the table.
    pub columns: Vec<u32>,
    pub rows: RowBuffer,
}

/// Turns entries into blocks.
pub struct Encoder<'a> {
    catalog: &'a Catalog,
    tables: &'a Tables,
    case_sensitive: bool,
    blocks: Vec<Block>,
    /// Which columns a row of these names fills, by table number: rows of one table nearly always have the same names.
    shapes: HashMap<u32, Vec<Shape>>,
}

/// A set of column names as they come, and what each of them is on the target.
struct Shape {
    names: Vec<String>,
    /// `None` for a column that is not written.
    positions: Vec<Option<u32>>,
    /// Every column is there that the target does not compute.
    covers: bool,
    /// Where its rows are collected.
    block: Option<usize>,
}

/// What is to be made of a row. Between two tasks for one table the blocks are taken.
#[derive(Clone, Copy, Debug)]
pub enum Task<'t> {
    /// `Upsert` or `Replace`; the blank columns are written as NULL.
    Whole { operation: Operation, blank: &'t [u32] },
    /// `Delete`, `Verify`, or `Update` of the blank columns to NULL.
    Key { operation: Operation, blank: &'t [u32] },
}

impl<'a> Encoder<'a> {
    pub fn new(catalog: &'a Catalog, tables: &'a Tables, case_sensitive: bool) -> Self {
        Self { catalog, tables, case_sensitive, blocks: Vec::new(), shapes: HashMap::new() }
    }

    /// Adds one row.
    ///
    /// # Errors
    /// When the row has a column that the target lacks, or lacks a key column that the target has.
    pub fn push(&mut self, entry: &Entry) -> Result<(), Unwritable> {
        match entry.change() {
            Change::Upsert(_) => self.push_as(entry, Task::Whole { operation: Operation::Upsert, blank: &[] }),
            Change::Delete(_) => self.push_as(entry, Task::Key { operation: Operation::Delete, blank: &[] }),
        }
    }

    /// Bytes collected so far.
    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.rows.bytes()).sum()
    }

    /// The blocks collected so far; the encoder can go on.
    pub fn take(&mut self) -> Vec<Block> {
        self.shapes.values_mut().flatten().for_each(|shape| shape.block = None);
        std::mem::take(&mut self.blocks)
    }

    /// Adds one row for a step of a plan. A task for whole rows passes deleted rows over.
    pub fn push_as(&mut self, entry: &Entry, task: Task<'_>) -> Result<(), Unwritable> {
        match (task, entry.change()) {
            (Task::Whole { operation, blank }, Change::Upsert(json)) => self.whole(entry, json, operation, blank),
            (Task::Whole { .. }, Change::Delete(_)) => Ok(()),
            (Task::Key { operation, blank }, Change::Upsert(json)) => self.key_of_row(entry, json, operation, blank),
            (Task::Key { operation, blank }, Change::Delete(before)) => {
                self.key_of_deleted(entry, before, operation, blank)
            }
        }
    }

    /// Whether a row has a value for every column that the target does not compute: only then can it be deleted and
    /// inserted again without loss.
    pub fn covers(&mut self, entry: &Entry) -> Result<bool, Unwritable> {
        let Change::Upsert(json) = entry.change() else { return Ok(true) };
        let table = self.table(entry)?;
        let pairs = self.pairs(entry, table, json)?;
        let at = self.shape(entry, table, &pairs)?;
        Ok(self.shapes[&entry.table][at].covers)
    }

    fn whole(&mut self, entry: &Entry, json: &str, operation: Operation, blank: &[u32]) -> Result<(), Unwritable> {
        let table = self.table(entry)?;
        let pairs = self.pairs(entry, table, json)?;
        let at = self.shape(entry, table, &pairs)?;
        let shape = &mut self.shapes.get_mut(&entry.table).expect("the shape was just found")[at];
        let block = *shape.block.get_or_insert_with(|| {
            let columns: Vec<u32> = shape.positions.iter().flatten().copied().collect();
            let rows = RowBuffer::new(columns.len());
            self.blocks.push(Block { table: table.position, operation, columns, rows });
            self.blocks.len() - 1
        });
        let rows = &mut self.blocks[block].rows;
        for ((_, raw), position) in pairs.iter().zip(&shape.positions) {
            match position {
                None => {}
                Some(position) if blank.contains(position) => rows.push(Value::Null),
                Some(_) => push_value(rows, raw.get()),
            }
        }
        Ok(())
    }

    fn key_of_row(&mut self, entry: &Entry, json: &str, operation: Operation, blank: &[u32]) -> Result<(), Unwritable> {
        let table = self.table(entry)?;
        let pairs = self.pairs(entry, table, json)?;
        let at = self.shape(entry, table, &pairs)?;
        // A column that the row does not have keeps its value.
        let positions = &self.shapes[&entry.table][at].positions;
        let blank: Vec<u32> = blank.iter().copied().filter(|column| positions.contains(&Some(*column))).collect();
        if blank.is_empty() && operation == Operation::Update {
            return Ok(());
        }
        let block = self.key_block(table.position, operation, &blank);
        let shape = &self.shapes[&entry.table][at];
        for key in &self.catalog.tables[table.position as usize].primary_key {
            let place = shape.positions.iter().position(|position| position.as_ref() == Some(key));
            let place = place.expect("a shape without a column of the key is refused when it is made");
            push_value(&mut self.blocks[block].rows, pairs[place].1.get());
        }
        blank.iter().for_each(|_| self.blocks[block].rows.push(Value::Null));
        Ok(())
    }

    fn key_of_deleted(
        &mut self,
        entry: &Entry,
        before: Option<&str>,
        operation: Operation,
        blank: &[u32],
    ) -> Result<(), Unwritable> {
        let table = self.table(entry)?;
        let target = &self.catalog.tables[table.position as usize];
        let before = match before {
            Some(json) => row::pairs(json).map_err(|error| damaged(entry, &error))?,
            None => Vec::new(),
        };
        let key = parts_of(entry.key());
        let same = table.key.check_values(entry.timestamp, &key);
        same.map_err(|why| unreadable_key(entry, target, &why))?;
        let block = self.key_block(table.position, operation, blank);
        for (at, &position) in target.primary_key.iter().enumerate() {
            let name = &target.columns[position as usize].name;
            let from_key = table.key.value(entry.timestamp, at, &key);
            let from_before = || before.iter().find(|(column, _)| self.same(column, name)).map(|(_, raw)| *raw);
            let raw = from_key.or_else(from_before).ok_or_else(|| unknown_key(target, name))?;
            push_value(&mut self.blocks[block].rows, raw.get());
        }
        blank.iter().for_each(|_| self.blocks[block].rows.push(Value::Null));
        Ok(())
    }

    /// The columns of a row, which must say the same as the key that it came with.
    fn pairs<'j>(&self, entry: &Entry, table: &Table, json: &'j str) -> Result<Pairs<'j>> {
        let pairs = row::pairs(json).map_err(|error| damaged(entry, &error))?;
        let same = table.key.check_row(entry.timestamp, &parts_of(entry.key()), &pairs);
        same.map_err(|why| unreadable_key(entry, &self.catalog.tables[table.position as usize], &why))?;
        Ok(pairs)
    }

    /// The block of keys, followed by columns that become NULL.
    fn key_block(&mut self, table: u32, operation: Operation, blank: &[u32]) -> usize {
        let key = &self.catalog.tables[table as usize].primary_key;
        let is_it = |block: &Block| {
            let columns = key.iter().chain(blank);
            block.table == table && block.operation == operation && block.columns.iter().eq(columns)
        };
        self.blocks.iter().position(is_it).unwrap_or_else(|| {
            let columns: Vec<u32> = key.iter().chain(blank).copied().collect();
            let rows = RowBuffer::new(columns.len());
            self.blocks.push(Block { table, operation, columns, rows });
            self.blocks.len() - 1
        })
    }

    fn table(&self, entry: &Entry) -> Result<&'a Table> {
        self.tables.numbered(entry.table).ok_or_else(|| not_applied(entry))
    }

    fn shape(
        &mut self,
        entry: &Entry,
        table: &Table,
        pairs: &[(Cow<'_, str>, &RawValue)],
    ) -> Result<usize, Unwritable> {
        let same = |shape: &Shape| shape.names.iter().eq(pairs.iter().map(|(name, _)| name.as_ref()));
        let known = self.shapes.entry(entry.table).or_default();
        if let Some(at) = known.iter().position(same) {
            return Ok(at);
        }
        let positions: Result<Vec<_>, _> = pairs.iter().map(|(name, _)| self.position(table, name)).collect();
        let positions = positions?;
        let target = &self.catalog.tables[table.position as usize];
        if let Some(&missing) = target.primary_key.iter().find(|&&key| !positions.contains(&Some(key))) {
            return Err(Unwritable::Other(
                Error::new(format!(
                    "a row of {target} has no value for the key column {}",
                    target.columns[missing as usize].name
                ))
                .hint("source and target must have the same primary key"),
            ));
        }
        let names: Vec<String> = pairs.iter().map(|(name, _)| name.to_string()).collect();
        let missing: Vec<&str> =
            table.columns.iter().filter(|column| !names.contains(column)).map(String::as_str).collect();
        if !missing.is_empty() {
            tracing::warn!(
                table = target.to_string(),
                hint = "dropped at the source, they may be dropped on the target too; one that is added again begins anew there",
                "rows of {target} come without {}: the target keeps what it has in them",
                missing.join(", ")
            );
        }
        let mut columns = target.columns.iter().zip(0_u32..);
        let covers = columns.all(|(column, at)| column.generated || positions.contains(&Some(at)));
        let known = self.shapes.entry(entry.table).or_default();
        known.push(Shape { names, positions, covers, block: None });
        Ok(known.len() - 1)
    }

    /// Where a column of the source stands on the target; `None` when it is not to be written.
    fn position(&self, table: &Table, name: &str) -> Result<Option<u32>, Unwritable> {
        let target = &self.catalog.tables[table.position as usize];
        let found = match names::column(target, name, self.case_sensitive) {
            ColumnMatch::One(at) => Some(at),
            ColumnMatch::None | ColumnMatch::Several => None,
        };
        match found {
            Some(at) if target.columns[at as usize].generated => Ok(None),
            Some(at) => Ok(Some(at)),
            None if table.hidden_columns.iter().any(|hidden| hidden == name) => Ok(None),
            None => {
                let name = shortened(name, SHOWN_CHARS_MAX);
                let error = Error::new(format!("the source has a column {name} that {target} lacks"))
                    .hint(format!("add the column to {target} and start again; its rows are kept"))
                    .field("table", target.to_string());
                Err(Unwritable::Row(error.field("column", name)))
            }
        }
    }

    fn same(&self, a: &str, b: &str) -> bool {
        names::same(a, b, self.case_sensitive)
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
            primary_key: vec![0, 1],
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
        tables.add(&[], &[], false, Table { number: 1, position: 0, key, hidden_columns, ..Table::default() });
        tables
    }

    fn encode(key_columns: Option<&[&str]>, key: &str, change: Change<'_>) -> Result<Vec<Block>> {
        let mut batch = RowBatch::default();
        batch.push(Timestamp::ZERO, 1, key, change);
        let (catalog, tables) = (catalog(), tables(key_columns));
        let mut encoder = Encoder::new(&catalog, &tables, false);
        let pushed = encoder.push(&batch.entries().remove(0)?);
        pushed.map_err(|unwritable| match unwritable {
            Unwritable::Row(error) | Unwritable::Other(error) => error,
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
