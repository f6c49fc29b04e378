//! What the pages say now: rendered when somebody asks, shared by whoever asks at the same time, and told every second to
//! whoever listens.
//!
//! Owns: how old an answer may be, and the streams of events. Does not own: the renderings (`json`, `prometheus`, `page`).

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::Run;
use super::connections::Connection;
use crate::status::page::{Facts, TableRates};
use crate::status::{Snapshot, json, page, prometheus};

/// Answers within this time are the same, so that a flood of requests costs ten renderings a second.
pub(super) const FRESH_FOR: Duration = Duration::from_millis(100);
const EVENT_INTERVAL: Duration = Duration::from_secs(1);
/// At once; beyond it the oldest gives way.
const STREAMS_MAX: usize = 8;
/// Events that wait for a client. One that does not take them misses some.
const EVENTS_MAX: usize = 2;
/// A client that has missed so many reads no more.
const MISSED_MAX: u32 = 15;
/// How long a browser waits before it asks again.
const AGAIN: &str = "retry: 5000\n\n";

pub(super) struct Live {
    run: Run,
    moment: Mutex<Option<Arc<Moment>>>,
    /// With how many samples it was rendered.
    trend: Mutex<Option<(u64, Bytes)>>,
    rates: Mutex<TableRates>,
    streams: Mutex<VecDeque<Stream>>,
}

/// One snapshot, rendered once for each form that is asked for.
pub(super) struct Moment {
    taken: Instant,
    pub(super) snapshot: Snapshot,
    status: OnceLock<Bytes>,
    metrics: OnceLock<Bytes>,
    history: OnceLock<Bytes>,
    facts: OnceLock<Facts>,
    html: OnceLock<Bytes>,
}

struct Stream {
    events: mpsc::Sender<Bytes>,
    missed: u32,
}

impl Live {
    pub(super) fn new(run: Run) -> Self {
        let (moment, trend, rates, streams) = Default::default();
        Self { run, moment, trend, rates, streams }
    }

    pub(super) fn moment(&self) -> Arc<Moment> {
        let mut moment = self.moment.lock();
        match moment.as_ref().filter(|moment| moment.taken.elapsed() < FRESH_FOR) {
            Some(moment) => Arc::clone(moment),
            None => Arc::clone(moment.insert(Arc::new(Moment::of(self.run.snapshot())))),
        }
    }

    pub(super) fn html(&self) -> Bytes {
        let moment = self.moment();
        moment.html.get_or_init(|| page::html(self.facts(&moment)).into()).clone()
    }

    /// `/_/trend`.
    pub(super) fn trend(&self) -> Bytes {
        let hour = self.run.status.hour();
        let mut trend = self.trend.lock();
        match trend.as_ref().filter(|(taken, _)| *taken == hour.taken()) {
            Some((_, text)) => text.clone(),
            None => trend.insert((hour.taken(), hour.json().to_string().into())).1.clone(),
        }
    }

    /// `/_/history`.
    pub(super) fn history(&self) -> Bytes {
        let moment = self.moment();
        moment.history.get_or_init(|| json::history(&self.run.status.history).into()).clone()
    }

    /// `/_/events`: the state now, and again every second.
    pub(super) fn listen(&self, connection: Arc<Connection>) -> Events {
        let (events, coming) = mpsc::channel(EVENTS_MAX);
        let _ = events.try_send(Bytes::from(format!("{AGAIN}{}", self.event())));
        let mut streams = self.streams.lock();
        streams.retain(|stream| !stream.events.is_closed());
        streams.push_back(Stream { events, missed: 0 });
        if streams.len() > STREAMS_MAX {
            streams.pop_front();
        }
        Events { coming, connection }
    }

    /// Tells every second, for ever.
    pub(super) async fn tell(&self) {
        let mut ticks = tokio::time::interval(EVENT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.rates.lock().add(&self.moment().snapshot);
            if self.streams.lock().is_empty() {
                continue;
            }
            let event = Bytes::from(self.event());
            self.streams.lock().retain_mut(|stream| stream.take(&event));
        }
    }

    fn facts<'m>(&self, moment: &'m Moment) -> &'m Facts {
        moment.facts.get_or_init(|| Facts::of(&moment.snapshot, &self.run.status.hour(), &self.rates.lock()))
    }

    fn event(&self) -> String {
        format!("data: {}\n\n", self.facts(&self.moment()).json())
    }
}

impl Moment {
    fn of(snapshot: Snapshot) -> Self {
        let (status, metrics, history, facts, html) = Default::default();
        Self { taken: Instant::now(), snapshot, status, metrics, history, facts, html }
    }

    pub(super) fn status(&self) -> Bytes {
        self.status.get_or_init(|| json::text(&self.snapshot).into()).clone()
    }

    pub(super) fn metrics(&self) -> Bytes {
        self.metrics.get_or_init(|| prometheus::text(&self.snapshot).into()).clone()
    }
}

impl Stream {
    /// Whether somebody still reads it.
    fn take(&mut self, event: &Bytes) -> bool {
        match self.events.try_send(event.clone()) {
            Ok(()) => self.missed = 0,
            Err(mpsc::error::TrySendError::Full(_)) => self.missed += 1,
            Err(mpsc::error::TrySendError::Closed(_)) => return false,
        }
        self.missed < MISSED_MAX
    }
}

/// What one client is told.
pub(super) struct Events {
    coming: mpsc::Receiver<Bytes>,
    connection: Arc<Connection>,
}

impl Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.coming.poll_recv(context).map(|event| {
            let event = event?;
            self.connection.is_heard();
            Some(Ok(Frame::data(event)))
        })
    }
}
