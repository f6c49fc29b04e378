//! Tables, columns and keys, from `pg_catalog` in a few queries.
//!
//! Owns: what of PostgreSQL's catalog goes into the sdk's. Does not own: types of columns (`column`), how a value is written
//! (`values`).

use std::collections::HashMap;

use ebb_sdk::{
    Action, Catalog, Column, ColumnIndex, ForeignKey, Identity, OtherRelation, Result, Table, TableIndex, UniqueKey,
};
use tokio_postgres::{Client, Error, Row};

use crate::column::{ColumnType, column_type};
use crate::connect::Server;
use crate::error::translate;
use crate::names::Names;
use crate::not_writable;
use crate::own::{PROGRESS, TRIGGERS};
use crate::quoted;
use crate::rights;
use crate::triggers::{self, FoundTrigger, QUALIFIED};

/// What writing needs of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableDetails {
    pub(crate) types: Vec<ColumnType>,
    /// A trigger of a user fires on what an ordinary session writes.
    pub(crate) fires: bool,
    /// One fires also, or only, while checks are suspended.
    pub(crate) fires_suspended: bool,
}

/// By schema and table.
pub(crate) type DetailsByTable = HashMap<(String, String), TableDetails>;

pub(crate) struct Described {
    pub(crate) catalog: Catalog,
    pub(crate) details: DetailsByTable,
    pub(crate) names: Names,
}

/// Ordinary and partitioned tables that are not part of another and not the system's.
const TABLES: &str = "SELECT c.oid, n.nspname::text, c.relname::text \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' AND c.relname <> ALL ($1) \
     AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY 2, 3";

/// What has the name of a table and takes no rows of a changefeed.
const OTHERS: &str = "SELECT n.nspname::text, c.relname::text, CASE c.relkind WHEN 'v' THEN 'a view' \
         WHEN 'm' THEN 'a materialized view' WHEN 'f' THEN 'a foreign table' ELSE 'a partition' END \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE (c.relkind IN ('v', 'm', 'f') OR c.relkind IN ('r', 'p') AND c.relispartition) \
     AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY 1, 2 LIMIT $1";

/// One row per column. `base` leads from each type to the one that is not a domain, with the length or precision that
/// the domain fixes. A type's `=` is that of its index: anybody may make another one in a schema of their own. What version 12 brought is filled in by [`columns_query`].
const COLUMNS: &str = "WITH RECURSIVE chain (declared, type, modifier) AS (\
         SELECT oid, oid, -1 FROM pg_catalog.pg_type \
         UNION ALL SELECT chain.declared, t.typbasetype, t.typtypmod \
         FROM chain JOIN pg_catalog.pg_type t ON t.oid = chain.type WHERE t.typtype = 'd'\
     ), base AS (\
         SELECT chain.declared, t.oid, t.typname, t.typnamespace, t.typtype, chain.modifier \
         FROM chain JOIN pg_catalog.pg_type t ON t.oid = chain.type WHERE t.typtype <> 'd'\
     ) SELECT c.oid, a.attnum, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, \
         $generated, a.attidentity::text, tn.nspname::text, t.typname::text, \
         CASE WHEN greatest(t.modifier, e.modifier) = -1 THEN a.atttypmod ELSE greatest(t.modifier, e.modifier) END, \
         e.typname::text, $loose, \
         (SELECT pn.nspname::text FROM pg_catalog.pg_opclass d JOIN pg_catalog.pg_amop m ON m.amopfamily = d.opcfamily \
              AND m.amoplefttype = d.opcintype AND m.amoprighttype = d.opcintype AND m.amopstrategy = 3 \
          JOIN pg_catalog.pg_am h ON h.oid = d.opcmethod AND h.amname = 'btree' \
          JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr AND o.oprname = '=' \
          JOIN pg_catalog.pg_namespace pn ON pn.oid = o.oprnamespace WHERE d.opcdefault AND d.opcintype = t.oid LIMIT 1), \
         a.atthasdef, coalesce(e.typtype, t.typtype)::text, \
         CASE t.modifier WHEN -1 THEN a.atttypmod ELSE t.modifier END, \
         pg_catalog.format_type(t.oid, CASE t.modifier WHEN -1 THEN a.atttypmod ELSE t.modifier END) \
     FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
     JOIN base t ON t.declared = a.atttypid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace \
     LEFT JOIN pg_catalog.pg_type r ON r.typarray = t.oid LEFT JOIN base e ON e.declared = r.oid \
     WHERE a.attnum > 0 AND NOT a.attisdropped AND c.oid = ANY ($1) ORDER BY c.oid, a.attnum";

/// Tables and their partitions, each with the table that it is a part of. `roots` chooses the tables, as `c (oid)`.
pub(crate) fn parts(roots: &str) -> String {
    format!(
        "WITH RECURSIVE parts (root, oid) AS (SELECT c.oid, c.oid FROM {roots} \
             UNION ALL SELECT parts.root, i.inhrelid FROM parts JOIN pg_catalog.pg_inherits i ON i.inhparent = parts.oid \
             JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition)"
    )
}

/// Those of the parameter.
pub(crate) const ROOTS: &str = "pg_catalog.unnest($1::oid[]) AS c (oid)";

/// Whether the foreign key `k` is enforced on writes to the table `$side`: version 18 knows some that never are, and its
/// triggers may be disabled on either side.
pub(crate) const ENFORCED: &str = "(coalesce((pg_catalog.to_jsonb(k) ->> 'conenforced')::bool, true) \
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g \
         WHERE g.tgconstraint = k.oid AND g.tgrelid = $side AND g.tgenabled IN ('D', 'R')))";

/// One row per unique key that holds for all rows, or all of a partition, and on columns only; also a primary key that is
/// DEFERRABLE, which no upsert can rest on.
fn unique_keys_query() -> String {
    format!(
        "{parts} SELECT parts.root, i.indisprimary, {columns}, CASE WHEN NOT i.indimmediate THEN x.relname::text END, \
             coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) \
         FROM parts JOIN pg_catalog.pg_index i ON i.indrelid = parts.oid JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid \
         WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT x.relispartition \
         AND (parts.oid = parts.root OR NOT i.indisprimary) ORDER BY i.indexrelid",
        parts = parts(ROOTS),
        columns = names("i.indrelid", "(i.indkey::int2[])[0:i.indnkeyatts - 1]")
    )
}

/// Foreign keys of and to single partitions count as those of the whole; the copies that partitions have of keys of the
/// whole are left out.
fn foreign_keys_query() -> String {
    format!(
        "{parts} SELECT c.root, k.conname::text, {columns}, p.root, k.condeferrable AND k.condeferred, {referenced}, \
             k.confdeltype::text, k.confupdtype::text \
         FROM pg_catalog.pg_constraint k JOIN parts c ON c.oid = k.conrelid JOIN parts p ON p.oid = k.confrelid \
         WHERE k.contype = 'f' AND k.conparentid = 0 AND ({looks_up} OR {looks_down}) ORDER BY 1, 2",
        parts = parts(ROOTS),
        columns = names("k.conrelid", "k.conkey"),
        referenced = names("k.confrelid", "k.confkey"),
        looks_up = ENFORCED.replace("$side", "k.conrelid"),
        looks_down = ENFORCED.replace("$side", "k.confrelid"),
    )
}

/// Columns that may refuse NULL, by name, since a partition numbers its own: NOT NULL, read by a CHECK, of a domain, or in a
/// table that computes a column which takes none. Partitions have such rules of their own.
fn resist_null_query() -> String {
    format!(
        "{parts} SELECT parts.root, a.attname::text FROM parts JOIN pg_catalog.pg_attribute a ON a.attrelid = parts.oid \
             JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
         WHERE a.attnum > 0 AND NOT a.attisdropped AND (a.attnotnull OR t.typtype = 'd' \
         OR EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'c' \
             AND (k.conkey IS NULL OR a.attnum = ANY (k.conkey) OR 0 = ANY (k.conkey))) \
         OR EXISTS (SELECT FROM pg_catalog.pg_attribute g WHERE g.attrelid = a.attrelid \
             AND coalesce(pg_catalog.to_jsonb(g) ->> 'attgenerated', '') <> '' \
             AND (g.attnotnull OR EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = g.attrelid \
                 AND k.contype = 'c' AND g.attnum = ANY (k.conkey)))))",
        parts = parts(ROOTS)
    )
}

/// Unique rules, of single partitions too, that are not on columns alone, or not for all rows.
fn other_unique_rules_query() -> String {
    format!(
        "{parts} SELECT DISTINCT parts.root FROM parts JOIN pg_catalog.pg_index i ON i.indrelid = parts.oid \
         WHERE i.indisunique AND (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL) OR i.indisexclusion",
        parts = parts(ROOTS)
    )
}

/// Names of columns, in the order of an array of their numbers.
pub(crate) fn names(relation: &str, numbers: &str) -> String {
    format!(
        "(SELECT pg_catalog.array_agg(a.attname::text ORDER BY x.at) \
          FROM pg_catalog.unnest({numbers}) WITH ORDINALITY AS x (number, at) \
          JOIN pg_catalog.pg_attribute a ON a.attrelid = {relation} AND a.attnum = x.number)"
    )
}

/// Whether this is permitted is found by trying: who may do it differs between versions and hosters.
const SUSPEND: &str = "SET LOCAL session_replication_role = replica";

/// What writing wants of plans is poor for questions to the catalog.
const PLANS: &str = "SET LOCAL enable_seqscan = on";

/// Describes every table of the database, as it is at one moment.
pub(crate) async fn describe(client: &Client, server: &Server) -> Result<Described> {
    let read = async {
        client.batch_execute(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {PLANS}; {QUALIFIED}")).await?;
        let described = read(client, server).await?;
        client.batch_execute("COMMIT").await?;
        Ok(described)
    };
    read.await.map_err(|failure| translate(&failure, "describe the target's tables"))
}

async fn read(client: &Client, server: &Server) -> Result<Described, Error> {
    // How many digits a money has is a matter of the locale.
    let about = "SELECT pg_catalog.current_database()::pg_catalog.text, pg_catalog.current_setting('server_version'), \
         pg_catalog.scale(1::pg_catalog.money::pg_catalog.numeric)";
    let about = client.query_one(about, &[]).await?;
    let mut builder = Builder { database: about.try_get(0)?, money_digits: about.try_get(2)?, ..Builder::default() };
    let mut oids: Vec<u32> = Vec::new();
    for row in client.query(TABLES, &[&[PROGRESS.name, TRIGGERS.name].as_slice()]).await? {
        oids.push(builder.table(&row)?);
    }
    for row in client.query(&columns_query(server.version), &[&oids]).await? {
        builder.column(&row, server)?;
    }
    for row in client.query(&unique_keys_query(), &[&oids]).await? {
        builder.unique_key(&row)?;
    }
    for row in client.query(&resist_null_query(), &[&oids]).await? {
        builder.resists_null(&row)?;
    }
    for row in client.query(&other_unique_rules_query(), &[&oids]).await? {
        let at = builder.position(&row)?;
        builder.tables[at].has_other_unique_rules = true;
    }
    for row in client.query(&foreign_keys_query(), &[&oids]).await? {
        builder.foreign_key(&row)?;
    }
    for (oid, not_writable) in not_writable::read(client, server, &oids).await? {
        builder.tables[builder.positions[&oid]].not_writable.push(not_writable);
    }
    client.batch_execute("SAVEPOINT ebb_try").await?;
    let suspends_checks = client.batch_execute(SUSPEND).await.is_ok();
    client.batch_execute("ROLLBACK TO SAVEPOINT ebb_try").await?;
    for found in triggers::read(client, &oids).await? {
        builder.trigger(found);
    }
    builder.keys(server);
    let mut others = Vec::new();
    for row in client.query(OTHERS, &[&i64::try_from(Catalog::OTHERS_MAX).unwrap_or(i64::MAX)]).await? {
        let namespace = vec![builder.database.clone(), row.try_get(0)?];
        others.push(OtherRelation { namespace, name: row.try_get(1)?, kind: row.try_get(2)? });
    }
    let missing_rights = rights::missing(client, &oids, &builder.positions).await?;
    let names = Names::read(client, &builder.tables).await?;
    // Debian and others add their own words behind the number.
    let version: String = about.try_get(1)?;
    let number = version.split_whitespace().next().unwrap_or_default();
    let catalog = Catalog {
        identifier_quote: Some('"'),
        namespace: vec![builder.database, server.schema.clone()],
        tables: builder.tables,
        others,
        missing_rights,
        grantee: quoted(&server.user),
        grants_on_several: true,
        server_version: format!("PostgreSQL {number}"),
        checks_each_row: false,
        defers_checks: true,
        suspends_checks,
        suspends_triggers: suspends_checks,
        suspend_hint: (!suspends_checks).then(|| suspend_hint(server)),
    };
    Ok(Described { catalog, details: builder.details, names })
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

/// A type of the connection's own schema by its name alone, as its user would write it.
fn short<'a>(type_name: &'a str, schema: &str) -> &'a str {
    let rest = type_name.strip_prefix(schema).or_else(|| type_name.strip_prefix(&quoted(schema)));
    rest.and_then(|rest| rest.strip_prefix('.')).unwrap_or(type_name)
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
    money_digits: i32,
    /// Position in `tables` by PostgreSQL's number of the table.
    positions: HashMap<u32, usize>,
    tables: Vec<Table>,
    details: DetailsByTable,
}

impl Builder {
    fn table(&mut self, row: &Row) -> Result<u32, Error> {
        let (oid, schema, name): (u32, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        self.positions.insert(oid, self.tables.len());
        self.details.insert((schema.clone(), name.clone()), TableDetails::default());
        self.tables.push(Table { namespace: vec![self.database.clone(), schema], name, ..Table::default() });
        Ok(oid)
    }

    fn column(&mut self, row: &Row, server: &Server) -> Result<(), Error> {
        let (at, type_name): (usize, String) = (self.position(row)?, row.try_get(3)?);
        let table = &mut self.tables[at];
        table.columns.push(Column {
            name: row.try_get(2)?,
            type_name: short(&type_name, &server.schema).to_owned(),
            nullable: row.try_get(4)?,
            generated: !row.try_get::<_, String>(5)?.is_empty(),
            identity: match row.try_get::<_, String>(6)?.as_str() {
                "a" => Identity::Always,
                "d" => Identity::ByDefault,
                _ => Identity::None,
            },
            has_default: row.try_get(13)?,
            resists_null: false,
        });
        let column_type = column_type(row, self.money_digits)?;
        self.details_of(at).types.push(column_type);
        Ok(())
    }

    fn unique_key(&mut self, row: &Row) -> Result<(), Error> {
        let at = self.position(row)?;
        let columns = self.columns(at, &row.try_get::<_, Vec<String>>(2)?);
        let (is_primary, deferrable): (bool, Option<String>) = (row.try_get(1)?, row.try_get(3)?);
        let table = &mut self.tables[at];
        match is_primary {
            true => {
                table.not_writable.extend(deferrable.map(|name| not_writable::deferrable_key(table, &name, &columns)));
                table.primary_key = columns;
            }
            false => table.unique_keys.push(UniqueKey { columns, nulls_equal: row.try_get(4)? }),
        }
        Ok(())
    }

    fn resists_null(&mut self, row: &Row) -> Result<(), Error> {
        let (at, name): (usize, String) = (self.position(row)?, row.try_get(1)?);
        let column = self.tables[at].columns.iter_mut().find(|column| column.name == name);
        column.into_iter().for_each(|column| column.resists_null = true);
        Ok(())
    }

    fn foreign_key(&mut self, row: &Row) -> Result<(), Error> {
        let at = self.position(row)?;
        let columns = self.columns(at, &row.try_get::<_, Vec<String>>(2)?);
        let references = self.positions[&row.try_get::<_, u32>(3)?];
        let references_columns = self.columns(references, &row.try_get::<_, Vec<String>>(5)?);
        self.tables[at].foreign_keys.push(ForeignKey {
            name: row.try_get(1)?,
            columns,
            references: TableIndex::at(references),
            references_columns,
            on_delete: action(row.try_get(6)?),
            on_update: action(row.try_get(7)?),
            deferred: row.try_get(4)?,
        });
        Ok(())
    }

    fn trigger(&mut self, found: FoundTrigger) {
        let at = self.positions[&found.root];
        let details = self.details_of(at);
        details.fires |= found.fires;
        details.fires_suspended |= found.fires_suspended;
        self.tables[at].triggers.push(found.trigger);
    }

    /// What keeps the primary keys from converting one to one.
    fn keys(&mut self, server: &Server) {
        for at in 0..self.tables.len() {
            let types = self.details_of(at).types.clone();
            let table = &mut self.tables[at];
            let key = table.primary_key.iter().map(|at| at.place());
            let found: Vec<_> = key.filter_map(|at| not_writable::key_column(table, at, &types[at], server)).collect();
            table.not_writable.extend(found);
        }
    }

    fn details_of(&mut self, at: usize) -> &mut TableDetails {
        let table = &self.tables[at];
        self.details.entry((table.namespace[1].clone(), table.name.clone())).or_default()
    }

    /// The queries ask for the tables of `positions` only.
    fn position(&self, row: &Row) -> Result<usize, Error> {
        Ok(self.positions[&row.try_get::<_, u32>(0)?])
    }

    fn columns(&self, table: usize, names: &[String]) -> Vec<ColumnIndex> {
        names.iter().filter_map(|name| self.tables[table].column(name)).collect()
    }
}
