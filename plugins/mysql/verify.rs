//! Whether rows that were written while checks were suspended are as MySQL would have demanded.
//!
//! Owns: asking, and the message that names the row. Does not own: the questions (`constraints`), when they are asked.
//! Other sessions are not kept from writing meanwhile, as MySQL's own checks would.

use std::sync::Arc;

use ebb_sdk::{Block, Error, ErrorKind, Result, SHOWN_CHARS_MAX, shortened};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value};

use crate::constraints::Reference;
use crate::error::{NO_REFERENCED_ROW, refused, translate};
use crate::statement::{Target, in_list, is_folded, same_keys};
use crate::write::{doing, targets};
use crate::{Session, answered, quoted};

const ROWS_MAX: usize = 1000;

/// Asks of every foreign key that leads from the block's table or to it.
pub(crate) async fn verify(session: &mut Session, block: &Block<'_>) -> Result<()> {
    let (name, key) = (&block.table().name, targets(session, block)?);
    let references = Arc::clone(&session.tables.references);
    for start in (0..block.rows()).step_by(ROWS_MAX) {
        let rows: Vec<usize> = (start..block.rows().min(start + ROWS_MAX)).collect();
        for reference in references.iter() {
            if reference.child == *name {
                of_rows(session, block, &key, reference, &rows).await?;
            }
            if reference.parent == *name && reference.parent_database == session.server.database {
                to_rows(session, block, &key, reference, &rows).await?;
            }
        }
    }
    Ok(())
}

/// Of rows with these keys: is what they refer to there?
async fn of_rows(
    session: &mut Session,
    block: &Block<'_>,
    key: &[Target],
    reference: &Reference,
    rows: &[usize],
) -> Result<()> {
    let mut parameters = values(block, key, rows, &(0..key.len()).collect::<Vec<_>>())?;
    if is_folded(key) {
        parameters.extend_from_within(..);
    }
    let sql = reference.question(&same_keys("c.", key, rows.len()));
    ask(session, block, reference, sql, parameters).await
}

/// Of these keys of the parent: does anything refer to a row that is not there any more? For a reference to other
/// columns than those of the primary key all is looked at: which values the rows had before is not known.
async fn to_rows(
    session: &mut Session,
    block: &Block<'_>,
    key: &[Target],
    reference: &Reference,
    rows: &[usize],
) -> Result<()> {
    let place = |name: &String| key.iter().position(|target| target.column.name == *name);
    let places: Option<Vec<_>> = reference.referenced.iter().map(place).collect();
    let Some(places) = places else {
        return ask(session, block, reference, reference.question("TRUE"), Vec::new()).await;
    };
    let columns: Vec<_> = reference.columns.iter().map(|column| format!("c.{}", quoted(column))).collect();
    let row: Vec<_> = places.iter().map(|&at| key[at].column_type.form.comparable()).collect();
    let sql = reference.question(&in_list(&columns, &row, rows.len()));
    let parameters = values(block, key, rows, &places)?;
    ask(session, block, reference, sql, parameters).await
}

async fn ask(
    session: &mut Session,
    block: &Block<'_>,
    reference: &Reference,
    sql: String,
    parameters: Vec<Value>,
) -> Result<()> {
    let (doing, wait) = (doing(block), session.answer_wait);
    let parameters = if parameters.is_empty() { Params::Empty } else { Params::Positional(parameters) };
    let found = async {
        let found = session.conn.exec_first::<String, _, _>(sql, parameters).await;
        found.map_err(|failure| translate(&failure, &doing))
    };
    let Some(key) = answered(wait, &doing, found).await? else { return Ok(()) };
    let (key, Reference { name, child, parent, .. }) = (shortened(&key, SHOWN_CHARS_MAX), reference);
    let message =
        format!("cannot write to {child}: the row {key} refers to a row that {parent} does not have ({name})");
    Err(Error::new(ErrorKind::Refused, message)
        .code(NO_REFERENCED_ROW.to_string())
        .table(child)
        .key(key)
        .constraint(name)
        .hint("see the row and the constraint named; the source does not enforce it"))
}

/// Of each row the values of these columns of the key.
fn values(block: &Block<'_>, key: &[Target], rows: &[usize], places: &[usize]) -> Result<Vec<Value>> {
    let cells = rows.iter().flat_map(|&row| places.iter().map(move |&at| (row, at)));
    let value = |(row, at): (usize, usize)| {
        let value = key[at].column_type.form.parameter(block.value(row, at), true);
        value.map_err(|why| refused(why.code, &doing(block), why.text))
    };
    cells.map(value).collect()
}
