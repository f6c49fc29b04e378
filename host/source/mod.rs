//! CockroachDB, over its SQL port: what it is, which tables it has, and its changefeeds.
//!
//! Owns: every statement sent to the source. Does not own: which changefeed a run uses (`changefeed`).

pub mod advisories;
mod catalog;
mod connect;
mod jobs;
mod statement;
mod types;

pub use catalog::{Place, SourceColumn, SourceTable};
pub use connect::{Source, check_url, may_pass};
pub(crate) use jobs::ended;
pub use jobs::{Job, JobState};
pub use statement::{STAGING, Statement, identifier, sink_address, tells_json_null};
