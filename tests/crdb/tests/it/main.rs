//! The stand-in against a real PostgreSQL and a real HTTPS receiver.
#![expect(clippy::unwrap_used, reason = "functions of tests that are no tests themselves")]

mod faults;
mod harness;
mod receiver;

mod alter;
mod changes;
mod delivery;
mod disorder;
mod encoding;
mod jobs;
mod keys;
mod past;
mod program;
mod session;
mod statements;
