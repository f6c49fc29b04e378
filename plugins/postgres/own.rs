//! The tables that ebb makes beside the user's: whether one is there, and that nobody else has a hand in it. Whoever may make
//! tables could have made it beforehand, and whoever may write to it decides what is applied.
//!
//! Owns: what such a table may be, and the SQL that mends it. Does not own: what stands in it (`progress`, `saved`).

use std::sync::atomic::{AtomicBool, Ordering};

use ebb_sdk::{Error, ErrorKind, Result, Topic};
use tokio_postgres::Client;

use crate::error::translate;
use crate::triggers::QUALIFIED;
use crate::{Session, quoted};

/// A table of ebb's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    pub(crate) name: &'static str,
    /// Name and type, as PostgreSQL calls it.
    columns: &'static [(&'static str, &'static str)],
    /// How many of them the first version had.
    required: i32,
}

const TIME: &str = "timestamp with time zone";

pub(crate) const PROGRESS: Own = Own {
    name: "ebb_progress",
    columns: &[
        ("feed", "text"),
        ("wall", "bigint"),
        ("logical", "integer"),
        ("epoch", "bigint"),
        ("writer", "bigint"),
        ("updated_at", TIME),
        ("alive_until", TIME),
        ("note", "text"),
    ],
    required: 6,
};

pub(crate) const TRIGGERS: Own =
    Own { name: "ebb_triggers", columns: &[("id", "bigint"), ("saved", "text"), ("dropped_at", TIME)], required: 3 };

/// Nothing while there is no such table. Otherwise a first row without text, and one for each fault with the statement that
/// mends it. Superusers and the owner of the database can do all that they like as it is.
const FAULTS: &str = "WITH t AS (\
         SELECT c.oid AS id, c.relowner, c.relkind, c.relpersistence, c.relacl, c.relrowsecurity OR c.relforcerowsecurity AS is_secured, \
             pg_catalog.format('%I.%I', n.nspname, c.relname) AS name \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1::name AND c.relname = $2::name\
     ), trusted AS (\
         SELECT r.oid FROM pg_roles r WHERE r.rolsuper OR r.rolname = current_user \
         OR r.oid = (SELECT d.datdba FROM pg_database d WHERE d.datname = current_database())\
     ), expected AS (\
         SELECT e.name, e.type, e.at FROM ROWS FROM (unnest($3::text[]), unnest($4::text[])) WITH ORDINALITY AS e (name, type, at)\
     ), found AS (\
         SELECT a.*, format_type(a.atttypid, a.atttypmod) AS type FROM t JOIN pg_attribute a ON a.attrelid = t.id \
         WHERE a.attnum > 0 AND NOT a.attisdropped\
     ), given AS (\
         SELECT a.grantee, a.privilege_type FROM t, aclexplode(t.relacl) a \
         UNION SELECT a.grantee, a.privilege_type FROM found f, aclexplode(f.attacl) a\
     ) SELECT 0 AS step, NULL AS why, NULL AS mend FROM t \
     UNION ALL SELECT 1, 'it is no ordinary table', format('ALTER TABLE %s RENAME TO %I;', t.name, $2 || '_other') \
         FROM t WHERE t.relkind <> 'r' OR EXISTS (SELECT FROM pg_inherits i WHERE t.id IN (i.inhrelid, i.inhparent)) \
     UNION ALL SELECT 1, 'it lacks the column ' || e.name || ', or has it with another type', \
         format('ALTER TABLE %s RENAME TO %I;', t.name, $2 || '_other') FROM t, expected e \
         WHERE NOT EXISTS (SELECT FROM found f WHERE f.attname = e.name AND f.type = e.type) \
         AND (e.at <= $5::int OR EXISTS (SELECT FROM found f WHERE f.attname = e.name)) \
     UNION ALL SELECT 2, 'it has the trigger ' || g.tgname, format('DROP TRIGGER %I ON %s;', g.tgname, t.name) \
         FROM t JOIN pg_trigger g ON g.tgrelid = t.id WHERE NOT g.tgisinternal \
     UNION ALL SELECT 2, 'it has the rule ' || r.rulename, format('DROP RULE %I ON %s;', r.rulename, t.name) \
         FROM t JOIN pg_rewrite r ON r.ev_class = t.id WHERE t.relkind = 'r' \
     UNION ALL SELECT 3, 'it has row security', \
         format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;', t.name) FROM t WHERE t.is_secured \
     UNION ALL SELECT 4, 'it has the column ' || f.attname, format('ALTER TABLE %s DROP COLUMN %I;', t.name, f.attname) \
         FROM t, found f WHERE f.attname <> ALL ($3::text[]) \
     UNION ALL SELECT 4, 'its column ' || f.attname || ' has the default ' || pg_get_expr(d.adbin, d.adrelid), \
         format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT pg_catalog.now();', t.name, f.attname) \
         FROM t JOIN pg_attrdef d ON d.adrelid = t.id JOIN found f ON f.attnum = d.adnum \
         WHERE f.attname = ANY ($3::text[]) AND pg_get_expr(d.adbin, d.adrelid) NOT IN ('now()', 'CURRENT_TIMESTAMP') \
     UNION ALL SELECT 5, 'it has the constraint ' || k.conname, format('ALTER TABLE %s DROP CONSTRAINT %I;', t.name, k.conname) \
         FROM t JOIN pg_constraint k ON k.conrelid = t.id WHERE k.contype NOT IN ('p', 'n', 't') \
     UNION ALL SELECT 5, 'it has the index ' || x.relname, format('DROP INDEX %I.%I;', n.nspname, x.relname) \
         FROM t JOIN pg_index i ON i.indrelid = t.id JOIN pg_class x ON x.oid = i.indexrelid \
         JOIN pg_namespace n ON n.oid = x.relnamespace WHERE i.indexprs IS NOT NULL OR i.indpred IS NOT NULL \
     UNION ALL SELECT 6, 'it is UNLOGGED', format('ALTER TABLE %s SET LOGGED;', t.name) FROM t WHERE t.relpersistence = 'u' \
     UNION ALL SELECT 7, format('%s has %s', g.who, string_agg(DISTINCT g.privilege_type, ', ' ORDER BY g.privilege_type)), \
         format('REVOKE ALL ON %s FROM %s;', t.name, g.who) \
         FROM t, (SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(a.grantee)) END AS who, \
                 a.privilege_type, a.grantee FROM given a) AS g \
         WHERE g.privilege_type <> 'SELECT' AND g.grantee <> t.relowner AND g.grantee NOT IN (SELECT oid FROM trusted) \
         GROUP BY g.who, t.name \
     UNION ALL SELECT 8, 'it belongs to ' || pg_get_userbyid(t.relowner), \
         format('ALTER TABLE %s OWNER TO %I;', t.name, current_user) \
         FROM t WHERE t.relowner NOT IN (SELECT oid FROM trusted) \
     ORDER BY 1, 2";

const DOING: &str = "look at the tables of ebb";

/// Whether the connection's own schema has the table. One in which others have a hand is refused before it is read or written;
/// that is looked at once a connection. Outside of transactions only.
pub(crate) async fn is_there(session: &Session, own: Own) -> Result<bool> {
    if session.owned.contains(own) {
        return Ok(true);
    }
    let failed = |failure: tokio_postgres::Error| translate(&failure, DOING);
    session.client.batch_execute(&format!("BEGIN READ ONLY; {QUALIFIED}")).await.map_err(failed)?;
    let found = look(session, own).await;
    session.client.batch_execute("ROLLBACK").await.map_err(failed)?;
    found
}

/// The same inside a transaction with the search path [`QUALIFIED`].
pub(crate) async fn look(session: &Session, own: Own) -> Result<bool> {
    let faults = faults(&session.client, &session.server.schema, own).await;
    let Some(faults) = faults.map_err(|failure| translate(&failure, DOING))? else { return Ok(false) };
    if faults.is_empty() {
        session.owned.add(own);
        return Ok(true);
    }
    let (whys, mut mends): (Vec<_>, Vec<_>) = faults.into_iter().unzip();
    // What is renamed needs no other mending.
    if mends[0].contains(" RENAME TO ") {
        mends.truncate(1);
    }
    let (name, user) = (format!("{}.{}", quoted(&session.server.schema), own.name), &session.server.user);
    let message = format!(
        "{name} is no table that only ebb has a hand in: {}; others could decide what is applied, or have statements run with \
         the rights of the user {user}",
        whys.join("; ")
    );
    Err(Error::new(ErrorKind::Config, message).topic(Topic::OwnTables).hint(format!(
        "see who has done that and what for; then, as an administrator of the target: {} Where the user {user} does not own the \
         table it needs SELECT, INSERT and UPDATE granted to itself",
        mends.join(" ")
    )))
}

/// Takes back, from a table that was made just now, what ALTER DEFAULT PRIVILEGES has given to others. Inside a transaction with
/// the search path [`QUALIFIED`].
pub(crate) async fn take_back(session: &Session, own: Own) -> Result<()> {
    let faults = faults(&session.client, &session.server.schema, own).await;
    let faults = faults.map_err(|failure| translate(&failure, DOING))?.unwrap_or_default();
    for (_, mend) in faults.iter().filter(|(_, mend)| mend.starts_with("REVOKE ALL ON ")) {
        session.client.batch_execute(mend).await.map_err(|failure| translate(&failure, DOING))?;
    }
    Ok(())
}

/// `None` without a table; else what is wrong with it and what mends that.
async fn faults(
    client: &Client,
    schema: &str,
    own: Own,
) -> Result<Option<Vec<(String, String)>>, tokio_postgres::Error> {
    let (names, types): (Vec<&str>, Vec<&str>) = own.columns.iter().copied().unzip();
    let rows = client.query(FAULTS, &[&schema, &own.name, &names, &types, &own.required]).await?;
    let fault = |row: &tokio_postgres::Row| Ok((row.try_get(1)?, row.try_get(2)?));
    match rows.split_first() {
        None => Ok(None),
        Some((_, faults)) => faults.iter().map(fault).collect::<Result<_, _>>().map(Some),
    }
}

/// The tables that this connection has looked at.
#[derive(Debug, Default)]
pub(crate) struct Owned([AtomicBool; 2]);

impl Owned {
    fn place(&self, own: Own) -> &AtomicBool {
        &self.0[usize::from(own.name == TRIGGERS.name)]
    }

    fn contains(&self, own: Own) -> bool {
        self.place(own).load(Ordering::Relaxed)
    }

    fn add(&self, own: Own) {
        self.place(own).store(true, Ordering::Relaxed);
    }

    /// The table was dropped, or is about to be.
    pub(crate) fn forget(&self, own: Own) {
        self.place(own).store(false, Ordering::Relaxed);
    }
}
