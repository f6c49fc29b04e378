//! What tests stand on and share: servers, the program, clients, feeds, faults.
//!
//! Owns: no test. `tests/it`, `tests/schemas` and `tests/soak` have it as a module. Does not own: the servers themselves
//! (`tests/servers`) and the stand-in for CockroachDB (`tests/crdb`).

pub mod world;
pub mod target;
pub mod ebb;
pub mod pages;

pub mod client;
pub mod folders;
pub mod forward;

pub mod post;
pub mod raw_client;
pub mod receiver;
pub mod attack;

pub mod workloads;
pub mod chaos;
