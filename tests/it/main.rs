//! The real binary against real servers: a PostgreSQL as target, the CockroachDB stand-in as source, TLS between all of
//! them. Each test has databases of its own; the servers are shared and end with the process.

mod access;
mod cases;
mod changefeed;
mod chaos;
mod client;
mod config;
mod constraints;
mod ebb;
mod failures;
mod faults;
mod feed;
mod findings;
mod hostile;
mod keys;
mod lease;
mod lifecycle;
mod mysql;
mod names;
mod plugins;
mod post;
mod promises;
mod receiver;
mod rows;
mod runbooks;
mod scripts;
mod secrets;
mod source_down;
mod stranger;
mod streamed;
mod tables;
mod target;
mod tidy;
mod triggers;
mod workloads;
mod world;
