//! The PostgreSQL dialect against a real server, driven as the host drives it but without the ABI between.

mod world;
#[path = "../../../../tests/writer.rs"]
mod writer;
#[path = "../../../../tests/samples.rs"]
mod samples;
#[path = "../../../../tests/edges.rs"]
mod edges;
#[path = "../../../../tests/own_tables.rs"]
mod own_tables;

mod connect;
mod search_path;
mod describe;
mod not_writable;
mod fit;
mod own;
mod progress;

mod values;
mod rounding;

mod rows;
mod conflicts;
mod effects;
mod triggers;
mod verify;

mod reader;
mod snapshot;
mod compare;
mod compare_values;
mod row_keys;

mod failures;
