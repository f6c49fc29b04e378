//! The tables that are compared, and the statements that read them at the source.
//!
//! Owns: which columns of both sides belong together, and the SQL. Does not own: matching tables (`tables`), running a
//! statement (`read`, `extra`). Pure.

use ebb_sdk::{Catalog, ColumnIndex, Family, SourceType, TableIndex, Timestamp};

use crate::code;
use crate::error::{Error, Result};
use crate::names::{self, ColumnMatch};
use crate::source::SourceTable;
use crate::tables::TableRoute;

/// What stands for a JSON null where the feed tells it from SQL NULL.
const JSON_NULL: &str = r#"{"__crdb_json_null__": true}"#;

/// A table of both sides.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// As messages call it: `public.orders`.
    pub name: String,
    /// In the target's catalog.
    pub position: TableIndex,
    /// As the source's SQL takes it, with its database.
    source: String,
    /// Columns of the source, and where they stand on the target. Those that are read for their place in the order only have
    /// none.
    pub columns: Vec<(String, Option<ColumnIndex>)>,
    /// The source's primary key, in its order.
    key: Vec<KeyColumn>,
    /// The same columns as the target's primary key, in its order.
    target_key: Vec<KeyColumn>,
    /// Columns of JSON, whose null is marked.
    marked: Vec<String>,
}

/// A column of a key, at the source.
#[derive(Clone, Debug)]
struct KeyColumn {
    name: String,
    /// As the source's SQL takes it.
    type_name: String,
}

/// How tables are compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// No columns but those of the keys.
    pub only_keys: bool,
    pub case_sensitive: bool,
    /// The feed tells a JSON null from SQL NULL.
    pub marks_json_null: bool,
}

impl Pair {
    /// # Errors
    /// When a column of the source has no place on the target.
    pub(super) fn new(
        route: &TableRoute,
        table: &SourceTable,
        database: &str,
        catalog: &Catalog,
        manner: Manner,
    ) -> Result<Self> {
        let target = &catalog.tables[route.position];
        let place = |name: &str| match names::column(target, name, manner.case_sensitive) {
            ColumnMatch::One(at) if !target.columns[at].generated => Some(at),
            _ => None,
        };
        let key_column = |name: &String| {
            let column = table.columns.iter().find(|column| column.name == *name);
            let type_name = column.map(|column| unlimited(&column.source_type)).unwrap_or_default();
            KeyColumn { name: name.clone(), type_name }
        };
        let key: Vec<KeyColumn> = table.key_columns.iter().map(key_column).collect();
        let mut target_key = Vec::new();
        for &at in &target.primary_key {
            let found = table.columns.iter().find(|column| place(&column.name) == Some(at));
            let found = found.ok_or_else(|| unmatched(target, &target.columns[at].name))?;
            target_key.push(key_column(&found.name));
        }
        let is_hidden = |name: &str| route.hidden_columns.iter().any(|hidden| hidden == name);
        let mut columns = Vec::new();
        for column in &table.columns {
            let found = place(&column.name);
            let is_of_target_key = found.is_some_and(|at| target.primary_key.contains(&at));
            let is_compared = found.is_some() && (is_of_target_key || !manner.only_keys);
            if is_compared || table.key_columns.contains(&column.name) {
                columns.push((column.name.clone(), found.filter(|_| is_compared)));
            } else if found.is_none() && !is_hidden(&column.name) && !is_generated(target, &column.name, manner) {
                return Err(unmatched(target, &column.name));
            }
        }
        // JSON has the names of an object in this order.
        columns.sort();
        let is_marked = |name: &String| {
            let mut columns = table.columns.iter();
            manner.marks_json_null
                && columns.any(|column| column.name == *name && column.source_type.family == Family::Json)
        };
        let marked = columns.iter().map(|(name, _)| name).filter(|name| is_marked(name)).cloned().collect();
        Ok(Self {
            name: target.to_string(),
            position: route.position,
            source: [database, &table.schema, &table.name].map(quoted).join("."),
            columns,
            key,
            target_key,
            marked,
        })
    }

    /// Where the values of a row stand on the target.
    pub(super) fn positions(&self) -> Vec<ColumnIndex> {
        self.columns.iter().filter_map(|(_, at)| *at).collect()
    }

    /// The source's key, in its order.
    pub(super) fn key_shape(&self) -> Vec<String> {
        self.key.iter().map(|column| format!("{} {}", column.name, column.type_name)).collect()
    }

    pub(super) fn key_names(&self) -> impl Iterator<Item = &str> {
        self.key.iter().map(|column| column.name.as_str())
    }

    /// A row can be continued behind only where its key has a spelling in SQL.
    pub(super) fn has_plain_key(&self) -> bool {
        let is_plain = |column: &KeyColumn| {
            // The text of an array or a document in a row is none that SQL reads as the same value.
            !column.type_name.is_empty() && !column.type_name.ends_with("[]") && column.type_name != "JSONB"
        };
        self.key.iter().all(is_plain)
    }

    /// Every row behind a key, one JSON object each, in the order of the primary key.
    pub(super) fn rows(&self, at: Timestamp, after: Option<&[String]>) -> String {
        let columns: Vec<String> = self.columns.iter().map(|(name, _)| self.selected(name)).collect();
        let order: Vec<String> = self.key.iter().map(|column| format!("r.{}", quoted(&column.name))).collect();
        let behind = after.map(|after| format!(" WHERE {}", self.behind(after))).unwrap_or_default();
        format!(
            "SELECT row_to_json(r)::STRING FROM (SELECT {} FROM {}{behind}) AS r AS OF SYSTEM TIME {at} ORDER BY {}",
            columns.join(", "),
            self.source,
            order.join(", ")
        )
    }

    fn selected(&self, name: &str) -> String {
        let column = quoted(name);
        match self.marked.iter().any(|marked| marked == name) {
            true => {
                format!("CASE WHEN {column} = 'null'::JSONB THEN '{JSON_NULL}'::JSONB ELSE {column} END AS {column}")
            }
            false => column,
        }
    }

    fn behind(&self, after: &[String]) -> String {
        let columns: Vec<String> = self.key.iter().map(|column| quoted(&column.name)).collect();
        format!("({}) > ({})", columns.join(", "), literals(&self.key, after).join(", "))
    }

    pub(super) fn count(&self, at: Timestamp) -> String {
        format!("SELECT count(*) FROM {} AS OF SYSTEM TIME {at}", self.source)
    }

    /// The numbers of those keys of the target that the source does not have.
    pub(super) fn absent(&self, at: Timestamp, keys: &[Vec<String>]) -> String {
        let names: Vec<String> = (0..self.target_key.len()).map(|at| format!("k{at}")).collect();
        let rows: Vec<String> = keys
            .iter()
            .enumerate()
            .map(|(number, key)| format!("({number}, {})", literals(&self.target_key, key).join(", ")))
            .collect();
        let is_it: Vec<String> = self
            .target_key
            .iter()
            .zip(&names)
            .map(|(column, name)| format!("t.{} = v.{name}", quoted(&column.name)))
            .collect();
        format!(
            "SELECT v.i FROM (VALUES {}) AS v (i, {}) LEFT JOIN {} AS t ON {} AS OF SYSTEM TIME {at} WHERE t.{} IS NULL",
            rows.join(", "),
            names.join(", "),
            self.source,
            is_it.join(" AND "),
            quoted(&self.target_key[0].name)
        )
    }

    /// The statement that shows a person a row of the source. `key` is in the order of the target's.
    pub(super) fn look(&self, at: Timestamp, key: &[String]) -> String {
        let names = self.target_key.iter().map(|column| quoted(&column.name));
        let is_it: Vec<String> =
            names.zip(literals(&self.target_key, key)).map(|(name, value)| format!("{name} = {value}")).collect();
        format!("SELECT * FROM {} AS OF SYSTEM TIME {at} WHERE {};", self.source, is_it.join(" AND "))
    }
}

/// The type as wide as it can be: a value of the target is not to be cut to the width of the source's column, and found there.
fn unlimited(source_type: &SourceType) -> String {
    let name = &source_type.name;
    match (source_type.family, name.split_once('(')) {
        _ if name.contains(" COLLATE ") => name.clone(),
        (Family::String, _) => "STRING".into(),
        (Family::Bit, _) => "VARBIT".into(),
        (Family::Interval, _) => "INTERVAL".into(),
        (
            Family::Decimal | Family::Time | Family::TimeTz | Family::Timestamp | Family::TimestampTz,
            Some((word, _)),
        ) => word.to_owned(),
        _ => name.clone(),
    }
}

fn literals(key: &[KeyColumn], values: &[String]) -> Vec<String> {
    let literal = |(column, value): (&KeyColumn, &String)| {
        let text = format!("'{}'", value.replace('\'', "''"));
        if column.type_name.is_empty() { text } else { format!("{text}::{}", column.type_name) }
    };
    key.iter().zip(values).map(literal).collect()
}

fn is_generated(target: &ebb_sdk::Table, name: &str, manner: Manner) -> bool {
    let found = names::column(target, name, manner.case_sensitive);
    matches!(found, ColumnMatch::One(at) if target.columns[at].generated)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn unmatched(target: &ebb_sdk::Table, column: &str) -> Error {
    Error::new(code::row::COLUMN_MISSING, format!("the column {column} of {target} is on one side only"))
        .hint("ebb check says what mends it")
}

#[cfg(test)]
mod tests {
    use ebb_sdk::{Column, SourceType, Table};

    use super::*;
    use crate::source::SourceColumn;
    use crate::stage::Bounds;

    fn pair(manner: Manner) -> Pair {
        let column = |name: &str| Column { name: name.into(), ..Column::default() };
        let target = Table {
            namespace: vec!["molt".into(), "public".into()],
            name: "t".into(),
            columns: vec![column("ID"), column("doc"), Column { generated: true, ..column("sum") }],
            primary_key: vec![ColumnIndex(0)],
            ..Table::default()
        };
        let catalog = Catalog { tables: vec![target], ..Catalog::default() };
        let source_column = |name: &str, type_name: &str, family| SourceColumn {
            name: name.into(),
            source_type: SourceType { family, name: type_name.into(), ..SourceType::default() },
            nullable: true,
        };
        let table = SourceTable {
            schema: "public".into(),
            name: "T\"".into(),
            columns: vec![
                source_column("region", "public.crdb_internal_region", Family::Enum),
                source_column("id", "INT8", Family::Int),
                source_column("doc", "JSONB", Family::Json),
                source_column("sum", "INT8", Family::Int),
            ],
            key_columns: vec!["region".into(), "id".into()],
            ..SourceTable::default()
        };
        let route = TableRoute {
            path: Vec::new(),
            topics: Vec::new(),
            position: TableIndex(0),
            source: None,
            key: None,
            columns: Vec::new(),
            hidden_columns: vec!["region".into()],
            is_left: false,
            bounds: Bounds::default(),
            refused: None,
        };
        Pair::new(&route, &table, "db", &catalog, manner).expect("a pair")
    }

    const MANNER: Manner = Manner { only_keys: false, case_sensitive: false, marks_json_null: true };
    const AT: Timestamp = Timestamp { wall: 17, logical: 1 };

    #[test]
    fn rows_are_read_in_the_order_of_the_source_key() {
        let pair = pair(MANNER);
        assert_eq!(pair.positions(), [ColumnIndex(1), ColumnIndex(0)]);
        assert_eq!(
            pair.rows(AT, Some(&["eu".into(), "7'".into()])),
            "SELECT row_to_json(r)::STRING FROM (SELECT CASE WHEN \"doc\" = 'null'::JSONB THEN \
             '{\"__crdb_json_null__\": true}'::JSONB ELSE \"doc\" END AS \"doc\", \"id\", \"region\" FROM \
             \"db\".\"public\".\"T\"\"\" WHERE (\"region\", \"id\") > ('eu'::public.crdb_internal_region, '7'''::INT8)) AS r \
             AS OF SYSTEM TIME 17.0000000001 ORDER BY r.\"region\", r.\"id\""
        );
        assert!(!pair.rows(AT, None).contains("WHERE ("));
    }

    #[test]
    fn keys_of_the_target_are_looked_for_by_its_own_columns() {
        let pair = pair(Manner { only_keys: true, marks_json_null: false, ..MANNER });
        assert_eq!(pair.positions(), [ColumnIndex(0)]);
        assert_eq!(
            pair.absent(AT, &[vec!["7".into()], vec!["8".into()]]),
            "SELECT v.i FROM (VALUES (0, '7'::INT8), (1, '8'::INT8)) AS v (i, k0) LEFT JOIN \"db\".\"public\".\"T\"\"\" AS t \
             ON t.\"id\" = v.k0 AS OF SYSTEM TIME 17.0000000001 WHERE t.\"id\" IS NULL"
        );
        assert_eq!(
            pair.look(AT, &["7".into()]),
            "SELECT * FROM \"db\".\"public\".\"T\"\"\" AS OF SYSTEM TIME 17.0000000001 WHERE \"id\" = '7'::INT8;"
        );
    }
}
