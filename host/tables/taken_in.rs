//! Tables that the last run did not replicate: what was changed there meanwhile is nowhere.
//!
//! Owns: refusing them until the operator says that they were loaded since. Does not own: the tables of the last run
//! (`remembered`, `target`).

use std::collections::BTreeMap;

use ebb_sdk::Timestamp;

use super::TableRoute;
use crate::code;
use crate::config::NewTables;
use crate::error::{Error, Result, listed};
use crate::stage::{MetadataFile, RunState};
use crate::target::{FeedState, SourceName};

/// Refused tables by name, and where the run stood when each was refused first.
type Refused = BTreeMap<String, Timestamp>;

/// The tables among those of this run that the last one did not replicate, once they may be taken in. `last`: those of the
/// last run as the folder knows them; the target has a list of its own, and each may be of a backup: a table must be on both.
///
/// # Errors
/// Unless `--new-tables` says that they were loaded since.
pub fn taken_in(
    routes: &[TableRoute],
    (found, last): (&FeedState, Option<&[SourceName]>),
    run_state: &RunState,
    allowed: NewTables,
    now: Timestamp,
) -> Result<Vec<SourceName>> {
    let complete = found.applied().max(run_state.resolved());
    if complete == Timestamp::ZERO {
        return Ok(Vec::new());
    }
    if found.tables().is_none() && last.is_none() {
        tracing::warn!(
            error_code = code::table::TAKEN_IN.text(),
            "which tables the last run replicated is not known: one that is new must hold everything up to {complete}"
        );
    }
    let new = new_tables(routes, (found, last));
    let mut refused: Refused = run_state.load(MetadataFile::RefusedTables)?.unwrap_or_default();
    let names: Vec<String> = new.iter().map(|(schema, name)| format!("{schema}.{name}")).collect();
    let judged = if new.is_empty() { Ok(()) } else { judge(&names, &mut refused, complete, allowed, now) };
    if judged.is_err() {
        run_state.save(MetadataFile::RefusedTables, &refused)?;
    }
    judged.map(|()| new)
}

/// Those that are not on both lists, as far as there are such.
pub fn new_tables(routes: &[TableRoute], (found, last): (&FeedState, Option<&[SourceName]>)) -> Vec<SourceName> {
    let lists: Vec<&[SourceName]> = found.tables().into_iter().chain(last).collect();
    let is_new = |source: &&SourceName| lists.iter().any(|list| !list.contains(source));
    let sources = routes.iter().filter(|route| !route.is_left).filter_map(|route| route.source.as_ref());
    sources.filter(is_new).cloned().collect()
}

/// To be called once the start that takes them in has succeeded.
pub fn forget_refusals(run_state: &RunState, taken_in: &[SourceName]) -> Result<()> {
    let mut refused: Refused = run_state.load(MetadataFile::RefusedTables)?.unwrap_or_default();
    let known = refused.len();
    refused.retain(|name, _| !taken_in.iter().any(|(schema, table)| *name == format!("{schema}.{table}")));
    if refused.len() == known { Ok(()) } else { run_state.save(MetadataFile::RefusedTables, &refused) }
}

fn judge(
    names: &[String],
    refused: &mut Refused,
    complete: Timestamp,
    allowed: NewTables,
    now: Timestamp,
) -> Result<()> {
    let shown = listed(names);
    let first = names.iter().filter_map(|name| refused.get(name)).min().copied();
    let since = match allowed {
        NewTables::Refuse => {
            for name in names {
                refused.entry(name.clone()).or_insert(complete);
            }
            return Err(Error::new(code::table::NEW_TABLES, format!(
                "the last run did not replicate {shown}: what was changed there until {complete} would be missing on the target"
            ))
            .hint(format!("{}, or leave them out with --table-exclusion-filter", how_to_load(complete))));
        }
        NewTables::Accept => match first {
            // It was loaded as the refusal said, but the run has gone on without it since.
            Some(first) if first < complete => {
                return Err(Error::new(code::table::NEW_TABLES, format!(
                    "{shown} were refused at {first}, and the run has come to {complete} without them: what was changed there in \
                     between would be missing on the target, if they were loaded before"
                ))
                .hint(format!("{} (now --new-tables accept)", how_to_load(complete))));
            }
            _ => "after the last run had ended, as --new-tables accept says".to_owned(),
        },
        NewTables::LoadedAt(at) if at < complete => {
            return Err(Error::new(code::table::NEW_TABLES, format!(
                "{shown} were loaded as they were at {at}, and the run stands at {complete}: what was changed there in between \
                 would be missing on the target"
            ))
            .hint(format!("{} (now {at})", how_to_load(complete))));
        }
        NewTables::LoadedAt(at) if at > now => {
            return Err(Error::new(
                code::table::NEW_TABLES,
                format!("--new-tables {at} lies in the future: the source's time is {now}"),
            )
            .hint("give the time that the tables were loaded as of"));
        }
        NewTables::LoadedAt(at) => format!("as they were at {at}"),
    };
    tracing::warn!(
        error_code = code::table::TAKEN_IN.text(),
        "taken in: {shown}, loaded {since}; changes after {complete} are replicated, and the target must hold everything before"
    );
    Ok(())
}

fn how_to_load(complete: Timestamp) -> String {
    format!(
        "load them into the target while ebb does not run, AS OF SYSTEM TIME a time T of {complete} or later, then start with \
         --new-tables T"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: i64) -> Timestamp {
        Timestamp { wall, logical: 0 }
    }

    #[test]
    fn a_table_is_taken_in_only_where_nothing_can_be_missing() {
        let names = ["public.b".to_owned()];
        let check = |first: Option<i64>, allowed: NewTables, expected: Result<(), &str>| {
            let mut refused: Refused = first.map(|first| ("public.b".to_owned(), at(first))).into_iter().collect();
            let judged = judge(&names, &mut refused, at(20), allowed, at(30)).map_err(|error| error.message);
            match (&judged, expected) {
                (Ok(()), Ok(())) => {}
                (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
                _ => panic!("{judged:?}"),
            }
        };
        check(None, NewTables::Refuse, Err("did not replicate public.b"));
        check(None, NewTables::Accept, Ok(()));
        check(Some(20), NewTables::Accept, Ok(()));
        check(Some(10), NewTables::Accept, Err("without them"));
        check(Some(10), NewTables::LoadedAt(at(19)), Err("in between"));
        check(Some(10), NewTables::LoadedAt(at(20)), Ok(()));
        check(None, NewTables::LoadedAt(at(31)), Err("lies in the future"));
    }

    #[test]
    fn the_first_refusal_is_kept() {
        let mut refused = Refused::new();
        for complete in [10, 20] {
            let judged = judge(&["public.b".to_owned()], &mut refused, at(complete), NewTables::Refuse, at(30));
            assert!(judged.is_err());
        }
        assert_eq!(refused["public.b"], at(10));
    }
}
