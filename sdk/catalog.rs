//! What a target looks like: tables, columns, keys. A plugin fills it in, the host plans with it.
//!
//! Owns: the description. Does not own: how a database is asked for it. It crosses the ABI as JSON, so that a
//! later version can add a field without breaking plugins of today.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ColumnIndex, TableIndex};

/// All tables of a target that a changefeed may write to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Catalog {
    /// Where names without a qualifier are looked up, outermost first: `["molt", "public"]` for a database with
    /// schemas, `["molt"]` for one without. It is also the path of the webhook, `/molt/public`.
    pub namespace: Vec<String>,
    /// In any order; a position in this list stands for the table wherever a number does.
    pub tables: Vec<Table>,
    /// What has the name of a table and is none: no rows are written to it. At most [`OTHERS_MAX`](Self::OTHERS_MAX).
    #[serde(default)]
    pub others: Vec<OtherRelation>,
    /// What the server calls itself, for the log: `PostgreSQL 15.18`.
    pub server_version: String,
    /// A foreign key is checked for each row as it is written, not at the end of its statement: rows of one statement that
    /// refer to each other must come in order.
    pub checks_each_row: bool,
    /// Constraints can wait for COMMIT ([`Checks::Deferred`](crate::Checks::Deferred)).
    pub defers_checks: bool,
    /// This session may begin a transaction with [`Checks::Suspended`](crate::Checks::Suspended).
    pub suspends_checks: bool,
    /// Triggers of users do not fire then either.
    pub suspends_triggers: bool,
    /// Where it may not: the statement that gives it the right, for an administrator.
    pub suspend_hint: Option<String>,
    /// What this user may not do with tables, as far as the plugin can tell. ebb needs SELECT, INSERT, UPDATE and DELETE.
    #[serde(default)]
    pub missing_rights: Vec<MissingRight>,
    /// This user, as GRANT takes it.
    #[serde(default)]
    pub grantee: String,
    /// One GRANT takes several tables.
    #[serde(default)]
    pub grants_on_several: bool,
    /// What stands around a name in SQL, and is doubled within it. Without one names are shown as they are.
    pub identifier_quote: Option<char>,
}

impl Catalog {
    /// Of other relations so many are listed: they only make a message clearer.
    pub const OTHERS_MAX: usize = 10_000;

    /// A name as the target's SQL takes it, whatever it holds.
    pub fn quoted(&self, name: &str) -> String {
        self.identifier_quote.map_or_else(
            || name.to_owned(),
            |quote| {
                let inner: String =
                    name.chars().flat_map(|c| std::iter::repeat_n(c, 1 + usize::from(c == quote))).collect();
                format!("{quote}{inner}{quote}")
            },
        )
    }

    /// A table as the target's SQL takes it.
    pub fn qualified(&self, table: &Table) -> String {
        let schema = table.namespace.last().map(|schema| format!("{}.", self.quoted(schema))).unwrap_or_default();
        format!("{schema}{}", self.quoted(&table.name))
    }
}

/// Rights on one table that the user lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MissingRight {
    /// The position of the table in [`Catalog::tables`].
    pub table: TableIndex,
    /// In capitals, in the order SELECT, INSERT, UPDATE, DELETE; never empty.
    pub rights: Vec<String>,
}

/// A view, or something else that is no table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OtherRelation {
    /// The same form as [`Catalog::namespace`].
    pub namespace: Vec<String>,
    /// As the database spells it.
    pub name: String,
    /// What it is, as the database calls it, with its article: `a view`.
    pub kind: String,
}

/// One table. Positions in `primary_key`, `unique_keys` and `foreign_keys` point into `columns`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Table {
    /// The same form as [`Catalog::namespace`].
    pub namespace: Vec<String>,
    /// As the database spells it.
    pub name: String,
    /// In the order of the table; a position in this list stands for the column wherever a number does.
    pub columns: Vec<Column>,
    /// In the order of the key. Empty when the table has no primary key; ebb refuses such a table.
    pub primary_key: Vec<ColumnIndex>,
    /// Every unique key beside the primary key.
    pub unique_keys: Vec<UniqueKey>,
    /// It has unique rules that no list of columns tells: partial or computed keys, exclusion constraints.
    pub has_other_unique_rules: bool,
    /// References from this table, also to itself.
    pub foreign_keys: Vec<ForeignKey>,
    /// Those of its users that fire on what an ordinary session writes.
    pub triggers: Vec<Trigger>,
    /// There may be more that this user cannot see: the statement that lets it see them, for an administrator.
    pub hides_triggers: Option<String>,
    /// Everything that keeps the plugin from writing rows to it exactly as they are, and what mends each. ebb refuses such
    /// a table where the source has it.
    #[serde(alias = "unfit")]
    pub not_writable: Vec<NotWritable>,
}

impl Table {
    /// The position of a column of exactly this name.
    pub fn column(&self, name: &str) -> Option<ColumnIndex> {
        let at = self.columns.iter().position(|column| column.name == name)?;
        Some(ColumnIndex::at(at))
    }
}

/// The name for messages: the innermost part of the namespace and the table, `public.orders`.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.last() {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A unique key beside the primary key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UniqueKey {
    /// Positions in [`Table::columns`].
    pub columns: Vec<ColumnIndex>,
    /// Two rows with NULL in a column of it exclude each other, as other equal values do.
    pub nulls_equal: bool,
}

/// A trigger of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trigger {
    /// As the database spells it, without its table.
    pub name: String,
    /// It does not fire while checks are suspended ([`Checks::Suspended`](crate::Checks::Suspended)).
    pub is_suspended: bool,
    /// The statements that make the same trigger again after it was dropped, in their order: everything that the database
    /// tells of it, so that nobody can tell the two apart.
    pub create: Vec<String>,
}

/// A trigger that was dropped, as it is kept to be put back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedTrigger {
    /// The feed for which it was dropped: that of [`Advance::feed`](crate::Advance::feed).
    pub feed: String,
    /// [`Table::namespace`] of its table.
    pub namespace: Vec<String>,
    /// [`Table::name`] of its table.
    pub table: String,
    /// What it was: its `create` makes it again.
    pub trigger: Trigger,
    /// What the host knows its own record by. A plugin keeps it and gives it back as it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub proof: String,
}

/// Why a table cannot be written to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NotWritable {
    /// Completes "cannot write to orders: ".
    pub why: String,
    /// The statement or setting that mends it.
    pub hint: String,
}

/// One column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Column {
    /// As the database spells it.
    pub name: String,
    /// The type in the target's own spelling, `numeric(10,2)`. Only the plugin reads it, and messages.
    pub type_name: String,
    /// It takes NULL, as far as its declaration tells.
    pub nullable: bool,
    /// Computed by the target from other columns. The host never sends a value for it.
    pub generated: bool,
    /// Whether the target numbers it by itself.
    pub identity: Identity,
    /// The target has a value for it when none is given.
    pub has_default: bool,
    /// Whatever `nullable` says, NULL in it may be refused, even for a while within a transaction: a CHECK, a domain or a
    /// computed column reads it, or a part of the table is stricter than the whole.
    pub resists_null: bool,
}

/// Whether the target would number the column by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// It does not.
    #[default]
    None,
    /// A given value wins without further words.
    ByDefault,
    /// A given value needs the statement to say that it overrides the target's.
    Always,
}

/// A reference from this table to another, or to itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ForeignKey {
    /// As the database spells it, for messages.
    pub name: String,
    /// Positions in [`Table::columns`] of the referring table.
    pub columns: Vec<ColumnIndex>,
    /// The position of the referenced table in [`Catalog::tables`].
    pub references: TableIndex,
    /// Columns of the referenced table, in the order of `columns`.
    pub references_columns: Vec<ColumnIndex>,
    /// What happens to a referring row when the referenced one is deleted.
    pub on_delete: Action,
    /// What happens to a referring row when the referenced columns change.
    pub on_update: Action,
    /// Checked at COMMIT rather than at each statement.
    pub deferred: bool,
}

/// What the target does to rows that refer to a row that is deleted, or whose referenced columns change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Refuses, at the end of the statement or later.
    #[default]
    NoAction,
    /// Refuses at once, whatever the rest of the statement does.
    Restrict,
    /// Deletes or changes the referring rows alike.
    Cascade,
    /// Sets the referring columns to NULL.
    SetNull,
    /// Sets the referring columns to their defaults.
    SetDefault,
}

impl Action {
    /// Whether it changes rows by itself.
    pub fn acts(self) -> bool {
        matches!(self, Self::Cascade | Self::SetNull | Self::SetDefault)
    }
}
