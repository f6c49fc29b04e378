//! What `ebb check` looks at beyond what a start would refuse: what will matter later, on both sides and here.
//!
//! Owns: how bad each is, and from which value on. Does not own: asking the target (the plugin) or the source (`source`), and the
//! list (`check`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ebb_sdk::{Concern, ConcernKind, Survey, TableIndex};

use crate::config;
use crate::error::Result;
use crate::findings::{Finding, FindingId};
use crate::plugin::Session;
use crate::source::{Place, Source, identifier};
use crate::stage;

/// The default of CockroachDB is four hours.
const WINDOW_MIN: Duration = Duration::from_secs(3600);
/// A clock that differs by more makes every lag a wrong number.
const CLOCK_MAX: Duration = Duration::from_secs(2);
/// With less room a target that is down for an afternoon fills the disk.
const STAGING_BYTES_MIN: u64 = 1 << 30;

/// Asks the plugin.
pub(super) fn target(session: &mut Session, tables: &[TableIndex]) -> Result<Survey> {
    Ok(session.survey(tables)?.unwrap_or_else(|| {
        let mut none = Survey::default();
        none.skip("the target's sequences, other writers and statistics", "the plugin is older than this ebb");
        none
    }))
}

pub(super) fn finding(concern: Concern) -> Finding {
    let Concern { kind, subject, reason, fix } = concern;
    let found = match kind {
        ConcernKind::ReadOnly => Finding::fatal(FindingId::TargetReadOnly, subject, reason),
        ConcernKind::OwnTables => Finding::fatal(FindingId::RightsMissing, subject, reason),
        ConcernKind::SequenceBehind => Finding::warning(FindingId::SequenceBehind, subject, reason),
        ConcernKind::SequenceNarrow => Finding::warning(FindingId::SequenceNarrow, subject, reason),
        ConcernKind::OtherWriter => Finding::warning(FindingId::OtherWriter, subject, reason),
        ConcernKind::Statistics => Finding::warning(FindingId::Statistics, subject, reason),
        ConcernKind::Other => Finding::warning(FindingId::TargetConcern, subject, reason),
    };
    Finding { fix, ..found }
}

/// For how long the history of the tables is kept; and why the rest of them was not looked at.
pub(super) async fn history(source: &Source, tables: &[Place]) -> (Vec<Finding>, Result<()>) {
    let mut findings = Vec::new();
    let (windows, rest) = source.garbage_windows(tables).await;
    for ((schema, name), window) in windows {
        let Some(window) = window.filter(|window| *window < WINDOW_MIN) else { continue };
        let reason = format!(
            "CockroachDB keeps the history of {schema}.{name} for {} minutes only: a changefeed that ends cannot be made anew \
             after that, and the table has to be loaded anew",
            window.as_secs() / 60
        );
        let table = format!("{}.{}", identifier(&schema), identifier(&name));
        let fix = format!("ALTER TABLE {table} CONFIGURE ZONE USING gc.ttlseconds = 14400;");
        findings.push(Finding::warning(FindingId::HistoryShort, format!("{schema}.{name}"), reason).fix(fix));
    }
    (findings, rest)
}

/// History that somebody has protected holds garbage back in all tables until its job ends.
pub(super) async fn retained(source: &Source) -> Result<Vec<Finding>> {
    let found = source.retained_history().await?.into_iter().map(|(job, description, created)| {
        let reason =
            format!("job {job} (\"{description}\", since {created}) keeps the history of every table of the source");
        Finding::warning(FindingId::HistoryRetained, "source", reason)
            .fix(format!("if nobody needs it: CANCEL JOB {job};"))
    });
    Ok(found.collect())
}

/// How far this machine's clock is from the source's; the answer came somewhere between the two readings.
pub(super) async fn clock(source: &Source) -> Result<Vec<Finding>> {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let before = now();
    let there = Duration::from_nanos(source.now().await?.wall.max(0).cast_unsigned());
    Ok(clock_differs((before, now()), there).into_iter().collect())
}

fn clock_differs((before, after): (Duration, Duration), there: Duration) -> Option<Finding> {
    let (behind, ahead) = (there.saturating_sub(after), before.saturating_sub(there));
    let (differs, side) = if behind > ahead { (behind, "behind") } else { (ahead, "ahead of") };
    (differs > CLOCK_MAX).then(|| {
        let reason = format!(
            "the clock of this machine is {:.1} s {side} CockroachDB's: the lag that is shown is wrong by that",
            differs.as_secs_f64()
        );
        Finding::warning(FindingId::ClockDiffers, "this machine", reason)
            .fix("set the clock with NTP, as systemd-timesyncd or chrony do")
    })
}

/// Room for rows on the disk of staging.
pub(super) fn room(staging: &config::Staging) -> Vec<Finding> {
    let folder = stage::folder(&staging.dir, &staging.schema);
    let Some(free) = stage::place::free_bytes(&folder) else { return Vec::new() };
    let room = free.min(staging.disk_bytes_max);
    Vec::from_iter((room < STAGING_BYTES_MIN).then(|| {
        let megabytes = |bytes: u64| bytes / 1_000_000;
        let reason = format!(
            "the staging folder has room for {} MB of rows: requests are held once a target that is down has let it fill",
            megabytes(room)
        );
        let fix = format!(
            "free space there ({} MB are free), choose another disk with --staging-dir, or raise --staging-max-bytes (now {} MB)",
            megabytes(free),
            megabytes(staging.disk_bytes_max)
        );
        Finding::warning(FindingId::StagingSmall, "staging", reason).fix(fix)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_differs_by_more_than_the_answer_took_is_told() {
        let at = Duration::from_secs;
        let told = |before, after, there| clock_differs((at(before), at(after)), at(there)).map(|found| found.reason);
        assert_eq!(told(100, 110, 105), None);
        assert_eq!(told(100, 100, 102), None);
        assert!(told(100, 101, 111).is_some_and(|reason| reason.contains("10.0 s behind")));
        assert!(told(100, 101, 90).is_some_and(|reason| reason.contains("10.0 s ahead of")));
    }
}
