//! Which tables a run applies, established once before anything is received: every table of the source has its counterpart
//! on the target, with the same primary key and room for every column.
//!
//! Owns: matching source and target, and the findings that stop a start. Does not own: asking either of them.

mod columns;
mod key;
mod key_changes;
mod key_limit;
mod key_search;
mod left_ends;
mod matching;
mod origin;
mod problems;
mod remembered;
mod rights;
mod route;
mod seen_keys;
mod taken_in;
mod told_apart;
mod watch;

use std::sync::Arc;

use ebb_sdk::{Catalog, ConnectOptions, FitQuestion, TableIndex};

use crate::config::Config;
use crate::error::{Error, Result, listed};
use crate::findings::{Finding, FindingId, Findings, Severity};
use crate::plugin::Session;
use crate::source::{Source, SourceTable, tells_json_null};
use crate::stage::{Bounds, RunState};
use columns::TypeCheck;
use matching::Names;

pub use key::{KeyShape, SourceKey, Unreadable, parts_of};
pub(crate) use origin::two_tables;
pub use origin::{Origin, Origins};
pub use remembered::{
    are_remembered, are_types_known, keep_bounds, keys_of, last, left, outdate, refuse_other_database, remember,
    remembered,
};
pub use route::{Destination, Table, Tables};
pub use taken_in::{forget_refusals, new_tables, taken_in};
pub use watch::{KeyWatch, Rows};

/// Tables that are named each in a line of its own.
const SHOWN_MAX: usize = 10;

/// A table that the run applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRoute {
    /// The segments of the path that its rows are sent to.
    pub path: Vec<String>,
    /// The names that messages may call it by.
    pub topics: Vec<String>,
    /// Its position in the target's catalog.
    pub position: TableIndex,
    /// Schema and name at the source; `None` when the source is not known.
    pub source: Option<(String, String)>,
    /// The source's primary key; `None` when the source is not known.
    pub key: Option<KeyShape>,
    /// Those that every row of the source has, as far as it is known.
    pub columns: Vec<String>,
    pub hidden_columns: Vec<String>,
    /// Rows of it are staged, and it is not replicated any more.
    pub is_left: bool,
    /// Which rows of it are replicated, where it was taken in or left out while rows of it were staged.
    pub bounds: Bounds,
    /// Why a row of it ends the run, where it is not known which tables will send rows.
    pub refused: Option<Error>,
}

/// What a run applies, as far as names and keys tell.
#[derive(Debug)]
pub struct TableMatch {
    routes: Vec<TableRoute>,
    findings: Findings,
    checks: Vec<TypeCheck>,
    scope: Scope,
}

/// Which tables will send rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// Those of the run's own changefeed: what stands in the way of one keeps the run from starting.
    Chosen,
    /// Any of the target: what stands in the way of one ends the run when its first row comes.
    Any,
}

/// The tables of this run: those that the filters choose, or every table of the target.
pub async fn matched(config: &Config, source: Option<&Source>, catalog: &Catalog) -> Result<TableMatch> {
    let names = Names {
        catalog,
        case_sensitive: config.target.case_sensitive,
        ignored_columns: &config.target.ignored_columns,
        triggers: config.apply.triggers,
    };
    match (source, &config.changefeed) {
        (Some(source), Some(settings)) => {
            source.check_rangefeeds().await?;
            let chosen = source.chosen_tables(settings).await?;
            let mut matched = names.matched(source.database(), &chosen);
            matched.note_json_null(source.version(), &chosen.tables);
            Ok(matched)
        }
        (source, _) => {
            let known = match source {
                Some(source) => source.tables().await?,
                None => Vec::new(),
            };
            Ok(names.every(&known))
        }
    }
}

impl TableMatch {
    /// Rows are staged that the target must take by the key that it has, before that is changed.
    pub fn apply_first(&mut self) {
        let of_keys = [FindingId::KeysDiffer, FindingId::KeyAmbiguous];
        self.findings.fix_first(&of_keys, "apply what came before the key was changed, with ebb fetch --apply-only");
    }

    /// Asks the target's session about the types, logs what may become a hindrance, and fails for what is one. Without a
    /// session, while the target is down, the types are not looked at.
    pub fn check_types(
        self,
        catalog: &Catalog,
        session: Option<(&mut Session, &ConnectOptions)>,
    ) -> Result<Vec<TableRoute>> {
        let (routes, findings) = self.judge(catalog, session)?;
        findings.conclude().map(|()| routes)
    }

    /// The same, and everything that was found.
    pub fn judge(
        self,
        catalog: &Catalog,
        session: Option<(&mut Session, &ConnectOptions)>,
    ) -> Result<(Vec<TableRoute>, Findings)> {
        let Self { mut routes, mut findings, checks, scope } = self;
        if let Some((session, connect)) = session.filter(|_| !checks.is_empty()) {
            let questions: Vec<FitQuestion> = checks.iter().map(|check| check.question.clone()).collect();
            let fits = session.fits(&questions)?.unwrap_or_default();
            for (check, fit) in checks.into_iter().zip(fits) {
                let table = &catalog.tables[check.question.table];
                let column = &table.columns[check.question.column].name;
                let (position, may_round) = (check.question.table, connect.may_round(table, column));
                let mut found = Findings::default();
                check.judge(fit, may_round, &mut found);
                let table = routes.iter_mut().find(|route| route.position == position);
                if let Some(table) = table.filter(|_| scope == Scope::Any) {
                    table.refuse(found.take_fatal().map(Error::from));
                }
                findings.append(found);
            }
        }
        if scope == Scope::Any {
            note_refused(catalog, &routes, &mut findings);
        }
        note_unique_rules(catalog, &routes, &mut findings);
        // Where any table may come, rights are known to lack only once a row of it has.
        let severity = if scope == Scope::Any { Severity::Warning } else { Severity::Fatal };
        let written = routes.iter().map(|route| route.position).collect();
        findings.extend(rights::missing(catalog, &written).map(|finding| Finding { severity, ..finding }));
        Ok((routes, findings))
    }

    /// Before 24.2 a changefeed cannot tell a JSON null from SQL NULL.
    fn note_json_null(&mut self, version: &str, chosen: &[SourceTable]) {
        let is_json = |table: &&SourceTable| {
            table.columns.iter().any(|column| column.source_type.family == ebb_sdk::Family::Json)
        };
        let tables: Vec<_> = chosen.iter().filter(is_json).map(|table| &table.name).collect();
        if !tables.is_empty() && !tells_json_null(version) {
            self.findings.add(
                Finding::warning(
                    FindingId::JsonNull,
                    "source",
                    format!(
                        "this release of CockroachDB sends a JSON null as SQL NULL, and so it is written, in {}",
                        join(&tables)
                    ),
                )
                .fix("upgrade CockroachDB to 24.2 or later, or be sure that the application writes no JSON null"),
            );
        }
    }
}

impl TableRoute {
    /// The first reason is the one that is told.
    fn refuse(&mut self, why: Option<Error>) {
        if self.refused.is_none() {
            self.refused = why;
        }
    }
}

/// Rules that no list of columns tells cannot be given up before they are taken, and wait for no COMMIT.
fn note_unique_rules(catalog: &Catalog, routes: &[TableRoute], findings: &mut Findings) {
    let Some(right) = catalog.suspend_hint.as_ref().filter(|_| !catalog.suspends_checks) else { return };
    let tables = routes.iter().map(|route| &catalog.tables[route.position]);
    let tables: Vec<_> = tables.filter(|table| table.has_other_unique_rules).collect();
    if !tables.is_empty() {
        let reason = format!(
            "partial or computed unique indexes or exclusions of the target: a source transaction that swaps their values \
             may be refused, in {}",
            listed(tables)
        );
        findings.add(Finding::warning(FindingId::UniqueRules, "target", reason).fix(right));
    }
}

fn note_refused(catalog: &Catalog, routes: &[TableRoute], findings: &mut Findings) {
    let refused = routes.iter().filter_map(|route| Some((&catalog.tables[route.position], route.refused.as_ref()?)));
    let refused: Vec<_> = refused.collect();
    for (table, error) in refused.iter().take(SHOWN_MAX) {
        let reason = format!("a row of {table} would end the run: {}", error.message);
        let finding = Finding::warning(FindingId::TablesRefused, table, reason);
        findings.add(Finding { fix: error.hint.clone(), ..finding });
    }
    if refused.len() > SHOWN_MAX {
        let names = refused.iter().skip(SHOWN_MAX).map(|(table, _)| table);
        let reason =
            format!("a row of {} further tables would end the run: {}", refused.len() - SHOWN_MAX, listed(names));
        findings.add(
            Finding::warning(FindingId::TablesRefused, "target", reason)
                .fix("mend those above, then start again: ebb names the next ones"),
        );
    }
}

/// Gives the tables their numbers in staging, and makes them known to the receiver.
pub fn register(
    run_state: &RunState,
    catalog: &Catalog,
    routes: &[TableRoute],
    database: Option<&str>,
    config: &Config,
) -> Result<Tables> {
    let name = |route: &TableRoute| {
        let table = &catalog.tables[route.position];
        registered(&table.namespace, &table.name)
    };
    let case_sensitive = config.target.case_sensitive;
    let (refused, taken): (Vec<_>, Vec<_>) = routes.iter().partition(|route| route.refused.is_some());
    let numbers = run_state.register_tables(&taken.iter().map(|route| name(route)).collect::<Vec<_>>())?;
    run_state.limit(numbers.iter().zip(&taken).map(|(&number, route)| (number, route.bounds)));
    let mut tables = Tables::default();
    database.into_iter().for_each(|database| tables.set_database(database));
    for (route, number) in taken.into_iter().zip(numbers) {
        let target = &catalog.tables[route.position];
        let key = target.primary_key.iter().map(|&at| target.columns[at].name.clone()).collect();
        let table = Table {
            number,
            position: route.position,
            schema: target.namespace.clone(),
            source: route.source.clone(),
            key: Arc::new(SourceKey::new(key, case_sensitive, route.key.iter().cloned().collect())),
            columns: route.columns.clone(),
            hidden_columns: route.hidden_columns.clone(),
            is_left: route.is_left,
        };
        tables.add(&route.path, &route.topics, case_sensitive, table);
    }
    for route in refused {
        if let Some(why) = &route.refused {
            let schema = &catalog.tables[route.position].namespace;
            tables.refuse(&route.path, &route.topics, case_sensitive, schema, why.clone());
        }
    }
    Ok(tables)
}

/// The name of a target's table in staging.
fn registered(namespace: &[String], name: &str) -> String {
    serde_json::json!([namespace, name]).to_string()
}

fn join(names: &[&String]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}
