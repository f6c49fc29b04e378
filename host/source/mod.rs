//! CockroachDB, over its SQL port: what it is, and which tables it has.
//!
//! Owns: the connection, and what the source's errors mean. Does not own: changefeeds (`changefeed`).

pub mod advisories;
mod catalog;
mod cause;
mod connect;
mod identifier;
mod past;
mod release;
mod survey;
mod types;
mod unreachable;

pub use catalog::{Chosen, Place, PrimaryKey, SourceColumn, SourceTable, UniqueIndexes};
pub use cause::Cause;
pub use connect::{Source, check_url, may_pass};
pub use identifier::identifier;
pub use past::{Hold, Past, is_collected, is_no_value};
pub use release::{Release, own_options, release, tells_json_null};
/// One row of an answer, as texts by the names of columns.
pub(crate) use tokio_postgres::SimpleQueryRow as AnswerRow;
