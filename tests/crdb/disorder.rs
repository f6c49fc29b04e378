//! Sequences that a receiver must bear: rows reversed, rows repeated with older ones after newer.
//!
//! Invariant: the versions of one key first come in the order of their times.

use std::collections::{HashMap, VecDeque};

use crate::history::Version;
use crate::message::Message;

const OLDER_MESSAGES_MAX: usize = 100;

/// Children before parents: the last comes first. Where a key comes more than once, its versions take the places of
/// that key in their own order.
pub(crate) fn reverse(page: Vec<Version>) -> Vec<Version> {
    let mut versions: HashMap<(u32, Vec<String>), VecDeque<Version>> = HashMap::new();
    let places: Vec<_> = page.iter().rev().map(|version| (version.relation, version.key.clone())).collect();
    for version in page {
        versions.entry((version.relation, version.key.clone())).or_default().push_back(version);
    }
    places.iter().filter_map(|place| versions.get_mut(place)?.pop_front()).collect()
}

/// All of the new messages once more from the end, then some of those from before, from the end too.
pub(crate) fn repeats(new: &[Message], recent: &VecDeque<Message>) -> Vec<Message> {
    new.iter().rev().chain(recent.iter().rev().take(OLDER_MESSAGES_MAX)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::history::{Shape, Tick};

    fn version(relation: u32, key: &str, tick: Tick) -> Version {
        let shape = Arc::new(Shape { names: Vec::new(), kinds: Vec::new(), sorted: Vec::new(), key: Vec::new() });
        Version { relation, key: vec![key.to_owned()], tick, shape, after: None, before: None }
    }

    #[test]
    fn reversed_but_for_the_versions_of_one_key() {
        let page = vec![version(1, "a", 1), version(1, "b", 1), version(2, "a", 2), version(1, "a", 3)];
        let found: Vec<_> = reverse(page).into_iter().map(|v| (v.relation, v.key[0].clone(), v.tick)).collect();
        let expected = [(1, "a", 1), (2, "a", 2), (1, "b", 1), (1, "a", 3)];
        assert_eq!(found, expected.map(|(relation, key, tick)| (relation, key.to_owned(), tick)));
    }
}
