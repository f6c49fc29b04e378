//! What the user of the connection may not do with tables.
//!
//! Owns: asking the server. Does not own: the GRANT that mends it (the host).

use std::collections::HashMap;

use ebb_sdk::{MissingRight, TableIndex};
use tokio_postgres::{Client, Error};

/// A right on some columns counts: which of them a run writes is not known here.
const RIGHTS: &str = "SELECT c.oid, pg_catalog.array_agg(r.name ORDER BY r.at) \
     FROM pg_catalog.unnest($1::oid[]) AS c (oid), \
          (VALUES (1, 'SELECT'), (2, 'INSERT'), (3, 'UPDATE'), (4, 'DELETE')) AS r (at, name) \
     WHERE NOT pg_catalog.has_table_privilege(c.oid, r.name) \
         AND (r.name = 'DELETE' OR NOT pg_catalog.has_any_column_privilege(c.oid, \
             CASE r.name WHEN 'DELETE' THEN 'SELECT' ELSE r.name END)) \
     GROUP BY c.oid ORDER BY c.oid";

/// Of the tables with these numbers, each with its position.
pub(crate) async fn missing(
    client: &Client,
    oids: &[u32],
    positions: &HashMap<u32, usize>,
) -> Result<Vec<MissingRight>, Error> {
    let mut missing = Vec::new();
    for row in client.query(RIGHTS, &[&oids]).await? {
        if let Some(&at) = positions.get(&row.try_get::<_, u32>(0)?) {
            missing.push(MissingRight { table: TableIndex::at(at), rights: row.try_get(1)? });
        }
    }
    Ok(missing)
}
