//! Which tables a run applies, settled once before anything is received: every table of the source has its counterpart
//! on the target, with the same primary key and room for every column.
//!
//! Owns: matching source and target, and the findings that stop a start. Does not own: asking either of them.

mod columns;
mod findings;
pub mod names;

use ebb_sdk::{Catalog, FitQuestion};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::plugin::Session;
use crate::receive::{Table, Tables};
use crate::source::{Source, SourceTable};
use crate::stage::Stage;
use columns::Asked;
use findings::Findings;

/// Names listed in a message.
const SHOWN_MAX: usize = 10;

/// A table that the run applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The segments of the path that its rows are sent to.
    pub path: Vec<String>,
    /// The names that messages may call it by.
    pub topics: Vec<String>,
    /// Its position in the target's catalog.
    pub position: u32,
    /// Schema and name at the source; `None` when the source is not known.
    pub source: Option<(String, String)>,
    pub key_columns: Option<Vec<String>>,
    pub hidden_columns: Vec<String>,
}

/// What a run applies, as far as names and keys tell.
#[derive(Debug)]
pub struct Matched {
    watched: Vec<Watched>,
    findings: Findings,
    asked: Vec<Asked>,
}

/// The tables of this run: those that the filters choose, or every table of the target.
pub async fn matched(config: &Config, source: Option<&Source>, catalog: &Catalog) -> Result<Matched> {
    let (case_sensitive, ignored_columns) = (config.target.case_sensitive, &config.target.ignored_columns);
    let names = Names { catalog, case_sensitive, ignored_columns };
    match (source, &config.changefeed) {
        (Some(source), Some(settings)) => {
            source.check_rangefeeds().await?;
            let chosen = source.chosen_tables(settings).await?;
            Ok(names.matched(source.database(), &chosen))
        }
        (source, _) => {
            let known = match source {
                Some(source) => source.tables().await?,
                None => Vec::new(),
            };
            Ok(Matched { watched: names.every(&known), findings: Findings::default(), asked: Vec::new() })
        }
    }
}

impl Matched {
    /// Asks the target's session about the types, logs what may become a hindrance, and fails for what is one. Without a
    /// session, while the target is down, the types are not looked at.
    pub fn settle(self, session: Option<&mut Session>) -> Result<Vec<Watched>> {
        let Self { watched, mut findings, asked } = self;
        let questions: Vec<FitQuestion> = asked.iter().map(|asked| asked.question.clone()).collect();
        let fits = match session {
            Some(session) if !questions.is_empty() => session.fits(&questions)?.unwrap_or_default(),
            _ => Vec::new(),
        };
        asked.into_iter().zip(fits).for_each(|(asked, fit)| asked.judge(fit, &mut findings));
        findings.conclude().map(|()| watched)
    }
}

/// Gives the tables their numbers in staging, and makes them known to the receiver.
pub fn register(stage: &Stage, catalog: &Catalog, watched: &[Watched], config: &Config) -> Result<Tables> {
    let name = |watched: &Watched| {
        let table = &catalog.tables[watched.position as usize];
        serde_json::json!([table.namespace, table.name]).to_string()
    };
    let numbers = stage.register_tables(&watched.iter().map(name).collect::<Vec<_>>())?;
    let mut tables = Tables::default();
    for (watched, number) in watched.iter().zip(numbers) {
        let table = Table {
            number,
            position: watched.position,
            key_columns: watched.key_columns.clone(),
            hidden_columns: watched.hidden_columns.clone(),
        };
        tables.add(&watched.path, &watched.topics, config.target.case_sensitive, table);
    }
    Ok(tables)
}

struct Names<'a> {
    catalog: &'a Catalog,
    case_sensitive: bool,
    ignored_columns: &'a [String],
}

impl Names<'_> {
    /// Every chosen table of the source with its counterpart.
    fn matched(&self, database: &str, chosen: &[SourceTable]) -> Matched {
        let first_schema = &chosen[0].schema;
        let one_schema = chosen.iter().all(|table| table.schema == *first_schema);
        let mut matched = Matched { watched: Vec::new(), findings: Findings::default(), asked: Vec::new() };
        for table in chosen {
            let Some(position) = self.counterpart(table, &mut matched.findings) else { continue };
            self.keys(table, position, &mut matched.findings);
            let (asked, ignored) = self.columns(table, position, &mut matched.findings);
            matched.asked.extend(asked);
            matched.watched.push(Watched {
                path: self.catalog.namespace.clone(),
                topics: topics(database, table, one_schema),
                position,
                source: Some((table.schema.clone(), table.name.clone())),
                key_columns: Some(table.key_columns.clone()),
                hidden_columns: table.hidden_columns.iter().cloned().chain(ignored).collect(),
            });
        }
        self.without_source(&mut matched);
        matched
    }

    /// Tables of the target, in its default schema, that no row will come for.
    fn without_source(&self, matched: &mut Matched) {
        let is_served = |position: u32| matched.watched.iter().any(|watched| watched.position == position);
        let tables = self.catalog.tables.iter().zip(0_u32..);
        let idle: Vec<_> = tables
            .filter(|(table, position)| table.namespace == self.catalog.namespace && !is_served(*position))
            .map(|(table, _)| &table.name)
            .collect();
        if !idle.is_empty() {
            let more = if idle.len() > SHOWN_MAX { ", …" } else { "" };
            let shown = join(&idle[..idle.len().min(SHOWN_MAX)]);
            matched.findings.warn(
                Error::new(format!("no row will come for {} tables of the target: {shown}{more}", idle.len()))
                    .hint("the source does not have them, or the filters leave them out"),
            );
        }
    }

    /// Every table of the target that has a primary key, each under its own namespace.
    fn every(&self, known: &[SourceTable]) -> Vec<Watched> {
        let tables = self
            .catalog
            .tables
            .iter()
            .zip(0_u32..)
            .filter(|(table, _)| !table.primary_key.is_empty() && table.unfit.is_empty());
        let describe = |(table, position): (&ebb_sdk::Table, u32)| {
            let mut same = known.iter().filter(|source| self.same(&source.name, &table.name));
            let in_schema = known
                .iter()
                .find(|source| self.same(&source.name, &table.name) && Some(&source.schema) == table.namespace.last());
            let source = in_schema.or_else(|| same.next().filter(|_| same.next().is_none()));
            Watched {
                path: table.namespace.clone(),
                topics: vec![table.name.clone()],
                position,
                source: source.map(|source| (source.schema.clone(), source.name.clone())),
                key_columns: source.map(|source| source.key_columns.clone()),
                hidden_columns: source.map(|source| source.hidden_columns.clone()).unwrap_or_default(),
            }
        };
        tables.map(describe).collect()
    }

    fn counterpart(&self, table: &SourceTable, findings: &mut Findings) -> Option<u32> {
        let shown = format!("{}.{}", table.schema, table.name);
        let (what, mend) = match self.candidates(table).as_slice() {
            [position] => return Some(*position),
            [] => {
                ("is missing on the target", format!("create it in {} on the target", self.catalog.namespace.join(".")))
            }
            _ => (
                "has several counterparts on the target that differ in case only",
                "rename one of them, or start with --case-sensitive".into(),
            ),
        };
        let error = Error::new(format!("the source's table {shown} {what}"));
        findings.fatal(error.hint(format!("{mend}, {}", leave_out(table))));
        None
    }

    /// The primary keys of both sides.
    fn keys(&self, table: &SourceTable, position: u32, findings: &mut Findings) {
        let (shown, leave_out) = (format!("{}.{}", table.schema, table.name), leave_out(table));
        let target = &self.catalog.tables[position as usize];
        let visible_key: Vec<_> = table.key_columns.iter().filter(|key| !table.hidden_columns.contains(key)).collect();
        if visible_key.is_empty() {
            findings.fatal(
                Error::new(format!("the source's table {shown} has no primary key"))
                    .hint(format!("ALTER TABLE {shown} ALTER PRIMARY KEY USING COLUMNS (…), {leave_out}")),
            );
        }
        if let Some((column, type_name)) = table.folded_columns().find(|(column, _)| table.key_columns.contains(column))
        {
            // A changefeed may then spell one key in two ways, and a delete may not find its row.
            findings.fatal(
                Error::new(format!(
                    "the primary key of the source's table {shown} has a column {column} of type {type_name}, whose equal \
                     values may differ"
                ))
                .hint(format!("ALTER TABLE {shown} ALTER COLUMN {column} TYPE STRING, {leave_out}")),
            );
        }
        for unfit in &target.unfit {
            findings.fatal(
                Error::new(format!("cannot write to the target's table {target}: {}", unfit.why))
                    .hint(format!("{} {leave_out}", unfit.hint)),
            );
        }
        if target.primary_key.is_empty() {
            findings.fatal(
                Error::new(format!("the target's table {target} has no primary key"))
                    .hint(format!("ALTER TABLE {target} ADD PRIMARY KEY (…), {leave_out}")),
            );
        }
        let target_key: Vec<_> = target.primary_key.iter().map(|&at| &target.columns[at as usize].name).collect();
        let is_same = target_key.len() == visible_key.len()
            && target_key.iter().all(|name| visible_key.iter().any(|key| self.same(key, name)));
        if !is_same && !target_key.is_empty() && !visible_key.is_empty() {
            findings.fatal(
                Error::new(format!(
                    "the primary keys of {shown} differ: ({}) at the source, ({}) on the target",
                    join(&visible_key),
                    join(&target_key)
                ))
                .hint(format!("give both the same primary key, in any order, {leave_out}")),
            );
        }
    }

    /// The target's table of this name: in the schema of the same name where there is one, else in the default one. Several
    /// when they differ in case only and none has the name to the letter.
    fn candidates(&self, table: &SourceTable) -> Vec<u32> {
        let default = &self.catalog.namespace;
        let mut own = default.clone();
        if let Some(last) = own.last_mut().filter(|_| default.len() > 1 && table.schema != "public") {
            last.clone_from(&table.schema);
        }
        let namespace = if self.catalog.tables.iter().any(|target| target.namespace == own) { &own } else { default };
        let tables = self.catalog.tables.iter().zip(0_u32..);
        let there: Vec<_> = tables.filter(|(target, _)| target.namespace == *namespace).collect();
        let exact = there.iter().find(|(target, _)| target.name == table.name);
        let folded = || there.iter().filter(|(target, _)| self.same(&target.name, &table.name));
        exact.map_or_else(|| folded().map(|(_, at)| *at).collect(), |(_, at)| vec![*at])
    }

    fn same(&self, a: &str, b: &str) -> bool {
        names::same(a, b, self.case_sensitive)
    }
}

fn topics(database: &str, table: &SourceTable, one_schema: bool) -> Vec<String> {
    let mut topics = vec![format!("{database}.{}.{}", table.schema, table.name)];
    if one_schema {
        topics.push(table.name.clone());
    }
    topics
}

fn leave_out(table: &SourceTable) -> String {
    format!("or leave it out: --table-exclusion-filter '^{}$'", table.name)
}

fn join(names: &[&String]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceColumn;
    use ebb_sdk::{Column, SourceType, Unfit};

    fn target(schema: &str, name: &str, columns: &[&str], key: &[u32]) -> ebb_sdk::Table {
        let column = |name: &&str| Column { name: (*name).to_owned(), nullable: *name != "must", ..Column::default() };
        ebb_sdk::Table {
            namespace: vec!["molt".into(), schema.into()],
            name: name.into(),
            columns: columns.iter().map(column).collect(),
            primary_key: key.to_vec(),
            ..ebb_sdk::Table::default()
        }
    }

    fn source(schema: &str, name: &str, columns: &[&str], key: &[&str]) -> SourceTable {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let hidden = columns.iter().filter(|name| name.starts_with("crdb_") || **name == "rowid").copied();
        let hidden_columns = owned(&hidden.collect::<Vec<_>>());
        SourceTable {
            schema: schema.into(),
            name: name.into(),
            columns: columns
                .iter()
                .map(|name| SourceColumn { name: (*name).into(), ..SourceColumn::default() })
                .collect(),
            hidden_columns,
            key_columns: owned(key),
        }
    }

    fn catalog() -> Catalog {
        let unfit = Unfit { why: "for a reason".into(), hint: "mend it,".into() };
        Catalog {
            namespace: vec!["molt".into(), "public".into()],
            tables: vec![
                target("public", "Orders", &["id", "city", "total"], &[1, 0]),
                target("public", "log", &["line"], &[]),
                target("audit", "orders", &["id"], &[0]),
                ebb_sdk::Table { unfit: vec![unfit], ..target("public", "odd", &["id"], &[0]) },
                target("public", "strict", &["id", "must"], &[0]),
                target("public", "twin", &["id"], &[0]),
                target("public", "TWIN", &["id"], &[0]),
            ],
            ..Catalog::default()
        }
    }

    fn check(tables: &[SourceTable], expected: Result<&[u32], &str>) {
        let catalog = catalog();
        let names = Names { catalog: &catalog, case_sensitive: false, ignored_columns: &["spare".to_owned()] };
        match (names.matched("defaultdb", tables).settle(None), expected) {
            (Ok(watched), Ok(expected)) => {
                assert_eq!(watched.iter().map(|table| table.position).collect::<Vec<_>>(), expected);
            }
            (Err(error), Err(expected)) => assert!(error.message.contains(expected), "{error}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn tables_find_their_counterpart() {
        let key = ["crdb_shard", "id", "city"];
        let orders = source("public", "orders", &["id", "CITY", "total", "crdb_shard"], &key);
        check(std::slice::from_ref(&orders), Ok(&[0]));
        let audit = source("audit", "orders", &["id"], &["id"]);
        check(&[orders.clone(), audit], Ok(&[0, 2]));
        check(&[source("elsewhere", "orders", &["id", "city"], &["id", "city"])], Ok(&[0]));
    }

    #[test]
    fn what_cannot_be_applied_is_named() {
        check(&[source("public", "gone", &["id"], &["id"])], Err("public.gone is missing on the target"));
        check(&[source("public", "log", &["line"], &["line"])], Err("target's table public.log has no primary key"));
        check(
            &[source("public", "log", &["line", "rowid"], &["rowid"])],
            Err("source's table public.log has no primary key"),
        );
        check(
            &[source("public", "orders", &["id", "city"], &["id"])],
            Err("(id) at the source, (city, id) on the target"),
        );
        check(&[source("public", "odd", &["id"], &["id"])], Err("table public.odd: for a reason"));
        let mut folded = source("public", "orders", &["id", "city"], &["id", "city"]);
        folded.columns[0].source_type = SourceType { name: "STRING COLLATE en".into(), ..SourceType::default() };
        check(&[folded], Err("a column id of type STRING COLLATE en"));
        check(&[source("public", "orders", &["id", "city", "Spare"], &["id", "city"])], Ok(&[0]));
        check(&[source("public", "Twin", &["id"], &["id"])], Err("several counterparts"));
        check(&[source("public", "twin", &["id"], &["id"])], Ok(&[5]));
        check(&[source("public", "strict", &["id"], &["id"])], Err("column must of public.strict takes no NULL"));
        let wide = source("public", "orders", &["id", "city", "extra", "more"], &["id", "city"]);
        check(
            std::slice::from_ref(&wide),
            Err(
                "2 findings keep ebb from starting: 1) the target's table public.Orders lacks the source's column public.orders.extra",
            ),
        );
        check(&[wide, source("public", "gone", &["id"], &["id"])], Err("3) the source's table public.gone is missing"));
    }
}
