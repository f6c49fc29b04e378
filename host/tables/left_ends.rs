//! Where the rows of tables end that are not replicated any more, because later ones cannot be told apart on the target.
//!
//! Owns: that such a table ends by itself, and does not keep the others waiting. Does not own: which rows can be told apart
//! (`told_apart`), reading within the bounds (`stage`).

use std::collections::BTreeMap;

use ebb_sdk::Timestamp;

use super::watch::KeyWatch;
use super::{Table, TableRoute};
use crate::code;
use crate::source::Place;

/// By the table's name at the source.
#[derive(Default)]
pub(super) struct LeftEnds {
    ends: BTreeMap<Place, Timestamp>,
    /// Rows may have been read: no table can end earlier any more.
    is_reading: bool,
}

/// What follows for a table of which rows behind a time cannot be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It has no such rows.
    Kept,
    /// It ends there, as this start is about to keep.
    New,
    /// Rows of no table can be applied behind that time.
    OfAll,
}

impl LeftEnds {
    pub(super) fn judge(&mut self, table: &Table, since: Timestamp) -> End {
        let Some(place) = table.source.as_ref().filter(|_| table.is_left) else { return End::OfAll };
        match (self.ends.get(place), self.is_reading) {
            (Some(end), true) if *end <= since => End::Kept,
            (_, true) => End::OfAll,
            (end, false) => {
                let end = end.map_or(since, |end| since.min(*end));
                self.ends.insert(place.clone(), end);
                End::New
            }
        }
    }
}

impl KeyWatch {
    /// Ends the tables that are left, before any row is read.
    pub fn end_left(&self, routes: &mut [TableRoute]) {
        let mut ends = self.left_ends.lock();
        for route in routes.iter_mut().filter(|route| route.is_left) {
            let Some(place) = &route.source else { continue };
            let Some(table) =
                self.tables.list().iter().find(|table| table.is_left && table.source.as_ref() == Some(place))
            else {
                continue;
            };
            if let Some(&since) = ends.ends.get(place)
                && route.bounds.up_to.is_none_or(|up_to| since < up_to)
            {
                tracing::warn!(
                    error_code = code::table::LEFT.text(),
                    hint = "load the table anew if it is to be replicated again",
                    "rows of {}.{} are applied up to {since}, and later ones are left out: they could not be told apart on the \
                     target",
                    place.0,
                    place.1
                );
                route.bounds.up_to = Some(since);
                self.run_state.limit([(table.number, route.bounds)].into_iter());
            }
            if let Some(up_to) = route.bounds.up_to {
                ends.ends.insert(place.clone(), up_to);
            }
        }
        ends.is_reading = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_table_that_is_left_ends_by_itself_and_only_before_rows_are_read() {
        let at = |wall| Timestamp { wall, logical: 0 };
        let table = |is_left| Table { source: Some(("public".into(), "t".into())), is_left, ..Table::default() };
        let mut ends = LeftEnds::default();
        assert_eq!(ends.judge(&table(false), at(5)), End::OfAll);
        assert_eq!(ends.judge(&table(true), at(5)), End::New);
        ends.is_reading = true;
        assert_eq!(
            [at(4), at(5), at(6)].map(|since| ends.judge(&table(true), since)),
            [End::OfAll, End::Kept, End::Kept]
        );
    }
}
