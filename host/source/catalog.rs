//! The source's tables as its filters choose them.
//!
//! Owns: reading columns and the primary key in the order that a changefeed's `key` has. Does not own: what the target
//! has (`tables`). It asks `information_schema` and `pg_catalog` only, which every supported version answers.

use regex::Regex;

use super::Source;
use crate::config::Changefeed;
use crate::error::{Error, Result};

/// Names listed in a message.
const SHOWN_MAX: usize = 10;

/// A table of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTable {
    pub schema: String,
    pub name: String,
    pub columns: Vec<String>,
    /// Those of `columns` that `SELECT *` leaves out, such as `rowid` or the shard of a key.
    pub hidden_columns: Vec<String>,
    /// In the order of a message's `key`. Empty, or hidden columns only, when the table has no key of its own.
    pub key_columns: Vec<String>,
}

const COLUMNS: &str = "SELECT c.table_schema, c.table_name, c.column_name, HIDDEN \
     FROM information_schema.columns c JOIN information_schema.tables t \
     ON t.table_schema = c.table_schema AND t.table_name = c.table_name \
     WHERE t.table_type = 'BASE TABLE' \
     AND c.table_schema NOT IN ('crdb_internal', 'pg_catalog', 'information_schema', 'pg_extension') \
     ORDER BY c.table_schema, c.table_name, c.ordinal_position";

const KEYS: &str = "SELECT k.table_schema, k.table_name, k.column_name \
     FROM information_schema.key_column_usage k JOIN information_schema.table_constraints c \
     ON c.constraint_schema = k.constraint_schema AND c.constraint_name = k.constraint_name \
     AND c.table_schema = k.table_schema AND c.table_name = k.table_name \
     WHERE c.constraint_type = 'PRIMARY KEY' ORDER BY k.table_schema, k.table_name, k.ordinal_position";

impl Source {
    /// Every user table of the connection's database.
    pub async fn tables(&self) -> Result<Vec<SourceTable>> {
        // CockroachDB's own column of information_schema; absent where its tables are served by another database.
        let hidden = self
            .rows(
                "SELECT 1 FROM information_schema.columns WHERE table_schema = 'information_schema' \
             AND table_name = 'columns' AND column_name = 'is_hidden'",
            )
            .await?;
        let expression = if hidden.is_empty() { "'NO'" } else { "c.is_hidden" };
        let mut tables: Vec<SourceTable> = Vec::new();
        for row in self.rows(&COLUMNS.replace("HIDDEN", expression)).await? {
            let text = |at: usize| row.get(at).unwrap_or_default().to_owned();
            if tables.last().is_none_or(|last| last.schema != text(0) || last.name != text(1)) {
                let (schema, name) = (text(0), text(1));
                tables.push(SourceTable { schema, name, columns: vec![], hidden_columns: vec![], key_columns: vec![] });
            }
            let table = tables.last_mut().expect("one was just pushed");
            table.columns.push(text(2));
            if text(3) == "YES" {
                table.hidden_columns.push(text(2));
            }
        }
        for row in self.rows(KEYS).await? {
            let text = |at: usize| row.get(at).unwrap_or_default();
            let table = tables.iter_mut().find(|table| table.schema == text(0) && table.name == text(1));
            if let Some(table) = table {
                table.key_columns.push(text(2).to_owned());
            }
        }
        Ok(tables)
    }

    /// The tables that the filters choose.
    pub async fn chosen_tables(&self, settings: &Changefeed) -> Result<Vec<SourceTable>> {
        let all = self.tables().await?;
        let names: Vec<String> = all.iter().map(|table| format!("{}.{}", table.schema, table.name)).collect();
        let chosen: Vec<SourceTable> = all.into_iter().filter(|table| is_chosen(table, settings)).collect();
        if chosen.is_empty() {
            let exclusion = settings.table_exclusion_filter.as_ref().map_or("", Regex::as_str);
            let more = if names.len() > SHOWN_MAX { ", …" } else { "" };
            return Err(Error::new(format!(
                "no table of the source's database {} is chosen by the filters",
                self.database()
            ))
            .hint(format!(
                "--table-filter (now '{}'), --table-exclusion-filter (now '{exclusion}') and --schema-filter (now '{}') \
                 choose among: {}{more}",
                settings.table_filter,
                settings.schema_filter,
                names.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join(", ")
            )));
        }
        Ok(chosen)
    }
}

fn is_chosen(table: &SourceTable, settings: &Changefeed) -> bool {
    let excluded = settings.table_exclusion_filter.as_ref().is_some_and(|filter| filter.is_match(&table.name));
    settings.schema_filter.is_match(&table.schema) && settings.table_filter.is_match(&table.name) && !excluded
}
