//! For how long the source keeps the history of its tables: a changefeed that has ended longer ago cannot be made anew.
//!
//! Owns: reading zone configurations, of tables and their partitions. Does not own: what is too short (`daemon/survey`).
//! <https://www.cockroachlabs.com/docs/stable/configure-replication-zones>

use std::time::Duration;

use super::{Place, Source, identifier};
use crate::error::Result;

const WINDOW: &str = "gc.ttlseconds = ";

impl Source {
    /// Each table with the shortest window of it or of one of its partitions; `None` where it is told in words that ebb does not
    /// know.
    pub async fn garbage_windows(&self, tables: &[Place]) -> Result<Vec<(Place, Option<Duration>)>> {
        let mut windows = Vec::with_capacity(tables.len());
        for place in tables {
            let table = format!("{}.{}", identifier(&place.0), identifier(&place.1));
            let own = self.rows(&format!("SHOW ZONE CONFIGURATION FROM TABLE {table}")).await?;
            let parts = self.rows(&format!("SHOW PARTITIONS FROM TABLE {table}")).await?;
            let of_table = own.iter().filter_map(|row| row.try_get("raw_config_sql").ok().flatten());
            let of_parts = parts.iter().filter_map(|row| row.try_get("full_zone_config").ok().flatten());
            windows.push((place.clone(), of_table.chain(of_parts).filter_map(window).min()));
        }
        Ok(windows)
    }
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
}
