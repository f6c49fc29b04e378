//! What will matter to a run later: whether this user can write, the room of AUTO_INCREMENT, other writers.
//!
//! Owns: asking the server, and the statements that mend. Does not own: how bad each is (the host). Nothing is changed. A counter
//! behind its column cannot be: InnoDB moves it past every value that is written.

use ebb_sdk::{ConcernKind, Error, Result, Survey, Table, Unlooked};
use mysql_async::prelude::Queryable;
use mysql_async::{Error as Failure, Row};

use crate::connect::Flavour;
use crate::describe::rows;
use crate::error::translate;
use crate::own::{self, PROGRESS};
use crate::rights::{self, Rights};
use crate::{Session, answered, quoted};

const DOING: &str = "look at the target";
const WRITING: &str = "sessions of other users that write to the target";
/// Concerns of one kind.
const MAX: usize = 100;
/// A counter that has used up more of its range is named.
const USED_MAX: f64 = 0.9;
/// read_only, a read-only transaction, a server that is one altogether.
const READ_ONLY: [u16; 3] = [1290, 1792, 1836];
/// A right that is missing, and a statement that this version does not have.
const NOT_TOLD: [u16; 5] = [1227, 1142, 1044, 1109, 1064];

const COUNTERS: &str = "SELECT t.table_name AS name, c.column_name AS column_name, c.data_type AS kind, \
         CASE WHEN c.column_type LIKE '%unsigned%' THEN 1 ELSE 0 END AS is_unsigned, t.auto_increment AS next \
     FROM information_schema.columns c JOIN information_schema.tables t \
     ON t.table_schema = c.table_schema AND t.table_name = c.table_name \
     WHERE c.table_schema = DATABASE() AND c.extra LIKE '%auto_increment%' ORDER BY t.table_name";

/// Sessions of others that have changed rows and not committed. A user's name may have an @ of its own.
const WRITERS: &str = "SELECT p.user, p.host, p.id FROM information_schema.innodb_trx x \
     JOIN information_schema.processlist p ON p.id = x.trx_mysql_thread_id \
     WHERE x.trx_rows_modified > 0 AND p.id <> CONNECTION_ID() AND p.user <> \
     LEFT(CURRENT_USER(), CHAR_LENGTH(CURRENT_USER()) - CHAR_LENGTH(SUBSTRING_INDEX(CURRENT_USER(), '@', -1)) - 1) \
     ORDER BY p.id";

/// Asks everything, of the tables given. A look that fails is left out, and said.
pub(crate) async fn survey(session: &mut Session, tables: &[&Table]) -> Result<Survey> {
    let mut survey = Survey::default();
    let looked = access(session, &mut survey).await;
    seen(Some(ConcernKind::ReadOnly), "whether this user can write to the target", looked, &mut survey);
    match rights::of(session).await {
        Ok(rights) => {
            let looked = own_tables(session, &rights, tables, &mut survey).await;
            seen(Some(ConcernKind::OwnTables), "the right to make and write ebb_progress", looked, &mut survey);
            let looked = writers(session, &rights, &mut survey).await;
            seen(Some(ConcernKind::OtherWriter), WRITING, looked, &mut survey);
        }
        Err(error) => seen(None, "the rights of this user, and sessions of others", Err(error), &mut survey),
    }
    let looked = counters(session, tables, &mut survey).await;
    seen(Some(ConcernKind::SequenceNarrow), "AUTO_INCREMENT of the target's tables", looked, &mut survey);
    let looked = replication(session, &mut survey).await;
    seen(Some(ConcernKind::OtherWriter), "replication from another server into the target", looked, &mut survey);
    let why = "InnoDB keeps them itself; ANALYZE TABLE renews them";
    survey.skip_kind(ConcernKind::Statistics, "the planner's statistics of the target", why);
    Ok(survey)
}

fn seen(kind: Option<ConcernKind>, what: &str, looked: Result<()>, survey: &mut Survey) {
    if let Err(error) = looked {
        survey.unlooked.push(Unlooked { kind, what: what.into(), why: error.to_string() });
    }
}

/// Whether a transaction that writes may begin.
async fn access(session: &mut Session, survey: &mut Survey) -> Result<()> {
    let began = attempt(session, "START TRANSACTION READ WRITE").await?;
    session.command("ROLLBACK", DOING).await?;
    match began {
        Err(Failure::Server(answer)) if READ_ONLY.contains(&answer.code) => {
            let fix = match session.server.flavour {
                Flavour::MySql => "SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF;",
                Flavour::MariaDb => "SET GLOBAL read_only = OFF;",
            };
            let reason = format!("the target takes no writes from this user: {}", answer.message);
            let fix = format!(
                "give the address of the primary server in --target (EBB_TARGET), or as an administrator of the target: {fix}"
            );
            survey.add(ConcernKind::ReadOnly, "target", reason, fix);
            Ok(())
        }
        Err(failure) => Err(translate(&failure, DOING)),
        Ok(_) => Ok(()),
    }
}

/// What the progress table needs; and roles that would give what is missing, here or on the tables.
async fn own_tables(session: &mut Session, rights: &Rights, tables: &[&Table], survey: &mut Survey) -> Result<()> {
    if rights.unknown {
        let why = "the server does not tell what this user's roles give";
        survey.skip_kind(ConcernKind::OwnTables, "the rights on the tables, and to make and write ebb_progress", why);
        return Ok(());
    }
    let is_there = own::is_there(session, PROGRESS).await?;
    let needed: &[&str] = if is_there { &["SELECT", "INSERT", "UPDATE"] } else { &["CREATE"] };
    let lacks: Vec<&str> = needed.iter().copied().filter(|verb| !rights.may(verb, PROGRESS.name)).collect();
    let tables: Vec<Table> = tables.iter().copied().cloned().collect();
    if let Some(activation) = rights.activation(session)
        && !(lacks.is_empty() && rights.missing(&tables).is_empty())
    {
        let roles = rights.inactive.join(", ");
        let reason = format!(
            "rights that come with {roles} do not count: a role that was granted to {} is active only where it is a default role",
            session.server.user
        );
        survey.add(
            ConcernKind::Other,
            "target",
            reason,
            format!("as an administrator of the target, in place of granting the rights themselves: {activation}"),
        );
    }
    if lacks.is_empty() {
        return Ok(());
    }
    let (database, user) = (quoted(&session.server.database), &session.server.user);
    let (rights, table) = (lacks.join(", "), PROGRESS.name);
    let reason = match is_there {
        true => format!("the target's user {user} lacks {rights} on {table}"),
        false => format!("the target's user {user} may not create {table}, which a first start makes"),
    };
    let fix = format!("as an administrator of the target: GRANT {rights} ON {database}.{table} TO {user};");
    survey.add(ConcernKind::OwnTables, "target", reason, fix);
    Ok(())
}

async fn counters(session: &mut Session, tables: &[&Table], survey: &mut Survey) -> Result<()> {
    if session.server.flavour == Flavour::MySql && !session.server.name.starts_with("MySQL 5.") {
        // The counters of a day ago would be told otherwise.
        session.command("SET SESSION information_schema_stats_expiry = 0", DOING).await?;
    }
    type Counter = (String, String, String, u8, Option<u64>);
    for (table, column, kind, is_unsigned, next) in rows::<Counter>(session, COUNTERS, vec![]).await? {
        let is_wanted = tables.iter().any(|wanted| wanted.name == table);
        let (Some(max), Some(next)) = (largest(&kind.to_lowercase(), is_unsigned == 1), next) else { continue };
        let used = next as f64 / max as f64;
        if is_wanted && used > USED_MAX && survey.concerns.len() < MAX {
            let left = max.saturating_sub(next);
            let foreign_keys = foreign_keys(session, &table, &column);
            let (table, column) = (quoted(&table), quoted(&column));
            let reason = format!(
                "AUTO_INCREMENT of {table}.{column} has used {:.1} % of its range: {left} values are left",
                used * 100.0
            );
            let unsigned = if is_unsigned == 1 { " unsigned" } else { "" };
            let first = match foreign_keys.is_empty() {
                true => String::new(),
                false => format!(
                    "; the server does not change a column of a foreign key: drop {} first, make each other column of them \
                     bigint{unsigned} too, and add them again after it",
                    foreign_keys.join(", ")
                ),
            };
            let fix = format!(
                "in a maintenance window, since it rewrites the table, and start ebb again after it{first}; add the COMMENT and \
                 whatever else SHOW CREATE TABLE has of the column: ALTER TABLE {table} MODIFY COLUMN {column} \
                 bigint{unsigned} NOT NULL AUTO_INCREMENT;"
            );
            survey.add(ConcernKind::SequenceNarrow, table, reason, fix);
        }
    }
    Ok(())
}

/// Those that a column has a part in, on either side.
fn foreign_keys(session: &Session, table: &str, column: &str) -> Vec<String> {
    let has = |name: &str, columns: &[String]| name == table && columns.iter().any(|other| other == column);
    let references = session.tables.references.iter().filter(|reference| {
        let is_here = reference.parent_database == session.server.database;
        has(&reference.child, &reference.columns) || is_here && has(&reference.parent, &reference.referenced)
    });
    references.map(|reference| format!("{} of {}", quoted(&reference.name), quoted(&reference.child))).collect()
}

/// A mark for each table: when it was changed last. MySQL would tell it as it was a day ago.
pub(crate) async fn written(session: &mut Session, tables: &[&Table]) -> Result<Vec<Option<String>>> {
    let failed = |failure| translate(&failure, "see what was written");
    if session.server.flavour == Flavour::MySql {
        // A release that keeps nothing back does not know the setting.
        let _ = session.conn.query_drop("SET SESSION information_schema_stats_expiry = 0").await;
    }
    let sql =
        "SELECT TABLE_NAME, CAST(UPDATE_TIME AS CHAR) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()";
    let found: Vec<(String, Option<String>)> = session.conn.query(sql).await.map_err(failed)?;
    let mark = |table: &&Table| {
        let known = found.iter().find(|(name, _)| *name == table.name);
        known.map(|(_, at)| at.clone().unwrap_or_else(|| "not since the server was started".into()))
    };
    Ok(tables.iter().map(mark).collect())
}

pub(crate) fn largest(kind: &str, is_unsigned: bool) -> Option<u64> {
    let bits = match kind {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" => 32,
        "bigint" => 64,
        _ => return None,
    };
    Some(u64::MAX >> (64 - bits + u32::from(!is_unsigned)))
}

async fn writers(session: &mut Session, rights: &Rights, survey: &mut Survey) -> Result<()> {
    // Without the right MariaDB answers with nothing.
    let may_see = rights.may("PROCESS", "");
    if !may_see && !rights.unknown {
        survey.skip_kind(ConcernKind::OtherWriter, WRITING, not_told(session, "PROCESS"));
        return Ok(());
    }
    let Some(found) = told::<(String, String, u64)>(session, WRITERS, WRITING, "PROCESS", survey).await? else {
        return Ok(());
    };
    if !may_see && found.is_empty() {
        survey.skip_kind(ConcernKind::OtherWriter, WRITING, not_told(session, "PROCESS"));
    }
    for (user, host, id) in found.into_iter().take(MAX) {
        let reason = format!("{user} (connection {id}, from {host}) writes to the server now");
        let fix = format!("end it, unless it writes to other tables: KILL {id};");
        survey.add(ConcernKind::OtherWriter, "target", reason, fix);
    }
    Ok(())
}

/// Changes of another server that are applied here.
async fn replication(session: &mut Session, survey: &mut Survey) -> Result<()> {
    let is_old = session.server.name.starts_with("MySQL 5.") || session.server.flavour == Flavour::MariaDb;
    let (show, stop, right) = match is_old {
        true => ("SHOW SLAVE STATUS", "STOP SLAVE SQL_THREAD;", "REPLICATION CLIENT (MariaDB: REPLICA MONITOR)"),
        false => ("SHOW REPLICA STATUS", "STOP REPLICA SQL_THREAD;", "REPLICATION CLIENT"),
    };
    let what = "replication from another server into the target";
    let Some(found) = told::<Row>(session, show, what, right, survey).await? else { return Ok(()) };
    for row in found {
        let text = |end: &str| {
            let at = row.columns_ref().iter().position(|column| column.name_str().ends_with(end))?;
            row.get_opt::<String, _>(at)?.ok()
        };
        if text("_SQL_Running").is_some_and(|running| running == "Yes") {
            let from = text("_Host").unwrap_or_default();
            let reason = format!("the target is a replica of {from}: its changes are applied to the same tables");
            let fix = format!("as an administrator of the target: {stop}");
            survey.add(ConcernKind::OtherWriter, "target", reason, fix);
        }
    }
    Ok(())
}

/// The answer of who else writes, or `None` where this user is not told, which is noted.
async fn told<T: mysql_async::prelude::FromRow + Send + 'static>(
    session: &mut Session,
    sql: &str,
    what: &str,
    right: &str,
    survey: &mut Survey,
) -> Result<Option<Vec<T>>> {
    let wait = session.answer_wait;
    let asked = answered(wait, DOING, async { Ok(session.conn.query::<T, _>(sql).await) }).await?;
    match asked {
        Ok(found) => Ok(Some(found)),
        Err(Failure::Server(answer)) if NOT_TOLD.contains(&answer.code) => {
            survey.skip_kind(ConcernKind::OtherWriter, what, not_told(session, right));
            Ok(None)
        }
        Err(failure) => Err(translate(&failure, DOING)),
    }
}

fn not_told(session: &Session, right: &str) -> String {
    format!("this user is not told: GRANT {right} ON *.* TO {};", session.server.user)
}

async fn attempt(session: &mut Session, sql: &str) -> Result<std::result::Result<(), Failure>, Error> {
    let wait = session.answer_wait;
    answered(wait, DOING, async { Ok(session.conn.query_drop(sql).await) }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_value_of_each_type() {
        let of = |kind, is_unsigned| largest(kind, is_unsigned);
        assert_eq!(of("tinyint", false), Some(127));
        assert_eq!(of("mediumint", true), Some(16_777_215));
        assert_eq!(of("int", false), Some(2_147_483_647));
        assert_eq!(of("bigint", true), Some(u64::MAX));
        assert_eq!(of("decimal", true), None);
    }
}
