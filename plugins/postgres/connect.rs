//! From a connection string to a session with the settings that applying needs.
//!
//! Owns: libpq's parameters, TLS fallback, session settings. Does not own: what a TLS mode verifies (the sdk).

use std::collections::HashMap;
use std::time::Duration;

use ebb_sdk::tls::{SslMode, TlsSettings};
use ebb_sdk::{ConnectOptions, DatabaseUrl, Error, ErrorKind, Level, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::SslMode as Wire;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{Connection, error};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that does not acknowledge for so long is taken for lost, also in the middle of a COMMIT.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const PORT: u16 = 5432;

/// Opens a connection, looks at what the server is, and sets the session up.
pub(crate) async fn connect(options: &ConnectOptions) -> Result<Connection> {
    let url = DatabaseUrl::parse(&options.url)?;
    let tls = TlsSettings::from_url(&url, SslMode::Prefer)?.with_libpq_defaults();
    if tls.mode == SslMode::Disable && !options.allow_insecure {
        return Err(Error::new(
            ErrorKind::Config,
            format!("the target {url} has sslmode=disable: it would not be encrypted"),
        )
        .hint("use sslmode=verify-full, or admit it with --allow-tls-mode-disable"));
    }
    let config = config(&url)?;
    let client = open(config, &tls, &url).await?;
    let version: String = one(&client, "SELECT version()").await?;
    if version.starts_with("CockroachDB") {
        return Err(Error::new(ErrorKind::Config, format!("the target {url} is a CockroachDB"))
            .hint("--source is CockroachDB and --target the database migrated from: are they swapped?"));
    }
    client
        .batch_execute(&settings(options.apply_timeout_ms))
        .await
        .map_err(|failure| error::translate(&failure, "set the session up"))?;
    let schema: Option<String> = one(&client, "SELECT current_schema()::text").await?;
    let schema = schema.ok_or_else(|| {
        Error::new(ErrorKind::Config, format!("the target {url} has no current schema: its search_path names none"))
            .hint("ALTER ROLE … SET search_path, or CREATE SCHEMA public")
    })?;
    Ok(Connection { client, schema, types: HashMap::new(), statements: HashMap::new() })
}

fn settings(apply_timeout_ms: u64) -> String {
    // Waiting for a lock gives up first, so that the error says which of the two it was.
    let lock_timeout_ms = apply_timeout_ms / 2;
    format!(
        "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; \
         SET extra_float_digits = 1; SET standard_conforming_strings = on; SET jit = off; \
         SET statement_timeout = {apply_timeout_ms}; SET lock_timeout = {lock_timeout_ms}; \
         SET idle_in_transaction_session_timeout = '10min'; SET default_transaction_isolation = 'read committed'"
    )
}

fn config(url: &DatabaseUrl) -> Result<Config> {
    let mut config = Config::new();
    config
        .application_name("ebb")
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .keepalives_idle(KEEPALIVE_IDLE)
        .port(url.port.unwrap_or(PORT));
    let host = url.parameter("host").unwrap_or(if url.host.is_empty() { "localhost" } else { &url.host });
    config.host(host);
    config.user(url.user.as_deref().unwrap_or("postgres"));
    if let Some(password) = &url.password {
        config.password(password.reveal());
    }
    if !url.database.is_empty() {
        config.dbname(&url.database);
    }
    for (name, value) in &url.parameters {
        match name.as_str() {
            "sslmode" | "sslrootcert" | "sslcert" | "sslkey" | "host" => {}
            "application_name" => drop(config.application_name(value)),
            "options" => drop(config.options(value)),
            "connect_timeout" => {
                let seconds: u64 = value.parse().map_err(|_| unknown(name, "it must be a number of seconds"))?;
                config.connect_timeout(Duration::from_secs(seconds));
            }
            "password" => drop(config.password(value)),
            _ => return Err(unknown(name, "it is not known")),
        }
    }
    Ok(config)
}

fn unknown(name: &str, why: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("the parameter {name} of the target's connection string cannot be used: {why}"),
    )
    .hint("known are sslmode, sslrootcert, sslcert, sslkey, host, application_name, options, connect_timeout")
}

async fn open(mut config: Config, tls: &TlsSettings, url: &DatabaseUrl) -> Result<Client> {
    let failed = |failure: tokio_postgres::Error| error::translate(&failure, &format!("connect to the target {url}"));
    if matches!(tls.mode, SslMode::Disable | SslMode::Allow) {
        match config.connect(NoTls).await {
            Ok((client, connection)) => return Ok(drive(client, connection)),
            Err(failure) if tls.mode == SslMode::Disable => return Err(failed(failure)),
            // The server may demand TLS; what it says to that attempt is what counts.
            Err(_) => {}
        }
    }
    config.ssl_mode(if tls.mode == SslMode::Prefer { Wire::Prefer } else { Wire::Require });
    let connected = config.connect(MakeRustlsConnect::new(tls.client_config()?)).await;
    connected.map(|(client, connection)| drive(client, connection)).map_err(failed)
}

/// The connection's own task; it ends when the client is dropped.
fn drive<S, T>(client: Client, mut connection: tokio_postgres::Connection<S, T>) -> Client
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        // An error ends the connection, and the next call on the client reports it.
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notice(notice) = message {
                ebb_sdk::log(Level::Debug, &format!("PostgreSQL says: {}", notice.message()));
            }
        }
    });
    client
}

async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(client: &Client, sql: &str) -> Result<T> {
    let row = client.query_one(sql, &[]).await.map_err(|failure| error::translate(&failure, "look at the server"))?;
    row.try_get(0).map_err(|failure| error::translate(&failure, "look at the server"))
}
