//! The plugin's side of the ABI: drives an author's [`Dialect`] from the calls of the host.
//!
//! Owns: the plugin's runtime, the catching of panics, the translation between ABI and plain types.
//! Does not own: layouts (`abi`). Objects of a session are made, used and dropped on one runtime.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use abi_stable::library::{__call_root_module_loader, CheckTypeLayout, LibHeader, RootModuleResult};
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RErr, RNone, ROk, ROption, RResult, RSome, RStr, RString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};

use crate::abi::{
    AbiBlock, AbiSession, Answer, CALL_ADVANCE_SEQUENCES, CALL_ANALYZE, CALL_COMPARED, CALL_COUNT, CALL_DROP_TRIGGERS,
    CALL_FITS, CALL_FREEZE, CALL_JOIN, CALL_KEYS, CALL_LEASE_STATE, CALL_LOOK, CALL_RENEW, CALL_RESTORE_TRIGGERS,
    CALL_ROUNDED, CALL_SAVED_TRIGGERS, CALL_SURVEY, CALL_THAW, CALL_TOUCH, CALL_WRITTEN, Done, LogSink,
    OPERATION_COMPARE, Plugin, PluginRef, SessionBox,
};
use crate::dialect::LOG;
use crate::{
    Advance, Block, Catalog, ColumnIndex, Compared, ConnectOptions, Dialect, Error, ErrorKind, Fit, FitQuestion, Join,
    Key, KeyPage, LeaseRenewal, Level, Operation, Result, SavedTrigger, SequenceMoves, Session, Survey, Table,
    TableIndex,
};

/// Makes a shared library of this crate loadable by ebb. Write it once, in a crate of type `cdylib`:
///
/// ```
/// # use ebb_sdk::{Advance, Block, Catalog, Checks, ConnectOptions, Dialect, DialectInfo, Progress, Result, Session};
/// # struct Connection;
/// # impl Session for Connection {
/// #     async fn describe(&mut self) -> Result<Catalog> { Ok(Catalog::default()) }
/// #     async fn take_over(&mut self, _: &str, _: i64) -> Result<Progress> { unreachable!() }
/// #     async fn progress(&mut self, _: &str) -> Result<Option<Progress>> { Ok(None) }
/// #     async fn begin(&mut self, _: Checks) -> Result<()> { Ok(()) }
/// #     async fn write(&mut self, _: Block<'_>) -> Result<()> { Ok(()) }
/// #     async fn commit(&mut self, _: &Advance) -> Result<()> { Ok(()) }
/// #     async fn rollback(&mut self) -> Result<()> { Ok(()) }
/// #     async fn close(self) {}
/// # }
/// struct MyDialect;
///
/// impl Dialect for MyDialect {
///     type Session = Connection;
///
///     fn info() -> DialectInfo {
///         DialectInfo { name: "mine".into(), url_schemes: vec!["mine".into()], version: "1.0.0".into() }
///     }
///
///     async fn connect(_options: &ConnectOptions) -> Result<Connection> {
///         Ok(Connection)
///     }
/// }
///
/// ebb_sdk::export_dialect!(MyDialect);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_dialect {
    ($dialect:ty) => {
        const _: () = {
            #[expect(unsafe_code, reason = "the host finds the plugin by this symbol")]
            #[unsafe(no_mangle)]
            extern "C" fn ebb_abi_version() -> u32 {
                $crate::abi::ABI_VERSION
            }

            #[expect(unsafe_code, reason = "the host finds the plugin by this symbol")]
            #[expect(non_upper_case_globals, reason = "a symbol, not a constant of Rust")]
            #[unsafe(no_mangle)]
            static ebb_plugin: $crate::export::Header = $crate::export::header::<$dialect>();
        };
    };
}

/// What the exported symbol [`crate::abi::HEADER_SYMBOL`] is.
pub type Header = LibHeader;

/// The header of a plugin that serves `D`.
pub const fn header<D: Dialect>() -> Header {
    // SAFETY: `erased` returns what `__call_root_module_loader` makes of a function that returns `PluginRef`.
    #[expect(unsafe_code, reason = "abi_stable cannot check that the constructor makes the module it claims")]
    unsafe {
        LibHeader::from_constructor::<PluginRef>(erased::<D>, CheckTypeLayout::Yes)
    }
}

extern "C" fn erased<D: Dialect>() -> RootModuleResult {
    __call_root_module_loader(root_module::<D>)
}

/// The module of a plugin that serves `D`, for a host that is linked with it. It is never freed.
pub fn root_module<D: Dialect>() -> PluginRef {
    Plugin { info: info::<D>, open, connect: connect::<D> }.leak_into_prefix()
}

extern "C" fn info<D: Dialect>() -> RString {
    // A panic here has no way back, so it becomes a name that no search will match.
    let info = catch_unwind(D::info).map(|info| encode(&info));
    RString::from(info.unwrap_or_else(|_| String::from("{}")))
}

extern "C" fn open(sink: LogSink) {
    // The host opens a plugin once; a second call would find the same function.
    let _ = LOG.set(Box::new(move |level: Level, message: &str| (sink.write)(level as u8, RStr::from_str(message))));
}

extern "C" fn connect<D: Dialect>(options: RStr<'_>) -> RResult<SessionBox, RString> {
    let connected = guarded(|| {
        let options: ConnectOptions = decode(options.as_str())?;
        crate::hide_values(options.hide_values);
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::new(ErrorKind::Broken, format!("cannot start the plugin's runtime: {error}")))?;
        let session = runtime.block_on(D::connect(&options))?;
        Ok(Exported { session: Some(session), runtime, catalog: Catalog::default(), compared: Compared::default() })
    });
    match connected {
        Ok(exported) => ROk(SessionBox::from_value(exported, TD_Opaque)),
        Err(error) => RErr(encode(&error).into()),
    }
}

/// A session together with the runtime it lives on.
struct Exported<S: Session> {
    /// `None` once closed.
    session: Option<S>,
    runtime: Runtime,
    /// What the session described last; blocks point into it.
    catalog: Catalog,
    /// Of the block that was compared last, until it is asked for.
    compared: Compared,
}

impl<S: Session> Exported<S> {
    fn run<T>(&mut self, work: impl AsyncFnOnce(&mut S) -> Result<T>) -> Result<T> {
        let closed = || Error::new(ErrorKind::Broken, "the host used a session after closing it");
        let session = self.session.as_mut().ok_or_else(closed)?;
        let runtime = &self.runtime;
        guarded(|| runtime.block_on(work(session)))
    }
}

impl<S: Session> Exported<S> {
    fn fits(&mut self, questions: &str) -> Result<Vec<Fit>> {
        let questions: Vec<FitQuestion> = decode(questions)?;
        self.run_with(async |session, catalog| {
            let fit = |question: &FitQuestion| {
                Ok(session.fits(described(catalog, question.table)?, question.column, &question.source))
            };
            questions.iter().map(fit).collect()
        })
    }
}

impl<S: Session> Exported<S> {
    fn survey(&mut self, tables: &str) -> Result<Survey> {
        let tables: Vec<TableIndex> = decode(tables)?;
        self.run_with(async |session, catalog| {
            let tables: Vec<&Table> = tables.iter().map(|&at| described(catalog, at)).collect::<Result<_>>()?;
            session.survey(&tables).await
        })
    }

    fn count(&mut self, table: &str) -> Result<u64> {
        let table: TableIndex = decode(table)?;
        self.run_with(async |session, catalog| session.count(described(catalog, table)?).await)
    }

    fn keys(&mut self, request: &str) -> Result<Vec<Key>> {
        let (table, page): (TableIndex, KeyPage) = decode(request)?;
        self.run_with(async |session, catalog| session.keys(described(catalog, table)?, &page).await)
    }

    fn look(&mut self, request: &str) -> Result<String> {
        let (table, key): (TableIndex, Key) = decode(request)?;
        self.run_with(async |session, catalog| Ok(session.look(described(catalog, table)?, &key)))
    }

    fn advance_sequences(&mut self, request: &str) -> Result<SequenceMoves> {
        let (tables, act): (Vec<TableIndex>, bool) = decode(request)?;
        self.run_with(async |session, catalog| {
            let tables: Vec<&Table> = tables.iter().map(|&at| described(catalog, at)).collect::<Result<_>>()?;
            session.advance_sequences(&tables, act).await
        })
    }

    fn written(&mut self, request: &str) -> Result<Vec<Option<String>>> {
        let tables: Vec<TableIndex> = decode(request)?;
        self.run_with(async |session, catalog| {
            let tables: Vec<&Table> = tables.iter().map(|&at| described(catalog, at)).collect::<Result<_>>()?;
            session.written(&tables).await
        })
    }

    fn analyze(&mut self, request: &str) -> Result<()> {
        let table: TableIndex = decode(request)?;
        self.run_with(async |session, catalog| session.analyze(described(catalog, table)?).await)
    }

    /// The catalog is lent to the work while the session is borrowed too.
    fn run_with<T>(&mut self, work: impl AsyncFnOnce(&mut S, &Catalog) -> Result<T>) -> Result<T> {
        let catalog = std::mem::take(&mut self.catalog);
        let done = self.run(async |session| work(session, &catalog).await);
        self.catalog = catalog;
        done
    }
}

impl<S: Session> AbiSession for Exported<S> {
    fn describe(&mut self) -> Answer {
        let described = self.run(async |session| session.describe().await);
        if let Ok(catalog) = &described {
            self.catalog = catalog.clone();
        }
        answer(described)
    }

    fn take_over(&mut self, feed: RStr<'_>, writer: i64) -> Answer {
        answer(self.run(async |session| session.take_over(feed.as_str(), writer).await))
    }

    fn progress(&mut self, feed: RStr<'_>) -> Answer {
        answer(self.run(async |session| session.progress(feed.as_str()).await))
    }

    fn begin(&mut self, checks: RStr<'_>) -> Done {
        done(self.run(async |session| session.begin(decode(checks.as_str())?).await))
    }

    fn write(&mut self, block: AbiBlock<'_>) -> Done {
        // The catalog is lent to the block while the session is borrowed too.
        let catalog = std::mem::take(&mut self.catalog);
        let columns: Vec<ColumnIndex> = block.columns.iter().copied().map(ColumnIndex).collect();
        let done_with = match block.operation {
            OPERATION_COMPARE => self.run(async |session| {
                let block = AbiBlock { operation: Operation::Upsert as u8, ..block };
                session.compare(resolve(&catalog, &block, &columns)?).await.map(Some)
            }),
            _ => self.run(async |session| session.write(resolve(&catalog, &block, &columns)?).await.map(|()| None)),
        };
        self.catalog = catalog;
        done(done_with.map(|compared| self.compared = compared.unwrap_or_default()))
    }

    fn commit(&mut self, advance: RStr<'_>) -> Done {
        done(self.run(async |session| {
            let advance: Advance = decode(advance.as_str())?;
            session.commit(&advance).await
        }))
    }

    fn rollback(&mut self) -> Done {
        done(self.run(async |session| session.rollback().await))
    }

    fn close(&mut self) {
        if let Some(session) = self.session.take() {
            // The connection ends either way; a panic while closing it changes nothing for the host.
            let _ = catch_unwind(AssertUnwindSafe(|| self.runtime.block_on(session.close())));
        }
    }

    fn call(&mut self, id: RStr<'_>, request: RStr<'_>) -> ROption<Answer> {
        let request = request.as_str();
        match id.as_str() {
            CALL_FITS => RSome(answer(self.fits(request))),
            CALL_ROUNDED => RSome(answer(self.run(async |session| Ok(session.rounded())))),
            CALL_TOUCH => RSome(answer(self.run(async |session| session.touch().await))),
            CALL_RENEW => RSome(answer(self.run(async |session| {
                let lease: LeaseRenewal = decode(request)?;
                session.renew(&lease).await
            }))),
            CALL_LEASE_STATE => RSome(answer(self.run(async |session| {
                let feed: String = decode(request)?;
                session.lease_state(&feed).await
            }))),
            CALL_SURVEY => RSome(answer(self.survey(request))),
            CALL_COMPARED => RSome(answer(Ok(std::mem::take(&mut self.compared)))),
            CALL_FREEZE => RSome(answer(self.run(async |session| {
                let feed: String = decode(request)?;
                session.freeze(&feed).await
            }))),
            CALL_JOIN => RSome(answer(self.run(async |session| {
                let join: Join = decode(request)?;
                session.join(&join).await
            }))),
            CALL_THAW => RSome(answer(self.run(async |session| session.thaw().await))),
            CALL_COUNT => RSome(answer(self.count(request))),
            CALL_KEYS => RSome(answer(self.keys(request))),
            CALL_LOOK => RSome(answer(self.look(request))),
            CALL_ADVANCE_SEQUENCES => RSome(answer(self.advance_sequences(request))),
            CALL_WRITTEN => RSome(answer(self.written(request))),
            CALL_ANALYZE => RSome(answer(self.analyze(request))),
            CALL_DROP_TRIGGERS => RSome(answer(self.run(async |session| {
                let triggers: Vec<SavedTrigger> = decode(request)?;
                session.drop_triggers(&triggers).await
            }))),
            CALL_SAVED_TRIGGERS => RSome(answer(self.run(async |session| {
                let feed: String = decode(request)?;
                session.saved_triggers(&feed).await
            }))),
            CALL_RESTORE_TRIGGERS => RSome(answer(self.run(async |session| {
                let (feed, saved): (String, Vec<SavedTrigger>) = decode(request)?;
                session.restore_triggers(&feed, &saved).await
            }))),
            _ => RNone,
        }
    }
}

impl<S: Session> Drop for Exported<S> {
    fn drop(&mut self) {
        // Sockets and timers of the session are deregistered from the runtime that they belong to.
        let _guard = self.runtime.enter();
        drop(self.session.take());
    }
}

fn described(catalog: &Catalog, table: TableIndex) -> Result<&Table> {
    catalog.tables.get(table.place()).ok_or_else(|| undescribed(table))
}

fn undescribed(table: TableIndex) -> Error {
    Error::new(ErrorKind::Broken, format!("the host names table {table}, which was not described"))
}

fn resolve<'a>(catalog: &'a Catalog, block: &AbiBlock<'a>, columns: &'a [ColumnIndex]) -> Result<Block<'a>> {
    let table = catalog.tables.get(block.table as usize).ok_or_else(|| undescribed(TableIndex(block.table)))?;
    let operation = Operation::of(block.operation).ok_or_else(|| {
        Error::new(ErrorKind::Broken, format!("the host asks for operation {}, which is not known", block.operation))
            .hint("the plugin was built with an older ebb-sdk than the host's")
    })?;
    Ok(Block::new(table, operation, columns, block.cells.as_slice(), block.text.as_str()))
}

/// A panic must not cross the boundary: it would abort the host. It becomes an error of the plugin.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = format!("the plugin panicked: {}", panic_text(panic.as_ref()));
        Err(Error::new(ErrorKind::Broken, message).hint("report this to the author of the plugin"))
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

fn answer<T: Serialize>(result: Result<T>) -> Answer {
    match result {
        Ok(value) => ROk(encode(&value).into()),
        Err(error) => RErr(encode(&error).into()),
    }
}

fn done(result: Result<()>) -> Done {
    match result {
        Ok(()) => ROk(()),
        Err(error) => RErr(encode(&error).into()),
    }
}

fn encode<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("the sdk's own types have string keys and no failing serializer")
}

fn decode<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| Error::new(ErrorKind::Broken, format!("the host sent a message of another shape: {error}")))
}
