//! Tables, columns and keys, from `pg_catalog` in three queries.
//!
//! Owns: what of PostgreSQL's catalog goes into the sdk's, and the types that writing needs.
//! Does not own: how a value is written (`values`).

use std::collections::HashMap;

use ebb_sdk::{Catalog, Column, ForeignKey, Identity, Result, Table};
use tokio_postgres::{Client, Error, Row};

use crate::error::translate;
use crate::progress::TABLE;
use crate::values::Form;

/// How a column's values are written.
#[derive(Clone, Debug)]
pub(crate) struct ColumnType {
    /// The type that text is cast to, without length or precision: an explicit cast to `varchar(3)` would cut silently,
    /// while the assignment to the column refuses.
    pub(crate) cast: String,
    pub(crate) form: Form,
}

/// The catalog and, beside it, the types by schema and table.
pub(crate) struct Described {
    pub(crate) catalog: Catalog,
    pub(crate) types: HashMap<(String, String), Vec<ColumnType>>,
}

/// Ordinary and partitioned tables that are not part of another and not the system's.
const TABLES: &str = "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' \
     AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')";

/// One row per column. A domain is written as the type under it, an array of anything as its own type.
const COLUMNS: &str = "WITH RECURSIVE base AS (\
         SELECT oid, oid AS type, typbasetype FROM pg_catalog.pg_type \
         UNION ALL SELECT base.oid, t.oid, t.typbasetype FROM base JOIN pg_catalog.pg_type t ON t.oid = base.typbasetype \
     ) SELECT n.nspname::text, c.relname::text, a.attnum, a.attname::text, \
         pg_catalog.format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, a.attgenerated::text, a.attidentity::text, \
         tn.nspname::text, t.typname::text, coalesce(e.typname::text, '') \
     FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN base ON base.oid = a.atttypid AND base.typbasetype = 0 \
     JOIN pg_catalog.pg_type t ON t.oid = base.type JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace \
     LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A' \
     WHERE a.attnum > 0 AND NOT a.attisdropped AND c.oid = ANY ($1) ORDER BY c.oid, a.attnum";

/// One row per unique key that holds for all rows and on columns only.
const UNIQUE_KEYS: &str = "SELECT n.nspname::text, c.relname::text, i.indisprimary, \
         (SELECT array_agg(k.attnum ORDER BY k.at) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, at) \
          WHERE k.at <= i.indnkeyatts) \
     FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND c.oid = ANY ($1) ORDER BY i.indexrelid";

const FOREIGN_KEYS: &str = "SELECT n.nspname::text, c.relname::text, k.conname::text, k.conkey, \
         rn.nspname::text, r.relname::text, k.condeferrable AND k.condeferred \
     FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_class r ON r.oid = k.confrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace \
     WHERE k.contype = 'f' AND c.oid = ANY ($1) ORDER BY k.oid";

/// Describes every table of the database.
pub(crate) async fn describe(client: &Client, schema: &str) -> Result<Described> {
    read(client, schema).await.map_err(|failure| translate(&failure, "describe the target's tables"))
}

async fn read(client: &Client, schema: &str) -> Result<Described, Error> {
    let server = client.query_one("SELECT current_database()::text, current_setting('server_version')", &[]).await?;
    let (database, version): (String, String) = (server.try_get(0)?, server.try_get(1)?);
    let mut builder =
        Builder { database, positions: HashMap::new(), tables: Vec::new(), numbers: Vec::new(), types: HashMap::new() };
    let tables =
        client.query(&format!("SELECT c.oid, n.nspname::text, c.relname::text {TABLES} ORDER BY 2, 3"), &[]).await?;
    let mut oids: Vec<u32> = Vec::new();
    for row in &tables {
        if builder.table(row)? {
            oids.push(row.try_get(0)?);
        }
    }
    for row in client.query(COLUMNS, &[&oids]).await? {
        builder.column(&row)?;
    }
    for row in client.query(UNIQUE_KEYS, &[&oids]).await? {
        builder.unique_key(&row)?;
    }
    for row in client.query(FOREIGN_KEYS, &[&oids]).await? {
        builder.foreign_key(&row)?;
    }
    let catalog = Catalog {
        namespace: vec![builder.database, schema.to_owned()],
        tables: builder.tables,
        server_version: format!("PostgreSQL {version}"),
    };
    Ok(Described { catalog, types: builder.types })
}

struct Builder {
    database: String,
    positions: HashMap<(String, String), usize>,
    tables: Vec<Table>,
    /// PostgreSQL's numbers of each table's columns; dropped columns leave gaps in them.
    numbers: Vec<Vec<i16>>,
    types: HashMap<(String, String), Vec<ColumnType>>,
}

impl Builder {
    fn table(&mut self, row: &Row) -> Result<bool, Error> {
        let (schema, name): (String, String) = (row.try_get(1)?, row.try_get(2)?);
        if name == TABLE {
            return Ok(false);
        }
        let namespace = vec![self.database.clone(), schema.clone()];
        self.positions.insert((schema, name.clone()), self.tables.len());
        self.tables.push(Table { namespace, name, ..Table::default() });
        self.numbers.push(Vec::new());
        Ok(true)
    }

    fn column(&mut self, row: &Row) -> Result<(), Error> {
        let key = self.key(row)?;
        let at = self.positions[&key];
        self.numbers[at].push(row.try_get(2)?);
        self.tables[at].columns.push(Column {
            name: row.try_get(3)?,
            type_name: row.try_get(4)?,
            nullable: row.try_get(5)?,
            generated: !row.try_get::<_, String>(6)?.is_empty(),
            identity: match row.try_get::<_, String>(7)?.as_str() {
                "a" => Identity::Always,
                "d" => Identity::ByDefault,
                _ => Identity::None,
            },
        });
        let (type_schema, type_name): (String, String) = (row.try_get(8)?, row.try_get(9)?);
        let element: String = row.try_get(10)?;
        // The length of a bit string is checked when it is assigned; a cast to bit itself would pad or cut.
        let type_name = if type_name == "bit" && type_schema == "pg_catalog" { "varbit".into() } else { type_name };
        let column_type = ColumnType {
            cast: format!("{}.{}", crate::quoted(&type_schema), crate::quoted(&type_name)),
            form: Form::of(&type_name, &element),
        };
        self.types.entry(key).or_default().push(column_type);
        Ok(())
    }

    fn unique_key(&mut self, row: &Row) -> Result<(), Error> {
        let at = self.positions[&self.key(row)?];
        let columns = self.columns(at, &row.try_get::<_, Vec<i16>>(3)?);
        match row.try_get(2)? {
            true => self.tables[at].primary_key = columns,
            false => self.tables[at].unique_keys.push(columns),
        }
        Ok(())
    }

    fn foreign_key(&mut self, row: &Row) -> Result<(), Error> {
        let at = self.positions[&self.key(row)?];
        let columns = self.columns(at, &row.try_get::<_, Vec<i16>>(3)?);
        let references = (row.try_get(4)?, row.try_get(5)?);
        // A reference to a table that is not described, such as a partition, gives the host nothing to plan with.
        if let Some(position) = self.positions.get(&references).and_then(|&at| u32::try_from(at).ok()) {
            let (name, deferred) = (row.try_get(2)?, row.try_get(6)?);
            self.tables[at].foreign_keys.push(ForeignKey { name, columns, references: position, deferred });
        }
        Ok(())
    }

    fn key(&self, row: &Row) -> Result<(String, String), Error> {
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    fn columns(&self, table: usize, numbers: &[i16]) -> Vec<u32> {
        let position = |number: &i16| self.numbers[table].iter().position(|known| known == number);
        numbers.iter().filter_map(position).filter_map(|at| u32::try_from(at).ok()).collect()
    }
}
