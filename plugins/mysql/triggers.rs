//! Triggers: describing them, taking them away for a time, and putting them back as they were.
//!
//! Owns: the table `ebb_triggers`, in which a definition is committed before its trigger is dropped and stays until the
//! trigger is there again, and the order of those steps, of which every statement commits by itself. Does not own: the
//! statements that make one (`text`), which triggers are dropped (the host).

use std::hash::{BuildHasher, RandomState};

use ebb_sdk::{Error, ErrorKind, Level, Result, SavedTrigger, Trigger};
use mysql_async::Params;
use mysql_async::prelude::{FromRow, Queryable};

use crate::describe::rows;
use crate::error::translate;
use crate::rights::{NO_RIGHT, of_rows, refused};
use crate::{Session, answered, connect, quoted};

mod known_statements;
mod record;
mod text;

use record::{drop_empty, forget, has_table, records, save};
use text::Definition;

/// The trigger is there already.
const EXISTS: u16 = 1359;
/// The trigger that it is to follow is not there, on MySQL and on MariaDB.
const NO_OTHER: [u16; 2] = [3011, 4031];
const TRIGGERS: &str = "SELECT trigger_name, event_object_table, CONCAT(event_manipulation, ' ', action_timing) \
     FROM information_schema.triggers WHERE trigger_schema = DATABASE() \
     ORDER BY event_object_table, event_manipulation, action_timing, action_order";

/// Name, table, event.
type Name = (String, String, String);

/// Every trigger of the database with its table, in the order in which those of one event fire.
pub(crate) async fn all(session: &mut Session) -> Result<Vec<(String, Trigger)>> {
    let (database, doing) = (session.server.database.clone(), "describe the target's triggers");
    let collation: Vec<String> = spoken(session, "SELECT @@collation_database", doing).await?;
    let collation = collation.into_iter().next().unwrap_or_default();
    let mut found: Vec<(String, Trigger)> = Vec::new();
    let mut before: Option<Name> = None;
    for (name, table, event) in rows::<Name>(session, TRIGGERS, vec![]).await? {
        let definition = definition(session, &name, doing).await?;
        let behind = before.as_ref().filter(|last| (&last.1, &last.2) == (&table, &event)).map(|last| last.0.as_str());
        let create = definition.map(|found| found.create(&database, &collation, behind)).unwrap_or_default();
        before = Some((name.clone(), table.clone(), event));
        found.push((table, Trigger { name, is_suspended: false, create }));
    }
    Ok(found)
}

/// `None` where this user may see that there is a trigger, but not what it does.
async fn definition(session: &mut Session, name: &str, doing: &str) -> Result<Option<Definition>> {
    let show = format!("SHOW CREATE TRIGGER {}", quoted(name));
    let shown: Vec<mysql_async::Row> = match spoken(session, &show, doing).await {
        Err(error) if is_code(&error, &NO_RIGHT) => return Ok(None),
        shown => shown?,
    };
    let Some(shown) = shown.first() else { return Ok(None) };
    let text = |at: usize| shown.get::<Option<String>, _>(at).flatten().unwrap_or_default();
    Ok(Some(Definition {
        sql_mode: text(1),
        statement: text(2),
        character_set_client: text(3),
        collation_connection: text(4),
        database_collation: text(5),
    }))
}

/// Saves the definitions, proves that they can be made again, and drops them.
pub(crate) async fn drop_all(session: &mut Session, triggers: &[SavedTrigger]) -> Result<()> {
    alone(session).await?;
    let dropped = drop_named(session, triggers).await;
    together(session).await?;
    dropped
}

/// A server goes on with the statement of a session whose client is gone: a trigger that is there may be about to be
/// dropped. So one session at a time is at work on triggers, and the next one waits for its end.
async fn alone(session: &mut Session) -> Result<()> {
    let (seconds, doing) =
        ((session.answer_wait / 2).as_secs().max(1), "wait for another session that is at work on triggers");
    let lock = format!("SELECT GET_LOCK(CONCAT('ebb.', SHA2(DATABASE(), 224)), {seconds})");
    match spoken::<Option<u64>>(session, &lock, doing).await?.as_slice() {
        [Some(1)] => Ok(()),
        _ => Err(Error::new(ErrorKind::Retry, format!("cannot {doing}: it has not ended for {seconds} s"))
            .hint("see SHOW PROCESSLIST on the target; an ebb that was killed may have left a statement there that waits for a lock")),
    }
}

async fn together(session: &mut Session) -> Result<()> {
    run(session, "DO RELEASE_LOCK(CONCAT('ebb.', SHA2(DATABASE(), 224)))", "end the work on triggers").await
}

async fn drop_named(session: &mut Session, triggers: &[SavedTrigger]) -> Result<()> {
    let there = all(session).await?;
    let wanted: Vec<&SavedTrigger> =
        triggers.iter().filter(|saved| there.iter().any(|(_, found)| found.name == saved.trigger.name)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    for saved in &wanted {
        let found = there.iter().find(|(_, found)| found.name == saved.trigger.name);
        may_be_dropped(session, saved, found.map(|(_, found)| found))?;
    }
    prove_rights(session, &wanted).await?;
    save(session, &wanted).await?;
    for saved in &wanted {
        let drop = format!("DROP TRIGGER IF EXISTS {}", quoted(&saved.trigger.name));
        run(session, &drop, "drop a trigger").await?;
    }
    for details in session.tables.details.values_mut() {
        details.triggers = None;
    }
    // Those that were not named are there still.
    for (table, trigger) in all(session).await? {
        if let Some(details) = session.tables.details.get_mut(&table) {
            details.triggers = Some(trigger.name);
        }
    }
    Ok(())
}

/// Refuses a trigger that could not be put back as the host has saved it.
fn may_be_dropped(session: &Session, saved: &SavedTrigger, found: Option<&Trigger>) -> Result<()> {
    let (name, table) = (&saved.trigger.name, &saved.table);
    if saved.trigger.create.is_empty() {
        let message = format!("cannot drop the trigger {name} of {table}: this user may not see what it does");
        return Err(Error::new(ErrorKind::Config, message).hint(format!("{}, and start again", of_rows(session))));
    }
    // Its place among others changes when one of them goes.
    let bare = |trigger: &Trigger| -> Vec<String> {
        let statements = trigger.create.iter();
        statements.map(|text| text::unplaced(text).map_or_else(|| text.clone(), |(bare, _)| bare)).collect()
    };
    if found.is_some_and(|found| bare(found) != bare(&saved.trigger)) {
        let message = format!("cannot drop triggers: {name} of {table} was changed since ebb has looked");
        return Err(
            Error::new(ErrorKind::Retry, message).hint("start ebb again, so that the trigger is saved as it is now")
        );
    }
    match known_statements::foreign(&saved.trigger.create, &session.server.database) {
        Some(_) => Err(Error::new(
            ErrorKind::Config,
            format!(
                "cannot drop the trigger {name} of {table}: ebb could not make it again by one plain CREATE TRIGGER"
            ),
        )
        .hint("take comments with code (/*! */) out of it, or drop it by hand and make it again after the run")),
        None => Ok(()),
    }
}

/// Makes a harmless trigger for each table and definer and drops it again, so that nothing is dropped that could not be
/// put back. Its name is nobody else's: one that is taken is not touched.
async fn prove_rights(session: &mut Session, triggers: &[&SavedTrigger]) -> Result<()> {
    let mut proven = Vec::new();
    for SavedTrigger { table, trigger, .. } in triggers {
        let statement = trigger.create.iter().find(|statement| text::header_end(statement).is_some());
        let definer = statement.and_then(|statement| definer(statement)).unwrap_or_default();
        if proven.contains(&(table, definer)) {
            continue;
        }
        let doing = format!("make triggers like {} of {table} again", trigger.name);
        let probe = quoted(&format!("ebb_probe_{:016x}", RandomState::new().hash_one(table)));
        let create = format!(
            "CREATE {definer} TRIGGER {probe} BEFORE DELETE ON {} FOR EACH ROW SET @ebb_probe = NULL",
            quoted(table)
        );
        run(session, &create, &doing).await?;
        run(session, &format!("DROP TRIGGER {probe}"), &doing).await?;
        proven.push((table, definer));
    }
    Ok(())
}

/// ``DEFINER=`u`@`%` ``, as the server spells it.
fn definer(statement: &str) -> Option<&str> {
    let start = statement.find("DEFINER=")?;
    let mut quotes = statement[start..].match_indices('`');
    let end = quotes.nth(3)?.0 + 1;
    Some(&statement[start..start + end])
}

/// What the table has saved for a feed.
pub(crate) async fn of_feed(session: &mut Session, feed: &str) -> Result<Vec<SavedTrigger>> {
    let mut records = if has_table(session).await? { records(session).await? } else { Vec::new() };
    records.retain(|saved| saved.feed == feed);
    Ok(records)
}

/// Puts back what is missing of what the host gives. A record goes once its trigger is there, and the table once it is empty.
pub(crate) async fn restore(session: &mut Session, saved: &[SavedTrigger]) -> Result<Vec<SavedTrigger>> {
    alone(session).await?;
    let restored = restore_all(session, saved).await;
    together(session).await?;
    restored
}

async fn restore_all(session: &mut Session, saved: &[SavedTrigger]) -> Result<Vec<SavedTrigger>> {
    let has_table = has_table(session).await?;
    let mut waiting: Vec<SavedTrigger> = Vec::new();
    for trigger in saved {
        if !waiting.iter().any(|other| other.trigger.name == trigger.trigger.name) {
            waiting.push(trigger.clone());
        }
    }
    let (mut restored, mut first_error) = (Vec::new(), None);
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut later = Vec::new();
        for trigger in std::mem::take(&mut waiting) {
            match put_back(session, &trigger, false).await {
                Ok(Outcome::Follows) => {
                    later.push(trigger);
                    continue;
                }
                Ok(Outcome::There) => {}
                Ok(Outcome::Made) => {
                    fires(session, &trigger);
                    restored.push(trigger.clone());
                }
                // Others may be put back all the same.
                Err(error) => {
                    first_error.get_or_insert(error);
                    continue;
                }
            }
            forget(session, has_table, &trigger.trigger.name).await?;
        }
        // None of them can follow the other that it names: somebody has dropped one for good. Those behind it can follow
        // each other still.
        if later.len() == before {
            let is_waited_for = |trigger: &SavedTrigger| {
                follows(trigger).is_some_and(|name| later.iter().any(|other| other.trigger.name == name))
            };
            let at = later.iter().position(|trigger| !is_waited_for(trigger)).unwrap_or_default();
            let trigger = later.remove(at);
            match put_back(session, &trigger, true).await {
                Ok(_) => {
                    fires(session, &trigger);
                    forget(session, has_table, &trigger.trigger.name).await?;
                    restored.push(trigger);
                }
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        waiting = later;
    }
    if let Some(error) = first_error {
        return Err(error);
    }
    if has_table {
        drop_empty(session).await?;
    }
    Ok(restored)
}

/// Rows are written by their event again.
fn fires(session: &mut Session, saved: &SavedTrigger) {
    if let Some(details) = session.tables.details.get_mut(&saved.table) {
        details.triggers = Some(saved.trigger.name.clone());
    }
}

/// The trigger that fires before this one.
fn follows(saved: &SavedTrigger) -> Option<String> {
    saved.trigger.create.iter().find_map(|statement| text::unplaced(statement)).map(|(_, name)| name)
}

enum Outcome {
    There,
    Made,
    /// It is to fire behind another that is not there.
    Follows,
}

/// Makes one trigger unless it is there. The session has its own settings again afterwards, whatever happens.
async fn put_back(session: &mut Session, saved: &SavedTrigger, anywhere: bool) -> Result<Outcome> {
    let name = &saved.trigger.name;
    let there = rows::<Name>(session, TRIGGERS, vec![]).await?;
    if there.iter().any(|(other, ..)| other == name) {
        return Ok(Outcome::There);
    }
    let doing = format!("put the trigger {name} of {} back", saved.table);
    let made = make(session, saved, &there, anywhere, &doing).await;
    connect::set_up(session).await?;
    match made {
        Ok(()) => Ok(Outcome::Made),
        Err(error) if is_code(&error, &[EXISTS]) => Ok(Outcome::There),
        Err(error) if is_code(&error, &NO_OTHER) && !anywhere => Ok(Outcome::Follows),
        Err(error) => Err(error),
    }
}

fn is_code(error: &Error, codes: &[u16]) -> bool {
    codes.iter().any(|code| error.code.as_deref() == Some(&code.to_string()))
}

async fn make(session: &mut Session, saved: &SavedTrigger, there: &[Name], anywhere: bool, doing: &str) -> Result<()> {
    if let Some(other) = known_statements::foreign(&saved.trigger.create, &session.server.database) {
        return Err(Error::new(
            ErrorKind::Config,
            format!("cannot {doing}: its record has a statement that ebb does not write"),
        )
        .hint(format!("read it, and make the trigger by hand: {other}")));
    }
    let made = make_each(session, saved, there, anywhere, doing).await;
    if made.is_err() {
        give_collation_back(session, saved, doing).await?;
    }
    made
}

/// The last statement gives the database its collation back; a failure before it must not keep it away.
async fn give_collation_back(session: &mut Session, saved: &SavedTrigger, doing: &str) -> Result<()> {
    match saved.trigger.create.as_slice() {
        [_, _, _, back] => run(session, back, doing).await,
        _ => Ok(()),
    }
}

async fn make_each(
    session: &mut Session,
    saved: &SavedTrigger,
    there: &[Name],
    anywhere: bool,
    doing: &str,
) -> Result<()> {
    for statement in &saved.trigger.create {
        let Some(end) = text::header_end(statement) else {
            run(session, statement, doing).await?;
            continue;
        };
        let unplaced = text::unplaced(statement);
        let first = || {
            let event = text::event(statement)?;
            let is_same = |other: &&Name| other.1 == saved.table && other.2 == format!("{} {}", event.1, event.0);
            there.iter().find(is_same).map(|(name, ..)| name)
        };
        let statement = match (unplaced, first()) {
            (Some((unplaced, _)), _) if anywhere => {
                let message =
                    format!("{}: the trigger that it fired behind is gone, so that it fires last", saved.trigger.name);
                ebb_sdk::log(Level::Warn, &message);
                unplaced
            }
            // It was the first of its event, and others are there already.
            (None, Some(first)) => text::placed(statement, end, "PRECEDES", first),
            _ => statement.clone(),
        };
        let statement = in_charset(session, statement, doing).await?;
        let wait = session.answer_wait;
        let made = answered(wait, doing, async { Ok(session.conn.query_drop(statement).await) }).await?;
        made.map_err(|failure| refused(session, &failure, doing))?;
    }
    Ok(())
}

/// The statement in the letters that the session speaks at this moment, which are those of whoever made the trigger.
async fn in_charset(session: &mut Session, statement: String, doing: &str) -> Result<Vec<u8>> {
    if statement.is_ascii() {
        return Ok(statement.into_bytes());
    }
    let charset: Vec<String> = spoken(session, "SELECT @@character_set_client", doing).await?;
    let hex: String = statement.bytes().map(|byte| format!("{byte:02x}")).collect();
    let charset = charset.into_iter().next().unwrap_or_default();
    let convert = format!("SELECT CAST(CONVERT(_utf8mb4 x'{hex}' USING {charset}) AS BINARY)");
    let converted: Vec<Vec<u8>> = spoken(session, &convert, doing).await?;
    Ok(converted.into_iter().next().unwrap_or_else(|| statement.into_bytes()))
}

/// Asks in a way that takes every statement: some are not to be prepared.
pub(crate) async fn spoken<T: FromRow + Send + 'static>(
    session: &mut Session,
    sql: &str,
    doing: &str,
) -> Result<Vec<T>> {
    let wait = session.answer_wait;
    let asked = async { session.conn.query::<T, _>(sql).await.map_err(|failure| translate(&failure, doing)) };
    answered(wait, doing, asked).await
}

async fn run(session: &mut Session, sql: &str, doing: &str) -> Result<()> {
    let wait = session.answer_wait;
    let done = answered(wait, doing, async { Ok(session.conn.query_drop(sql).await) }).await?;
    done.map_err(|failure| refused(session, &failure, doing))
}

async fn execute(session: &mut Session, sql: String, parameters: Params, doing: &str) -> Result<()> {
    let wait = session.answer_wait;
    let done = answered(wait, doing, async { Ok(session.conn.exec_drop(sql, parameters).await) }).await?;
    done.map_err(|failure| refused(session, &failure, doing))
}
