//! Rounds of faults while an application works at the source and an observer looks at the target all the time.
//!
//! Owns: the faults and their schedule, chosen by a seed; what must hold. Does not own: what the application does
//! (`workloads`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ebb_crdb::Fault;
use ebb_servers::{Cut, Signal};
use fastrand::Rng;

use super::client::Client;
use super::workloads::Workload;
use super::world::{Dialect, Ebb, World, wait_for};

/// After so many rounds everything is awaited and compared.
const ROUNDS_TO_COMPARISON: u32 = 10;

/// What may happen in a round.
const KINDS: [Kind; 8] = [
    Kind::KillEbb,
    Kind::EndEbb,
    Kind::KillTarget,
    Kind::CutBeforeCommit,
    Kind::CutAfterCommit,
    Kind::CutConnections,
    Kind::SecondEbb,
    Kind::Feed,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    KillEbb,
    EndEbb,
    KillTarget,
    CutBeforeCommit,
    CutAfterCommit,
    CutConnections,
    /// The first is stopped, a second takes over, the first wakes.
    SecondEbb,
    /// The changefeed repeats itself, goes back, loses answers.
    Feed,
}

const FEED_FAULTS: [(Fault, u32, Option<u32>); 9] = [
    (Fault::AnswerLost, 2, None),
    (Fault::CutMidBody, 2, None),
    (Fault::Replay, 1, Some(200)),
    (Fault::Duplicates, 2, None),
    (Fault::Slow, 2, Some(200)),
    (Fault::ResolvedRepeated, 2, None),
    (Fault::ResolvedBack, 2, None),
    (Fault::Reversed, 3, None),
    (Fault::ExtraFields, 2, None),
];

/// What was done and seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub rounds: u32,
    pub faults: BTreeMap<Kind, u32>,
    pub transactions: u64,
    pub rows: u64,
    pub comparisons: u32,
    pub looks: u64,
}

/// One world under one workload.
pub(crate) struct Chaos {
    world: Arc<World>,
    workload: &'static Workload,
    seed: u64,
    rng: Rng,
    ebb: Option<Ebb>,
    /// The folder of the process that has the feed; every take-over makes another.
    folder: u32,
    application: Application,
    observer: Observer,
    report: Report,
}

impl Chaos {
    pub(crate) fn start(dialect: Dialect, name: &str, workload: &'static Workload, seed: u64) -> Self {
        let world = Arc::new(World::with_own_target(dialect, name, workload.source, workload.target));
        let ebb = Some(world.fetch(&[]).ready());
        world.source(workload.fill);
        let application = Application::start(&world, workload, seed);
        let observer = Observer::start(dialect, &world, workload);
        Self {
            world,
            workload,
            seed,
            rng: Rng::with_seed(seed),
            ebb,
            folder: 0,
            application,
            observer,
            report: Report::default(),
        }
    }

    /// One fault, and work before and after it.
    pub(crate) fn round(&mut self) {
        // Every kind once before any comes again.
        let at = self.report.rounds as usize % KINDS.len();
        let kind =
            if (self.report.rounds as usize) < KINDS.len() { KINDS[at] } else { self.rng.choice(KINDS).expect("one") };
        thread::sleep(Duration::from_millis(self.rng.u64(20..150)));
        self.ebb.as_mut().expect("it runs").must_run();
        self.fault(kind);
        self.report.rounds += 1;
        *self.report.faults.entry(kind).or_default() += 1;
        self.observer.check(self.seed, &self.report, self.ebb.as_ref());
        if self.report.rounds.is_multiple_of(ROUNDS_TO_COMPARISON) {
            self.compare();
        }
    }

    /// Waits until everything has arrived, and compares both sides row by row.
    pub(crate) fn compare(&mut self) {
        self.application.pause();
        let ebb = self.ebb.as_mut().expect("it runs");
        ebb.must_run();
        self.world.wait_equal(ebb, self.workload.tables);
        self.report.comparisons += 1;
        self.application.go_on();
    }

    /// Ends everything in order and says what was done.
    pub(crate) fn finish(mut self) -> Report {
        self.compare();
        self.observer.check(self.seed, &self.report, self.ebb.as_ref());
        self.report.transactions = self.application.end();
        self.report.looks = self.observer.end();
        let ebb = self.ebb.take().expect("it runs");
        self.report.rows = 0;
        for table in self.workload.tables {
            self.report.rows +=
                self.world.target(&format!("SELECT count(*) FROM {table}")).parse::<u64>().expect("a number");
        }
        ebb.stop();
        self.report
    }

    fn fault(&mut self, kind: Kind) {
        match kind {
            Kind::KillEbb => {
                self.ebb.take().expect("it runs").kill9();
                self.restart();
            }
            Kind::EndEbb => {
                self.ebb.take().expect("it runs").stop();
                self.restart();
            }
            Kind::KillTarget => {
                let mut server = self.world.server();
                server.kill9().expect("the target can be killed");
                thread::sleep(Duration::from_millis(self.rng.u64(0..400)));
                server.restart().expect("the target starts again");
            }
            Kind::CutBeforeCommit => self.cut(Cut::BeforeCommit),
            Kind::CutAfterCommit => self.cut(Cut::AfterCommit),
            Kind::CutConnections => self.world.proxy().cut_all(),
            Kind::SecondEbb => self.second(),
            Kind::Feed => {
                let (fault, count, amount) = self.rng.choice(FEED_FAULTS).expect("one of them");
                self.world.inject(fault, count, amount);
            }
        }
    }

    fn restart(&mut self) {
        self.ebb = Some(self.world.fetch(&["--replicator-flags", &self.flags("")]));
    }

    fn flags(&self, more: &str) -> String {
        let folder = self.world.dir().join(format!("staging-{}", self.folder));
        format!(
            "--stagingSchema _replicator_1 -v {more} {}",
            if self.folder > 0 { format!("--staging-dir {}", folder.display()) } else { String::new() }
        )
    }

    fn cut(&self, cut: Cut) {
        let proxy = self.world.proxy();
        proxy.cut_next(cut);
        let ebb = self.ebb.as_ref().expect("it runs");
        wait_for("a COMMIT to cut", || ebb.log(), || !proxy.is_waiting());
    }

    fn second(&mut self) {
        let mut first = self.ebb.take().expect("it runs");
        // Only a process that has taken the feed over can be overtaken.
        let has_begun = |log: &str| {
            ["using the running changefeed", "changefeed created", "resumed the paused"]
                .iter()
                .any(|line| log.contains(line))
        };
        wait_for("the first to begin", || first.log(), || has_begun(&first.log()));
        first.signal(Signal::STOP);
        self.folder += 1;
        let mut second = self.world.fetch(&["--replicator-flags", &self.flags("--take-over --bindAddr 127.0.0.1:0")]);
        second.wait_line("changefeed created");
        first.signal(Signal::CONT);
        let status = first.wait();
        assert_eq!(status.code(), Some(1), "{}", first.log());
        let log = first.log();
        assert!(log.contains("has taken over") || log.contains("changefeed"), "{log}");
        // The second one listens elsewhere; the next takes its place.
        second.stop();
        self.restart();
    }
}

/// The application at the source: one session, one transaction after the other.
struct Application {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    is_paused: AtomicBool,
    is_ended: AtomicBool,
    is_idle: AtomicBool,
    transactions: AtomicU64,
}

impl Application {
    fn start(world: &Arc<World>, workload: &'static Workload, seed: u64) -> Self {
        let state = Arc::<State>::default();
        let (url, shared) = (world.source_url(), Arc::clone(&state));
        let thread = thread::spawn(move || {
            let mut rng = Rng::with_seed(seed ^ 0x5eed);
            let mut session = Client::connect(Dialect::Postgres, &url);
            let mut number = 0;
            while !shared.is_ended.load(Ordering::SeqCst) {
                if shared.is_paused.load(Ordering::SeqCst) {
                    shared.is_idle.store(true, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(5));
                    continue;
                }
                shared.is_idle.store(false, Ordering::SeqCst);
                let sql = format!("BEGIN; {}; COMMIT", (workload.transaction)(&mut rng, number));
                number += 1;
                if session.ask(&sql).is_none() {
                    session = Client::connect(Dialect::Postgres, &url);
                }
                shared.transactions.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { state, thread: Some(thread) }
    }

    fn pause(&self) {
        self.state.is_paused.store(true, Ordering::SeqCst);
        while !self.state.is_idle.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn go_on(&self) {
        self.state.is_idle.store(false, Ordering::SeqCst);
        self.state.is_paused.store(false, Ordering::SeqCst);
    }

    fn end(&mut self) -> u64 {
        self.state.is_ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the application does not panic");
        }
        self.state.transactions.load(Ordering::SeqCst)
    }
}

/// Looks at the target, many times a second, each time in one snapshot.
struct Observer {
    shared: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    is_ended: AtomicBool,
    looks: AtomicU64,
    violation: Mutex<Option<String>>,
}

impl Observer {
    fn start(dialect: Dialect, world: &Arc<World>, workload: &'static Workload) -> Self {
        let shared = Arc::<Seen>::default();
        let (url, seen) = (world.server().url(world.database()), Arc::clone(&shared));
        let thread = thread::spawn(move || {
            let mut session = Client::connect(dialect, &url);
            while !seen.is_ended.load(Ordering::SeqCst) {
                match session.ask(workload.invariant) {
                    Some(answer) if answer == "ok" => drop(seen.looks.fetch_add(1, Ordering::SeqCst)),
                    Some(answer) => *seen.violation.lock().expect("nobody panics with it") = Some(answer),
                    // The target was killed.
                    None => session = Client::connect(dialect, &url),
                }
                thread::sleep(Duration::from_millis(3));
            }
        });
        Self { shared, thread: Some(thread) }
    }

    fn check(&self, seed: u64, report: &Report, ebb: Option<&Ebb>) {
        if let Some(violation) = self.shared.violation.lock().expect("nobody panics with it").as_ref() {
            let log = ebb.map(Ebb::log).unwrap_or_default();
            panic!("{violation}\nseed {seed}\n{report}\n{log}");
        }
    }

    fn end(&mut self) -> u64 {
        self.shared.is_ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the observer does not panic");
        }
        self.shared.looks.load(Ordering::SeqCst)
    }
}

impl Report {
    #[cfg_attr(test, expect(dead_code, reason = "only long runs have several"))]
    pub(crate) fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.transactions += other.transactions;
        self.rows += other.rows;
        self.comparisons += other.comparisons;
        self.looks += other.looks;
        other.faults.iter().for_each(|(kind, count)| *self.faults.entry(*kind).or_default() += count);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<_> = self.faults.iter().map(|(kind, count)| format!("{kind:?} {count}")).collect();
        write!(
            f,
            "{} rounds ({}), {} source transactions, {} rows at the end, {} comparisons, {} looks at the target",
            self.rounds,
            faults.join(", "),
            self.transactions,
            self.rows,
            self.comparisons,
            self.looks
        )
    }
}
