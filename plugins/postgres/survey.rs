//! What will matter to a run later: whether this user can write, other writers, the planner's statistics.
//!
//! Owns: asking the server, and the statements that mend. Does not own: sequences (`sequences`), and how bad each is (the host).
//! Nothing is changed: all of it is read in one transaction that cannot write. A look that fails is left out, and said.

use ebb_sdk::{ConcernKind, Result, Survey, Table};
use tokio_postgres::{Client, Error};

use crate::error::translate;
use crate::own::PROGRESS;
use crate::triggers::QUALIFIED;
use crate::{Session, quoted, sequences};

/// Smaller tables are read whole in any case.
const STATISTICS_BYTES_MIN: i64 = 8 << 20;
/// Concerns of one kind.
pub(crate) const MAX: i64 = 100;
/// A table that somebody has locked keeps no look waiting for longer.
const LOCK_TIME: &str = "SET LOCAL lock_timeout = '2s'";

const ACCESS: &str = "SELECT pg_is_in_recovery(), \
         current_setting('default_transaction_read_only'), has_schema_privilege($1, 'CREATE'), current_database()::text, \
         c.oid IS NOT NULL, (SELECT array_agg(r.name ORDER BY r.at) FROM (VALUES (1, 'SELECT'), (2, 'INSERT'), (3, 'UPDATE')) AS r (at, name) \
             WHERE c.oid IS NOT NULL AND NOT has_table_privilege(c.oid, r.name)) \
     FROM (SELECT 1) AS one LEFT JOIN pg_class c ON c.relname = $2::name \
         AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1::name)";

/// Numbers of the tables, in the order of the names given; those that are gone are left out.
const OIDS: &str = "SELECT c.oid FROM unnest($1::text[], $2::text[]) AS t (schema, name) \
     JOIN pg_namespace n ON n.nspname = t.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.name";

/// Sessions that have written something that is not committed, and are not ebb's.
const WRITERS: &str = "SELECT usename::text, application_name, pid, coalesce(host(client_addr), 'a local socket') \
     FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL \
     AND backend_type = 'client backend' AND application_name <> 'ebb' ORDER BY pid LIMIT $1";

const SEES_ALL: &str = "SELECT pg_has_role('pg_read_all_stats', 'USAGE')";

const SUBSCRIPTIONS: &str = "SELECT s.subname::text, min(format('%I.%I', n.nspname, c.relname)), count(*) \
     FROM pg_subscription s JOIN pg_subscription_rel r ON r.srsubid = s.oid JOIN pg_class c ON c.oid = r.srrelid \
     JOIN pg_namespace n ON n.oid = c.relnamespace WHERE s.subenabled AND r.srrelid = ANY ($1) \
     AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) GROUP BY 1 ORDER BY 1 LIMIT $2";

const STATISTICS: &str = "SELECT format('%I.%I', n.nspname, c.relname), c.reltuples <= 0, pg_relation_size(c.oid) \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid \
     WHERE c.oid = ANY ($1) AND c.relkind = 'r' AND pg_relation_size(c.oid) >= $2 \
     AND (c.reltuples <= 0 OR s.n_mod_since_analyze > 2 * c.reltuples) ORDER BY 1 LIMIT $3";

/// Before PostgreSQL 14 not everybody may read the numbers of subscriptions.
const SEES_SUBSCRIPTIONS: &str = "SELECT has_column_privilege('pg_subscription', 'oid', 'SELECT')";

/// Asks everything, of the tables given.
pub(crate) async fn survey(session: &Session, tables: &[&Table]) -> Result<Survey> {
    let failed = |failure: Error| translate(&failure, "look at the target");
    let client = &session.client;
    client.batch_execute(&format!("BEGIN READ ONLY; {QUALIFIED}; {LOCK_TIME}")).await.map_err(failed)?;
    let mut survey = Survey::default();
    // What was seen before the connection was lost counts.
    if let Err(failure) = ask(session, tables, &mut survey).await {
        survey.skip("the rest of what a check looks at on the target", failed(failure).to_string());
    }
    // What ends with the connection needs no end.
    let _ = client.batch_execute("ROLLBACK").await;
    Ok(survey)
}

/// # Errors
/// When the connection is lost. What the server refuses is noted.
async fn ask(session: &Session, tables: &[&Table], survey: &mut Survey) -> std::result::Result<(), Error> {
    let client = &session.client;
    let what = "whether this user can write to the target";
    seen(ConcernKind::OwnTables, what, tried(client, "", access(session)).await?, survey);
    let oids = oids(client, tables).await?;
    let looked = tried(client, "", sequences::look(client, &oids)).await?;
    seen(ConcernKind::SequenceBehind, "the target's sequences", looked, survey);
    let what = "sessions of other users that write to the target";
    seen(ConcernKind::OtherWriter, what, tried(client, "", writers(session)).await?, survey);
    let what = "subscriptions that copy changes into the target";
    seen(ConcernKind::OtherWriter, what, tried(client, "", subscriptions(client, &oids)).await?, survey);
    let what = "the planner's statistics of the target";
    seen(ConcernKind::Statistics, what, tried(client, "", statistics(client, &oids)).await?, survey);
    Ok(())
}

/// Schemas and names of the tables.
pub(crate) fn names<'a>(tables: &[&'a Table]) -> (Vec<&'a str>, Vec<&'a str>) {
    let schemas = tables.iter().map(|table| table.namespace.last().map_or("", |schema| schema.as_str()));
    (schemas.collect(), tables.iter().map(|table| table.name.as_str()).collect())
}

/// Numbers of the tables; those that are gone are left out.
pub(crate) async fn oids(client: &Client, tables: &[&Table]) -> std::result::Result<Vec<u32>, Error> {
    let (schemas, names) = names(tables);
    let rows = client.query(OIDS, &[&schemas, &names]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Does one look, and undoes what it has set. The inner error: why the server refused it.
///
/// # Errors
/// When the connection is lost.
pub(crate) async fn tried<T>(
    client: &Client,
    settings: &str,
    look: impl Future<Output = std::result::Result<T, Error>>,
) -> std::result::Result<std::result::Result<T, String>, Error> {
    client.batch_execute(&format!("SAVEPOINT ebb_look; {settings}")).await?;
    let looked = match look.await {
        Ok(found) => Ok(found),
        Err(failure) if failure.as_db_error().is_some() => Err(translate(&failure, "look at it").to_string()),
        Err(failure) => return Err(failure),
    };
    client.batch_execute("ROLLBACK TO SAVEPOINT ebb_look; RELEASE SAVEPOINT ebb_look").await?;
    Ok(looked)
}

fn seen(kind: ConcernKind, what: &str, looked: std::result::Result<Survey, String>, survey: &mut Survey) {
    match looked {
        Ok(found) => survey.append(found),
        Err(why) => survey.skip_kind(kind, what, why),
    }
}

/// Whether this user can write, and has what the progress table needs.
async fn access(session: &Session) -> std::result::Result<Survey, Error> {
    let mut survey = Survey::default();
    let (schema, user) = (&session.server.schema, quoted(&session.server.user));
    let row = session.client.query_one(ACCESS, &[schema, &PROGRESS.name]).await?;
    let (is_standby, by_default): (bool, String) = (row.try_get(0)?, row.try_get(1)?);
    let database = quoted(&row.try_get::<_, String>(3)?);
    if is_standby {
        let fix = "give the address of the primary server in --target (EBB_TARGET)";
        survey.add(ConcernKind::ReadOnly, "target", "the target is a standby, which takes no writes", fix);
    } else if by_default == "on" {
        let reason = "default_transaction_read_only is on for this user, so that nothing can be written";
        let fix = format!(
            "as an administrator of the target: ALTER ROLE {user} IN DATABASE {database} SET default_transaction_read_only = off;"
        );
        survey.add(ConcernKind::ReadOnly, "target", reason, fix);
    }
    let (may_create, is_there): (bool, bool) = (row.try_get(2)?, row.try_get(4)?);
    let lacks: Option<Vec<String>> = row.try_get(5)?;
    let table = format!("{}.{}", quoted(schema), PROGRESS.name);
    let name = session.server.user.as_str();
    if !is_there && !may_create {
        let reason = format!("the target's user {name} may not create {table}, which a first start makes");
        let fix = format!("as an administrator of the target: GRANT CREATE ON SCHEMA {} TO {user};", quoted(schema));
        survey.add(ConcernKind::OwnTables, "target", reason, fix);
    }
    if let Some(lacks) = lacks {
        let rights = lacks.join(", ");
        let fix = format!("as an administrator of the target: GRANT {rights} ON {table} TO {user};");
        survey.add(ConcernKind::OwnTables, &table, format!("the target's user {name} lacks {rights} on {table}"), fix);
    }
    Ok(survey)
}

async fn statistics(client: &Client, oids: &[u32]) -> std::result::Result<Survey, Error> {
    let mut survey = Survey::default();
    for row in client.query(STATISTICS, &[&oids, &STATISTICS_BYTES_MIN, &MAX]).await? {
        let (table, is_unknown, bytes): (String, bool, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let what =
            if is_unknown { "was never analyzed" } else { "has changed more than twice over since it was analyzed" };
        let reason = format!("{table} has {} MB and {what}: statements may be planned badly", bytes / 1_000_000);
        survey.add(ConcernKind::Statistics, &table, reason, format!("ANALYZE {table};"));
    }
    Ok(survey)
}

async fn writers(session: &Session) -> std::result::Result<Survey, Error> {
    let client = &session.client;
    let mut survey = Survey::default();
    for row in client.query(WRITERS, &[&MAX]).await? {
        let (user, program): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (pid, address): (i32, String) = (row.try_get(2)?, row.try_get(3)?);
        let reason = format!("{user} ({program}, process {pid}) writes to the database now, from {address}");
        let fix = format!("end it, unless it writes to other tables: SELECT pg_terminate_backend({pid});");
        survey.add(ConcernKind::OtherWriter, "target", reason, fix);
    }
    if !client.query_one(SEES_ALL, &[]).await?.try_get(0)? {
        let user = quoted(&session.server.user);
        let why = format!("this user sees its own sessions only: GRANT pg_read_all_stats TO {user};");
        survey.skip_kind(ConcernKind::OtherWriter, "sessions of other users that write to the target", why);
    }
    Ok(survey)
}

async fn subscriptions(client: &Client, oids: &[u32]) -> std::result::Result<Survey, Error> {
    let mut survey = Survey::default();
    if !client.query_one(SEES_SUBSCRIPTIONS, &[]).await?.try_get(0)? {
        let why = "this user may not read pg_subscription, which it may from PostgreSQL 14 on; \
                   run the check as an administrator of the target";
        survey.skip_kind(ConcernKind::OtherWriter, "subscriptions that copy changes into the target", why);
        return Ok(survey);
    }
    for row in client.query(SUBSCRIPTIONS, &[&oids, &MAX]).await? {
        let (name, first, count): (String, String, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let reason = format!("the subscription {name} copies changes into {first}{}", more(count - 1));
        let fix = format!("as an administrator of the target: ALTER SUBSCRIPTION {} DISABLE;", quoted(&name));
        survey.add(ConcernKind::OtherWriter, first, reason, fix);
    }
    Ok(survey)
}

fn more(count: i64) -> String {
    if count == 0 { String::new() } else { format!(" and {count} more tables of this run") }
}
