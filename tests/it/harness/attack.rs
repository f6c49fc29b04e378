//! A receiver that attacks are tried on, and whether its changefeed still gets through afterwards.
//!
//! Owns: its limits, and how its end is judged. Does not own: the attacks.

use std::time::Duration;

use super::world::{Ebb, World};

pub(crate) const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";
pub(crate) const SETTINGS: &str =
    r#"{"sink_query_parameters": "insecure_tls_skip_verify=true", "webhook_auth_header": "Bearer geheim"}"#;
const TIMES: [(&str, &str); 5] = [
    ("--handshake-timeout", "1s"),
    ("--idle-timeout", "2s"),
    ("--body-idle-timeout", "1s"),
    ("--body-timeout", "3s"),
    ("--httpResponseTimeout", "2s"),
];
/// A header that every request with a body has.
pub(crate) const JSON: &str = "Content-Type: application/json";

/// A world whose receiver admits a header, with these limits.
pub(crate) fn receiver(name: &str, limits: &str) -> (World, Ebb) {
    let world = World::new(name, TABLE);
    world.write_changefeed_settings(SETTINGS);
    let times: String =
        TIMES.iter().filter(|(flag, _)| !limits.contains(flag)).map(|(flag, time)| format!("{flag} {time} ")).collect();
    let ebb = world.fetch(&["--replicator-flags", &format!("--stagingSchema s -v {times} {limits}")]).ready();
    (world, ebb)
}

/// The changefeed still gets through.
pub(crate) fn goes_on(world: &World, ebb: Ebb) {
    world.source("INSERT INTO t SELECT coalesce(max(id), 0) + 1, 1 FROM t");
    world.wait_equal(&ebb, &["t"]);
    let log = ebb.stop();
    assert!(!log.contains("geheim") && !log.contains("panicked"), "{log}");
}

/// Roughly so long: on a slow machine a part of it is over before the measuring begins, and the end comes late.
pub(crate) fn took(what: &str, elapsed: Duration, seconds: u64) {
    let (least, most) = (Duration::from_millis(seconds * 250), Duration::from_secs(seconds + 8));
    assert!(elapsed >= least && elapsed < most, "{what} took {elapsed:?} instead of {seconds} s");
}
