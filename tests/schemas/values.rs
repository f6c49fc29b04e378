//! Types of columns, and values of them: as a changefeed writes them, and as the target shows them.
//!
//! Owns: both spellings of a value. Does not own: which columns a table has (`shape`).

use ebb_servers::Dialect;
use fastrand::Rng;

/// One value: JSON for the changefeed, and the text that [`Type::shown`] gives of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Value {
    pub json: String,
    pub text: String,
}

/// What the target shows for NULL.
pub(crate) const NULL_TEXT: &str = "~";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Int,
    Text,
    Decimal,
    Bool,
    Date,
    Timestamp,
    Time,
    Uuid,
    Bytes,
    Label,
    Array,
    /// Seconds without a fraction on the target; the source has fractions.
    Seconds,
    /// One digit behind the point on the target; the source has two.
    Tenths,
    /// Trailing blanks do not count on the target.
    Padded,
    /// The source has texts in either case; the target has uuids.
    AnyCaseUuid,
}

/// What keys are made of, where nothing is lost.
pub(crate) const KEYS: [Type; 8] =
    [Type::Int, Type::Text, Type::Decimal, Type::Date, Type::Timestamp, Type::Time, Type::Uuid, Type::Bytes];
pub(crate) const COLUMNS: [Type; 11] = [
    Type::Int,
    Type::Text,
    Type::Decimal,
    Type::Bool,
    Type::Date,
    Type::Timestamp,
    Type::Time,
    Type::Uuid,
    Type::Bytes,
    Type::Label,
    Type::Array,
];
/// What a key cannot be made of without losing what tells two rows apart.
pub(crate) const LOSSY_KEYS: [Type; 4] = [Type::Seconds, Type::Tenths, Type::Padded, Type::AnyCaseUuid];

/// Labels of the enum; the last ones are what escapes are for.
const LABELS: [&str; 5] = ["red", "light blue", "c:\\new", "it's", "a,b"];
const WORDS: [&str; 8] = ["ada", "bo'b", "c\\d", "e\"f", "größe", "🐘", " lead", "%_"];

impl Type {
    /// The column's type on the target.
    pub(crate) fn ddl(self, dialect: Dialect) -> String {
        let (postgres, mysql) = match self {
            Self::Int => ("bigint", "bigint"),
            Self::Text => ("text", "varchar(60) collate utf8mb4_bin"),
            Self::Decimal => ("numeric(12,2)", "decimal(12,2)"),
            Self::Bool => ("bool", "bool"),
            Self::Date => ("date", "date"),
            Self::Timestamp => ("timestamp", "datetime(6)"),
            Self::Time => ("time", "time(6)"),
            Self::Uuid => ("uuid", "char(36)"),
            Self::Bytes => ("bytea", "varbinary(40)"),
            Self::Array => ("bigint[]", "json"),
            Self::Seconds => ("timestamp(0)", "datetime"),
            Self::Tenths => ("numeric(6,1)", "decimal(6,1)"),
            Self::Padded => ("char(8)", "char(8)"),
            Self::AnyCaseUuid => ("uuid", "binary(16)"),
            Self::Label => {
                let labels: Vec<String> = LABELS.iter().map(|label| label.replace('\'', "''")).collect();
                let labels = format!("'{}'", labels.join("','"));
                return match dialect {
                    Dialect::Postgres => "label".into(),
                    Dialect::MySql(_) => format!("enum({})", labels.replace('\\', "\\\\")),
                };
            }
        };
        if dialect == Dialect::Postgres { postgres } else { mysql }.into()
    }

    /// The statement that PostgreSQL needs before a table can have a column of [`Type::Label`].
    pub(crate) fn labels() -> String {
        let labels: Vec<String> = LABELS.iter().map(|label| format!("'{}'", label.replace('\'', "''"))).collect();
        format!("CREATE TYPE label AS ENUM ({})", labels.join(", "))
    }

    /// An expression on the target that gives a value's one text.
    pub(crate) fn shown(self, column: &str, dialect: Dialect) -> String {
        let text = match (self, dialect) {
            (Self::Bool, Dialect::Postgres) => format!("{column}::int::text"),
            (Self::Bytes, Dialect::Postgres) => format!("encode({column}, 'hex')"),
            (Self::Array, Dialect::Postgres) => format!("array_to_json({column})::text"),
            (_, Dialect::Postgres) => format!("{column}::text"),
            (Self::Bytes, Dialect::MySql(_)) => format!("lower(hex({column}))"),
            (Self::AnyCaseUuid, Dialect::MySql(_)) => format!("hex({column})"),
            (Self::Array, Dialect::MySql(_)) => format!("replace(cast({column} AS char), ' ', '')"),
            (_, Dialect::MySql(_)) => format!("cast({column} AS char)"),
        };
        format!("coalesce({text}, '{NULL_TEXT}')")
    }

    /// The value in PostgreSQL's SQL.
    pub(crate) fn literal(self, value: &Value) -> String {
        let text = value.text.replace('\'', "''");
        match self {
            _ if *value == null() => "NULL".into(),
            Self::Bytes => format!("'\\x{text}'"),
            Self::Array => format!("'{{{}}}'", text.trim_matches(['[', ']'])),
            _ => format!("'{text}'"),
        }
    }

    /// One of few values, so that rows meet again.
    pub(crate) fn value(self, rng: &mut Rng) -> Value {
        let n = rng.u32(0..30);
        let quoted = |text: String| Value { json: serde_json::Value::from(text.as_str()).to_string(), text };
        let plain = |text: String| Value { json: text.clone(), text };
        match self {
            Self::Int => plain((i64::from(n) - 5).to_string()),
            Self::Text => quoted(format!("{}{n}", WORDS[n as usize % WORDS.len()])),
            Self::Decimal => plain(format!("{n}.{:02}", n * 3)),
            Self::Bool => Value { json: (n > 9).to_string(), text: u8::from(n > 9).to_string() },
            Self::Date => quoted(format!("20{:02}-03-{:02}", n + 1, n % 28 + 1)),
            Self::Timestamp => {
                let (date, time) = (format!("2025-03-{:02}", n % 28 + 1), format!("10:00:{n:02}.00000{}", n % 9 + 1));
                Value { json: format!("\"{date}T{time}\""), text: format!("{date} {time}") }
            }
            Self::Time => quoted(format!("10:00:{n:02}.00000{}", n % 9 + 1)),
            Self::Uuid => quoted(format!("0b6e5a3c-51c5-4b5d-9d70-0a9ac25d2e{n:02x}")),
            Self::Bytes => {
                let hex = format!("00{n:02x}5cff");
                Value { json: format!("\"\\\\x{hex}\""), text: hex }
            }
            Self::Label => quoted(LABELS[n as usize % LABELS.len()].into()),
            Self::Array => {
                plain(format!("[{n},null,-1]").replace("null", if n.is_multiple_of(2) { "null" } else { "0" }))
            }
            Self::Seconds => quoted(format!("2025-03-01T10:00:0{}.{}", n / 10, n % 10)),
            Self::Tenths => plain(format!("{}.{}{}", n / 10, n / 5 % 2, n % 10)),
            Self::Padded => quoted(format!("x{}{}", n / 3, " ".repeat(n as usize % 3))),
            Self::AnyCaseUuid => {
                let uuid = format!("0b6e5a3c-51c5-4b5d-9d70-0a9ac25d2e{:02x}", n / 2);
                quoted(if n.is_multiple_of(2) { uuid } else { uuid.to_uppercase() })
            }
        }
    }
}

pub(crate) fn null() -> Value {
    Value { json: "null".into(), text: NULL_TEXT.into() }
}
