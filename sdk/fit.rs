//! Whether a column can hold what a column of the source has.
//!
//! Owns: the types of a source in words that every dialect understands, and the answer. Does not own: the rules, which are
//! each dialect's.

use serde::{Deserialize, Serialize};

use crate::{ColumnIndex, TableIndex};

/// What kind of values a column of the source has, and so in which JSON they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// `true` or `false`.
    Bool,
    /// A JSON number without digits behind the point.
    Int,
    /// A JSON number with every digit, or the texts `NaN`, `Infinity` and `-Infinity`.
    Decimal,
    /// A JSON number, or the texts `NaN`, `Infinity` and `-Infinity`.
    Float,
    /// A text.
    String,
    /// A label of a type of its own.
    Enum,
    /// `\x6869`.
    Bytes,
    /// A text, `7bd5a7ac-0d1c-4b1e-9a3f-1f6d1c7a0b11`.
    Uuid,
    /// A text, `2016-01-25`.
    Date,
    /// A text, `14:02:03.123456`.
    Time,
    /// A text with an offset, `14:02:03.123456+01:00`.
    TimeTz,
    /// A text without a zone, `2016-01-25T14:02:03.123456`.
    Timestamp,
    /// A text in UTC, `2016-01-25T14:02:03.123456Z`.
    TimestampTz,
    /// A text, `1 day 02:03:04`.
    Interval,
    /// Any JSON.
    Json,
    /// A text, `10.1.2.3/8`.
    Inet,
    /// Digits 0 and 1.
    Bit,
    /// A JSON array.
    Array,
    /// GeoJSON.
    Geometry,
    /// A text, `[1,2.5]`.
    Vector,
    /// A type that ebb does not know; its values are texts.
    #[default]
    Other,
}

/// The type of a column of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceType {
    /// In which JSON its values come.
    pub family: Family,
    /// As the source spells it, for messages: `DECIMAL(10,2)`.
    pub name: String,
    /// The most that a value has: characters of a string, bits of a bit string, bytes of an integer or float (2, 4, 8),
    /// digits of a decimal, all of them. `None` without a limit.
    pub size_max: Option<u64>,
    /// Digits behind the point that a value has at most: of a decimal, `None` without a limit; of a type of time those of a
    /// second, 0 for a day. A plugin asks [`SourceType::second_digits`] for the latter, which also knows what a type without
    /// digits has.
    pub scale: Option<u64>,
    /// The type of an array's elements.
    pub element: Option<Box<SourceType>>,
}

/// What a type of time has without digits of its own.
const MICROSECONDS: u64 = 6;

impl SourceType {
    /// The most digits of a second behind the point that a value of this type has: `None` where there is no limit, as for
    /// texts.
    ///
    /// ```
    /// use ebb_sdk::{Family, SourceType};
    /// let timestamp = SourceType { family: Family::Timestamp, scale: Some(3), ..SourceType::default() };
    /// assert_eq!(timestamp.second_digits(), Some(3));
    /// ```
    pub fn second_digits(&self) -> Option<u64> {
        match self.family {
            Family::Date => Some(0),
            Family::Time | Family::TimeTz | Family::Timestamp | Family::TimestampTz | Family::Interval => {
                Some(self.scale.unwrap_or(MICROSECONDS))
            }
            _ => None,
        }
    }

    /// The longest text that a value of this type has, where there is one.
    ///
    /// ```
    /// use ebb_sdk::{Family, SourceType};
    /// let uuid = SourceType { family: Family::Uuid, ..SourceType::default() };
    /// assert_eq!(uuid.text_chars_max(), Some(36));
    /// ```
    pub fn text_chars_max(&self) -> Option<u64> {
        match self.family {
            Family::Bool => Some(5),
            Family::Int => Some(20),
            Family::Uuid => Some(36),
            Family::Date => Some(14),
            Family::Time | Family::TimeTz => Some(21),
            Family::Timestamp | Family::TimestampTz => Some(30),
            Family::Inet => Some(43),
            Family::String | Family::Bit => self.size_max,
            _ => None,
        }
    }
}

/// What a column makes of values of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Every value has its place.
    Full,
    /// Some values are refused, and digits of others would be lost, which is refused too unless it is allowed
    /// ([`ConnectOptions::may_round`](crate::ConnectOptions::may_round)): which, as in "digits behind the second one after
    /// the point are lost". Never the answer for a column of the primary key.
    Rounds(String),
    /// Some values are refused: which, as in "texts of more than 20 characters are refused".
    Partial(String),
    /// No value has a place, or only by accident: why, as in "the column is a number".
    Incompatible(String),
}

/// How many values of a column lost digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rounded {
    /// `public.orders`
    pub table: String,
    /// As the database spells it.
    pub column: String,
    /// How many of them.
    pub values: u64,
}

/// One question: whether this column of the catalog that was described last takes values of this type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FitQuestion {
    /// Position in [`Catalog::tables`](crate::Catalog::tables).
    pub table: TableIndex,
    /// Position in [`Table::columns`](crate::Table::columns).
    pub column: ColumnIndex,
    /// What the source has there.
    pub source: SourceType,
}
