//! Whether rows that were written while checks were suspended are as PostgreSQL would have demanded.
//!
//! Owns: asking, and the message that names the row. Does not own: which questions a table raises (`constraints`), when
//! they are asked. Other sessions are not kept from writing meanwhile, as PostgreSQL's own checks would.

use std::sync::Arc;

use ebb_sdk::{Block, Error, ErrorKind, Result, SHOWN_CHARS_MAX, shortened};
use tokio_postgres::types::{ToSql, Type};

use crate::Session;
use crate::constraints::{self, Name, Question};
use crate::error::translate;
use crate::statement::Target;
use crate::write::{TextArray, doing, targets};

/// Asks every question that the block's table raises about the rows of these primary keys.
pub(crate) async fn verify(session: &mut Session, block: &Block<'_>) -> Result<()> {
    if block.rows() == 0 {
        return Ok(());
    }
    let targets = targets(session, block)?;
    for question in questions(session, block, &targets).await?.iter() {
        ask(session, block, &targets, question).await?;
    }
    Ok(())
}

async fn ask(session: &Session, block: &Block<'_>, targets: &[Target], question: &Question) -> Result<()> {
    let (doing, constraint) = (doing(block), &question.constraint);
    let Some(sql) = &question.sql else {
        let message = format!("cannot {doing}: {constraint} is a temporal key, which ebb cannot verify");
        let hint = "start with --triggers fire, so that the target enforces it, if the change can be made that way";
        return Err(Error::new(ErrorKind::Refused, message).constraint(constraint).hint(hint));
    };
    let columns: Vec<_> = targets.iter().enumerate().map(|(at, target)| TextArray::new(block, at, target)).collect();
    // Every parameter is mentioned, or the server could not tell its type.
    let typed: Vec<_> = columns.iter().map(|column| (column as &(dyn ToSql + Sync), Type::TEXT_ARRAY)).collect();
    let asked = async { session.client.query_typed(sql, &typed).await.map_err(|failure| translate(&failure, &doing)) };
    let Some(row) = session.answered(&doing, asked).await?.into_iter().next() else { return Ok(()) };
    let key: String = row.try_get(0).map_err(|failure| translate(&failure, &doing))?;
    let key = shortened(&key, SHOWN_CHARS_MAX);
    let message = format!("cannot write to {}: the row {key} {} ({constraint})", question.table, question.finding);
    Err(Error::new(ErrorKind::Refused, message)
        .code(question.code)
        .table(&question.table)
        .key(key)
        .constraint(constraint)
        .hint("see the row and the constraint named; the source does not enforce it"))
}

/// They are read once, when they are first needed, and forgotten when the tables are described again.
async fn questions(session: &mut Session, block: &Block<'_>, targets: &[Target]) -> Result<Arc<[Question]>> {
    let table = block.table();
    let name: Name = (table.namespace.last().cloned().unwrap_or_default(), table.name.clone());
    if let Some(known) = session.questions.get(&name) {
        return Ok(Arc::clone(known));
    }
    let doing = doing(block);
    let read = async {
        let read = constraints::read(&session.client, table, targets).await;
        read.map_err(|failure| translate(&failure, &doing))
    };
    let questions: Arc<[Question]> = session.answered(&doing, read).await?.into();
    session.questions.insert(name, Arc::clone(&questions));
    Ok(questions)
}
