//! Tables of ebb's own that somebody else has changed. A module of the plugins' tests.
//!
//! Owns: that none of a session's ways to such a table reads or writes it. Does not own: what is planted in one.

use ebb_sdk::{Checks, ErrorKind, LeaseRenewal, Session};

/// Tries every way to the progress table, each of which must be refused for `expected`; returns the hint.
pub(crate) async fn progress_is_refused(
    session: &mut impl Session,
    feed: &str,
    planted: &str,
    expected: &str,
) -> String {
    let lease = LeaseRenewal { feed: feed.into(), epoch: 1, alive_ms: 1000, note: None };
    let errors = [
        session.progress(feed).await.expect_err("it is refused"),
        session.lease_state(feed).await.expect_err("it is refused"),
        session.renew(&lease).await.expect_err("it is refused"),
        session.begin(Checks::Immediate).await.expect_err("it is refused"),
        session.take_over(feed, 1).await.expect_err("it is refused"),
    ];
    for error in &errors {
        assert!(error.kind == ErrorKind::Config && error.message.contains(expected), "{planted}: {error:?}");
    }
    errors[0].hint.clone().expect("a hint")
}

/// The statements of a hint that are an administrator's.
pub(crate) fn statements(hint: &str) -> &str {
    hint.split_once("administrator of the target: ").expect("statements").1
}
