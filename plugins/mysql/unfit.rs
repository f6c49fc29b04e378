//! Columns that cannot be a part of a key, and the statement that mends each.
//!
//! Owns: the reasons. Does not own: which columns are in a key (`describe`). Pure.

use ebb_sdk::{Column, Unfit};

use crate::quoted;
use crate::values::Form;

/// Why a column cannot be a part of a key here.
pub(crate) fn unfit_key(table: &str, column: &Column, form: &Form) -> Option<Unfit> {
    let (name, table) = (quoted(&column.name), quoted(table));
    let modify = |type_name: &str| format!("ALTER TABLE {table} MODIFY {name} {type_name} NOT NULL;");
    let (why, hint) = match form {
        _ if column.generated => ("is generated and no row can be given it", modify(&column.type_name)),
        Form::Json { .. } => ("is JSON, which has many spellings of one value", modify("LONGTEXT")),
        Form::Shape { .. } | Form::Vector(_) | Form::Plain => (
            "has a type whose values ebb cannot tell apart as the server does",
            format!("ALTER TABLE {table} DROP PRIMARY KEY, ADD PRIMARY KEY (…);"),
        ),
        _ => return None,
    };
    Some(Unfit { why: format!("column {} of its primary key {why}", column.name), hint })
}
