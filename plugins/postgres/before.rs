//! What rows were before they were written while checks are suspended: only what a transaction did itself is to be
//! complained of when it is verified, and not what was amiss before.
//!
//! Owns: looking before a write, and the memory of one transaction. Does not own: the questions (`constraints`, `verify`).

use std::collections::{HashMap, HashSet};

use ebb_sdk::{Block, Operation, Result};
use tokio_postgres::types::{ToSql, Type};

use crate::constraints::{About, Name};
use crate::statement::TargetColumn;
use crate::verify::{key_targets, name_of, questions};
use crate::write::{Attempt, Failure, TextArray};
use crate::{Session, write};

/// Of one transaction, by table and the position of a question among those of the table.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// Values of referenced columns that rows had, column by column.
    parting: HashMap<(Name, usize), Vec<Vec<String>>>,
    /// Rows that referred to nothing and were not changed in that.
    orphans: HashMap<(Name, usize), HashSet<String>>,
}

impl Before {
    pub(crate) fn forget(&mut self) {
        self.parting.clear();
        self.orphans.clear();
    }

    /// What rows of a table had, once: each of these values is asked for one time.
    pub(crate) fn take_parting(&mut self, table: &Name, question: usize) -> Vec<Vec<String>> {
        self.parting.remove(&(table.clone(), question)).unwrap_or_default()
    }

    pub(crate) fn orphans(&self, table: &Name, question: usize) -> Option<&HashSet<String>> {
        self.orphans.get(&(table.clone(), question))
    }

    /// Keeps what [`PriorQuery::read`] found for a block.
    pub(crate) fn keep(&mut self, block: &Block<'_>, found: Vec<PriorRows>) {
        for PriorRows { question, is_parting, columns } in found {
            let place = (name_of(block.table()), question);
            match is_parting {
                true => {
                    let kept = self.parting.entry(place).or_insert_with(|| vec![Vec::new(); columns.len()]);
                    kept.iter_mut().zip(columns).for_each(|(kept, more)| kept.extend(more));
                }
                false => self.orphans.entry(place).or_default().extend(columns.into_iter().flatten()),
            }
        }
    }
}

/// One look before a write.
#[derive(Debug)]
pub(crate) struct PriorQuery {
    question: usize,
    is_parting: bool,
    sql: String,
    /// Where the columns of its parameters are in the block.
    places: Vec<usize>,
}

/// What a look has found, column by column.
pub(crate) struct PriorRows {
    question: usize,
    is_parting: bool,
    columns: Vec<Vec<String>>,
}

/// The queries that a block needs.
pub(crate) async fn prior_queries(session: &mut Session, block: &Block<'_>) -> Result<Vec<PriorQuery>> {
    let questions = questions(session, block).await?;
    let (key, targets) = (key_targets(session, block.table())?, write::targets(session, block)?);
    let is_delete = block.operation() == Operation::Delete;
    let place = |target: &TargetColumn| targets.iter().position(|other| other.column.name == target.column.name);
    let key_places: Vec<_> = key.iter().filter_map(place).collect();
    let mut prior_queries = Vec::new();
    for (at, question) in questions.iter().enumerate() {
        let (About::Children(reference) | About::Parents(reference)) = &question.about else { continue };
        let others = targets.iter().filter(|target| !target.is_key && reference.concerns(&target.column.name));
        let others: Vec<_> = others.collect();
        let (is_parting, sql) = match &question.about {
            About::Parents(reference) => (true, reference.parting(&key, &others, is_delete)),
            _ => (false, (!is_delete).then(|| reference.orphans(&key, &others))),
        };
        let places = key_places.iter().copied().chain(others.iter().filter_map(|target| place(target))).collect();
        prior_queries.extend(sql.map(|sql| PriorQuery { question: at, is_parting, sql, places }));
    }
    Ok(prior_queries)
}

impl PriorQuery {
    /// Asks the target.
    pub(crate) async fn read(&self, attempt: &Attempt<'_>) -> Result<PriorRows, Failure> {
        let targets = &attempt.prepared.targets;
        let columns: Vec<_> = self.places.iter().map(|&at| TextArray::new(attempt.block, at, &targets[at])).collect();
        let typed: Vec<_> = columns.iter().map(|column| (column as &(dyn ToSql + Sync), Type::TEXT_ARRAY)).collect();
        let mut columns: Vec<Vec<String>> = Vec::new();
        for row in attempt.client.query_typed(&self.sql, &typed).await? {
            columns.resize(row.len(), Vec::new());
            for (at, column) in columns.iter_mut().enumerate() {
                column.push(row.try_get(at)?);
            }
        }
        Ok(PriorRows { question: self.question, is_parting: self.is_parting, columns })
    }
}
