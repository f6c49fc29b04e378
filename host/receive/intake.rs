//! From a body to rows for staging: each message is judged as it is read, and the first one that cannot be taken ends it.
//!
//! Owns: what is demanded of a message beyond its shape: who may write it, its time, its table, its key, its columns. Does
//! not own: JSON (`payload`), reading bytes (`body`). What is refused leaves nothing behind.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ebb_sdk::{SHOWN_CHARS_MAX, TableIndex, Timestamp, shortened};
use hyper::StatusCode;

use super::Refusal;
use super::memory::Share;
use super::payload::{self, Body, Malformed, Message, Stopped, canonical_key};
use crate::access::{Reach, allow_flags};
use crate::code::receiver::MALFORMED;
use crate::code::{self, Code};
use crate::columns;
use crate::error::Error;
use crate::stage::{Change, RowBatch, TableId};
use crate::tables::Origin;
use crate::tables::two_tables;
use crate::tables::{Destination, Table, Tables};
use crate::tables::{Unreadable, parts_of};

/// How far ahead of this machine's clock a timestamp of the source may be. Clocks differ by milliseconds where they are set,
/// and by hours where a time zone is taken for another; a timestamp years ahead would be the last one that is ever resolved.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);
/// The same for a client that may write to a part of the run only: its rows would stay staged until the run comes to that time.
const AHEAD_OF_PART_MAX: Duration = Duration::from_secs(300);
/// A row in a batch, beside its bytes.
const ROW_BYTES: usize = size_of::<(usize, usize)>();

/// What a body brings.
pub(super) enum Delivery {
    Rows(RowBatch, Vec<(TableId, Origin)>, Counted),
    Resolved(Timestamp),
}

/// What is counted of the rows of one body, so that nobody has to look at them again.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// Rows by table, of which a body has few.
    pub(super) tables: Vec<(TableIndex, u64)>,
    /// Of the first that was committed.
    pub(super) oldest: Option<Timestamp>,
    /// Where the table of the last row stands: rows of one table often stand together.
    last: usize,
}

impl Counted {
    fn row(&mut self, table: TableIndex, timestamp: Timestamp) {
        self.oldest = Some(self.oldest.map_or(timestamp, |oldest| oldest.min(timestamp)));
        if self.tables.get(self.last).is_none_or(|(known, _)| *known != table) {
            let known = self.tables.iter().position(|(known, _)| *known == table);
            self.last = known.unwrap_or_else(|| {
                self.tables.push((table, 0));
                self.tables.len() - 1
            });
        }
        if let Some((_, rows)) = self.tables.get_mut(self.last) {
            *rows += 1;
        }
    }
}

/// Why a body is not taken.
pub(super) enum Untaken {
    /// It is at fault by itself.
    Request(Refusal),
    /// It cannot be taken as the run is.
    Run(Error),
    /// A key is not what is known of the source's primary key, which may have changed.
    Key(Error),
}

/// Takes the messages of one body.
pub(super) struct Intake<'h, 'a> {
    tables: &'h Tables,
    path: &'h [String],
    reach: &'h Reach,
    ahead_max: Duration,
    share: &'h mut Share,
    body_bytes: usize,
    rows: RowBatch,
    origins: Vec<(TableId, Origin)>,
    counted: Counted,
    /// Messages of one table often stand together.
    last: Option<(Cow<'a, str>, &'h Table)>,
}

impl<'h, 'a> Intake<'h, 'a> {
    /// For a request to this path by a client that may write so far. `share` is that of the body.
    pub(super) fn new(
        tables: &'h Tables,
        path: &'h [String],
        (reach, covers_run): (&'h Reach, bool),
        share: &'h mut Share,
    ) -> Self {
        Self {
            tables,
            path,
            reach,
            ahead_max: if covers_run { AHEAD_MAX } else { AHEAD_OF_PART_MAX },
            share,
            body_bytes: 0,
            rows: RowBatch::default(),
            origins: Vec::new(),
            counted: Counted::default(),
            last: None,
        }
    }

    pub(super) fn read(mut self, body: &'a [u8]) -> Result<Delivery, Untaken> {
        self.body_bytes = body.len();
        self.rows = RowBatch::expecting(body.len());
        match payload::read(body, |message| self.take(message)) {
            Ok(Body::Rows) => Ok(Delivery::Rows(self.rows, self.origins, self.counted)),
            Ok(Body::Resolved(timestamp)) => {
                self.check_time(timestamp)?;
                self.check_whole_run()?;
                Ok(Delivery::Resolved(timestamp))
            }
            Err(Stopped::Malformed(malformed)) => Err(bad(MALFORMED, malformed.to_string())),
            Err(Stopped::Refused(untaken)) => Err(untaken),
        }
    }

    fn take(&mut self, message: Message<'a>) -> Result<(), Untaken> {
        self.check_time(message.updated)?;
        let table = match &self.last {
            Some((topic, table)) if *topic == message.topic => table,
            _ => self.table_of(&message.topic)?,
        };
        let key = canonical_key(message.key).map_err(|malformed: Malformed| bad(MALFORMED, malformed.to_string()))?;
        let topic = &message.topic;
        let unreadable = |why: Unreadable| Untaken::Key(unreadable_key(topic, &key.text, &why));
        let flawed = |why: columns::Flawed| flawed(topic, &key.text, &why);
        table.key.check_count(message.updated, key.values).map_err(unreadable)?;
        if let Some(after) = message.after {
            let columns = columns::columns(after.get()).map_err(flawed)?;
            table.key.check_row(message.updated, &parts_of(&key.text), &columns).map_err(unreadable)?;
        }
        if let Some(before) = message.before.flatten() {
            columns::columns(before.get()).map_err(flawed)?;
        }
        let change = match (message.after, message.before) {
            (Some(after), _) => Some(Change::Upsert(after.get())),
            // There was no such row, and nothing else names the columns of its key.
            (None, Some(None)) if key.values > 1 && !table.key.is_known() => None,
            (None, before) => Some(Change::Delete(before.flatten().map(|before| before.get()))),
        };
        if let Some(change) = change {
            self.rows.push(message.updated, table.number, &key.text, change);
            self.counted.row(table.position, message.updated);
            let bytes = self.body_bytes + rows_bytes(&self.rows);
            self.share.grow_now(bytes).map_err(Untaken::Request)?;
        }
        self.last = Some((message.topic, table));
        Ok(())
    }

    fn table_of(&mut self, topic: &str) -> Result<&'h Table, Untaken> {
        let (schema, found) = match self.tables.find(self.path, topic) {
            Destination::Table(table, origin) => (&table.schema[..], Ok((table, origin))),
            Destination::Refused(schema, why) => (schema, Err(why)),
            Destination::Unknown => return Err(bad(code::receiver::UNKNOWN_TABLE, unknown_table(topic))),
        };
        if !self.reach.covers(schema) {
            return Err(Untaken::Request(Refusal::new(
                code::receiver::OTHER_SCHEMA,
                StatusCode::FORBIDDEN,
                format!(
                    "this access token is not for the schema {}, which the table of the topic {} is in: show one for it as \
                     well (ebb make-jwt …{})",
                    schema.join("."),
                    shown(topic),
                    allow_flags(&[self.path, schema])
                ),
            )));
        }
        let (table, origin) = found.map_err(|why| Untaken::Run(why.clone()))?;
        match self.origins.iter_mut().find(|(number, _)| *number == table.number) {
            Some((_, known)) => {
                *known = known.merged(&origin).ok_or_else(|| Untaken::Run(two_tables(known, &origin)))?;
            }
            None => self.origins.push((table.number, origin)),
        }
        Ok(table)
    }

    /// What is resolved is resolved for every table.
    fn check_whole_run(&self) -> Result<(), Untaken> {
        let schemas = self.tables.schemas();
        let Some(missing) = schemas.iter().find(|schema| !self.reach.covers(schema)) else { return Ok(()) };
        Err(Untaken::Request(Refusal::new(
            code::receiver::OTHER_SCHEMA,
            StatusCode::FORBIDDEN,
            format!(
                "this access token is not for the schema {}, and a resolved timestamp is about every schema that ebb writes \
                 to: show one for all of them (ebb make-jwt …{})",
                missing.join("."),
                allow_flags(&schemas)
            ),
        )))
    }

    fn check_time(&self, timestamp: Timestamp) -> Result<(), Untaken> {
        if timestamp <= latest(self.ahead_max) {
            return Ok(());
        }
        let shown = match self.ahead_max {
            AHEAD_MAX => "24 hours",
            _ => "5 minutes",
        };
        Err(bad(
            code::receiver::CLOCK,
            format!(
                "the timestamp {timestamp} is more than {shown} ahead of the clock of the machine that ebb runs on: set that \
             clock if it is behind (timedatectl); CockroachDB's own cannot be so far ahead of each other"
            ),
        ))
    }
}

/// Bytes that a batch holds.
pub(super) fn rows_bytes(rows: &RowBatch) -> usize {
    rows.bytes() + rows.len() * ROW_BYTES
}

/// The last timestamp that is believed now.
fn latest(ahead_max: Duration) -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + ahead_max;
    Timestamp { wall: i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX), logical: i32::MAX }
}

fn bad(code: Code, cause: String) -> Untaken {
    Untaken::Request(Refusal::new(code, StatusCode::BAD_REQUEST, cause))
}

fn shown(text: &str) -> String {
    shortened(text, SHOWN_CHARS_MAX)
}

/// The words of `why` may quote the row where it is no JSON, and the client keeps the answer.
fn flawed(topic: &str, key: &str, why: &columns::Flawed) -> Untaken {
    let why = match why {
        columns::Flawed::NotJson(error) => {
            format!("it is no JSON object (line {}, column {})", error.line(), error.column())
        }
        columns::Flawed::Twice(_) => why.to_string(),
    };
    let refusal = Refusal::new(MALFORMED, StatusCode::BAD_REQUEST, format!("a row of {}: {why}", shown(topic)));
    Untaken::Request(refusal.about(Some(shown(key))))
}

fn unreadable_key(topic: &str, key: &str, why: &Unreadable) -> Error {
    let (topic, key) = (shown(topic), shown(key));
    Error::new(code::table::KEY_UNREADABLE, format!("a row of {topic} came with a key {why}"))
        .hint(
            "give both sides the same primary key; where the source's has more columns, start with --sourceConn; after ALTER \
             PRIMARY KEY, start again with the same command",
        )
        .field("table", topic)
        .field("key", key)
}

fn unknown_table(topic: &str) -> String {
    format!(
        "table {} is not one that ebb applies: it is missing on the target, was added to the changefeed later, or is a column \
         family (create the changefeed without split_column_families)",
        shown(topic)
    )
}
