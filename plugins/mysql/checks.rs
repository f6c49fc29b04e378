//! CHECK constraints: which make a text JSON, and which columns each may read.
//!
//! Owns: asking for them and reading their text. Does not own: what follows for a column (`describe`).

use ebb_sdk::Result;

use crate::connect::Flavour;
use crate::describe::rows;
use crate::{Session, quoted};

/// MariaDB has one for each JSON column too, whose type is a text.
const OF_MARIADB: &str = "SELECT table_name, check_clause, constraint_name FROM information_schema.check_constraints \
     WHERE constraint_schema = DATABASE()";

const OF_MYSQL: &str = "SELECT t.table_name, c.check_clause, t.constraint_name FROM information_schema.table_constraints t \
     JOIN information_schema.check_constraints c ON c.constraint_schema = t.constraint_schema AND c.constraint_name = t.constraint_name \
     WHERE t.table_schema = DATABASE() AND t.constraint_type = 'CHECK' AND t.enforced = 'YES'";

/// Servers that check nothing have no table of clauses to ask.
const HAS_CLAUSES: &str = "SELECT COUNT(*) FROM information_schema.tables \
     WHERE table_schema = 'information_schema' AND table_name = 'CHECK_CONSTRAINTS'";

#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) table: String,
    pub(crate) name: String,
    /// As the server shows it, in lower case: MySQL keeps the case in which names were written.
    clause: String,
}

/// Those of all tables.
pub(crate) async fn all(session: &mut Session) -> Result<Vec<Check>> {
    let is_mysql = session.server.flavour == Flavour::MySql;
    if is_mysql && rows::<u64>(session, HAS_CLAUSES, vec![]).await? == [0] {
        return Ok(Vec::new());
    }
    let sql = if is_mysql { OF_MYSQL } else { OF_MARIADB };
    let found = rows::<(String, String, String)>(session, sql, vec![]).await?;
    Ok(found.into_iter().map(|(table, clause, name)| Check { name, ..Check::new(table, &clause) }).collect())
}

impl Check {
    fn new(table: String, clause: &str) -> Self {
        Self { table, name: String::new(), clause: clause.to_lowercase() }
    }

    /// Whether it demands, perhaps beside other things, that a text is JSON.
    pub(crate) fn makes_json(&self, column: &str) -> bool {
        self.clause.contains(&json_valid(column))
    }

    /// Whether a column that becomes NULL may break it. A name that the server may show in another way counts as read, as
    /// does every column where none is found.
    pub(crate) fn resists_null<'a>(&self, column: &str, mut all: impl Iterator<Item = &'a str>) -> bool {
        // JSON or NULL is what it takes.
        let takes_null = self.clause == json_valid(column);
        !takes_null && (self.reads(column) || !all.any(|other| self.reads(other)))
    }

    fn reads(&self, column: &str) -> bool {
        let is_shown_as_it_is =
            column.is_ascii() && !column.contains(['\'', '\\']) && !column.contains(char::is_control);
        !is_shown_as_it_is || self.clause.contains(&quoted(&column.to_lowercase()))
    }
}

fn json_valid(column: &str) -> String {
    format!("json_valid({})", quoted(&column.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_a_check_reads() {
        let columns = ["id", "Abc", "odd`n", "doc", "note"];
        for (clause, expected) in [
            ("(`ABC` > 0)", vec!["Abc"]),
            ("`odd``n` > `id`", vec!["id", "odd`n"]),
            ("json_valid(`doc`)", vec![]),
            ("json_valid(`Doc`)", vec![]),
            ("json_valid(`doc`) and `note` <> ''", vec!["doc", "note"]),
            ("(json_valid(`doc`) or (`doc` = _utf8mb4\\'\\'))", vec!["doc"]),
            ("(1 = 1)", vec!["id", "Abc", "odd`n", "doc", "note"]),
        ] {
            let check = Check::new("t".into(), clause);
            let found: Vec<_> =
                columns.into_iter().filter(|column| check.resists_null(column, columns.into_iter())).collect();
            assert_eq!(found, expected, "{clause}");
            assert_eq!(check.makes_json("DOC"), clause.contains("json_valid"), "{clause}");
        }
        let odd = ["it's", "b\\c", "größe"];
        assert!(odd.iter().all(|name| Check::new("t".into(), "`a` > 0").resists_null(name, ["a"].into_iter())));
    }
}
