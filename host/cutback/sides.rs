//! Both sides, and the run between them, as the steps look at them.
//!
//! Owns: opening them, and what the running ebb says of itself. Does not own: what a step makes of it (`steps`).

use std::time::Duration;

use ebb_sdk::{TableIndex, Timestamp};
use serde_json::Value;
use tokio::runtime::Handle;

use super::facts::Facts;
use crate::code;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::plugin::Session;
use crate::source::Source;
use crate::tables;
use crate::target::Target;

/// Asks the running ebb for its status.
pub type Ask<'a> = &'a dyn Fn() -> Result<Value>;

/// What the steps work with.
pub(super) struct Sides {
    pub(super) source: Source,
    pub(super) session: Session,
    /// Those that are replicated, with their names.
    pub(super) tables: Vec<(TableIndex, String)>,
    pub(super) facts: Facts,
}

impl Sides {
    pub(super) fn open(config: &Config, runtime: &Handle) -> Result<Self> {
        let Some(settings) = &config.source else {
            return Err(
                Error::new(code::settings::NOT_GIVEN, "cutting back needs --source").hint("give --source (EBB_SOURCE)")
            );
        };
        let target = Target::load(&config.target)?;
        let mut session = target.session()?;
        let catalog = session.describe()?;
        let source = runtime.block_on(Source::connect(settings))?;
        let matched = runtime.block_on(tables::matched(config, Some(&source), &catalog))?;
        let (routes, findings) = matched.judge(&catalog, None)?;
        findings.conclude()?;
        let facts = runtime.block_on(Facts::look(config, &source, &catalog, &routes))?;
        let tables = routes.iter().map(|route| (route.position, catalog.qualified(&catalog.tables[route.position])));
        let tables = tables.collect();
        Ok(Self { source, session, tables, facts })
    }
}

/// What a running ebb has said.
pub(super) struct Seen(pub(super) Value);

impl Seen {
    /// Everything against cutting back that this command does not settle itself.
    pub(super) fn hindrances(&self) -> Vec<String> {
        const SETTLED: [&str; 5] =
            ["not-verified", "verification-old", "rows-differ", "sequences-not-checked", "behind"];
        let reasons = self.0["reasons"].as_array().map_or(&[][..], Vec::as_slice);
        let of_others = reasons.iter().filter(|reason| !SETTLED.iter().any(|settled| reason["id"] == *settled));
        let words = |reason: &Value| {
            let text = |name: &str| reason[name].as_str().unwrap_or_default().to_owned();
            format!("{} ({}): {}", text("text"), text("id"), text("next"))
        };
        of_others.map(words).collect()
    }

    pub(super) fn lag(&self) -> Option<Duration> {
        self.0["apply_lag_seconds"].as_f64().map(|seconds| Duration::from_secs_f64(seconds.max(0.0)))
    }

    pub(super) fn applied(&self) -> Option<Timestamp> {
        self.0["applied"].as_str()?.parse().ok()
    }

    pub(super) fn resolved(&self) -> Option<Timestamp> {
        self.0["resolved"].as_str()?.parse().ok()
    }

    pub(super) fn received(&self) -> u64 {
        self.0["rows_received"].as_u64().unwrap_or(0)
    }

    pub(super) fn job(&self) -> Option<i64> {
        self.0["changefeed"]["job"].as_i64()
    }

    /// Those that the run applies, as the target calls them.
    pub(super) fn tables(&self) -> Vec<&str> {
        let tables = self.0["tables"].as_array().map_or(&[][..], Vec::as_slice);
        tables.iter().filter_map(|table| table["table"].as_str()).collect()
    }

    /// For how long this process of ebb has run.
    pub(super) fn running(&self) -> u64 {
        self.0["running_seconds"].as_u64().unwrap_or(0)
    }

    /// The tables of which rows have come since.
    pub(super) fn changed_since(&self, before: &Self) -> Vec<String> {
        let received = |seen: &Self, name: &Value| {
            let tables = seen.0["tables"].as_array();
            let found = tables.and_then(|tables| tables.iter().find(|table| table["table"] == *name));
            found.and_then(|table| table["received"].as_u64()).unwrap_or(0)
        };
        let tables = self.0["tables"].as_array().map_or(&[][..], Vec::as_slice);
        let changed = tables.iter().map(|table| &table["table"]);
        let changed = changed.filter(|name| received(self, name) > received(before, name));
        changed.filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_it_settles_itself_is_no_hindrance() {
        let reason = |id: &str| json!({ "id": id, "text": "words", "next": "what to do" });
        let seen = |ids: &[&str]| Seen(json!({ "reasons": ids.iter().map(|id| reason(id)).collect::<Vec<_>>() }));
        assert!(seen(&["not-verified", "sequences-not-checked"]).hindrances().is_empty());
        assert_eq!(seen(&["row-refused", "not-verified"]).hindrances(), ["words (row-refused): what to do"]);
        assert_eq!(seen(&["something-new"]).hindrances().len(), 1);
    }

    #[test]
    fn tables_that_change_are_named() {
        let seen = |received: u64| {
            Seen(json!({ "tables": [{ "table": "a", "received": received }, { "table": "b", "received": 4 }] }))
        };
        assert_eq!(seen(8).changed_since(&seen(7)), ["a"]);
        assert!(seen(7).changed_since(&seen(7)).is_empty());
    }
}
