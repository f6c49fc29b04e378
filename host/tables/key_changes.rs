//! What follows from a primary key that was changed at the source: rows are read by the key of their time, or the run ends.
//!
//! Owns: making keys readable over time, and each refusal with its words. Does not own: when the source is asked (`watch`), the
//! search for the moment of a change (`seen_keys`).

use ebb_sdk::Timestamp;

use super::Table;
use super::key::KeyShape;
use super::problems::Judge;
use super::seen_keys::{Seen, Span, changes};
use super::watch::{Failure, KeyWatch, Keys, failure};
use crate::code;
use crate::config;
use crate::error::{Error, Result};
use crate::source::{Cause, Place, PrimaryKey, Source, SourceTable, may_pass};

impl KeyWatch {
    /// From when on rows cannot be told apart on the target, whose key has other columns, and why.
    pub(super) async fn ambiguous(&self, source: &Source) -> Result<Option<(Timestamp, Error)>, Failure> {
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
    pub(super) async fn follow(
        &self,
        source: &Source,
        (from, before): (Timestamp, &Keys),
        (to, after): (Timestamp, &Keys),
        changed: &[&Table],
        unseen: Timestamp,
    ) -> Result<(), Failure> {
        let then = source.primary_keys(from).await;
        let full = source.tables().await.map_err(failure)?;
        for table in changed {
            let Some(place) = &table.source else { continue };
            let (Some(old), Some(new)) = (before.get(place), after.get(place)) else { continue };
            let found = full.iter().find(|found| (&found.schema, &found.name) == (&place.0, &place.1));
            // The tables are as they are now, which may be after the time of this look.
            let Some(found) = found.filter(|found| found.key_columns.ends_with(&new.columns)) else {
                return Err(Failure::Unreachable(moved_on(place)));
            };
            let mut moments = Vec::new();
            let span = Span { from, old: old.clone(), to, new: new.clone() };
            // What is remembered and what the source says of the same time must be one, or halving finds nothing true.
            let searched = match &then {
                Ok(keys) if keys.get(place).is_none_or(|key| key.is_same(old)) => {
                    changes(source, place, span, &mut moments).await
                }
                Ok(_) => Err(Error::new(code::table::KEY_UNDATED, "its history says otherwise")),
                Err(error) => Err(error.clone()),
            };
            if let Err(error) = searched {
                if is_lost(&error) {
                    return Err(Failure::Unreachable(error));
                }
                let is_blind = unseen > from;
                let found_since = self.since_the_start(source, place, (old, new), to, is_blind).await;
                moments = found_since.map_err(|_| match self.refuse(table, found, &old.columns) {
                    Err(refused) => Failure::Final(refused),
                    Ok(()) => undated(&error, place, &old.columns, &new.columns),
                })?;
            }
            self.take_over(table, found, moments, (&new.columns, unseen))?;
        }
        Ok(())
    }

    /// Where the source has no history of the last look any more: of rows that the target has, keys do not matter, unless some
    /// of them were applied without asking.
    async fn since_the_start(
        &self,
        source: &Source,
        place: &Place,
        (old, new): (&PrimaryKey, &PrimaryKey),
        to: Timestamp,
        is_blind: bool,
    ) -> Result<Vec<(Timestamp, Vec<String>)>> {
        let unknown = || Error::new(code::table::KEY_UNDATED, "it is not known then either");
        if is_blind {
            return Err(unknown());
        }
        let then = match source.primary_keys(self.applied).await {
            Ok(keys) => keys.get(place).cloned().ok_or_else(unknown)?,
            // Many changes of a table make another index, and hardly ever is it a key that was changed and changed back.
            Err(error) if old.columns == new.columns => {
                tracing::warn!(
                    error_code = code::table::KEY_UNDATED.text(),
                    hint = "if its primary key was changed, and changed back, load the table anew",
                    "{}.{} was altered at the source before its history begins, perhaps its primary key too: {error}",
                    place.0,
                    place.1
                );
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut moments = Vec::new();
        if then.columns != old.columns {
            moments.push((self.applied, then.columns.clone()));
        }
        let span = Span { from: self.applied, old: then, to, new: new.clone() };
        changes(source, place, span, &mut moments).await?;
        Ok(moments)
    }

    /// Later rows are staged also where the target cannot tell them apart, so that those of before can be completed.
    fn take_over(
        &self,
        table: &Table,
        found: &SourceTable,
        moments: Vec<(Timestamp, Vec<String>)>,
        (new, unseen): (&[String], Timestamp),
    ) -> Result<(), Failure> {
        let mut shapes = table.key.history();
        for (since, columns) in moments {
            if since < unseen {
                return Err(Failure::Final(read_blindly(found, since, unseen)));
            }
            // The catalog may leave out columns that CockroachDB has put before the key.
            let columns = if columns == new { found.key_columns.clone() } else { columns };
            tracing::info!(
                since = %since,
                "the primary key of {}.{} changed at the source to ({}); its rows are read by it from then on",
                found.schema,
                found.name,
                columns.join(", ")
            );
            shapes.push(KeyShape::of(found, columns, since));
        }
        table.key.replace(shapes);
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
}

/// Rows that are staged were sent by keys that only the source and this folder know.
pub(super) fn refuse_without_source(seen: &Seen) -> Result<()> {
    let Some(((schema, name), _)) = seen.shapes.iter().find(|(_, shapes)| shapes.len() > 1) else { return Ok(()) };
    Err(Error::new(
        code::table::KEYS_UNREAD,
        format!("the primary key of {schema}.{name} was changed at the source, and without the source rows are read by one key"),
    )
    .hint("give the source, with --sourceConn in ebb start")
    .field("table", format!("{schema}.{name}")))
}

pub(super) fn vanished(place: &Place) -> Error {
    let (schema, name) = place;
    Error::new(code::table::VANISHED, format!("the source's table {schema}.{name} was dropped or renamed while ebb ran"))
        .hint("after DROP TABLE start again: ebb applies what is staged of the table, and goes on without it; after RENAME \
               cancel the changefeed first, then start again with filters that choose the new name: ebb cannot read deletes under \
               the old one")
        .field("table", format!("{schema}.{name}"))
}

fn read_blindly(found: &SourceTable, since: Timestamp, unseen: Timestamp) -> Error {
    let SourceTable { schema, name, .. } = found;
    Error::new(code::table::KEY_READ_BLINDLY, format!(
        "the primary key of {schema}.{name} was changed at the source at {since}, and rows up to {unseen} were applied while \
         the source could not be asked: deletes among them may have met other rows"
    ))
    .hint("compare this table on both sides, correct the rows that differ, and start again")
    .field("table", format!("{schema}.{name}"))
}

/// A source that is lost in the middle of a search says nothing of its history.
fn is_lost(error: &Error) -> bool {
    let is_told = error.code == code::table::KEY_UNDATED || Cause::of(error) == Some(Cause::HistoryGone);
    !is_told && may_pass(error)
}

fn moved_on((schema, name): &Place) -> Error {
    Error::new(code::table::KEYS_UNREAD, format!("{schema}.{name} was changed again while its key was read"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_source_says_of_its_history_is_no_lost_connection() {
        let error = |code, message: &str| Error::new(code, message);
        let lost = error(code::source::UNREACHABLE, "the connection was closed");
        assert!(is_lost(&lost));
        assert!(!is_lost(&error(code::source::REFUSES, "batch timestamp must be after replica GC threshold")));
        assert!(!is_lost(&error(code::table::KEY_UNDATED, "its history says otherwise")));
    }
}
