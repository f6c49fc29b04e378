//! Why CockroachDB refuses a changefeed, or has ended it, and what mends it.
//!
//! Owns: the remedy of each cause. Does not own: telling the cause (`source`), and asking for jobs (`jobs`).

use ebb_sdk::{HIDDEN, values_are_hidden};

use super::jobs::Job;
use super::spec::ChangefeedSpec;
use crate::code;
use crate::error::Error;
use crate::source::Cause;

/// A refused CREATE CHANGEFEED, with what mends it and without the secrets of the statement.
pub(super) fn explain(mut error: Error, spec: &ChangefeedSpec<'_>, user: &str) -> Error {
    error.message = spec.redacted(&error.message);
    error.hint = error.hint.map(|hint| spec.redacted(&hint));
    let (code, hint) = match Cause::of(&error) {
        Some(Cause::Privilege) => {
            (code::changefeed::PRIVILEGE, format!("GRANT CHANGEFEED ON TABLE {} TO {user};", spec.table_list()))
        }
        Some(Cause::Rangefeeds) => {
            (code::source::RANGEFEEDS, "SET CLUSTER SETTING kv.rangefeed.enabled = true;".into())
        }
        Some(Cause::HistoryGone) => (
            code::changefeed::HISTORY_GONE,
            format!(
                "changes after {} are gone from the source (gc.ttlseconds): load the target anew, and start with a new \
                 --stagingSchema",
                spec.cursor
            ),
        ),
        Some(Cause::License) => (
            code::changefeed::LICENSE,
            "this version of CockroachDB needs one for changefeeds: SET CLUSTER SETTING enterprise.license = '…';"
                .into(),
        ),
        Some(Cause::Families) => (
            code::changefeed::FAMILIES,
            "leave the table out with --table-exclusion-filter: a row in several column families arrives in pieces"
                .into(),
        ),
        Some(Cause::Targets) => (
            code::changefeed::TARGETS,
            "the table was there a moment ago: start ebb again, or leave it out with --table-exclusion-filter".into(),
        ),
        _ => return error,
    };
    let keeps_hint = matches!(code, code::changefeed::LICENSE | code::changefeed::TARGETS);
    let hint = error.hint.take().filter(|_| keeps_hint).unwrap_or(hint);
    Error { code, ..error.hint(hint) }
}

/// What CockroachDB says of a job, as far as it may be repeated: it may quote rows.
pub(super) fn said(text: &str) -> String {
    if !values_are_hidden() {
        return text.to_owned();
    }
    let known = match (answered(text), Cause::told(text)) {
        (Some(status), _) => format!("it was answered {status}, "),
        (None, Some(cause)) => format!("{}, ", cause.name()),
        (None, None) => String::new(),
    };
    format!("{known}in words that may hold values {HIDDEN}")
}

/// The status with which ebb, or what stands in front of it, has refused a request, as a job repeats it: `transient error: 401 Unauthorized: …`.
pub(super) fn answered(text: &str) -> Option<u16> {
    let begun = ["transient error: ", "retryable error: "].iter().find_map(|begin| text.strip_prefix(begin))?;
    let status = begun.split(' ').next()?.parse().ok()?;
    (400..600).contains(&status).then_some(status)
}

/// The fact of such an error that says how: `cancelled`, `failed`, `paused` by an error, or `gone` from the list of jobs.
pub const HOW_ENDED: &str = "changefeed_ended";

/// Why a changefeed that has ended sends nothing more, and what to do.
pub(super) fn ended(id: i64, job: Option<&Job>) -> Error {
    const AGAIN: &str =
        "start ebb again with the same command: it creates a changefeed that sends on from where staging is complete";
    let Some(job) = job else {
        return Error::new(
            code::changefeed::ENDED,
            format!("the changefeed (job {id}) is not in SHOW CHANGEFEED JOBS any more"),
        )
        .hint(AGAIN)
        .field(HOW_ENDED, "gone");
    };
    // The status of a cancelled job may still be the last one of its life.
    let why =
        [&job.error, &job.running_status].into_iter().find(|text| !text.is_empty() && !text.starts_with("running"));
    let how = match why {
        _ if job.is_paused_by_error() => "paused",
        Some(why) if !why.contains("canceled") && !why.contains("cancelled") => "failed",
        _ => "cancelled",
    };
    let message = match why {
        Some(why) => format!("the changefeed (job {id}) has ended: {}", said(why)),
        None => format!("the changefeed (job {id}) was cancelled"),
    };
    let (code, hint) = match why.and_then(|why| Cause::told(why)) {
        Some(Cause::Truncated) => (
            code::changefeed::TRUNCATED,
            "a changefeed does not send TRUNCATE, and none can begin before one: leave the table out with \
             --table-exclusion-filter and start ebb again; for the table itself, load the target anew and start with a new \
             --stagingSchema",
        ),
        Some(Cause::Dropped) => (
            code::changefeed::DROPPED,
            "a changefeed does not send DROP TABLE: start ebb again, and it goes on without the table; on the target it stays \
             until you drop it",
        ),
        Some(Cause::Families) => (
            code::changefeed::FAMILIES,
            "ebb cannot read tables with several column families; leave the table out with --table-exclusion-filter",
        ),
        Some(Cause::HistoryGone) => (
            code::changefeed::HISTORY_GONE,
            "changes since the target's progress are gone from the source (gc.ttlseconds): load the target anew, and start \
             with a new --stagingSchema",
        ),
        _ => (code::changefeed::ENDED, AGAIN),
    };
    // A paused one would be found and resumed.
    let first = if job.is_paused_by_error() { format!("CANCEL JOB {id}; then: ") } else { String::new() };
    Error::new(code, message).hint(format!("{first}{hint}")).field(HOW_ENDED, how)
}

#[cfg(test)]
mod tests {
    use super::super::jobs::JobState;
    use super::*;

    #[test]
    fn a_status_is_told_from_other_words() {
        for (text, expected) in [
            ("transient error: 401 Unauthorized: no token", Some(401)),
            ("retryable error: 503 Service Unavailable: ", Some(503)),
            ("transient error: 30004 is closed", None),
            ("transient error: lookup ebb: no such host", None),
            ("running: resolved=1,0", None),
        ] {
            assert_eq!(answered(text), expected, "{text}");
        }
    }

    #[test]
    fn an_ended_changefeed_says_what_to_do() {
        let check = |running_status: &str, error: &str, message: &str, hint: &str| {
            let error = ended(7, Some(&Job::with_status(JobState::Ended, running_status, error)));
            assert!(error.message.contains(message), "{error}");
            assert!(error.hint.as_deref().unwrap().contains(hint), "{:?}", error.hint);
        };
        check("running: resolved=1,0", "", "(job 7) was cancelled", "start ebb again");
        check("", "\"t\" was truncated", "has ended: \"t\" was truncated", "--table-exclusion-filter");
        check("", "\"t\" was dropped", "was dropped", "goes on without the table");
        check("", "t has 2 column families", "families", "--table-exclusion-filter");
        check("", "must be after replica GC threshold 1,0", "GC threshold", "--stagingSchema");
        assert!(ended(7, None).message.contains("not in SHOW CHANGEFEED JOBS any more"));
    }
}
