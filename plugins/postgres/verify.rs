//! Whether rows that were written while checks were suspended are as PostgreSQL would have demanded.
//!
//! Owns: asking, and the message that names the row. Does not own: which questions a table raises (`constraints`), when
//! they are asked. Other sessions are not kept from writing meanwhile, as PostgreSQL's own checks would.

use std::collections::HashSet;
use std::sync::Arc;

use ebb_sdk::{Block, Error, ErrorKind, Result, SHOWN_CHARS_MAX, Table, shortened, shown_value};
use tokio_postgres::types::{ToSql, Type};

use crate::Session;
use crate::constraints::{self, About, Name, Question};
use crate::error::{topic, translate};
use crate::statement::TargetColumn;
use crate::write::{TextArray, doing, targets_of};

/// Values of one question. A transaction may have parted with more than one statement has time for.
const VALUES_MAX: usize = 20_000;

/// Asks every question that the block's table raises about the rows of these primary keys, and about what the transaction
/// did to others that refer to them.
pub(crate) async fn verify(session: &mut Session, block: &Block<'_>) -> Result<()> {
    if block.rows() == 0 {
        return Ok(());
    }
    let key = key_targets(session, block.table())?;
    let name = name_of(block.table());
    for (at, question) in questions(session, block).await?.iter().enumerate() {
        let doing = doing(block);
        match &question.about {
            About::Parents(_) => {
                let values = session.before.take_parting(&name, at);
                let rows = values.first().map_or(0, Vec::len);
                for start in (0..rows).step_by(VALUES_MAX) {
                    let chunk = start..rows.min(start + VALUES_MAX);
                    let columns: Vec<_> = values.iter().map(|column| &column[chunk.clone()]).collect();
                    let columns: Vec<_> = columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
                    ask(session, question, &columns, &doing, None).await?;
                }
            }
            About::Rows | About::Children(_) => {
                let place =
                    |target: &TargetColumn| block.columns().position(|column| column.name == target.column.name);
                let columns = key.iter().filter_map(|target| Some(TextArray::new(block, place(target)?, target)));
                let columns: Vec<_> = columns.collect();
                let columns: Vec<_> = columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
                ask(session, question, &columns, &doing, session.before.orphans(&name, at)).await?;
            }
        }
    }
    Ok(())
}

async fn ask(
    session: &Session,
    question: &Question,
    columns: &[&(dyn ToSql + Sync)],
    doing: &str,
    orphans: Option<&HashSet<String>>,
) -> Result<()> {
    let constraint = &question.constraint;
    let Some(sql) = &question.sql else {
        let message = format!("cannot {doing}: {constraint} is a temporal key, which ebb cannot verify");
        let hint = "start with --triggers fire, so that the target enforces it, if the change can be made that way";
        return Err(Error::new(ErrorKind::Refused, message).constraint(constraint).hint(hint));
    };
    // Every parameter is mentioned, or the server could not tell its type.
    let typed: Vec<_> = columns.iter().map(|column| (*column, Type::TEXT_ARRAY)).collect();
    let failed = |failure| translate(&failure, doing);
    let asked = async { session.client.query_typed(sql, &typed).await.map_err(failed) };
    for row in session.answered(doing, asked).await? {
        let is_old = match orphans {
            Some(orphans) => orphans.contains(row.try_get::<_, &str>(1).map_err(failed)?),
            None => false,
        };
        if is_old {
            continue;
        }
        let key: String = row.try_get(0).map_err(failed)?;
        let key = shortened(&key, SHOWN_CHARS_MAX);
        let message = format!(
            "cannot write to {}: the row {} {} ({constraint})",
            question.table,
            shown_value(&key),
            question.finding
        );
        return Err(Error::new(ErrorKind::Refused, message)
            .topic(topic(question.code))
            .code(question.code)
            .table(&question.table)
            .key(key)
            .constraint(constraint)
            .hint(question.hint()));
    }
    Ok(())
}

pub(crate) fn name_of(table: &Table) -> Name {
    (table.namespace.last().cloned().unwrap_or_default(), table.name.clone())
}

/// The columns of the primary key, in its order.
pub(crate) fn key_targets(session: &Session, table: &Table) -> Result<Vec<TargetColumn>> {
    targets_of(session, table, table.primary_key.iter().map(|&at| &table.columns[at]))
}

/// They are read once, when they are first needed, and forgotten when the tables are described again.
pub(crate) async fn questions(session: &mut Session, block: &Block<'_>) -> Result<Arc<[Question]>> {
    let (table, name) = (block.table(), name_of(block.table()));
    if let Some(known) = session.questions.get(&name) {
        return Ok(Arc::clone(known));
    }
    let (doing, key) = (doing(block), key_targets(session, table)?);
    let read = async {
        let read = constraints::read(&session.client, table, &key).await;
        read.map_err(|failure| translate(&failure, &doing))
    };
    let questions: Arc<[Question]> = session.answered(&doing, read).await?.into();
    session.questions.insert(name, Arc::clone(&questions));
    Ok(questions)
}
