//! The real binary against real servers: a PostgreSQL as target, the CockroachDB stand-in as source, TLS between all of
//! them. Each test has databases of its own; the servers are shared and end with the process.

mod harness;

mod plugins;
mod config;
mod init;
mod command_line_secrets;
mod secrets;
mod log_values;
mod terminal;
mod errors;

mod check;
mod findings;
mod names;
mod tables;
mod refused_tables;
mod keys;
mod keys_between;

mod changefeed;
mod access;
mod certificates;
mod grants;
mod revocation;

mod requests;
mod connections;
mod bodies;
mod late_rows;
mod feed;

mod silence;
mod status;
mod support_bundle;
mod survey;
mod history;
mod hooks;
mod impostor;
mod pages;
mod page;
mod liveness;
mod metrics;
mod monitoring;
mod staging;

mod rows;
mod cases;
mod constraints;
mod triggers;
mod verify;
mod verify_interrupted;
mod verify_load;
mod verify_speed;
mod verify_status;
mod verify_tables;
mod verify_values;
mod large_transactions;
mod mysql;

mod row_errors;
mod refused_rows;

mod lifecycle;
mod lease;
mod backups;
mod source_down;
mod target_down;
mod fault_rounds;

mod procedures;
mod runbooks;

mod cutback;
mod cutback_target;
mod report;
mod docs;
mod scripts;
mod tidy;
mod trace;
mod traps;
