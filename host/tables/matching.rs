//! Each table of the source with its counterpart on the target.
//!
//! Owns: finding it by name. Does not own: keys and obstacles (`problems`), columns (`columns`), what is done with the result
//! (`mod`). Pure.

use ebb_sdk::{Catalog, OtherRelation, TableIndex, Timestamp};

use super::problems::Judge;
use super::{KeyShape, Scope, TableMatch, TableRoute, join};
use crate::code;
use crate::config;
use crate::error::{Error, listed};
use crate::findings::{Finding, FindingId, Findings};
use crate::names::{self, word};
use crate::source::{Chosen, Place, SourceTable};
use crate::stage::Bounds;

/// Names of both sides, and how they are compared.
pub(super) struct Names<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) case_sensitive: bool,
    pub(super) ignored_columns: &'a [String],
    pub(super) triggers: config::Triggers,
}

impl Names<'_> {
    /// Every chosen table of the source with its counterpart.
    pub(super) fn matched(&self, database: &str, Chosen { tables: chosen, left_out }: &Chosen) -> TableMatch {
        let first_schema = &chosen[0].schema;
        let one_schema = chosen.iter().all(|table| table.schema == *first_schema);
        let mut matched =
            TableMatch { routes: Vec::new(), findings: Findings::default(), checks: Vec::new(), scope: Scope::Chosen };
        for table in chosen {
            let Some(position) = self.counterpart(table, &mut matched.findings) else { continue };
            let target = &self.catalog.tables[position];
            for problem in self.judge().problems(Some(table), target, &leave_out(table)) {
                matched.findings.add(problem);
            }
            refuse_shared(&matched.routes, table, position, target, &mut matched.findings);
            let (checks, ignored) = self.columns(table, position, &mut matched.findings);
            matched.checks.extend(checks);
            matched.routes.push(TableRoute {
                path: self.catalog.namespace.clone(),
                topics: topics(database, table, one_schema),
                position,
                source: Some((table.schema.clone(), table.name.clone())),
                key: Some(KeyShape::of(table, table.key_columns.clone(), Timestamp::ZERO)),
                columns: table.column_names(),
                hidden_columns: table.hidden_columns.iter().cloned().chain(ignored).collect(),
                is_left: false,
                bounds: Bounds::default(),
                refused: None,
            });
        }
        let targets: Vec<_> = matched.routes.iter().map(|route| &self.catalog.tables[route.position]).collect();
        if let Some(problem) = self.judge().hidden_triggers(&targets) {
            matched.findings.add(problem);
        }
        self.name_accepted_triggers(&matched.routes);
        self.without_source(&mut matched, left_out);
        matched
    }

    fn judge(&self) -> Judge<'_> {
        Judge { catalog: self.catalog, case_sensitive: self.case_sensitive, triggers: self.triggers }
    }

    /// `--triggers fire` accepts them, each by its name.
    fn name_accepted_triggers(&self, routes: &[TableRoute]) {
        if self.triggers != config::Triggers::Fire {
            return;
        }
        for table in routes.iter().map(|route| &self.catalog.tables[route.position]) {
            if !table.triggers.is_empty() {
                let names: Vec<_> = table.triggers.iter().map(|trigger| &trigger.name).collect();
                tracing::warn!(
                    error_code = code::table::TRIGGERS_FIRE.text(),
                    "triggers of {table} act on what ebb writes, as --triggers fire says: {}",
                    join(&names)
                );
            }
        }
    }

    /// Tables of the target, in its default schema, that no row will come for; but for those that the filters leave out, as
    /// somebody wanted.
    fn without_source(&self, matched: &mut TableMatch, left_out: &[Place]) {
        let is_left_out = |table: &ebb_sdk::Table| left_out.iter().any(|(_, name)| self.same(name, &table.name));
        let is_served = |position: TableIndex| matched.routes.iter().any(|route| route.position == position);
        let tables = self.catalog.tables.iter().zip(TableIndex::all());
        let idle: Vec<_> = tables
            .filter(|(table, position)| {
                table.namespace == self.catalog.namespace && !is_served(*position) && !is_left_out(table)
            })
            .map(|(table, _)| &table.name)
            .collect();
        if !idle.is_empty() {
            matched.findings.add(
                Finding::warning(
                    FindingId::TablesIdle,
                    "target",
                    format!("no row will come for {} tables of the target: {}", idle.len(), listed(&idle)),
                )
                .fix("the source has no tables for them: nothing is to be done if that is intended"),
            );
        }
    }

    /// Every table of the target, each under its own namespace.
    pub(super) fn every(&self, known: &[SourceTable]) -> TableMatch {
        let mut matched =
            TableMatch { routes: Vec::new(), findings: Findings::default(), checks: Vec::new(), scope: Scope::Any };
        for (table, position) in self.catalog.tables.iter().zip(TableIndex::all()) {
            let source = self.source_of(table, known);
            let leave_out = format!(", or leave {} out of the changefeed", table.name);
            let mut route = TableRoute {
                path: table.namespace.clone(),
                topics: vec![table.name.clone()],
                position,
                source: source.map(|source| (source.schema.clone(), source.name.clone())),
                key: source.map(|source| KeyShape::of(source, source.key_columns.clone(), Timestamp::ZERO)),
                columns: source.map(SourceTable::column_names).unwrap_or_default(),
                hidden_columns: self.ignored_of(table),
                is_left: false,
                bounds: Bounds::default(),
                refused: self.judge().problems(source, table, &leave_out).into_iter().next().map(Error::from),
            };
            if known.iter().filter(|source| self.same(&source.name, &table.name)).count() > 1 {
                matched.findings.add(
                    Finding::warning(
                        FindingId::TopicAmbiguous,
                        table,
                        format!("the source has several tables called {}, and topics may not tell which", table.name),
                    )
                    .fix("create the changefeed WITH full_table_name"),
                );
            }
            if let Some(source) = source {
                let mut found = Findings::default();
                let (checks, ignored) = self.columns(source, position, &mut found);
                route.refuse(found.take_fatal().map(Error::from));
                route.hidden_columns.extend(source.hidden_columns.iter().cloned().chain(ignored));
                matched.checks.extend(checks);
                matched.findings.append(found);
            }
            route.refuse(self.judge().hidden_triggers(&[table]).map(Error::from));
            route.refused = route.refused.map(|error| error.field("table", table.to_string()));
            matched.routes.push(route);
        }
        self.name_accepted_triggers(&matched.routes);
        matched
    }

    /// The source's table of this name: in the schema of the same name where there is one, else the only one.
    fn source_of<'s>(&self, table: &ebb_sdk::Table, known: &'s [SourceTable]) -> Option<&'s SourceTable> {
        let of_name = |source: &&SourceTable| self.same(&source.name, &table.name);
        let only = |among: &mut dyn Iterator<Item = &'s SourceTable>| -> Option<&'s SourceTable> {
            let among: Vec<_> = among.collect();
            let exact: Vec<_> = among.iter().filter(|source| source.name == table.name).collect();
            match (exact.as_slice(), among.as_slice()) {
                ([one], _) => Some(**one),
                ([], [one]) => Some(*one),
                _ => None,
            }
        };
        let is_here = |source: &&SourceTable| Some(&source.schema) == table.namespace.last();
        let in_schema = only(&mut known.iter().filter(of_name).filter(is_here));
        in_schema.or_else(|| only(&mut known.iter().filter(of_name)))
    }

    fn counterpart(&self, table: &SourceTable, findings: &mut Findings) -> Option<TableIndex> {
        let shown = format!("{}.{}", table.schema, table.name);
        let (place, candidates) = self.candidates(table);
        let namespace = place.join(".");
        let is_it = |other: &&OtherRelation| other.namespace == place && self.same(&other.name, &table.name);
        let other = self.catalog.others.iter().find(is_it);
        let (id, what, mend) = match candidates.as_slice() {
            [position] => return Some(*position),
            [] => (
                FindingId::TableMissing,
                match other {
                    Some(other) => format!("has no table on the target: {namespace}.{} is {}", other.name, other.kind),
                    None => format!("is missing on the target: {namespace} has no table {}", table.name),
                },
                format!("create the table {} in {namespace} on the target", table.name),
            ),
            _ => (
                FindingId::TableAmbiguous,
                format!("has several counterparts in {namespace} on the target that differ in case only"),
                "rename one of them, or start with --case-sensitive".into(),
            ),
        };
        let finding = Finding::fatal(id, &shown, format!("the source's table {shown} {what}"));
        findings.add(finding.fix(format!("{mend}{}", leave_out(table))));
        None
    }

    /// The target's table of this name: in the schema of the same name where there is one, else in the default one. Several
    /// when they differ in case only and none has the name to the letter. With the schema that was meant.
    fn candidates(&self, table: &SourceTable) -> (&[String], Vec<TableIndex>) {
        let default = &self.catalog.namespace;
        let mut own = default.clone();
        if let Some(last) = own.last_mut().filter(|_| default.len() > 1 && table.schema != "public") {
            last.clone_from(&table.schema);
        }
        let of_schema = self.catalog.tables.iter().find(|target| target.namespace == own);
        let namespace = of_schema.map_or(default, |target| &target.namespace);
        let tables = self.catalog.tables.iter().zip(TableIndex::all());
        let there: Vec<_> = tables.filter(|(target, _)| target.namespace == *namespace).collect();
        let exact = there.iter().find(|(target, _)| target.name == table.name);
        let folded = || there.iter().filter(|(target, _)| self.same(&target.name, &table.name));
        (namespace, exact.map_or_else(|| folded().map(|(_, at)| *at).collect(), |(_, at)| vec![*at]))
    }

    pub(super) fn same(&self, a: &str, b: &str) -> bool {
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

/// Two tables of the source would overwrite each other's rows in one of the target.
fn refuse_shared(
    routes: &[TableRoute],
    table: &SourceTable,
    position: TableIndex,
    target: &ebb_sdk::Table,
    findings: &mut Findings,
) {
    let other = routes.iter().find(|other| other.position == position).and_then(|other| other.source.as_ref());
    let Some((schema, name)) = other else { return };
    let fix = if *schema == table.schema {
        let stray = if *name == target.name { &table.name } else { name };
        format!("create a table {stray} of its own on the target{}", leave_out(table))
    } else {
        // The one in the schema of the target's table stays. A filter of tables would leave out both.
        let is_here = target.namespace.last() == Some(&table.schema);
        let (stray, stays) = if is_here { (schema, &table.schema) } else { (&table.schema, schema) };
        let filter = word(&format!("^{}$", regex::escape(stays)));
        let made = match target.namespace.len() {
            1 => String::new(),
            _ => format!("create a schema {stray} with a table {} of its own on the target, or ", target.name),
        };
        format!("{made}leave out the tables of {stray}: --schema-filter {filter}")
    };
    findings.add(
        Finding::harm(FindingId::TableShared, target, format!(
            "two tables of the source, {schema}.{name} and {}.{}, would both be written to the target's table {target}",
            table.schema, table.name
        ))
        .fix(fix),
    );
}

fn leave_out(table: &SourceTable) -> String {
    format!(", or leave it out: --table-exclusion-filter {}", word(&format!("^{}$", regex::escape(&table.name))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceColumn;
    use ebb_sdk::{Column, ColumnIndex, NotWritable, SourceType};

    fn target(schema: &str, name: &str, columns: &[&str], key: &[u32]) -> ebb_sdk::Table {
        let column = |name: &&str| Column { name: (*name).to_owned(), nullable: *name != "must", ..Column::default() };
        ebb_sdk::Table {
            namespace: vec!["molt".into(), schema.into()],
            name: name.into(),
            columns: columns.iter().map(column).collect(),
            primary_key: key.iter().copied().map(ColumnIndex).collect(),
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
            unique_keys: Vec::new(),
        }
    }

    fn catalog() -> Catalog {
        let not_writable = NotWritable { why: "for a reason".into(), hint: "mend it".into() };
        Catalog {
            namespace: vec!["molt".into(), "public".into()],
            tables: vec![
                target("public", "Orders", &["id", "city", "total"], &[1, 0]),
                target("public", "log", &["line"], &[]),
                target("audit", "orders", &["id"], &[0]),
                ebb_sdk::Table { not_writable: vec![not_writable], ..target("public", "odd", &["id"], &[0]) },
                target("public", "strict", &["id", "must"], &[0]),
                target("public", "twin", &["id"], &[0]),
                target("public", "TWIN", &["id"], &[0]),
            ],
            others: vec![OtherRelation {
                namespace: vec!["molt".into(), "public".into()],
                name: "Seen".into(),
                kind: "a view".into(),
            }],
            ..Catalog::default()
        }
    }

    fn check(tables: &[SourceTable], expected: Result<&[u32], &str>) {
        let catalog = catalog();
        let triggers = config::Triggers::Skip;
        let names =
            Names { catalog: &catalog, case_sensitive: false, ignored_columns: &["spare".to_owned()], triggers };
        let chosen = Chosen { tables: tables.to_vec(), left_out: Vec::new() };
        match (names.matched("defaultdb", &chosen).check_types(&catalog, None), expected) {
            (Ok(routes), Ok(expected)) => {
                let expected: Vec<_> = expected.iter().copied().map(TableIndex).collect();
                assert_eq!(routes.iter().map(|table| table.position).collect::<Vec<_>>(), expected);
            }
            (Err(error), Err(expected)) => assert!(error.message.contains(expected), "{error}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn tables_find_their_counterpart() {
        let key = ["crdb_internal_id_shard_16", "id", "city"];
        let orders = source("public", "orders", &["id", "CITY", "total", "crdb_internal_id_shard_16"], &key);
        check(std::slice::from_ref(&orders), Ok(&[0]));
        let audit = source("audit", "orders", &["id"], &["id"]);
        check(&[orders.clone(), audit], Ok(&[0, 2]));
        check(&[source("elsewhere", "orders", &["id", "city"], &["id", "city"])], Ok(&[0]));
        let elsewhere = source("elsewhere", "orders", &["id", "city"], &["id", "city"]);
        check(&[orders, elsewhere], Err("public.orders and elsewhere.orders, would both be written to"));
    }

    #[test]
    fn what_cannot_be_applied_is_named() {
        check(&[source("public", "gone", &["id"], &["id"])], Err("public.gone is missing on the target"));
        check(
            &[source("public", "seen", &["id"], &["id"])],
            Err("has no table on the target: molt.public.Seen is a view"),
        );
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
                "2 findings keep ebb from starting:\n1) the target's table public.Orders lacks the source's column public.orders.extra",
            ),
        );
        check(&[wide, source("public", "gone", &["id"], &["id"])], Err("3) the source's table public.gone is missing"));
    }
}
