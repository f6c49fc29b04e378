//! A column's type, as writing needs it: how a value is cast, compared and sent.
//!
//! Owns: making it of a row of the catalog. Does not own: the texts of values (`values`, `keys`), the query (`describe`).

use tokio_postgres::{Error, Row};

use crate::fit::Base;
use crate::keys::KeyForm;
use crate::quoted;
use crate::values::Conversion;

/// How a column's values are written.
#[derive(Clone, Debug)]
pub(crate) struct ColumnType {
    /// The type that text is cast to, without length or precision: an explicit cast to `varchar(3)` would cut silently,
    /// while the assignment to the column refuses.
    pub(crate) cast: String,
    /// The type's own `=`, whatever the search path: a `citext` compared as text would not find its row.
    pub(crate) equals: String,
    pub(crate) equality: Equality,
    pub(crate) conversion: Conversion,
    /// What a value must be to be a key.
    pub(crate) key: KeyForm,
    pub(crate) base: Base,
    /// The length or precision that the column gives its type, or its domain does.
    pub(crate) modified: Option<Modified>,
}

/// A type with a length or precision.
#[derive(Clone, Debug)]
pub(crate) struct Modified {
    /// As `pg_attribute` has it.
    pub(crate) modifier: i32,
    /// The type as SQL spells it, `numeric(6,2)`.
    pub(crate) type_name: String,
}

impl ColumnType {
    /// The parameter `c{at}` as a value of the type.
    pub(crate) fn given(&self, at: usize) -> String {
        self.of_text(&format!("v.c{at}"))
    }

    /// A text as a value of the type. A money is read with the separators of the server's locale: a number goes there as a
    /// number, and another text only if the server itself would write it so.
    pub(crate) fn of_text(&self, value: &str) -> String {
        let cast = &self.cast;
        match (self.base.name.as_str(), self.base.is_array) {
            ("money", true) => format!("{value}::pg_catalog.numeric[]::{cast}"),
            ("money", false) => format!(
                "CASE WHEN {value} OPERATOR(pg_catalog.~) '[^-+.0-9Ee]' THEN \
                 CASE WHEN {value}::{cast}::pg_catalog.text OPERATOR(pg_catalog.=) {value} THEN {value}::{cast} \
                 ELSE {value}::pg_catalog.numeric::{cast} END ELSE {value}::pg_catalog.numeric::{cast} END"
            ),
            _ => format!("{value}::{cast}"),
        }
    }

    /// What the column would hold if it were assigned the parameter `c{at}`. As in an assignment, and unlike in an explicit
    /// cast, a text or bit string that is too long is refused and not cut.
    pub(crate) fn assigned(&self, at: usize) -> String {
        let given = self.given(at);
        let Some(modified) = &self.modified else { return given };
        let coerced =
            |value: &str| format!("pg_catalog.{}({value}, {}, false)", quoted(&self.base.name), modified.modifier);
        match (CUT_BY_CASTS.contains(&self.base.name.as_str()), self.base.is_array) {
            (true, false) => coerced(&given),
            (true, true) => format!(
                "CASE WHEN v.c{at} IS NOT NULL THEN ARRAY(SELECT {} FROM pg_catalog.unnest({given}) \
                 WITH ORDINALITY AS e (value, place) ORDER BY e.place) END",
                coerced("e.value")
            ),
            (false, _) => format!("({given})::{}", modified.type_name),
        }
    }
}

/// How the type's `=` compares to the source's, which decides what is one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Equality {
    Same,
    /// Equal at the source too, and yet the values may look different, as 1.0 and 1.00 do.
    Number,
    /// Values that differ at the source may be equal here, as `Ada` and `ADA` are.
    Folded,
}

/// Types whose length an explicit cast enforces by cutting. Each has a function of its name that does what an assignment does.
const CUT_BY_CASTS: [&str; 4] = ["varchar", "bpchar", "bit", "varbit"];

const NUMBERS: [&str; 3] = ["float4", "float8", "numeric"];
const FOLDED_TYPES: [&str; 2] = ["citext", "interval"];

/// Of a row of the query of columns.
pub(crate) fn column_type(row: &Row, money_digits: i32) -> Result<ColumnType, Error> {
    let (schema, name): (String, String) = (row.try_get(7)?, row.try_get(8)?);
    let (modifier, element): (i32, Option<String>) = (row.try_get(9)?, row.try_get(10)?);
    let operators: Option<String> = row.try_get(12)?;
    let equality = match name.as_str() {
        number if NUMBERS.contains(&number) => Equality::Number,
        folded if FOLDED_TYPES.contains(&folded) || row.try_get(11)? => Equality::Folded,
        _ => Equality::Same,
    };
    let base = Base {
        is_array: element.is_some(),
        modifier: if element.as_ref().unwrap_or(&name) == "money" { money_digits } else { modifier },
        name: element.unwrap_or_else(|| name.clone()),
        kind: row.try_get::<_, String>(14)?.chars().next().unwrap_or('b'),
    };
    let own_modifier: i32 = row.try_get(15)?;
    let modified = match own_modifier {
        -1 => None,
        modifier => Some(Modified { modifier, type_name: row.try_get(16)? }),
    };
    Ok(ColumnType {
        cast: format!("{}.{}", quoted(&schema), quoted(&name)),
        equals: format!("OPERATOR({}.=)", quoted(operators.as_deref().unwrap_or("pg_catalog"))),
        equality,
        conversion: Conversion::of(&base),
        key: KeyForm::of(&base),
        base,
        modified,
    })
}
