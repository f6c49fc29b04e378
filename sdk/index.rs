//! Positions in a catalog, so that the place of a table is never taken for that of a column.
//!
//! Owns: the two types, and using them as indices. In JSON and over the ABI they are plain numbers.

use std::fmt;
use std::ops::Index;

use serde::{Deserialize, Serialize};

use crate::{Column, Table};

/// The position of a table in [`Catalog::tables`](crate::Catalog::tables), counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TableIndex(pub u32);

/// The position of a column in [`Table::columns`], counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ColumnIndex(pub u32);

impl TableIndex {
    /// From a position as the standard library counts.
    ///
    /// # Panics
    /// When there are 2^32 tables before it, which no database has.
    pub fn at(place: usize) -> Self {
        Self(u32::try_from(place).expect("fewer than 2^32 tables"))
    }

    /// As the standard library counts.
    pub fn place(self) -> usize {
        self.0 as usize
    }

    /// Every position from 0 on.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).map(Self)
    }
}

impl ColumnIndex {
    /// From a position as the standard library counts.
    ///
    /// # Panics
    /// When there are 2^32 columns before it, which no database has.
    pub fn at(place: usize) -> Self {
        Self(u32::try_from(place).expect("fewer than 2^32 columns"))
    }

    /// As the standard library counts.
    pub fn place(self) -> usize {
        self.0 as usize
    }

    /// Every position from 0 on.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).map(Self)
    }
}

impl fmt::Display for TableIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ColumnIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Index<TableIndex> for Vec<Table> {
    type Output = Table;

    fn index(&self, index: TableIndex) -> &Table {
        &self[index.place()]
    }
}

impl Index<ColumnIndex> for Vec<Column> {
    type Output = Column;

    fn index(&self, index: ColumnIndex) -> &Column {
        &self[index.place()]
    }
}
