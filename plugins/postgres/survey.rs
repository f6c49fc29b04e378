//! What will matter to a run later: whether this user can write, sequences, other writers, the planner's statistics.
//!
//! Owns: asking the server, and the statements that mend. Does not own: how bad each is (the host). Nothing is changed: all of it
//! is read in one transaction that cannot write.

use ebb_sdk::{ConcernKind, Result, Survey, Table};
use tokio_postgres::{Client, Error, Row};

use crate::error::translate;
use crate::own::PROGRESS;
use crate::triggers::QUALIFIED;
use crate::{Session, quoted};

/// Smaller tables are read whole in any case.
const STATISTICS_BYTES_MIN: i64 = 8 << 20;
/// Concerns of one kind.
const MAX: i64 = 100;
/// A generator that has used up more of its range is named.
const USED_MAX: f64 = 0.9;

const ACCESS: &str = "SELECT pg_is_in_recovery(), \
         current_setting('default_transaction_read_only'), has_schema_privilege($1, 'CREATE'), current_database()::text, \
         c.oid IS NOT NULL, (SELECT array_agg(r.name ORDER BY r.at) FROM (VALUES (1, 'SELECT'), (2, 'INSERT'), (3, 'UPDATE')) AS r (at, name) \
             WHERE c.oid IS NOT NULL AND NOT has_table_privilege(c.oid, r.name)) \
     FROM (SELECT 1) AS one LEFT JOIN pg_class c ON c.relname = $2::name \
         AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1::name)";

/// Numbers of the tables, in the order of the names given; those that are gone are left out.
const OIDS: &str = "SELECT c.oid FROM unnest($1::text[], $2::text[]) AS t (schema, name) \
     JOIN pg_namespace n ON n.nspname = t.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.name";

/// One row per column that takes its values from a sequence, of its own or by its default: the column, the sequence, where it
/// stands (NULL before its first value, or where this user may not see it), its bounds within those of the column, and
/// whether an index answers for the highest value.
const SEQUENCES: &str = "WITH used AS (\
         SELECT d.refobjid AS relid, d.refobjsubid AS attnum, d.objid AS sequence FROM pg_depend d \
         WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') \
         UNION SELECT e.adrelid, e.adnum, d.refobjid FROM pg_attrdef e JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass \
             AND d.objid = e.oid AND d.refclassid = 'pg_class'::regclass\
     ) SELECT format('%I.%I', n.nspname, c.relname), a.attname::text, format('%I.%I', sn.nspname, s.relname), q.seqincrement > 0, \
         (SELECT v.last_value FROM pg_sequences v WHERE v.schemaname = sn.nspname AND v.sequencename = s.relname), \
         has_sequence_privilege(s.oid, 'SELECT, USAGE'), \
         CASE a.atttypid WHEN 'int2'::regtype THEN least(q.seqmax, 32767) WHEN 'int4'::regtype THEN least(q.seqmax, 2147483647) \
             ELSE q.seqmax END, \
         q.seqmin, EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL \
             AND i.indkey[0] = a.attnum) AND c.relkind = 'r' AND has_column_privilege(c.oid, a.attnum, 'SELECT') \
     FROM used u JOIN pg_class s ON s.oid = u.sequence AND s.relkind = 'S' JOIN pg_namespace sn ON sn.oid = s.relnamespace \
     JOIN pg_sequence q ON q.seqrelid = s.oid JOIN pg_class c ON c.oid = u.relid JOIN pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attnum \
     WHERE c.oid = ANY ($1) AND NOT q.seqcycle AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) \
     ORDER BY 1, 2 LIMIT $2";

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

/// Asks everything, of the tables given.
pub(crate) async fn survey(session: &Session, tables: &[&Table]) -> Result<Survey> {
    let failed = |failure: Error| translate(&failure, "look at the target");
    let client = &session.client;
    client.batch_execute(&format!("BEGIN READ ONLY; {QUALIFIED}")).await.map_err(failed)?;
    let survey = ask(session, tables).await;
    client.batch_execute("ROLLBACK").await.map_err(failed)?;
    survey.map_err(failed)
}

async fn ask(session: &Session, tables: &[&Table]) -> std::result::Result<Survey, Error> {
    let client = &session.client;
    let mut survey = Survey::default();
    access(session, &mut survey).await?;
    let schemas: Vec<&str> =
        tables.iter().map(|table| table.namespace.last().map_or("", |schema| schema.as_str())).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let rows = client.query(OIDS, &[&schemas, &names]).await?;
    let oids: Vec<u32> = rows.iter().map(|row| row.try_get(0)).collect::<std::result::Result<_, _>>()?;
    sequences(client, &oids, &mut survey).await?;
    writers(client, &oids, &mut survey).await?;
    for row in client.query(STATISTICS, &[&oids, &STATISTICS_BYTES_MIN, &MAX]).await? {
        let (table, is_unknown, bytes): (String, bool, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let what =
            if is_unknown { "was never analyzed" } else { "has changed more than twice over since it was analyzed" };
        let reason = format!("{table} has {} MB and {what}: statements may be planned badly", bytes / 1_000_000);
        survey.add(ConcernKind::Statistics, &table, reason, format!("ANALYZE {table};"));
    }
    Ok(survey)
}

/// Whether this user can write, and has what the progress table needs.
async fn access(session: &Session, survey: &mut Survey) -> std::result::Result<(), Error> {
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
    Ok(())
}

async fn sequences(client: &Client, oids: &[u32], survey: &mut Survey) -> std::result::Result<(), Error> {
    let rows = client.query(SEQUENCES, &[&oids, &MAX]).await?;
    if rows.len() as i64 == MAX {
        survey.skip("further sequences of the target", format!("{MAX} were looked at"));
    }
    for row in &rows {
        let (table, column): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        if row.try_get(5)? && row.try_get(8)? {
            sequence(client, row, (&table, &column), survey).await?;
        } else {
            let sequence: String = row.try_get(2)?;
            let why = "this user may not read it, or no index answers for the column's highest value";
            survey.skip(format!("the sequence {sequence} of {table}"), why);
        }
    }
    Ok(())
}

/// One of which everything can be seen. A sequence that counts down is looked at from the other end.
async fn sequence(
    client: &Client,
    row: &Row,
    (table, column): (&str, &str),
    survey: &mut Survey,
) -> std::result::Result<(), Error> {
    let (sequence, counts_up): (String, bool) = (row.try_get(2)?, row.try_get(3)?);
    let (last, max, min): (Option<i64>, i64, i64) = (row.try_get(4)?, row.try_get(6)?, row.try_get(7)?);
    let (end, limit) = if counts_up { ("max", max) } else { ("min", min) };
    let sql = format!("SELECT {end}({})::int8 FROM {table}", quoted(column));
    let highest: Option<i64> = client.query_one(&sql, &[]).await?.try_get(0)?;
    let is_beyond = |value: i64, than: i64| if counts_up { value > than } else { value < than };
    if let Some(highest) = highest
        && last.is_none_or(|last| is_beyond(highest, last))
    {
        let stands = last.map_or_else(|| "has given no value yet".to_owned(), |last| format!("stands at {last}"));
        let reason =
            format!("{sequence} {stands}, and {table}.{column} has {highest}: a key that it gives would be taken");
        let fix = format!("SELECT setval({}, (SELECT {end}({}) FROM {table}));", literal(&sequence), quoted(column));
        survey.add(ConcernKind::SequenceBehind, table, reason, fix);
    }
    let stands = highest.max(last).filter(|_| counts_up).unwrap_or(0);
    let used = stands as f64 / limit as f64;
    if used > USED_MAX {
        let left = limit.abs_diff(stands);
        let reason = format!(
            "{sequence} of {table}.{column} has used {:.1} % of its range: {left} values are left",
            used * 100.0
        );
        let fix = format!(
            "ALTER TABLE {table} ALTER COLUMN {} TYPE bigint; ALTER SEQUENCE {sequence} AS bigint;",
            quoted(column)
        );
        survey.add(ConcernKind::SequenceNarrow, table, reason, fix);
    }
    Ok(())
}

async fn writers(client: &Client, oids: &[u32], survey: &mut Survey) -> std::result::Result<(), Error> {
    for row in client.query(WRITERS, &[&MAX]).await? {
        let (user, program): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (pid, address): (i32, String) = (row.try_get(2)?, row.try_get(3)?);
        let reason = format!("{user} ({program}, process {pid}) writes to the database now, from {address}");
        let fix = format!("end it, unless it writes to other tables: SELECT pg_terminate_backend({pid});");
        survey.add(ConcernKind::OtherWriter, "target", reason, fix);
    }
    if !client.query_one(SEES_ALL, &[]).await?.try_get(0)? {
        let why = "this user sees its own sessions only: GRANT pg_read_all_stats to it";
        survey.skip("sessions of other users that write to the target", why);
    }
    for row in client.query(SUBSCRIPTIONS, &[&oids, &MAX]).await? {
        let (name, first, count): (String, String, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let reason = format!("the subscription {name} copies changes into {first}{}", more(count - 1));
        let fix = format!("as an administrator of the target: ALTER SUBSCRIPTION {} DISABLE;", quoted(&name));
        survey.add(ConcernKind::OtherWriter, first, reason, fix);
    }
    Ok(())
}

fn more(count: i64) -> String {
    if count == 0 { String::new() } else { format!(" and {count} more tables of this run") }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
