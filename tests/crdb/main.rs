//! The stand-in as a program: flags in, one JSON line out when it is ready, and a clean end on SIGTERM or ctrl-c.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ebb_crdb::{Crdb, CrdbOptions, Error, Tls};
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLES: &str = "\
Examples:
  ebb-crdb --backend postgres://postgres:secret@127.0.0.1:5432
  ebb-crdb --backend 'host=/run/postgresql user=postgres' --listen 127.0.0.1:26257 --certs-dir certs --password app=secret

Once ready it prints one line such as
  {\"addr\":\"127.0.0.1:26257\",\"url\":\"postgres://root@127.0.0.1:26257/defaultdb?sslmode=disable\"}

Faults are injected by SQL: SELECT crdb_internal.inject_fault('answer_lost', count => 2);
Known are answer_lost, cut_mid_body, replay, duplicates, slow, resolved_repeated, resolved_back, reversed and
extra_fields; 'none' takes back what has not happened yet.";

/// A stand-in for CockroachDB in front of a real PostgreSQL, for tests and demonstrations
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// The PostgreSQL that holds the tables; the user must be a superuser
    #[arg(long, value_name = "URL")]
    backend: String,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Folder with ca.crt, node.crt and node.key; clients must then use TLS
    #[arg(long, value_name = "DIR")]
    certs_dir: Option<PathBuf>,
    /// Clients must show a certificate signed by ca.crt
    #[arg(long, requires = "certs_dir")]
    require_client_cert: bool,
    /// The release to be played
    #[arg(long, value_name = "VERSION", default_value = "25.2.1")]
    version_string: String,
    /// A user that must give this password; may be repeated
    #[arg(long, value_name = "USER=PASSWORD", value_parser = parse_password)]
    password: Vec<(String, String)>,
    /// Connections of each feed for rows
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    sink_io_workers: usize,
}

fn parse_password(text: &str) -> Result<(String, String), String> {
    let (user, password) = text.split_once('=').ok_or("write it as USER=PASSWORD")?;
    Ok((user.to_owned(), password.to_owned()))
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let crdb = start(arguments).await?;
    let ready = serde_json::json!({ "addr": crdb.addr().to_string(), "url": crdb.url("defaultdb", "root") });
    writeln!(std::io::stdout(), "{ready}")?;
    tokio::select! {
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => result?,
    }
    crdb.stop().await;
    Ok(())
}

async fn start(arguments: Arguments) -> Result<Crdb, Error> {
    let require_client_cert = arguments.require_client_cert;
    let tls = arguments.certs_dir.map(|dir| Tls {
        cert: dir.join("node.crt"),
        key: dir.join("node.key"),
        ca: dir.join("ca.crt"),
        require_client_cert,
    });
    Crdb::start(CrdbOptions {
        backend: arguments.backend,
        listen: arguments.listen,
        tls,
        version: arguments.version_string,
        passwords: BTreeMap::from_iter(arguments.password),
        sink_io_workers: arguments.sink_io_workers,
        ..CrdbOptions::default()
    })
    .await
}
