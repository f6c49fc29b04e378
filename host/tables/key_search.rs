//! When primary keys changed between two looks at the source, which tells how they were at any time of its history.
//!
//! Owns: the search, which halves one span for all tables, since every answer has them all. Does not own: when the source is
//! asked (`watch`), what follows from a change (`key_changes`).

use std::collections::BTreeMap;

use ebb_sdk::Timestamp;

use crate::error::Result;
use crate::lasting::{Lasting, for_so_long};
use crate::source::{Place, PrimaryKey, Source};

/// Two changes of one key are never as close, in nanoseconds: each is a job that waits until every node knows of its steps.
const BETWEEN_CHANGES: i64 = 1_000_000;

/// The keys of some tables at one time and, changed, at a later one.
pub(super) struct Span {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) ends: BTreeMap<Place, (PrimaryKey, PrimaryKey)>,
}

/// Since when a table has had which columns as its key, from the oldest change on.
pub(super) type Moments = BTreeMap<Place, Vec<(Timestamp, Vec<String>)>>;

/// Every change of columns within a span. Most changes of a table make another index and no other key: of these only so much is
/// searched as shows that no key was changed and changed back.
pub(super) async fn changes(source: &Source, span: Span) -> Result<Moments> {
    let mut found = Moments::new();
    let count = span.ends.len();
    let mut lasting = Lasting::begun();
    let mut spans = vec![span];
    while let Some(Span { from, to, mut ends }) = spans.pop() {
        let width = to.wall - from.wall;
        ends.retain(|place, (old, new)| {
            let is_other = old.columns != new.columns;
            let is_searched = old.is_same(new) || width <= if is_other { 1 } else { BETWEEN_CHANGES };
            if is_searched && is_other {
                let since = Timestamp { wall: to.wall - 1, logical: i32::MAX };
                found.entry(place.clone()).or_default().push((since, new.columns.clone()));
            }
            !is_searched
        });
        if ends.is_empty() {
            continue;
        }
        if let Some(lasted) = lasting.due() {
            tracing::info!(
                "{count} tables were altered at the source: looking for when their primary keys changed{}",
                for_so_long(lasted)
            );
        }
        let middle = Timestamp { wall: from.wall + width / 2, logical: 0 };
        let keys = source.primary_keys(middle).await?;
        let (mut earlier, mut later) = (BTreeMap::new(), BTreeMap::new());
        for (place, (old, new)) in ends {
            let between = keys.get(&place).cloned().unwrap_or_else(|| old.clone());
            earlier.insert(place.clone(), (old, between.clone()));
            later.insert(place, (between, new));
        }
        spans.push(Span { from: middle, to, ends: later });
        spans.push(Span { from, to: middle, ends: earlier });
    }
    Ok(found)
}
