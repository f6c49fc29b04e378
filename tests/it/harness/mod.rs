//! What tests stand on and share: servers, the program, clients, feeds, faults.
//!
//! Owns: no test. `tests/it`, `tests/schemas` and `tests/soak` have it as a module. Does not own: the servers themselves
//! (`tests/servers`) and the stand-in for CockroachDB (`tests/crdb`).

pub(crate) mod world;
pub(crate) mod target;
pub(crate) mod ebb;
pub(crate) mod codes;
pub(crate) mod like_fetch;
pub(crate) mod pages;
pub(crate) mod browser;
pub(crate) mod promtool;

pub(crate) mod client;
pub(crate) mod folders;
pub(crate) mod forward;

pub(crate) mod post;
pub(crate) mod raw_client;
pub(crate) mod receiver;
pub(crate) mod attack;

pub(crate) mod workloads;
pub(crate) mod chaos;
pub(crate) mod comparison;
