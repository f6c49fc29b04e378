//! Moving sequences that are behind, before an application writes here again.
//!
//! Owns: which value a sequence is moved to, and which one is left to a person. Does not own: finding sequences and where they stand
//! (`sequences`).

use std::time::Duration;

use ebb_sdk::{Result, SequenceMove, SequenceMoves, Survey, Table};
use tokio_postgres::{Client, Error};

use crate::Session;
use crate::by_hand;
use crate::error::translate;
use crate::sequences::{self, Column, Effort, Sequence};
use crate::survey;
use crate::triggers::QUALIFIED;

/// For all of them.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(300);
/// Nobody is kept waiting: an application that is to start needs every sequence, and reading a large table takes its time.
const EFFORT: Effort = Effort {
    is_whole: true,
    statement_time: "SET LOCAL statement_timeout = '60s'; ",
    time_max: Duration::from_secs(200),
};

/// Moves them, or says only which would be moved.
pub(crate) async fn advance(session: &Session, tables: &[&Table], act: bool) -> Result<SequenceMoves> {
    let client = &session.client;
    let failed = |failure: Error| translate(&failure, "advance the target's sequences");
    client.batch_execute(&format!("BEGIN; {QUALIFIED}; SET LOCAL lock_timeout = '2s'")).await.map_err(failed)?;
    let moved = moved(client, tables, act).await;
    // A moved sequence stays moved, whatever becomes of the transaction.
    let _ = client.batch_execute("COMMIT").await;
    moved.map_err(failed)
}

async fn moved(client: &Client, tables: &[&Table], act: bool) -> std::result::Result<SequenceMoves, Error> {
    let oids = survey::oids(client, tables).await?;
    let mut unlooked = Survey::default();
    let mut all = SequenceMoves::default();
    for (sequence, columns) in sequences::found(client, &oids, EFFORT, &mut unlooked).await? {
        all.looked += u64::from(!columns.is_empty());
        let Some((farthest, made)) = planned(&sequence, &columns) else { continue };
        if act && made.refused.is_none() {
            let farthest = i64::try_from(farthest).unwrap_or(i64::MAX);
            client.query_one("SELECT setval($1::text::regclass, $2)", &[&sequence.name, &farthest]).await?;
        }
        all.moves.push(made);
    }
    by_hand::without_column(client, &oids, &mut unlooked).await?;
    all.unlooked = unlooked.unlooked;
    Ok(all)
}

/// `None` where the next value is free.
fn planned(sequence: &Sequence, columns: &[Column]) -> Option<(i128, SequenceMove)> {
    let ahead = columns
        .iter()
        .filter_map(|column| Some((column, column.farthest?)))
        .filter(|&(_, value)| sequence.is_at_or_beyond(value, sequence.next));
    let (column, farthest) =
        ahead.reduce(|one, other| if sequence.farther(one.1, other.1) == one.1 { one } else { other })?;
    let narrow = sequence.narrow(columns);
    let (refused, fix) = match narrow {
        Some(concern) => (Some(concern.reason), concern.fix),
        None if !sequence.settable => {
            let grant =
                format!("as an administrator of the target: GRANT UPDATE ON SEQUENCE {} TO the user", sequence.name);
            (Some("this user may not move it".to_owned()), Some(grant))
        }
        None => (None, None),
    };
    let made = SequenceMove {
        sequence: sequence.name.clone(),
        column: format!("{}.{}", column.table, column.name),
        from: sequence.next.to_string(),
        to: (farthest + sequence.increment).to_string(),
        refused,
        fix,
    };
    Some((farthest, made))
}

/// Rows that were ever inserted, updated and deleted, with those of partitions; a session tells of its own within ten seconds.
const WRITTEN: &str = "SELECT (SELECT sum(pg_stat_get_tuples_inserted(p.oid)::numeric + pg_stat_get_tuples_updated(p.oid) \
         + pg_stat_get_tuples_deleted(p.oid))::text || ' ' || count(*)::text \
         FROM pg_class p WHERE p.oid = c.oid OR p.oid IN (SELECT relid FROM pg_partition_tree(c.oid))) \
     FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS t (schema, name, at) \
     LEFT JOIN pg_namespace n ON n.nspname = t.schema LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.name \
     ORDER BY t.at";

/// A mark for each table, in their order.
pub(crate) async fn written(client: &Client, tables: &[&Table]) -> std::result::Result<Vec<Option<String>>, Error> {
    let (schemas, names) = survey::names(tables);
    client.batch_execute("SELECT pg_stat_clear_snapshot()").await?;
    let rows = client.query(WRITTEN, &[&schemas, &names]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_moved_behind_the_farthest_value_of_its_columns() {
        let sequence =
            |next, max| Sequence { name: "s".into(), increment: 5, min: 1, max, settable: true, next, is_called: true };
        let column =
            |name: &str, farthest| Column { table: "t".into(), name: name.into(), kind: "bigint".into(), farthest };
        let columns = [column("a", Some(7)), column("b", Some(40)), column("c", None)];
        let (farthest, made) = planned(&sequence(6, i64::MAX.into()), &columns).expect("a move");
        assert_eq!((farthest, made.column.as_str(), made.from.as_str(), made.to.as_str()), (40, "t.b", "6", "45"));
        assert_eq!(made.refused, None);
        assert!(planned(&sequence(41, i64::MAX.into()), &columns).is_none());
        // Nothing is used up without a word.
        assert!(planned(&sequence(6, 42), &columns).expect("a move").1.refused.is_some());
        let locked = Sequence { settable: false, ..sequence(6, i64::MAX.into()) };
        assert!(planned(&locked, &columns).expect("a move").1.fix.is_some());
    }
}
