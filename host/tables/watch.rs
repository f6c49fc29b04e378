//! Reads the primary keys of the source again while a run goes on, and follows ALTER PRIMARY KEY.
//!
//! Owns: of which time the keys are known, which `seen_keys` keeps. Does not own: what follows from a change (`key_changes`), when
//! one of them changed (`key_search`), which rows the target cannot tell apart (`told_apart`), reading rows by keys (`key`).
//!
//! A delete is known by nothing but its key, so that a window with deletes is applied only once the keys of its time are
//! known ([`KeyWatch::know`]). The source tells how a table was at any time that its garbage collection has left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ebb_sdk::{Catalog, Timestamp};
use tokio::sync::Mutex;

use super::key::KeyShape;
use super::key_changes::{is_lost, read_blindly, refuse_without_source, vanished, warn_of_misread};
use super::key_limit::KeyLimit;
use super::left_ends::LeftEnds;
use super::seen_keys::Seen;
use super::{Table, Tables};
use crate::code;
use crate::config;
use crate::error::{Error, Result};
use crate::lasting::{Lasting, for_so_long};
use crate::source::{Place, PrimaryKey, Source, may_pass};
use crate::stage::{RunState, TableId};

/// How long a source that does not answer is waited for, before rows are read by the keys that were known last.
const SOURCE_WAIT: Duration = Duration::from_secs(30);
const SOURCE_RETRY: Duration = Duration::from_secs(1);
/// After that wait it is asked no more often than this.
const SOURCE_REST: Duration = Duration::from_secs(10);
/// Between two looks that no row asks for; and how old what stands in the folder may become, in nanoseconds.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
const SAVE_NANOS: i64 = 30_000_000_000;
/// The clock of the node that is asked may be behind the one that wrote a row.
const CLOCK_WAIT: Duration = Duration::from_millis(20);
const CLOCK_WAIT_MAX: Duration = Duration::from_secs(5);
/// Of a look that no row asks for.
const NO_ROW: Timestamp = Timestamp { wall: i64::MAX, logical: i32::MAX };

/// See the module.
pub struct KeyWatch {
    /// `None` where the source is not known.
    source: Option<config::Source>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) tables: Arc<Tables>,
    pub(super) run_state: RunState,
    pub(super) case_sensitive: bool,
    /// The target's progress at the start, or where a new run begins; zero where that is not known.
    pub(super) applied: Timestamp,
    state: Mutex<State>,
    limit: KeyLimit,
    pub(super) left_ends: parking_lot::Mutex<LeftEnds>,
}

#[derive(Default)]
struct State {
    connection: Option<Source>,
    seen: Seen,
    given_up: Option<Instant>,
    /// What a look has found that has ended no run yet, since nobody waited for it.
    untold: Option<Error>,
    /// From the first time that it was given up.
    blind: Option<Lasting>,
    /// Until when the keys in the folder are known.
    saved: Timestamp,
}

/// Rows that are about to be handed out.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// No row is older.
    pub oldest: Timestamp,
    pub to: Timestamp,
    /// The tables whose rows need their key; all of them where that is not known.
    pub tables: Option<&'a [TableId]>,
}

/// The primary key of every table at one time.
pub(super) type Keys = BTreeMap<Place, PrimaryKey>;

/// Why keys could not be read.
pub(super) enum Failure {
    /// The source cannot be asked now.
    Unreachable(Error),
    Final(Error),
}

impl KeyWatch {
    /// Goes on from what the staging folder knows. `applied` is the target's progress: older rows do not matter any more.
    pub fn new(
        config: &config::Config,
        catalog: Arc<Catalog>,
        tables: Arc<Tables>,
        run_state: RunState,
        applied: Timestamp,
    ) -> Result<Self> {
        // Without progress the target is down, or nothing was applied; never is it known to hold everything.
        let bound = if applied == Timestamp::ZERO { run_state.resolved() } else { applied };
        // What a start has kept that was cut off belongs to no row.
        let mut seen = if run_state.is_fresh() { Seen::default() } else { Seen::load(&run_state, bound)? };
        let begins = config.changefeed.as_ref().and_then(|settings| settings.cursor).filter(|_| run_state.is_fresh());
        let applied = if applied == Timestamp::ZERO { begins.unwrap_or_default() } else { applied };
        if seen.until == Timestamp::ZERO {
            (seen.since, seen.until) = (applied, applied);
        }
        if config.source.is_none() {
            refuse_without_source(&seen)?;
        }
        for (place, shapes) in &seen.shapes {
            if let Some(table) = of_place(&tables, place).filter(|table| table.key.is_known()) {
                table.key.replace(merged(shapes, &table.key.history()));
            }
        }
        warn_of_misread(&seen.misread);
        Ok(Self {
            source: config.source.clone(),
            catalog,
            tables,
            run_state,
            case_sensitive: config.target.case_sensitive,
            applied,
            limit: KeyLimit::noted(seen.limit),
            left_ends: parking_lot::Mutex::default(),
            state: Mutex::new(State { seen, ..State::default() }),
        })
    }

    /// For a source that is not known: nothing is read.
    pub fn without_source(catalog: Arc<Catalog>, tables: Arc<Tables>, run_state: RunState) -> Self {
        let (state, limit, left_ends) = (Mutex::default(), KeyLimit::noted(None), parking_lot::Mutex::default());
        let applied = Timestamp::ZERO;
        Self { source: None, catalog, tables, run_state, case_sensitive: false, applied, state, limit, left_ends }
    }

    /// Makes sure that the key of every row up to a time is known. Returns whether one turned out to have changed.
    ///
    /// # Errors
    /// When a key has changed so that rows cannot be told apart, or it cannot be found out when it changed.
    pub async fn know(&self, rows: Rows<'_>) -> Result<bool> {
        let to = rows.to;
        // A look that hands out nothing is not refused for what comes later.
        let beyond = if rows.oldest == NO_ROW { Timestamp::ZERO } else { to };
        if self.source.is_none() {
            return self.limit.refuse_beyond(beyond).map(|()| false);
        }
        if !self.tables.list().iter().any(|table| table.source.is_some() && table.key.is_known()) {
            return Ok(false);
        }
        let Some(settings) = &self.source else { return Ok(false) };
        let mut state = self.state.lock().await;
        state.untold.clone().map_or(Ok(()), Err)?;
        if self.limit.is_confirmed() {
            self.limit.refuse_beyond(beyond)?;
            if state.seen.until >= to && state.seen.since <= rows.oldest {
                return Ok(false);
            }
        }
        if state.given_up.is_some_and(|since| since.elapsed() < SOURCE_REST) {
            self.limit.refuse_beyond(beyond)?;
            self.hand_out_blindly(&mut state, rows)?;
            return Ok(false);
        }
        let begun = Instant::now();
        let deadline = begun + if state.given_up.is_some() { Duration::ZERO } else { SOURCE_WAIT };
        loop {
            match self.read(settings, &mut state, (rows.oldest, to)).await {
                Ok(is_changed) => {
                    self.limit.refuse_beyond(beyond)?;
                    state.given_up = None;
                    if let Some(blind) = state.blind.take() {
                        tracing::info!("the source's primary keys are read again after {} s", blind.lasted().as_secs());
                    }
                    return Ok(is_changed);
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Unreachable(error)) if Instant::now() >= deadline => {
                    self.limit.refuse_beyond(beyond)?;
                    let until = state.seen.until;
                    if let Some(lasted) = state.blind.get_or_insert_with(|| Lasting::since(begun)).due() {
                        tracing::warn!(
                            error_code = code::table::KEYS_UNREAD.text(),
                            hint = "check that CockroachDB runs and can be reached; ebb would not notice that a primary key was \
                                    changed there since",
                            "the source's primary keys cannot be read{}: {error}; rows are applied by the keys of {until}",
                            for_so_long(lasted)
                        );
                    }
                    state.given_up = Some(Instant::now());
                    self.hand_out_blindly(&mut state, rows)?;
                    return Ok(false);
                }
                Err(Failure::Unreachable(_)) => tokio::time::sleep(SOURCE_RETRY).await,
            }
        }
    }

    /// A key may have been changed meanwhile: another start must know that, too.
    fn hand_out_blindly(&self, state: &mut State, rows: Rows<'_>) -> Result<()> {
        let is_meant = |table: &&Table| rows.tables.is_none_or(|numbers| numbers.contains(&table.number));
        let places = self.tables.list().iter().filter(is_meant).filter_map(|table| table.source.clone());
        if state.seen.hand_out_unseen(places, rows.to) {
            state.seen.save(&self.run_state)?;
        }
        Ok(())
    }

    /// Looks now and then, whether or not rows ask for it: the source keeps its history for some hours only. Comes never back.
    pub async fn keep_up(&self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let Some(settings) = &self.source else { return std::future::pending().await };
            // Whoever needs it waits for a source that does not answer, and hears of a key that cannot be followed.
            if let Ok(mut state) = self.state.try_lock()
                && state.given_up.is_none()
            {
                let _ = self.read(settings, &mut state, (NO_ROW, Timestamp::ZERO)).await;
            }
        }
    }

    /// Up to where rows can be applied, once it is known that later ones cannot.
    pub fn limit(&self) -> Option<Timestamp> {
        self.limit.since()
    }

    /// Refuses rows that cannot be told apart, before any is taken.
    pub fn refuse_limited(&self) -> Result<()> {
        self.limit.refuse_beyond(NO_ROW)
    }

    /// Reads the keys as they are now. Later rows are received also where they cannot be applied.
    pub async fn refresh(&self) -> Result<bool> {
        let until = {
            let mut state = self.state.lock().await;
            state.given_up = None;
            state.seen.until
        };
        let to = Timestamp { wall: until.wall.saturating_add(1), ..until };
        self.know(Rows { oldest: NO_ROW, to, tables: Some(&[]) }).await
    }

    async fn read(
        &self,
        settings: &config::Source,
        state: &mut State,
        (oldest, to): (Timestamp, Timestamp),
    ) -> Result<bool, Failure> {
        let source = match state.connection.take() {
            Some(source) => source,
            None => Source::connect(settings).await.map_err(failure)?,
        };
        let now = now(&source, to).await?;
        let keys = source.primary_keys(now).await.map_err(failure)?;
        let start = self.reach_back(&source, &state.seen, oldest).await?;
        let before = self.before(&source, &start).await?;
        let is_gone = |place: &&Place| before.contains_key(*place) && !keys.contains_key(*place);
        let expected = self.tables.list().iter().filter(|table| !table.is_left);
        if let Some(place) = expected.filter_map(|table| table.source.as_ref()).find(is_gone) {
            return Err(Failure::Final(vanished(place)));
        }
        let changed: Vec<&Table> =
            self.tables.list().iter().filter(|table| is_changed(table, &before, &keys)).collect();
        let shapes = self.shapes();
        let mut misread = Vec::new();
        if !changed.is_empty() {
            misread = self.follow(&source, (&start, &before), (now, &keys), &changed).await?;
        }
        // A look that misses a key which another start has seen change would let its rows pass.
        let apart = self.told_apart(&source, &start, now).await?;
        misread.extend(apart.newly_merged(&start));
        self.limit.set(apart.limit);
        // The time and the keys are one fact: a later start searches from there, where the source still has its history.
        let mut seen = Seen {
            since: if start.since == Timestamp::ZERO && start.until == Timestamp::ZERO { now } else { start.since },
            until: now,
            shapes: self.shapes(),
            uniques: apart.uniques,
            merged: apart.merged,
            misread: [&start.misread[..], &misread[..]].concat(),
            limit: apart.left_limit.into_iter().chain(self.limit.since()).min(),
            ..Seen::default()
        };
        seen.set_primary_keys(keys);
        let has_changed = seen.shapes != shapes;
        let is_due = now.wall.saturating_sub(state.saved.wall) >= SAVE_NANOS;
        let is_new = is_due || !changed.is_empty() || !seen.says_the_same(&state.seen);
        state.seen = seen;
        state.connection = Some(source);
        if is_new {
            state.seen.save(&self.run_state).map_err(Failure::Final)?;
            state.saved = now;
        }
        // What was found is kept: the next start reads its rows by it, and does not end for what this one has said.
        state.untold = state.untold.take().or(read_blindly(&misread).err());
        state.untold.clone().map_or(Ok(()), |error| Err(Failure::Final(error)))?;
        Ok(has_changed)
    }

    /// Where the keys are known from. Rows that are older than that are of somebody else's changefeed, which does not say where it
    /// begins: what is known begins with them then.
    async fn reach_back(&self, source: &Source, seen: &Seen, oldest: Timestamp) -> Result<Seen, Failure> {
        if seen.since <= oldest || oldest == Timestamp::ZERO {
            return Ok(seen.clone());
        }
        match source.primary_keys(oldest).await {
            Ok(keys) => {
                let (shapes, uniques) = (Vec::new(), Vec::new());
                let mut earlier = Seen { since: oldest, until: oldest, shapes, uniques, ..seen.clone() };
                earlier.set_primary_keys(keys);
                Ok(earlier)
            }
            Err(error) if is_lost(&error) => Err(Failure::Unreachable(error)),
            Err(error) => {
                warn_of_unknown(oldest, &error);
                Ok(Seen { since: oldest, ..seen.clone() })
            }
        }
    }

    /// The keys of the last look. Of tables that no look has seen rows may be staged all the same, which came after the
    /// target's progress: they are asked for as they were then.
    async fn before(&self, source: &Source, seen: &Seen) -> Result<Keys, Failure> {
        let mut before = seen.primary_keys();
        let is_new = |table: &Table| table.source.as_ref().is_some_and(|place| !before.contains_key(place));
        if seen.until == Timestamp::ZERO || !self.tables.list().iter().any(is_new) {
            return Ok(before);
        }
        match source.primary_keys(seen.until).await {
            Ok(keys) => {
                for (place, key) in keys {
                    before.entry(place).or_insert(key);
                }
            }
            Err(error) if is_lost(&error) => return Err(Failure::Unreachable(error)),
            Err(error) => warn_of_unknown(seen.until, &error),
        }
        Ok(before)
    }

    fn shapes(&self) -> Vec<(Place, Vec<KeyShape>)> {
        let of = |table: &Table| Some((table.source.clone()?, table.key.history()));
        self.tables.list().iter().filter_map(of).filter(|(_, shapes)| !shapes.is_empty()).collect()
    }
}

/// The source's time, once it is not before `to`.
async fn now(source: &Source, to: Timestamp) -> Result<Timestamp, Failure> {
    let mut now = source.now().await.map_err(failure)?;
    let deadline = Instant::now() + CLOCK_WAIT_MAX;
    while now < to {
        if Instant::now() > deadline {
            let what = format!("its time, {now}, is behind that of its rows, {to}");
            return Err(Failure::Unreachable(Error::new(code::table::KEYS_UNREAD, what)));
        }
        tokio::time::sleep(CLOCK_WAIT).await;
        now = source.now().await.map_err(failure)?;
    }
    Ok(now)
}

fn warn_of_unknown(at: Timestamp, error: &Error) {
    tracing::warn!(
        error_code = code::table::KEY_UNDATED.text(),
        hint = "if a primary key was changed at the source since, load its table anew",
        "the primary keys that the source had at {at} cannot be read: {error}; rows since then are read by those of now"
    );
}

/// Keys that are known from before, of which the last may be the one that the table has now: then with the kinds of its
/// columns as they are now.
fn merged(known: &[KeyShape], now: &[KeyShape]) -> Vec<KeyShape> {
    let mut shapes = known.to_vec();
    if let (Some(last), Some(now)) = (shapes.last_mut(), now.last())
        && last.columns == now.columns
        && last.families != now.families
    {
        // The type of a column has changed: rows of both may be staged.
        last.families = vec![ebb_sdk::Family::Other; last.columns.len()];
    }
    shapes
}

fn of_place<'t>(tables: &'t Tables, place: &Place) -> Option<&'t Table> {
    tables.list().iter().find(|table| table.source.as_ref() == Some(place))
}

/// A table that was not seen before has not changed; one that is gone has no rows to come.
fn is_changed(table: &Table, before: &Keys, now: &Keys) -> bool {
    let Some(place) = &table.source else { return false };
    matches!((before.get(place), now.get(place)), (Some(before), Some(now)) if !before.is_same(now))
}

pub(super) fn failure(error: Error) -> Failure {
    if may_pass(&error) { Failure::Unreachable(error) } else { Failure::Final(error) }
}
