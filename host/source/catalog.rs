//! The source's tables as its filters choose them.
//!
//! Owns: reading columns and the primary key in the order that a changefeed's `key` has. Does not own: what the target
//! has (`tables`). It asks `information_schema` and `pg_catalog` only, which every supported version answers.

use std::collections::{BTreeMap, BTreeSet};

use ebb_sdk::{SourceType, Timestamp};
use regex::Regex;
use tokio_postgres::SimpleQueryRow;

use super::Source;
use super::types::source_type;
use crate::code;
use crate::config::Changefeed;
use crate::error::{Error, Result, listed};

/// A table of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceTable {
    pub schema: String,
    pub name: String,
    /// Those that a changefeed sends: all but virtual ones.
    pub columns: Vec<SourceColumn>,
    /// Those that `SELECT *` leaves out, such as `rowid` or the shard of a key.
    pub hidden_columns: Vec<String>,
    /// In the order of a message's `key`. Empty, or hidden columns only, when the table has no key of its own.
    pub key_columns: Vec<String>,
    /// Sets of columns of which no two rows have the same values, other than the primary key.
    pub unique_keys: Vec<Vec<String>>,
}

/// Schema and name of a table.
pub type Place = (String, String);

/// The columns of each unique index of a table, other than the primary key, by its number, which no later index gets.
pub type UniqueIndexes = BTreeMap<String, Vec<String>>;

/// The primary key of a table at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrimaryKey {
    pub columns: Vec<String>,
    /// The number of its index, which is another one after every change of the key, and after some other changes of the table.
    /// `None` where it was not asked for.
    pub index: Option<String>,
}

impl PrimaryKey {
    /// Whether nothing has become of the key from one time to another, as far as both are known. The same columns alone say
    /// little: a key may be changed, and changed back.
    pub fn is_same(&self, other: &Self) -> bool {
        let indexes = self.index.as_ref().zip(other.index.as_ref());
        self.columns == other.columns && indexes.is_none_or(|(one, other)| one == other)
    }
}

/// The tables of the source as the filters divide them.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub tables: Vec<SourceTable>,
    pub left_out: Vec<Place>,
}

/// One of its columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceColumn {
    pub name: String,
    pub source_type: SourceType,
    pub nullable: bool,
}

/// Every column of the view is asked for, since `is_hidden` is CockroachDB's own.
const COLUMNS: &str = "SELECT c.* \
     FROM information_schema.columns c JOIN information_schema.tables t \
     ON t.table_schema = c.table_schema AND t.table_name = c.table_name \
     WHERE t.table_type = 'BASE TABLE' \
     AND c.table_schema NOT IN ('crdb_internal', 'pg_catalog', 'information_schema', 'pg_extension') \
     ORDER BY c.table_schema, c.table_name, c.ordinal_position";

/// `{as_of}` is the place of AS OF SYSTEM TIME.
const KEYS: &str = "SELECT k.table_schema, k.table_name, k.column_name \
     FROM information_schema.key_column_usage k JOIN information_schema.table_constraints c \
     ON c.constraint_schema = k.constraint_schema AND c.constraint_name = k.constraint_name \
     AND c.table_schema = k.table_schema AND c.table_name = k.table_name{as_of} \
     WHERE c.constraint_type = 'PRIMARY KEY' ORDER BY k.table_schema, k.table_name, k.ordinal_position";

/// `{as_of}` is the place of AS OF SYSTEM TIME.
const KEY_INDEXES: &str = "SELECT n.nspname AS table_schema, t.relname AS table_name, i.indexrelid AS index_id \
     FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class t ON t.oid = i.indrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace{as_of} WHERE i.indisprimary \
     AND n.nspname NOT IN ('crdb_internal', 'pg_catalog', 'information_schema', 'pg_extension')";

/// Unique indexes that hold for every row and are on columns only, with a row for each column, stored ones as well: CockroachDB
/// takes no slice of an array that would leave those out. `{as_of}` is the place of AS OF SYSTEM TIME.
const UNIQUE_KEYS: &str = "SELECT n.nspname AS table_schema, t.relname AS table_name, i.indexrelid AS index_id, \
     i.indkey AS column_numbers, i.indnkeyatts AS key_length, a.attnum AS column_number, a.attname AS column_name \
     FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class t ON t.oid = i.indrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
     JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = ANY (i.indkey){as_of} \
     WHERE i.indisunique AND i.indisvalid AND NOT i.indisprimary AND i.indpred IS NULL AND i.indexprs IS NULL \
     AND n.nspname NOT IN ('crdb_internal', 'pg_catalog', 'information_schema', 'pg_extension')";

/// The type of the column that a REGIONAL BY ROW table has for the region of each row, whatever the column is called.
const REGION_TYPE: &str = "crdb_internal_region";

/// Changefeeds leave virtual columns out. (That of a sharded key is in `key` all the same.)
const VIRTUAL_COLUMNS: &str = "SELECT n.nspname AS table_schema, t.relname AS table_name, a.attname AS column_name \
     FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class t ON t.oid = a.attrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace WHERE a.attgenerated = 'v'";

impl SourceTable {
    fn new(schema: &str, name: &str) -> Self {
        let (schema, name) = (schema.to_owned(), name.to_owned());
        Self { schema, name, ..Self::default() }
    }

    /// Those of a row that a changefeed sends, but for hidden ones.
    pub fn column_names(&self) -> Vec<String> {
        let names = self.columns.iter().map(|column| &column.name);
        names.filter(|name| !self.hidden_columns.contains(name)).cloned().collect()
    }

    fn has_region(&self) -> bool {
        self.columns.iter().any(|column| column.source_type.name.ends_with(REGION_TYPE))
    }

    /// Columns whose type takes differing values for equal, with that type.
    pub fn folded_columns(&self) -> impl Iterator<Item = (&String, &str)> {
        let columns = self.columns.iter().map(|column| (&column.name, column.source_type.name.as_str()));
        columns.filter(|(_, type_name)| type_name.eq_ignore_ascii_case("citext") || type_name.contains(" COLLATE "))
    }
}

impl Source {
    /// Every user table of the connection's database.
    pub async fn tables(&self) -> Result<Vec<SourceTable>> {
        let mut tables: BTreeMap<(String, String), SourceTable> = BTreeMap::new();
        let virtual_columns: BTreeSet<_> =
            self.rows(VIRTUAL_COLUMNS).await?.iter().map(|row| (place(row), name(row, "column_name"))).collect();
        for row in self.rows(COLUMNS).await? {
            let (place, column) = (place(&row), name(&row, "column_name"));
            let table = tables.entry(place.clone()).or_insert_with(|| SourceTable::new(&place.0, &place.1));
            if name(&row, "is_hidden") == "YES" {
                table.hidden_columns.push(column.clone());
            }
            if !virtual_columns.contains(&(place, column.clone())) {
                let source_type = source_type(&name(&row, "crdb_sql_type"));
                let nullable = name(&row, "is_nullable") == "YES";
                table.columns.push(SourceColumn { name: column, source_type, nullable });
            }
        }
        for (place, key) in self.key_columns("").await? {
            if let Some(table) = tables.get_mut(&place) {
                table.key_columns = key.columns;
            }
        }
        for (place, indexes) in self.unique_indexes("").await? {
            if let Some(table) = tables.get_mut(&place) {
                table.unique_keys.extend(indexes.into_values());
            }
        }
        for table in tables.values_mut().filter(|table| table.has_region()) {
            self.read_implicit_columns(table).await?;
        }
        Ok(tables.into_values().collect())
    }

    /// Every table's primary key as it was at a time.
    pub async fn primary_keys(&self, at: Timestamp) -> Result<BTreeMap<Place, PrimaryKey>> {
        let as_of = format!(" AS OF SYSTEM TIME '{at}'");
        let mut keys = self.key_columns(&as_of).await?;
        for row in self.rows(&KEY_INDEXES.replace("{as_of}", &as_of)).await? {
            if let Some(key) = keys.get_mut(&place(&row)) {
                key.index = Some(name(&row, "index_id"));
            }
        }
        Ok(keys)
    }

    /// Every table's unique indexes as they were at a time.
    pub async fn unique_indexes_at(&self, at: Timestamp) -> Result<BTreeMap<Place, UniqueIndexes>> {
        self.unique_indexes(&format!(" AS OF SYSTEM TIME '{at}'")).await
    }

    async fn unique_indexes(&self, as_of: &str) -> Result<BTreeMap<Place, UniqueIndexes>> {
        let mut found: BTreeMap<(Place, String), BTreeMap<usize, String>> = BTreeMap::new();
        for row in self.rows(&UNIQUE_KEYS.replace("{as_of}", as_of)).await? {
            let number = name(&row, "column_number");
            let key_length = name(&row, "key_length").parse().unwrap_or(0);
            if let Some(at) = place_in_key(&name(&row, "column_numbers"), key_length, &number) {
                found.entry((place(&row), name(&row, "index_id"))).or_default().insert(at, name(&row, "column_name"));
            }
        }
        let mut indexes: BTreeMap<Place, UniqueIndexes> = BTreeMap::new();
        for ((place, index), columns) in found {
            indexes.entry(place).or_default().insert(index, columns.into_values().collect());
        }
        Ok(indexes)
    }

    async fn key_columns(&self, as_of: &str) -> Result<BTreeMap<Place, PrimaryKey>> {
        let mut keys: BTreeMap<Place, PrimaryKey> = BTreeMap::new();
        for row in self.rows(&KEYS.replace("{as_of}", as_of)).await? {
            keys.entry(place(&row)).or_default().columns.push(name(&row, "column_name"));
        }
        Ok(keys)
    }

    /// Of a table whose rows have a region: columns that CockroachDB has put before those of the key that was declared, and
    /// which alone is unique (<https://www.cockroachlabs.com/docs/stable/show-index>).
    async fn read_implicit_columns(&self, table: &mut SourceTable) -> Result<()> {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let sql = format!("SHOW INDEXES FROM {}.{}", quoted(&table.schema), quoted(&table.name));
        let is = |row: &SimpleQueryRow, column: &str| matches!(name(row, column).as_str(), "t" | "true" | "YES");
        let mut indexes: BTreeMap<String, Vec<SimpleQueryRow>> = BTreeMap::new();
        for row in self.rows(&sql).await? {
            if !is(&row, "storing") && !is(&row, "non_unique") {
                indexes.entry(name(&row, "index_name")).or_default().push(row);
            }
        }
        for mut rows in indexes.into_values() {
            rows.sort_by_key(|row| name(row, "seq_in_index").parse::<u32>().unwrap_or(u32::MAX));
            let column = |row: &SimpleQueryRow| name(row, "column_name");
            let all: Vec<String> = rows.iter().map(column).collect();
            let declared: Vec<String> = rows.iter().filter(|row| !is(row, "implicit")).map(column).collect();
            // The catalog may name the key as it was declared, or as it is stored.
            if declared.len() < all.len() && (table.key_columns == declared || table.key_columns == all) {
                table.key_columns = all;
                table.unique_keys.push(declared);
            }
        }
        Ok(())
    }

    /// The tables that the filters choose.
    pub async fn chosen_tables(&self, settings: &Changefeed) -> Result<Chosen> {
        let all = self.tables().await?;
        let names: Vec<String> = all.iter().map(|table| format!("{}.{}", table.schema, table.name)).collect();
        let is_chosen = |table: &SourceTable| settings.chooses(&table.schema, &table.name);
        let (chosen, others): (Vec<_>, Vec<_>) = all.into_iter().partition(is_chosen);
        if names.is_empty() {
            return Err(Error::new(
                code::source::NO_TABLE,
                format!("the source's database {} has no table that can be seen", self.database()),
            )
            .hint(format!(
                "check the database in --source; or grant the right to see its tables: GRANT SELECT, CHANGEFEED ON * TO {};",
                self.user()
            )));
        }
        if chosen.is_empty() {
            let exclusion = settings.table_exclusion_filter.as_ref().map_or("", Regex::as_str);
            return Err(Error::new(code::source::NONE_CHOSEN, format!(
                "no table of the source's database {} is chosen by the filters",
                self.database()
            ))
            .hint(format!(
                "--table-filter (now '{}'), --table-exclusion-filter (now '{exclusion}') and --schema-filter (now '{}') \
                 choose among: {}",
                settings.table_filter,
                settings.schema_filter,
                listed(&names)
            )));
        }
        Ok(Chosen { tables: chosen, left_out: others.into_iter().map(|table| (table.schema, table.name)).collect() })
    }
}

/// Where a column stands among those that an index is unique on, which are the first of its `indkey`.
fn place_in_key(indkey: &str, key_length: usize, number: &str) -> Option<usize> {
    indkey.split_whitespace().take(key_length).position(|of_index| of_index == number)
}

fn name(row: &SimpleQueryRow, column: &str) -> String {
    row.try_get(column).ok().flatten().unwrap_or_default().to_owned()
}

fn place(row: &SimpleQueryRow) -> Place {
    (name(row, "table_schema"), name(row, "table_name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_columns_of_an_index_are_not_of_its_key() {
        let places = ["3", "1", "2", "12"].map(|number| place_in_key("3 1 2", 2, number));
        assert_eq!(places, [Some(0), Some(1), None, None]);
    }
}
