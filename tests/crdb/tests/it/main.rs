//! The stand-in against a real PostgreSQL and a real HTTPS receiver.
#![expect(clippy::unwrap_used, reason = "functions of tests that are no tests themselves")]

mod harness;
mod receiver;

mod program;
mod session;
mod statements;

mod changes;
mod encoding;
mod keys;
mod past;
mod row_json;
mod retention;

mod delivery;
mod disorder;

mod jobs;
mod alter;
mod faults;
