//! A target in memory, behind the real plugin interface: it deadlocks, loses connections before and after COMMIT, and
//! compares itself with the source at every commit.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use ebb_sdk::{
    Advance, Block, Catalog, Checks, Column, ColumnIndex, ConnectOptions, Dialect, DialectInfo, Error, ErrorKind,
    Operation, Progress, Result, Session, Table, Timestamp, Value,
};
use fastrand::Rng;

use crate::source::{LEFT, Rows, Source, TABLES};

/// By seed, which stands in the URL.
static DATABASES: LazyLock<Mutex<HashMap<u64, Arc<Mutex<Database>>>>> = LazyLock::new(Mutex::default);

pub(crate) struct Database {
    pub rows: Rows,
    pub progress: Progress,
    pub source: Source,
    /// Up to here the rows of one table are replicated, while it is left out.
    pub left: Option<Timestamp>,
    /// As of this time it was loaded last.
    pub loaded: Timestamp,
    /// Of a hundred calls so many fail.
    pub faults: u8,
    pub commits: u64,
    pub retried: u64,
    pub unknown_outcomes: u64,
    rng: Rng,
}

impl Database {
    /// Whether the target is the source at its progress, and of the table that is left out, at the time of that.
    pub(crate) fn check(&self) {
        let at = self.progress.applied;
        let rest = |rows: &Rows, is_left: bool| -> Rows {
            rows.iter()
                .filter(|((table, _), _)| (*table == LEFT) == is_left)
                .map(|(&row, &value)| (row, value))
                .collect()
        };
        let expected = rest(&self.source.state_at(at), false);
        assert_eq!(rest(&self.rows, false), expected, "the target at {at} is not the source");
        let at = self.left.map_or(at, |left| at.min(left));
        // What came between the progress and the load may be written once more.
        if at >= self.loaded {
            let expected = self.source.table_at(LEFT, at);
            assert_eq!(rest(&self.rows, true), expected, "table {LEFT} at {at} is not the source's");
        }
    }

    pub(crate) fn backup(&self) -> Backup {
        Backup { rows: self.rows.clone(), progress: self.progress }
    }

    pub(crate) fn restore(&mut self, backup: Backup) {
        (self.rows, self.progress) = (backup.rows, backup.progress);
    }
}

/// What a backup of the target holds.
pub(crate) struct Backup {
    rows: Rows,
    progress: Progress,
}

/// Makes the database that `sim://seed` connects to.
pub(crate) fn create(seed: u64) -> Arc<Mutex<Database>> {
    let database = Arc::new(Mutex::new(Database {
        rows: Rows::new(),
        progress: Progress { applied: Timestamp::ZERO, epoch: 0, writer: 0 },
        source: Source::default(),
        left: None,
        loaded: Timestamp::ZERO,
        faults: 0,
        commits: 0,
        retried: 0,
        unknown_outcomes: 0,
        rng: Rng::with_seed(seed),
    }));
    DATABASES.lock().expect("no panic holds it").insert(seed, Arc::clone(&database));
    database
}

pub(crate) fn forget(seed: u64) {
    DATABASES.lock().expect("no panic holds it").remove(&seed);
}

pub(crate) fn catalog() -> Catalog {
    let column = |name: &str| Column { name: name.into(), ..Column::default() };
    let table = |number: u32| Table {
        namespace: vec!["sim".into()],
        name: format!("t{number}"),
        columns: vec![column("id"), column("v")],
        primary_key: vec![ColumnIndex(0)],
        ..Table::default()
    };
    Catalog { namespace: vec!["sim".into()], tables: (0..TABLES).map(table).collect(), ..Catalog::default() }
}

pub(crate) struct Sim;

impl Dialect for Sim {
    type Session = Connection;

    fn info() -> DialectInfo {
        DialectInfo { name: "sim".into(), url_schemes: vec!["sim".into()], version: "1.0.0".into() }
    }

    async fn connect(options: &ConnectOptions) -> Result<Connection> {
        let seed: u64 = options.url.trim_start_matches("sim://").parse().expect("the URL is a seed");
        let database = Arc::clone(&DATABASES.lock().expect("no panic holds it")[&seed]);
        let mut connection = Connection { database, open: None, is_lost: false };
        connection.may_fail("connect")?;
        Ok(connection)
    }
}

type Changes = Vec<((u32, u32), Option<u64>)>;

pub(crate) struct Connection {
    database: Arc<Mutex<Database>>,
    /// What the open transaction has changed; no value for a deleted row.
    open: Option<Changes>,
    is_lost: bool,
}

impl Connection {
    fn database(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn may_fail(&mut self, doing: &str) -> Result<()> {
        if self.is_lost {
            return Err(Error::new(ErrorKind::Retry, format!("cannot {doing}: the connection is lost")));
        }
        let mut database = self.database();
        let (faults, dice) = (database.faults, database.rng.u8(0..100));
        if dice >= faults {
            return Ok(());
        }
        database.retried += 1;
        let is_lost = database.rng.bool();
        drop(database);
        self.is_lost = is_lost;
        self.open = None;
        Err(Error::new(
            ErrorKind::Retry,
            format!("cannot {doing}: {}", if is_lost { "connection lost" } else { "deadlock" }),
        ))
    }
}

impl Session for Connection {
    async fn describe(&mut self) -> Result<Catalog> {
        self.may_fail("describe")?;
        Ok(catalog())
    }

    async fn take_over(&mut self, _: &str, writer: i64) -> Result<Progress> {
        let mut database = self.database();
        database.progress.epoch += 1;
        database.progress.writer = writer;
        Ok(database.progress)
    }

    async fn progress(&mut self, _: &str) -> Result<Option<Progress>> {
        self.may_fail("read the progress row")?;
        Ok(Some(self.database().progress))
    }

    async fn begin(&mut self, _: Checks) -> Result<()> {
        self.may_fail("begin")?;
        assert!(self.open.is_none(), "the host begins a transaction inside another");
        self.open = Some(Vec::new());
        Ok(())
    }

    async fn write(&mut self, block: Block<'_>) -> Result<()> {
        self.may_fail("write")?;
        let table: u32 = block.table().name[1..].parse().expect("tables have numbers");
        let number = |row, column| match block.value(row, column) {
            Value::Number(text) => text.parse().expect("a whole number"),
            other => panic!("{other:?} is not a number"),
        };
        let open = self.open.as_mut().expect("the host begins before it writes");
        let mut keys = Vec::new();
        for row in 0..block.rows() {
            let key = u32::try_from(number(row, 0)).expect("keys are small");
            assert!(!keys.contains(&key), "a key stands twice in one block");
            keys.push(key);
            let value = (block.operation() == Operation::Upsert).then(|| number(row, 1));
            open.push(((table, key), value));
        }
        Ok(())
    }

    async fn commit(&mut self, advance: &Advance) -> Result<()> {
        self.may_fail("commit")?;
        let changes = self.open.take().expect("the host begins before it commits");
        let mut database = self.database();
        if (database.progress.applied, database.progress.epoch) != (advance.from, advance.epoch) {
            return Err(Error::new(ErrorKind::Broken, "another ebb has taken over"));
        }
        for (row, value) in changes {
            match value {
                Some(value) => drop(database.rows.insert(row, value)),
                None => drop(database.rows.remove(&row)),
            }
        }
        database.progress.applied = advance.to;
        database.commits += 1;
        database.check();
        let (faults, dice) = (database.faults, database.rng.u8(0..100));
        if dice < faults {
            database.unknown_outcomes += 1;
            drop(database);
            self.is_lost = true;
            return Err(Error::new(ErrorKind::Retry, "cannot commit: the connection was lost before the answer"));
        }
        Ok(())
    }

    async fn rollback(&mut self) -> Result<()> {
        self.open = None;
        Ok(())
    }

    async fn close(self) {}
}
