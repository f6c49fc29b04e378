//! Which table, column and constraint an error of the server is about.
//!
//! Owns: telling a name of the database from other text. Does not own: what an error means (`error`). A function of the
//! target's own may say what it likes where the server names these (RAISE … USING COLUMN = …), a value of a row too: only
//! what the catalog has as a name goes into the facts of an error, which are shown also where values are hidden.

use std::collections::HashSet;

use ebb_sdk::{Error, Table};
use tokio_postgres::Client;
use tokio_postgres::error::DbError;

/// Of tables and their partitions.
const TABLES: &str = "SELECT n.nspname::text, c.relname::text \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' \
     AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')";

/// Also those of domains. A unique index is named like a constraint where it is violated.
const CONSTRAINTS: &str = "SELECT k.conname::text \
     FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace \
     WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
     UNION SELECT x.relname::text \
     FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace \
     WHERE i.indisunique AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')";

/// The names of a database, as described last.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// With their schema: `public.orders`.
    tables: HashSet<String>,
    /// Without it, as the server's words have them.
    short_tables: HashSet<String>,
    columns: HashSet<String>,
    constraints: HashSet<String>,
}

impl Names {
    /// Inside the transaction that describes `tables`.
    pub(crate) async fn read(client: &Client, tables: &[Table]) -> Result<Self, tokio_postgres::Error> {
        let mut names = Self::default();
        for row in client.query(TABLES, &[]).await? {
            let (schema, name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            names.tables.insert(format!("{schema}.{name}"));
            names.short_tables.insert(name);
        }
        for row in client.query(CONSTRAINTS, &[]).await? {
            names.constraints.insert(row.try_get(0)?);
        }
        names.columns.extend(tables.iter().flat_map(|table| &table.columns).map(|column| column.name.clone()));
        Ok(names)
    }

    /// Gives an error the place that the server names.
    pub(crate) fn placed(&self, mut error: Error, failure: &tokio_postgres::Error) -> Error {
        let Some(answer) = failure.as_db_error() else { return error };
        if let Some(parent) = missing_parent(answer).filter(|parent| self.short_tables.contains(*parent)) {
            error = error.hint(ebb_sdk::missing_parent(parent));
        }
        let table = answer.table().map(|table| format!("{}.{table}", answer.schema().unwrap_or("public")));
        if let Some(table) = table.filter(|table| self.tables.contains(table)) {
            error = error.table(table);
        }
        if let Some(column) = answer.column().filter(|column| self.columns.contains(*column)) {
            error = error.column(column);
        }
        if let Some(constraint) = answer.constraint().filter(|constraint| self.constraints.contains(*constraint)) {
            error = error.constraint(constraint);
        }
        error
    }
}

/// The table that lacks a row: `Key (d)=(9) is not present in table "dep".` The key may be any words.
fn missing_parent(answer: &DbError) -> Option<&str> {
    let detail = answer.detail().filter(|_| answer.code().code() == "23503")?;
    parent(detail)
}

fn parent(detail: &str) -> Option<&str> {
    detail.rsplit_once("is not present in table \"")?.1.rsplit_once('"').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_speaks_of_a_table_is_not_taken_for_its_name() {
        for (detail, expected) in [
            ("Key (d)=(9) is not present in table \"dep\".", Some("dep")),
            ("Key (d)=(9) is not present in table \"de\"p\".", Some("de\"p")),
            ("Key (d)=(is not present in table \"canary\".) is not present in table \"dep\".", Some("dep")),
            ("Key (id)=(1) is still referenced from table \"emp\".", None),
        ] {
            assert_eq!(parent(detail), expected, "{detail}");
        }
    }
}
