//! One log line a minute while rows flow, and one at once when the first has come.
//!
//! Owns: when it is said, and its words. Does not own: the numbers (`status`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::log;
use crate::stage::Backlog;
use crate::status::{Snapshot, Status};

const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Looks between two lines.
const LOOKS: u64 = 60;

/// Goes on as long as the run.
pub(super) async fn report(status: Arc<Status>, backlog: Backlog, feed: String) {
    let look = || status.snapshot(&feed, backlog.resolved(), backlog.forecast());
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut looks) = (look(), 0);
    let mut has_come = false;
    loop {
        ticks.tick().await;
        let now = look();
        status.sample(&now);
        log::status(&now.line());
        if !has_come && now.rows_received > 0 {
            tracing::info!("the first rows have come");
            has_come = true;
        }
        looks += 1;
        if looks >= LOOKS {
            if let Some(line) = line(&last, &now) {
                tracing::info!("{line}");
            }
            (last, looks) = (now.clone(), 0);
        }
    }
}

/// `None` where no row has moved.
fn line(before: &Snapshot, now: &Snapshot) -> Option<String> {
    let (received, applied) = (now.rows_received - before.rows_received, now.rows_applied - before.rows_applied);
    if received == 0 && applied == 0 {
        return None;
    }
    let seconds = now.at.duration_since(before.at).map_or(1.0, |time| time.as_secs_f64().max(1.0));
    let rate = |rows: u64| format!("{:.1} rows/s", rows as f64 / seconds);
    let behind = now.lag().map_or_else(|| "nothing applied yet".into(), |lag| format!("{lag:.0} s behind"));
    let mebibytes = now.staging.usage.row_bytes as f64 / f64::from(1 << 20);
    Some(format!("received {}, applied {}, {behind}, {mebibytes:.1} MiB staged", rate(received), rate(applied)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Access;
    use crate::stage::Forecast;
    use ebb_sdk::Timestamp;

    #[test]
    fn only_what_moves_is_said() {
        let status = Status::new(&Access::default());
        let look = || status.snapshot("s", Timestamp::ZERO, Forecast::default());
        let before = look();
        assert_eq!(line(&before, &look()), None);
        status.received(120);
        let now = Snapshot { at: before.at + Duration::from_secs(60), ..look() };
        let expected = "received 2.0 rows/s, applied 0.0 rows/s, nothing applied yet, 0.0 MiB staged";
        assert_eq!(line(&before, &now).as_deref(), Some(expected));
    }
}
