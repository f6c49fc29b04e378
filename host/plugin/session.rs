//! A target session as the host sees it: plain types in, plain types out. Every call blocks until the plugin is done.
//!
//! Owns: the translation to the ABI. Does not own: threads; each session is used by the one thread that owns it.

use std::time::{Duration, Instant};

use abi_stable::std_types::{RResult, RSlice, RStr, RString};
use ebb_sdk::abi::{
    AbiBlock, CALL_ADVANCE_SEQUENCES, CALL_ANALYZE, CALL_COMPARED, CALL_COUNT, CALL_DROP_TRIGGERS, CALL_FITS,
    CALL_FREEZE, CALL_JOIN, CALL_KEYS, CALL_LEASE_STATE, CALL_LOOK, CALL_RENEW, CALL_RESTORE_TRIGGERS, CALL_ROUNDED,
    CALL_SAVED_TRIGGERS, CALL_SURVEY, CALL_THAW, CALL_TOUCH, CALL_WRITTEN, OPERATION_COMPARE, SessionBox,
};
use ebb_sdk::{
    Advance, Catalog, Checks, ColumnIndex, Compared, Error, ErrorKind, Fit, FitQuestion, Frozen, Join, Key, KeyPage,
    LeaseRenewal, LeaseState, Operation, Progress, Result, Rounded, RowBuffer, SavedTrigger, SequenceMoves, Survey,
    TableIndex,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Applied;

/// How long a transaction may be silent while it is read for.
const TOUCH_INTERVAL: Duration = Duration::from_secs(2);

/// One connection to the target, through the plugin.
pub struct Session {
    inner: SessionBox,
    /// Where tables stand in the catalog that it described last; empty when they stand where the caller has them.
    positions: Vec<TableIndex>,
    /// A transaction has begun, and neither its end nor that of the session has come.
    is_open: bool,
    /// When the target was last spoken to inside a transaction.
    last_call: Instant,
}

impl Session {
    pub(super) fn new(inner: SessionBox) -> Self {
        Self { inner, positions: Vec::new(), is_open: false, last_call: Instant::now() }
    }

    pub fn describe(&mut self) -> Result<Catalog> {
        answer(self.inner.describe())
    }

    pub fn take_over(&mut self, feed: &str, writer: i64) -> Result<Progress> {
        answer(self.inner.take_over(RStr::from_str(feed), writer))
    }

    pub fn progress(&mut self, feed: &str) -> Result<Option<Progress>> {
        answer(self.inner.progress(RStr::from_str(feed)))
    }

    /// See [`ebb_sdk::Session::renew`]; an older plugin notes nothing.
    pub fn renew(&mut self, lease: &LeaseRenewal) -> Result<()> {
        self.call::<()>(CALL_RENEW, lease).map(drop)
    }

    /// What was noted last; `None` too when the plugin keeps no leases.
    pub fn lease_state(&mut self, feed: &str) -> Result<Option<LeaseState>> {
        Ok(self.call::<Option<LeaseState>>(CALL_LEASE_STATE, &feed)?.flatten())
    }

    /// # Errors
    /// Also while a transaction is open: what it has written would be committed with another one.
    pub fn begin(&mut self, checks: Checks) -> Result<()> {
        if self.is_open {
            return Err(Error::new(ErrorKind::Broken, "a transaction is to begin inside another one"));
        }
        done(self.inner.begin(RStr::from_str(&encode(&checks)?)))?;
        self.is_open = true;
        Ok(())
    }

    /// Sets where the caller's tables stand in the catalog that this session described last.
    pub fn place_tables(&mut self, positions: Vec<TableIndex>) {
        self.positions = positions;
    }

    /// `table` and `columns` are positions in the catalog that this session described last, or the caller's own behind
    /// [`Session::place_tables`].
    pub fn write(
        &mut self,
        table: TableIndex,
        operation: Operation,
        columns: &[ColumnIndex],
        rows: &RowBuffer,
    ) -> Result<()> {
        self.send(table, operation as u8, columns, rows)
    }

    fn send(&mut self, table: TableIndex, operation: u8, columns: &[ColumnIndex], rows: &RowBuffer) -> Result<()> {
        let table = self.positions.get(table.place()).copied().unwrap_or(table);
        let columns: Vec<u32> = columns.iter().map(|column| column.0).collect();
        self.last_call = Instant::now();
        done(self.inner.write(AbiBlock {
            table: table.0,
            operation,
            columns: RSlice::from_slice(&columns),
            cells: RSlice::from_slice(rows.cells()),
            text: RStr::from_str(rows.text()),
        }))
    }

    /// To be called while much is read between two writes: plugins limit how long a transaction may be idle.
    pub fn keep_alive(&mut self) -> Result<()> {
        if self.last_call.elapsed() < TOUCH_INTERVAL {
            return Ok(());
        }
        self.last_call = Instant::now();
        self.call::<()>(CALL_TOUCH, &()).map(drop)
    }

    /// Whether columns take values of types of the source; an older plugin does not say.
    pub fn fits(&mut self, questions: &[FitQuestion]) -> Result<Option<Vec<Fit>>> {
        self.call(CALL_FITS, &questions)
    }

    /// Values that lost digits, since the last call; an older plugin does not count them.
    pub fn rounded(&mut self) -> Result<Vec<Rounded>> {
        Ok(self.call(CALL_ROUNDED, &())?.unwrap_or_default())
    }

    /// What will matter later, of tables by their positions; an older plugin does not look.
    pub fn survey(&mut self, tables: &[TableIndex]) -> Result<Option<Survey>> {
        self.call(CALL_SURVEY, &tables)
    }

    /// Notes the target as it is now. See [`ebb_sdk::Session::freeze`].
    pub fn freeze(&mut self, feed: &str) -> Result<Frozen> {
        self.call(CALL_FREEZE, &feed)?.ok_or_else(no_comparison)
    }

    /// Reads what another session has frozen, until [`Session::rollback`].
    pub fn join(&mut self, join: &Join) -> Result<Progress> {
        self.call(CALL_JOIN, join)?.ok_or_else(no_comparison)
    }

    /// Lets writers go on.
    pub fn thaw(&mut self) -> Result<()> {
        self.call::<()>(CALL_THAW, &())?.ok_or_else(no_comparison)
    }

    pub fn count(&mut self, table: TableIndex) -> Result<u64> {
        self.call(CALL_COUNT, &table)?.ok_or_else(no_comparison)
    }

    /// Which rows of a block are not there, or are others. See [`ebb_sdk::Session::compare`].
    pub fn compare(&mut self, table: TableIndex, columns: &[ColumnIndex], rows: &RowBuffer) -> Result<Compared> {
        self.send(table, OPERATION_COMPARE, columns, rows)?;
        self.call(CALL_COMPARED, &())?.ok_or_else(no_comparison)
    }

    pub fn keys(&mut self, table: TableIndex, page: &KeyPage) -> Result<Vec<Key>> {
        self.call(CALL_KEYS, &(table, page))?.ok_or_else(no_comparison)
    }

    /// The statement that shows a person one row.
    pub fn look(&mut self, table: TableIndex, key: &Key) -> Result<String> {
        self.call(CALL_LOOK, &(table, key))?.ok_or_else(no_comparison)
    }

    /// Moves sequences that are behind, or says only what it would move. An older plugin cannot, and says nothing.
    pub fn advance_sequences(&mut self, tables: &[TableIndex], act: bool) -> Result<Option<SequenceMoves>> {
        self.call(CALL_ADVANCE_SEQUENCES, &(tables, act))
    }

    /// A mark for each table that changes once anybody writes to it, where the target tells. An older plugin does not.
    pub fn written(&mut self, tables: &[TableIndex]) -> Result<Vec<Option<String>>> {
        let marks: Option<Vec<Option<String>>> = self.call(CALL_WRITTEN, &tables)?;
        Ok(marks.unwrap_or_else(|| vec![None; tables.len()]))
    }

    /// Has the planner look at a table; an older plugin cannot.
    pub fn analyze(&mut self, table: TableIndex) -> Result<Option<()>> {
        self.call(CALL_ANALYZE, &table)
    }

    /// Drops triggers, with their definitions saved in the target.
    pub fn drop_triggers(&mut self, triggers: &[SavedTrigger]) -> Result<()> {
        self.call(CALL_DROP_TRIGGERS, &triggers)?.ok_or_else(no_triggers)
    }

    /// What the target has saved for a feed. An older plugin, which would run it unseen, is not used.
    pub fn saved_triggers(&mut self, feed: &str) -> Result<Vec<SavedTrigger>> {
        self.call(CALL_SAVED_TRIGGERS, &feed)?.ok_or_else(no_triggers)
    }

    /// Puts back those given, and nothing else.
    pub fn restore_triggers(&mut self, feed: &str, saved: &[SavedTrigger]) -> Result<Vec<SavedTrigger>> {
        self.call(CALL_RESTORE_TRIGGERS, &(feed, saved))?.ok_or_else(no_triggers)
    }

    /// The proof is of the commit that the target has confirmed, and of all before it.
    pub fn commit(&mut self, advance: &Advance) -> Result<Applied> {
        let text = encode(advance)?;
        done(self.inner.commit(RStr::from_str(&text)))?;
        self.is_open = false;
        Ok(Applied::committed(advance.to))
    }

    pub fn rollback(&mut self) -> Result<()> {
        done(self.inner.rollback())?;
        self.is_open = false;
        Ok(())
    }

    pub fn close(&mut self) {
        self.is_open = false;
        self.inner.close();
    }

    /// `None` when the plugin does not know the question.
    fn call<T: DeserializeOwned>(&mut self, id: &str, request: &impl Serialize) -> Result<Option<T>> {
        let request = encode(request)?;
        self.inner.call(RStr::from_str(id), RStr::from_str(&request)).into_option().map(answer).transpose()
    }
}

fn no_comparison() -> Error {
    Error::new(ErrorKind::Config, "the plugin cannot compare rows")
        .hint("use a plugin that was built with a newer ebb-sdk")
}

fn no_triggers() -> Error {
    Error::new(ErrorKind::Config, "the plugin cannot drop triggers and put them back")
        .hint("drop them by hand, or use a plugin that was built with a newer ebb-sdk")
}

pub(super) fn encode<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::new(ErrorKind::Broken, format!("cannot be encoded: {error}")))
}

pub(super) fn error_from(text: &RString) -> Error {
    serde_json::from_str(text).unwrap_or_else(|error| {
        Error::new(ErrorKind::Broken, format!("the plugin sent an error of another shape ({error})"))
    })
}

fn answer<T: DeserializeOwned>(result: RResult<RString, RString>) -> Result<T> {
    match result.into_result() {
        Ok(text) => serde_json::from_str(&text).map_err(|error| {
            Error::new(ErrorKind::Broken, format!("the plugin sent an answer of another shape: {error}"))
        }),
        Err(text) => Err(error_from(&text)),
    }
}

fn done(result: RResult<(), RString>) -> Result<()> {
    result.into_result().map_err(|text| error_from(&text))
}
