//! One changefeed job: scan, then changes in the order of their commits, checkpoints, resolved timestamps; and when
//! something fails, everything again from the last checkpoint.
//!
//! Invariant: high water ≤ every resolved timestamp that may still be sent ≤ everything that has been acknowledged.
//! Does not own: requests (`sink`), and who starts and ends jobs (`jobs`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};
use tokio_postgres::Row;

use crate::Shared;
use crate::encode::Encoding;
use crate::faults::Fault;
use crate::history::{History, Position, Tick, Version, decimal, describe};
use crate::http::{Connection, Endpoint};
use crate::message::{self, Message, MessageFields};
use crate::options::{self, Changefeed, Scan, WrittenOptions};
use crate::sink::{Post, Sink};
use crate::{disorder, jobs, schema};

const POLL: Duration = Duration::from_millis(10);
const PAGE_ROWS_MAX: i64 = 1000;
const RECENT_MESSAGES_MAX: usize = 1000;
const REPLAY_ROWS: u32 = 100;

/// A job as it stands in the table, with its options understood.
pub(crate) struct Job {
    pub(crate) id: i64,
    relations: Vec<u32>,
    topics: Vec<String>,
    start_tick: Tick,
    high_water: Option<Tick>,
    sink: String,
    changefeed: Changefeed,
}

pub(crate) enum Outcome {
    Succeeded,
    /// No retry can mend it.
    Failed(String),
}

/// Why a run of the feed has ended before its end.
enum Stop {
    Transient(String),
    Terminal(String),
    /// An injected restart: from this tick, leaving out every second version up to the other.
    Replay {
        from: Tick,
        gaps_until: Tick,
    },
}

impl From<tokio_postgres::Error> for Stop {
    fn from(error: tokio_postgres::Error) -> Stop {
        Stop::Transient(describe(&error))
    }
}

impl Job {
    pub(crate) fn read(row: &Row, shared: &Shared) -> Result<Job, String> {
        let spec: Value = serde_json::from_str(row.get("spec")).map_err(|error| error.to_string())?;
        let options: WrittenOptions =
            serde_json::from_value(spec["options"].clone()).map_err(|error| error.to_string())?;
        Ok(Job {
            id: row.get("id"),
            relations: row.get("relations"),
            topics: row.get("topics"),
            start_tick: row.get("start_tick"),
            high_water: row.get("high_water"),
            sink: spec["sink"].as_str().unwrap_or_default().to_owned(),
            changefeed: options::check(&options, &shared.version).map_err(|failure| failure.message)?,
        })
    }

    fn topic(&self, relation: u32) -> &str {
        let at = self.relations.iter().position(|candidate| *candidate == relation);
        at.and_then(|at| self.topics.get(at)).map_or("", String::as_str)
    }
}

/// Runs until there is nothing more to do. The caller ends it earlier by dropping it.
pub(crate) async fn run(shared: &Arc<Shared>, database: &str, mut job: Job) -> Outcome {
    let mut backoff = shared.options.restart_backoff;
    let mut replay = None;
    loop {
        let high_water = job.high_water;
        match attempt(shared, database, &mut job, replay.take()).await {
            Ok(()) => return Outcome::Succeeded,
            Err(Stop::Terminal(error)) => return Outcome::Failed(error),
            Err(Stop::Replay { from, gaps_until }) => replay = Some((from, gaps_until)),
            Err(Stop::Transient(error)) => {
                // As CockroachDB's newer releases do, progress makes the next wait short again.
                if job.high_water > high_water {
                    backoff = shared.options.restart_backoff;
                }
                jobs::note(shared, database, job.id, &format!("transient error: {error}")).await;
                sleep(backoff).await;
                backoff = (backoff * 2).min(shared.options.restart_backoff_max);
            }
        }
    }
}

async fn attempt(
    shared: &Arc<Shared>,
    database: &str,
    job: &mut Job,
    replay: Option<(Tick, Tick)>,
) -> Result<(), Stop> {
    let endpoint = Endpoint::new(&job.sink, &job.changefeed).map_err(|failure| Stop::Terminal(failure.message))?;
    let endpoint = Arc::new(endpoint);
    let history = History::new(schema::connect(&shared.backend, database).await?);
    let workers = sink_io_workers(shared, &history).await?;
    let sink = Sink::start(&endpoint, &job.changefeed, workers, &shared.faults);
    let Changefeed { retry, compression, .. } = job.changefeed;
    let run = Run {
        shared,
        sink,
        history,
        resolved_connection: Connection::new(endpoint),
        post: Post { retry, compression, faults: Arc::clone(&shared.faults) },
        recent: VecDeque::new(),
        last_resolved: None,
        last_checkpoint: None,
        gaps_until: replay.map_or(Tick::MIN, |(_, until)| until),
        job,
    };
    run.run(replay.map(|(from, _)| from)).await
}

/// The cluster setting, where it is set, stands above the option of the stand-in.
async fn sink_io_workers(shared: &Shared, history: &History) -> Result<usize, Stop> {
    let sql = "SELECT crdb_internal.cluster_setting('changefeed.sink_io_workers', '0')::int8";
    let workers: i64 = history.client.query_one(sql, &[]).await?.get(0);
    Ok(usize::try_from(workers).ok().filter(|workers| *workers > 0).unwrap_or(shared.options.sink_io_workers))
}

struct Run<'a> {
    shared: &'a Arc<Shared>,
    job: &'a mut Job,
    history: History,
    sink: Sink,
    /// Resolved timestamps come from another node than the rows, over a connection of its own.
    resolved_connection: Connection,
    post: Post,
    /// For duplicates.
    recent: VecDeque<Message>,
    last_resolved: Option<Tick>,
    last_checkpoint: Option<Instant>,
    gaps_until: Tick,
}

impl Run<'_> {
    async fn run(mut self, from: Option<Tick>) -> Result<(), Stop> {
        if self.job.high_water.is_none() && self.job.changefeed.scan != Scan::No {
            self.scan().await?;
            self.checkpoint(self.job.start_tick).await?;
            if self.job.changefeed.scan == Scan::Only {
                return Ok(());
            }
        }
        let mut position = from.or(self.job.high_water).unwrap_or(self.job.start_tick);
        loop {
            self.take_injected_faults().await?;
            let mut until = self.history.resolve().await?;
            let ending = self.history.ending(&self.job.relations, self.job.start_tick).await?;
            if let Some((tick, _)) = ending {
                // What a TRUNCATE removes is not told as deletes.
                until = tick - 1;
            }
            let rekeyed = self.history.rekeyed(&self.job.relations, position, until).await?;
            until = rekeyed.unwrap_or(until);
            self.send_changes(position, until).await?;
            position = until;
            let is_due = self.last_checkpoint.is_none_or(|last| last.elapsed() >= self.job.changefeed.min_checkpoint);
            if is_due || ending.is_some() || rekeyed.is_some() {
                self.checkpoint(until).await?;
            }
            if let Some(tick) = rekeyed {
                return Err(Stop::Transient(format!("schema change occurred at {}", decimal(tick))));
            }
            if let Some((_, reason)) = ending {
                return Err(Stop::Terminal(reason));
            }
            self.sink.check().map_err(Stop::Transient)?;
            self.replay_if_injected(position).await?;
            sleep(POLL).await;
        }
    }

    /// The tables as they were when the feed was made. All rows carry that time.
    async fn scan(&mut self) -> Result<(), Stop> {
        let at = self.job.start_tick;
        for relation in self.job.relations.clone() {
            let mut key = Vec::new();
            loop {
                let page = self.history.scan(relation, &key, at, PAGE_ROWS_MAX).await?;
                let Some(last) = page.last() else { break };
                key = last.key.clone();
                for version in page.iter().filter(|version| version.after.is_some()) {
                    let message = self.encode(version, at)?;
                    self.sink.emit(message).await.map_err(Stop::Transient)?;
                }
            }
        }
        Ok(())
    }

    async fn send_changes(&mut self, from: Tick, until: Tick) -> Result<(), Stop> {
        let mut position = Position::after(from);
        loop {
            let diff = self.job.changefeed.diff;
            let page = self.history.changes(&self.job.relations, &position, until, diff, PAGE_ROWS_MAX).await?;
            let Some(last) = page.last() else { return Ok(()) };
            position = Position::of(last);
            self.send_page(page).await?;
        }
    }

    async fn send_page(&mut self, mut page: Vec<Version>) -> Result<(), Stop> {
        let gaps_until = self.gaps_until;
        let mut is_gap = false;
        page.retain(|version| {
            is_gap = !is_gap && version.tick <= gaps_until;
            !is_gap
        });
        if page.is_empty() {
            return Ok(());
        }
        if self.shared.faults.take(Fault::Reversed, 0).is_some() {
            page = disorder::reverse(page);
        }
        let mut messages =
            page.iter().map(|version| self.encode(version, version.tick)).collect::<Result<Vec<_>, _>>()?;
        let repeats = match self.shared.faults.take(Fault::Duplicates, 0) {
            Some(_) => disorder::repeats(&messages, &self.recent),
            None => Vec::new(),
        };
        self.recent.extend(messages.iter().cloned());
        self.recent.drain(..self.recent.len().saturating_sub(RECENT_MESSAGES_MAX));
        messages.extend(repeats);
        for message in messages {
            self.sink.emit(message).await.map_err(Stop::Transient)?;
        }
        Ok(())
    }

    fn encode(&self, version: &Version, updated: Tick) -> Result<Message, Stop> {
        let changefeed = &self.job.changefeed;
        let spelling = message::spelling(self.shared.version.has_compact_json());
        let form = MessageFields {
            encoding: Encoding { spelling, null_objects: changefeed.null_objects },
            has_before: changefeed.diff,
            has_updated: changefeed.updated,
            has_mvcc_timestamp: changefeed.mvcc_timestamp,
        };
        Message::new(version, self.job.topic(version.relation), updated, form).map_err(Stop::Terminal)
    }

    /// Waits until all that was emitted has been acknowledged, keeps that, and only then says so.
    async fn checkpoint(&mut self, tick: Tick) -> Result<(), Stop> {
        self.sink.flush().await.map_err(Stop::Transient)?;
        let high_water = self.job.high_water.map_or(tick, |high_water| high_water.max(tick));
        let sql = "UPDATE crdb_internal.job SET high_water = $2, running_status = CASE WHEN status <> 'running' THEN running_status END, modified = clock_timestamp() WHERE id = $1";
        self.history.client.execute(sql, &[&self.job.id, &high_water]).await?;
        self.job.high_water = Some(high_water);
        self.last_checkpoint = Some(Instant::now());
        let Some(distance) = self.job.changefeed.resolved else { return Ok(()) };
        let distance = Tick::try_from(distance.as_nanos()).unwrap_or(Tick::MAX);
        if self.last_resolved.is_none_or(|last| tick - last >= distance) {
            self.send_resolved(tick).await?;
        }
        Ok(())
    }

    async fn send_resolved(&mut self, tick: Tick) -> Result<(), Stop> {
        if self.shared.faults.take(Fault::ResolvedHeld, 0).is_some() {
            self.last_resolved = Some(tick);
            return Ok(());
        }
        let mut sequence = vec![tick];
        if self.shared.faults.take(Fault::ResolvedRepeated, 0).is_some() {
            sequence.push(tick);
        }
        if let Some(last) = self.last_resolved
            && self.shared.faults.take(Fault::ResolvedBack, 0).is_some()
        {
            sequence.push(last);
        }
        for tick in sequence {
            let body = message::resolved(tick).to_vec();
            self.post.send(&mut self.resolved_connection, body).await.map_err(Stop::Transient)?;
        }
        self.last_resolved = Some(tick);
        Ok(())
    }

    /// Faults injected by SQL stand in a table, and are taken before the clock is asked: a fault injected before a
    /// change meets that change.
    async fn take_injected_faults(&self) -> Result<(), Stop> {
        let rows =
            self.history.client.query("DELETE FROM crdb_internal.fault RETURNING kind, count, amount", &[]).await?;
        for row in rows {
            let (kind, count, amount): (&str, i32, Option<i32>) = (row.get(0), row.get(1), row.get(2));
            match Fault::parse(kind) {
                Some(fault) => {
                    let amount = amount.and_then(|amount| amount.try_into().ok());
                    self.shared.faults.inject(fault, count.try_into().unwrap_or(0), amount);
                }
                None => self.shared.faults.clear(),
            }
        }
        Ok(())
    }

    async fn replay_if_injected(&mut self, position: Tick) -> Result<(), Stop> {
        // Without a checkpoint nothing is known to be acknowledged.
        let Some(high_water) = self.job.high_water else { return Ok(()) };
        let Some(rows) = self.shared.faults.take(Fault::Replay, REPLAY_ROWS) else { return Ok(()) };
        let back = self.history.back(&self.job.relations, position, i64::from(rows)).await?;
        // The time of the feed's start is excluded, as the cursor is.
        let from = back.map_or(high_water, |tick| (tick - 1).min(high_water)).max(self.job.start_tick);
        Err(Stop::Replay { from, gaps_until: high_water })
    }
}
