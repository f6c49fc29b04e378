//! What is known of the source's primary keys from one look to the next, and when one changed between two.
//!
//! Owns: the file in the staging folder, and the search. Does not own: when the source is asked (`watch`).

use std::collections::BTreeMap;

use ebb_sdk::Timestamp;
use serde::{Deserialize, Serialize};

use super::key::KeyShape;
use crate::error::Result;
use crate::source::{Place, PrimaryKey, Source};
use crate::stage::{MetadataFile, RunState};

/// What is kept in the staging folder.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Every change up to here is known.
    pub(super) until: Timestamp,
    /// The keys at that time, as the source's catalog lists them.
    pub(super) keys: Vec<(Place, Vec<String>)>,
    /// The numbers of their indexes.
    #[serde(default)]
    pub(super) indexes: Vec<(Place, String)>,
    /// Rows were applied while the source could not be asked, up to whatever the target had applied then.
    #[serde(default)]
    pub(super) is_blind: bool,
    /// Every key that a table has had since the first start.
    pub(super) shapes: Vec<(Place, Vec<KeyShape>)>,
    /// Behind it rows could not be told apart on the target (`key_limit`).
    #[serde(default)]
    pub(super) limit: Option<Timestamp>,
}

impl Seen {
    pub(super) fn load(run_state: &RunState) -> Result<Self> {
        run_state.load(MetadataFile::Keys).map(Option::unwrap_or_default)
    }

    pub(super) fn primary_keys(&self) -> BTreeMap<Place, PrimaryKey> {
        let index =
            |place: &Place| self.indexes.iter().find(|(other, _)| other == place).map(|(_, index)| index.clone());
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

    pub(super) fn save(&self, run_state: &RunState) -> Result<()> {
        run_state.save(MetadataFile::Keys, self)
    }
}

/// A key at one time and, changed, at a later one.
pub(super) struct Span {
    pub(super) from: Timestamp,
    pub(super) old: PrimaryKey,
    pub(super) to: Timestamp,
    pub(super) new: PrimaryKey,
}

/// Every change of a table's key within a span, from the oldest on: halves it until both ends are one tick apart.
pub(super) async fn changes(
    source: &Source,
    place: &Place,
    span: Span,
    found: &mut Vec<(Timestamp, Vec<String>)>,
) -> Result<()> {
    let mut spans = vec![span];
    while let Some(Span { from, old, to, new }) = spans.pop() {
        if old.is_same(&new) {
            continue;
        }
        if to.wall - from.wall <= 1 {
            let since = Timestamp { wall: to.wall - 1, logical: i32::MAX };
            if old.columns != new.columns {
                found.push((since, new.columns));
            }
            continue;
        }
        let middle = Timestamp { wall: from.wall + (to.wall - from.wall) / 2, logical: 0 };
        let keys = source.primary_keys(middle).await?;
        let between = keys.get(place).cloned().unwrap_or_else(|| old.clone());
        spans.push(Span { from: middle, old: between.clone(), to, new });
        spans.push(Span { from, old, to: middle, new: between });
    }
    Ok(())
}
