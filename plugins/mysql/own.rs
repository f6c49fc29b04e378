//! The tables that ebb makes beside the user's: that they are what ebb makes, and that no trigger acts on them.
//!
//! Owns: what such a table may be, and the SQL that mends it. Does not own: what stands in it (`progress`, `triggers/record`).
//! MySQL's tables have no owners, and who else may write to one is not told to ordinary users.

use ebb_sdk::{Error, ErrorKind, Result, Topic};

use crate::describe::rows;
use crate::{Session, quoted};

/// A table of ebb's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    pub(crate) name: &'static str,
    columns: &'static [(&'static str, &'static str)],
    /// How many of them the first version had.
    required: usize,
}

pub(crate) const PROGRESS: Own = Own {
    name: "ebb_progress",
    columns: &[
        ("feed", "varchar"),
        ("wall", "bigint"),
        ("logical", "int"),
        ("epoch", "bigint"),
        ("writer", "bigint"),
        ("updated_at", "datetime"),
        ("alive_until", "datetime"),
        ("note", "longtext"),
    ],
    required: 6,
};

pub(crate) const TRIGGERS: Own = Own {
    name: "ebb_triggers",
    columns: &[("place", "int"), ("name", "varchar"), ("definition", "longtext")],
    required: 3,
};

const TABLE: &str = "SELECT CONVERT(table_type USING utf8mb4), CONVERT(COALESCE(engine, '') USING utf8mb4) \
     FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?";
/// The text of a computed column is NULL or empty where it is none.
const COLUMNS: &str = "SELECT CONVERT(column_name USING utf8mb4), CONVERT(data_type USING utf8mb4), \
         CASE WHEN COALESCE(generation_expression, '') = '' THEN 0 ELSE 1 END \
     FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position";
const ACTING: &str = "SELECT CONVERT(trigger_name USING utf8mb4) FROM information_schema.triggers \
     WHERE event_object_schema = DATABASE() AND event_object_table = ? ORDER BY 1";

/// Whether the database has the table, as far as this user may see. One that is not as ebb makes it is refused before it is read
/// or written; that is looked at once a connection.
pub(crate) async fn is_there(session: &mut Session, own: Own) -> Result<bool> {
    if session.owned.contains(&own.name) {
        return Ok(true);
    }
    let Some((kind, engine)) = rows::<(String, String)>(session, TABLE, vec![own.name.into()]).await?.pop() else {
        return Ok(false);
    };
    let name = format!("{}.{}", quoted(&session.server.database), own.name);
    let mut faults = Vec::new();
    let renamed = format!("RENAME TABLE {name} TO {name}_other;");
    match (kind.as_str(), engine.as_str()) {
        ("BASE TABLE", "InnoDB") => {}
        ("BASE TABLE", _) => {
            faults.push((format!("its engine is {engine}"), format!("ALTER TABLE {name} ENGINE = InnoDB;")));
        }
        _ => faults.push(("it is no ordinary table".to_owned(), renamed.clone())),
    }
    let columns = rows::<(String, String, u8)>(session, COLUMNS, vec![own.name.into()]).await?;
    for (at, &(column, kind)) in own.columns.iter().enumerate() {
        let is_right = match columns.iter().find(|(found, ..)| found == column) {
            Some((_, found, computed)) => found == kind && *computed == 0,
            None => at >= own.required,
        };
        if !is_right {
            faults.push((format!("it lacks the column {column}, or has it with another type"), renamed.clone()));
        }
    }
    for (column, ..) in columns.iter().filter(|(found, ..)| own.columns.iter().all(|(column, _)| column != found)) {
        faults.push((
            format!("it has the column {column}"),
            format!("ALTER TABLE {name} DROP COLUMN {};", quoted(column)),
        ));
    }
    for trigger in rows::<String>(session, ACTING, vec![own.name.into()]).await? {
        faults.push((format!("it has the trigger {trigger}"), format!("DROP TRIGGER {};", quoted(&trigger))));
    }
    if faults.is_empty() {
        session.owned.push(own.name);
        return Ok(true);
    }
    Err(refused(&name, faults))
}

fn refused(name: &str, faults: Vec<(String, String)>) -> Error {
    let (whys, mut mends): (Vec<_>, Vec<_>) = faults.into_iter().unzip();
    // What is renamed needs no other mending.
    if let Some(at) = mends.iter().position(|mend| mend.starts_with("RENAME ")) {
        mends = vec![mends.swap_remove(at)];
    }
    let message = format!(
        "{name} is no table that only ebb has a hand in: {}; what acts there could decide what is applied",
        whys.join("; ")
    );
    Error::new(ErrorKind::Config, message).topic(Topic::OwnTables).hint(format!(
        "see who has done that and what for; then, as an administrator of the target: {}",
        mends.join(" ")
    ))
}
