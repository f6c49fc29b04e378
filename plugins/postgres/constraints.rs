//! What PostgreSQL does not look at while checks are suspended, and the questions that look instead: foreign keys, and
//! unique and exclusion constraints that are DEFERRABLE, since triggers enforce these too
//! (<https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-SESSION-REPLICATION-ROLE>).
//!
//! Owns: reading them from `pg_catalog`, and the SQL of the questions. Does not own: asking them (`verify`).

use ebb_sdk::Table;
use tokio_postgres::{Client, Error, Row};

use crate::describe::{ENFORCED, names, parts};
use crate::quoted;
use crate::statement::{Target, qualified, rows, same_key};

/// Schema and table.
pub(crate) type Name = (String, String);

/// One constraint and the statement that looks for a row which violates it, and returns that row's primary key as text.
#[derive(Debug)]
pub(crate) struct Question {
    /// Its parameters are the primary keys of a block; `None` where no question can be asked.
    pub(crate) sql: Option<String>,
    pub(crate) constraint: String,
    /// The table of the row that is at fault.
    pub(crate) table: String,
    pub(crate) code: &'static str,
    /// Completes "the row … ".
    pub(crate) finding: String,
}

/// Every question that the rows of a table raise. `key` are the columns of its primary key, in the order of the parameters.
pub(crate) async fn read(client: &Client, table: &Table, key: &[Target]) -> Result<Vec<Question>, Error> {
    let schema = table.namespace.last().cloned().unwrap_or_default();
    let mut questions = Vec::new();
    for row in client.query(&references(), &[&schema, &table.name]).await? {
        let reference = Reference::read(&row)?;
        let (is_own, is_referred_to): (bool, bool) = (row.try_get(11)?, row.try_get(12)?);
        questions.extend(is_own.then(|| reference.of_rows(key)));
        questions.extend(is_referred_to.then(|| reference.to_rows(table, key)));
    }
    for row in client.query(&exclusions(), &[&schema, &table.name]).await? {
        questions.push(exclusion(&row, table, key)?);
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
             k.conrelid IN (SELECT oid FROM parts) AND {looks_up}, k.confrelid IN (SELECT oid FROM parts) AND {looks_down} \
         FROM pg_catalog.pg_constraint k \
         JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace \
         JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
         WHERE k.contype = 'f' AND k.conparentid = 0 \
         AND (k.conrelid IN (SELECT oid FROM parts) OR k.confrelid IN (SELECT oid FROM parts)) ORDER BY k.oid",
        parts = parts(ROOT),
        columns = names("k.conrelid", "k.conkey"),
        referenced = names("k.confrelid", "k.confkey"),
        operators = operators("k.conpfeqop"),
        key = names("q.conrelid", "q.conkey"),
        looks_up = enforced("k.conrelid"),
        looks_down = enforced("k.confrelid"),
    )
}

/// Every constraint between rows of the table that could wait for COMMIT: its condition, the columns and expressions that
/// it compares, and the operators that two rows must not answer all of.
fn exclusions() -> String {
    let equality = "(SELECT pg_catalog.array_agg(a.amopopr ORDER BY l.at) \
         FROM pg_catalog.unnest(i.indclass::oid[]) WITH ORDINALITY AS l (class, at) \
         JOIN pg_catalog.pg_opclass o ON o.oid = l.class \
         JOIN pg_catalog.pg_amop a ON a.amopfamily = o.opcfamily AND a.amopstrategy = 3 \
         AND a.amoplefttype = o.opcintype AND a.amoprighttype = o.opcintype)";
    format!(
        "{parts} SELECT k.conname::text, n.nspname::text, c.relname::text, k.conexclop IS NULL, \
             pg_catalog.pg_get_expr(i.indpred, i.indrelid), \
             (SELECT pg_catalog.array_agg(pg_catalog.pg_get_indexdef(i.indexrelid, at, false) ORDER BY at) \
              FROM pg_catalog.generate_series(1, i.indnkeyatts) AS at), \
             {operators}, coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) \
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

/// A foreign key: `child (columns)` refers to `parent (referenced)`.
struct Reference {
    name: String,
    child: Name,
    parent: Name,
    /// `MATCH FULL`: some NULLs do not make a row free of it, only all.
    is_full: bool,
    columns: Vec<String>,
    referenced: Vec<String>,
    /// From a referenced column to the column that refers.
    operators: Vec<String>,
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
        })
    }

    /// Of rows of the child with these keys: is what they refer to there?
    fn of_rows(&self, key: &[Target]) -> Question {
        let applies = if self.is_full { "pg_catalog.num_nonnulls({}) > 0" } else { "pg_catalog.num_nulls({}) = 0" };
        self.question(format!(
            "SELECT {} FROM {} JOIN {} AS c ON {} WHERE {} AND NOT {} LIMIT 1",
            self.shown_key(),
            rows(key.len()),
            relation(&self.child),
            same_key("c", key),
            applies.replace("{}", &self.referring()),
            self.has_parent()
        ))
    }

    /// Of these keys of the parent: does anything refer to a row that is not there any more? For a reference to other
    /// columns than those of the primary key all is looked at: which values the rows had before is not known.
    fn to_rows(&self, table: &Table, key: &[Target]) -> Question {
        let place = |target: &Target| self.referenced.iter().position(|name| *name == target.column.name);
        let places: Option<Vec<_>> = key.iter().map(place).collect();
        let from = match places {
            Some(places) => {
                let refers = |(at, there): (usize, &usize)| {
                    let cast = &key[at].column_type.cast;
                    format!("v.c{at}::{cast} {} c.{}", self.operators[*there], quoted(&self.columns[*there]))
                };
                let refers: Vec<_> = places.iter().enumerate().map(refers).collect();
                format!("{} JOIN {} AS c ON {}", self.gone(table, key), relation(&self.child), refers.join(" AND "))
            }
            None => {
                format!("{} AS c JOIN (SELECT FROM {} LIMIT 1) AS v ON true", relation(&self.child), rows(key.len()))
            }
        };
        self.question(format!(
            "SELECT {} FROM {from} WHERE pg_catalog.num_nulls({}) = 0 AND NOT {} LIMIT 1",
            self.shown_key(),
            self.referring(),
            self.has_parent()
        ))
    }

    /// The keys to look for. Where the primary key alone is referred to, those that are there need no further look; the
    /// OFFSET keeps the planner from looking for the references first.
    fn gone(&self, table: &Table, key: &[Target]) -> String {
        let is_whole = relation(&self.parent) == qualified(table) && self.referenced.len() == key.len();
        match is_whole {
            false => rows(key.len()),
            true => format!(
                "(SELECT v.* FROM {} WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {}) OFFSET 0) AS v",
                rows(key.len()),
                qualified(table),
                same_key("t", key)
            ),
        }
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

    fn question(&self, sql: String) -> Question {
        Question {
            sql: (!self.is_temporal).then_some(sql),
            constraint: self.name.clone(),
            table: shown(&self.child),
            code: "23503",
            finding: format!("refers to a row that {} does not have", shown(&self.parent)),
        }
    }
}

/// Of rows with these keys: does another row exclude one of them? Both sides are subqueries, in which the expressions of
/// the index stand as `pg_catalog` has them.
fn exclusion(row: &Row, table: &Table, key: &[Target]) -> Result<Question, Error> {
    let (constraint, owner): (String, Name) = (row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?));
    let (is_unique, condition): (bool, Option<String>) = (row.try_get(3)?, row.try_get(4)?);
    let (elements, operators): (Vec<String>, Vec<String>) = (row.try_get(5)?, row.try_get(6)?);
    let compares_nulls: bool = row.try_get(7)?;
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
    let is_it = |(at, target): (usize, &Target)| {
        let (equals, cast) = (&target.column_type.equals, &target.column_type.cast);
        format!("a.k{at} {equals} v.c{at}::{cast}")
    };
    let clash = |(at, operator): (usize, &String)| match compares_nulls {
        true => format!("(a.e{at} {operator} b.e{at} OR a.e{at} IS NULL AND b.e{at} IS NULL)"),
        false => format!("a.e{at} {operator} b.e{at}"),
    };
    let key_parts = key.iter().enumerate().map(|(at, target)| key_part(&target.column.name, &format!("a.k{at}")));
    let sql = format!(
        "SELECT {} FROM {} JOIN {} AS a ON {} JOIN {} AS b ON {} \
         WHERE (a.part, a.place) IS DISTINCT FROM (b.part, b.place) LIMIT 1",
        key_parts.collect::<Vec<_>>().join(" || ', ' || "),
        rows(key.len()),
        side(&keys),
        key.iter().enumerate().map(is_it).collect::<Vec<_>>().join(" AND "),
        side(""),
        operators.iter().enumerate().map(clash).collect::<Vec<_>>().join(" AND "),
    );
    Ok(Question {
        sql: Some(sql),
        constraint,
        finding: format!("and another row of {table} exclude each other"),
        table: shown(&owner),
        code: if is_unique { "23505" } else { "23P01" },
    })
}

/// `id=1, city=rome`, or what there is of a table without a primary key.
fn shown_key<'a>(alias: &str, columns: impl Iterator<Item = &'a str>) -> String {
    let parts: Vec<_> = columns.map(|column| key_part(column, &format!("{alias}.{}", quoted(column)))).collect();
    if parts.is_empty() { "'without a key'".into() } else { parts.join(" || ', ' || ") }
}

fn key_part(column: &str, value: &str) -> String {
    format!("'{}=' || {value}::pg_catalog.text", column.replace('\'', "''"))
}

fn name(target: &Target) -> String {
    quoted(&target.column.name)
}

fn relation((schema, name): &Name) -> String {
    format!("{}.{}", quoted(schema), quoted(name))
}

fn shown((schema, name): &Name) -> String {
    format!("{schema}.{name}")
}
