//! How many rows the target is given at once, and since when it takes none.
//!
//! Owns: giving less where it was too slow, and more again afterwards. Does not own: the limit (`--transaction-rows-max`), and
//! what too slow is (`attempt`).

use std::sync::atomic::{AtomicUsize, Ordering};

use super::outage::Outage;

/// Shared by the applier and the thread that reads ahead.
#[derive(Debug)]
pub struct Pace {
    rows: AtomicUsize,
    rows_max: usize,
    pub(super) outage: Outage,
}

impl Pace {
    pub fn new(rows_max: usize) -> Self {
        let rows_max = rows_max.max(1);
        Self { rows: AtomicUsize::new(rows_max), rows_max, outage: Outage::default() }
    }

    /// How many rows a window, or a block of a large transaction, may have now.
    pub fn rows(&self) -> usize {
        self.rows.load(Ordering::Relaxed)
    }

    /// So many were too many. Returns how many are tried next.
    pub fn slow_down(&self, rows: usize) -> usize {
        let less = (rows.min(self.rows()) / 2).max(1);
        self.rows.store(less, Ordering::Relaxed);
        less
    }

    /// The target has kept up: a little more, so that it is not too much again at once.
    pub fn keep_up(&self) {
        let rows = self.rows();
        if rows < self.rows_max {
            self.rows.store((rows + rows / 8 + 1).min(self.rows_max), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_and_grows_back() {
        let pace = Pace::new(100);
        assert_eq!((pace.rows(), pace.slow_down(100), pace.slow_down(30), pace.rows()), (100, 50, 15, 15));
        assert_eq!((0..5).map(|_| pace.slow_down(1)).last(), Some(1));
        assert_eq!(pace.rows(), 1);
        (0..60).for_each(|_| pace.keep_up());
        assert_eq!(pace.rows(), 100);
    }
}
