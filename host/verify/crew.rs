//! The threads of a pass: some read the source, some ask the target, and one hears what came of it.
//!
//! Owns: starting and ending them, and that the first failure ends them all. Does not own: what a result means (`pass`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::failure::Failure;
use super::pace::Pace;
use super::read::{self, Chunk, End};
use super::state::Compared;
use super::work::{Ground, compare};
use crate::code;
use crate::error::Error;
use crate::plugin::Session;
use crate::source::{Past, Source};

/// Chunks that wait for each session.
const WAITING_MAX: usize = 2;
const TICK: Duration = Duration::from_millis(500);

/// Work for a reader, by the number of the table.
pub(super) enum Task {
    Count(usize),
    Read {
        table: usize,
        /// Behind this key.
        after: Option<Vec<String>>,
        /// Once all of it is read.
        is_counted: bool,
    },
}

/// Work for a session.
enum Job {
    Count(usize),
    Compare(Chunk),
}

/// What came of it, by the number of the table.
pub(super) enum Report {
    SourceCount(usize, u64),
    TargetCount(usize, u64),
    Compared(usize, u64, Compared),
    End(usize, End),
    /// Nothing, for a while.
    Tick,
}

/// What the threads share.
pub(super) struct Crew<'a> {
    pub(super) runtime: &'a Handle,
    pub(super) source: &'a Source,
    pub(super) ground: Ground<'a>,
    pub(super) pace: &'a Pace<'a>,
    /// When the snapshot is too old.
    pub(super) deadline: Instant,
    pub(super) tasks: Mutex<VecDeque<Task>>,
    pub(super) is_broken: AtomicBool,
    /// Something was counted or compared, so that the next snapshot goes on from elsewhere.
    pub(super) has_begun: AtomicBool,
}

type Reports = SyncSender<Result<Report, Failure>>;

impl Crew<'_> {
    /// Returns once every thread has ended.
    pub(super) fn work(
        &self,
        sessions: &mut [Session],
        mut take: impl FnMut(Report) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        let readers = sessions.len().min(self.tasks.lock().len());
        thread::scope(|scope| {
            let (report, reports) = mpsc::sync_channel(4 * WAITING_MAX);
            let (job, jobs) = mpsc::sync_channel(WAITING_MAX * sessions.len());
            let jobs = Arc::new(Mutex::new(jobs));
            let mut threads = Vec::new();
            for session in sessions {
                let (report, jobs) = (report.clone(), Arc::clone(&jobs));
                threads.push(scope.spawn(move || self.told(&report, || self.ask(session, &jobs, &report))));
            }
            for _ in 0..readers {
                let (report, job) = (report.clone(), job.clone());
                threads.push(scope.spawn(move || self.told(&report, || self.read(&job, &report))));
            }
            drop((report, job, jobs));
            let outcome = self.gather(&reports, &mut take);
            drop(reports);
            joined(threads).and(outcome)
        })
    }

    /// The first failure ends the work of all.
    fn told(&self, report: &Reports, work: impl FnOnce() -> Result<(), Failure>) {
        if let Err(failure) = work() {
            self.is_broken.store(true, Ordering::Relaxed);
            // Whoever does not listen any more has heard of another one.
            let _ = report.send(Err(failure));
        }
    }

    /// However young a snapshot may be: something is done with it, or the comparison would never end.
    fn is_over(&self) -> bool {
        let is_old = Instant::now() >= self.deadline && self.has_begun.load(Ordering::Relaxed);
        self.is_broken.load(Ordering::Relaxed) || self.pace.is_ending() || is_old
    }

    fn gather(
        &self,
        reports: &Receiver<Result<Report, Failure>>,
        take: &mut impl FnMut(Report) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        let outcome = loop {
            let taken = match reports.recv_timeout(TICK) {
                Ok(report) => report.and_then(|report| Ok(take(report)?)),
                Err(RecvTimeoutError::Timeout) => take(Report::Tick).map_err(Failure::from),
                Err(RecvTimeoutError::Disconnected) => break Ok(()),
            };
            if taken.is_err() {
                break taken;
            }
        };
        if outcome.is_err() {
            self.is_broken.store(true, Ordering::Relaxed);
        }
        outcome
    }

    fn read(&self, job: &SyncSender<Job>, report: &Reports) -> Result<(), Failure> {
        let past = self.runtime.block_on(self.source.past())?;
        loop {
            let Some(task) = self.tasks.lock().pop_front() else { return Ok(()) };
            match task {
                _ if self.is_over() => {}
                Task::Count(table) => self.count(&past, table, job, report)?,
                Task::Read { table, after, is_counted } => {
                    let end = read::read(
                        (self.runtime, &past),
                        (table, &self.ground.pairs[table]),
                        (self.ground.at, after.as_deref()),
                        (self.pace, self.deadline),
                        |chunk| !self.is_over() && self.has_sent(job, chunk),
                    )?;
                    let is_whole = end.is_whole;
                    let _ = report.send(Ok(Report::End(table, end)));
                    if is_whole && is_counted {
                        self.count(&past, table, job, report)?;
                    }
                }
            }
        }
    }

    fn has_sent(&self, job: &SyncSender<Job>, chunk: Chunk) -> bool {
        self.has_begun.store(true, Ordering::Relaxed);
        job.send(Job::Compare(chunk)).is_ok()
    }

    fn count(&self, past: &Past<'_>, table: usize, job: &SyncSender<Job>, report: &Reports) -> Result<(), Failure> {
        // The session has gone when nobody takes the job.
        let _ = job.send(Job::Count(table));
        let pair = &self.ground.pairs[table];
        let count = self.runtime.block_on(past.count(&pair.count(self.ground.at)))?;
        let count = count.ok_or_else(|| {
            Error::new(code::source::UNEXPECTED_ANSWER, format!("the source does not count {}", pair.name))
        })?;
        let _ = report.send(Ok(Report::SourceCount(table, count)));
        self.has_begun.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn ask(&self, session: &mut Session, jobs: &Mutex<Receiver<Job>>, report: &Reports) -> Result<(), Failure> {
        loop {
            let job = jobs.lock().recv();
            let done = match job {
                Err(_) => return Ok(()),
                Ok(_) if self.is_broken.load(Ordering::Relaxed) => continue,
                Ok(Job::Count(table)) => Report::TargetCount(table, session.count(self.ground.pairs[table].position)?),
                Ok(Job::Compare(chunk)) => {
                    let (table, number) = (chunk.pair, chunk.number);
                    Report::Compared(table, number, compare(session, self.ground, chunk)?)
                }
            };
            if report.send(Ok(done)).is_err() {
                return Ok(());
            }
        }
    }
}

fn joined(threads: Vec<ScopedJoinHandle<'_, ()>>) -> Result<(), Failure> {
    let mut outcome = Ok(());
    for thread in threads {
        if thread.join().is_err() {
            let error = Error::new(code::defect::PANIC, "a thread that compares has panicked")
                .hint("nothing was changed; report this with the lines above");
            outcome = Err(Failure { error, may_pass: false });
        }
    }
    outcome
}
