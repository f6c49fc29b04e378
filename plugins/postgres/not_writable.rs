//! What stands between a table and rows that are written exactly as they are, and the statement that mends it.
//!
//! Owns: rules, row security, children that inherit, partitions that compute a column, DEFERRABLE primary keys, keys that do
//! not convert one to one. Does not own: triggers, which have a place of their own (`triggers`).

use ebb_sdk::{ColumnIndex, NotWritable, Table};
use tokio_postgres::{Client, Error, Row};

use crate::column::ColumnType;
use crate::connect::Server;
use crate::describe::{ROOTS, parts};
use crate::keys::KeyForm;
use crate::quoted;
use crate::statement::qualified;

/// Rules on what a session writes. A disabled one does nothing, but while one for UPDATE exists, disabled or not, PostgreSQL
/// takes no INSERT with ON CONFLICT. Rules of partitions do not act on rows that come through the whole.
const RULES: &str = "SELECT c.oid, n.nspname::text, c.relname::text, r.rulename::text, r.ev_type::text \
     FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.oid = ANY ($1) AND (r.ev_type IN ('3', '4') AND r.ev_enabled <> 'D' OR r.ev_type = '2') ORDER BY 1, 4";

/// Tables whose policies hold for this user, and whether the user owns them.
const ROW_SECURITY: &str = "SELECT c.oid, n.nspname::text, c.relname::text, pg_catalog.pg_has_role(c.relowner, 'USAGE') \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.oid = ANY ($1) AND c.relrowsecurity AND pg_catalog.row_security_active(c.oid)";

/// Children that inherit and are no partitions.
const CHILDREN: &str = "SELECT p.oid, pn.nspname::text, p.relname::text, cn.nspname::text, c.relname::text \
     FROM pg_catalog.pg_inherits i \
     JOIN pg_catalog.pg_class p ON p.oid = i.inhparent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
     JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace \
     WHERE p.oid = ANY ($1) AND NOT c.relispartition ORDER BY 1, 4, 5";

/// Columns that a partition computes and the whole does not, which versions before 16 allow: a value for one is taken without a
/// word, and another one is stored.
fn computed_query() -> String {
    let is_computed = |column| format!("coalesce(pg_catalog.to_jsonb({column}) ->> 'attgenerated', '') <> ''");
    format!(
        "{parts} SELECT parts.root, n.nspname::text, c.relname::text, pn.nspname::text, p.relname::text, \
             a.attname::text, pg_catalog.pg_get_expr(c.relpartbound, c.oid) FROM parts \
         JOIN pg_catalog.pg_inherits i ON i.inhrelid = parts.oid JOIN pg_catalog.pg_class p ON p.oid = i.inhparent \
         JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace JOIN pg_catalog.pg_class c ON c.oid = parts.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND {of_part} \
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute w \
             WHERE w.attrelid = parts.root AND w.attname = a.attname AND {of_whole}) ORDER BY 1, 2, 3, 6",
        parts = parts(ROOTS),
        of_part = is_computed("a"),
        of_whole = is_computed("w"),
    )
}

/// What is found of the tables of these numbers, inside a transaction.
pub(crate) async fn read(client: &Client, server: &Server, tables: &[u32]) -> Result<Vec<(u32, NotWritable)>, Error> {
    let mut found = Vec::new();
    for row in client.query(RULES, &[&tables]).await? {
        found.push((row.try_get(0)?, rule(&row)?));
    }
    for row in client.query(ROW_SECURITY, &[&tables]).await? {
        found.push((row.try_get(0)?, row_security(&row, server)?));
    }
    for row in client.query(CHILDREN, &[&tables]).await? {
        if let Some(not_writable) = child(client, &row).await? {
            found.push((row.try_get(0)?, not_writable));
        }
    }
    for row in client.query(&computed_query(), &[&tables]).await? {
        found.push((row.try_get(0)?, computed(&row, server)?));
    }
    Ok(found)
}

/// A partition may not drop the expression of a column that it has from its parent, so it is detached first.
fn computed(row: &Row, server: &Server) -> Result<NotWritable, Error> {
    let (partition, parent) = (relation(row, 1)?, relation(row, 3)?);
    let (column, bounds): (String, String) = (row.try_get(5)?, row.try_get(6)?);
    Ok(NotWritable {
        why: format!(
            "its partition {partition} computes the column {column}, and would not keep a value from the source"
        ),
        hint: format!(
            "ALTER TABLE {parent} DETACH PARTITION {partition}; {} ALTER TABLE {parent} ATTACH PARTITION {partition} {bounds};",
            no_expression(&partition, &quoted(&column), server)
        ),
    })
}

/// The statement that makes a computed column an ordinary one.
fn no_expression(table: &str, column: &str, server: &Server) -> String {
    match server.version {
        130_000.. => format!("ALTER TABLE {table} ALTER COLUMN {column} DROP EXPRESSION;"),
        _ => format!("give {table} a column {column} that is not GENERATED"),
    }
}

fn rule(row: &Row) -> Result<NotWritable, Error> {
    let (table, name): (String, String) = (relation(row, 1)?, row.try_get(3)?);
    let event = match row.try_get::<_, String>(4)?.as_str() {
        "2" => "UPDATE",
        "3" => "INSERT",
        _ => "DELETE",
    };
    Ok(NotWritable {
        why: format!("its rule {name} makes something else of {event}"),
        hint: match event {
            "UPDATE" => format!("DROP RULE {} ON {table};", quoted(&name)),
            _ => format!("ALTER TABLE {table} DISABLE RULE {};", quoted(&name)),
        },
    })
}

fn row_security(row: &Row, server: &Server) -> Result<NotWritable, Error> {
    let (table, is_owner): (String, bool) = (relation(row, 1)?, row.try_get(3)?);
    Ok(NotWritable {
        why: format!("its row security hides rows from the user {}", server.user),
        hint: match is_owner {
            true => format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;"),
            false => format!("ALTER ROLE {} BYPASSRLS;", quoted(&server.user)),
        },
    })
}

/// A statement on the table means the rows of its children too, which its primary key does not know.
async fn child(client: &Client, row: &Row) -> Result<Option<NotWritable>, Error> {
    let (parent, child) = (relation(row, 1)?, relation(row, 3)?);
    client.batch_execute("SAVEPOINT ebb_child").await?;
    let asked = client.query_one(&format!("SELECT EXISTS (SELECT FROM {child})"), &[]).await;
    client.batch_execute("ROLLBACK TO SAVEPOINT ebb_child").await?;
    let why = match asked.as_ref().map(|row| row.get::<_, bool>(0)) {
        Ok(false) => return Ok(None),
        Ok(true) => {
            format!("rows of {child}, which inherits from it, count as its own, and its primary key does not know them")
        }
        Err(failure) if failure.is_closed() => return Err(asked.expect_err("it failed")),
        Err(failure) => format!(
            "rows of {child}, which inherits from it, count as its own, and whether there are any cannot be read: {}",
            failure.as_db_error().map_or_else(|| failure.to_string(), |answer| answer.message().to_owned())
        ),
    };
    Ok(Some(NotWritable { why, hint: format!("ALTER TABLE {child} NO INHERIT {parent};") }))
}

/// Why a column of the primary key cannot tell the source's rows apart, or get its value from the source.
pub(crate) fn key_column(table: &Table, at: usize, column_type: &ColumnType, server: &Server) -> Option<NotWritable> {
    let column = &table.columns[at];
    let (table, name) = (qualified(table), quoted(&column.name));
    if column.generated {
        return Some(NotWritable {
            why: format!("the column {} of its primary key is computed by the target", column.name),
            hint: no_expression(&table, &name, server),
        });
    }
    (column_type.key == KeyForm::None).then(|| NotWritable {
        why: format!(
            "the column {} of its primary key is a {}: values that differ at the source may be equal to it, and ebb cannot \
             tell which",
            column.name, column.type_name
        ),
        hint: format!("ALTER TABLE {table} ALTER COLUMN {name} TYPE text;"),
    })
}

fn relation(row: &Row, at: usize) -> Result<String, Error> {
    Ok(format!("{}.{}", quoted(&row.try_get::<_, String>(at)?), quoted(&row.try_get::<_, String>(at + 1)?)))
}

/// No upsert can rest on such a key.
pub(crate) fn deferrable_key(table: &Table, name: &str, columns: &[ColumnIndex]) -> NotWritable {
    let columns: Vec<_> = columns.iter().map(|&at| quoted(&table.columns[at].name)).collect();
    let (table, name, columns) = (qualified(table), quoted(name), columns.join(", "));
    NotWritable {
        why: "its primary key is DEFERRABLE, and no upsert can rest on such a key".into(),
        hint: format!("ALTER TABLE {table} DROP CONSTRAINT {name}, ADD PRIMARY KEY ({columns});"),
    }
}
