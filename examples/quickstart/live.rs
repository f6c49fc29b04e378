//! How far the target is behind while the shop sells.
//!
//! Owns: asking both sides again and again. Does not own: the questions (`shop`), and how the answer is shown (`screen`).

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::Result;
use crate::screen::Screen;
use crate::shop::{self, State};
use crate::target::Target;

const EVERY: Duration = Duration::from_millis(250);

pub(crate) struct Live<'a> {
    screen: &'a Screen,
    source: Client,
    target: &'a Target,
}

impl<'a> Live<'a> {
    pub(crate) fn new(screen: &'a Screen, source: Client, target: &'a Target) -> Self {
        Self { screen, source, target }
    }

    /// Shows it until the time is over.
    pub(crate) async fn watch(&self, duration: Duration) -> Result<()> {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            self.show().await?;
            tokio::time::sleep(EVERY.min(end.saturating_duration_since(Instant::now()))).await;
        }
        Ok(())
    }

    pub(crate) async fn show(&self) -> Result<()> {
        let source = shop::state(&self.source).await?;
        let target = tokio::task::block_in_place(|| self.target.state())?;
        self.screen.live(&describe(source, self.target.name(), target));
        Ok(())
    }
}

fn describe(source: State, name: &str, target: State) -> String {
    let behind = match (source.newest_ms, target.newest_ms) {
        (0, _) => "no order yet".to_owned(),
        (_, 0) => "no order there yet".to_owned(),
        (source, target) if source <= target => "up to date".to_owned(),
        (source, target) => format!("{:.1} s behind", (source - target) as f64 / 1000.0),
    };
    format!("rows: CockroachDB {:>6}   {name} {:>6}   {behind}", source.rows, target.rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_on_both_sides_is_up_to_date() {
        let at = |newest_ms| State { rows: 50, newest_ms };
        let ends = |source, target, end: &str| {
            let text = describe(at(source), "MySQL", at(target));
            assert!(text.ends_with(end), "{text}");
        };
        ends(0, 0, "no order yet");
        ends(1700, 0, "no order there yet");
        ends(1700, 400, "1.3 s behind");
        ends(1700, 1700, "up to date");
        // The target was asked later.
        ends(1700, 1800, "up to date");
    }
}
