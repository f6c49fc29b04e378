//! Whether two rows of the source may have become one row of the target, whose key may have fewer columns, at any time since the
//! target's progress.
//!
//! Owns: from when on rows cannot be applied for that, and what is noted for the next look. Does not own: when the source is asked
//! (`watch`), the keys over time (`key_changes`), the judgement of one state (`problems`).
//!
//! A state between two looks is not judged by that at their end: an index of the source that is there at both ends, by its
//! number, was there all the time; of any other the source's history is asked. What is noted is not taken back by what the
//! source has become since, but by a key of the target that tells the rows of that time apart.

use std::collections::{BTreeMap, BTreeSet};

use ebb_sdk::Timestamp;

use super::Table;
use super::key_changes::{Misread, is_lost};
use super::left_ends::End;
use super::problems::Judge;
use super::seen_keys::{Seen, of};
use super::watch::{Failure, KeyWatch, failure};
use crate::code;
use crate::error::{Error, Result};
use crate::source::{Place, Source, SourceTable, UniqueIndexes};

/// What a look has found.
#[derive(Default)]
pub(super) struct Apart {
    /// Rows up to this time can be applied; and why later ones cannot.
    pub(super) limit: Option<(Timestamp, Error)>,
    /// Up to here rows of tables that are left can be applied, where that is to be remembered until their end is kept.
    pub(super) left_limit: Option<Timestamp>,
    /// As [`Seen`] keeps them.
    pub(super) merged: Vec<(Place, Timestamp)>,
    pub(super) uniques: Vec<(Place, UniqueIndexes)>,
}

impl Apart {
    /// Of which tables rows were applied since while the source could not be asked: what the last look has not noted.
    pub(super) fn newly_merged(&self, seen: &Seen) -> Misread {
        let news = self.merged.iter().filter(|(place, _)| of(&seen.merged, place).is_none());
        let applied = news.filter(|(place, since)| *since < seen.unseen(place));
        applied.map(|(place, since)| (place.clone(), *since, seen.unseen(place))).collect()
    }

    /// Rows behind a time cannot be applied: those of every table, or of this one alone where it is not replicated any more.
    fn stop(&mut self, keys: &KeyWatch, table: &Table, (since, why): (Timestamp, Error)) {
        // A progress at the last tick of a nanosecond would have no next one.
        let since = Timestamp { wall: since.wall, logical: 0 };
        match keys.left_ends.lock().judge(table, since) {
            End::Kept => {}
            End::New => self.left_limit = self.left_limit.into_iter().chain([since]).min(),
            End::OfAll if self.limit.as_ref().is_some_and(|(known, _)| *known <= since) => {}
            End::OfAll => self.limit = Some((since, why.field("since", since.to_string()))),
        }
    }
}

/// The unique indexes of one table that tell rows of the target apart.
struct Telling<'a> {
    source: &'a Source,
    place: &'a Place,
    judge: Judge<'a>,
    target_key: &'a [&'a String],
}

type Numbers = BTreeSet<String>;

impl KeyWatch {
    /// Judges every key that a table has had since the target's progress. `seen` is what the last look has left.
    pub(super) async fn told_apart(&self, source: &Source, seen: &Seen, now: Timestamp) -> Result<Apart, Failure> {
        let mut apart = Apart::default();
        let tables: Vec<&Table> =
            self.tables.list().iter().filter(|table| table.key.has_differed(self.applied)).collect();
        if tables.is_empty() {
            return Ok(apart);
        }
        let full = source.tables().await.map_err(failure)?;
        let unique_now = source.unique_indexes_at(now).await.map_err(failure)?;
        for table in tables {
            let Some(place) = &table.source else { continue };
            let Some(found) = full.iter().find(|found| (&found.schema, &found.name) == (&place.0, &place.1)) else {
                // It was dropped or renamed since, and what became of its staged rows stays as it was.
                if let Some(&since) = of(&seen.merged, place) {
                    apart.stop(self, table, (since, self.merged_before(table, place, since, &[])));
                    apart.merged.push((place.clone(), since));
                }
                continue;
            };
            let unique = unique_now.get(place).cloned().unwrap_or_default();
            let merged = self.merged_since(source, (table, place, found), seen, (now, &unique)).await?;
            let limit = match self.limit_of(table, (place, found), merged) {
                Err(Failure::Final(why)) if table.is_left => Some((self.applied, why)),
                judged => judged?,
            };
            if let Some(limit) = limit {
                apart.stop(self, table, limit);
            }
            apart.merged.extend(merged.map(|since| (place.clone(), since)));
            apart.uniques.push((place.clone(), unique));
        }
        Ok(apart)
    }

    /// From when on rows of a table could not be told apart on the target, whatever has become of its key since.
    async fn merged_since(
        &self,
        source: &Source,
        (table, place, found): (&Table, &Place, &SourceTable),
        seen: &Seen,
        (now, unique): (Timestamp, &UniqueIndexes),
    ) -> Result<Option<Timestamp>, Failure> {
        let (judge, target_key) = (self.judge(), self.target_key(table));
        let shapes = table.key.behind(self.applied);
        let is_loose = |columns: &[String]| judge.extra(found, columns, &target_key).is_some();
        if !shapes.iter().any(|shape| is_loose(&shape.columns)) {
            return Ok(None);
        }
        if let Some(since) = of(&seen.merged, place) {
            return Ok(Some(*since));
        }
        let telling = Telling { source, place, judge, target_key: &target_key };
        let at_end = telling.among(unique);
        let (start, at_start) = match of(&seen.uniques, place) {
            Some(known) => (seen.until, telling.among(known)),
            None => {
                let earliest = if self.applied == Timestamp::ZERO { seen.until } else { self.applied };
                let start = if earliest == Timestamp::ZERO { now } else { earliest.min(now) };
                (start, telling.at_first(start, &at_end).await?)
            }
        };
        // A region that CockroachDB has put before the key as it was declared, which alone is unique as long as that holds.
        let is_declared = found
            .unique_keys
            .iter()
            .any(|key| judge.is_within(key, &target_key) && !unique.values().any(|columns| columns == key));
        for (at, shape) in shapes.iter().enumerate() {
            let next = shapes.get(at + 1).map(|next| next.since);
            let is_over = next.is_some_and(|next| next <= start);
            if is_over || !is_loose(&shape.columns) || next.is_none() && is_declared {
                continue;
            }
            // A key is the new one from the tick behind its `since` on.
            let from = match shape.since > start {
                true => Timestamp { wall: shape.since.wall + 1, logical: 0 },
                false => start,
            };
            let to = next.map_or(now, |next| Timestamp { wall: next.wall, logical: 0 }).max(from);
            let missing = telling
                .first_without((from, (from == start).then_some(&at_start)), (to, (to == now).then_some(&at_end)))
                .await;
            match missing {
                Ok(None) => {}
                Ok(Some(since)) if since == from => return Ok(Some(shape.since.max(start).max(self.applied))),
                Ok(Some(since)) => return Ok(Some(since.max(self.applied))),
                Err(error) if is_lost(&error) => return Err(Failure::Unreachable(error)),
                // Nothing shows that they could be told apart.
                Err(_) => return Ok(Some(shape.since.max(start).max(self.applied))),
            }
        }
        // The catalog of now is younger than this look.
        let refused = self.refuse(table, found, &found.key_columns);
        Ok(refused.is_err_and(|why| why.code == code::table::KEY_AMBIGUOUS).then_some(now))
    }

    /// Up to when rows of a table can be applied, and why no later ones.
    fn limit_of(
        &self,
        table: &Table,
        (place, found): (&Place, &SourceTable),
        merged: Option<Timestamp>,
    ) -> Result<Option<(Timestamp, Error)>, Failure> {
        let changed = table.key.differs_since(self.applied);
        let old = changed.as_ref().map_or(&found.key_columns, |(_, old)| old);
        match (self.refuse(table, found, old), merged) {
            (Ok(()), None) => Ok(None),
            (Ok(()), Some(since)) => Ok(Some((since, self.merged_before(table, place, since, &found.key_columns)))),
            (Err(why), Some(since)) if why.code == code::table::KEY_AMBIGUOUS => Ok(Some((since, why))),
            (Err(why), merged) => match changed.iter().map(|(since, _)| *since).chain(merged).min() {
                Some(since) => Ok(Some((since, why))),
                None => Err(Failure::Final(why)),
            },
        }
    }

    /// `now`: the key as it is now, where it has never had another.
    fn merged_before(&self, table: &Table, (schema, name): &Place, since: Timestamp, now: &[String]) -> Error {
        let shapes = table.key.history();
        let then = shapes.iter().rev().find(|shape| shape.since <= since).or(shapes.first());
        let key = then.map_or(now, |then| &then.columns).join(", ");
        let message = format!(
            "rows of the source's table {schema}.{name} could not be told apart on the target behind {since}, when its key was \
             ({key}) there: several of them could become one row, though they can be told apart now"
        );
        Error::new(code::table::KEY_AMBIGUOUS, message)
            .hint(format!(
                "load the table anew, and start with a new --stagingSchema; or give the target the primary key ({key}), and \
                 the source too if it has another by now, and start again; or leave the table out with \
                 --table-exclusion-filter, and start again: its rows up to then are applied"
            ))
            .field("table", format!("{schema}.{name}"))
    }

    fn target_key(&self, table: &Table) -> Vec<&String> {
        let target = &self.catalog.tables[table.position];
        target.primary_key.iter().map(|&at| &target.columns[at].name).collect()
    }
}

impl Telling<'_> {
    fn among(&self, indexes: &UniqueIndexes) -> Numbers {
        let tells = |(number, columns): (&String, &Vec<String>)| {
            self.judge.is_within(columns, self.target_key).then(|| number.clone())
        };
        indexes.iter().filter_map(tells).collect()
    }

    async fn at(&self, at: Timestamp) -> Result<Numbers> {
        let indexes: BTreeMap<_, _> = self.source.unique_indexes_at(at).await?;
        Ok(indexes.get(self.place).map(|indexes| self.among(indexes)).unwrap_or_default())
    }

    /// Those of a time that no look has seen.
    async fn at_first(&self, at: Timestamp, now: &Numbers) -> Result<Numbers, Failure> {
        match self.at(at).await {
            Err(error) if is_lost(&error) => Err(Failure::Unreachable(error)),
            Err(error) => {
                tracing::warn!(
                    error_code = code::table::KEY_UNDATED.text(),
                    hint = "if a UNIQUE constraint was dropped and made again there, load the table anew",
                    "whether rows of {}.{} were told apart on the target since {at} is not known: {error}",
                    self.place.0,
                    self.place.1
                );
                Ok(now.clone())
            }
            found => found.map_err(Failure::Final),
        }
    }

    /// The first time within a span behind which there was none; the ends are given where they are known.
    async fn first_without(
        &self,
        (from, begin): (Timestamp, Option<&Numbers>),
        (to, end): (Timestamp, Option<&Numbers>),
    ) -> Result<Option<Timestamp>> {
        let begin = match begin {
            Some(begin) => begin.clone(),
            None => self.at(from).await?,
        };
        let end = match end {
            Some(end) => end.clone(),
            None => self.at(to).await?,
        };
        let mut spans = vec![(from, begin, to, end)];
        while let Some((from, begin, to, end)) = spans.pop() {
            if begin.is_empty() {
                return Ok(Some(from));
            }
            if !begin.is_disjoint(&end) {
                continue;
            }
            if to.wall - from.wall <= 1 {
                if end.is_empty() {
                    return Ok(Some(Timestamp { wall: to.wall - 1, logical: i32::MAX }));
                }
                // One took the other's place, as after ALTER PRIMARY KEY.
                continue;
            }
            let middle = Timestamp { wall: from.wall + (to.wall - from.wall) / 2, logical: 0 };
            let between = self.at(middle).await?;
            spans.push((middle, between.clone(), to, end));
            spans.push((from, begin, middle, between));
        }
        Ok(None)
    }
}
