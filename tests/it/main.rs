//! The real binary against real servers: a PostgreSQL as target, the CockroachDB stand-in as source, TLS between all of
//! them. Each test has databases of its own; the servers are shared and end with the process.

mod chaos;
mod constraints;
mod ebb;
mod failures;
mod feed;
mod lifecycle;
mod names;
mod plugins;
mod promises;
mod psql;
mod rows;
mod tidy;
mod workloads;
mod world;
