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
        for &at in &pending {
            if ledger.tables[at].begin(snapshot.at, self.pairs[at].has_plain_key()) {
                ledger.mismatches.forget(&self.pairs[at].name);
            }
        }
        let ends = self.compare(snapshot, &pending, ledger)?;
        for &at in &pending {
            let Some(end) = ends[at].as_ref().filter(|end| end.is_whole) else { continue };
            self.check_whole(at, end, snapshot.at, &mut ledger.tables[at])?;
        }
        for at in pending {
            if ledger.tables[at].is_read && ledger.tables[at].is_counted(snapshot.at) {
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
        let tables = &*ledger.tables;
        // Counting both sides is quick, and tells most of what is wrong; once is enough until a table has come to its end.
        let is_counted_first = |at: &usize| tables[*at].counts.is_none() || tables[*at].is_read;
        let counted = pending.iter().copied().filter(is_counted_first).map(Task::Count);
        let unread = pending.iter().copied().filter(|&at| !tables[at].is_read);
        let read = unread.map(|at| Task::Read {
            table: at,
            after: tables[at].after.clone(),
            is_counted: !is_counted_first(&at),
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
            has_begun: AtomicBool::new(false),
        };
        let mut counts: Vec<(Option<u64>, Option<u64>)> = vec![(None, None); self.pairs.len()];
        let mut ends: Vec<Option<End>> = self.pairs.iter().map(|_| None).collect();
        crew.work(&mut snapshot.sessions, |report| {
            match report {
                Report::SourceCount(table, rows) => counts[table].0 = Some(rows),
                Report::TargetCount(table, rows) => counts[table].1 = Some(rows),
                Report::Compared(table, number, compared) => {
                    let shown = ledger.tables[table].compared(number, compared);
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
    fn check_whole(&self, at: usize, end: &End, time: Timestamp, state: &mut TableState) -> Result<()> {
        if !state.has_all(end.chunks) {
            return Err(incomplete(&self.pairs[at], "a part of it was not compared"));
        }
        let counted = state.counts.filter(|counts| counts.at == time && state.is_of_one_state());
        // Two snapshots may be of one state.
        if let Some(counted) = counted.map(|counts| counts.source).filter(|&counted| counted != state.compared) {
            let why = format!("CockroachDB counts {counted} rows and gives {}", state.compared);
            return Err(incomplete(&self.pairs[at], &why));
        }
        state.is_read = true;
        Ok(())
    }

    /// Where the target has more rows than were found there. Of several states the counts of the last one tell nothing certain
    /// of the others, so that every key is looked at: a row may have moved behind what was compared.
    fn look_for_extra(&self, snapshot: &mut Snapshot, at: usize, ledger: &mut Ledger<'_>) -> Result<(), Failure> {
        let (expected, is_of_one) = (ledger.tables[at].expected_extra(), ledger.tables[at].is_of_one_state());
        if expected != 0 || !is_of_one {
            let past = self.runtime.block_on(self.source.past())?;
            let limit = u64::try_from(expected).ok().filter(|_| is_of_one);
            let search = extra::Search {
                runtime: self.runtime,
                past: &past,
                ground: self.ground(snapshot.at),
                pair: &self.pairs[at],
                pace: self.pace,
            };
            let mut show = || (ledger.show)(ledger.tables, ledger.mismatches);
            let found = search.find(&mut snapshot.sessions[0], limit, &mut show)?;
            if found.is_cut {
                return Ok(());
            }
            ledger.tables[at].searched(found.rows);
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
