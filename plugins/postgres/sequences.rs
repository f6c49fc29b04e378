//! Sequences that give out the keys of the tables of a run: whether the next value is taken, and how many values are left.
//!
//! Owns: asking the server, what cannot be compared and why, and the statements that mend. Does not own: how bad each is (the
//! host), and the transaction that it is read in (`survey`).

use std::time::{Duration, Instant};

use ebb_sdk::{Concern, ConcernKind, Survey};
use tokio_postgres::{Client, Error, Row};

use crate::survey::{MAX, tried};
use crate::{by_hand, quoted};

/// A generator that has used up more of its range is named.
const USED_MAX: f64 = 0.9;
/// Keys that are farther away than so many values have a distance that is told.
const GAP_MAX: i128 = 1_000_000;
/// How long one statement may wait and work, as a setting of PostgreSQL.
const STATEMENT_TIME: &str = "SET LOCAL statement_timeout = '2s'; ";

/// What it may cost to find out where the columns stand.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Whether a column without an index is read.
    pub(crate) is_whole: bool,
    /// How long the maximum of one column may take, as a setting of PostgreSQL.
    pub(crate) statement_time: &'static str,
    /// For all of them; what takes longer is left out.
    pub(crate) time_max: Duration,
}

const SURVEY: Effort = Effort { is_whole: false, statement_time: STATEMENT_TIME, time_max: Duration::from_secs(10) };

/// One row per column that takes its values from a sequence, of its own or by its default; those of one sequence follow one
/// another. A default that names its sequence as text has none that is known here. Its stored form is read: pg_get_expr waits
/// for a table that is locked.
const COLUMNS: &str = "WITH used AS (\
         SELECT d.refobjid AS relid, d.refobjsubid::int2 AS attnum, d.objid AS sequence FROM pg_depend d \
         WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') \
             AND d.refobjid = ANY ($1) AND d.objid IN (SELECT seqrelid FROM pg_sequence) \
         UNION SELECT e.adrelid, e.adnum, d.refobjid FROM pg_attrdef e JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass \
             AND d.objid = e.oid AND d.refclassid = 'pg_class'::regclass \
         WHERE e.adrelid = ANY ($1) AND d.refobjid IN (SELECT seqrelid FROM pg_sequence) \
         UNION SELECT e.adrelid, e.adnum, NULL FROM pg_attrdef e \
         WHERE e.adrelid = ANY ($1) AND e.adbin::text LIKE '%:funcid ' || 'nextval(regclass)'::regprocedure::oid || ' %' AND NOT EXISTS (\
             SELECT FROM pg_depend d WHERE d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid \
             AND d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT seqrelid FROM pg_sequence))\
     ) SELECT format('%I.%I', n.nspname, c.relname) AS table, a.attname::text AS column, \
         CASE WHEN s.oid IS NOT NULL THEN format('%I.%I', sn.nspname, s.relname) END AS sequence, q.seqincrement AS increment, q.seqmin AS min, q.seqmax AS max, \
         q.seqcycle AS cycles, has_sequence_privilege(s.oid, 'SELECT') AS readable, \
         has_sequence_privilege(s.oid, 'UPDATE') AS settable, format_type(b.oid, NULL) AS type, \
         has_column_privilege(c.oid, a.attnum, 'SELECT') AS column_readable, c.relkind IN ('r', 'p') AS is_table, \
         EXISTS (SELECT FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid \
             JOIN pg_am m ON m.oid = ic.relam AND m.amname = 'btree' \
             WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL AND i.indkey[0] = a.attnum) AS indexed \
     FROM used u LEFT JOIN pg_sequence q ON q.seqrelid = u.sequence LEFT JOIN pg_class s ON s.oid = u.sequence \
     LEFT JOIN pg_namespace sn ON sn.oid = s.relnamespace \
     JOIN pg_class c ON c.oid = u.relid JOIN pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attnum JOIN pg_type t ON t.oid = a.atttypid \
     JOIN pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END \
     ORDER BY 3, 1, 2 LIMIT $2";

/// A sequence, and where it stands.
pub(crate) struct Sequence {
    pub(crate) name: String,
    pub(crate) increment: i128,
    pub(crate) min: i128,
    pub(crate) max: i128,
    pub(crate) settable: bool,
    /// What it gives out next.
    pub(crate) next: i128,
    pub(crate) is_called: bool,
}

/// A column that can be compared with it.
pub(crate) struct Column {
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    /// The value that is farthest on the way of the sequence, as far as that leads.
    pub(crate) farthest: Option<i128>,
}

pub(crate) async fn look(client: &Client, oids: &[u32]) -> Result<Survey, Error> {
    let mut survey = Survey::default();
    for (sequence, columns) in found(client, oids, SURVEY, &mut survey).await? {
        survey.concerns.extend(sequence.behind(&columns));
        survey.concerns.extend(sequence.narrow(&columns));
    }
    Ok(survey)
}

/// Every sequence that can be compared with its columns; the others are noted in `survey`.
pub(crate) async fn found(
    client: &Client,
    oids: &[u32],
    effort: Effort,
    survey: &mut Survey,
) -> Result<Vec<(Sequence, Vec<Column>)>, Error> {
    let rows = client.query(COLUMNS, &[&oids, &MAX]).await?;
    if rows.len() as i64 == MAX {
        survey.skip_kind(
            ConcernKind::SequenceBehind,
            "further sequences of the target",
            format!("{MAX} columns that use one were looked at"),
        );
    }
    let began = Instant::now();
    let mut all = Vec::new();
    let mut usable: Vec<&Row> = Vec::new();
    for row in &rows {
        match unusable(row, effort)? {
            Some(why) => skip(row, &why, survey)?,
            None => usable.push(row),
        }
    }
    for group in usable.chunk_by(|a, b| a.get::<_, String>("sequence") == b.get::<_, String>("sequence")) {
        if began.elapsed() > effort.time_max {
            skip(group[0], &format!("those before it took {} s", effort.time_max.as_secs()), survey)?;
            continue;
        }
        all.extend(sequence(client, group, effort, survey).await?);
    }
    Ok(all)
}

fn subject(row: &Row) -> Result<String, Error> {
    let (table, column): (String, String) = (row.try_get("table")?, row.try_get("column")?);
    Ok(match row.try_get::<_, Option<i64>>("increment")? {
        Some(_) => format!("the sequence {} of {table}.{column}", row.try_get::<_, String>("sequence")?),
        None => format!("the sequence of {table}.{column}"),
    })
}

fn skip(row: &Row, why: &str, survey: &mut Survey) -> Result<(), Error> {
    survey.skip_kind(
        ConcernKind::SequenceBehind,
        subject(row)?,
        format!("{why}; to look at it: {}", by_hand::look(row)?),
    );
    Ok(())
}

/// Why it cannot be compared.
fn unusable(row: &Row, effort: Effort) -> Result<Option<String>, Error> {
    let is = |name: &str| row.try_get::<_, Option<bool>>(name).map(|value| value == Some(true));
    if row.try_get::<_, Option<i64>>("increment")?.is_none() {
        return Ok(Some("the default names it as text, so that the server does not tell which one it is".into()));
    }
    let (table, column): (String, String) = (row.try_get("table")?, row.try_get("column")?);
    let (sequence, kind): (String, String) = (row.try_get("sequence")?, row.try_get("type")?);
    Ok(if is("cycles")? {
        Some("it starts again once its range is used up (CYCLE), so that no value of it is certain to be free".into())
    } else if !is("readable")? {
        Some(format!("this user may not read it: GRANT SELECT ON SEQUENCE {sequence} to it"))
    } else if !is("column_readable")? {
        Some(format!("this user may not read the column: GRANT SELECT ON {table} to it"))
    } else if !["smallint", "integer", "bigint", "numeric"].contains(&kind.as_str()) {
        Some(format!("the column has the type {kind}, which is not a number that can be compared"))
    } else if !is("is_table")? {
        Some(format!("{table} is not a table of this database"))
    } else if !effort.is_whole && !is("indexed")? {
        Some(format!("no B-tree index begins with the column {column}, so that the whole table would be read"))
    } else {
        None
    })
}

/// One sequence over all its columns.
async fn sequence(
    client: &Client,
    group: &[&Row],
    effort: Effort,
    survey: &mut Survey,
) -> Result<Option<(Sequence, Vec<Column>)>, Error> {
    let row = group[0];
    let number = |name: &str| row.try_get::<_, i64>(name).map(i128::from);
    let name: String = row.try_get("sequence")?;
    let (increment, min, max) = (number("increment")?, number("min")?, number("max")?);
    let sql = format!("SELECT last_value, is_called FROM {name}");
    let read = tried(client, STATEMENT_TIME, client.query_one(&sql, &[])).await?;
    let read = match read {
        Ok(read) => read,
        Err(why) => {
            skip(row, &why, survey)?;
            return Ok(None);
        }
    };
    let (last, is_called) = (i128::from(read.try_get::<_, i64>(0)?), read.try_get(1)?);
    let next = if is_called { last + increment } else { last };
    let mut columns = Vec::new();
    for row in group {
        let mut column = Column {
            table: row.try_get("table")?,
            name: row.try_get("column")?,
            kind: row.try_get("type")?,
            farthest: None,
        };
        // Within the bounds of the sequence.
        let sql = format!("SELECT trunc(({})::numeric)::int8", column.farthest_sql(increment, min, max, true));
        match tried(client, effort.statement_time, client.query_one(&sql, &[])).await? {
            Ok(found) => {
                column.farthest = found.try_get::<_, Option<i64>>(0)?.map(i128::from);
                columns.push(column);
            }
            Err(why) => skip(row, &why, survey)?,
        }
    }
    let sequence = Sequence { name, increment, min, max, settable: row.try_get("settable")?, next, is_called };
    Ok(Some((sequence, columns)))
}

impl Column {
    /// A subquery. Keys that the sequence cannot come to do not count; where the type has none, that is left out.
    fn farthest_sql(&self, increment: i128, min: i128, max: i128, is_bounded: bool) -> String {
        let column = quoted(&self.name);
        let (end, bound) =
            if increment > 0 { ("max", format!("<= {max}")) } else { ("min", format!(">= '{min}'::int8")) };
        let bound = if is_bounded { format!(" WHERE {column} {bound}") } else { String::new() };
        format!("SELECT {end}({column}) FROM {}{bound}", self.table)
    }

    fn bounds(&self) -> (i128, i128) {
        match self.kind.as_str() {
            "smallint" => (i16::MIN.into(), i16::MAX.into()),
            "integer" => (i32::MIN.into(), i32::MAX.into()),
            "bigint" => (i64::MIN.into(), i64::MAX.into()),
            _ => (i128::MIN, i128::MAX),
        }
    }
}

impl Sequence {
    fn is_up(&self) -> bool {
        self.increment > 0
    }

    pub(crate) fn is_at_or_beyond(&self, value: i128, than: i128) -> bool {
        if self.is_up() { value >= than } else { value <= than }
    }

    pub(crate) fn farther(&self, a: i128, b: i128) -> i128 {
        if self.is_up() { a.max(b) } else { a.min(b) }
    }

    /// The next value is taken, or those after it are.
    fn behind(&self, columns: &[Column]) -> Option<Concern> {
        let beyond = |column: &&Column| column.farthest.is_some_and(|value| self.is_at_or_beyond(value, self.next));
        let ahead: Vec<&Column> = columns.iter().filter(beyond).collect();
        let first = ahead.first()?;
        let have = ahead
            .iter()
            .map(|column| format!("{}.{} has {}", column.table, column.name, column.farthest.unwrap_or_default()));
        let stands = if self.is_called { "gives" } else { "has given no value yet, gives" };
        let values = |column: &&Column| column.farthest.into_iter().map(|value| (value - self.next) / self.increment);
        let gap = ahead.iter().flat_map(values).min().unwrap_or_default();
        let meets = match gap {
            0 => "that key is taken".to_owned(),
            1..=GAP_MAX => "a key that it gives may be taken".to_owned(),
            _ => format!("a key that it gives may be taken, at the latest after {gap} others"),
        };
        let mut reason =
            format!("{} {stands} {} next, and {}: {meets}", self.name, self.next, have.collect::<Vec<_>>().join(", "));
        if !self.has_room(columns) {
            let (order, end) = if self.is_up() { ("max", "<") } else { ("min", ">") };
            reason.push_str(&format!(
                "; that key is the last of the range, so that behind it there is no other: set the sequence to the {order} of the \
                 keys {end} it, or give that row another key"
            ));
            return Some(concern(ConcernKind::SequenceBehind, &first.table, reason, None));
        }
        let farthest = columns.iter().map(|column| {
            let (min, max) = column.bounds();
            let is_bounded = if self.is_up() { max > self.max } else { min < self.min };
            format!("({})", column.farthest_sql(self.increment, self.min, self.max, is_bounded))
        });
        // It may have gone on until this is pasted.
        let own = format!("(SELECT last_value FROM {})", self.name);
        let values: Vec<String> = std::iter::once(own).chain(farthest).collect();
        let (choice, who) = (
            if self.is_up() { "greatest" } else { "least" },
            if self.settable { "" } else { "as an administrator of the target: " },
        );
        let fix = format!("{who}SELECT setval({}, {choice}({})::int8);", literal(&self.name), values.join(", "));
        Some(concern(ConcernKind::SequenceBehind, &first.table, reason, Some(fix)))
    }

    /// Whether another value follows those that are taken, in its own range and in that of every column.
    fn has_room(&self, columns: &[Column]) -> bool {
        let farthest = columns.iter().filter_map(|column| column.farthest).reduce(|a, b| self.farther(a, b));
        let (low, high) = self.range(columns);
        farthest.is_none_or(|value| (low..=high).contains(&(value + self.increment)))
    }

    /// In which every column takes its values.
    fn range(&self, columns: &[Column]) -> (i128, i128) {
        let low = columns.iter().map(|column| column.bounds().0).fold(self.min, i128::max);
        (low, columns.iter().map(|column| column.bounds().1).fold(self.max, i128::min))
    }

    /// Little is left between where it stands and the end of its own range, or of a column's.
    pub(crate) fn narrow(&self, columns: &[Column]) -> Option<Concern> {
        let first = columns.first()?;
        let (low, high) = self.range(columns);
        let (start, end) = if self.is_up() { (self.min, high) } else { (self.max, low) };
        let given = self.next - self.increment;
        let stands = columns.iter().filter_map(|column| column.farthest).fold(given, |a, b| self.farther(a, b));
        let used = (stands - start) as f64 / (end - start) as f64;
        if used.is_nan() || used <= USED_MAX {
            return None;
        }
        let left = if self.is_at_or_beyond(stands, end) { 0 } else { (end - stands) / self.increment };
        let reason = format!(
            "{} of {}.{} has used {:.1} % of its range: {left} values are left",
            self.name,
            first.table,
            first.name,
            used * 100.0
        );
        Some(concern(ConcernKind::SequenceNarrow, &first.table, reason, self.widened(columns)))
    }

    /// `None` where nothing is wider.
    fn widened(&self, columns: &[Column]) -> Option<String> {
        let mut fix = String::new();
        let narrow: Vec<&Column> =
            columns.iter().filter(|column| ["smallint", "integer"].contains(&column.kind.as_str())).collect();
        if !narrow.is_empty() {
            fix += "in a maintenance window, since it rewrites the table, and start ebb again after it: ";
        }
        for column in narrow {
            fix += &format!("ALTER TABLE {} ALTER COLUMN {} TYPE bigint; ", column.table, quoted(&column.name));
        }
        let (bound, is_widest) = match self.is_up() {
            true => ("MAXVALUE", self.max == i64::MAX.into()),
            false => ("MINVALUE", self.min == i64::MIN.into()),
        };
        if !is_widest {
            fix += &format!("ALTER SEQUENCE {} AS bigint NO {bound};", self.name);
        }
        (!fix.is_empty()).then(|| fix.trim_end().to_owned())
    }
}

fn concern(kind: ConcernKind, subject: &str, reason: String, fix: Option<String>) -> Concern {
    Concern { kind, subject: subject.to_owned(), reason, fix }
}

pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests;
