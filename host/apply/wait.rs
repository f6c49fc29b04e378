//! A row that the target does not take: applying waits in front of it, and goes on once the row has another version, or the
//! target takes it.
//!
//! Owns: when it is tried again, and over how many later source transactions. Does not own: what a part is and how it is written
//! (`step`); receiving, which goes on meanwhile.
//!
//! A corrected version comes in a later source transaction. A window that ends behind it has the bad one no more, since of
//! every row only the last version is written, and equals the source at its end like any other.

use std::time::{Duration, SystemTime};

use ebb_sdk::{ErrorKind, Timestamp};
use tokio::time::timeout;

use super::step::{Halt, Part, Step, Tried};
use super::{Applier, Pause, plan};
use crate::error::{Error, Result};
use crate::order::Limits;
use crate::status::Waiting;
use crate::target::Taken;

/// Between two tries; doubled each time.
const DELAY_MIN: Duration = Duration::from_secs(1);
const DELAY_MAX: Duration = Duration::from_secs(30);
/// The log is reminded once in so many tries.
const LOGGED_EVERY: u32 = 10;

/// What came of one look at the row.
enum Look {
    Healed,
    Stopped,
    /// The target is down.
    Down,
    Refused(Error),
}

impl Applier {
    /// Waits until the row in front is taken. False when asked to stop meanwhile.
    ///
    /// # Errors
    /// What is not about the row: another process has taken over, a table has changed, a promise was broken.
    pub(super) fn wait_out(&mut self, taken: &mut Taken, mut error: Error) -> Result<bool> {
        let since = SystemTime::now();
        let at = self.first_transaction(taken.progress.applied)?;
        let mut tries = 0;
        loop {
            let delay = DELAY_MIN.saturating_mul(1 << tries.min(10)).min(DELAY_MAX);
            self.status.waiting(Some(Waiting {
                since,
                at,
                error: error.clone(),
                tries,
                next_try: SystemTime::now() + delay,
            }));
            if tries % LOGGED_EVERY == 0 {
                report(&error, at, taken.progress.applied, tries);
            }
            let look = match self.rest(delay) {
                Pause::Stop => Look::Stopped,
                Pause::Work => match self.reopen(taken)? {
                    true => self.look(taken)?,
                    false => Look::Down,
                },
            };
            tries += 1;
            match look {
                Look::Healed | Look::Stopped => {
                    self.status.waiting(None);
                    return Ok(matches!(look, Look::Healed));
                }
                Look::Down => {}
                Look::Refused(refusal) => error = refusal,
            }
        }
    }

    /// The timestamp of the source transaction that comes next.
    fn first_transaction(&self, applied: Timestamp) -> Result<Timestamp> {
        let next = self.store.scan(applied, *self.resolved.borrow()).next().transpose()?;
        Ok(next.map_or(applied, |row| row.timestamp))
    }

    /// Sleeps until the delay is over, somebody asks for another try, or for a stop.
    fn rest(&mut self, delay: Duration) -> Pause {
        let (stop, hangups) = (&mut self.stop, &mut self.hangups);
        hangups.mark_unchanged();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stop.wait_for(|&stop| stop) => Pause::Stop,
                Ok(()) = hangups.changed() => Pause::Work,
                _ = timeout(delay, std::future::pending::<()>()) => Pause::Work,
            }
        })
    }

    /// A session that sees the target as it is now; false while it is down.
    fn reopen(&mut self, taken: &mut Taken) -> Result<bool> {
        taken.session.close();
        let opened = self.open().and_then(|mut session| {
            let progress = session.progress(self.holder.feed())?;
            Ok((session, progress))
        });
        match opened {
            Ok((session, progress)) => {
                let applied = taken.progress.applied;
                self.settled(progress, taken.progress.epoch, Step { from: applied, to: applied })?;
                taken.session = session;
                Ok(true)
            }
            Err(error) if error.kind == ErrorKind::Retry => {
                tracing::debug!("the target is down: {error}");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The first source transaction alone, then together with as many of those behind it as fit, then with fewer, as long as it
    /// is another row that is refused.
    fn look(&mut self, taken: &mut Taken) -> Result<Look> {
        let span = Step { from: taken.progress.applied, to: *self.resolved.borrow() };
        if matches!(self.know_keys(span.to)?, Pause::Stop) {
            return Ok(Look::Stopped);
        }
        let first = match self.attempt(taken, span, 1)? {
            (Look::Refused(error), _) => error,
            (look, _) => return Ok(look),
        };
        let (mut few, mut many, mut next) = (1, usize::MAX, usize::MAX);
        while many - few > 1 {
            match self.attempt(taken, span, next)? {
                (Look::Refused(_), count) if count <= few => break,
                (Look::Refused(error), count) if is_same_row(&error, &first) => few = count,
                (Look::Refused(_), count) => many = count,
                (look, _) => return Ok(look),
            }
            if many == usize::MAX {
                break;
            }
            next = few.midpoint(many);
        }
        Ok(Look::Refused(first))
    }

    /// Writes the first source transactions of a span, at most so many. Also returns how many there were.
    fn attempt(&mut self, taken: &mut Taken, span: Step, transactions_max: usize) -> Result<(Look, usize)> {
        let facts = plan::facts(&self.catalog);
        let mut part: Part = self.part(&facts, span, Limits { transactions_max, ..self.limits() })?;
        let count = part.window.transactions;
        part.keep_whole();
        let look = match self.write_part(taken, &facts, &mut part) {
            Ok(Tried::Committed) => {
                let to = part.window.to;
                self.committed(taken, to, count, part.rows())?;
                tracing::info!(%to, "the target takes the rows again");
                Look::Healed
            }
            Ok(Tried::Stopped) => Look::Stopped,
            Ok(Tried::Split(_)) => Look::Down,
            Err(Halt::Row(error)) => Look::Refused(error),
            Err(Halt::Final(error)) => return Err(error),
        };
        Ok((look, count))
    }

    fn know_keys(&mut self, to: Timestamp) -> Result<Pause> {
        let (stop, keys) = (&mut self.stop, &self.keys);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stop.wait_for(|&stop| stop) => Ok(Pause::Stop),
                known = keys.know(to) => known.map(|_| Pause::Work),
            }
        })
    }
}

fn report(error: &Error, at: Timestamp, applied: Timestamp, tries: u32) {
    let fact = |name: &str| error.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    let hint = format!(
        "{}; or correct the row at the source, or delete it there: its new version takes the place of this one. It is tried again \
         every 30 s at most, and at once on SIGHUP; --on-row-error exit ends the run instead",
        error.hint.as_deref().unwrap_or("make room for it on the target")
    );
    tracing::error!(
        source_timestamp = %at,
        %applied,
        tries,
        table = fact("table"),
        column = fact("column"),
        key = fact("key"),
        constraint = fact("constraint"),
        code = fact("code"),
        hint,
        "applying waits, and receiving goes on: {error}"
    );
}

/// Whether two refusals are about one row, as far as they say.
fn is_same_row(one: &Error, other: &Error) -> bool {
    let row = |error: &Error| {
        let fact = |name: &str| error.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        (fact("table"), fact("key"), fact("key").is_none().then(|| error.message.clone()))
    };
    row(one) == row(other)
}
