//! Tables, columns and keys, from `pg_catalog` in five queries.
//!
//! Owns: what of PostgreSQL's catalog goes into the sdk's, and the types that writing needs.
//! Does not own: how a value is written (`values`).

use std::collections::HashMap;

use ebb_sdk::{Action, Catalog, Column, ForeignKey, Identity, Result, Table};
use tokio_postgres::{Client, Error, Row};

use crate::connect::Server;
use crate::error::translate;
use crate::progress::TABLE;
use crate::quoted;
use crate::values::Form;

/// How a column's values are written.
#[derive(Clone, Debug)]
pub(crate) struct ColumnType {
    /// The type that text is cast to, without length or precision: an explicit cast to `varchar(3)` would cut silently,
    /// while the assignment to the column refuses.
    pub(crate) cast: String,
    /// The type's own `=`, whatever the search path: a `citext` compared as text would not find its row.
    pub(crate) equals: String,
    pub(crate) equality: Equality,
    pub(crate) form: Form,
}

/// Whether two values that are equal may still differ in what they show, as 1.0 and 1.00 do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Equality {
    Same,
    Loose,
}

/// Types of the columns by schema and table.
pub(crate) type TableTypes = HashMap<(String, String), Vec<ColumnType>>;

pub(crate) struct Described {
    pub(crate) catalog: Catalog,
    pub(crate) types: TableTypes,
}

/// Ordinary and partitioned tables that are not part of another and not the system's.
const TABLES: &str = "SELECT c.oid, n.nspname::text, c.relname::text \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' AND c.relname <> $1 \
     AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY 2, 3";

/// One row per column. `base` leads from each type to the one that is not a domain, with the length or precision that
/// the domain fixes. What version 12 brought is filled in by [`columns_query`].
const COLUMNS: &str = "WITH RECURSIVE chain (declared, type, modifier) AS (\
         SELECT oid, oid, -1 FROM pg_catalog.pg_type \
         UNION ALL SELECT chain.declared, t.typbasetype, t.typtypmod \
         FROM chain JOIN pg_catalog.pg_type t ON t.oid = chain.type WHERE t.typtype = 'd'\
     ), base AS (\
         SELECT chain.declared, t.oid, t.typname, t.typnamespace, chain.modifier \
         FROM chain JOIN pg_catalog.pg_type t ON t.oid = chain.type WHERE t.typtype <> 'd'\
     ) SELECT c.oid, a.attnum, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, \
         $generated, a.attidentity::text, tn.nspname::text, t.typname::text, \
         CASE WHEN greatest(t.modifier, e.modifier) = -1 THEN a.atttypmod ELSE greatest(t.modifier, e.modifier) END, \
         e.typname::text, $loose, \
         (SELECT pn.nspname::text FROM pg_catalog.pg_operator o \
          JOIN pg_catalog.pg_namespace pn ON pn.oid = o.oprnamespace WHERE o.oprname = '=' AND o.oprleft = t.oid AND o.oprright = t.oid ORDER BY 1 LIMIT 1) \
     FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
     JOIN base t ON t.declared = a.atttypid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace \
     LEFT JOIN pg_catalog.pg_type r ON r.typarray = t.oid LEFT JOIN base e ON e.declared = r.oid \
     WHERE a.attnum > 0 AND NOT a.attisdropped AND c.oid = ANY ($1) ORDER BY c.oid, a.attnum";

/// One row per unique key that holds for all rows and on columns only.
const UNIQUE_KEYS: &str = "SELECT i.indrelid, i.indisprimary, \
         (SELECT pg_catalog.array_agg(k.attnum ORDER BY k.at) \
          FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, at) WHERE k.at <= i.indnkeyatts) \
     FROM pg_catalog.pg_index i \
     WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indrelid = ANY ($1) \
     ORDER BY i.indexrelid";

/// References to single partitions, which a partitioned table lists beside those to the whole, are left out.
const FOREIGN_KEYS: &str = "SELECT k.conrelid, k.conname::text, k.conkey, k.confrelid, \
         k.condeferrable AND k.condeferred, k.confkey, k.confdeltype::text, k.confupdtype::text FROM pg_catalog.pg_constraint k \
     WHERE k.contype = 'f' AND k.conrelid = ANY ($1) AND k.confrelid = ANY ($1) ORDER BY k.conrelid, k.conname";

/// Tables with triggers of users that fire on what an ordinary session writes.
const TRIGGERS: &str = "SELECT DISTINCT g.tgrelid FROM pg_catalog.pg_trigger g \
     WHERE NOT g.tgisinternal AND g.tgenabled = 'O' AND g.tgrelid = ANY ($1)";

/// Whether this is permitted is found by trying: who may do it differs between versions and hosters.
const SUSPEND: &str = "SET LOCAL session_replication_role = replica";

/// What writing wants of plans is poor for questions to the catalog.
const PLANS: &str = "SET LOCAL enable_seqscan = on";

/// Types whose equal values may look different.
const LOOSE_TYPES: [&str; 6] = ["bpchar", "citext", "float4", "float8", "interval", "numeric"];

/// Describes every table of the database, as it is at one moment.
pub(crate) async fn describe(client: &Client, server: &Server) -> Result<Described> {
    let read = async {
        client.batch_execute(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {PLANS}")).await?;
        let described = read(client, server).await?;
        client.batch_execute("COMMIT").await?;
        Ok(described)
    };
    read.await.map_err(|failure| translate(&failure, "describe the target's tables"))
}

async fn read(client: &Client, server: &Server) -> Result<Described, Error> {
    let about = "SELECT current_database()::text, current_setting('server_version')";
    let about = client.query_one(about, &[]).await?;
    let mut builder = Builder { database: about.try_get(0)?, ..Builder::default() };
    let mut oids: Vec<u32> = Vec::new();
    for row in client.query(TABLES, &[&TABLE]).await? {
        oids.push(builder.table(&row)?);
    }
    for row in client.query(&columns_query(server.version), &[&oids]).await? {
        builder.column(&row)?;
    }
    for row in client.query(UNIQUE_KEYS, &[&oids]).await? {
        builder.unique_key(&row)?;
    }
    for row in client.query(FOREIGN_KEYS, &[&oids]).await? {
        builder.foreign_key(&row)?;
    }
    for row in client.query(TRIGGERS, &[&oids]).await? {
        let at = builder.position(&row)?;
        builder.tables[at].triggers = true;
    }
    client.batch_execute("SAVEPOINT ebb_try").await?;
    let suspends_checks = client.batch_execute(SUSPEND).await.is_ok();
    client.batch_execute("ROLLBACK TO SAVEPOINT ebb_try").await?;
    // Debian and others add their own words behind the number.
    let version: String = about.try_get(1)?;
    let number = version.split_whitespace().next().unwrap_or_default();
    let catalog = Catalog {
        namespace: vec![builder.database, server.schema.clone()],
        tables: builder.tables,
        server_version: format!("PostgreSQL {number}"),
        suspends_checks,
        suspend_hint: (!suspends_checks).then(|| suspend_hint(server)),
    };
    Ok(Described { catalog, types: builder.types })
}

fn columns_query(version: u32) -> String {
    let (generated, loose) = match version {
        120_000.. => (
            "a.attgenerated::text",
            "EXISTS (SELECT FROM pg_catalog.pg_collation l WHERE l.oid = a.attcollation AND NOT l.collisdeterministic)",
        ),
        _ => ("''", "false"),
    };
    COLUMNS.replace("$generated", generated).replace("$loose", loose)
}

fn suspend_hint(server: &Server) -> String {
    match server.version {
        150_000.. => format!("GRANT SET ON PARAMETER session_replication_role TO {};", quoted(&server.user)),
        _ => "connect as a superuser: before PostgreSQL 15 nobody else may set session_replication_role".into(),
    }
}

fn action(letter: &str) -> Action {
    match letter {
        "r" => Action::Restrict,
        "c" => Action::Cascade,
        "n" => Action::SetNull,
        "d" => Action::SetDefault,
        _ => Action::NoAction,
    }
}

#[derive(Default)]
struct Builder {
    database: String,
    /// Position in `tables` by PostgreSQL's number of the table.
    positions: HashMap<u32, usize>,
    tables: Vec<Table>,
    /// PostgreSQL's numbers of each table's columns; dropped columns leave gaps in them.
    numbers: Vec<Vec<i16>>,
    types: TableTypes,
}

impl Builder {
    fn table(&mut self, row: &Row) -> Result<u32, Error> {
        let (oid, schema, name): (u32, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        self.positions.insert(oid, self.tables.len());
        self.types.insert((schema.clone(), name.clone()), Vec::new());
        self.tables.push(Table { namespace: vec![self.database.clone(), schema], name, ..Table::default() });
        self.numbers.push(Vec::new());
        Ok(oid)
    }

    fn column(&mut self, row: &Row) -> Result<(), Error> {
        let at = self.position(row)?;
        let table = &mut self.tables[at];
        self.numbers[at].push(row.try_get(1)?);
        table.columns.push(Column {
            name: row.try_get(2)?,
            type_name: row.try_get(3)?,
            nullable: row.try_get(4)?,
            generated: !row.try_get::<_, String>(5)?.is_empty(),
            identity: match row.try_get::<_, String>(6)?.as_str() {
                "a" => Identity::Always,
                "d" => Identity::ByDefault,
                _ => Identity::None,
            },
        });
        let key = (table.namespace[1].clone(), table.name.clone());
        self.types.entry(key).or_default().push(column_type(row)?);
        Ok(())
    }

    fn unique_key(&mut self, row: &Row) -> Result<(), Error> {
        let at = self.position(row)?;
        let columns = self.columns(at, &row.try_get::<_, Vec<i16>>(2)?);
        match row.try_get(1)? {
            true => self.tables[at].primary_key = columns,
            false => self.tables[at].unique_keys.push(columns),
        }
        Ok(())
    }

    fn foreign_key(&mut self, row: &Row) -> Result<(), Error> {
        let at = self.position(row)?;
        let columns = self.columns(at, &row.try_get::<_, Vec<i16>>(2)?);
        let references = self.positions[&row.try_get::<_, u32>(3)?];
        let references = u32::try_from(references).expect("a database has fewer than 2^32 tables");
        let references_columns = self.columns(references as usize, &row.try_get::<_, Vec<i16>>(5)?);
        self.tables[at].foreign_keys.push(ForeignKey {
            name: row.try_get(1)?,
            columns,
            references,
            references_columns,
            on_delete: action(row.try_get(6)?),
            on_update: action(row.try_get(7)?),
            deferred: row.try_get(4)?,
        });
        Ok(())
    }

    /// The queries ask for the tables of `positions` only.
    fn position(&self, row: &Row) -> Result<usize, Error> {
        Ok(self.positions[&row.try_get::<_, u32>(0)?])
    }

    fn columns(&self, table: usize, numbers: &[i16]) -> Vec<u32> {
        let position = |number: &i16| self.numbers[table].iter().position(|known| known == number);
        numbers.iter().filter_map(position).filter_map(|at| u32::try_from(at).ok()).collect()
    }
}

fn column_type(row: &Row) -> Result<ColumnType, Error> {
    let (schema, name): (String, String) = (row.try_get(7)?, row.try_get(8)?);
    let (modifier, element): (i32, Option<String>) = (row.try_get(9)?, row.try_get(10)?);
    let operators: Option<String> = row.try_get(12)?;
    let is_loose = row.try_get(11)? || LOOSE_TYPES.contains(&name.as_str());
    // A cast to bit would pad or cut to one bit; from varbit the column itself checks the length.
    let cast = if name == "bit" { "varbit" } else { &name };
    Ok(ColumnType {
        cast: format!("{}.{}", quoted(&schema), quoted(cast)),
        equals: format!("OPERATOR({}.=)", quoted(operators.as_deref().unwrap_or("pg_catalog"))),
        equality: if is_loose { Equality::Loose } else { Equality::Same },
        form: Form::of(&name, element.as_deref(), modifier),
    })
}
