//! What PostgreSQL does not look at while checks are suspended, and the questions that look instead: foreign keys, and
//! unique and exclusion constraints that are DEFERRABLE, since triggers enforce these too
//! (<https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-SESSION-REPLICATION-ROLE>).
//!
//! Owns: reading them from `pg_catalog`, and the SQL of the questions. Does not own: asking them (`verify`).

use ebb_sdk::Table;
use tokio_postgres::{Client, Error, Row};

use crate::describe::{ENFORCED, names, parts};
use crate::quoted;
use crate::statement::{JOINED, TargetColumn, rows, same_key};
use crate::triggers::QUALIFIED;

/// Schema and table.
pub(crate) type Name = (String, String);

/// One constraint and the statement that looks for a row which violates it, and returns that row's primary key as text.
#[derive(Debug)]
pub(crate) struct Question {
    /// `None` where no question can be asked.
    pub(crate) sql: Option<String>,
    pub(crate) about: About,
    pub(crate) constraint: String,
    /// The table of the row that is at fault.
    pub(crate) table: String,
    pub(crate) code: &'static str,
    /// Completes "the row … ".
    pub(crate) finding: String,
}

impl Question {
    /// What mends a row that is at fault.
    pub(crate) fn hint(&self) -> String {
        match &self.about {
            About::Children(reference) | About::Parents(reference) => {
                ebb_sdk::missing_parent(&shown(&reference.parent))
            }
            About::Rows => "see the row and the constraint named; the source does not enforce it".to_owned(),
        }
    }
}

/// What the parameters of a question are, and what has to be known of the time before a write for it.
#[derive(Debug)]
pub(crate) enum About {
    /// The primary keys of a block.
    Rows,
    /// The primary keys of a block; those that referred to nothing before, and were not changed in that, are no finding.
    /// The second column of the answer tells them.
    Children(Reference),
    /// Values of the referenced columns that rows had and may not have any more.
    Parents(Reference),
}

/// Every question that the rows of a table raise. `key` are the columns of its primary key, in the order of the parameters.
pub(crate) async fn read(client: &Client, table: &Table, key: &[TargetColumn]) -> Result<Vec<Question>, Error> {
    let schema = table.namespace.last().cloned().unwrap_or_default();
    let mut questions = Vec::new();
    client.batch_execute(&format!("SAVEPOINT ebb_constraints; {QUALIFIED}")).await?;
    let references = client.query(&references(), &[&schema, &table.name]).await?;
    let exclusions = client.query(&exclusions(), &[&schema, &table.name]).await?;
    client.batch_execute("ROLLBACK TO SAVEPOINT ebb_constraints; RELEASE SAVEPOINT ebb_constraints").await?;
    for row in references {
        let reference = Reference::read(&row)?;
        let (is_own, is_referred_to): (bool, bool) = (row.try_get(11)?, row.try_get(12)?);
        questions.extend(is_own.then(|| reference.clone().of_rows(key)));
        questions.extend(is_referred_to.then(|| reference.of_values()));
    }
    for row in exclusions {
        let index = client.query_one(INDEX, &[&row.try_get::<_, u32>(4)?]).await?;
        questions.push(exclusion(&row, &index, table, key)?);
    }
    Ok(questions)
}

/// The table of the parameters.
const ROOT: &str = "pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1::text AND c.relname = $2::text";

/// Every foreign key of the table and to it, also of and to single partitions.
fn references() -> String {
    let enforced = |side: &str| ENFORCED.replace("$side", side);
    format!(
        "{parts} SELECT k.conname::text, cn.nspname::text, c.relname::text, pn.nspname::text, p.relname::text, \
             k.confmatchtype = 'f', {columns}, {referenced}, {operators}, \
             (SELECT {key} FROM pg_catalog.pg_constraint q WHERE q.conrelid = k.conrelid AND q.contype = 'p'), \
             coalesce((pg_catalog.to_jsonb(k) ->> 'conperiod')::bool, false), \
             k.conrelid IN (SELECT oid FROM parts) AND {looks_up}, k.confrelid IN (SELECT oid FROM parts) AND {looks_down}, \
             {same}, {types} \
         FROM pg_catalog.pg_constraint k \
         JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace \
         JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
         WHERE k.contype = 'f' AND k.conparentid = 0 \
         AND (k.conrelid IN (SELECT oid FROM parts) OR k.confrelid IN (SELECT oid FROM parts)) ORDER BY k.oid",
        parts = parts(ROOT),
        columns = names("k.conrelid", "k.conkey"),
        referenced = names("k.confrelid", "k.confkey"),
        operators = operators("k.conpfeqop"),
        same = operators("k.conppeqop"),
        types = types("k.confrelid", "k.confkey"),
        key = names("q.conrelid", "q.conkey"),
        looks_up = enforced("k.conrelid"),
        looks_down = enforced("k.confrelid"),
    )
}

/// The condition of an index, and the columns and expressions that it compares, as the session's own search path has them: the
/// question is asked with that path, by which functions of users may find what they need.
const INDEX: &str = "SELECT pg_catalog.pg_get_expr(i.indpred, i.indrelid), \
         (SELECT pg_catalog.array_agg(pg_catalog.pg_get_indexdef(i.indexrelid, at, false) ORDER BY at) \
          FROM pg_catalog.generate_series(1, i.indnkeyatts) AS at) \
     FROM pg_catalog.pg_index i WHERE i.indexrelid OPERATOR(pg_catalog.=) $1";

/// Every constraint between rows of the table that could wait for COMMIT: its index, and the operators that two rows must not
/// answer all of.
fn exclusions() -> String {
    let equality = "(SELECT pg_catalog.array_agg(a.amopopr ORDER BY l.at) \
         FROM pg_catalog.unnest(i.indclass::oid[]) WITH ORDINALITY AS l (class, at) \
         JOIN pg_catalog.pg_opclass o ON o.oid = l.class \
         JOIN pg_catalog.pg_amop a ON a.amopfamily = o.opcfamily AND a.amopstrategy = 3 \
         AND a.amoplefttype = o.opcintype AND a.amoprighttype = o.opcintype)";
    format!(
        "{parts} SELECT k.conname::text, n.nspname::text, c.relname::text, k.conexclop IS NULL, \
             i.indexrelid, {operators}, coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) \
         FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_index i ON i.indexrelid = k.conindid \
         JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE k.contype IN ('u', 'x') AND k.condeferrable AND k.conparentid = 0 \
         AND k.conrelid IN (SELECT oid FROM parts) ORDER BY k.oid",
        parts = parts(ROOT),
        operators = operators(&format!("coalesce(k.conexclop, {equality})")),
    )
}

/// Operators as SQL names them whatever the search path, in the order of an array of theirs.
fn operators(oids: &str) -> String {
    format!(
        "(SELECT pg_catalog.array_agg(pg_catalog.format('OPERATOR(%I.%s)', s.nspname, o.oprname) ORDER BY x.at) \
          FROM pg_catalog.unnest({oids}) WITH ORDINALITY AS x (operator, at) \
          JOIN pg_catalog.pg_operator o ON o.oid = x.operator JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace)"
    )
}

/// Types of columns, in the order of an array of their numbers.
fn types(relation: &str, numbers: &str) -> String {
    format!(
        "(SELECT pg_catalog.array_agg(pg_catalog.format('%I.%I', s.nspname, t.typname) ORDER BY x.at) \
          FROM pg_catalog.unnest({numbers}) WITH ORDINALITY AS x (number, at) \
          JOIN pg_catalog.pg_attribute a ON a.attrelid = {relation} AND a.attnum = x.number \
          JOIN pg_catalog.pg_type t ON t.oid = a.atttypid JOIN pg_catalog.pg_namespace s ON s.oid = t.typnamespace)"
    )
}

/// A foreign key: `child (columns)` refers to `parent (referenced)`.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    name: String,
    child: Name,
    parent: Name,
    /// `MATCH FULL`: some NULLs do not make a row free of it, only all.
    is_full: bool,
    columns: Vec<String>,
    referenced: Vec<String>,
    /// From a referenced column to the column that refers.
    operators: Vec<String>,
    /// From a referenced column to another of the same.
    same: Vec<String>,
    /// Of the referenced columns.
    types: Vec<String>,
    /// The child's primary key.
    key: Vec<String>,
    /// `PERIOD`: it asks for rows that cover a range together, which no operator between two rows says.
    is_temporal: bool,
}

impl Reference {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            name: row.try_get(0)?,
            child: (row.try_get(1)?, row.try_get(2)?),
            parent: (row.try_get(3)?, row.try_get(4)?),
            is_full: row.try_get(5)?,
            columns: row.try_get(6)?,
            referenced: row.try_get(7)?,
            operators: row.try_get(8)?,
            key: row.try_get::<_, Option<_>>(9)?.unwrap_or_default(),
            is_temporal: row.try_get(10)?,
            same: row.try_get(13)?,
            types: row.try_get(14)?,
        })
    }

    /// Of rows of the child with these keys: is what they refer to there?
    fn of_rows(self, key: &[TargetColumn]) -> Question {
        let sql = format!(
            "SELECT {}, {} FROM {} JOIN {} AS c ON {} WHERE {}",
            self.shown_key(),
            self.mark(),
            rows(key.len()),
            relation(&self.child),
            same_key("c", key),
            self.refers_to_nothing()
        );
        self.question(sql, About::Children)
    }

    /// Of values that rows of the parent had: does anything refer to one that is gone? The OFFSET keeps the planner from
    /// looking for the references first.
    fn of_values(self) -> Question {
        let gone = |(at, there): (usize, &String)| {
            format!("p.{} {} v.c{at}::{}", quoted(there), self.same[at], self.types[at])
        };
        let gone: Vec<_> = self.referenced.iter().enumerate().map(gone).collect();
        let refers = |(at, here): (usize, &String)| {
            format!("v.c{at}::{} {} c.{}", self.types[at], self.operators[at], quoted(here))
        };
        let refers: Vec<_> = self.columns.iter().enumerate().map(refers).collect();
        let sql = format!(
            "SELECT {} FROM (SELECT v.* FROM {} WHERE NOT EXISTS (SELECT FROM {} AS p WHERE {}) OFFSET 0) AS v \
             JOIN {} AS c ON {} WHERE pg_catalog.num_nulls({}) OPERATOR(pg_catalog.=) 0 AND NOT {} LIMIT 1",
            self.shown_key(),
            rows(self.referenced.len()),
            relation(&self.parent),
            gone.join(" AND "),
            relation(&self.child),
            refers.join(" AND "),
            self.referring(),
            self.has_parent()
        );
        self.question(sql, About::Parents)
    }

    /// Before rows of the child are written: which of them refer to nothing, and do so afterwards in the same way? `key` are
    /// the first columns of the parameters, `others` those that follow.
    pub(crate) fn orphans(&self, key: &[TargetColumn], others: &[&TargetColumn]) -> String {
        let is_own = |target: &&TargetColumn| self.columns.contains(&target.column.name);
        let stays = others.iter().enumerate().filter(|(_, target)| is_own(target)).map(|(at, target)| {
            let (given, stored) = (given(key.len() + at, target), format!("c.{}", name(target)));
            format!(" AND ({stored} {} {given} OR {stored} IS NULL AND {given} IS NULL)", target.column_type.equals)
        });
        format!(
            "SELECT {} FROM {} JOIN {} AS c ON {} WHERE {}{}",
            self.mark(),
            rows(key.len() + others.len()),
            relation(&self.child),
            same_key("c", key),
            self.refers_to_nothing(),
            stays.collect::<String>()
        )
    }

    /// Before rows of the parent are deleted, or get these values: what could be referred to of them that will not be there
    /// any more? Each referenced column as text; `None` where the write changes none.
    pub(crate) fn parting(&self, key: &[TargetColumn], others: &[&TargetColumn], is_delete: bool) -> Option<String> {
        let is_referenced = |target: &&TargetColumn| self.referenced.contains(&target.column.name);
        let changes = others.iter().enumerate().filter(|(_, target)| is_referenced(target)).map(|(at, target)| {
            let (given, stored) = (given(key.len() + at, target), format!("p.{}", name(target)));
            format!("({stored} {} {given}) IS NOT TRUE", target.column_type.equals)
        });
        let changes: Vec<_> = changes.collect();
        if changes.is_empty() && !is_delete {
            return None;
        }
        let referenced = || self.referenced.iter().map(|column| format!("p.{}", quoted(column)));
        Some(format!(
            "SELECT {} FROM {} JOIN {} AS p ON {} WHERE pg_catalog.num_nulls({}) OPERATOR(pg_catalog.=) 0 AND ({})",
            referenced().map(|column| format!("{column}::pg_catalog.text")).collect::<Vec<_>>().join(", "),
            rows(key.len() + others.len()),
            relation(&self.parent),
            same_key("p", key),
            referenced().collect::<Vec<_>>().join(", "),
            if changes.is_empty() { "true".into() } else { changes.join(" OR ") }
        ))
    }

    /// Columns of the child, and of the parent.
    pub(crate) fn concerns(&self, column: &str) -> bool {
        self.columns.iter().chain(&self.referenced).any(|name| name == column)
    }

    fn refers_to_nothing(&self) -> String {
        let referring = self.referring();
        let applies = match self.is_full {
            true => format!("pg_catalog.num_nonnulls({referring}) OPERATOR(pg_catalog.>) 0"),
            false => format!("pg_catalog.num_nulls({referring}) OPERATOR(pg_catalog.=) 0"),
        };
        format!("{applies} AND NOT {}", self.has_parent())
    }

    /// A row of the child with what it refers to.
    fn mark(&self) -> String {
        let columns: Vec<_> =
            self.columns.iter().map(|column| format!("c.{}::pg_catalog.text", quoted(column))).collect();
        format!("{} OPERATOR(pg_catalog.||) ARRAY[{}]::pg_catalog.text", self.shown_key(), columns.join(", "))
    }

    fn has_parent(&self) -> String {
        let pairs = self.referenced.iter().zip(&self.operators).zip(&self.columns);
        let same = |((there, operator), here): ((&String, &String), &String)| {
            format!("p.{} {operator} c.{}", quoted(there), quoted(here))
        };
        let same: Vec<_> = pairs.map(same).collect();
        format!("EXISTS (SELECT FROM {} AS p WHERE {})", relation(&self.parent), same.join(" AND "))
    }

    fn referring(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(|column| format!("c.{}", quoted(column))).collect();
        columns.join(", ")
    }

    fn shown_key(&self) -> String {
        shown_key("c", self.key.iter().map(String::as_str))
    }

    fn question(self, sql: String, about: fn(Self) -> About) -> Question {
        Question {
            sql: (!self.is_temporal).then_some(sql),
            constraint: self.name.clone(),
            table: shown(&self.child),
            code: "23503",
            finding: format!("refers to a row that {} does not have", shown(&self.parent)),
            about: about(self),
        }
    }
}

/// A parameter as a value of its column.
fn given(at: usize, target: &TargetColumn) -> String {
    target.column_type.given(at)
}

/// Of rows with these keys: does another row exclude one of them? Both sides are subqueries, in which the expressions of
/// the index stand as `pg_catalog` has them.
fn exclusion(row: &Row, index: &Row, table: &Table, key: &[TargetColumn]) -> Result<Question, Error> {
    let (constraint, owner): (String, Name) = (row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?));
    let (condition, elements): (Option<String>, Vec<String>) = (index.try_get(0)?, index.try_get(1)?);
    let (is_unique, operators, compares_nulls): (bool, Vec<String>, bool) =
        (row.try_get(3)?, row.try_get(5)?, row.try_get(6)?);
    let elements: Vec<_> = elements.iter().enumerate().map(|(at, text)| format!("{text} AS e{at}")).collect();
    let side = |more: &str| {
        format!(
            "(SELECT x.tableoid AS part, x.ctid AS place, {more}{} FROM {} AS x WHERE {})",
            elements.join(", "),
            relation(&owner),
            condition.as_deref().unwrap_or("true")
        )
    };
    let keys: String = key.iter().enumerate().map(|(at, target)| format!("x.{} AS k{at}, ", name(target))).collect();
    let is_it = |(at, target): (usize, &TargetColumn)| {
        format!("a.k{at} {} {}", target.column_type.equals, target.column_type.given(at))
    };
    let clash = |(at, operator): (usize, &String)| match compares_nulls {
        true => format!("(a.e{at} {operator} b.e{at} OR a.e{at} IS NULL AND b.e{at} IS NULL)"),
        false => format!("a.e{at} {operator} b.e{at}"),
    };
    let key_parts = key.iter().enumerate().map(|(at, target)| key_part(&target.column.name, &format!("a.k{at}")));
    let sql = format!(
        "SELECT {} FROM {} JOIN {} AS a ON {} JOIN {} AS b ON {} \
         WHERE (a.part OPERATOR(pg_catalog.<>) b.part OR a.place OPERATOR(pg_catalog.<>) b.place) LIMIT 1",
        key_parts.collect::<Vec<_>>().join(JOINED),
        rows(key.len()),
        side(&keys),
        key.iter().enumerate().map(is_it).collect::<Vec<_>>().join(" AND "),
        side(""),
        operators.iter().enumerate().map(clash).collect::<Vec<_>>().join(" AND "),
    );
    Ok(Question {
        sql: Some(sql),
        about: About::Rows,
        constraint,
        finding: format!("and another row of {table} exclude each other"),
        table: shown(&owner),
        code: if is_unique { "23505" } else { "23P01" },
    })
}

/// `id=1, city=rome`, or what there is of a table without a primary key.
fn shown_key<'a>(alias: &str, columns: impl Iterator<Item = &'a str>) -> String {
    let parts: Vec<_> = columns.map(|column| key_part(column, &format!("{alias}.{}", quoted(column)))).collect();
    if parts.is_empty() { "'without a key'".into() } else { parts.join(JOINED) }
}

fn key_part(column: &str, value: &str) -> String {
    format!("'{}=' OPERATOR(pg_catalog.||) {value}::pg_catalog.text", column.replace('\'', "''"))
}

fn name(target: &TargetColumn) -> String {
    quoted(&target.column.name)
}

fn relation((schema, name): &Name) -> String {
    format!("{}.{}", quoted(schema), quoted(name))
}

fn shown((schema, name): &Name) -> String {
    format!("{schema}.{name}")
}
