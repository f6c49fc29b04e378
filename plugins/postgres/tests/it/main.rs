//! The PostgreSQL dialect against a real server, driven as the host drives it but without the ABI between.

mod world;

mod conflicts;
mod connect;
mod describe;
mod failures;
mod progress;
mod rows;
mod values;
mod verify;
