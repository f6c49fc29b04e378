//! `SELECT row_to_json(r)::STRING FROM (SELECT "a", "b" FROM t …) AS r`: rows of a table as a changefeed would send
//! them. PostgreSQL gets a query of the columns' texts, with a row before them that says how to make JSON of them and
//! one behind them. Every other use of `row_to_json` is refused: PostgreSQL's own function has another form.
//!
//! Does not own: the JSON itself (`rows`, `encode`), and the time of the table (`as_of`, `past`).

use std::collections::BTreeSet;

use crate::as_of;
use crate::cursor::Cursor;
use crate::failure::Failure;
use crate::lex::{Token, identifier, literal};
use crate::rewrite::Edit;
use crate::rows::COLUMN;
use crate::show;

/// Which columns, of which table, as `regclass` reads it.
struct Inner {
    columns: Vec<String>,
    table: String,
}

pub(crate) fn edits(statement: &[Token<'_>], around: Option<&str>) -> Result<Vec<Edit>, Failure> {
    let is_call =
        |at: usize| statement[at].is("row_to_json") && statement.get(at + 1).is_some_and(|t| t.is_symbol('('));
    if !(0..statement.len()).any(is_call) {
        return Ok(Vec::new());
    }
    let refused =
        || Failure::unsupported("row_to_json in another form than SELECT row_to_json(r)::STRING FROM (…) AS r");
    let mut cursor = Cursor::new(statement);
    let row = head(&mut cursor).ok_or_else(refused)?;
    let open = cursor.next().filter(|token| token.is_symbol('(')).ok_or_else(refused)?;
    let inner = inner(&mut cursor).map_err(|_| refused())?;
    skip_to_close(&mut cursor).ok_or_else(refused)?;
    let _ = cursor.accept(&["AS"]);
    if cursor.next().and_then(|token| token.name()).as_ref() != Some(&row) {
        return Err(refused());
    }
    let is_past = cursor.accept(&["AS", "OF", "SYSTEM", "TIME"]);
    if is_past {
        // Its form has been looked at.
        let _ = cursor.next();
    }
    let is_sorted = cursor.accept(&["ORDER", "BY"]);
    if !is_sorted && !is_past && !cursor.is_at_end() {
        return Err(refused());
    }
    let end = statement.last().map_or(0, Token::end);
    let time = as_of::time(statement)?;
    let (before, behind) = frame(&row, &inner, time.as_deref().or(around), is_sorted);
    Ok(vec![Edit { start: statement[0].start, end: open.start, text: before }, Edit { start: end, end, text: behind }])
}

/// Up to the parenthesis of the inner query. Gives the name of its row.
fn head(cursor: &mut Cursor<'_>) -> Option<String> {
    if !cursor.accept(&["SELECT", "row_to_json"]) || !cursor.accept_symbol('(') {
        return None;
    }
    let row = cursor.next()?.name()?;
    let is_text = cursor.accept_symbol(')')
        && cursor.accept_symbol(':')
        && cursor.accept_symbol(':')
        && cursor.accept(&["STRING"])
        && cursor.accept(&["FROM"]);
    is_text.then_some(row)
}

fn inner(cursor: &mut Cursor<'_>) -> Result<Inner, Failure> {
    cursor.expect(&["SELECT"])?;
    let mut columns = Vec::new();
    loop {
        let column = if cursor.accept(&["CASE"]) { marked(cursor)? } else { bare(cursor)? };
        columns.push(column);
        if !cursor.accept_symbol(',') {
            break;
        }
    }
    if columns.iter().collect::<BTreeSet<_>>().len() < columns.len() {
        return Err(cursor.unexpected());
    }
    cursor.expect(&["FROM"])?;
    let table = show::table(cursor)?;
    // One table only: what its columns are is asked by its name.
    let is_one = cursor.peek().is_some_and(|next| next.is_any(&["WHERE", "ORDER", "LIMIT"]) || next.is_symbol(')'));
    if is_one { Ok(Inner { columns, table }) } else { Err(cursor.unexpected()) }
}

fn bare(cursor: &mut Cursor<'_>) -> Result<String, Failure> {
    match &cursor.name()?[..] {
        [column] => Ok(column.clone()),
        _ => Err(cursor.unexpected()),
    }
}

/// Behind CASE: `WHEN "a" = 'null'::JSONB THEN '…'::JSONB ELSE "a" END AS "a"`, a column of JSON whose null is marked.
fn marked(cursor: &mut Cursor<'_>) -> Result<String, Failure> {
    while !cursor.accept(&["END", "AS"]) {
        if cursor.next().is_none() {
            return Err(cursor.unexpected());
        }
    }
    bare(cursor)
}

fn skip_to_close(cursor: &mut Cursor<'_>) -> Option<()> {
    let mut depth = 1;
    while depth > 0 {
        let token = cursor.next()?;
        depth += i32::from(token.is_symbol('(')) - i32::from(token.is_symbol(')'));
    }
    Some(())
}

/// What stands before the inner query and what behind it.
fn frame(row: &str, inner: &Inner, time: Option<&str>, is_sorted: bool) -> (String, String) {
    let Inner { columns, table } = inner;
    let time = time.map_or("NULL".to_owned(), literal);
    let names: Vec<String> = columns.iter().map(|column| literal(column)).collect();
    let row = identifier(row);
    let texts: Vec<String> =
        columns.iter().map(|column| format!("crdb_internal.text_of({row}.{})", identifier(column))).collect();
    let nulls = ", NULL::text".repeat(columns.len());
    let before = format!(
        "SELECT crdb_internal.row_to_json_head({table}::regclass, {time}, ARRAY[{}]) AS {}{nulls} \
         UNION ALL SELECT NULL, {} FROM ",
        names.join(", "),
        identifier(COLUMN),
        texts.join(", ")
    );
    let tail = format!(" UNION ALL SELECT crdb_internal.row_to_json_tail(){nulls}");
    match is_sorted {
        true => (format!("{before}(SELECT * FROM "), format!(") AS {row}{tail}")),
        false => (before, tail),
    }
}

#[cfg(test)]
mod tests {
    use crate::rewrite::rewrite;
    use crate::version::Version;

    fn rewritten(sql: &str) -> String {
        rewrite(sql, &Version::parse("25.2.1").unwrap()).unwrap()
    }

    #[test]
    fn rows_stand_between_two_of_the_stand_in() {
        assert_eq!(
            rewritten(
                "SELECT row_to_json(r)::STRING FROM (SELECT \"id\", \"A b\" FROM \"db\".\"public\".\"t\" \
                 WHERE (\"id\") > ('x'::STRING) ORDER BY \"id\" LIMIT 5) AS r AS OF SYSTEM TIME 17.0000000001"
            ),
            "SELECT crdb_internal.row_to_json_head('\"public\".\"t\"'::regclass, '17.0000000001', ARRAY['id', 'A b']) \
             AS \"crdb_internal.row_to_json\", NULL::text, NULL::text \
             UNION ALL SELECT NULL, crdb_internal.text_of(\"r\".\"id\"), crdb_internal.text_of(\"r\".\"A b\") \
             FROM (SELECT \"id\", \"A b\" FROM crdb_internal.as_of(NULL::\"public\".\"t\", '17.0000000001') AS \"t\" \
             WHERE (\"id\") > ('x'::text) ORDER BY \"id\" LIMIT 5) AS r  \
             UNION ALL SELECT crdb_internal.row_to_json_tail(), NULL::text, NULL::text"
        );
    }

    #[test]
    fn rows_are_sorted_before_they_are_framed() {
        let sql = rewritten(
            "SELECT row_to_json(r)::STRING FROM (SELECT CASE WHEN \"d\" = 'null'::JSONB THEN '{\"x\": true}'::JSONB ELSE \"d\" \
             END AS \"d\", \"id\" FROM \"db\".\"public\".\"t\") AS r AS OF SYSTEM TIME 17.0000000001 ORDER BY r.\"id\"",
        );
        assert!(sql.contains("ARRAY['d', 'id']"), "{sql}");
        assert!(sql.contains("FROM (SELECT * FROM (SELECT CASE "), "{sql}");
        assert!(sql.contains(" ORDER BY r.\"id\") AS \"r\" UNION ALL "), "{sql}");
    }

    #[test]
    fn other_forms_are_refused() {
        for sql in [
            "SELECT row_to_json(t) FROM t",
            "SELECT row_to_json(r)::STRING FROM (SELECT * FROM t) AS r",
            "SELECT row_to_json(r)::STRING FROM (SELECT a, b + 1 FROM t) AS r",
            "SELECT row_to_json(r)::STRING FROM (SELECT a, a FROM t) AS r",
            "SELECT row_to_json(r)::STRING FROM (SELECT a FROM t, u) AS r",
            "SELECT row_to_json(r)::STRING FROM (SELECT a FROM t) AS r LIMIT 5",
            "SELECT row_to_json(r)::STRING FROM (SELECT a FROM t) AS s",
            "SELECT row_to_json(r)::STRING, 1 FROM (SELECT a FROM t) AS r",
        ] {
            assert!(rewritten(sql).contains("stand-in: not supported: row_to_json"), "{sql}");
        }
    }
}
