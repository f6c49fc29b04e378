//! Which rows of a block the target does not have as they are.
//!
//! Owns: running the comparison, and finding the values that cannot be had, which must not end it. Does not own: the statement
//! (`comparison`), the snapshot (`snapshot`), the texts of values (`values`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use ebb_sdk::{Block, ColumnIndex, Compared, Difference, DifferentColumn, Error, ErrorKind, Result};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::comparison::{Comparison, trial};
use crate::error::translate;
use crate::snapshot::{SAVEPOINT, not_readable};
use crate::statement::TargetColumn;
use crate::{Session, write};

/// Compares a block with the snapshot that the session has joined.
pub(crate) async fn compare(session: &Session, block: &Block<'_>) -> Result<Compared> {
    if block.rows() == 0 {
        return Ok(Compared::default());
    }
    let table = block.table();
    let targets = write::targets(session, block)?;
    let is_given = |at: &ColumnIndex| targets.iter().any(|target| target.column.name == table.columns[at.place()].name);
    if table.primary_key.is_empty() || !table.primary_key.iter().all(is_given) {
        let message = format!("cannot compare rows of {table}: the block does not have its primary key");
        return Err(Error::new(ErrorKind::Broken, message));
    }
    let (texts, groups) = converted(block, &targets);
    let doing = format!("compare rows of {table}");
    let mut comparing = Comparing { session, block, targets, texts, doing, found: Compared::default() };
    comparing.run(groups).await?;
    let Compared { mut missing, mut different } = comparing.found;
    missing.sort_unstable();
    // Tables that inherit may have rows of the same key.
    missing.dedup();
    different.sort_by_key(|difference| difference.row);
    different.dedup_by_key(|difference| difference.row);
    Ok(Compared { missing, different })
}

/// By column and row. Those that have none are NULL.
type Texts<'a> = Vec<Vec<Option<Cow<'a, str>>>>;

/// Rows that are compared with one statement.
#[derive(Clone, Debug)]
struct Group {
    comparison: Comparison,
    /// Places in the block.
    rows: Vec<usize>,
}

/// The texts that are sent, and the rows in groups, each of rows that have texts for the same columns.
fn converted<'a>(block: &Block<'a>, targets: &[TargetColumn]) -> (Texts<'a>, Vec<Group>) {
    let mut texts: Texts<'a> = targets.iter().map(|_| Vec::with_capacity(block.rows())).collect();
    let mut groups: BTreeMap<Vec<bool>, Vec<usize>> = BTreeMap::new();
    for row in 0..block.rows() {
        let mut left_out = vec![false; targets.len()];
        for (at, target) in targets.iter().enumerate() {
            let text = write::text(target, block.value(row, at), &mut false);
            left_out[at] = text.is_err();
            texts[at].push(text.ok().flatten());
        }
        groups.entry(left_out).or_default().push(row);
    }
    let group = |(left_out, rows)| Group { comparison: Comparison { left_out, json_as_text: false }, rows };
    (texts, groups.into_iter().map(group).collect())
}

struct Comparing<'a> {
    session: &'a Session,
    block: &'a Block<'a>,
    targets: Vec<TargetColumn>,
    texts: Texts<'a>,
    /// Completes "cannot …" in messages.
    doing: String,
    found: Compared,
}

/// A statement that the server did not run to its end.
enum Failure {
    /// It refuses a value.
    Refused(Error),
    Other(Error),
}

impl Comparing<'_> {
    async fn run(&mut self, mut groups: Vec<Group>) -> Result<()> {
        while let Some(group) = groups.pop() {
            if self.lacks_key(&group) {
                self.found.missing.extend(group.rows.iter().map(|&row| place(row)));
                continue;
            }
            let sql = group.comparison.sql(self.block.table(), &self.targets);
            let columns: Vec<usize> = (0..self.targets.len()).collect();
            match self.ask(&sql, &columns, &group.rows).await {
                Ok(answer) => self.note(&group, &answer)?,
                Err(Failure::Other(error)) => return Err(error),
                Err(Failure::Refused(error)) => groups.extend(self.divided(group, error).await?),
            }
        }
        Ok(())
    }

    /// Without a key nothing can be looked for, and no row has it.
    fn lacks_key(&self, group: &Group) -> bool {
        self.targets.iter().zip(&group.comparison.left_out).any(|(target, &left_out)| target.is_key && left_out)
    }

    /// Asks for some rows with the values of some columns.
    async fn ask(&self, sql: &str, columns: &[usize], rows: &[usize]) -> Result<Vec<Row>, Failure> {
        let of_column = |&at: &usize| rows.iter().map(|&row| self.texts[at][row].as_deref()).collect::<Vec<_>>();
        let values: Vec<Vec<Option<&str>>> = columns.iter().map(of_column).collect();
        let typed: Vec<_> = values.iter().map(|values| (values as &(dyn ToSql + Sync), Type::TEXT_ARRAY)).collect();
        let asked = async { Ok(self.session.client.query_typed(sql, &typed).await) };
        let failure = match self.session.answered(&self.doing, asked).await.map_err(Failure::Other)? {
            Ok(rows) => return Ok(rows),
            Err(failure) => failure,
        };
        let error = not_readable(self.session, self.block.table(), &failure, &self.doing);
        if failure.as_db_error().is_none() || !may_be_of_a_value(&error) {
            return Err(Failure::Other(error));
        }
        let back = format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}");
        self.session.command(&back, &self.doing).await.map_err(Failure::Other)?;
        Err(Failure::Refused(error))
    }

    /// Smaller groups instead of one that was refused: without the values that the server does not take; or else, since what
    /// it does not take is in the target, each half by itself, and at last the row that has it.
    async fn divided(&self, group: Group, error: Error) -> Result<Vec<Group>> {
        let mut left_out: BTreeMap<usize, Vec<bool>> = BTreeMap::new();
        for (at, _) in group.comparison.left_out.iter().enumerate().filter(|(_, left_out)| !**left_out) {
            for row in self.refused(at, &group.rows).await? {
                left_out.entry(row).or_insert_with(|| group.comparison.left_out.clone())[at] = true;
            }
        }
        let json_as_text = group.comparison.json_as_text;
        if left_out.is_empty() {
            return match (group.rows.len(), json_as_text) {
                (1, true) => Err(error),
                (1, false) => {
                    Ok(vec![Group { comparison: Comparison { json_as_text: true, ..group.comparison }, ..group }])
                }
                (rows, _) => Ok(group
                    .rows
                    .chunks(rows.div_ceil(2))
                    .map(|rows| Group { rows: rows.to_vec(), ..group.clone() })
                    .collect()),
            };
        }
        let mut groups: BTreeMap<Vec<bool>, Vec<usize>> = BTreeMap::new();
        for row in group.rows {
            let left_out = left_out.remove(&row).unwrap_or_else(|| group.comparison.left_out.clone());
            groups.entry(left_out).or_default().push(row);
        }
        let group = |(left_out, rows)| Group { comparison: Comparison { left_out, json_as_text }, rows };
        Ok(groups.into_iter().map(group).collect())
    }

    /// The rows whose value of a column the server does not take.
    async fn refused(&self, column: usize, rows: &[usize]) -> Result<Vec<usize>> {
        let sql = trial(&self.targets[column]);
        let (mut parts, mut refused) = (vec![rows], Vec::new());
        while let Some(part) = parts.pop() {
            match self.ask(&sql, &[column], part).await {
                Ok(_) => {}
                Err(Failure::Other(error)) => return Err(error),
                Err(Failure::Refused(_)) if part.len() == 1 => refused.push(part[0]),
                Err(Failure::Refused(_)) => parts.extend(part.chunks(part.len().div_ceil(2))),
            }
        }
        Ok(refused)
    }

    /// Takes the answer of a comparison.
    fn note(&mut self, group: &Group, answer: &[Row]) -> Result<()> {
        for row in answer {
            let difference = self.difference(group, row).map_err(|failure| translate(&failure, &self.doing))?;
            match difference.columns.is_empty() {
                true => self.found.missing.push(difference.row),
                false => self.found.different.push(difference),
            }
        }
        Ok(())
    }

    /// Without columns for a row that is missing.
    fn difference(&self, group: &Group, answer: &Row) -> Result<Difference, tokio_postgres::Error> {
        let numbered = usize::try_from(answer.try_get::<_, i64>(0)? - 1).unwrap_or(usize::MAX);
        let row = group.rows[numbered];
        if answer.try_get(1)? {
            return Ok(Difference { row: place(row), columns: Vec::new() });
        }
        let differs: Vec<bool> = answer.try_get(2)?;
        let (found, expected): (Vec<Option<String>>, Vec<Option<String>>) = (answer.try_get(3)?, answer.try_get(4)?);
        let texts = found.into_iter().zip(expected).enumerate();
        let different = |(at, (found, expected)): (usize, (Option<String>, Option<String>))| {
            // What cannot be had is shown as it came.
            let wire = || self.block.value(row, at).text().map(cut);
            let expected = if group.comparison.left_out[at] { wire() } else { expected };
            DifferentColumn { column: self.column(at), found, expected }
        };
        let columns = texts.zip(differs).filter(|(_, differs)| *differs).map(|(texts, _)| different(texts)).collect();
        Ok(Difference { row: place(row), columns })
    }

    /// The place in the table of a column of the block.
    fn column(&self, at: usize) -> ColumnIndex {
        let name = &self.targets[at].column.name;
        self.block.table().column(name).expect("columns of a block are the table's")
    }
}

/// Types of the server and of extensions say in their own ways that they do not read a text, and some of these would mean
/// something else elsewhere: a syntax error, an internal one. Whether it is a value is found by trying it alone.
fn may_be_of_a_value(error: &Error) -> bool {
    match error.kind {
        ErrorKind::Refused | ErrorKind::Broken => true,
        ErrorKind::Retry => error.code.as_deref() == Some("XX000"),
        // The name of a relation, of a type, of a function is a value of types of the server's own.
        ErrorKind::Config => matches!(error.code.as_deref(), Some("42P01" | "42704" | "42883")),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(DifferentColumn::CHARS_MAX).collect()
}

fn place(row: usize) -> u32 {
    u32::try_from(row).expect("a block has fewer rows")
}
