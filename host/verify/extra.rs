//! Rows that only the target has.
//!
//! Owns: looking for them where the counts tell of some, page by page in the target's order, until as many are found. Does not own:
//! counting (`pass`).

use tokio::runtime::Handle;

use super::failure::Failure;
use super::pace::Pace;
use super::pairs::Pair;
use super::state::{Kind, Mismatch};
use super::work::{Ground, described};
use crate::error::Result;
use crate::plugin::Session;
use crate::source::{Past, is_no_value};
use ebb_sdk::{Key, KeyPage};

/// Keys that the source is asked about in one statement.
const KEYS_MAX: u32 = 1_000;

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) rows: u64,
    pub(super) shown: Vec<Mismatch>,
    /// The end of the run came before the end of the table.
    pub(super) is_cut: bool,
}

/// Where is looked, and how fast.
pub(super) struct Search<'a> {
    pub(super) runtime: &'a Handle,
    pub(super) past: &'a Past<'a>,
    pub(super) ground: Ground<'a>,
    pub(super) pair: &'a Pair,
    pub(super) pace: &'a Pace<'a>,
}

impl Search<'_> {
    /// Looks for rows that the source does not have. `expected` ends the search, where it is known; `show` hears of every page.
    pub(super) fn find(
        &self,
        session: &mut Session,
        expected: Option<u64>,
        show: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Found, Failure> {
        let mut found = Found::default();
        let mut page = KeyPage { after: None, limit: KEYS_MAX };
        loop {
            let keys = session.keys(self.pair.position, &page)?;
            self.pace.wait(keys.len(), None);
            if self.pace.is_ending() {
                return Ok(Found { is_cut: true, ..found });
            }
            for at in self.absent(&keys)? {
                found.rows += 1;
                if found.shown.len() < self.ground.shown_max {
                    found.shown.push(described(session, self.ground, self.pair, Kind::Extra, &keys[at], Vec::new())?);
                }
            }
            show()?;
            let is_last = keys.len() < KEYS_MAX as usize;
            page.after = keys.into_iter().next_back();
            if is_last || expected.is_some_and(|expected| found.rows >= expected) {
                return Ok(found);
            }
        }
    }

    /// Which of the keys the source lacks. One that is no value of the source's type is in no row there; which one it is shows
    /// when they are asked about in parts.
    fn absent(&self, keys: &[Key]) -> Result<Vec<usize>> {
        let mut found = Vec::new();
        let mut parts = Vec::from([(0, keys.len())]);
        while let Some((start, end)) = parts.pop() {
            let part = start..end;
            if part.is_empty() {
                continue;
            }
            let sql = self.pair.absent(self.ground.at, &keys[part.clone()]);
            match self.runtime.block_on(self.past.rows(&sql)) {
                Ok(rows) => {
                    let numbers = rows.iter().filter_map(|row| row.get(0)?.parse::<usize>().ok());
                    found.extend(numbers.map(|number| start + number));
                }
                Err(error) if is_no_value(&error) && part.len() == 1 => found.push(start),
                Err(error) if is_no_value(&error) => {
                    let middle = start + part.len() / 2;
                    parts.extend([(start, middle), (middle, end)]);
                }
                Err(error) => return Err(error),
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}
