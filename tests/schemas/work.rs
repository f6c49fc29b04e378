//! The rows that the source has, and random transactions over them: rows change their keys, swap unique values, lose their
//! parents.
//!
//! Owns: the model, and the messages that a changefeed would send of each transaction. Does not own: sending them.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use crate::harness::receiver::Message;
use crate::shape::{Shape, Table, Trap};
use crate::values::{NULL_TEXT, Value, null};

/// The values of a key, as in a message.
type Key = Vec<Value>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub values: Vec<Value>,
    /// What the column that only the target has must hold; `None` where a window decides.
    pub note: Option<&'static str>,
}

/// What only the target's default writes, and what somebody writes on the target later.
pub(crate) const DEFAULT_NOTE: &str = "kept";
pub(crate) const LATER_NOTE: &str = "mine";

pub(crate) struct Work<'a> {
    shape: &'a Shape,
    /// For each table.
    pub rows: Vec<BTreeMap<Key, Row>>,
    /// Rows as they were before the present transaction, where it has touched them.
    touched: BTreeMap<(usize, Key), Option<Row>>,
    is_rekeyed: bool,
}

impl<'a> Work<'a> {
    pub(crate) fn new(shape: &'a Shape) -> Self {
        let rows = vec![BTreeMap::new(); shape.tables.len()];
        Self { shape, rows, touched: BTreeMap::new(), is_rekeyed: false }
    }

    /// A row that the target holds from the beginning, in a child of the first table.
    pub(crate) fn inherit(&mut self, rng: &mut Rng) -> Option<String> {
        while self.rows[0].is_empty() {
            self.insert(0, rng);
        }
        let (shape, row) = (&self.tables()[0], self.rows[0].values().next()?);
        let names: Vec<&str> = shape.columns.iter().map(|column| column.name.as_str()).collect();
        let values: Vec<String> =
            shape.columns.iter().zip(&row.values).map(|(column, value)| column.kind.literal(value)).collect();
        Some(format!("INSERT INTO {}_old ({}) VALUES ({})", shape.name, names.join(", "), values.join(", ")))
    }

    /// From now on the source's key has its columns in the other order.
    pub(crate) fn rekey(&mut self) {
        self.is_rekeyed = true;
    }

    /// Somebody writes [`LATER_NOTE`] into all rows of the target.
    pub(crate) fn annotate(&mut self) {
        self.rows.iter_mut().flat_map(BTreeMap::values_mut).for_each(|row| row.note = Some(LATER_NOTE));
    }

    /// A random transaction's messages, in any order.
    pub(crate) fn transaction(&mut self, rng: &mut Rng, is_first: bool) -> Vec<Message> {
        self.touched.clear();
        // Only a whole row tells that the order has changed, where the source's catalog does not.
        for _ in 0..if self.is_rekeyed && self.tables()[0].trap == Trap::Rekeyed { 3 } else { 0 } {
            self.insert(0, rng);
        }
        for _ in 0..if is_first { 12 } else { rng.usize(1..9) } {
            let table = rng.usize(0..self.rows.len());
            match if is_first { 0 } else { rng.u8(0..10) } {
                0..=2 => self.insert(table, rng),
                3..=5 => self.update(table, rng),
                6 => self.delete(table, rng),
                7 => self.change_key(table, rng),
                _ => self.swap(table, rng),
            }
        }
        let mut messages = self.messages(rng);
        rng.shuffle(&mut messages);
        messages
    }

    fn tables(&self) -> &'a [Table] {
        &self.shape.tables
    }

    fn set(&mut self, table: usize, key: &Key, row: Option<Row>) {
        let before = self.rows[table].get(key).cloned();
        self.touched.entry((table, key.clone())).or_insert(before);
        match row {
            Some(row) => self.rows[table].insert(key.clone(), row),
            None => self.rows[table].remove(key),
        };
    }

    fn any(&self, table: usize, rng: &mut Rng) -> Option<(Key, Row)> {
        rng.choice(self.rows[table].iter()).map(|(key, row)| (key.clone(), row.clone()))
    }

    fn is_taken(&self, table: usize, column: usize, value: &Value) -> bool {
        self.rows[table].values().any(|row| row.values[column] == *value)
    }

    /// A key that no row has; what the source would call a duplicate is none.
    fn free_key(&self, table: usize, rng: &mut Rng) -> Option<Key> {
        let shape = &self.tables()[table];
        let mut key: Key = shape.columns[..shape.key_length].iter().map(|column| column.kind.value(rng)).collect();
        if shape.trap == Trap::LongKey {
            let part = rng.u8(1..4).to_string();
            key.push(Value { json: part.clone(), text: part });
        }
        let same_id = |row: &Row| shape.trap == Trap::Region && row.values[1] == key[1];
        let is_free = !self.rows[table].contains_key(&key) && !self.rows[table].values().any(same_id);
        is_free.then_some(key)
    }

    fn insert(&mut self, table: usize, rng: &mut Rng) {
        let Some(key) = self.free_key(table, rng) else { return };
        let shape = &self.tables()[table];
        let values = key[..shape.key_length].to_vec();
        let mut row = Row { values, note: self.note(table, &key) };
        for at in shape.key_length..shape.columns.len() {
            match self.column_value(table, at, rng) {
                Some(value) => row.values.push(value),
                None => return,
            }
        }
        self.set(table, &key, Some(row));
    }

    /// A row that was there when somebody wrote on the target may be deleted and inserted in one window.
    fn note(&self, table: usize, key: &Key) -> Option<&'static str> {
        let is_new = !self.touched.contains_key(&(table, key.clone()));
        (is_new && self.tables()[table].trap != Trap::Region).then_some(DEFAULT_NOTE)
    }

    fn column_value(&self, table: usize, at: usize, rng: &mut Rng) -> Option<Value> {
        let shape = &self.tables()[table];
        let column = &shape.columns[at];
        if let Some((_, parent)) = shape.reference.filter(|(reference, _)| *reference == at) {
            return Some(self.any(parent, rng).filter(|_| rng.bool()).map_or_else(null, |(key, _)| key[0].clone()));
        }
        let value = if column.nullable && rng.u8(0..4) == 0 { null() } else { column.kind.value(rng) };
        let repeats = value.text != NULL_TEXT || shape.trap == Trap::EqualNulls;
        let is_duplicate = shape.unique == Some(at) && repeats && self.is_taken(table, at, &value);
        (!is_duplicate).then_some(value)
    }

    fn update(&mut self, table: usize, rng: &mut Rng) {
        let Some((key, mut row)) = self.any(table, rng) else { return };
        let first = self.tables()[table].key_length;
        if first == row.values.len() {
            return;
        }
        let at = rng.usize(first..row.values.len());
        if let Some(value) = self.column_value(table, at, rng) {
            row.values[at] = value;
        }
        self.set(table, &key, Some(row));
    }

    fn delete(&mut self, table: usize, rng: &mut Rng) {
        if let Some((key, _)) = self.any(table, rng) {
            self.remove(table, &key);
        }
    }

    fn remove(&mut self, table: usize, key: &Key) {
        self.set(table, key, None);
        for (child, shape) in self.tables().iter().enumerate() {
            let Some((column, _)) = shape.reference.filter(|(_, parent)| *parent == table) else { continue };
            let orphans: Vec<(Key, Row)> = self.rows[child]
                .iter()
                .filter(|(_, row)| row.values[column] == key[0])
                .map(|(key, row)| (key.clone(), row.clone()))
                .collect();
            for (key, mut row) in orphans {
                row.values[column] = null();
                self.set(child, &key, Some(row));
            }
        }
    }

    fn change_key(&mut self, table: usize, rng: &mut Rng) {
        let Some((key, row)) = self.any(table, rng) else { return };
        let shape = &self.tables()[table];
        let other = match shape.trap {
            // The row moves to another region, and keeps its id.
            Trap::Region => vec![shape.columns[0].kind.value(rng), key[1].clone()],
            _ => match self.free_key(table, rng) {
                Some(key) => key,
                None => return,
            },
        };
        if other == key {
            return;
        }
        self.remove(table, &key);
        let mut values = other[..shape.key_length].to_vec();
        let kept = self.rows[table].get(&key).map_or(row.values, |row| row.values.clone());
        values.extend_from_slice(&kept[shape.key_length..]);
        // A row that referred to itself does not refer to what is gone.
        if let Some((column, parent)) = shape.reference
            && parent == table
            && values[column] == key[0]
        {
            values[column] = null();
        }
        let note = self.note(table, &other);
        self.set(table, &other, Some(Row { values, note }));
    }

    /// Unique values change hands.
    fn swap(&mut self, table: usize, rng: &mut Rng) {
        let Some(column) = self.tables()[table].unique else { return };
        let (Some((a, mut first)), Some((b, mut second))) = (self.any(table, rng), self.any(table, rng)) else {
            return;
        };
        if a != b {
            std::mem::swap(&mut first.values[column], &mut second.values[column]);
            self.set(table, &a, Some(first));
            self.set(table, &b, Some(second));
        }
    }

    fn messages(&self, rng: &mut Rng) -> Vec<Message> {
        let touched = self.touched.iter();
        let mut messages: Vec<Message> = touched
            .map(|((table, key), before)| {
                let after = self.rows[*table].get(key);
                self.message(*table, key, after, before.as_ref())
            })
            .collect();
        // A delete of a row that never was, which also exists where the target has orphans of it.
        if self.tables()[0].trap == Trap::Orphans && rng.bool() {
            let key = vec![Value { json: "999".into(), text: "999".into() }];
            messages.push(self.message(0, &key, None, None));
        }
        messages
    }

    fn message(&self, table: usize, key: &Key, after: Option<&Row>, before: Option<&Row>) -> Message {
        let shape = &self.tables()[table];
        let row = |row: Option<&Row>| match row {
            Some(row) => {
                let names = shape.columns.iter().map(|column| &column.name);
                let fields: BTreeSet<String> =
                    names.zip(&row.values).map(|(name, value)| format!("\"{name}\": {}", value.json)).collect();
                format!("{{{}}}", fields.into_iter().collect::<Vec<_>>().join(", "))
            }
            None => "null".into(),
        };
        let mut key: Vec<&str> = key.iter().map(|value| value.json.as_str()).collect();
        if shape.trap == Trap::Rekeyed && self.is_rekeyed {
            key.reverse();
        }
        Message {
            topic: shape.name.clone(),
            key: format!("[{}]", key.join(", ")),
            after: row(after),
            before: self.shape.has_diff.then(|| row(before)),
        }
    }
}
