//! Foreign keys of rows that were written while they were not enforced.
//!
//! Owns: the questions, one for each key that leads from a table or to it. Does not own: when they are asked.

use ebb_sdk::{Block, Error, ErrorKind, ForeignKey, Result, Table};
use tokio_postgres::types::{ToSql, Type};

use crate::error::translate;
use crate::statement::{Target, qualified, rows, same_key};
use crate::write::{TextArray, doing, targets};
use crate::{Session, quoted};

const FOREIGN_KEY_VIOLATION: &str = "23503";

/// Asks whether the rows of these primary keys refer to rows that are there, and whether anything refers to one that is
/// not.
pub(crate) async fn verify(session: &mut Session, block: &Block<'_>) -> Result<()> {
    if block.rows() == 0 {
        return Ok(());
    }
    let (table, targets) = (block.table(), targets(session, block)?);
    let is_it = |other: &Table| other.namespace == table.namespace && other.name == table.name;
    let position = session.catalog.tables.iter().position(is_it).unwrap_or(usize::MAX);
    for key in &table.foreign_keys {
        let parent = &session.catalog.tables[key.references as usize];
        let sql = leading_away(table, parent, key, &targets);
        ask(session, block, &targets, &sql, table, key).await?;
    }
    for child in &session.catalog.tables {
        for key in child.foreign_keys.iter().filter(|key| key.references as usize == position) {
            let sql = leading_here(child, table, key, &targets);
            ask(session, block, &targets, &sql, child, key).await?;
        }
    }
    Ok(())
}

/// `table` is the one that the key belongs to; the answer is the key of a row of it, if one refers to nothing.
async fn ask(
    session: &Session,
    block: &Block<'_>,
    targets: &[Target],
    sql: &str,
    table: &Table,
    key: &ForeignKey,
) -> Result<()> {
    let doing = doing(block);
    let columns: Vec<_> = targets.iter().enumerate().map(|(at, target)| TextArray::new(block, at, target)).collect();
    // Every parameter is mentioned, or the server could not tell its type.
    let typed: Vec<_> = columns.iter().map(|column| (column as &(dyn ToSql + Sync), Type::TEXT_ARRAY)).collect();
    let asked = async { session.client.query_typed(sql, &typed).await.map_err(|failure| translate(&failure, &doing)) };
    let Some(row) = session.answered(&doing, asked).await?.into_iter().next() else { return Ok(()) };
    let found: String = row.try_get(0).map_err(|failure| translate(&failure, &doing))?;
    let message = format!("cannot write to {table}: the row {found} refers to a row that is not there");
    Err(Error::new(ErrorKind::Refused, message)
        .code(FOREIGN_KEY_VIOLATION)
        .table(table.to_string())
        .key(found)
        .constraint(&key.name)
        .hint("see the row and the constraint named; the source does not enforce it"))
}

/// Rows of the block whose parent is missing.
fn leading_away(table: &Table, parent: &Table, key: &ForeignKey, targets: &[Target]) -> String {
    format!(
        "SELECT {} FROM {} AS t JOIN {} ON {} WHERE {} AND NOT EXISTS (SELECT FROM {} AS p WHERE {}) LIMIT 1",
        shown_key(table, "t"),
        qualified(table),
        rows(targets.len()),
        same_key(table, targets),
        is_set(table, key, "t"),
        qualified(parent),
        refers(table, "t", parent, "p", key)
    )
}

/// Rows of another table that refer to a row of the block that is gone.
fn leading_here(child: &Table, table: &Table, key: &ForeignKey, targets: &[Target]) -> String {
    let referred = |at: &u32| targets.iter().position(|target| target.column.name == table.columns[*at as usize].name);
    let positions: Option<Vec<_>> = key.references_columns.iter().map(referred).collect();
    // A key that does not lead to the primary key cannot be followed from it, once the row is gone: all are looked at.
    let joined = positions.map(|positions| {
        let same = |(column, at): (&u32, usize)| {
            let name = quoted(&child.columns[*column as usize].name);
            let target = &targets[at].column_type;
            format!("c.{name} {} v.c{at}::{}", target.equals, target.cast)
        };
        let conditions: Vec<_> = key.columns.iter().zip(positions).map(same).collect();
        format!(" JOIN {} ON {}", rows(targets.len()), conditions.join(" AND "))
    });
    let joined = joined.unwrap_or_else(|| format!(" JOIN (SELECT FROM {} LIMIT 1) AS v ON true", rows(targets.len())));
    format!(
        "SELECT {} FROM {} AS c{joined} WHERE {} AND NOT EXISTS (SELECT FROM {} AS t WHERE {}) LIMIT 1",
        shown_key(child, "c"),
        qualified(child),
        is_set(child, key, "c"),
        qualified(table),
        refers(child, "c", table, "t", key)
    )
}

/// `id=1, city=rome`, or what there is of a table without a primary key.
fn shown_key(table: &Table, alias: &str) -> String {
    let part = |&at: &u32| {
        let name = &table.columns[at as usize].name;
        format!("'{}=' || {alias}.{}::text", name.replace('\'', "''"), quoted(name))
    };
    match table.primary_key.as_slice() {
        [] => "'without a key'".into(),
        key => key.iter().map(part).collect::<Vec<_>>().join(" || ', ' || "),
    }
}

fn is_set(table: &Table, key: &ForeignKey, alias: &str) -> String {
    let part = |&at: &u32| format!("{alias}.{} IS NOT NULL", quoted(&table.columns[at as usize].name));
    key.columns.iter().map(part).collect::<Vec<_>>().join(" AND ")
}

fn refers(child: &Table, child_alias: &str, parent: &Table, parent_alias: &str, key: &ForeignKey) -> String {
    let part = |(column, referred): (&u32, &u32)| {
        format!(
            "{parent_alias}.{} = {child_alias}.{}",
            quoted(&parent.columns[*referred as usize].name),
            quoted(&child.columns[*column as usize].name)
        )
    };
    key.columns.iter().zip(&key.references_columns).map(part).collect::<Vec<_>>().join(" AND ")
}
