//! The real binary against real servers: a PostgreSQL as target, the CockroachDB stand-in as source, TLS between all of
//! them. Each test has databases of its own; the servers are shared and end with the process.

mod constraints;
mod failures;
mod feed;
mod held;
mod lifecycle;
mod names;
mod plugins;
mod promises;
mod rows;
mod tidy;
mod world;
