//! The connection to CockroachDB, and the questions of one value.
//!
//! Owns: libpq's parameters and TLS fallback, the version check, errors of the connection. Does not own: what a TLS mode
//! verifies (the sdk).

use std::time::Duration;

use ebb_sdk::tls::{SslMode, TlsSettings};
use ebb_sdk::{DatabaseUrl, Timestamp};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::SslMode as Wire;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config;
use crate::error::{Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
const PORT: u16 = 26257;
const RANGEFEEDS: &str = "kv.rangefeed.enabled";

/// One connection to the source.
pub struct Source {
    client: Client,
    url: DatabaseUrl,
    version: String,
}

impl Source {
    /// Connects and makes sure that it is a CockroachDB.
    pub async fn connect(settings: &config::Source) -> Result<Self> {
        let url = DatabaseUrl::parse(settings.url.reveal())?;
        let tls = TlsSettings::from_url(&url, SslMode::Prefer)?.with_libpq_defaults();
        if tls.mode == SslMode::Disable && !settings.allow_insecure {
            return Err(Error::new(format!("the source {url} has sslmode=disable: it would not be encrypted"))
                .hint("use sslmode=verify-full, or admit it with --allow-tls-mode-disable"));
        }
        let client = open(config(&url)?, &tls, &url).await?;
        let mut source = Self { client, url, version: String::new() };
        source.version = source.value("SELECT version()").await?;
        if !source.version.starts_with("CockroachDB") {
            return Err(Error::new(format!("the source {} is not a CockroachDB: {}", source.url, source.version))
                .hint("--source is CockroachDB and --target the database migrated from: are they swapped?"));
        }
        Ok(source)
    }

    /// `CockroachDB CCL v25.2.1 (…)`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The database of the connection string.
    pub fn database(&self) -> &str {
        if self.url.database.is_empty() { "defaultdb" } else { &self.url.database }
    }

    /// Changefeeds of tables need rangefeeds.
    pub async fn check_rangefeeds(&self) -> Result<()> {
        let value = self.value(&format!("SHOW CLUSTER SETTING {RANGEFEEDS}")).await.map_err(|error| match error {
            error if error.fields.iter().any(|(_, code)| code == "42501") => {
                error.hint("GRANT SYSTEM VIEWCLUSTERSETTING TO the user of --source")
            }
            error => error,
        })?;
        match value.as_str() {
            "t" | "true" | "on" => Ok(()),
            _ => Err(Error::new(format!("rangefeeds are off on the source {} ({RANGEFEEDS} = {value})", self.url))
                .hint(format!("SET CLUSTER SETTING {RANGEFEEDS} = true;"))),
        }
    }

    /// The source's own time: everything committed so far lies at or below it.
    pub async fn now(&self) -> Result<Timestamp> {
        let text = self.value("SELECT cluster_logical_timestamp()").await?;
        text.parse().map_err(|_| Error::new(format!("the source's time {text} is not a timestamp")))
    }

    async fn value(&self, sql: &str) -> Result<String> {
        let rows = self.rows(sql).await?;
        let value = rows.first().and_then(|row| row.get(0));
        value.map(str::to_owned).ok_or_else(|| Error::new(format!("the source gives no answer to {sql}")))
    }

    /// Rows as text, within the time limit.
    pub(super) async fn rows(&self, sql: &str) -> Result<Vec<SimpleQueryRow>> {
        let answer = tokio::time::timeout(STATEMENT_TIMEOUT, self.client.simple_query(sql)).await;
        let answer = answer.map_err(|_| {
            Error::new(format!("the source {} does not answer within {} s", self.url, STATEMENT_TIMEOUT.as_secs()))
                .hint("see that the cluster is healthy")
        })?;
        let messages = answer.map_err(|failure| self.failed(&failure))?;
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }

    /// The statement is not repeated: it may hold secrets.
    fn failed(&self, failure: &tokio_postgres::Error) -> Error {
        match failure.as_db_error() {
            None => Error::new(format!("the connection to the source {} failed: {}", self.url, with_causes(failure)))
                .hint("see that the cluster runs and can be reached"),
            Some(answer) => {
                let error = Error::new(format!("the source {} refuses: {}", self.url, answer.message()))
                    .field("code", answer.code().code());
                match answer.hint() {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            }
        }
    }
}

fn config(url: &DatabaseUrl) -> Result<Config> {
    let mut config = Config::new();
    config
        .application_name("ebb")
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .host(if url.host.is_empty() { "localhost" } else { &url.host })
        .port(url.port.unwrap_or(PORT))
        .user(url.user.as_deref().unwrap_or("root"))
        .dbname(if url.database.is_empty() { "defaultdb" } else { &url.database });
    if let Some(password) = &url.password {
        config.password(password.reveal());
    }
    for (name, value) in &url.parameters {
        match name.as_str() {
            "sslmode" | "sslrootcert" | "sslcert" | "sslkey" | "connect_timeout" | "application_name" => {}
            "options" => drop(config.options(value)),
            _ => {
                return Err(Error::new(format!("the parameter {name} of --source is not known"))
                    .hint("known are sslmode, sslrootcert, sslcert, sslkey, options, application_name"));
            }
        }
    }
    Ok(config)
}

async fn open(mut config: Config, tls: &TlsSettings, url: &DatabaseUrl) -> Result<Client> {
    if matches!(tls.mode, SslMode::Disable | SslMode::Allow) {
        match config.connect(NoTls).await {
            Ok((client, connection)) => return Ok(drive(client, connection)),
            Err(failure) if tls.mode == SslMode::Disable => return Err(unreachable(url, &failure)),
            // The server may demand TLS; what it says to that attempt is what counts.
            Err(_) => {}
        }
    }
    config.ssl_mode(if tls.mode == SslMode::Prefer { Wire::Prefer } else { Wire::Require });
    let connected = config.connect(MakeRustlsConnect::new(tls.client_config()?)).await;
    connected.map(|(client, connection)| drive(client, connection)).map_err(|failure| unreachable(url, &failure))
}

fn drive<S, T>(client: Client, connection: tokio_postgres::Connection<S, T>) -> Client
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // An error ends the connection, and the next statement reports it.
    tokio::spawn(async move { drop(connection.await) });
    client
}

fn unreachable(url: &DatabaseUrl, failure: &tokio_postgres::Error) -> Error {
    let code = failure.code().map(|code| code.code().to_owned());
    let text = with_causes(failure);
    let hint = match code.as_deref() {
        Some("28P01" | "28000") => "see user and password in --source",
        Some("3D000") => "see the database in --source",
        _ if text.contains("certificate") => "see sslmode and sslrootcert in --source, and the cluster's certificates",
        _ => "see host and port in --source, and that the cluster runs",
    };
    Error::new(format!("cannot connect to the source {url}: {text}")).hint(hint)
}

/// The driver hides the reason in the causes.
fn with_causes(failure: &tokio_postgres::Error) -> String {
    let mut text = failure.to_string();
    let mut cause = std::error::Error::source(failure);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(&format!(": {inner_text}"));
        }
        cause = inner.source();
    }
    text
}
