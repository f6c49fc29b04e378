//! Columns that cannot be a part of a key, and the statement that mends each.
//!
//! Owns: the reasons. Does not own: which columns are in a key (`describe`). Pure.

use ebb_sdk::{Column, NotWritable};

use crate::describe::ColumnType;
use crate::quoted;
use crate::values::Conversion;

/// Why a column cannot be a part of a key here.
pub(crate) fn not_writable_key(table: &str, column: &Column, column_type: &ColumnType) -> Option<NotWritable> {
    let (name, table) = (quoted(&column.name), quoted(table));
    // Without them the column would get those of its table.
    let letters = match (&column_type.charset, &column_type.collation) {
        (Some(charset), Some(collation)) => format!(" CHARACTER SET {charset} COLLATE {collation}"),
        _ => String::new(),
    };
    let modify = format!("ALTER TABLE {table} MODIFY {name} {}{letters} NOT NULL;", column.type_name);
    let (why, hint) = match column_type.conversion {
        _ if column.generated => ("is generated and no row can be given it", modify),
        Conversion::Json { .. } => (
            "is JSON, which has many spellings of one value",
            format!("{modify} -- and drop the CHECK that demands json_valid of it, where it is not gone by that"),
        ),
        Conversion::Shape { .. } | Conversion::Vector(_) | Conversion::Plain => (
            "has a type whose values ebb cannot tell apart as the server does",
            format!("ALTER TABLE {table} DROP PRIMARY KEY, ADD PRIMARY KEY (…);"),
        ),
        _ => return None,
    };
    Some(NotWritable { why: format!("column {} of its primary key {why}", column.name), hint })
}
