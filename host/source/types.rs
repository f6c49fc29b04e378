//! The types of CockroachDB, from the spelling in its catalog to the words of the sdk.
//!
//! Owns: reading a spelling. Does not own: what a target makes of it (the plugin). Pure.

use ebb_sdk::{Family, SourceType};

/// Digits of a second behind the point that a type of time has unless it says less.
const SECOND_DIGITS: u64 = 6;

/// Reads `DECIMAL(10,2)`, `VARCHAR(20)`, `INT8[]`, `public.state`.
pub(super) fn source_type(spelling: &str) -> SourceType {
    if let Some(element) = spelling.strip_suffix("[]") {
        let element = Some(Box::new(source_type(element)));
        return SourceType { family: Family::Array, name: spelling.into(), element, ..SourceType::default() };
    }
    let (word, sizes) = match spelling.split_once('(') {
        Some((word, sizes)) => (word, sizes.trim_end_matches(')')),
        None => (spelling, ""),
    };
    let mut sizes = sizes.split(',').map(|size| size.trim().parse::<u64>().ok());
    let (size, scale) = (sizes.next().flatten(), sizes.next().flatten());
    let (family, size_max) = match word.trim().to_uppercase().as_str() {
        "BOOL" | "BOOLEAN" => (Family::Bool, None),
        "INT2" | "SMALLINT" => (Family::Int, Some(2)),
        "INT4" => (Family::Int, Some(4)),
        "INT8" | "INT" | "INTEGER" | "BIGINT" => (Family::Int, Some(8)),
        "DECIMAL" | "NUMERIC" => (Family::Decimal, size),
        "FLOAT4" | "REAL" => (Family::Float, Some(4)),
        "FLOAT8" | "FLOAT" | "DOUBLE PRECISION" => (Family::Float, Some(8)),
        "CHAR" | "CHARACTER" => (Family::String, Some(size.unwrap_or(1))),
        "STRING" | "TEXT" | "VARCHAR" | "CHARACTER VARYING" => (Family::String, size),
        "\"CHAR\"" => (Family::String, Some(1)),
        "NAME" => (Family::String, Some(63)),
        "BYTES" | "BYTEA" => (Family::Bytes, None),
        "UUID" => (Family::Uuid, None),
        "DATE" => (Family::Date, None),
        "TIME" => (Family::Time, None),
        "TIMETZ" => (Family::TimeTz, None),
        "TIMESTAMP" => (Family::Timestamp, None),
        "TIMESTAMPTZ" => (Family::TimestampTz, None),
        // Also with the fields that it keeps, as in INTERVAL DAY TO SECOND(3).
        word if word.split(' ').next() == Some("INTERVAL") => (Family::Interval, None),
        "JSONB" | "JSON" => (Family::Json, None),
        "INET" => (Family::Inet, None),
        "BIT" => (Family::Bit, Some(size.unwrap_or(1))),
        "VARBIT" | "BIT VARYING" => (Family::Bit, size),
        "GEOMETRY" | "GEOGRAPHY" => (Family::Geometry, None),
        "VECTOR" => (Family::Vector, None),
        // Types of users come with their schema.
        other if other.contains('.') => (Family::Enum, None),
        _ => (Family::Other, None),
    };
    let scale = match family {
        Family::Decimal => scale.or(size.map(|_| 0)),
        Family::Date => Some(0),
        Family::Time | Family::TimeTz | Family::Timestamp | Family::TimestampTz | Family::Interval => {
            Some(size.unwrap_or(SECOND_DIGITS))
        }
        _ => None,
    };
    SourceType { family, name: spelling.into(), size_max, scale, element: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        for (spelling, family, size_max, scale) in [
            ("INT8", Family::Int, Some(8), None),
            ("DECIMAL(10,2)", Family::Decimal, Some(10), Some(2)),
            ("DECIMAL(10)", Family::Decimal, Some(10), Some(0)),
            ("DECIMAL", Family::Decimal, None, None),
            ("VARCHAR(20)", Family::String, Some(20), None),
            ("CHAR", Family::String, Some(1), None),
            ("STRING", Family::String, None, None),
            ("DATE", Family::Date, None, Some(0)),
            ("TIME(0)", Family::Time, None, Some(0)),
            ("TIMETZ(2)", Family::TimeTz, None, Some(2)),
            ("TIMESTAMP", Family::Timestamp, None, Some(6)),
            ("TIMESTAMPTZ(3)", Family::TimestampTz, None, Some(3)),
            ("INTERVAL", Family::Interval, None, Some(6)),
            ("INTERVAL(3)", Family::Interval, None, Some(3)),
            ("INTERVAL DAY TO SECOND(3)", Family::Interval, None, Some(3)),
            ("INTERVAL YEAR", Family::Interval, None, Some(6)),
            ("public.state", Family::Enum, None, None),
            ("GEOMETRY(POINT,4326)", Family::Geometry, None, None),
            ("TSVECTOR", Family::Other, None, None),
        ] {
            let found = source_type(spelling);
            assert_eq!((found.family, found.size_max, found.scale), (family, size_max, scale), "{spelling}");
        }
        let array = source_type("VARCHAR(20)[]");
        assert_eq!((array.family, array.element.unwrap().size_max), (Family::Array, Some(20)));
    }
}
