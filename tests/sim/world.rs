//! One run: a source, its feed, staging on a disk that fails, and an applier on a target that fails, each step chosen by the
//! seed.
//!
//! Owns: what may happen and what must hold. The target compares itself with the source at each commit; at the end every
//! row that was acknowledged must be there, although the feed never sends it again.

mod folder;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ebb::config;
use ebb::stage::{Bounds, NotWritten, StagingLimits, Steps};
use ebb::target::refuse_restored_target;
use ebb_sdk::Timestamp;
use fastrand::Rng;

use crate::counts::Counts;
use crate::disk::{Copy, FakeDisk};
use crate::feed::{Feed, encode};
use crate::process::{Process, Refusal, Staging};
use crate::source::{LEFT, TABLES, table_id};
use crate::target::{self, Backup, Database};

const STEPS: u32 = 120;

pub(crate) struct World {
    seed: u64,
    rng: Rng,
    disk: FakeDisk,
    feed: Feed,
    database: Arc<Mutex<Database>>,
    process: Option<Process>,
    /// Folder and target as they were once, and a process has run since.
    copy: Option<(Copy, Backup)>,
    /// Both were put back together: nobody but the changefeed knows what is missing.
    is_put_back: bool,
    /// Of the table that is left out and taken in.
    bounds: Bounds,
    limits: StagingLimits,
    settings: config::Apply,
    pub counts: Counts,
    /// Prints every step.
    pub tell: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let limits = StagingLimits {
            segment_bytes_max: rng.choice([600, 2000, 8000]).expect("one of three"),
            // Where it is small, applied rows are forgotten to make room.
            disk_bytes_max: rng.choice([u64::MAX, u64::MAX, 24_000]).expect("one of three"),
            remember: Duration::from_secs(3600),
        };
        let settings = config::Apply {
            transaction_rows_max: rng.usize(1..12),
            transaction_bytes_max: rng.choice([150, 1 << 20]).expect("one of two"),
            retry_delay_min: Duration::ZERO,
            retry_delay_max: Duration::ZERO,
            triggers: config::Triggers::Skip,
            on_row_error: config::OnRowError::Exit,
        };
        Self {
            seed,
            disk: FakeDisk::new(seed),
            feed: Feed::default(),
            database: target::create(seed),
            process: None,
            copy: None,
            is_put_back: false,
            bounds: Bounds::default(),
            limits,
            settings,
            counts: Counts::default(),
            tell: false,
            rng,
        }
    }

    pub(crate) fn run(&mut self) {
        self.database().faults = self.rng.choice([0, 3, 15]).expect("one of three");
        self.start();
        for _ in 0..STEPS {
            self.step();
        }
        if self.seed.is_multiple_of(4) {
            self.flip_a_bit();
        } else {
            self.settle();
        }
        let mut database = self.database();
        let (commits, retried, unknown) = (database.commits, database.retried, database.unknown_outcomes);
        let rows = std::mem::take(&mut database.source.rows).len() as u64;
        drop(database);
        self.counts.transactions_committed = commits;
        self.counts.deadlocks_and_lost_connections = retried;
        self.counts.unknown_outcomes = unknown;
        self.counts.rows = rows;
        target::forget(self.seed);
    }

    fn step(&mut self) {
        match self.rng.u8(0..100) {
            0..25 => {
                let mut rng = self.rng.fork();
                self.database().source.commit(&mut rng);
            }
            25..55 => self.deliver(),
            55..68 => self.resolve(),
            68..78 => self.compact(),
            78..88 => self.apply(),
            88..91 => self.crash("the power goes"),
            91..93 => {
                // In the middle of whatever comes next.
                let calls = self.rng.u64(1..30);
                self.disk.cut_power_after(calls);
            }
            93 => self.deliver_late(),
            94..96 => self.disk.fill(self.rng.u32(1..4)),
            96 => self.disk.fail_a_sync(),
            97 => self.steal(),
            98 => match self.rng.bool() {
                true => self.remove_folder(),
                false => self.leave_out_or_take_in(),
            },
            99 => self.copy_or_put_back(),
            _ => unreachable!("of a hundred"),
        }
    }

    /// A process starts, as often as it takes: the power may go while it does.
    #[expect(clippy::too_many_lines, reason = "a start, and what follows from each way in which it is refused")]
    fn start(&mut self) {
        let staging = loop {
            match Steps::open(Arc::new(self.disk.clone()), self.limits) {
                Ok((steps, backlog, run_state)) => break Staging { steps, backlog, run_state },
                Err(error) => {
                    assert!(
                        !self.disk.has_power()
                            || error.message.contains("has failed")
                            || error.message.contains("no storage space"),
                        "{error:?}"
                    );
                    self.disk.lose_power();
                }
            }
        };
        let names: Vec<_> = (0..TABLES).map(|number| format!("t{number}")).collect();
        if staging.run_state.register_tables(&names).is_err() {
            self.disk.lose_power();
            return self.start();
        }
        let process = match Process::start(staging, self.seed, self.settings.clone()) {
            Ok(process) => process,
            Err(refusal) => {
                match refusal {
                    Refusal::OlderCopy => {
                        // As the hint says.
                        self.counts.older_copies_refused += 1;
                        self.disk.remove_all();
                    }
                    Refusal::OlderTarget => {
                        self.counts.targets_restored_too_far += 1;
                        self.is_put_back = false;
                        self.disk.remove_all();
                    }
                    Refusal::Disk => self.disk.lose_power(),
                }
                return self.start();
            }
        };
        let (run_state, progress) = (&process.staging.run_state, process.lease.progress());
        // What the start of a run does: a folder that knows nothing gets a changefeed that begins where the target stands.
        if refuse_restored_target(run_state.released(), progress).is_err() {
            // As the hint says.
            self.counts.targets_restored_too_far += 1;
            self.is_put_back = false;
            drop(process);
            self.disk.remove_all();
            return self.start();
        }
        let mut established = Ok(());
        if run_state.is_fresh() {
            let mut database = lock(&self.database);
            // What was staged of it is gone, and will not be sent again.
            database.left = database.left.map(|left| left.min(progress.applied));
            self.feed.begin_anew(&database.source, progress.applied);
            established = run_state.begin(progress.applied);
        } else if self.is_put_back {
            let complete = progress.applied.max(run_state.resolved());
            let leaves_out = self.bounds.up_to.is_some();
            self.feed.go_on(&lock(&self.database).source, complete, leaves_out);
            self.feed.resolved = run_state.resolved();
        }
        run_state.limit([(table_id(LEFT), self.bounds)].into_iter());
        let mut process = process;
        let Process { applier, lease, staging, .. } = &mut process;
        let established = established
            .and_then(|()| applier.holder.mark_established(&mut lease.session, progress).map(drop))
            .and_then(|()| applier.holder.note_established(true))
            .and_then(|()| staging.run_state.mark_established());
        if established.is_err() {
            self.disk.lose_power();
            return self.start();
        }
        self.is_put_back = false;
        process.staging.backlog.release(process.lease.applied());
        self.process = Some(process);
    }

    fn crash(&mut self, why: &str) {
        self.say(why);
        self.counts.crashes += 1;
        self.process = None;
        self.disk.lose_power();
        self.start();
    }

    fn deliver(&mut self) {
        let mut rng = self.rng.fork();
        let database = Arc::clone(&self.database);
        let batches: Vec<Vec<usize>> = {
            let database = lock(&database);
            (0..rng.usize(1..4)).map(|_| self.feed.batch(&database.source, &mut rng)).collect()
        };
        let encoded: Vec<_> = {
            let source = &lock(&database).source;
            batches.iter().map(|batch| encode(batch.iter().map(|&at| &source.rows[at]))).collect()
        };
        self.say(&format!("deliver {batches:?}"));
        if self.write(&encoded.iter().collect::<Vec<_>>(), None) {
            batches.iter().flatten().for_each(|&at| self.feed.acknowledged[at] = true);
        }
    }

    fn resolve(&mut self) {
        let mut rng = self.rng.fork();
        let database = Arc::clone(&self.database);
        let resolved = self.feed.resolved(&lock(&database).source, &mut rng);
        self.say(&format!("resolve {resolved}"));
        if self.write(&[], Some(resolved)) {
            self.feed.resolved = self.feed.resolved.max(resolved);
        }
        assert!(
            self.staging().run_state.resolved() >= self.feed.resolved,
            "a resolved timestamp that was acknowledged is lost"
        );
    }

    /// Whether it was acknowledged.
    fn write(&mut self, batches: &[&ebb::stage::RowBatch], resolved: Option<Timestamp>) -> bool {
        loop {
            match self.staging().steps.write(batches, resolved) {
                Ok(()) => return true,
                Err(NotWritten::Behind) => {
                    self.compact();
                    // It may have been its end.
                    if !self.disk.has_power() {
                        return false;
                    }
                }
                Err(NotWritten::Full(_)) => {
                    self.counts.full += 1;
                    return false;
                }
                Err(NotWritten::Late(late)) => {
                    assert!(late.at <= late.forgotten, "a repeat is taken for a late row: {late}");
                    self.counts.repeats_of_forgotten_rows += 1;
                    // The run ends, and the folder is moved aside, as the error says.
                    self.disk.remove_all();
                    self.crash("a forgotten row was repeated");
                    return false;
                }
                Err(NotWritten::Failed(_)) => {
                    self.counts.failed_syncs += u64::from(self.disk.has_power());
                    self.crash("a write has failed");
                    return false;
                }
            }
        }
    }

    fn compact(&mut self) {
        self.say("compact");
        if self.staging().steps.compact().is_err() {
            self.crash("compaction has failed");
        }
    }

    fn apply(&mut self) {
        let process = self.process.as_mut().expect("a process runs");
        let resolved = process.staging.backlog.resolved();
        let outcome = process.applier.apply_up_to(&mut process.lease, resolved);
        self.say(&format!("apply up to {resolved}: {outcome:?}"));
        match outcome {
            Ok(()) => assert!(self.database().progress.applied >= resolved),
            Err(error) => {
                assert!(!self.disk.has_power(), "{error:?}");
                self.crash("reading has failed");
            }
        }
    }

    /// Another process takes the feed over: this one must not write any more.
    fn steal(&mut self) {
        self.say("another process takes over");
        self.database().progress.epoch += 1;
        self.counts.take_overs += 1;
        let before = self.database().rows.clone();
        let process = self.process.as_mut().expect("a process runs");
        let resolved = process.staging.backlog.resolved();
        let is_behind = process.lease.progress().applied < resolved;
        let outcome = process.applier.apply_up_to(&mut process.lease, resolved);
        assert_eq!(self.database().rows, before, "a process that was overtaken has written");
        assert!(outcome.is_err() || !is_behind, "a process that was overtaken did not notice");
        self.crash("it ends");
    }

    /// A row that was promised not to come any more must be refused, whatever has become of its neighbours.
    fn deliver_late(&mut self) {
        let resolved = self.staging().run_state.resolved();
        if resolved == Timestamp::ZERO || !self.disk.has_power() {
            return;
        }
        let at = Timestamp { wall: self.rng.i64(1..=resolved.wall), logical: i32::MAX };
        let at = if at <= resolved { at } else { Timestamp { wall: resolved.wall - 1, logical: i32::MAX } };
        let row = crate::source::Row { at, table: 0, key: 999, value: Some(1) };
        self.say(&format!("late row {row:?}"));
        match self.staging().steps.write(&[&encode([row].iter())], None) {
            Err(NotWritten::Late(late)) => {
                assert_eq!((late.at, late.key.as_str()), (at, "[999]"));
                self.counts.late_rows += 1;
            }
            // The power has gone in the middle, or there was no room to begin with.
            Err(NotWritten::Failed(_)) => self.crash("a write has failed"),
            Err(NotWritten::Full(_) | NotWritten::Behind) => {}
            Ok(()) => panic!("a row that came too late was taken"),
        }
    }

    /// Without faults everything must arrive.
    fn settle(&mut self) {
        self.say("settle");
        // Rows of one resolved timestamp may be more than a small folder takes; then somebody raises the limit.
        self.limits.disk_bytes_max = u64::MAX;
        self.database().faults = 0;
        self.crash("a last start");
        let database = Arc::clone(&self.database);
        while !self.feed.is_done(&lock(&database).source) {
            self.deliver();
        }
        let now = self.database().source.now();
        assert!(self.write(&[], Some(now)));
        self.apply();
        let database = self.database();
        assert_eq!(database.progress.applied, now);
        database.check();
    }

    fn staging(&self) -> &Staging {
        &self.process.as_ref().expect("a process runs").staging
    }

    fn database(&self) -> MutexGuard<'_, Database> {
        lock(&self.database)
    }

    fn say(&self, what: &str) {
        if self.tell {
            println!("{what}");
        }
    }
}

fn lock(database: &Mutex<Database>) -> MutexGuard<'_, Database> {
    database.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
