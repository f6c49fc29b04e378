//! What is known of the source's primary keys, and of which time, from one start to the next.
//!
//! Owns: the file in the staging folder. Does not own: when the source is asked (`watch`), the search for a change
//! (`key_search`), what keeps rows from being told apart (`told_apart`).

use std::collections::BTreeMap;

use ebb_sdk::Timestamp;
use serde::{Deserialize, Serialize};

use super::key::KeyShape;
use crate::error::Result;
use crate::source::{Place, PrimaryKey, UniqueIndexes};
use crate::stage::{MetadataFile, RunState};

/// What is kept in the staging folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Every change from here on is known; zero where that is as early as any row.
    #[serde(default)]
    pub(super) since: Timestamp,
    /// Every change up to here is known.
    pub(super) until: Timestamp,
    /// The keys at that time, as the source's catalog lists them.
    pub(super) keys: Vec<(Place, Vec<String>)>,
    /// The numbers of their indexes.
    #[serde(default)]
    pub(super) indexes: Vec<(Place, String)>,
    /// The unique indexes at that time, of tables whose key has more columns than the target's.
    #[serde(default)]
    pub(super) uniques: Vec<(Place, UniqueIndexes)>,
    /// Every key that a table has had since the first start.
    pub(super) shapes: Vec<(Place, Vec<KeyShape>)>,
    /// Up to here rows of a table that need its key were handed out while the source could not be asked.
    #[serde(default)]
    pub(super) unseen: Vec<(Place, Timestamp)>,
    /// From the first time on, deletes up to the second may have met other rows.
    #[serde(default)]
    pub(super) misread: Vec<(Place, Timestamp, Timestamp)>,
    /// Rows of a table behind a time could not be told apart on the target with the key that it had then.
    #[serde(default)]
    pub(super) merged: Vec<(Place, Timestamp)>,
    /// Behind it rows cannot be applied (`key_limit`).
    #[serde(default)]
    pub(super) limit: Option<Timestamp>,
    /// What an earlier release has kept in place of `unseen`.
    #[serde(default, skip_serializing)]
    pub(super) is_blind: bool,
}

impl Seen {
    /// What the last start has left. `bound`: up to here rows may have been handed out by then.
    pub(super) fn load(run_state: &RunState, bound: Timestamp) -> Result<Self> {
        run_state.load(MetadataFile::Keys).map(|seen: Option<Self>| seen.unwrap_or_default().brought_forward(bound))
    }

    /// Rows that the target does not have yet are read once more.
    fn brought_forward(mut self, bound: Timestamp) -> Self {
        if std::mem::take(&mut self.is_blind) {
            self.unseen = self.shapes.iter().map(|(place, _)| (place.clone(), bound)).collect();
        }
        for (_, until) in &mut self.unseen {
            *until = bound.min(*until);
        }
        if let Some(limit) = self.limit.filter(|_| self.merged.is_empty()) {
            // An earlier release has kept the limit without the table.
            let changed = |shapes: &[KeyShape]| shapes.iter().map(|shape| shape.since).find(|at| at.wall == limit.wall);
            let merged = |(place, shapes): &(Place, Vec<KeyShape>)| Some((place.clone(), changed(shapes)?));
            self.merged = self.shapes.iter().filter_map(merged).collect();
        }
        self
    }

    pub(super) fn primary_keys(&self) -> BTreeMap<Place, PrimaryKey> {
        let index = |place: &Place| of(&self.indexes, place).cloned();
        let key = |(place, columns): &(Place, Vec<String>)| {
            (place.clone(), PrimaryKey { columns: columns.clone(), index: index(place) })
        };
        self.keys.iter().map(key).collect()
    }

    pub(super) fn set_primary_keys(&mut self, keys: BTreeMap<Place, PrimaryKey>) {
        let indexes = keys.iter().filter_map(|(place, key)| Some((place.clone(), key.index.clone()?)));
        self.indexes = indexes.collect();
        self.keys = keys.into_iter().map(|(place, key)| (place, key.columns)).collect();
    }

    /// Up to where rows of a table were handed out unseen.
    pub(super) fn unseen(&self, place: &Place) -> Timestamp {
        of(&self.unseen, place).copied().unwrap_or_default()
    }

    /// Notes that rows of these tables up to `to` are handed out. Returns whether that was not known.
    pub(super) fn hand_out_unseen(&mut self, places: impl Iterator<Item = Place>, to: Timestamp) -> bool {
        let mut is_new = false;
        for place in places {
            match self.unseen.iter_mut().find(|(known, _)| *known == place) {
                Some((_, until)) if *until >= to => {}
                Some((_, until)) => (*until, is_new) = (to, true),
                None => {
                    self.unseen.push((place, to));
                    is_new = true;
                }
            }
        }
        is_new
    }

    /// Whether the next start would learn nothing but the time.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.since == other.since
            && self.limit == other.limit
            && self.merged == other.merged
            && self.misread == other.misread
            && self.unseen == other.unseen
            && self.uniques == other.uniques
    }

    pub(super) fn save(&self, run_state: &RunState) -> Result<()> {
        run_state.save(MetadataFile::Keys, self)
    }
}

/// What is noted of a table.
pub(super) fn of<'n, T>(notes: &'n [(Place, T)], place: &Place) -> Option<&'n T> {
    notes.iter().find(|(noted, _)| noted == place).map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_release_has_kept_is_read() {
        let shape = |wall: i64, column: &str| serde_json::json!({ "since": { "wall": wall, "logical": 5 }, "columns": [column] });
        let kept = serde_json::json!({
            "until": { "wall": 9, "logical": 0 }, "keys": [], "is_blind": true, "limit": { "wall": 7, "logical": 0 },
            "shapes": [[["public", "t"], [shape(0, "a"), shape(7, "b")]], [["public", "u"], [shape(0, "a")]]],
        });
        let seen: Seen = serde_json::from_value(kept).expect("an old file");
        let bound = Timestamp { wall: 8, logical: 0 };
        let seen = seen.brought_forward(bound);
        let place = |name: &str| ("public".to_owned(), name.to_owned());
        assert_eq!((seen.unseen(&place("t")), seen.unseen(&place("u"))), (bound, bound));
        assert_eq!(seen.merged, [(place("t"), Timestamp { wall: 7, logical: 5 })]);
        let again = serde_json::from_value::<Seen>(serde_json::to_value(&seen).expect("JSON")).expect("a file");
        assert!(again == seen);
    }

    #[test]
    fn rows_that_are_handed_out_unseen_are_noted_by_table() {
        let (t, u) = (("public".to_owned(), "t".to_owned()), ("public".to_owned(), "u".to_owned()));
        let at = |wall| Timestamp { wall, logical: 0 };
        let mut seen = Seen::default();
        assert!(seen.hand_out_unseen([t.clone()].into_iter(), at(5)));
        assert!(!seen.hand_out_unseen([t.clone()].into_iter(), at(4)));
        assert!(seen.hand_out_unseen([t.clone()].into_iter(), at(6)));
        assert_eq!((seen.unseen(&t), seen.unseen(&u)), (at(6), Timestamp::ZERO));
        assert!(!seen.hand_out_unseen(std::iter::empty(), at(9)));
    }
}
