//! For how long the source keeps the history of its tables: a changefeed that has ended longer ago cannot be made anew; and
//! for how long it protects what a changefeed has not delivered.
//!
//! Owns: reading zone configurations, of tables and their partitions, and that setting. Does not own: what is too short
//! (`daemon/survey`).
//! <https://www.cockroachlabs.com/docs/stable/configure-replication-zones>

use std::time::Duration;

use super::{Place, Source, identifier};
use crate::error::Result;

const WINDOW: &str = "gc.ttlseconds = ";
/// Protected history of others, as `SHOW JOBS` calls it.
const RETENTION: &str = "SELECT job_id, description, created FROM [SHOW JOBS] \
     WHERE job_type = 'HISTORY RETENTION' AND status = 'running' ORDER BY created";
/// A changefeed whose protected history is older fails (<https://www.cockroachlabs.com/docs/stable/cluster-settings>).
const PROTECTION: &str = "SHOW CLUSTER SETTING changefeed.protect_timestamp.max_age";

impl Source {
    /// Each table with the shortest window of it or of one of its partitions; `None` where it is told in words that ebb does not
    /// know. They end with the first that is refused.
    pub async fn garbage_windows(&self, tables: &[Place]) -> (Vec<(Place, Option<Duration>)>, Result<()>) {
        let mut windows = Vec::with_capacity(tables.len());
        for place in tables {
            match self.garbage_window(place).await {
                Ok(window) => windows.push((place.clone(), window)),
                Err(error) => return (windows, Err(error)),
            }
        }
        (windows, Ok(()))
    }

    async fn garbage_window(&self, place: &Place) -> Result<Option<Duration>> {
        let table = format!("{}.{}", identifier(&place.0), identifier(&place.1));
        let own = self.rows(&format!("SHOW ZONE CONFIGURATION FROM TABLE {table}")).await?;
        let parts = self.rows(&format!("SHOW PARTITIONS FROM TABLE {table}")).await?;
        let of_table = own.iter().filter_map(|row| row.try_get("raw_config_sql").ok().flatten());
        let of_parts = parts.iter().filter_map(|row| row.try_get("full_zone_config").ok().flatten());
        Ok(of_table.chain(of_parts).filter_map(window).min())
    }

    /// Jobs that keep the history of every table: each with its description and when it was made.
    pub async fn retained_history(&self) -> Result<Vec<(String, String, String)>> {
        let text = |row: &super::AnswerRow, column| row.try_get(column).ok().flatten().unwrap_or_default().to_owned();
        let rows = self.rows(RETENTION).await?;
        Ok(rows.iter().map(|row| (text(row, "job_id"), text(row, "description"), text(row, "created"))).collect())
    }

    /// How old what a changefeed has not delivered may become; `None` where there is no limit, or it is not told.
    pub async fn protection_max(&self) -> Option<Duration> {
        let rows = self.rows(PROTECTION).await.ok()?;
        interval(rows.first()?.get(0)?).filter(|limit| !limit.is_zero())
    }
}

/// `96:00:00`, or `4 days 01:00:00`.
fn interval(text: &str) -> Option<Duration> {
    let (days, clock) = match text.split_once(" day") {
        Some((days, rest)) => (days.parse::<u64>().ok()?, rest.trim_start_matches('s').trim()),
        None => (0, text),
    };
    let mut seconds = 0;
    for part in clock.split(':').filter(|part| !part.is_empty()) {
        let whole = part.split('.').next().unwrap_or_default();
        seconds = seconds * 60 + whole.parse::<u64>().ok()?;
    }
    Some(Duration::from_secs(days * 24 * 3600 + seconds))
}

fn window(configuration: &str) -> Option<Duration> {
    let behind = configuration.split_once(WINDOW)?.1;
    let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_stands_among_other_settings() {
        let text = "ALTER TABLE d.t CONFIGURE ZONE USING\n    range_min_bytes = 134217728,\n    gc.ttlseconds = 600,\n";
        assert_eq!(window(text), Some(Duration::from_secs(600)));
        assert_eq!(window("ALTER TABLE d.t CONFIGURE ZONE USING\n    num_replicas = 3"), None);
    }

    #[test]
    fn an_interval_may_have_days() {
        let hours = |text: &str| interval(text).map(|limit| limit.as_secs() as f64 / 3600.0);
        for (text, expected) in
            [("96:00:00", Some(96.0)), ("4 days", Some(96.0)), ("1 day 00:30:00", Some(24.5)), ("00:00:00", Some(0.0))]
        {
            assert_eq!(hours(text), expected, "{text}");
        }
        assert_eq!(hours("-1h"), None);
    }
}
