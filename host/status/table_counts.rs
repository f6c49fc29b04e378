//! Rows by table of the target: received, upserted, deleted, and failures.
//!
//! Owns: one set of counters for each table that the run applies, made once. Does not own: counting rows of a request or of a
//! target transaction (`receive`, `apply`): here each comes as one number.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ebb_sdk::{Catalog, TableIndex};

/// See the module. Before the tables are known, and for others, nothing is counted.
#[derive(Debug, Default)]
pub struct TableCounters {
    tables: OnceLock<Tables>,
    /// Failures to write that name no table of the run.
    failures: AtomicU64,
}

#[derive(Debug, Default)]
struct Tables {
    /// In the order of their names.
    counters: Vec<Counters>,
    places: BTreeMap<TableIndex, usize>,
}

#[derive(Debug)]
struct Counters {
    name: TableName,
    received: AtomicU64,
    upserts: AtomicU64,
    deletes: AtomicU64,
    failures: AtomicU64,
    /// Milliseconds since 1970; 0 before the first.
    last_change: AtomicU64,
}

/// What a table is called where it is shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    /// As log lines name it.
    pub shown: std::sync::Arc<str>,
    /// All that its name is qualified with, joined by dots.
    pub schema: std::sync::Arc<str>,
    pub table: std::sync::Arc<str>,
}

/// What was counted of one table since the process began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableCounts {
    pub name: TableName,
    /// Rows made durable, repeats included.
    pub received: u64,
    pub upserts: u64,
    pub deletes: u64,
    /// Attempts to write to it that failed.
    pub failures: u64,
    /// When the target last confirmed a change of it, by this machine's clock.
    pub last_change: Option<SystemTime>,
}

impl TableCounters {
    /// The tables whose rows are counted from now on. To be called once, before rows come.
    pub fn set(&self, catalog: &Catalog, tables: impl Iterator<Item = TableIndex>) {
        let mut named: Vec<(TableName, TableIndex)> =
            tables.map(|at| (TableName::of(&catalog.tables[at]), at)).collect();
        named.sort();
        let places = named.iter().enumerate().map(|(place, (_, at))| (*at, place)).collect();
        let counters = named.into_iter().map(|(name, _)| Counters::new(name)).collect();
        // A second call would lose what was counted.
        let _ = self.tables.set(Tables { counters, places });
    }

    /// Rows of one request are durable.
    pub fn received(&self, rows: &[(TableIndex, u64)]) {
        for (table, rows) in rows {
            if let Some(counters) = self.of(*table) {
                counters.received.fetch_add(*rows, Ordering::Relaxed);
            }
        }
    }

    /// A target transaction has brought these rows: table, upserts, deletes.
    pub fn applied(&self, rows: impl Iterator<Item = (TableIndex, u64, u64)>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        for (table, upserts, deletes) in rows {
            if let Some(counters) = self.of(table) {
                counters.upserts.fetch_add(upserts, Ordering::Relaxed);
                counters.deletes.fetch_add(deletes, Ordering::Relaxed);
                counters.last_change.store(now, Ordering::Relaxed);
            }
        }
    }

    /// An attempt to write has failed; `table` as the failure names it.
    pub fn failed(&self, table: Option<&str>) {
        let all = self.tables.get().map_or(&[][..], |tables| &tables.counters);
        let named = table.and_then(|table| all.iter().find(|counters| &*counters.name.shown == table));
        named.map_or(&self.failures, |counters| &counters.failures).fetch_add(1, Ordering::Relaxed);
    }

    /// By name.
    pub fn counts(&self) -> Vec<TableCounts> {
        self.tables.get().map_or_else(Vec::new, |tables| tables.counters.iter().map(Counters::counts).collect())
    }

    /// Failures that belong to no table.
    pub fn other_failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn of(&self, table: TableIndex) -> Option<&Counters> {
        let tables = self.tables.get()?;
        tables.counters.get(*tables.places.get(&table)?)
    }
}

impl Counters {
    fn new(name: TableName) -> Self {
        let zero = || AtomicU64::new(0);
        Self { name, received: zero(), upserts: zero(), deletes: zero(), failures: zero(), last_change: zero() }
    }

    fn counts(&self) -> TableCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let changed = Some(count(&self.last_change)).filter(|millis| *millis > 0);
        TableCounts {
            name: self.name.clone(),
            received: count(&self.received),
            upserts: count(&self.upserts),
            deletes: count(&self.deletes),
            failures: count(&self.failures),
            last_change: changed.map(|millis| UNIX_EPOCH + Duration::from_millis(millis)),
        }
    }
}

impl TableName {
    fn of(table: &ebb_sdk::Table) -> Self {
        let (shown, schema) = (table.to_string(), table.namespace.join("."));
        Self { shown: shown.into(), schema: schema.into(), table: table.name.as_str().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_count_for_their_table_and_tables_stand_by_name() {
        let table = |schema: &str, name: &str| ebb_sdk::Table {
            namespace: vec!["shop".into(), schema.into()],
            name: name.into(),
            ..ebb_sdk::Table::default()
        };
        let tables = vec![table("public", "orders"), table("public", "left"), table("a", "t")];
        let catalog = Catalog { tables, ..Catalog::default() };
        let counters = TableCounters::default();
        // Nobody knows the tables yet.
        counters.received(&[(TableIndex(0), 9)]);
        counters.set(&catalog, [TableIndex(0), TableIndex(2)].into_iter());
        counters.received(&[(TableIndex(0), 3), (TableIndex(1), 7), (TableIndex(0), 2)]);
        counters.applied([(TableIndex(0), 2, 1), (TableIndex(1), 1, 0)].into_iter());
        for failure in [Some("public.orders"), Some("public.left"), None] {
            counters.failed(failure);
        }
        let counts = counters.counts();
        let numbers = |count: &TableCounts| {
            (count.name.shown.to_string(), count.received, count.upserts, count.deletes, count.failures)
        };
        let expected = [("a.t".to_owned(), 0, 0, 0, 0), ("public.orders".to_owned(), 5, 2, 1, 1)];
        assert_eq!(counts.iter().map(numbers).collect::<Vec<_>>(), expected);
        assert_eq!((counts[0].last_change, counts[1].last_change.is_some()), (None, true));
        assert_eq!((&*counts[1].name.schema, &*counts[1].name.table), ("shop.public", "orders"));
        assert_eq!(counters.other_failures(), 2);
    }
}
