//! Statements about keys that only CockroachDB has: hidden columns, keys by hash, regions by row, and a new primary key.
//!
//! Owns: their grammar. Does not own: their effect (`schema/keys.sql`).

use crate::cursor::Cursor;
use crate::failure::Failure;
use crate::lex::{Token, identifier, literal};
use crate::rewrite::Edit;
use crate::show;

/// What CockroachDB takes without `bucket_count`.
const BUCKETS: u32 = 16;

/// `ALTER TABLE t ALTER PRIMARY KEY USING COLUMNS (…)` and `ALTER TABLE t SET LOCALITY REGIONAL BY ROW`; `None` for
/// every other. The cursor stands behind `ALTER TABLE`.
pub(crate) fn alter_table(mut cursor: Cursor<'_>) -> Option<Result<String, Failure>> {
    let _ = cursor.accept(&["IF", "EXISTS"]);
    let table = show::table(&mut cursor).ok()?;
    if cursor.accept(&["SET", "LOCALITY"]) {
        return Some(locality(&table, cursor));
    }
    cursor.accept(&["ALTER", "PRIMARY", "KEY", "USING", "COLUMNS"]).then(|| primary_key(&table, cursor))
}

fn locality(table: &str, mut cursor: Cursor<'_>) -> Result<String, Failure> {
    if !cursor.accept(&["REGIONAL", "BY", "ROW"]) || !cursor.is_at_end() {
        return Err(Failure::unsupported("a locality other than REGIONAL BY ROW"));
    }
    Ok(format!("CALL crdb_internal.regional_by_row({table}::regclass)"))
}

fn primary_key(table: &str, mut cursor: Cursor<'_>) -> Result<String, Failure> {
    let columns = columns(&mut cursor)?;
    let buckets = hash(&mut cursor)?.unwrap_or(0);
    cursor.expect_end()?;
    let columns: Vec<String> = columns.iter().map(|column| literal(column)).collect();
    Ok(format!("CALL crdb_internal.alter_primary_key({table}::regclass, ARRAY[{}], {buckets})", columns.join(", ")))
}

fn columns(cursor: &mut Cursor<'_>) -> Result<Vec<String>, Failure> {
    cursor.expect_symbol('(')?;
    let mut columns = Vec::new();
    loop {
        columns.push(cursor.name()?.concat());
        let _ = cursor.accept(&["ASC"]);
        if !cursor.accept_symbol(',') {
            cursor.expect_symbol(')')?;
            return Ok(columns);
        }
    }
}

/// The buckets of `USING HASH`, where it stands.
fn hash(cursor: &mut Cursor<'_>) -> Result<Option<u32>, Failure> {
    if !cursor.accept(&["USING", "HASH"]) {
        return Ok(None);
    }
    if !cursor.accept(&["WITH"]) {
        return Ok(Some(BUCKETS));
    }
    cursor.expect_symbol('(')?;
    cursor.expect(&["bucket_count"])?;
    cursor.expect_symbol('=')?;
    let count = cursor.value()?;
    cursor.expect_symbol(')')?;
    count.parse().map(Some).map_err(|_| Failure::syntax(&count))
}

/// What CREATE TABLE and ALTER TABLE … ADD COLUMN say of columns and of the key.
pub(crate) fn edits(statement: &[Token<'_>]) -> Result<Vec<Edit>, Failure> {
    let mut edits = Vec::new();
    let is_table = |verb: &str| statement[0].is(verb) && statement.iter().take(3).any(|token| token.is("TABLE"));
    if !is_table("CREATE") && !is_table("ALTER") {
        return Ok(edits);
    }
    let mut depth = 0;
    // The name of the column that is being described.
    let mut column = None;
    for (at, token) in statement.iter().enumerate() {
        let previous = at.checked_sub(1).map(|before| statement[before]);
        depth += i32::from(token.is_symbol('(')) - i32::from(token.is_symbol(')'));
        let begins = previous.is_some_and(|previous| previous.is_symbol('(') || previous.is_symbol(','));
        let is_added =
            previous.is_some_and(|previous| previous.is_any(&["COLUMN", "EXISTS"])) && statement[0].is("ALTER");
        if depth == 1 && begins || is_added {
            column = token.name();
        }
        let mut cursor = Cursor::new(&statement[at..]);
        if cursor.accept(&["NOT", "VISIBLE"]) {
            let name = column.as_ref().ok_or_else(|| Failure::syntax("VISIBLE"))?;
            let text = format!("CONSTRAINT {} CHECK (true)", identifier(&format!("crdb_not_visible:{name}")));
            edits.push(Edit { start: token.start, end: statement[at + 1].end(), text });
        } else if cursor.accept(&["PRIMARY", "KEY"]) && statement[0].is("CREATE") {
            let before = cursor;
            let named = columns(&mut cursor).ok();
            if named.is_none() {
                cursor = before;
            }
            if let Some(buckets) = hash(&mut cursor)? {
                let start = token.start;
                edits.push(sharded(start, named, column.clone(), buckets, cursor)?);
            }
        }
    }
    Ok(edits)
}

/// The shard becomes a column of its own, in front of the key; the key without it stays unique.
fn sharded(
    start: usize,
    named: Option<Vec<String>>,
    column: Option<String>,
    buckets: u32,
    mut cursor: Cursor<'_>,
) -> Result<Edit, Failure> {
    let ends = |token: Token<'_>| token.is_symbol(',') || token.is_symbol(')');
    let Some(end) = cursor.next().filter(|token| ends(*token)) else {
        return Err(Failure::unsupported("more of a column behind USING HASH"));
    };
    let separator = if named.is_some() { "" } else { ", " };
    let columns = named.or_else(|| column.map(|column| vec![column])).ok_or_else(|| Failure::syntax("HASH"))?;
    let shard = identifier(&format!("crdb_internal_{}_shard_{buckets}", columns.join("_")));
    let list: Vec<String> = columns.iter().map(|column| identifier(column)).collect();
    let parts: Vec<String> = list.iter().map(|column| format!("crdb_internal.part({column})")).collect();
    let (list, parts) = (list.join(", "), parts.join(", "));
    let text = format!(
        "{separator}{shard} int4 NOT NULL GENERATED ALWAYS AS (crdb_internal.bucket(ARRAY[{parts}], {buckets})) STORED, \
         UNIQUE ({list}), PRIMARY KEY ({shard}, {list})"
    );
    Ok(Edit { start, end: end.start, text })
}
