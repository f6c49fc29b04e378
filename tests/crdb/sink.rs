//! The way of messages to the webhook: batches, several connections, retries of the same bytes.
//!
//! Requests whose keys have a hash in common are never under way together and go in order; others go side by side and
//! may arrive in any order. After one request has failed for good, nothing more is sent.
//! Does not own: what happens then (`feed`), and one attempt (`http`).

use std::collections::{HashSet, VecDeque};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::faults::{Fault, Faults};
use crate::http::{Connection, Endpoint, Spoil};
use crate::message::{self, Extra, Message};
use crate::options::{Changefeed, Compression};
use crate::sink_config::{Flush, Retry};

const QUEUE_MESSAGES_MAX: usize = 256;
const PENDING_BATCHES_MAX: usize = 64;
const BACKOFF_MAX: Duration = Duration::from_secs(30);
const SLOW_MS: u32 = 500;

pub(crate) struct Sink {
    commands: mpsc::Sender<Command>,
    task: JoinSet<Result<(), String>>,
}

enum Command {
    Emit(Message),
    /// Answered when everything emitted before has been accepted.
    Flush(oneshot::Sender<()>),
}

impl Sink {
    pub(crate) fn start(endpoint: &Arc<Endpoint>, feed: &Changefeed, workers: usize, faults: &Arc<Faults>) -> Sink {
        let (commands, queue) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let post = Post { retry: feed.retry, compression: feed.compression, faults: Arc::clone(faults) };
        let idle = (0..workers.max(1)).map(|_| Connection::new(Arc::clone(endpoint))).collect();
        let state = Dispatcher {
            post,
            flush: feed.flush,
            idle,
            batch: Batch::default(),
            pending: VecDeque::new(),
            in_flight: JoinSet::new(),
            busy_keys: HashSet::new(),
        };
        let mut task = JoinSet::new();
        task.spawn(state.run(queue));
        Sink { commands, task }
    }

    pub(crate) async fn emit(&mut self, message: Message) -> Result<(), String> {
        match self.commands.send(Command::Emit(message)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure().await),
        }
    }

    /// Returns when everything has been accepted.
    pub(crate) async fn flush(&mut self) -> Result<(), String> {
        let (done, answer) = oneshot::channel();
        let is_sent = self.commands.send(Command::Flush(done)).await.is_ok();
        if is_sent && answer.await.is_ok() { Ok(()) } else { Err(self.failure().await) }
    }

    /// The error that has ended the sink, if one has; for when there is nothing to emit.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        match self.task.try_join_next() {
            None => Ok(()),
            Some(Ok(Err(error))) => Err(error),
            Some(_) => Err("the sink has ended".to_owned()),
        }
    }

    async fn failure(&mut self) -> String {
        match self.task.join_next().await {
            Some(Ok(Err(error))) => error,
            _ => "the sink has ended".to_owned(),
        }
    }
}

#[derive(Default)]
struct Batch {
    messages: Vec<Message>,
    bytes: u64,
    /// When it must go even if it is not full.
    deadline: Option<Instant>,
}

impl Batch {
    fn keys(&self) -> HashSet<u32> {
        self.messages.iter().map(|message| message.key_hash).collect()
    }
}

struct Dispatcher {
    post: Post,
    flush: Flush,
    idle: Vec<Connection>,
    batch: Batch,
    pending: VecDeque<Batch>,
    in_flight: JoinSet<Done>,
    busy_keys: HashSet<u32>,
}

struct Done {
    connection: Connection,
    keys: HashSet<u32>,
    result: Result<(), String>,
}

impl Dispatcher {
    async fn run(mut self, mut queue: mpsc::Receiver<Command>) -> Result<(), String> {
        let mut waiting: Option<oneshot::Sender<()>> = None;
        loop {
            if self.pending.is_empty() && self.in_flight.is_empty() {
                // A feed that no longer waits has gone away, and this task with it.
                waiting.take().map(|done| done.send(()));
            }
            let deadline = self.batch.deadline;
            let has_room = waiting.is_none() && self.pending.len() < PENDING_BATCHES_MAX;
            tokio::select! {
                biased;
                // 1. What has been answered makes room.
                Some(done) = self.in_flight.join_next() => self.finish(done.map_err(|error| error.to_string())?)?,
                // 2. A batch that has waited long enough goes.
                () = until(deadline), if deadline.is_some() => self.close(),
                // 3. Only then is more taken.
                command = queue.recv(), if has_room => match command {
                    Some(Command::Emit(message)) => self.add(message),
                    Some(Command::Flush(done)) => {
                        self.close();
                        waiting = Some(done);
                    }
                    None => return Ok(()),
                },
            }
            self.dispatch();
        }
    }

    fn add(&mut self, message: Message) {
        let Flush { messages, bytes, frequency } = self.flush;
        if self.batch.messages.is_empty() && !frequency.is_zero() {
            self.batch.deadline = Some(Instant::now() + frequency);
        }
        self.batch.bytes += message.json.len() as u64;
        self.batch.messages.push(message);
        let is_immediate = self.flush == Flush::default();
        let has_enough = messages > 0 && self.batch.messages.len() as u64 >= messages;
        let is_large = bytes > 0 && self.batch.bytes >= bytes;
        if is_immediate || has_enough || is_large {
            self.close();
        }
    }

    fn close(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if !batch.messages.is_empty() {
            self.pending.push_back(batch);
        }
    }

    fn finish(&mut self, done: Done) -> Result<(), String> {
        done.result?;
        self.busy_keys.retain(|key| !done.keys.contains(key));
        self.idle.push(done.connection);
        Ok(())
    }

    /// Starts every pending batch that shares no key with one under way or one that must go before it.
    fn dispatch(&mut self) {
        let mut ahead = HashSet::new();
        let mut index = 0;
        while index < self.pending.len() && !self.idle.is_empty() {
            let keys = self.pending[index].keys();
            let is_free = keys.is_disjoint(&self.busy_keys) && keys.is_disjoint(&ahead);
            let next = if is_free { self.pending.remove(index).zip(self.idle.pop()) } else { None };
            match next {
                Some((batch, connection)) => {
                    self.busy_keys.extend(&keys);
                    self.in_flight.spawn(deliver(connection, batch, keys, self.post.clone()));
                }
                None => {
                    ahead.extend(keys);
                    index += 1;
                }
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn deliver(mut connection: Connection, batch: Batch, keys: HashSet<u32>, post: Post) -> Done {
    let extra = if post.faults.take(Fault::ExtraFields, 0).is_some() { Extra::Fields } else { Extra::Nothing };
    let result = post.send(&mut connection, message::batch(&batch.messages, extra)).await;
    Done { connection, keys, result }
}

/// How a body is brought to the receiver: packed once, sent until it is accepted or the retries are used up.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) retry: Retry,
    pub(crate) compression: Option<Compression>,
    pub(crate) faults: Arc<Faults>,
}

impl Post {
    pub(crate) async fn send(&self, connection: &mut Connection, body: Vec<u8>) -> Result<(), String> {
        let body = pack(body, self.compression).map_err(|error| error.to_string())?;
        let mut backoff = self.retry.backoff;
        let mut retries = 0;
        loop {
            if let Some(wait_ms) = self.faults.take(Fault::Slow, SLOW_MS) {
                sleep(Duration::from_millis(u64::from(wait_ms))).await;
            }
            let Err(error) = connection.post(body.clone(), self.spoil()).await else { return Ok(()) };
            if self.retry.max.is_some_and(|max| retries >= max) {
                return Err(error);
            }
            retries += 1;
            sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    fn spoil(&self) -> Spoil {
        if self.faults.take(Fault::AnswerLost, 0).is_some() {
            return Spoil::LoseAnswer;
        }
        if self.faults.take(Fault::CutMidBody, 0).is_some() { Spoil::CutBody } else { Spoil::Nothing }
    }
}

fn pack(body: Vec<u8>, compression: Option<Compression>) -> std::io::Result<Bytes> {
    let packed = match compression {
        None => body,
        Some(Compression::Gzip) => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&body)?;
            encoder.finish()?
        }
        Some(Compression::Zstd) => zstd::bulk::compress(&body, 1)?,
    };
    Ok(packed.into())
}
