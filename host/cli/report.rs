//! The flags of `ebb report-key` and `ebb verify-report`.
//!
//! Owns: their names and help. Does not own: what the commands do (`commands/report`).

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(super) struct ReportKey {
    /// File for the private key, readable by its owner only; the public key goes to FILE.pub. Neither may be there
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct VerifyReport {
    /// The report, JSON or HTML; its signature is in FILE.sig
    #[arg(value_name = "FILE")]
    pub report: PathBuf,
    /// PEM file of the public key of who has signed
    #[arg(short, long, value_name = "PUBLIC")]
    pub key: PathBuf,
}
