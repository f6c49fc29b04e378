//! What a run says of itself at its start and its end.
//!
//! Owns: these lines. Does not own: when they are said (`start`, `mod`).

use chrono::DateTime;
use ebb_sdk::{Catalog, Timestamp};

use crate::changefeed::{Feed, sink_address};
use crate::config::{Config, OnExit};
use crate::stage::{RunState, Stage};

/// Rows that are counted at the end: more would hold it up.
const COUNTED_MAX: usize = 100_000;

/// `2026-05-04 12:03:10Z`, or with the time alone.
fn utc(at: Timestamp, format: &str) -> String {
    DateTime::from_timestamp_nanos(at.wall).format(format).to_string()
}

/// From which time a run goes on.
pub(super) fn say_resume(run_state: &RunState, applied: Timestamp) {
    if !run_state.is_fresh() && applied > Timestamp::ZERO {
        tracing::info!(
            applied = %applied,
            "resuming: the target has everything up to {}; later changes follow",
            utc(applied, "%Y-%m-%d %H:%M:%SZ")
        );
    }
}

/// For `ebb start`, whose changefeed somebody else creates: where it is to send, and the statement.
pub(super) fn say_sink(config: &Config, catalog: &Catalog, run_state: &RunState) {
    if config.changefeed.is_some() || config.apply_only {
        return;
    }
    let (url, statement) = sink(catalog, config.receiver.bind_addr.port(), run_state.resolved());
    tracing::info!("the changefeed's sink is {url}, with HOST under which CockroachDB reaches this machine");
    tracing::info!(
        hint = "TABLES are those to replicate; the query holds client_cert, client_key and ca_cert as ebb certs writes them, and TIME is what \
                SELECT cluster_logical_timestamp() gave when the target held everything before",
        "where there is no changefeed yet, create it on CockroachDB: {statement}"
    );
}

fn sink(catalog: &Catalog, port: u16, resolved: Timestamp) -> (String, String) {
    let url = sink_address("HOST", port, &catalog.namespace);
    let cursor = if resolved > Timestamp::ZERO { resolved.to_string() } else { "TIME".into() };
    let statement = format!(
        "CREATE CHANGEFEED FOR TABLE TABLES INTO '{url}?client_cert=…&client_key=…&ca_cert=…' WITH updated, \
         resolved = '1s', min_checkpoint_frequency = '1s', initial_scan = 'no', cursor = '{cursor}', \
         webhook_client_timeout = '10s', webhook_sink_config = '{{\"Flush\":{{\"Bytes\":1048576,\"Frequency\":\"1s\"}}}}';"
    );
    (url, statement)
}

/// How far the target is, what is left, and how to go on.
pub(super) fn say_end(config: &Config, stage: &Stage, applied: Timestamp, feed: Option<&Feed>, fate: Fate) {
    let rest = stage.backlog.rest(applied);
    let rows = rest.take(COUNTED_MAX + 1).take_while(Result::is_ok).count();
    let on_exit = config.changefeed.as_ref().map(|settings| settings.on_exit);
    tracing::info!(
        "{}, {} staged, {}; resume with --stagingSchema {}",
        applied_to(applied),
        counted(rows),
        left(feed.map(Feed::job), on_exit, fate),
        config.staging.schema
    );
}

fn applied_to(applied: Timestamp) -> String {
    match applied {
        Timestamp::ZERO => "nothing applied".into(),
        applied => format!("applied to {}", utc(applied, "%H:%M:%SZ")),
    }
}

fn counted(rows: usize) -> String {
    match rows {
        1 => "1 row".into(),
        rows if rows > COUNTED_MAX => format!("more than {COUNTED_MAX} rows"),
        rows => format!("{rows} rows"),
    }
}

/// What is known of the changefeed of a run that ends, beside what `--on-exit` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Lives,
    /// By somebody, or by an error.
    Paused,
    /// It sends nothing more, whatever is done.
    Ended,
}

pub(super) fn left(job: Option<i64>, on_exit: Option<OnExit>, fate: Fate) -> String {
    let Some(job) = job else { return "the changefeed is left as it is".into() };
    match (fate, on_exit) {
        (Fate::Ended, _) => format!("changefeed {job} has ended"),
        (_, Some(OnExit::Cancel)) => format!("changefeed {job} is cancelled"),
        (_, Some(OnExit::Pause)) => format!("changefeed {job} is paused"),
        (Fate::Paused, _) => format!("changefeed {job} stays paused"),
        (Fate::Lives, _) => format!("changefeed {job} keeps running"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_says_what_is_left() {
        let at = Timestamp { wall: 1_751_161_903_005_030_052, logical: 0 };
        assert_eq!(applied_to(at), "applied to 01:51:43Z");
        assert_eq!((counted(0).as_str(), counted(1).as_str()), ("0 rows", "1 row"));
        let of = |on_exit, fate| left(Some(123), on_exit, fate);
        assert_eq!(of(Some(OnExit::Leave), Fate::Lives), "changefeed 123 keeps running");
        assert_eq!(of(Some(OnExit::Leave), Fate::Paused), "changefeed 123 stays paused");
        for on_exit in [OnExit::Leave, OnExit::Pause, OnExit::Cancel] {
            assert_eq!(of(Some(on_exit), Fate::Ended), "changefeed 123 has ended");
        }
        assert_eq!(left(None, None, Fate::Lives), "the changefeed is left as it is");
    }

    #[test]
    fn the_statement_has_the_cursor_of_what_is_staged() {
        let of = |name: &str| Catalog { namespace: vec![name.into(), "public".into()], ..Catalog::default() };
        let catalog = of("molt");
        let (url, fresh) = sink(&catalog, 30004, Timestamp::ZERO);
        assert_eq!(url, "webhook-https://HOST:30004/molt/public");
        assert_eq!(sink(&of("My db?"), 30004, Timestamp::ZERO).0, "webhook-https://HOST:30004/My%20db%3F/public");
        assert!(fresh.contains("cursor = 'TIME'"), "{fresh}");
        let (_, again) = sink(&catalog, 30004, Timestamp { wall: 17, logical: 2 });
        assert!(again.contains("cursor = '17.0000000002'"), "{again}");
    }
}
