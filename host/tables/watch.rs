//! Reads the primary keys of the source again while a run goes on, and follows ALTER PRIMARY KEY.
//!
//! Owns: up to which time the keys are known. Does not own: when one of them changed (`seen_keys`), reading rows by them (`key`).
//!
//! A delete is known by nothing but its key, so that a window with deletes is applied only once the keys of its time are
//! known ([`KeyWatch::know`]). The source tells how a table was at any time that its garbage collection has left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ebb_sdk::{Catalog, Timestamp};
use tokio::sync::Mutex;

use super::key::KeyShape;
use super::key_limit::KeyLimit;
use super::problems::Judge;
use super::seen_keys::{Seen, Span, changes};
use super::{Table, Tables};
use crate::code;
use crate::config;
use crate::error::{Error, Result};
use crate::lasting::{Lasting, for_so_long};
use crate::source::{Place, Source, SourceTable, may_pass};
use crate::stage::RunState;

/// How long a source that does not answer is waited for, before rows are read by the keys that were known last.
const SOURCE_WAIT: Duration = Duration::from_secs(30);
const SOURCE_RETRY: Duration = Duration::from_secs(1);
/// After that wait it is asked no more often than this.
const SOURCE_REST: Duration = Duration::from_secs(10);
/// The clock of the node that is asked may be behind the one that wrote a row.
const CLOCK_WAIT: Duration = Duration::from_millis(20);
const CLOCK_WAIT_MAX: Duration = Duration::from_secs(5);

/// See the module.
pub struct KeyWatch {
    /// `None` where the source is not known.
    source: Option<config::Source>,
    catalog: Arc<Catalog>,
    tables: Arc<Tables>,
    run_state: RunState,
    case_sensitive: bool,
    applied: Timestamp, // at the start
    state: Mutex<State>,
    limit: KeyLimit,
}

#[derive(Default)]
struct State {
    connection: Option<Source>,
    seen: Seen,
    given_up: Option<Instant>,
    /// From the first time that it was given up.
    blind: Option<Lasting>,
    /// Up to here rows were handed out while the source could not be asked.
    unseen: Timestamp,
}

/// Why keys could not be read.
enum Failure {
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
        let mut seen = Seen::load(&run_state)?;
        seen.until = seen.until.max(applied);
        for (place, shapes) in &seen.shapes {
            if let Some(table) = of_place(&tables, place).filter(|table| table.key.is_known()) {
                table.key.replace(merged(shapes, &table.key.history()));
            }
        }
        Ok(Self {
            source: config.source.clone(),
            catalog,
            tables,
            run_state,
            case_sensitive: config.target.case_sensitive,
            applied,
            limit: KeyLimit::noted(seen.limit),
            state: Mutex::new(State { seen, ..State::default() }),
        })
    }

    /// For a source that is not known: nothing is read.
    pub fn without_source(catalog: Arc<Catalog>, tables: Arc<Tables>, run_state: RunState) -> Self {
        let (state, limit) = (Mutex::default(), KeyLimit::noted(None));
        let applied = Timestamp::ZERO;
        Self { source: None, catalog, tables, run_state, case_sensitive: false, applied, state, limit }
    }

    /// Makes sure that the key of every row up to a time is known. Returns whether one turned out to have changed.
    ///
    /// # Errors
    /// When a key has changed so that rows cannot be told apart, or it cannot be found out when it changed.
    pub async fn know(&self, to: Timestamp) -> Result<bool> {
        if !self.tables.list().iter().any(|table| table.source.is_some() && table.key.is_known()) {
            return Ok(false);
        }
        let Some(settings) = &self.source else {
            return self.limit.refuse_beyond(to).map(|()| false);
        };
        let mut state = self.state.lock().await;
        if self.limit.is_confirmed() {
            self.limit.refuse_beyond(to)?;
            if state.seen.until >= to {
                return Ok(false);
            }
        }
        if state.given_up.is_some_and(|since| since.elapsed() < SOURCE_REST) {
            self.limit.refuse_beyond(to)?;
            state.unseen = state.unseen.max(to);
            return Ok(false);
        }
        let begun = Instant::now();
        let deadline = begun + if state.given_up.is_some() { Duration::ZERO } else { SOURCE_WAIT };
        loop {
            match self.read(settings, &mut state, to).await {
                Ok(is_changed) => {
                    self.limit.refuse_beyond(to)?;
                    state.given_up = None;
                    if let Some(blind) = state.blind.take() {
                        tracing::info!("the source's primary keys are read again after {} s", blind.lasted().as_secs());
                    }
                    return Ok(is_changed);
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Unreachable(error)) if Instant::now() >= deadline => {
                    self.limit.refuse_beyond(to)?;
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
                    state.unseen = state.unseen.max(to);
                    return Ok(false);
                }
                Err(Failure::Unreachable(_)) => tokio::time::sleep(SOURCE_RETRY).await,
            }
        }
    }

    /// Up to where rows can be applied, once it is known that later ones cannot.
    pub fn limit(&self) -> Option<Timestamp> {
        self.limit.since()
    }

    /// Reads the keys as they are now.
    pub async fn refresh(&self) -> Result<bool> {
        let until = {
            let mut state = self.state.lock().await;
            state.given_up = None;
            state.seen.until
        };
        self.know(Timestamp { wall: until.wall.saturating_add(1), ..until }).await
    }

    async fn read(&self, settings: &config::Source, state: &mut State, to: Timestamp) -> Result<bool, Failure> {
        let source = match state.connection.take() {
            Some(source) => source,
            None => Source::connect(settings).await.map_err(failure)?,
        };
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
        let keys = source.primary_keys(Some(now)).await.map_err(failure)?;
        let before = self.before(&source, &state.seen).await;
        let is_gone = |place: &&Place| before.contains_key(*place) && !keys.contains_key(*place);
        let expected = self.tables.list().iter().filter(|table| !table.is_left);
        if let Some(place) = expected.filter_map(|table| table.source.as_ref()).find(is_gone) {
            return Err(Failure::Final(vanished(place)));
        }
        let changed: Vec<&Table> =
            self.tables.list().iter().filter(|table| is_changed(table, &before, &keys)).collect();
        if !changed.is_empty() {
            self.follow(&source, (state.seen.until, &before), (now, &keys), &changed, state.unseen).await?;
        }
        // A look that misses a key which another start has seen change would let its rows pass.
        self.limit.set(self.ambiguous(&source).await?);
        let (has_changed, limit) = (!changed.is_empty(), self.limit.since());
        let is_new = state.seen.keys.is_empty() || has_changed || state.seen.limit != limit;
        state.seen = Seen { until: now, keys: keys.into_iter().collect(), shapes: self.shapes(), limit };
        state.connection = Some(source);
        if is_new {
            state.seen.save(&self.run_state).map_err(Failure::Final)?;
        }
        Ok(has_changed)
    }

    /// The keys of the last look. Of tables that no look has seen rows may be staged all the same, which came after the
    /// target's progress: they are asked for as they were then.
    async fn before(&self, source: &Source, seen: &Seen) -> BTreeMap<Place, Vec<String>> {
        let mut before: BTreeMap<Place, Vec<String>> = seen.keys.iter().cloned().collect();
        let is_new = |table: &Table| table.source.as_ref().is_some_and(|place| !before.contains_key(place));
        if seen.until == Timestamp::ZERO || !self.tables.list().iter().any(is_new) {
            return before;
        }
        match source.primary_keys(Some(seen.until)).await {
            Ok(keys) => {
                for (place, key) in keys {
                    before.entry(place).or_insert(key);
                }
            }
            Err(error) => tracing::warn!(
                error_code = code::table::KEY_UNDATED.text(),
                hint = "if a primary key was changed at the source since, load its table anew",
                "the primary keys that the source had at {} cannot be read: {error}; rows since then are read by those of now",
                seen.until
            ),
        }
        before
    }

    /// From when on rows cannot be told apart on the target, whose key has other columns, and why.
    async fn ambiguous(&self, source: &Source) -> Result<Option<(Timestamp, Error)>, Failure> {
        let tables: Vec<&Table> = self.tables.list().iter().filter(|table| table.key.differs()).collect();
        let full = if tables.is_empty() { Vec::new() } else { source.tables().await.map_err(failure)? };
        let mut limit: Option<(Timestamp, Error)> = None;
        for table in tables {
            let is_it =
                |found: &&SourceTable| table.source.as_ref() == Some(&(found.schema.clone(), found.name.clone()));
            let Some(found) = full.iter().find(is_it) else { continue };
            let changed = table.key.differs_since(self.applied);
            let old = changed.as_ref().map_or(&found.key_columns, |(_, old)| old);
            let Err(why) = self.refuse(table, found, old) else { continue };
            let Some((since, _)) = changed else { return Err(Failure::Final(why)) };
            // A progress at the last tick of a nanosecond would have no next one.
            let since = Timestamp { wall: since.wall, logical: 0 };
            if limit.as_ref().is_none_or(|(known, _)| since < *known) {
                limit = Some((since, why.field("since", since.to_string())));
            }
        }
        Ok(limit)
    }

    /// Finds out when keys changed, and makes their rows readable before and after.
    async fn follow(
        &self,
        source: &Source,
        (from, before): (Timestamp, &BTreeMap<Place, Vec<String>>),
        (to, after): (Timestamp, &BTreeMap<Place, Vec<String>>),
        changed: &[&Table],
        unseen: Timestamp,
    ) -> Result<(), Failure> {
        // What is remembered and what the source says of the same time must be one, or halving finds nothing true.
        let then = source.primary_keys(Some(from)).await;
        let full = source.tables().await.map_err(failure)?;
        for table in changed {
            let Some(place) = &table.source else { continue };
            let (Some(old), Some(new)) = (before.get(place), after.get(place)) else { continue };
            let found = full.iter().find(|found| (&found.schema, &found.name) == (&place.0, &place.1));
            let Some(found) = found else { continue };
            let unknown = |error: &Error| match self.refuse(table, found, old) {
                Err(refused) => Failure::Final(refused),
                Ok(()) => undated(error, place, old, new),
            };
            match &then {
                Ok(keys) if keys.get(place).is_none_or(|key| key == old) => {}
                Ok(_) => return Err(unknown(&Error::new(code::table::KEY_UNDATED, "its history says otherwise"))),
                Err(error) => return Err(unknown(error)),
            }
            let mut moments = Vec::new();
            let span = Span { from, old: old.clone(), to, new: new.clone() };
            changes(source, place, span, &mut moments).await.map_err(|error| unknown(&error))?;
            let mut shapes = table.key.history();
            for (since, columns) in moments {
                if since < unseen {
                    return Err(Failure::Final(read_blindly(place, since, unseen)));
                }
                // The catalog may leave out columns that CockroachDB has put before the key.
                let columns = if columns == *new { found.key_columns.clone() } else { columns };
                tracing::info!(
                    since = %since,
                    "the primary key of {}.{} changed at the source to ({}); its rows are read by it from then on",
                    place.0,
                    place.1,
                    columns.join(", ")
                );
                shapes.push(KeyShape::of(found, columns, since));
            }
            // Later rows are staged also where the target cannot tell them apart, so that those of before can be completed.
            table.key.replace(shapes);
        }
        Ok(())
    }

    /// A key by which rows cannot be told apart on the target ends the run.
    fn refuse(&self, table: &Table, found: &SourceTable, old: &[String]) -> Result<()> {
        let target = &self.catalog.tables[table.position];
        let judge =
            Judge { catalog: &self.catalog, case_sensitive: self.case_sensitive, triggers: config::Triggers::Fire };
        let problem = judge.keys(found, target, ", and start again").into_iter().next();
        problem.map_or(Ok(()), |problem| {
            let what = match *old == *found.key_columns {
                true => "was made ambiguous at the source".to_owned(),
                false => format!("was changed at the source from ({}) while ebb ran", old.join(", ")),
            };
            let message = format!("the primary key of {}.{} {what}: {}", found.schema, found.name, problem.reason);
            Err(Error { message, ..problem.into() })
        })
    }

    fn shapes(&self) -> Vec<(Place, Vec<KeyShape>)> {
        let of = |table: &Table| Some((table.source.clone()?, table.key.history()));
        self.tables.list().iter().filter_map(of).filter(|(_, shapes)| !shapes.is_empty()).collect()
    }
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

fn vanished(place: &Place) -> Error {
    let (schema, name) = place;
    Error::new(code::table::VANISHED, format!("the source's table {schema}.{name} was dropped or renamed while ebb ran"))
        .hint("after DROP TABLE start again: ebb applies what is staged of the table, and goes on without it; after RENAME \
               cancel the changefeed first, then start again with filters that choose the new name: ebb cannot read deletes under \
               the old one")
        .field("table", format!("{schema}.{name}"))
}

fn read_blindly(place: &Place, since: Timestamp, unseen: Timestamp) -> Error {
    let (schema, name) = place;
    Error::new(code::table::KEY_READ_BLINDLY, format!(
        "the primary key of {schema}.{name} was changed at the source at {since}, and rows up to {unseen} were applied while \
         the source could not be asked: deletes among them may have met other rows"
    ))
    .hint("compare this table on both sides, correct the rows that differ, and start again")
    .field("table", format!("{schema}.{name}"))
}

fn of_place<'t>(tables: &'t Tables, place: &Place) -> Option<&'t Table> {
    tables.list().iter().find(|table| table.source.as_ref() == Some(place))
}

/// A table that was not seen before has not changed; one that is gone has no rows to come.
fn is_changed(table: &Table, before: &BTreeMap<Place, Vec<String>>, now: &BTreeMap<Place, Vec<String>>) -> bool {
    let Some(place) = &table.source else { return false };
    matches!((before.get(place), now.get(place)), (Some(before), Some(now)) if before != now)
}

fn failure(error: Error) -> Failure {
    if may_pass(&error) { Failure::Unreachable(error) } else { Failure::Final(error) }
}

fn undated(error: &Error, place: &Place, old: &[String], new: &[String]) -> Failure {
    let message = format!(
        "the primary key of {}.{} was changed at the source from ({}) to ({}), and ebb cannot find out when: {}",
        place.0,
        place.1,
        old.join(", "),
        new.join(", "),
        error.message
    );
    let hint = "deletes around that time cannot be read: load the table anew, and start with a new --stagingSchema";
    Failure::Final(
        Error::new(code::table::KEY_UNDATED, message).hint(hint).field("table", format!("{}.{}", place.0, place.1)),
    )
}
