//! The MySQL dialect against real servers of both flavours, driven as the host drives it but without the ABI between.

mod world;

mod conflicts;
mod connect;
mod describe;
mod failures;
mod progress;
mod rows;
mod values;
