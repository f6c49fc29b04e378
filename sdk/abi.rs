//! The stable ABI, version 2: what crosses between the host and the shared library of a plugin.
//!
//! Owns: the layouts. Rows cross as borrowed slices; everything rare (catalogs, options, progress, errors) crosses as
//! JSON text, so that its shape can grow without a new ABI. Does not own: any behaviour.
//!
//! This surface is frozen. It grows by [`AbiSession::call`] with a new `id`, never by a method or a field.

#![expect(unsafe_code, reason = "abi_stable's derives write the unsafe impls that declare these layouts")]
#![allow(non_local_definitions, unused_qualifications, elided_lifetimes_in_paths, reason = "code of the macros")]

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::sabi_trait;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RBox, ROption, RResult, RSlice, RStr, RString};

/// The version of this ABI. A host loads a plugin of the same major version; see [`VERSION_SYMBOL`].
pub const ABI_VERSION: u32 = 2;

/// The symbol that returns the plugin's [`ABI_VERSION`]. It is read before anything else, so that a plugin of
/// another version gets one sentence and not a page of layouts.
pub const VERSION_SYMBOL: &str = "ebb_abi_version";

/// The symbol of the `abi_stable` header, from which the root module comes.
pub const HEADER_SYMBOL: &str = "ebb_plugin";

/// One value of a block: where its text stands in the block's text, in bytes, and its JSON type
/// ([`crate::Kind`] as a number).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, StableAbi)]
pub struct Cell {
    /// The first byte of the text.
    pub start: u32,
    /// How many bytes the text has.
    pub len: u32,
    /// [`crate::Kind`] as a number.
    pub kind: u8,
}

/// Rows of one table and operation, borrowed for the length of the call.
#[repr(C)]
#[derive(Clone, Copy, StableAbi)]
pub struct AbiBlock<'a> {
    /// Position in the catalog that the session described last.
    pub table: u32,
    /// [`crate::Operation`] as a number.
    pub operation: u8,
    /// Positions of the columns in the table, in the order of a row's cells.
    pub columns: RSlice<'a, u32>,
    /// Whole rows, one behind the other.
    pub cells: RSlice<'a, Cell>,
    /// What the cells point into, UTF-8.
    pub text: RStr<'a>,
}

/// JSON text of the answer, or of a [`crate::Error`].
pub type Answer = RResult<RString, RString>;
/// Nothing, or the JSON text of a [`crate::Error`].
pub type Done = RResult<(), RString>;

/// One connection. The methods are those of [`crate::Session`].
#[sabi_trait]
pub trait AbiSession: Send {
    /// JSON of a [`crate::Catalog`].
    fn describe(&mut self) -> Answer;
    /// JSON of a [`crate::Progress`].
    fn take_over(&mut self, feed: RStr<'_>, writer: i64) -> Answer;
    /// JSON of an optional [`crate::Progress`].
    fn progress(&mut self, feed: RStr<'_>) -> Answer;
    /// `checks` is the JSON of [`crate::Checks`].
    fn begin(&mut self, checks: RStr<'_>) -> Done;
    /// `block` is lent for the length of the call.
    fn write(&mut self, block: AbiBlock<'_>) -> Done;
    /// `advance` is the JSON of a [`crate::Advance`].
    fn commit(&mut self, advance: RStr<'_>) -> Done;
    /// Ends the transaction without effect.
    fn rollback(&mut self) -> Done;
    /// Ends the connection; nothing is called afterwards.
    fn close(&mut self);
    /// Whatever later versions add, by name: JSON in, JSON out, nothing when the plugin does not know `id`.
    #[sabi(last_prefix_field)]
    fn call(&mut self, id: RStr<'_>, request: RStr<'_>) -> ROption<Answer>;
}

/// [`AbiSession::call`]: JSON of a list of [`crate::FitQuestion`], answered with a list of [`crate::Fit`].
pub const CALL_FITS: &str = "fits";
/// [`AbiSession::call`]: an empty text, answered with JSON of a list of [`crate::Rounded`].
pub const CALL_ROUNDED: &str = "rounded";
/// [`AbiSession::call`]: an empty text, answered with `null`.
pub const CALL_TOUCH: &str = "touch";
/// [`AbiSession::call`]: JSON of a [`crate::LeaseRenewal`], answered with `null`.
pub const CALL_RENEW: &str = "renew";
/// [`AbiSession::call`]: JSON of a feed's name, answered with JSON of an optional [`crate::LeaseState`].
pub const CALL_LEASE_STATE: &str = "held";
/// [`AbiSession::call`]: JSON of a list of [`crate::SavedTrigger`], answered with `null`.
pub const CALL_DROP_TRIGGERS: &str = "drop_triggers";
/// [`AbiSession::call`]: JSON of a feed's name, answered with JSON of a list of [`crate::SavedTrigger`].
pub const CALL_SAVED_TRIGGERS: &str = "saved_triggers";
/// [`AbiSession::call`]: JSON of a feed's name and a list of [`crate::SavedTrigger`], answered with such a list.
pub const CALL_RESTORE_TRIGGERS: &str = "restore_triggers";

/// [`AbiSession::call`]: JSON of a list of [`crate::TableIndex`], answered with JSON of a [`crate::Survey`].
pub const CALL_SURVEY: &str = "survey";

/// [`AbiBlock::operation`] of rows that are compared with [`crate::Session::compare`], and not written.
pub const OPERATION_COMPARE: u8 = 128;
/// [`AbiSession::call`]: an empty text, answered with JSON of the [`crate::Compared`] of the block that was given last.
pub const CALL_COMPARED: &str = "compared";
/// [`AbiSession::call`]: JSON of a feed's name, answered with JSON of a [`crate::Frozen`].
pub const CALL_FREEZE: &str = "freeze";
/// [`AbiSession::call`]: JSON of a [`crate::Join`], answered with JSON of a [`crate::Progress`].
pub const CALL_JOIN: &str = "join";
/// [`AbiSession::call`]: an empty text, answered with `null`.
pub const CALL_THAW: &str = "thaw";
/// [`AbiSession::call`]: JSON of a [`crate::TableIndex`], answered with a number.
pub const CALL_COUNT: &str = "count";
/// [`AbiSession::call`]: JSON of a [`crate::TableIndex`] and a [`crate::KeyPage`], answered with a list of [`crate::Key`].
pub const CALL_KEYS: &str = "keys";
/// [`AbiSession::call`]: JSON of a [`crate::TableIndex`] and a [`crate::Key`], answered with a text.
pub const CALL_LOOK: &str = "look";

/// [`AbiSession::call`]: JSON of a list of [`crate::TableIndex`] and whether to act, answered with JSON of
/// [`crate::SequenceMoves`].
pub const CALL_ADVANCE_SEQUENCES: &str = "advance_sequences";
/// [`AbiSession::call`]: JSON of a [`crate::TableIndex`], answered with `null`.
pub const CALL_ANALYZE: &str = "analyze";

/// [`AbiSession::call`]: JSON of a list of [`crate::TableIndex`], answered with a list of optional texts.
pub const CALL_WRITTEN: &str = "written";

/// A session behind a pointer, as it crosses the ABI.
pub type SessionBox = AbiSession_TO<'static, RBox<()>>;

/// The host's log.
#[repr(C)]
#[derive(Clone, Copy, StableAbi)]
pub struct LogSink {
    /// Takes the level ([`crate::Level`] as a number) and the message.
    pub write: extern "C" fn(level: u8, message: RStr<'_>),
}

/// The root module of a plugin.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRef)))]
#[sabi(missing_field(panic))]
pub struct Plugin {
    /// JSON of a [`crate::DialectInfo`].
    pub info: extern "C" fn() -> RString,
    /// Called once, before any other use.
    pub open: extern "C" fn(LogSink),
    /// `options` is the JSON of [`crate::ConnectOptions`].
    #[sabi(last_prefix_field)]
    pub connect: extern "C" fn(options: RStr<'_>) -> RResult<SessionBox, RString>,
}

impl RootModule for PluginRef {
    abi_stable::declare_root_module_statics! {PluginRef}

    const BASE_NAME: &'static str = "ebb_plugin";
    const NAME: &'static str = "ebb_plugin";
    const VERSION_STRINGS: VersionStrings = VersionStrings::new("1.0.0");
}
