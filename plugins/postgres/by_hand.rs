//! Sequences that only a person can judge, and the SQL that shows where they stand.
//!
//! Owns: those that no column uses, and what to look at where one cannot be compared with its column. Does not own: comparing the
//! others (`sequences`).

use ebb_sdk::{ConcernKind, Survey};
use tokio_postgres::{Client, Error, Row};

use crate::quoted;
use crate::sequences::literal;
use crate::survey::{MAX, tried};

/// Those of the schemas of these tables that belong to no column and stand in no default, and not to an extension: an
/// application asks them itself.
const WITHOUT_COLUMN: &str = "SELECT format('%I.%I', n.nspname, c.relname), s.seqincrement, \
         has_sequence_privilege(c.oid, 'SELECT') \
     FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relnamespace IN (SELECT relnamespace FROM pg_class WHERE oid = ANY ($1)) \
     AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid \
         AND (d.refclassid = 'pg_class'::regclass AND d.refobjsubid <> 0 AND d.deptype IN ('a', 'i') OR d.deptype = 'e')) \
     AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_attrdef'::regclass \
         AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid) \
     ORDER BY 1 LIMIT $2";

/// Notes each, with the value that it gives next.
pub(crate) async fn without_column(client: &Client, oids: &[u32], survey: &mut Survey) -> Result<(), Error> {
    let rows = client.query(WITHOUT_COLUMN, &[&oids, &MAX]).await?;
    for row in &rows {
        let (name, increment, may_read): (String, i64, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let next = if may_read { next(client, &name, increment).await? } else { None };
        let gives = match next {
            Some(next) => format!("it gives {next} next"),
            None => format!("what it gives next is not known: SELECT last_value, is_called FROM {name};"),
        };
        let why = format!(
            "{gives}; if keys that the application takes from it are beyond that: SELECT setval({}, \
             the farthest key);",
            literal(&name)
        );
        survey.skip_kind(ConcernKind::SequenceBehind, format!("the sequence {name}, which no column uses"), why);
    }
    if rows.len() as i64 == MAX {
        let why = format!("{MAX} of them were named");
        survey.skip_kind(ConcernKind::SequenceBehind, "further sequences that no column uses", why);
    }
    Ok(())
}

/// `None` where the server refuses to tell.
async fn next(client: &Client, name: &str, increment: i64) -> Result<Option<i128>, Error> {
    let sql = format!("SELECT last_value, is_called FROM {name}");
    let Ok(row) = tried(client, "SET LOCAL statement_timeout = '2s'; ", client.query_one(&sql, &[])).await? else {
        return Ok(None);
    };
    let (last, is_called): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Some(i128::from(last) + if is_called { i128::from(increment) } else { 0 }))
}

/// The SQL for a column and its sequence.
pub(crate) fn look(row: &Row) -> Result<String, Error> {
    let (table, column): (String, String) = (row.try_get("table")?, row.try_get("column")?);
    let Some(sequence) = row.try_get::<_, Option<String>>("sequence")? else {
        let table = literal(&table);
        return Ok(format!("SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = {table}::regclass;"));
    };
    let kind: String = row.try_get("type")?;
    let column = quoted(&column);
    // The longest text has the largest number.
    let farthest = match ["text", "character varying", "character"].contains(&kind.as_str()) {
        true => {
            format!("SELECT {column} FROM {table} ORDER BY length({column}) DESC NULLS LAST, {column} DESC LIMIT 3;")
        }
        false if row.try_get::<_, i64>("increment")? > 0 => format!("SELECT max({column}) FROM {table};"),
        false => format!("SELECT min({column}) FROM {table};"),
    };
    Ok(format!("SELECT last_value, is_called FROM {sequence}; {farthest}"))
}
