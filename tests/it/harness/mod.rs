//! What tests stand on and share: servers, the program, clients, feeds, faults.
//!
//! Owns: no test. `tests/it`, `tests/schemas` and `tests/soak` have it as a module. Does not own: the servers themselves
//! (`tests/servers`) and the stand-in for CockroachDB (`tests/crdb`).

pub mod attack;
pub mod chaos;
pub mod client;
pub mod ebb;
pub mod folders;
pub mod forward;
pub mod pages;
pub mod post;
pub mod raw_client;
pub mod receiver;
pub mod target;
pub mod workloads;
pub mod world;
