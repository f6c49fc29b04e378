//! Whether rows that were written while checks were suspended are as MySQL would have demanded.
//!
//! Owns: asking, and the message that names the row. Does not own: the questions (`constraints`), when they are asked.
//! Other sessions are not kept from writing meanwhile, as MySQL's own checks would.

use std::sync::Arc;

use ebb_sdk::{Block, Error, ErrorKind, Result, SHOWN_CHARS_MAX, Topic, shortened, shown_value};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value};

use crate::constraints::Reference;
use crate::error::{NO_REFERENCED_ROW, refused, translate};
use crate::statement::{TargetColumn, in_list, is_folded, same_keys};
use crate::write::{doing, parameter, targets};
use crate::{Session, answered, before, quoted};

const ROWS_MAX: usize = 1000;

/// Asks of every foreign key that leads from the block's table or to it: of rows of these keys whether what they refer to is
/// there, and of values that rows of this table had before whether anything still refers to them in vain.
pub(crate) async fn verify(session: &mut Session, block: &Block<'_>) -> Result<()> {
    let (name, key) = (&block.table().name, targets(session, block)?);
    let references = Arc::clone(&session.tables.references);
    for start in (0..block.rows()).step_by(ROWS_MAX) {
        let rows: Vec<usize> = (start..block.rows().min(start + ROWS_MAX)).collect();
        for reference in references.iter().filter(|reference| reference.child == *name) {
            of_rows(session, block, &key, reference, &rows).await?;
        }
    }
    for (at, reference) in references.iter().enumerate() {
        if reference.parent == *name && reference.parent_database == session.server.database {
            to_values(session, block, reference, at).await?;
        }
    }
    Ok(())
}

/// Of rows with these keys: is what they refer to there?
async fn of_rows(
    session: &mut Session,
    block: &Block<'_>,
    key: &[TargetColumn],
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

/// Does anything refer to a row that is not there any more? Only values that were there before this transaction are asked
/// for, and each once.
async fn to_values(session: &mut Session, block: &Block<'_>, reference: &Reference, at: usize) -> Result<()> {
    let columns: Vec<_> = reference.columns.iter().map(|column| format!("c.{}", quoted(column))).collect();
    let comparable = |name: &String| {
        before::conversion(session, &reference.parent, name)
            .map_or_else(|| "?".into(), |conversion| conversion.comparable())
    };
    let row: Vec<_> = reference.referenced.iter().map(comparable).collect();
    let values = session.before.take(at);
    for some in values.chunks(ROWS_MAX) {
        let sql = reference.question(&in_list(&columns, &row, some.len()));
        ask(session, block, reference, sql, some.concat()).await?;
    }
    Ok(())
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
    let message = format!(
        "cannot write to {child}: the row {} refers to a row that {parent} does not have ({name})",
        shown_value(&key)
    );
    Err(Error::new(ErrorKind::Refused, message)
        .topic(Topic::ForeignKey)
        .code(NO_REFERENCED_ROW.to_string())
        .table(child)
        .key(key)
        .constraint(name)
        .hint(ebb_sdk::missing_parent(parent)))
}

/// Of each row the values of these columns of the key.
fn values(block: &Block<'_>, key: &[TargetColumn], rows: &[usize], places: &[usize]) -> Result<Vec<Value>> {
    let cells = rows.iter().flat_map(|&row| places.iter().map(move |&at| (row, at)));
    let value = |(row, at): (usize, usize)| {
        parameter(&key[at], block.value(row, at)).map_err(|why| refused(why.code, &doing(block), &why.text))
    };
    cells.map(value).collect()
}
