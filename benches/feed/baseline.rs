//! The raw loop: the statements that ebb's plugin uses, prepared where it prepares them, over one TCP connection with the same
//! settings, with parameters made beforehand.
//!
//! Owns: the best that one connection can do with the same rows, windows and durability.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{NoTls, Statement};

use crate::Bench;
use crate::generator::{COLUMNS, Change, History};

/// As ebb's default for `--transaction-rows-max`.
const WINDOW_ROWS_MAX: usize = 10_000;

/// The parameters of one target transaction.
pub(crate) struct Window {
    pub wall: i64,
    pub upserts: Vec<Vec<String>>,
    pub deletes: Vec<String>,
}

/// Rows a second, and the checksum of the table that it made.
pub(crate) async fn run(bench: &Bench, history: &History, database: &str) -> (f64, String) {
    bench.server.create(database);
    bench.server.sql(database, "CREATE TABLE progress (wall bigint NOT NULL); INSERT INTO progress VALUES (0)");
    let windows = windows(history);
    let (client, connection) =
        tokio_postgres::connect(&bench.server.url(database), NoTls).await.expect("PostgreSQL answers");
    tokio::spawn(connection);
    client.batch_execute("SET jit = off; SET enable_seqscan = off; SET TimeZone = 'UTC'").await.expect("settings");
    let prepare = async |sql: String| -> Statement { client.prepare(&sql).await.expect("the statement is sound") };
    let upsert = prepare(upsert_sql()).await;
    let progress = prepare("UPDATE progress SET wall = $1".into()).await;
    let start = Instant::now();
    for window in &windows {
        client.batch_execute("BEGIN").await.expect("a transaction");
        if !window.upserts[0].is_empty() {
            let parameters: Vec<_> = window.upserts.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
            client.execute(&upsert, &parameters).await.expect("rows are written");
        }
        if !window.deletes.is_empty() {
            client.execute_typed(DELETE, &[(&window.deletes, Type::TEXT_ARRAY)]).await.expect("rows are deleted");
        }
        client.execute(&progress, &[&window.wall]).await.expect("progress");
        client.batch_execute("COMMIT").await.expect("a commit");
    }
    let rate = history.rows() as f64 / start.elapsed().as_secs_f64();
    (rate, bench.server.checksum(database))
}

/// Whole source transactions, of each key the last version.
pub(crate) fn windows(history: &History) -> Vec<Window> {
    let mut windows = Vec::new();
    let mut rows: BTreeMap<u64, &Change> = BTreeMap::new();
    let mut count = 0;
    for (at, transaction) in history.transactions.iter().enumerate() {
        count += transaction.changes.len();
        rows.extend(transaction.changes.iter().map(|change| (change.id, change)));
        let following = history.transactions.get(at + 1).map_or(usize::MAX, |next| next.changes.len());
        if count.saturating_add(following) > WINDOW_ROWS_MAX {
            windows.push(window(transaction.wall, &rows));
            rows.clear();
            count = 0;
        }
    }
    windows
}

fn window(wall: i64, rows: &BTreeMap<u64, &Change>) -> Window {
    let mut window = Window { wall, upserts: vec![Vec::new(); COLUMNS.len()], deletes: Vec::new() };
    for change in rows.values() {
        match &change.values {
            None => window.deletes.push(change.id.to_string()),
            Some(values) => {
                window.upserts.iter_mut().zip(values).for_each(|(column, value)| column.push(value.clone()));
            }
        }
    }
    window
}

fn upsert_sql() -> String {
    let names: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let casts: Vec<_> = COLUMNS.iter().enumerate().map(|(at, (_, kind))| format!("v.c{at}::{kind}")).collect();
    let arrays: Vec<_> = (1..=COLUMNS.len()).map(|at| format!("unnest(${at}::text[])")).collect();
    let columns: Vec<_> = (0..COLUMNS.len()).map(|at| format!("c{at}")).collect();
    let sets: Vec<_> = names[1..].iter().map(|name| format!("{name} = EXCLUDED.{name}")).collect();
    format!(
        "INSERT INTO t ({}) SELECT {} FROM ROWS FROM ({}) AS v ({}) ON CONFLICT (id) DO UPDATE SET {}",
        names.join(", "),
        casts.join(", "),
        arrays.join(", "),
        columns.join(", "),
        sets.join(", ")
    )
}

/// Planned each time, as the plugin has it: a plan from the time when the table was small reads the whole of a large one.
const DELETE: &str = "DELETE FROM t USING unnest($1::text[]) AS v (c0) WHERE t.id = v.c0::int8";
