//! One process: the real store and the real applier, connected to the target of a seed.
//!
//! Owns: putting them together, and what dies in a crash. Does not own: what they do next (`world`).

use std::path::Path;
use std::sync::{Arc, LazyLock};

use ebb::apply::{Applier, Pace, TablePlans};
use ebb::config;
use ebb::plugin::Plugin;
use ebb::stage::{Backlog, RunState, Steps};
use ebb::status::Status;
use ebb::tables::{KeyShape, KeyWatch, SourceKey};
use ebb::tables::{Table, Tables};
use ebb::target::{FeedState, Holder, Lease, Target};
use ebb_sdk::{ConnectOptions, TableIndex, Timestamp};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::source::{TABLES, table_id};
use crate::target::{self, Sim};

static PLUGIN: LazyLock<Arc<Plugin>> = LazyLock::new(|| Arc::new(Plugin::linked::<Sim>()));
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime"));

/// What is open of the folder.
pub(crate) struct Staging {
    pub steps: Steps,
    pub backlog: Backlog,
    pub run_state: RunState,
}

pub(crate) struct Process {
    pub staging: Staging,
    pub applier: Applier,
    pub lease: Lease,
    /// Nothing is read any more once it is gone.
    _stop: watch::Sender<bool>,
}

/// Why a start came to nothing.
pub(crate) enum Refusal {
    /// Rows that were acknowledged since are not in this folder.
    OlderCopy,
    /// The target is of a backup of before this folder was begun.
    OlderTarget,
    /// The folder could not be read or written.
    Disk,
}

impl Process {
    /// Takes the feed over as a start does, as often as it takes.
    pub(crate) fn start(staging: Staging, seed: u64, settings: config::Apply) -> Result<Self, Refusal> {
        let (catalog, tables) = (Arc::new(target::catalog()), Arc::new(tables()));
        let Staging { backlog, run_state, .. } = &staging;
        let connect = ConnectOptions {
            url: format!("sim://{seed}"),
            allow_insecure: true,
            apply_timeout_ms: 1000,
            allow_rounding: Vec::new(),
            source_is_known: false,
            hide_values: false,
        };
        let keys = KeyWatch::without_source(Arc::clone(&catalog), Arc::clone(&tables), run_state.clone());
        let (stop, stopped) = watch::channel(false);
        let rows_max = settings.transaction_rows_max;
        let applier = Applier {
            target: Target { plugin: Arc::clone(&PLUGIN), connect },
            settings,
            case_sensitive: true,
            holder: Holder::new(run_state.clone(), "sim", Path::new("."), false),
            plans: TablePlans::of(&catalog),
            catalog,
            tables,
            keys: Arc::new(keys),
            backlog: backlog.clone(),
            resolved: watch::channel(Timestamp::ZERO).1,
            status: Arc::new(Status::default()),
            pace: Arc::new(Pace::new(rows_max)),
            hangups: watch::channel(0).1,
            stop: stopped,
            runtime: RUNTIME.handle().clone(),
        };
        let holder = &applier.holder;
        let refused = |error: ebb::error::Error| match error.message.as_str() {
            text if text.contains("is not the one that the feed") => Refusal::OlderCopy,
            text if text.contains("does not know this staging folder") => Refusal::OlderTarget,
            _ => Refusal::Disk,
        };
        let lease = loop {
            let looked = applier.target.plugin.connect(&applier.target.connect).and_then(|mut session| {
                session.describe()?;
                let found = FeedState::of(&mut session, holder.feed())?;
                Ok((session, found))
            });
            let Ok((session, found)) = looked else { continue };
            holder.admit(&found).map_err(refused)?;
            let writer = holder.begin(&found).map_err(refused)?;
            let Ok(lease) = holder.take(session, writer) else { continue };
            holder.confirm(lease.progress()).map_err(refused)?;
            break lease;
        };
        Ok(Self { staging, applier, lease, _stop: stop })
    }
}

fn tables() -> Tables {
    let mut tables = Tables::default();
    for at in 0..TABLES {
        let columns = vec!["id".to_owned()];
        let shapes = vec![KeyShape { since: Timestamp::ZERO, columns: columns.clone(), families: Vec::new() }];
        let key = Arc::new(SourceKey::new(columns, true, shapes));
        let table = Table { number: table_id(at), position: TableIndex(at), key, ..Table::default() };
        tables.add(&["sim".into()], &[format!("t{at}")], true, table);
    }
    tables
}
