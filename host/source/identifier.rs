//! Names in statements for CockroachDB.
//!
//! Owns: when a name needs quotes.

/// Quoted only where it must be, so that the statement reads as the documents show it.
pub fn identifier(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|other| other.is_ascii_lowercase() || other.is_ascii_digit() || other == '_')
        && !RESERVED.split(' ').any(|word| word == name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Words that cannot be the name of a table without quotes
/// (<https://www.cockroachlabs.com/docs/stable/keywords-and-identifiers>, reserved keywords, and those of types and functions).
const RESERVED: &str = "\
    all analyse analyze and any array as asc asymmetric both case cast check collate collation column \
    concurrently constraint create cross current_catalog current_date current_role current_schema current_time \
    current_timestamp current_user default deferrable desc distinct do else end except false family fetch for \
    foreign from full grant group having ilike in index initially inner intersect into is isnull join lateral \
    leading left like limit localtime localtimestamp natural not nothing notnull null offset on only or order \
    outer overlaps placing primary references returning right select session_user similar some symmetric table \
    then to trailing true union unique user using variadic view when where window with work";
