//! Triggers of users: what they are to the last letter.
//!
//! Owns: the statements that make a trigger again. Does not own: taking triggers away and putting them back (`saved`).

use ebb_sdk::Trigger;
use tokio_postgres::{Client, Error};

use crate::describe::parts;

/// A trigger and where it is.
pub(crate) struct FoundTrigger {
    /// PostgreSQL's number of the table that it counts for, which is the whole where it stands on a partition.
    pub(crate) root: u32,
    pub(crate) trigger: Trigger,
    /// On what an ordinary session writes.
    pub(crate) fires: bool,
    /// While checks are suspended.
    pub(crate) fires_suspended: bool,
    /// The statement that takes it away, with its copies on partitions.
    pub(crate) drop: String,
}

/// Only with this path are all other names written with their schemas.
pub(crate) const QUALIFIED: &str = "SET LOCAL search_path = pg_catalog, pg_temp";

/// Triggers on writes of the tables of the parameter and their partitions. Those that a partition has from the whole belong
/// to the trigger of the whole, and yet each has its own state, comment and extensions. One is left out when it is disabled
/// everywhere. The bits are those of INSERT, DELETE and UPDATE.
///
/// `ENABLE REPLICA` fires only while checks are suspended, so suspending does not silence it either.
fn query() -> String {
    format!(
        "{parts}, family (root, top, oid) AS (\
             SELECT p.root, g.oid, g.oid FROM parts p JOIN pg_catalog.pg_trigger g ON g.tgrelid = p.oid \
             WHERE NOT g.tgisinternal AND g.tgtype & 28 <> 0 \
             AND coalesce((pg_catalog.to_jsonb(g) ->> 'tgparentid')::oid, 0) = 0 \
             UNION ALL SELECT f.root, f.top, g.oid FROM family f \
             JOIN pg_catalog.pg_trigger g ON (pg_catalog.to_jsonb(g) ->> 'tgparentid')::oid = f.oid\
         ), member AS (\
             SELECT f.root, f.top, g.oid, g.tgenabled, g.oid <> f.top AS is_copy, c.relname, \
                 pg_catalog.format('%I', g.tgname) AS name, pg_catalog.format('%I.%I', n.nspname, c.relname) AS owner \
             FROM family f JOIN pg_catalog.pg_trigger g ON g.oid = f.oid \
             JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace\
         ), more (top, step, owner, is_copy, sql) AS (\
             SELECT top, 1, owner, is_copy, pg_catalog.format('ALTER TABLE ONLY %s %s TRIGGER %s', owner, \
                 CASE tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE REPLICA' END, name) \
             FROM member WHERE tgenabled <> 'O' \
             UNION ALL SELECT top, 2, owner, is_copy, pg_catalog.format('COMMENT ON TRIGGER %s ON %s IS %L', name, owner, d.description) \
             FROM member JOIN pg_catalog.pg_description d ON d.objoid = member.oid \
             AND d.classoid = 'pg_catalog.pg_trigger'::regclass AND d.objsubid = 0 \
             UNION ALL SELECT top, 3, owner, is_copy, pg_catalog.format('ALTER TRIGGER %s ON %s DEPENDS ON EXTENSION %I', name, owner, e.extname) \
             FROM member JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_trigger'::regclass AND d.objid = member.oid \
             AND d.deptype = 'x' JOIN pg_catalog.pg_extension e \
             ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND e.oid = d.refobjid\
         ) SELECT t.root, g.tgname::text, \
             pg_catalog.pg_get_triggerdef(t.oid), \
             (SELECT pg_catalog.array_agg(m.sql ORDER BY m.is_copy, m.owner, m.step, m.sql) FROM more m WHERE m.top = t.top), \
             (SELECT pg_catalog.array_agg(m.tgenabled::text) FROM member m WHERE m.top = t.top), \
             'DROP TRIGGER ' || t.name || ' ON ' || t.owner \
         FROM member t JOIN pg_catalog.pg_trigger g ON g.oid = t.oid \
         WHERE NOT t.is_copy AND EXISTS (SELECT FROM member m WHERE m.top = t.top AND m.tgenabled <> 'D') \
         ORDER BY t.root, t.relname, g.tgname",
        parts = parts(crate::describe::ROOTS),
    )
}

/// The triggers of these tables, inside a transaction.
pub(crate) async fn read(client: &Client, tables: &[u32]) -> Result<Vec<FoundTrigger>, Error> {
    client.batch_execute(&format!("SAVEPOINT ebb_triggers; {QUALIFIED}")).await?;
    let mut found = Vec::new();
    for row in client.query(&query(), &[&tables]).await? {
        let (definition, more): (String, Option<Vec<String>>) = (row.try_get(2)?, row.try_get(3)?);
        let states: Vec<String> = row.try_get(4)?;
        let is_any = |wanted: &[&str]| states.iter().any(|state| wanted.contains(&state.as_str()));
        let fires_suspended = is_any(&["A", "R"]);
        found.push(FoundTrigger {
            root: row.try_get(0)?,
            trigger: Trigger {
                name: row.try_get(1)?,
                is_suspended: !fires_suspended,
                create: [definition].into_iter().chain(more.unwrap_or_default()).collect(),
            },
            fires: is_any(&["O", "A"]),
            fires_suspended,
            drop: row.try_get(5)?,
        });
    }
    client.batch_execute("ROLLBACK TO SAVEPOINT ebb_triggers").await?;
    Ok(found)
}
