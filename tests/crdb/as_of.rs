//! `… AS OF SYSTEM TIME t`: every table of the statement becomes a function that gives its rows at that time. Of the catalog
//! the primary keys and the unique indexes are known at every time, their columns and their number, and nothing else.
//!
//! Does not own: the history (`schema/capture.sql`, `schema/keys.sql`), nor transactions with a time (`transaction`).

use std::collections::HashSet;

use crate::failure::Failure;
use crate::lex::{Kind, Token, identifier, literal};
use crate::rewrite::Edit;

/// Words that end the list of tables of a FROM.
const AFTER_FROM: [&str; 13] = [
    "WHERE",
    "GROUP",
    "ORDER",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "FOR",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "WINDOW",
    "RETURNING",
];
/// Words that may follow a table and are no alias of it.
const NO_ALIAS: [&str; 12] =
    ["AS", "CROSS", "FULL", "INNER", "JOIN", "LEFT", "NATURAL", "ON", "RIGHT", "SELECT", "TABLESAMPLE", "USING"];

/// One level of parentheses.
#[derive(Default)]
struct Level {
    is_query: bool,
    in_from: bool,
    expects_table: bool,
}

/// The time of a statement, if it has one.
pub(crate) fn time(statement: &[Token<'_>]) -> Result<Option<String>, Failure> {
    let start = (0..statement.len()).find(|at| is_as_of(&statement[*at..]));
    start.map(|start| time_value(&statement[start + 4..]).map(|(time, _)| time)).transpose()
}

/// `around` is the time of the transaction, if it has one.
pub(crate) fn edits(statement: &[Token<'_>], around: Option<&str>) -> Result<Vec<Edit>, Failure> {
    let starts: Vec<usize> = (0..statement.len()).filter(|at| is_as_of(&statement[*at..])).collect();
    let is_query = statement[0].is_any(&["SELECT", "WITH", "VALUES", "TABLE"]) || statement[0].is_symbol('(');
    if starts.is_empty() && (around.is_none() || !is_query) {
        return Ok(Vec::new());
    }
    check_statement(statement[0])?;
    if around.is_some() && statement.iter().any(|token| token.is("cluster_logical_timestamp")) {
        return Err(Failure::unsupported("cluster_logical_timestamp() in a transaction AS OF SYSTEM TIME"));
    }
    let mut edits = Vec::new();
    let mut time = around.map(str::to_owned);
    let mut skipped = HashSet::new();
    for start in starts {
        let (value, length) = time_value(&statement[start + 4..])?;
        if time.as_ref().is_some_and(|time| *time != value) {
            return Err(Failure::uncategorized("inconsistent AS OF SYSTEM TIME timestamp"));
        }
        time = Some(value);
        let end = start + 4 + length;
        skipped.extend(start..end);
        edits.push(Edit { start: statement[start].start, end: statement[end - 1].end(), text: String::new() });
    }
    edits.extend(tables(statement, &skipped, &time.unwrap_or_default()));
    Ok(edits)
}

fn is_as_of(tokens: &[Token<'_>]) -> bool {
    let words = ["AS", "OF", "SYSTEM", "TIME"];
    tokens.len() > words.len() && tokens.iter().zip(words).all(|(token, word)| token.is(word))
}

fn check_statement(first: Token<'_>) -> Result<(), Failure> {
    if first.is_any(&["INSERT", "UPDATE", "DELETE"]) {
        let verb = first.text.to_uppercase();
        return Err(Failure::new("25006", format!("cannot execute {verb} in a read-only transaction")));
    }
    if first.is_any(&["BEGIN", "START", "SET"]) {
        return Err(Failure::unsupported("AS OF SYSTEM TIME in this statement"));
    }
    Ok(())
}

/// The time as a string literal's contents, and how many tokens it takes.
fn time_value(tokens: &[Token<'_>]) -> Result<(String, usize), Failure> {
    let first = tokens[0];
    match first.kind {
        Kind::Text => Ok((first.string().unwrap_or_default(), 1)),
        Kind::Number => Ok((first.text.to_owned(), 1)),
        Kind::Word if first.is("follower_read_timestamp") && tokens.len() >= 3 => Ok(("-4.8s".to_owned(), 3)),
        _ => Err(Failure::unsupported(format!("AS OF SYSTEM TIME {}; give a literal", first.text))),
    }
}

fn tables(statement: &[Token<'_>], skipped: &HashSet<usize>, time: &str) -> Vec<Edit> {
    let queries = common_table_expressions(statement);
    let mut edits = Vec::new();
    let mut levels = vec![Level { is_query: true, ..Level::default() }];
    let mut at = 0;
    while at < statement.len() {
        let token = statement[at];
        if skipped.contains(&at) {
            at += 1;
            continue;
        }
        let Some(level) = levels.last_mut() else { return edits };
        if level.expects_table && token.name().is_some() && !token.is_any(&["LATERAL", "ONLY"]) {
            level.expects_table = false;
            let length = name_length(&statement[at..]);
            edits.extend(table(&statement[at..], length, skipped.contains(&(at + length)), &queries, time));
            at += length;
            continue;
        }
        match token.kind {
            Kind::Symbol('(') => {
                let is_query = statement.get(at + 1).is_some_and(|next| next.is_any(&["SELECT", "WITH", "VALUES"]));
                let is_join = level.expects_table && !is_query;
                level.expects_table = false;
                levels.push(Level { is_query, in_from: is_join, expects_table: is_join });
            }
            Kind::Symbol(')') => drop(levels.pop()),
            Kind::Symbol(',') => level.expects_table = level.in_from,
            Kind::Word if token.is("FROM") && level.is_query && !is_distinct_from(statement, at) => {
                (level.in_from, level.expects_table) = (true, true);
            }
            Kind::Word if token.is("JOIN") => level.expects_table = level.in_from,
            Kind::Word if token.is_any(&AFTER_FROM) => (level.in_from, level.expects_table) = (false, false),
            _ => {}
        }
        at += 1;
    }
    edits
}

/// `a IS [NOT] DISTINCT FROM b` names no table.
fn is_distinct_from(statement: &[Token<'_>], at: usize) -> bool {
    at >= 2 && statement[at - 1].is("DISTINCT") && statement[at - 2].is_any(&["IS", "NOT"])
}

fn common_table_expressions(statement: &[Token<'_>]) -> HashSet<String> {
    let defines =
        |window: &[Token<'_>]| window[1].is("AS") && (window[2].is_symbol('(') || window[2].is("MATERIALIZED"));
    statement.windows(3).filter(|window| defines(window)).filter_map(|window| window[0].name()).collect()
}

/// Tokens of a name with its dots.
fn name_length(tokens: &[Token<'_>]) -> usize {
    let mut length = 1;
    while tokens.get(length).is_some_and(|token| token.is_symbol('.')) && tokens.len() > length + 1 {
        length += 2;
    }
    length
}

fn table(tokens: &[Token<'_>], length: usize, ends_here: bool, queries: &HashSet<String>, time: &str) -> Option<Edit> {
    let parts: Vec<String> = tokens[..length].iter().filter_map(Token::name).collect();
    let is_function = tokens.get(length).is_some_and(|next| next.is_symbol('('));
    let first = parts.first()?;
    let is_system =
        ["pg_catalog", "information_schema", "crdb_internal"].contains(&first.as_str()) || first.starts_with("pg_");
    let of_catalog = match parts.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["information_schema", "key_column_usage"] => Some("key_columns_as_of"),
        ["pg_catalog", "pg_index"] => Some("indexes_as_of"),
        _ => None,
    };
    if let Some(function) = of_catalog {
        let text = format!("crdb_internal.{function}({})", literal(time));
        return Some(Edit { start: tokens[0].start, end: tokens[length - 1].end(), text });
    }
    if is_function || is_system || (parts.len() == 1 && queries.contains(first)) {
        return None;
    }
    // Two parts at most: PostgreSQL knows no other database's tables.
    let parts = &parts[parts.len().saturating_sub(2)..];
    let name: Vec<String> = parts.iter().map(|part| identifier(part)).collect();
    let mut text = format!("crdb_internal.as_of(NULL::{}, {})", name.join("."), literal(time));
    if ends_here || !has_alias(&tokens[length..]) {
        text.push_str(&format!(" AS {}", name.last()?));
    }
    Some(Edit { start: tokens[0].start, end: tokens[length - 1].end(), text })
}

fn has_alias(tokens: &[Token<'_>]) -> bool {
    let Some(next) = tokens.first() else { return false };
    match next.kind {
        Kind::QuotedName => true,
        Kind::Word if next.is("AS") => !is_as_of(tokens),
        Kind::Word => !next.is_any(&NO_ALIAS) && !next.is_any(&AFTER_FROM),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::rewrite::rewrite;
    use crate::version::Version;

    fn check(sql: &str, expected: &str) {
        assert_eq!(rewrite(sql, &Version::parse("25.2.1").unwrap()).unwrap(), expected);
    }

    #[test]
    fn a_table_becomes_its_past() {
        check(
            "SELECT * FROM t AS OF SYSTEM TIME 17.0000000001 WHERE a = 1",
            "SELECT * FROM crdb_internal.as_of(NULL::\"t\", '17.0000000001') AS \"t\"  WHERE a = 1",
        );
        check(
            "SELECT count(*) FROM db.s.\"T\" x AS OF SYSTEM TIME '-1s'",
            "SELECT count(*) FROM crdb_internal.as_of(NULL::\"s\".\"T\", '-1s') x ",
        );
    }

    #[test]
    fn joins_subqueries_and_common_table_expressions() {
        check(
            "WITH q AS (SELECT extract(year FROM d) FROM b) SELECT * FROM a JOIN q ON a.x IS DISTINCT FROM q.y, c AS z, (SELECT 1) s AS OF SYSTEM TIME '1' ORDER BY 1",
            "WITH q AS (SELECT extract(year FROM d) FROM crdb_internal.as_of(NULL::\"b\", '1') AS \"b\") SELECT * FROM crdb_internal.as_of(NULL::\"a\", '1') AS \"a\" JOIN q ON a.x IS DISTINCT FROM q.y, crdb_internal.as_of(NULL::\"c\", '1') AS z, (SELECT 1) s  ORDER BY 1",
        );
    }

    #[test]
    fn what_cannot_be_read_from_the_past_is_refused() {
        let refusal = |sql: &str| rewrite(sql, &Version::parse("25.2.1").unwrap()).unwrap();
        assert!(refusal("BEGIN AS OF SYSTEM TIME '-1s'").contains("not supported"));
        assert!(refusal("SET x = AS OF SYSTEM TIME '-1s'").contains("not supported"));
        assert!(refusal("INSERT INTO a SELECT * FROM b AS OF SYSTEM TIME '-1s'").contains("25006"));
        assert!(refusal("SELECT * FROM a AS OF SYSTEM TIME $1").contains("give a literal"));
        assert!(
            refusal("SELECT * FROM a AS OF SYSTEM TIME '1', (SELECT * FROM b AS OF SYSTEM TIME '2') x")
                .contains("inconsistent")
        );
    }
}
