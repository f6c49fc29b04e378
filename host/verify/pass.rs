//! One pass over the tables that are not compared yet, at one state of both sides.
//!
//! Owns: what each result means for its table. Does not own: opening the state (`snapshot`), the threads (`crew`), whether another
//! pass follows (`mod`).

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ebb_sdk::{Catalog, Timestamp};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::crew::{Crew, Report, Task};
use super::extra;
use super::failure::Failure;
use super::pace::Pace;
use super::pairs::Pair;
use super::read::End;
use super::snapshot::Snapshot;
use super::state::{Counts, Mismatches, TableState};
use super::work::Ground;
use crate::code;
use crate::error::{Error, Result};
use crate::source::Source;

/// What a pass works with.
pub(super) struct Pass<'a> {
    pub(super) runtime: &'a Handle,
    pub(super) source: &'a Source,
    pub(super) catalog: &'a Catalog,
    pub(super) pairs: &'a [Pair],
    pub(super) pace: &'a Pace<'a>,
    /// Mismatches that are described.
    pub(super) limit: usize,
    /// How old the snapshot may become.
    pub(super) age_max: Duration,
}

/// What the comparison has come to, and who is told.
pub(super) struct Ledger<'a> {
    pub(super) tables: &'a mut [TableState],
    pub(super) mismatches: &'a mut Mismatches,
    /// Called about twice a second.
    pub(super) show: &'a mut dyn FnMut(&[TableState], &Mismatches) -> Result<()>,
}

impl Pass<'_> {
    /// Goes on where the tables stand. The end may come before all of it is done: the tables tell.
    pub(super) fn run(&self, snapshot: &mut Snapshot, ledger: &mut Ledger<'_>) -> Result<(), Failure> {
        let pending: Vec<usize> = (0..self.pairs.len()).filter(|&at| !ledger.tables[at].is_done).collect();
        // What was begun at another state is not of one state.
        let is_of_one: Vec<bool> = ledger.tables.iter().map(|table| table.after.is_none() && !table.is_read).collect();
        for &at in &pending {
            ledger.tables[at].begin(snapshot.at, self.pairs[at].has_plain_key());
        }
        let ends = self.compare(snapshot, &pending, ledger)?;
        for &at in &pending {
            let Some(end) = ends[at].as_ref().filter(|end| end.is_whole) else { continue };
            self.check_whole(at, end, is_of_one[at], &mut ledger.tables[at])?;
        }
        for at in pending {
            if ledger.tables[at].is_read && ledger.tables[at].counts.is_some_and(|counts| counts.at == snapshot.at) {
                self.look_for_extra(snapshot, at, ledger)?;
                (ledger.show)(ledger.tables, ledger.mismatches)?;
            }
        }
        Ok(())
    }

    fn compare(
        &self,
        snapshot: &mut Snapshot,
        pending: &[usize],
        ledger: &mut Ledger<'_>,
    ) -> Result<Vec<Option<End>>, Failure> {
        let at = snapshot.at;
        // Counting both sides is quick, and tells most of what is wrong.
        let counted = pending.iter().map(|&at| Task::Count(at));
        let unread = pending.iter().copied().filter(|&at| !ledger.tables[at].is_read);
        let read = unread.map(|at| {
            let after = ledger.tables[at].after.clone();
            Task::Read(at, after)
        });
        let tasks: VecDeque<Task> = counted.chain(read).collect();
        let crew = Crew {
            runtime: self.runtime,
            source: self.source,
            ground: self.ground(at),
            pace: self.pace,
            deadline: snapshot.opened + self.age_max,
            tasks: Mutex::new(tasks),
            is_broken: AtomicBool::new(false),
        };
        let mut counts: Vec<(Option<u64>, Option<u64>)> = vec![(None, None); self.pairs.len()];
        let mut ends: Vec<Option<End>> = self.pairs.iter().map(|_| None).collect();
        crew.work(&mut snapshot.sessions, |report| {
            match report {
                Report::SourceCount(table, rows) => counts[table].0 = Some(rows),
                Report::TargetCount(table, rows) => counts[table].1 = Some(rows),
                Report::Compared(table, number, compared, shown) => {
                    ledger.tables[table].compared(number, compared);
                    ledger.mismatches.add(shown, self.limit);
                }
                Report::End(table, end) => ends[table] = Some(end),
                Report::Tick => {}
            }
            for (state, counts) in ledger.tables.iter_mut().zip(&counts) {
                if let (Some(source), Some(target)) = counts {
                    state.counts = Some(Counts { at, source: *source, target: *target });
                }
            }
            (ledger.show)(ledger.tables, ledger.mismatches)
        })?;
        Ok(ends)
    }

    /// Every row that CockroachDB counts has come and was compared.
    fn check_whole(&self, at: usize, end: &End, is_of_one: bool, state: &mut TableState) -> Result<()> {
        if !state.has_all(end.chunks) {
            return Err(incomplete(&self.pairs[at], "a part of it was not compared"));
        }
        let counted = state.counts.map(|counts| counts.source);
        if is_of_one && counted.is_some_and(|counted| counted != end.rows) {
            let why = format!("CockroachDB counts {} rows and gives {}", counted.unwrap_or_default(), end.rows);
            return Err(incomplete(&self.pairs[at], &why));
        }
        state.is_read = true;
        Ok(())
    }

    /// Where the target has more rows than were found there.
    fn look_for_extra(&self, snapshot: &mut Snapshot, at: usize, ledger: &mut Ledger<'_>) -> Result<(), Failure> {
        let state = &mut ledger.tables[at];
        let expected = state.expected_extra();
        if expected != 0 {
            let past = self.runtime.block_on(self.source.past())?;
            // Of several states the counts of the last one tell nothing certain of the others.
            let limit = u64::try_from(expected).ok().filter(|_| state.proved_at.len() == 1);
            let (ground, pair) = (self.ground(snapshot.at), &self.pairs[at]);
            let session = &mut snapshot.sessions[0];
            let found = extra::find(session, (self.runtime, &past), ground, pair, limit, self.pace)?;
            if found.is_cut {
                return Ok(());
            }
            state.extra = found.rows;
            state.unexplained = expected - i64::try_from(found.rows).unwrap_or(i64::MAX);
            ledger.mismatches.add(found.shown, self.limit);
        }
        ledger.tables[at].is_done = true;
        Ok(())
    }

    fn ground(&self, at: Timestamp) -> Ground<'_> {
        Ground { catalog: self.catalog, pairs: self.pairs, at, shown_max: self.limit }
    }
}

fn incomplete(pair: &Pair, why: &str) -> Error {
    Error::new(code::verify::INCOMPLETE, format!("{} was not compared to its end: {why}", pair.name))
        .hint("run ebb verify again; report it with the version of CockroachDB if it comes again")
}
