//! What MySQL does not look at while checks are suspended, and the questions that look instead: foreign keys. Unique keys
//! hold as ever.
//!
//! Owns: the SQL of the questions, what a foreign key does by itself. Does not own: asking them (`verify`). Pure.

use ebb_sdk::Action;

use crate::quoted;

/// A foreign key: `child (columns)` refers to `parent (referenced)`.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) child: String,
    pub(crate) columns: Vec<String>,
    pub(crate) parent_database: String,
    pub(crate) parent: String,
    pub(crate) referenced: Vec<String>,
    /// The child's primary key.
    pub(crate) key: Vec<String>,
}

impl Reference {
    /// Rows of the child that refer to nothing, among those that `condition` on `c` chooses.
    pub(crate) fn question(&self, condition: &str) -> String {
        let same = |(here, there): (&String, &String)| format!("p.{} = c.{}", quoted(there), quoted(here));
        let same: Vec<_> = self.columns.iter().zip(&self.referenced).map(same).collect();
        let is_set: Vec<_> = self.columns.iter().map(|column| format!("c.{} IS NOT NULL", quoted(column))).collect();
        format!(
            "SELECT {} FROM {} AS c WHERE {condition} AND {} AND NOT EXISTS (SELECT 1 FROM {}.{} AS p WHERE {}) LIMIT 1",
            self.shown_key(),
            quoted(&self.child),
            is_set.join(" AND "),
            quoted(&self.parent_database),
            quoted(&self.parent),
            same.join(" AND ")
        )
    }

    /// `id=1, city=rome`, or what there is of a table without a primary key.
    fn shown_key(&self) -> String {
        let part = |column: &String| {
            let label = column.replace('\\', "\\\\").replace('\'', "''");
            format!("'{label}=', CAST(c.{} AS CHAR)", quoted(column))
        };
        match self.key.as_slice() {
            [] => "'without a key'".into(),
            key => format!("CONCAT({})", key.iter().map(part).collect::<Vec<_>>().join(", ', ', ")),
        }
    }
}

/// InnoDB looks at every row by itself: what the standard calls NO ACTION is RESTRICT here.
pub(crate) fn action(rule: &str) -> Action {
    match rule {
        "CASCADE" => Action::Cascade,
        "SET NULL" => Action::SetNull,
        "SET DEFAULT" => Action::SetDefault,
        _ => Action::Restrict,
    }
}
