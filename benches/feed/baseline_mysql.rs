//! The raw loop of MySQL and MariaDB: prepared statements of many rows over one TCP connection, with parameters made
//! beforehand.
//!
//! Owns: the best that one connection can do with the same rows, windows and durability.

use std::time::Instant;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Params, Value};

use crate::Bench;
use crate::baseline::{Window, windows};
use crate::generator::{COLUMNS, History};

/// Rows of a statement: the most that pays, and what is left over in fewer.
const SHAPES: [usize; 4] = [1000, 100, 10, 1];

/// A statement and its parameters, by a window.
type Work = Vec<(String, Vec<Value>)>;

/// Rows a second, and the checksum of the table that it made.
pub(crate) async fn run(bench: &Bench, history: &History, database: &str) -> (f64, String) {
    bench.server.create(database);
    bench.server.sql(database, "CREATE TABLE progress (wall BIGINT NOT NULL); INSERT INTO progress VALUES (0)");
    let windows: Vec<(i64, Work)> = windows(history).iter().map(|window| (window.wall, work(window))).collect();
    let mut conn = Conn::new(Opts::from_url(&bench.server.url(database)).expect("a URL")).await.expect("MySQL answers");
    conn.query_drop("SET time_zone = '+00:00', NAMES utf8mb4").await.expect("settings");
    conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.expect("settings");
    let start = Instant::now();
    for (wall, work) in windows {
        conn.query_drop("START TRANSACTION").await.expect("a transaction");
        for (sql, parameters) in work {
            conn.exec_drop(sql, Params::Positional(parameters)).await.expect("rows are written");
        }
        conn.exec_drop("UPDATE progress SET wall = ?", (wall,)).await.expect("progress");
        conn.query_drop("COMMIT").await.expect("a commit");
    }
    let rate = history.rows() as f64 / start.elapsed().as_secs_f64();
    (rate, bench.server.checksum(database))
}

fn work(window: &Window) -> Work {
    let mut work = Work::new();
    let rows = window.upserts[0].len();
    for range in shapes(rows) {
        let cell = |row: usize, column: usize| {
            let text = &window.upserts[column][row];
            match COLUMNS[column].1 {
                "int8" | "int4" => Value::Int(text.parse().expect("a number")),
                "timestamptz" => text.replace('T', " ").trim_end_matches('Z').into(),
                _ => text.as_str().into(),
            }
        };
        let cells = range.clone().flat_map(|row| (0..COLUMNS.len()).map(move |column| cell(row, column)));
        work.push((upsert(range.len()), cells.collect()));
    }
    for range in shapes(window.deletes.len()) {
        let sql = format!("DELETE FROM t WHERE id IN ({})", vec!["?"; range.len()].join(","));
        let keys = window.deletes[range].iter().map(|id| Value::Int(id.parse().expect("a number")));
        work.push((sql, keys.collect()));
    }
    work
}

/// Ranges of as few different lengths as possible.
fn shapes(rows: usize) -> Vec<std::ops::Range<usize>> {
    let (mut ranges, mut start) = (Vec::new(), 0);
    for shape in SHAPES {
        while rows - start >= shape {
            ranges.push(start..start + shape);
            start += shape;
        }
    }
    ranges
}

fn upsert(rows: usize) -> String {
    let names: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let row = format!("({})", vec!["?"; COLUMNS.len()].join(","));
    let sets: Vec<_> = names[1..].iter().map(|name| format!("{name} = VALUES({name})")).collect();
    format!(
        "INSERT INTO t ({}) VALUES {} ON DUPLICATE KEY UPDATE {}",
        names.join(","),
        vec![row.as_str(); rows].join(","),
        sets.join(",")
    )
}
