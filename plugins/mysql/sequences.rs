//! Sequences of MariaDB: whether one gives out a key that is taken, and moving it behind.
//!
//! Owns: finding sequences and their columns, and which are left to a person. Does not own: AUTO_INCREMENT, which InnoDB moves past
//! every value that is written; MySQL has nothing else.

use std::time::Duration;

use ebb_sdk::{ConcernKind, Result, SequenceMove, SequenceMoves, Survey, Table};
use mysql_async::prelude::Queryable;

use crate::connect::Flavour;
use crate::describe::rows;
use crate::error::translate;
use crate::rights::{self, Rights};
use crate::survey::largest;
use crate::{Session, answered, quoted};

const DOING: &str = "advance the target's sequences";
/// Sequences that are looked at.
const MAX: usize = 100;
/// The maximum of one column may take so long.
const COLUMN_TIME: Duration = Duration::from_secs(60);
/// One that has used up more of its range is not moved.
const USED_MAX: f64 = 0.9;

const SEQUENCES: &str = "SELECT table_name FROM information_schema.tables \
     WHERE table_schema = DATABASE() AND table_type = 'SEQUENCE' ORDER BY table_name LIMIT 101";

const DEFAULTS: &str = "SELECT c.table_name, c.column_name, c.data_type, \
         CASE WHEN c.column_type LIKE '%unsigned%' THEN 1 ELSE 0 END, c.column_default \
     FROM information_schema.columns c WHERE c.table_schema = DATABASE() \
     AND LOWER(c.column_default) LIKE '%nextval(%' ORDER BY c.table_name, c.column_name";

/// A column whose default takes a value from a sequence.
struct Column {
    table: String,
    name: String,
    /// The largest value of its type, where it is a whole number.
    largest: Option<i128>,
    default: String,
    is_replicated: bool,
}

/// Where a sequence stands.
struct Standing {
    /// The first value that it has not set aside: it gives this or, of those set aside, one before.
    uncached: i128,
    earliest: i128,
    max: i128,
    min: i128,
    increment: i128,
}

/// Moves them, or says only which would be moved.
pub(crate) async fn advance(session: &mut Session, tables: &[&Table], act: bool) -> Result<SequenceMoves> {
    let mut all =
        SequenceMoves { by_itself: Some("AUTO_INCREMENT moves by itself".into()), ..SequenceMoves::default() };
    if session.server.flavour == Flavour::MySql {
        return Ok(all);
    }
    let mut unlooked = Survey::default();
    let rights = rights::of(session).await?;
    let mut names: Vec<String> = rows(session, SEQUENCES, vec![]).await?;
    if names.len() > MAX {
        names.truncate(MAX);
        skip(&mut unlooked, "further sequences of the target".into(), format!("{MAX} were looked at; {}", list()));
    }
    if !rights.may("SELECT", "") {
        let why = format!("this user is shown those only that it has a right on; as an administrator: {}", list());
        skip(&mut unlooked, "sequences that this user is not shown".into(), why);
    }
    let columns = columns(session, tables).await?;
    for name in &names {
        let calls = call(session, name);
        let using: Vec<&Column> = columns.iter().filter(|column| column.default.contains(&calls)).collect();
        if using.is_empty() {
            without_column(session, name, &mut unlooked).await;
        }
        let using = using.into_iter().filter(|column| column.is_replicated);
        let (plain, others): (Vec<_>, Vec<_>) =
            using.partition(|column| column.default == calls && column.largest.is_some());
        others.into_iter().for_each(|column| by_hand(name, column, "it is a part of the value only", &mut unlooked));
        if plain.is_empty() {
            continue;
        }
        match one(session, &rights, name, &plain, act).await {
            Ok(found) => {
                all.looked += 1;
                all.moves.extend(found);
            }
            Err(why) => plain.iter().for_each(|column| by_hand(name, column, &why, &mut unlooked)),
        }
    }
    let is_known = |column: &Column| names.iter().any(|name| column.default.contains(&call(session, name)));
    for column in columns.iter().filter(|column| column.is_replicated && !is_known(column)) {
        let why =
            "its default names a sequence of another database, or one that this user is not shown; SHOW CREATE TABLE";
        let (table, name) = (quoted(&column.table), quoted(&column.name));
        skip(&mut unlooked, format!("the sequence of {table}.{name}"), format!("{why} {table}; tells which"));
    }
    all.unlooked = unlooked.unlooked;
    Ok(all)
}

fn skip(survey: &mut Survey, what: String, why: String) {
    survey.skip_kind(ConcernKind::SequenceBehind, what, why);
}

fn list() -> String {
    "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'SEQUENCE';".into()
}

/// As MariaDB keeps it in a default.
fn call(session: &Session, name: &str) -> String {
    format!("nextval({}.{})", quoted(&session.server.database), quoted(name))
}

fn by_hand(sequence: &str, column: &Column, why: &str, survey: &mut Survey) {
    let (sequence, table, name) = (quoted(sequence), quoted(&column.table), quoted(&column.name));
    let look = format!("SELECT next_not_cached_value FROM {sequence}; SELECT MAX({name}) FROM {table};");
    skip(survey, format!("the sequence {sequence} of {table}.{name}"), format!("{why}; to look at it: {look}"));
}

async fn columns(session: &mut Session, tables: &[&Table]) -> Result<Vec<Column>> {
    type Row = (String, String, String, u8, String);
    let found = rows::<Row>(session, DEFAULTS, vec![]).await?;
    let column = |(table, name, kind, is_unsigned, default): Row| Column {
        is_replicated: tables.iter().any(|wanted| wanted.name == table),
        largest: largest(&kind.to_lowercase(), is_unsigned == 1).map(i128::from),
        table,
        name,
        default,
    };
    Ok(found.into_iter().map(column).collect())
}

async fn without_column(session: &mut Session, name: &str, survey: &mut Survey) {
    let quoted_name = quoted(name);
    let gives = match standing(session, name).await {
        Ok(found) if found.earliest == found.uncached => format!("it gives {} next", found.uncached),
        Ok(found) => format!("it gives a value from {} to {} next", found.earliest, found.uncached),
        Err(why) => format!("what it gives next is not known ({why})"),
    };
    let why = format!(
        "{gives}; if keys that the application takes from it are beyond that: SELECT SETVAL({quoted_name}, the largest key);"
    );
    skip(survey, format!("the sequence {quoted_name}, which no column uses"), why);
}

/// Compares it with its columns, and moves it. The error is why it cannot be compared.
async fn one(
    session: &mut Session,
    rights: &Rights,
    name: &str,
    columns: &[&Column],
    act: bool,
) -> std::result::Result<Option<SequenceMove>, String> {
    let stands = standing(session, name).await?;
    let mut farthest: Option<(i128, &Column)> = None;
    for column in columns {
        let Some(value) = maximum(session, column, stands.max).await? else { continue };
        if farthest.is_none_or(|(known, _)| value > known) {
            farthest = Some((value, *column));
        }
    }
    let Some((value, column)) = farthest.filter(|(value, _)| *value >= stands.earliest) else { return Ok(None) };
    let end = columns.iter().filter_map(|column| column.largest).fold(stands.max, i128::min);
    let mut made = SequenceMove {
        sequence: quoted(name),
        column: format!("{}.{}", quoted(&column.table), quoted(&column.name)),
        from: match value >= stands.uncached || stands.earliest == stands.uncached {
            true => stands.uncached.to_string(),
            false => format!("a value from {} to {}", stands.earliest, stands.uncached),
        },
        to: (value + stands.increment).to_string(),
        refused: None,
        fix: None,
    };
    let used = (value - stands.min) as f64 / (end - stands.min) as f64;
    if value + stands.increment > end || used > USED_MAX {
        made.refused = Some(format!("{value} is used, and its range ends with {end}"));
        made.fix = Some("give the sequence and its column a wider range, or that row another key".into());
    } else if !rights.may("INSERT", name) && !rights.unknown {
        made.refused = Some("this user may not move it".into());
        made.fix = Some(grant(session, name));
    } else if act {
        let sql = format!("SELECT CAST(SETVAL({}, {value}) AS CHAR)", quoted(name));
        // It turns none back: one that has gone on answers with NULL.
        if text(session, &sql).await?.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(made))
}

fn grant(session: &Session, name: &str) -> String {
    let (database, user) = (quoted(&session.server.database), &session.server.user);
    format!("as an administrator of the target: GRANT SELECT, INSERT ON {database}.{} TO {user};", quoted(name))
}

async fn standing(session: &mut Session, name: &str) -> std::result::Result<Standing, String> {
    let sql = format!(
        "SELECT CONCAT_WS(' ', next_not_cached_value, minimum_value, maximum_value, increment, cache_size, cycle_option) FROM {}",
        quoted(name)
    );
    let found = text(session, &sql).await?.unwrap_or_default();
    let numbers: Vec<i128> = found.split(' ').filter_map(|number| number.parse().ok()).collect();
    let [uncached, min, max, increment, cache, cycles] = numbers[..] else {
        return Err("where it stands is not known".into());
    };
    if cycles != 0 {
        return Err(
            "it starts again once its range is used up (CYCLE), so that no value of it is certain to be free".into()
        );
    }
    if increment <= 0 {
        return Err("it counts down, or by auto_increment_increment".into());
    }
    let earliest = (uncached - increment * (cache.max(1) - 1)).max(min);
    Ok(Standing { uncached, earliest, max, min, increment })
}

/// Keys that the sequence cannot come to do not count.
async fn maximum(session: &mut Session, column: &Column, max: i128) -> std::result::Result<Option<i128>, String> {
    let (table, name) = (quoted(&column.table), quoted(&column.name));
    let sql = format!(
        "SET STATEMENT max_statement_time = {} FOR SELECT CAST(MAX({name}) AS CHAR) FROM {table} WHERE {name} <= {max}",
        COLUMN_TIME.as_secs()
    );
    Ok(text(session, &sql).await?.and_then(|text| text.parse().ok()))
}

async fn text(session: &mut Session, sql: &str) -> std::result::Result<Option<String>, String> {
    let wait = session.answer_wait + COLUMN_TIME;
    let asked = async {
        session.conn.query_first::<Option<String>, _>(sql).await.map_err(|failure| translate(&failure, DOING))
    };
    answered(wait, DOING, asked).await.map(Option::flatten).map_err(|error| error.to_string())
}
