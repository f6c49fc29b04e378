//! The pages word for word: programs of others read them.

use std::time::{Duration, SystemTime};

use ebb_sdk::{Catalog, Rounded, Table, TableIndex, Timestamp};

use super::snapshot::Build;
use super::{ChangefeedState, Snapshot, Status, Waiting, json, liveness, prometheus};
use crate::code;
use crate::config::Access;
use crate::error::Error;
use crate::logged::{LastLogged, Logged, Severity};
use crate::stage::{Forecast, Usage};

const RESOLVED: Timestamp = Timestamp { wall: 1_700_000_000_500_000_000, logical: 3 };

fn forecast() -> Forecast {
    let usage = Usage {
        row_bytes: 1000,
        fingerprint_bytes: 24,
        room_bytes: 4096,
        forgotten: Timestamp { wall: 1_500_000_000_000_000_000, logical: 0 },
    };
    Forecast { usage, hours_left: Some(2.5), is_full: true }
}

fn busy() -> Status {
    let header = Some(ebb_sdk::Secret::new("Bearer geheim"));
    let status = Status::new(&Access { header, ..Access::default() });
    let table =
        |name: &str| Table { namespace: vec!["shop".into(), "public".into()], name: name.into(), ..Table::default() };
    let catalog = Catalog { tables: vec![table("t\"\\"), table("a")], ..Catalog::default() };
    status.tables.set(&catalog, [TableIndex(0), TableIndex(1)].into_iter());
    status.received(7);
    status.tables.received(&[(TableIndex(0), 7)]);
    status.tables.applied([(TableIndex(0), 4, 1)].into_iter());
    status.tables.failed(Some("public.a"));
    status.measures.requests.observe(Duration::from_millis(20));
    // Ahead of the clock.
    status.measures.applied(Timestamp { wall: 9_000_000_000_000_000_000, logical: 1 });
    status.certificates(vec![("receiver", SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))]);
    // Ahead of the clock, so that it lags by nothing.
    status.applied(Timestamp { wall: 9_000_000_000_000_000_000, logical: 1 }, 2, 5);
    status.retried(code::target::READ_ONLY);
    let rounded = |table: &str, values| Rounded { table: table.into(), column: "n".into(), values };
    status.rounded(vec![rounded("b\"\\\n", 2), rounded("a", 1)]);
    status.rounded(vec![rounded("a", 3)]);
    let error = Error::new(code::target::GRACE_PERIOD, "refused")
        .hint("mend it")
        .field("table", "t")
        .field("key", "[1]")
        .field("code", "23503")
        .field("behind_table", "u");
    status.waiting(Some(Waiting {
        since: SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000),
        at: RESOLVED,
        error,
        tries: 4,
        next_try: SystemTime::UNIX_EPOCH,
    }));
    status
}

/// Without what depends on the moment.
fn at_rest(snapshot: Snapshot) -> Snapshot {
    let second = Duration::from_secs(1);
    let target_down = snapshot.target_down.map(|(_, why)| (second, why));
    let build = Build { version: "1.2.3", commit: "abcdef", abi: 4 };
    let mut tables = snapshot.tables;
    for table in &mut tables {
        table.last_change =
            table.last_change.map(|_| SystemTime::UNIX_EPOCH + Duration::from_millis(1_600_000_000_250));
    }
    let waited = snapshot.waiting.as_ref().map(|waiting| waiting.since + Duration::from_secs(90));
    let logged = Logged::default();
    Snapshot {
        at: waited.unwrap_or(snapshot.at),
        running_for: second,
        arrived_ago: snapshot.arrived_ago.map(|_| second),
        target_down,
        build,
        tables,
        logged,
        ..snapshot
    }
}

#[test]
fn the_pages_stay_as_they_are() {
    let status = busy();
    status.handshake_failed();
    for code in [401, 401, 400] {
        status.refused(code);
    }
    status.arrived();
    status.target_fails(code::target::READ_ONLY);
    status.changefeed(Some(7), ChangefeedState::Paused);
    let mut snapshot = at_rest(status.snapshot("feed", RESOLVED, forecast()));
    let (code, at) = (code::target::READ_ONLY, SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000));
    snapshot.logged.last = Some(LastLogged { code, severity: Severity::Warning, at });
    snapshot.logged.counts.insert(code.text(), 2);
    assert_eq!(prometheus::text(&snapshot), include_str!("expected/busy.prom"));
    assert_eq!(json::text(&snapshot), include_str!("expected/busy.json"));
    let said = "OK, but applying waits for a row of 2023-11-14T22:13:20.500Z: see /_/status and the log\n";
    assert_eq!(liveness::judge(&snapshot), Ok(said.into()));
}

#[test]
fn the_pages_of_a_start_know_nothing_yet() {
    let snapshot = at_rest(Status::default().snapshot("feed", Timestamp::ZERO, Forecast::default()));
    assert_eq!(prometheus::text(&snapshot), include_str!("expected/idle.prom"));
    assert_eq!(json::text(&snapshot), include_str!("expected/idle.json"));
    assert_eq!(liveness::judge(&snapshot), Ok("OK\n".into()));
}

#[test]
fn the_lag_is_the_age_of_what_was_applied() {
    let status = Status::default();
    status.applied(Timestamp { wall: 1_000_000_000_000_000_000, logical: 0 }, 0, 0);
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_002_500);
    let snapshot = Snapshot { at, ..status.snapshot("feed", Timestamp::ZERO, forecast()) };
    assert_eq!(snapshot.lag(), Some(2.5));
    // A clock that is behind the source's makes it no less than what has arrived.
    let resolved = Timestamp { wall: 1_000_000_009_000_000_000, logical: 0 };
    assert_eq!(Snapshot { resolved, ..snapshot }.lag(), Some(9.0));
}
