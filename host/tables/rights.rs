//! Rights on tables of the target that the user lacks, in one statement that mends all of them.
//!
//! Owns: the words, and the GRANT. Does not own: finding them out (the plugin). Pure.

use std::collections::{BTreeMap, BTreeSet};

use ebb_sdk::{Catalog, TableIndex};

use crate::error::listed;
use crate::findings::{Finding, FindingId};

/// Tables in one statement; where more lack the same, the next start names them.
const TABLES_MAX: usize = 100;

/// One finding for all tables of the run.
pub(super) fn missing(catalog: &Catalog, written: &BTreeSet<TableIndex>) -> Option<Finding> {
    let mut by_rights: BTreeMap<&[String], Vec<String>> = BTreeMap::new();
    for missing in &catalog.missing_rights {
        if written.contains(&missing.table) {
            let name = catalog.qualified(&catalog.tables[missing.table]);
            by_rights.entry(&missing.rights).or_default().push(name);
        }
    }
    if by_rights.is_empty() {
        return None;
    }
    let user = &catalog.grantee;
    let lacks = by_rights.iter().map(|(rights, tables)| format!("{} on {}", rights.join(", "), listed(tables)));
    let reason = format!("the target's user {user} lacks {}", lacks.collect::<Vec<_>>().join("; "));
    let grants = by_rights.iter().flat_map(|(rights, tables)| {
        let tables = &tables[..tables.len().min(TABLES_MAX)];
        let on: Vec<String> = if catalog.grants_on_several { vec![tables.join(", ")] } else { tables.to_vec() };
        on.into_iter().map(|tables| format!("GRANT {} ON {tables} TO {user};", rights.join(", ")))
    });
    let fix = format!("as an administrator of the target: {}", grants.collect::<Vec<_>>().join(" "));
    Some(Finding::fatal(FindingId::RightsMissing, "target", reason).fix(fix))
}

#[cfg(test)]
mod tests {
    use ebb_sdk::{MissingRight, Table};

    use super::*;

    #[test]
    fn all_that_lacks_is_in_one_statement() {
        let table = |name: &str| Table { namespace: vec!["public".into()], name: name.into(), ..Table::default() };
        let missing = |table: u32, rights: &[&str]| MissingRight {
            table: TableIndex(table),
            rights: rights.iter().map(|right| (*right).to_owned()).collect(),
        };
        let mut catalog = Catalog {
            tables: ["a", "b", "c", "idle"].map(table).to_vec(),
            missing_rights: vec![
                missing(0, &["DELETE"]),
                missing(1, &["UPDATE", "DELETE"]),
                missing(2, &["DELETE"]),
                missing(3, &["SELECT"]),
            ],
            grantee: "dml".into(),
            grants_on_several: true,
            ..Catalog::default()
        };
        let written: BTreeSet<_> = (0..3).map(TableIndex).collect();
        let found = super::missing(&catalog, &written).expect("a finding");
        assert_eq!(
            found.reason,
            "the target's user dml lacks DELETE on public.a, public.c; UPDATE, DELETE on public.b"
        );
        let fix = "as an administrator of the target: GRANT DELETE ON public.a, public.c TO dml; \
                   GRANT UPDATE, DELETE ON public.b TO dml;";
        assert_eq!(found.fix.as_deref(), Some(fix));
        catalog.grants_on_several = false;
        let found = super::missing(&catalog, &written).and_then(|found| found.fix).expect("a fix");
        assert!(
            found.contains("GRANT DELETE ON public.a TO dml; GRANT DELETE ON public.c TO dml; GRANT UPDATE"),
            "{found}"
        );
        catalog.missing_rights.clear();
        assert_eq!(super::missing(&catalog, &written), None);
    }
}
