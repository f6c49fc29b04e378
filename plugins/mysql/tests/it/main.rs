//! The MySQL dialect against real servers of both flavours, driven as the host drives it but without the ABI between.

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
mod describe;
mod fit;
mod own;
mod progress;

mod values;
mod rounding;
mod letters;
mod keys;

mod rows;
mod survey;
mod conflicts;
mod triggers;

mod snapshot;
mod compare;
mod compare_pairs;
mod compare_written;
mod row_keys;

mod failures;
