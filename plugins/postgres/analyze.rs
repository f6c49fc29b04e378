//! Having PostgreSQL look at the contents of a table.
//!
//! Owns: whether it would be done at all. Does not own: when it is done (the host).

use ebb_sdk::{Error, ErrorKind, Result, Table};

use crate::error::translate;
use crate::{Session, quoted};

/// The server skips a table that this user may not analyze, with a warning only.
const MAY: &str = "SELECT pg_has_role(c.relowner, 'USAGE') \
         OR pg_has_role((SELECT datdba FROM pg_database WHERE datname = current_database()), 'USAGE') \
         OR CASE WHEN current_setting('server_version_num')::int >= 170000 \
             THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END, pg_get_userbyid(c.relowner)::text \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";

pub(crate) async fn analyze(session: &Session, table: &Table) -> Result<()> {
    let schema = table.namespace.last().map_or("", String::as_str);
    let name = format!("{}.{}", quoted(schema), quoted(&table.name));
    let failed = |failure: tokio_postgres::Error| translate(&failure, &format!("analyze {table}"));
    let row = session.client.query_opt(MAY, &[&schema, &table.name]).await.map_err(failed)?;
    if let Some(row) = row
        && !row.try_get::<_, bool>(0).map_err(failed)?
    {
        let owner: String = row.try_get(1).map_err(failed)?;
        let message = format!("cannot analyze {table}: this user does not own it");
        return Err(Error::new(ErrorKind::Config, message).hint(format!("as {owner}: ANALYZE {name};")));
    }
    let sql = format!("SET statement_timeout = 0; ANALYZE {name}; RESET statement_timeout");
    session.client.batch_execute(&sql).await.map_err(failed)
}
