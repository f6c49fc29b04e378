//! The table `ebb_triggers`, in which definitions are kept while their triggers are away.
//!
//! Owns: its rows. Does not own: the order in which rows are written and triggers are dropped (`triggers`).

use ebb_sdk::{Error, ErrorKind, Level, Result, SavedTrigger};
use mysql_async::Params;

use super::{execute, run};
use crate::Session;
use crate::describe::rows;
use crate::own::{self, TRIGGERS};

const TABLE: &str = TRIGGERS.name;

pub(super) async fn save(session: &mut Session, triggers: &[&SavedTrigger]) -> Result<()> {
    let doing = "save the definitions of triggers";
    if !has_table(session).await? {
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {TABLE} (place INT NOT NULL, name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin \
             PRIMARY KEY, definition LONGTEXT CHARACTER SET utf8mb4 NOT NULL) ENGINE = InnoDB"
        );
        run(session, &create, doing).await?;
        has_table(session).await?;
    }
    run(session, "START TRANSACTION", doing).await?;
    for (place, saved) in triggers.iter().enumerate() {
        let definition = serde_json::to_string(saved).expect("a definition is plain text");
        let insert = format!(
            "INSERT INTO {TABLE} (place, name, definition) VALUES (?, ?, ?) \
             ON DUPLICATE KEY UPDATE place = VALUES(place), definition = VALUES(definition)"
        );
        let parameters = Params::Positional(vec![place.into(), saved.trigger.name.clone().into(), definition.into()]);
        execute(session, insert, parameters, doing).await?;
    }
    run(session, "COMMIT", doing).await
}

pub(super) async fn records(session: &mut Session) -> Result<Vec<SavedTrigger>> {
    let sql = format!("SELECT definition FROM {TABLE} ORDER BY place, name");
    let definitions = rows::<String>(session, &sql, vec![]).await?;
    let read = |text: &String| {
        serde_json::from_str(text).map_err(|error| {
            let message = format!("cannot read a definition in {TABLE}: {error}");
            Error::new(ErrorKind::Config, message)
                .hint(format!("put the trigger back by hand, then DELETE FROM {TABLE};"))
        })
    };
    definitions.iter().map(read).collect()
}

pub(super) async fn forget(session: &mut Session, has_table: bool, name: &str) -> Result<()> {
    if !has_table {
        return Ok(());
    }
    let delete = format!("DELETE FROM {TABLE} WHERE name = ?");
    execute(session, delete, Params::Positional(vec![name.into()]), "forget a trigger that is back").await
}

pub(super) async fn drop_empty(session: &mut Session) -> Result<()> {
    let left = rows::<u64>(session, &format!("SELECT COUNT(*) FROM {TABLE}"), vec![]).await?;
    if left != [0] {
        return Ok(());
    }
    // An empty table does no harm where the right to drop it is missing.
    match run(session, &format!("DROP TABLE IF EXISTS {TABLE}"), "drop the empty table of triggers").await {
        Err(error) if error.kind == ErrorKind::Config => {
            ebb_sdk::log(Level::Info, &error.message);
            Ok(())
        }
        dropped => dropped,
    }
}

pub(super) async fn has_table(session: &mut Session) -> Result<bool> {
    session.owned.retain(|&name| name != TABLE);
    own::is_there(session, TRIGGERS).await
}
