//! The PostgreSQL dialect against a real server, driven as the host drives it but without the ABI between.

#[path = "../../../../tests/edges.rs"]
mod edges;
#[path = "../../../../tests/samples.rs"]
mod samples;
mod world;
#[path = "../../../../tests/writer.rs"]
mod writer;

mod conflicts;
mod connect;
mod describe;
mod effects;
mod failures;
mod fit;
mod not_writable;
mod own;
#[path = "../../../../tests/own_tables.rs"]
mod own_tables;
mod progress;
mod rounding;
mod rows;
mod search_path;
mod triggers;
mod values;
mod verify;
