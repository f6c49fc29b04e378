//! What a comparison has found, for people and for programs.
//!
//! Owns: the words, the JSON and the exit code. Does not own: the numbers (`state`).

use std::fmt::Write;

use chrono::DateTime;
use ebb_sdk::Timestamp;
use serde_json::{Value, json};

use super::saved::Saved;
use super::state::{Mismatch, TableState};
use crate::error::visible;

/// Exit codes of `ebb verify`, beside 0 for equal, 1 for a failure and 2 for wrong usage.
pub const DIFFERENT: u8 = 3;
const UNFINISHED: u8 = 4;

/// How a comparison has ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub saved: Saved,
    /// In the order in which they were compared.
    pub order: Vec<String>,
    pub seconds: f64,
    /// Rows that were compared by this process.
    pub rows: u64,
    /// How long a commit of the running ebb may have waited for a snapshot.
    pub frozen_milliseconds: f64,
    /// How long CockroachDB keeps what is read.
    pub history: String,
}

impl Outcome {
    fn differences(&self) -> u64 {
        self.saved.differences()
    }

    pub fn exit_code(&self) -> u8 {
        match (self.differences(), self.saved.is_finished) {
            (0, true) => 0,
            (0, false) => UNFINISHED,
            _ => DIFFERENT,
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.differences(), self.saved.is_finished) {
            (0, true) => "equal",
            (0, false) => "unfinished",
            _ => "different",
        }
    }

    fn tables(&self) -> impl Iterator<Item = (&String, &TableState)> {
        self.order.iter().filter_map(|name| Some((name, self.saved.tables.get(name)?)))
    }

    fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.rows as f64 / self.seconds } else { 0.0 }
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        let width = self.order.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{:<width$}  {:>14}  {:>14}  {:>14}  {:>9}  {:>9}  {:>9}  at",
            "table", "source rows", "target rows", "compared", "missing", "extra", "different"
        );
        for (name, state) in self.tables() {
            let count =
                |of: fn(&super::state::Counts) -> u64| state.counts.as_ref().map_or("-".into(), |c| of(c).to_string());
            let extra = if state.is_done { state.extra.to_string() } else { "-".into() };
            let _ = writeln!(
                text,
                "{name:<width$}  {:>14}  {:>14}  {:>14}  {:>9}  {extra:>9}  {:>9}  {}",
                count(|counts| counts.source),
                count(|counts| counts.target),
                state.compared,
                state.missing,
                state.different,
                state.first_proved().map_or("-".into(), utc)
            );
            let (unexplained, which) = (state.unexplained.unsigned_abs(), state.unexplained.signum());
            if which != 0 {
                let side = if which > 0 { "only on the target" } else { "not on the target" };
                let _ = writeln!(
                    text,
                    "  {unexplained} further rows are {side}, as the counts tell; which ones was not found"
                );
            }
        }
        for mismatch in &self.saved.mismatches.shown {
            text += &shown(mismatch);
        }
        let differences = self.differences();
        let more = differences.saturating_sub(self.saved.mismatches.shown.len() as u64);
        if more > 0 {
            let _ = writeln!(text, "\n{more} more differences are not shown (--limit shows more)");
        }
        let _ = writeln!(
            text,
            "\n{} rows in {:.1} s, {:.0} rows/s; a commit of ebb waited for at most {:.1} ms; {}",
            self.rows,
            self.seconds,
            self.rate(),
            self.frozen_milliseconds,
            self.history
        );
        let _ = writeln!(text, "{}", self.conclusion(differences));
        visible(&text, "\n")
    }

    fn conclusion(&self, differences: u64) -> String {
        let compares = &self.saved.compares;
        let what = if compares.only_keys { "have the same keys" } else { "are equal" };
        let scope = if compares.every_table { "both sides" } else { "the chosen tables of both sides" };
        match (differences, self.saved.is_finished) {
            (0, true) => format!("EQUAL: {scope} {what}, as of the time of each table"),
            (0, false) => "UNFINISHED: no difference so far; ebb verify --resume goes on".into(),
            (_, true) => format!("DIFFERENT: {differences} rows differ"),
            (_, false) => format!("DIFFERENT: {differences} rows differ so far; ebb verify --resume goes on"),
        }
    }

    pub fn json(&self) -> String {
        let table = |(name, state): (&String, &TableState)| {
            json!({
                "table": name,
                "source_rows": state.counts.map(|counts| counts.source),
                "target_rows": state.counts.map(|counts| counts.target),
                "compared": state.compared,
                "missing": state.missing,
                "extra": state.extra,
                "different": state.different,
                "unexplained": state.unexplained,
                "finished": state.is_done,
                "at": state.proved_at.iter().map(Timestamp::to_string).collect::<Vec<_>>(),
            })
        };
        let all = json!({
            "verdict": self.verdict(),
            "finished": self.saved.is_finished,
            "only_keys": self.saved.compares.only_keys,
            "every_table": self.saved.compares.every_table,
            "differences": self.differences(),
            "tables": self.tables().map(table).collect::<Vec<Value>>(),
            "shown": self.saved.mismatches.shown,
            "rows": self.rows,
            "seconds": self.seconds,
            "rows_per_second": self.rate(),
            "frozen_milliseconds": self.frozen_milliseconds,
            "history": self.history,
        });
        format!("{all:#}\n")
    }
}

/// One row, with the statements that show it.
fn shown(mismatch: &Mismatch) -> String {
    let key: Vec<String> = mismatch.key.iter().map(|(column, value)| format!("{column}={value}")).collect();
    let what = match mismatch.kind {
        super::state::Kind::Missing => "is missing on the target",
        super::state::Kind::Extra => "is on the target only",
        super::state::Kind::Different => "differs",
    };
    let mut text = format!("\n{} {} {what}\n", mismatch.table, key.join(", "));
    for values in &mismatch.columns {
        let said = |value: &Option<String>| value.as_ref().map_or("NULL".into(), |value| format!("'{value}'"));
        let (source, target) = (said(&values.source), said(&values.target));
        let _ = writeln!(text, "  {}: {source} at the source, {target} on the target", values.column);
    }
    let _ = writeln!(text, "  source: {}\n  target: {}", mismatch.source_sql, mismatch.target_sql);
    text
}

pub(super) fn utc(at: Timestamp) -> String {
    DateTime::from_timestamp_nanos(at.wall).format("%Y-%m-%d %H:%M:%S%.3fZ").to_string()
}
