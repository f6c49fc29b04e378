//! Columns of a table on both sides: who lacks which, and what a column of the target makes of its counterpart's values.
//!
//! Owns: matching them, and the findings. Does not own: the rules of types, which the plugin has.

use ebb_sdk::{ColumnIndex, Fit, FitQuestion, Identity, Table, TableIndex};

use super::matching::Names;
use crate::findings::{Finding, FindingId, Findings};
use crate::names::{self, ColumnMatch, word};
use crate::source::{SourceColumn, SourceTable};

/// A question to the plugin, and for whom it is asked.
#[derive(Clone, Debug)]
pub(super) struct TypeCheck {
    pub question: FitQuestion,
    /// `public.orders`, on the target.
    pub table: String,
    /// `orders.total`, as `--allow-rounding` takes it.
    pub column: String,
    /// `public.orders.total`, at the source.
    pub shown: String,
    /// `public.orders.total numeric(10,2)`, on the target.
    pub target: String,
}

impl TypeCheck {
    /// What the plugin's answer means for the start.
    pub(super) fn judge(self, fit: Fit, may_round: bool, findings: &mut Findings) {
        let Self { question, table, column, shown, target } = self;
        let source = question.source.name;
        match fit {
            Fit::Full => {}
            Fit::Partial(why) => {
                findings.narrow(&table, format!("{target} cannot hold every {source} of {shown}: {why}"));
            }
            Fit::Rounds(why) if may_round => {
                findings.narrow(&table, format!("{target} may lose digits of the {source} of {shown}: {why}"));
            }
            Fit::Rounds(why) => findings.add(
                Finding::harm(
                    FindingId::DigitsLost,
                    &column,
                    format!("the target's column {target} would lose digits of the {source} of {shown}: {why}"),
                )
                .fix(format!(
                    "give the column on the target as many digits, or accept it: --allow-rounding {}",
                    word(&column)
                )),
            ),
            Fit::Incompatible(why) => findings.add(
                Finding::fatal(
                    FindingId::TypeIncompatible,
                    &column,
                    format!("the target's column {target} cannot hold the {source} of {shown}: {why}"),
                )
                .fix("give the column on the target the type that it had when it was migrated from"),
            ),
        }
    }
}

impl Names<'_> {
    /// Looks at every column of a table. Returns the questions to the plugin, and the columns that are not written.
    pub(super) fn columns(
        &self,
        source: &SourceTable,
        position: TableIndex,
        findings: &mut Findings,
    ) -> (Vec<TypeCheck>, Vec<String>) {
        let target = &self.catalog.tables[position];
        let (mut checks, mut ignored, mut matched) = (Vec::new(), Vec::new(), Vec::new());
        for column in &source.columns {
            let is_hidden = source.hidden_columns.contains(&column.name);
            let shown = format!("{}.{}.{}", source.schema, source.name, column.name);
            match names::column(target, &column.name, self.case_sensitive) {
                ColumnMatch::One(at) => {
                    matched.push(at);
                    checks.extend(self.values(column, target, position, at, shown, findings));
                }
                // What the source hides the target need not have.
                ColumnMatch::None if is_hidden => {}
                ColumnMatch::None if self.is_ignored(source, &column.name) => ignored.push(column.name.clone()),
                ColumnMatch::None => findings.add(
                    Finding::fatal(
                        FindingId::ColumnMissing,
                        &shown,
                        format!("the target's table {target} lacks the source's column {shown}"),
                    )
                    .fix(format!(
                        "ALTER TABLE {} ADD COLUMN {} …, or do without it: --ignore-columns {}",
                        self.catalog.qualified(target),
                        self.catalog.quoted(&column.name),
                        word(&column.name)
                    )),
                ),
                ColumnMatch::Several => findings.add(
                    Finding::fatal(
                        FindingId::ColumnAmbiguous,
                        &shown,
                        format!(
                            "several columns of the target's table {target} have the name of {shown} but for its case"
                        ),
                    )
                    .fix("rename one of them, or start with --case-sensitive"),
                ),
            }
        }
        for (column, at) in target.columns.iter().zip(ColumnIndex::all()) {
            let has_value =
                column.nullable || column.has_default || column.generated || column.identity != Identity::None;
            // A trigger that may act can give it one.
            let may_be_filled = self.triggers == crate::config::Triggers::Fire && !target.triggers.is_empty();
            if !matched.contains(&at) && !has_value && !may_be_filled {
                findings.add(
                    Finding::fatal(FindingId::ColumnNotFilled, target, format!(
                        "the target's column {} of {target} takes no NULL and has no default, and the source has no such column",
                        column.name
                    ))
                    .fix(format!(
                        "ALTER TABLE {}: give {} a default, or let it be NULL",
                        self.catalog.qualified(target),
                        self.catalog.quoted(&column.name)
                    )),
                );
            }
        }
        (checks, ignored)
    }

    fn values(
        &self,
        column: &SourceColumn,
        target: &Table,
        table: TableIndex,
        at: ColumnIndex,
        shown: String,
        findings: &mut Findings,
    ) -> Option<TypeCheck> {
        let counterpart = &target.columns[at];
        if counterpart.generated {
            return None;
        }
        if column.nullable && !counterpart.nullable {
            let what = format!("{target}.{} takes no NULL, and the source's {shown} may be NULL", counterpart.name);
            findings.narrow(&target.to_string(), what);
        }
        let question = FitQuestion { table, column: at, source: column.source_type.clone() };
        let (table, column) = (target.to_string(), format!("{}.{}", target.name, counterpart.name));
        let target = format!("{target}.{} {}", counterpart.name, counterpart.type_name);
        Some(TypeCheck { question, table, column, shown, target })
    }

    /// Columns that `--ignore-columns` names of a table whose source is not known.
    pub(super) fn ignored_of(&self, table: &Table) -> Vec<String> {
        let of_table = |ignored: &String| match ignored.rsplit_once('.') {
            None => Some(ignored.clone()),
            Some((of, column)) => {
                let is_it = self.same(of, &table.name) || self.same(of, &table.to_string());
                is_it.then(|| column.to_owned())
            }
        };
        self.ignored_columns.iter().filter_map(of_table).collect()
    }

    fn is_ignored(&self, table: &SourceTable, column: &str) -> bool {
        let names = [
            column.to_owned(),
            format!("{}.{column}", table.name),
            format!("{}.{}.{column}", table.schema, table.name),
        ];
        self.ignored_columns.iter().any(|ignored| names.iter().any(|name| self.same(name, ignored)))
    }
}
