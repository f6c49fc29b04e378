//! What has the name of a table and is none.
//!
//! Owns: the list. Does not own: tables (`describe`).

use ebb_sdk::{Catalog, OtherRelation, Result};

use crate::Session;
use crate::describe::rows;

const VIEWS: &str = "SELECT table_name AS name FROM information_schema.tables \
     WHERE table_schema = DATABASE() AND table_type = 'VIEW' ORDER BY table_name LIMIT ?";

/// The views of the database.
pub(crate) async fn all(session: &mut Session) -> Result<Vec<OtherRelation>> {
    let namespace = vec![session.server.database.clone()];
    let names = rows::<(String,)>(session, VIEWS, vec![Catalog::OTHERS_MAX.into()]).await?;
    let view = |(name,): (String,)| OtherRelation { namespace: namespace.clone(), name, kind: "a view".into() };
    Ok(names.into_iter().map(view).collect())
}
