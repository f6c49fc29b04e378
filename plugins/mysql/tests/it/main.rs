//! The MySQL dialect against real servers of both flavours, driven as the host drives it but without the ABI between.

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
mod failures;
mod fit;
mod keys;
mod letters;
mod own;
#[path = "../../../../tests/own_tables.rs"]
mod own_tables;
mod progress;
mod rounding;
mod rows;
mod triggers;
mod values;
