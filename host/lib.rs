//! ebb: replicates changes from CockroachDB back to the database that an application was migrated from.
//!
//! The modules stand in the order of the life of one change, after what all of them need.

pub mod buffer;
pub mod code;
pub mod config;
pub mod error;
pub mod findings;
pub mod lasting;
pub mod identity;
pub mod listen;
pub mod history;
pub mod log;
pub mod logged;
pub mod mask;
pub mod measure;
mod private;
mod proof;
pub mod threads;

pub mod names;
pub mod columns;

pub mod access;
pub mod cli;
pub mod commands;
pub mod consent;

pub mod plugin;
pub mod source;
pub mod tables;
pub mod target;
pub mod triggers;

pub mod receive;
pub mod stage;
pub mod row;
pub mod order;
pub mod apply;

pub mod changefeed;
pub mod daemon;
pub mod hooks;
pub mod signals;
pub mod status;

pub mod verify;
pub mod cutback;
pub mod report;
