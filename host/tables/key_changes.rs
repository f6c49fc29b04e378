//! What follows from a primary key that was changed at the source: rows are read by the key of their time, or the run ends.
//!
//! Owns: making keys readable over time, and each refusal with its words. Does not own: when the source is asked (`watch`), the
//! search for the moment of a change (`key_search`), which rows the target cannot tell apart (`told_apart`).

use std::collections::BTreeMap;

use ebb_sdk::Timestamp;

use super::Table;
use super::key::KeyShape;
use super::key_search::{Span, changes};
use super::problems::Judge;
use super::seen_keys::{Seen, of};
use super::watch::{Failure, KeyWatch, Keys, failure};
use crate::code;
use crate::config;
use crate::error::{Error, Result};
use crate::source::{Cause, Place, PrimaryKey, Source, SourceTable, may_pass};

/// What following the changes has found.
pub(super) type Misread = Vec<(Place, Timestamp, Timestamp)>;

impl KeyWatch {
    /// Finds out when keys changed since the last look, and makes their rows readable before and after. Returns of which tables
    /// rows may have been read by a key that they did not have.
    pub(super) async fn follow(
        &self,
        source: &Source,
        (seen, before): (&Seen, &Keys),
        (to, after): (Timestamp, &Keys),
        changed: &[&Table],
    ) -> Result<Misread, Failure> {
        let from = seen.until;
        let full = source.tables().await.map_err(failure)?;
        let mut altered = Vec::new();
        for table in changed {
            let Some(place) = &table.source else { continue };
            let (Some(old), Some(new)) = (before.get(place), after.get(place)) else { continue };
            let found = full.iter().find(|found| (&found.schema, &found.name) == (&place.0, &place.1));
            // The tables are as they are now, which may be after the time of this look.
            let Some(found) = found.filter(|found| found.key_columns.ends_with(&new.columns)) else {
                return Err(Failure::Unreachable(moved_on(place)));
            };
            altered.push((*table, place, found, old, new));
        }
        let ends = altered.iter().map(|(_, place, _, old, new)| ((*place).clone(), ((*old).clone(), (*new).clone())));
        let mut searched = self.search(source, Span { from, to, ends: ends.collect() }).await?;
        let mut misread = Vec::new();
        for (table, place, found, old, new) in altered {
            let unseen = seen.unseen(place);
            let moments = match searched.remove(place).unwrap_or(Ok(Vec::new())) {
                Ok(moments) => moments,
                Err(error) => match self.since_the_start(source, place, (old, new), to, unseen > from).await {
                    Ok(moments) => moments,
                    Err(Failure::Final(_)) => {
                        self.refuse(table, found, &old.columns).map_err(Failure::Final)?;
                        return Err(undated(&error, place, (&old.columns, &new.columns), self.applied));
                    }
                    Err(lost) => return Err(lost),
                },
            };
            if let Some((since, _)) = moments.iter().find(|(since, _)| *since < unseen) {
                misread.push((place.clone(), *since, unseen));
            }
            let is_seen = of(&seen.shapes, place).is_some();
            take_over(table, found, (!is_seen).then_some(old), (moments, &new.columns));
        }
        Ok(misread)
    }

    /// When the keys of all these tables changed, or why the source does not say it of a table.
    async fn search(
        &self,
        source: &Source,
        mut span: Span,
    ) -> Result<BTreeMap<Place, Result<Vec<(Timestamp, Vec<String>)>>>, Failure> {
        let mut found = BTreeMap::new();
        let places: Vec<Place> = span.ends.keys().cloned().collect();
        let searched = match source.primary_keys(span.from).await {
            Ok(then) => {
                // What is remembered and what the source says of the same time must be one, or halving finds nothing true.
                span.ends.retain(|place, (old, _)| {
                    let is_one = then.get(place).is_none_or(|key| key.is_same(old));
                    if !is_one {
                        let error = Error::new(code::table::KEY_UNDATED, "its history says otherwise");
                        found.insert(place.clone(), Err(error));
                    }
                    is_one
                });
                changes(source, span).await
            }
            Err(error) => Err(error),
        };
        match searched {
            Ok(moments) => found.extend(moments.into_iter().map(|(place, moments)| (place, Ok(moments)))),
            Err(error) if is_lost(&error) => return Err(Failure::Unreachable(error)),
            Err(error) => {
                for place in places {
                    found.entry(place).or_insert_with(|| Err(error.clone()));
                }
            }
        }
        Ok(found)
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
    ) -> Result<Vec<(Timestamp, Vec<String>)>, Failure> {
        let unknown = || Failure::Final(Error::new(code::table::KEY_UNDATED, "it is not known then either"));
        if is_blind {
            return Err(unknown());
        }
        let then = match source.primary_keys(self.applied).await {
            Ok(keys) => keys.get(place).cloned().ok_or_else(unknown)?,
            Err(error) if is_lost(&error) => return Err(Failure::Unreachable(error)),
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
            Err(error) => return Err(Failure::Final(error)),
        };
        let mut moments = Vec::new();
        if then.columns != old.columns {
            moments.push((self.applied, then.columns.clone()));
        }
        let ends = BTreeMap::from([(place.clone(), (then, new.clone()))]);
        let found =
            changes(source, Span { from: self.applied, to, ends }).await.map_err(|error| match is_lost(&error) {
                true => Failure::Unreachable(error),
                false => Failure::Final(error),
            })?;
        moments.extend(found.into_values().flatten());
        Ok(moments)
    }

    pub(super) fn judge(&self) -> Judge<'_> {
        Judge { catalog: &self.catalog, case_sensitive: self.case_sensitive, triggers: config::Triggers::Fire }
    }

    /// A key by which rows cannot be told apart on the target ends the run.
    pub(super) fn refuse(&self, table: &Table, found: &SourceTable, old: &[String]) -> Result<()> {
        let target = &self.catalog.tables[table.position];
        let problem = self.judge().keys(found, target, ", and start again").into_iter().next();
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

/// Later rows are staged also where the target cannot tell them apart, so that those of before can be completed. `first`: the
/// key of the oldest rows, where no start has kept it.
fn take_over(
    table: &Table,
    found: &SourceTable,
    first: Option<&PrimaryKey>,
    (moments, new): (Vec<(Timestamp, Vec<String>)>, &[String]),
) {
    // The catalog may leave out columns that CockroachDB has put before the key.
    let whole = |columns: Vec<String>| if columns == new { found.key_columns.clone() } else { columns };
    let mut shapes = match first {
        Some(first) => vec![KeyShape::of(found, whole(first.columns.clone()), Timestamp::ZERO)],
        None => table.key.history(),
    };
    for (since, columns) in moments {
        let columns = whole(columns);
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

/// Ends the run once. What was applied stays as it is: nothing but a comparison mends it.
pub(super) fn read_blindly(misread: &Misread) -> Result<()> {
    let Some(((schema, name), _, _)) = misread.first() else { return Ok(()) };
    let told = misread.iter().map(|((schema, name), since, unseen)| {
        format!("{schema}.{name} (key changed at {since}, rows applied up to {unseen})")
    });
    Err(Error::new(code::table::KEY_READ_BLINDLY, format!(
        "a primary key was changed at the source, and rows were applied while the source could not be asked: deletes among them \
         may have met other rows, in {}",
        told.collect::<Vec<_>>().join(", ")
    ))
    .hint("compare each of these tables on both sides, correct the rows that differ, and start again")
    .field("table", format!("{schema}.{name}")))
}

/// At every later start, since another process may have started ebb again before anybody read why it had ended.
pub(super) fn warn_of_misread(misread: &Misread) {
    for ((schema, name), since, unseen) in misread {
        tracing::warn!(
            error_code = code::table::KEY_READ_BLINDLY.text(),
            hint = "compare the table on both sides, and correct the rows that differ; if that was done, nothing is to be done",
            "the primary key of {schema}.{name} was changed at {since}, and rows up to {unseen} were applied without knowing it"
        );
    }
}

/// A source that is lost in the middle of a search says nothing of its history.
pub(super) fn is_lost(error: &Error) -> bool {
    let is_told = error.code == code::table::KEY_UNDATED || Cause::of(error) == Some(Cause::HistoryGone);
    !is_told && may_pass(error)
}

fn moved_on((schema, name): &Place) -> Error {
    Error::new(code::table::KEYS_UNREAD, format!("{schema}.{name} was changed again while its key was read"))
}

fn undated(error: &Error, place: &Place, (old, new): (&[String], &[String]), applied: Timestamp) -> Failure {
    let message = format!(
        "the primary key of {}.{} was changed at the source from ({}) to ({}), and ebb cannot find out when: {}",
        place.0,
        place.1,
        old.join(", "),
        new.join(", "),
        error.message
    );
    let hint = match applied == Timestamp::ZERO {
        // It may need no history of before its progress.
        true => "start again once the target can be reached: its progress says which history is needed",
        false => "deletes around that time cannot be read: load the table anew, and start with a new --stagingSchema",
    };
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
