//! Reads the history that the triggers keep: clock, versions of rows, shapes of tables.
//!
//! Does not own: the schema (`schema/*.sql`), or what is made of a version (`message`).

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

use crate::encode::Kind;

/// Microseconds times 1,000 plus a logical count; see `schema/clock.sql`.
pub(crate) type Tick = i64;

/// What an error of PostgreSQL says, with the text of its server.
pub(crate) fn describe(error: &Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// As in `updated`, `resolved` and `cluster_logical_timestamp()`.
pub(crate) fn decimal(tick: Tick) -> String {
    format!("{}.{:010}", tick / 1000 * 1000, tick % 1000)
}

/// The columns of a table at some time.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) names: Vec<String>,
    pub(crate) kinds: Vec<Kind>,
    /// Positions of the columns of a message sorted by name, which is their order there.
    pub(crate) sorted: Vec<usize>,
    pub(crate) key: Vec<Kind>,
}

/// One row's columns, in the order of its shape.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) shape: Arc<Shape>,
    pub(crate) values: Vec<Option<String>>,
}

/// What a transaction has made of one row.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) relation: u32,
    pub(crate) key: Vec<String>,
    pub(crate) tick: Tick,
    pub(crate) shape: Arc<Shape>,
    /// None is a deleted row.
    pub(crate) after: Option<Image>,
    pub(crate) before: Option<Image>,
}

/// How far a reader has come: everything up to this version of this row has been read.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    tick: Tick,
    relation: u32,
    key: Vec<String>,
}

impl Position {
    /// Behind everything that was committed at the tick.
    pub(crate) fn after(tick: Tick) -> Position {
        Position { tick, relation: u32::MAX, key: Vec::new() }
    }

    pub(crate) fn of(version: &Version) -> Position {
        Position { tick: version.tick, relation: version.relation, key: version.key.clone() }
    }
}

const RESOLVE: &str = "SELECT crdb_internal.take_tick()";

const CHANGES: &str = "SELECT h.relation, h.key, h.tick, h.shape, h.after, NULL::int4, NULL::text[] \
     FROM crdb_internal.history AS h \
     WHERE (h.tick, h.relation, h.key) > ($1, $2, $3) AND h.tick <= $4 AND h.relation = ANY($5) AND NOT h.silent \
     ORDER BY h.tick, h.relation, h.key LIMIT $6";

const CHANGES_WITH_BEFORE: &str = "SELECT h.relation, h.key, h.tick, h.shape, h.after, b.shape, b.after \
     FROM crdb_internal.history AS h LEFT JOIN LATERAL ( \
       SELECT p.shape, p.after FROM crdb_internal.history AS p \
       WHERE p.relation = h.relation AND p.key = h.key AND p.tick < h.tick ORDER BY p.tick DESC LIMIT 1) AS b ON true \
     WHERE (h.tick, h.relation, h.key) > ($1, $2, $3) AND h.tick <= $4 AND h.relation = ANY($5) AND NOT h.silent \
     ORDER BY h.tick, h.relation, h.key LIMIT $6";

const SCAN: &str = "SELECT DISTINCT ON (key) relation, key, tick, shape, after, NULL::int4, NULL::text[] \
     FROM crdb_internal.history WHERE relation = $1 AND key > $2 AND tick <= $3 ORDER BY key, tick DESC LIMIT $4";

const ENDING: &str =
    "SELECT tick, reason FROM crdb_internal.ending WHERE relation = ANY($1) AND tick > $2 ORDER BY tick LIMIT 1";

const REKEYED: &str =
    "SELECT min(tick) FROM crdb_internal.rekeyed WHERE relation = ANY($1) AND tick > $2 AND tick <= $3";

const BACK: &str = "SELECT min(tick) FROM (SELECT tick FROM crdb_internal.history \
     WHERE relation = ANY($1) AND tick <= $2 ORDER BY tick DESC LIMIT $3) AS last";

const SHAPE: &str = "SELECT names, kinds, ARRAY(SELECT array_position(columns, k) \
       FROM unnest(key) WITH ORDINALITY AS u(k, n) ORDER BY n)::int4[] \
     FROM crdb_internal.shape WHERE id = $1";

/// A connection, its prepared statements, and the shapes seen so far.
pub(crate) struct History {
    pub(crate) client: Client,
    statements: HashMap<&'static str, Statement>,
    shapes: HashMap<i32, Arc<Shape>>,
}

impl History {
    pub(crate) fn new(client: Client) -> History {
        History { client, statements: HashMap::new(), shapes: HashMap::new() }
    }

    /// A tick at or below which no further commit will be, and all earlier ones are visible.
    pub(crate) async fn resolve(&mut self) -> Result<Tick, Error> {
        Ok(self.query(RESOLVE, &[]).await?[0].get(0))
    }

    /// The next versions behind the position, up to and with the tick, in the order of their ticks.
    pub(crate) async fn changes(
        &mut self,
        relations: &[u32],
        position: &Position,
        until: Tick,
        has_before: bool,
        rows_max: i64,
    ) -> Result<Vec<Version>, Error> {
        let sql = if has_before { CHANGES_WITH_BEFORE } else { CHANGES };
        let Position { tick, relation, key } = position;
        let rows = self.query(sql, &[tick, relation, key, &until, &relations, &rows_max]).await?;
        self.versions(&rows).await
    }

    /// Rows of one table as they were at the tick, deleted ones among them, in the order of their keys.
    pub(crate) async fn scan(
        &mut self,
        relation: u32,
        after_key: &[String],
        at: Tick,
        rows_max: i64,
    ) -> Result<Vec<Version>, Error> {
        let rows = self.query(SCAN, &[&relation, &after_key, &at, &rows_max]).await?;
        self.versions(&rows).await
    }

    /// When and why a feed of these tables must end, if something makes it after the tick.
    pub(crate) async fn ending(&mut self, relations: &[u32], since: Tick) -> Result<Option<(Tick, String)>, Error> {
        let rows = self.query(ENDING, &[&relations, &since]).await?;
        Ok(rows.first().map(|row| (row.get(0), row.get(1))))
    }

    /// When the keys of one of these tables first got another shape, between the ticks.
    pub(crate) async fn rekeyed(&mut self, relations: &[u32], since: Tick, until: Tick) -> Result<Option<Tick>, Error> {
        Ok(self.query(REKEYED, &[&relations, &since, &until]).await?[0].get(0))
    }

    /// The tick of the version that stands `count` versions before the given tick.
    pub(crate) async fn back(&mut self, relations: &[u32], until: Tick, count: i64) -> Result<Option<Tick>, Error> {
        Ok(self.query(BACK, &[&relations, &until, &count]).await?[0].get(0))
    }

    async fn versions(&mut self, rows: &[Row]) -> Result<Vec<Version>, Error> {
        let mut versions = Vec::with_capacity(rows.len());
        for row in rows {
            let shape = self.shape(row.get(3)).await?;
            let after = row.get::<_, Option<_>>(4).map(|values| Image { shape: Arc::clone(&shape), values });
            let before = match (row.get(5), row.get(6)) {
                (Some(id), Some(values)) => Some(Image { shape: self.shape(id).await?, values }),
                _ => None,
            };
            versions.push(Version { relation: row.get(0), key: row.get(1), tick: row.get(2), shape, after, before });
        }
        Ok(versions)
    }

    async fn shape(&mut self, id: i32) -> Result<Arc<Shape>, Error> {
        if let Some(shape) = self.shapes.get(&id) {
            return Ok(Arc::clone(shape));
        }
        let row = &self.query(SHAPE, &[&id]).await?[0];
        let names: Vec<String> = row.get(0);
        // A type that a feed cannot have is refused when the feed is made; as text it does no harm to the others.
        let kinds = row.get::<_, Vec<&str>>(1).into_iter().map(|name| Kind::parse(name).unwrap_or(Kind::String));
        let kinds: Vec<Kind> = kinds.collect();
        // A shard is virtual: it stands in `key`, and not among the columns.
        let mut sorted: Vec<usize> = (0..names.len()).filter(|at| !is_shard(&names[*at])).collect();
        sorted.sort_by(|a, b| names[*a].cmp(&names[*b]));
        let positions: Vec<i32> = row.get(2);
        let key = positions.iter().filter_map(|at| kinds.get(usize::try_from(at - 1).ok()?).cloned()).collect();
        let shape = Arc::new(Shape { names, kinds, sorted, key });
        self.shapes.insert(id, Arc::clone(&shape));
        Ok(shape)
    }

    /// Polled many times a second, so planned once.
    async fn query(&mut self, sql: &'static str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        if !self.statements.contains_key(sql) {
            let statement = self.client.prepare(sql).await?;
            self.statements.insert(sql, statement);
        }
        self.client.query(&self.statements[sql], values).await
    }
}

/// As `crdb_internal.is_shard` knows it.
fn is_shard(name: &str) -> bool {
    let buckets =
        name.strip_prefix("crdb_internal_").and_then(|rest| rest.rsplit_once("_shard_")).map(|(_, count)| count);
    buckets.is_some_and(|count| !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()))
}
