//! Triggers that are taken away for a time: `ebb_triggers` in the connection's own schema keeps what makes them again.
//!
//! Owns: that table, dropping and putting back. Does not own: what a trigger is (`triggers`), and when that is done (the
//! host's). PostgreSQL's DDL is transactional: a trigger is saved and dropped, or neither, and the same on the way back.

mod known_statements;

use ebb_sdk::{Error, ErrorKind, Result, SavedTrigger};
use tokio_postgres::Client;

use crate::error::translate;
use crate::own::{self, TRIGGERS};
use crate::triggers::{self, QUALIFIED};
use crate::{Session, quoted};

const TABLE: &str = TRIGGERS.name;

const DROP: &str = "drop triggers";
const RESTORE: &str = "put triggers back";
const DUPLICATE_OBJECT: &str = "42710";
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Saves these triggers and drops them, all or none.
pub(crate) async fn drop_all(session: &Session, wanted: &[SavedTrigger]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    session.owned.forget(TRIGGERS);
    session.command(&format!("BEGIN; {QUALIFIED}"), DROP).await?;
    let dropped = session.answered(DROP, drop_each(session, wanted)).await;
    end(session, DROP, dropped).await
}

async fn drop_each(session: &Session, wanted: &[SavedTrigger]) -> Result<()> {
    let (client, table) = (&session.client, qualified(session));
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, saved text NOT NULL, \
         dropped_at timestamptz NOT NULL DEFAULT pg_catalog.now())"
    );
    let was_there = own::look(session, TRIGGERS).await?;
    client.batch_execute(&create).await.map_err(|failure| refused(session, &failure, DROP))?;
    if !was_there {
        own::take_back(session, TRIGGERS).await?;
    }
    own::look(session, TRIGGERS).await?;
    for saved in wanted {
        let Some((oid, relation)) = table_of(client, saved).await? else { continue };
        // From here on nobody changes its triggers.
        let lock = format!("LOCK TABLE {relation} IN ACCESS EXCLUSIVE MODE");
        client.batch_execute(&lock).await.map_err(|failure| refused(session, &failure, DROP))?;
        let found = triggers::read(client, &[oid]).await.map_err(|failure| translate(&failure, DROP))?;
        let same_place = |found: &&triggers::FoundTrigger| {
            found.trigger.name == saved.trigger.name && found.trigger.create.first() == saved.trigger.create.first()
        };
        let Some(found) = found.iter().find(same_place) else {
            is_gone(&relation, saved, &found)?;
            continue;
        };
        if found.trigger != saved.trigger {
            return Err(changed(&relation, saved));
        }
        let text = serde_json::to_string(saved).expect("a trigger is plain data");
        let insert = format!("INSERT INTO {table} (saved) VALUES ($1)");
        client.execute(&insert, &[&text]).await.map_err(|failure| refused(session, &failure, DROP))?;
        client.batch_execute(&found.drop).await.map_err(|failure| refused(session, &failure, DROP))?;
    }
    Ok(())
}

/// A trigger that is gone is none to drop: an earlier attempt may have done it. One of this name that is another is an error.
fn is_gone(relation: &str, saved: &SavedTrigger, found: &[triggers::FoundTrigger]) -> Result<()> {
    match found.iter().any(|found| found.trigger.name == saved.trigger.name) {
        true => Err(changed(relation, saved)),
        false => Ok(()),
    }
}

fn changed(relation: &str, saved: &SavedTrigger) -> Error {
    let message =
        format!("cannot {DROP}: the trigger {} of {relation} was changed since ebb has looked", saved.trigger.name);
    Error::new(ErrorKind::Retry, message).hint("start ebb again, so that the trigger is saved as it is now")
}

/// PostgreSQL's number of the table and its name, `None` when it is not there any more.
async fn table_of(client: &Client, saved: &SavedTrigger) -> Result<Option<(u32, String)>> {
    let schema = saved.namespace.last().cloned().unwrap_or_default();
    let sql = "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND c.relname = $2";
    let row = client.query_opt(sql, &[&schema, &saved.table]).await;
    let oid = row.and_then(|row| row.map(|row| row.try_get(0)).transpose());
    let oid = oid.map_err(|failure| translate(&failure, DROP))?;
    Ok(oid.map(|oid| (oid, format!("{}.{}", quoted(&schema), quoted(&saved.table)))))
}

/// What the table has saved for a feed.
pub(crate) async fn of_feed(session: &Session, feed: &str) -> Result<Vec<SavedTrigger>> {
    let read = async {
        match own::is_there(session, TRIGGERS).await? {
            true => records(session).await,
            false => Ok(Vec::new()),
        }
    };
    let records = session.answered(RESTORE, read).await?.into_iter().map(|(_, saved)| saved);
    Ok(records.filter(|saved| saved.feed == feed).collect())
}

/// Puts back what the host gives, each trigger by itself, so that one that cannot be made does not keep the others away.
/// What is there already stays.
pub(crate) async fn restore_all(session: &Session, saved: &[SavedTrigger]) -> Result<Vec<SavedTrigger>> {
    let mut restored = Vec::new();
    let mut failure = None;
    session.owned.forget(TRIGGERS);
    let has_table = session.answered(RESTORE, own::is_there(session, TRIGGERS)).await?;
    let records = if has_table { session.answered(RESTORE, records(session)).await? } else { Vec::new() };
    for trigger in saved {
        let ids: Vec<i64> = records.iter().filter(|(_, record)| record == trigger).map(|(id, _)| *id).collect();
        session.command(&format!("BEGIN; {QUALIFIED}"), RESTORE).await?;
        let outcome = session.answered(RESTORE, restore(session, &ids, trigger)).await;
        match end(session, RESTORE, outcome).await {
            Ok(true) => restored.push(trigger.clone()),
            Ok(false) => {}
            Err(error) if error.kind == ErrorKind::Retry => return Err(error),
            Err(error) => drop(failure.get_or_insert(error)),
        }
    }
    match failure {
        Some(error) => Err(error),
        None => {
            if has_table {
                session.owned.forget(TRIGGERS);
                session.command(&format!("BEGIN; {QUALIFIED}"), RESTORE).await?;
                let outcome = session.answered(RESTORE, forget_table(session)).await;
                end(session, RESTORE, outcome).await?;
            }
            Ok(restored)
        }
    }
}

/// Makes a trigger again and forgets its records. `false` when it is there.
async fn restore(session: &Session, ids: &[i64], saved: &SavedTrigger) -> Result<bool> {
    let client = &session.client;
    let about = |failure: &tokio_postgres::Error| {
        let error =
            refused(session, failure, &format!("put back the trigger {} of {}", saved.trigger.name, saved.table));
        error.table(&saved.table)
    };
    if let Some(other) = saved.trigger.create.iter().find(|statement| !known_statements::is_of_a_trigger(statement)) {
        let message = format!(
            "cannot put back the trigger {} of {}: its record has a statement that ebb does not write",
            saved.trigger.name, saved.table
        );
        return Err(Error::new(ErrorKind::Config, message)
            .hint(format!("read it, and make the trigger by hand: {other}"))
            .table(&saved.table));
    }
    client.batch_execute("SAVEPOINT ebb_restore").await.map_err(|failure| about(&failure))?;
    let is_made = match make(client, &saved.trigger.create).await {
        Ok(()) => true,
        Err(failure) if failure.code().is_some_and(|code| code.code() == DUPLICATE_OBJECT) => {
            client.batch_execute("ROLLBACK TO SAVEPOINT ebb_restore").await.map_err(|failure| about(&failure))?;
            false
        }
        Err(failure) => return Err(about(&failure)),
    };
    if !ids.is_empty() {
        let forget = format!("DELETE FROM {} WHERE id = ANY ($1::pg_catalog.int8[])", qualified(session));
        client.execute(&forget, &[&ids]).await.map_err(|failure| about(&failure))?;
    }
    Ok(is_made)
}

/// By the extended protocol, which takes one statement at a time.
async fn make(client: &Client, statements: &[String]) -> Result<(), tokio_postgres::Error> {
    for statement in statements {
        client.execute(statement.as_str(), &[]).await?;
    }
    Ok(())
}

/// What was saved last is what the trigger was last.
async fn records(session: &Session) -> Result<Vec<(i64, SavedTrigger)>> {
    let sql = format!("SELECT id, saved FROM {} ORDER BY id DESC", qualified(session));
    let rows = session.client.query(&sql, &[]).await.map_err(|failure| refused(session, &failure, RESTORE))?;
    let read = |row: &tokio_postgres::Row| {
        let (id, text): (i64, String) =
            (row.try_get(0).map_err(|failure| translate(&failure, RESTORE))?, row.try_get(1).unwrap_or_default());
        let saved = serde_json::from_str(&text).map_err(|error| {
            Error::new(ErrorKind::Config, format!("cannot {RESTORE}: the row {id} of {TABLE} cannot be read: {error}"))
                .hint("make that trigger by hand, and delete the row")
        })?;
        Ok((id, saved))
    };
    rows.iter().map(read).collect()
}

/// Drops the table once nothing is in it; another feed of the database may have saved more.
async fn forget_table(session: &Session) -> Result<()> {
    let table = qualified(session);
    let failed = |failure: tokio_postgres::Error| refused(session, &failure, RESTORE);
    let lock = format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
    session.client.batch_execute(&lock).await.map_err(failed)?;
    let is_empty = session.client.query_one(&format!("SELECT NOT EXISTS (SELECT FROM {table})"), &[]).await;
    match is_empty.and_then(|row| row.try_get(0)).map_err(failed)? {
        true => session.client.batch_execute(&format!("DROP TABLE {table}")).await.map_err(failed),
        false => Ok(()),
    }
}

/// Commits, or rolls back what failed.
async fn end<T>(session: &Session, doing: &str, outcome: Result<T>) -> Result<T> {
    match outcome {
        Ok(done) => session.command("COMMIT", doing).await.map(|()| done),
        Err(error) => {
            // When the connection has ended, so has the transaction.
            let _ = session.command("ROLLBACK", doing).await;
            Err(error)
        }
    }
}

/// Triggers are their table's owner's.
fn refused(session: &Session, failure: &tokio_postgres::Error, doing: &str) -> Error {
    let error = translate(failure, doing);
    if failure.code().is_none_or(|code| code.code() != INSUFFICIENT_PRIVILEGE) {
        return error;
    }
    let user = quoted(&session.server.user);
    error.hint(format!(
        "only the owner of a table may drop and make its triggers: GRANT the owner TO {user}; and GRANT CREATE ON SCHEMA {} TO {user};",
        quoted(&session.server.schema)
    ))
}

fn qualified(session: &Session) -> String {
    format!("{}.{TABLE}", quoted(&session.server.schema))
}
