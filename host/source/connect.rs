//! The connection to CockroachDB, and the questions of one value.
//!
//! Owns: libpq's parameters, the version check, errors of the connection. Does not own: what a mode of TLS verifies, and when
//! plain text is spoken (the sdk).

use std::sync::Once;
use std::time::Duration;

use ebb_sdk::tls::{Encryption, SslMode, TlsSettings};
use ebb_sdk::{DatabaseUrl, Secret, Timestamp, with_causes};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio_postgres::config::SslMode as Wire;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::unreachable::{REACH, unreachable};
use crate::code::{self, Code};
use crate::config;
use crate::error::{Error, Result, SqlState};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVES_IDLE: Duration = Duration::from_secs(30);
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
const PORT: u16 = 26257;
/// Whatever the default of the user or the database: a transaction that is not serializable has no timestamp of its own.
const ISOLATION: &str = "SET default_transaction_isolation = 'serializable'";
const SWAPPED: &str = "--source is CockroachDB and --target the database migrated from: are they swapped?";
const RANGEFEEDS: &str = "kv.rangefeed.enabled";

/// The source, over one connection that is made anew when it was lost.
pub struct Source {
    /// `None` while a statement is under way, and after one whose answer never came.
    client: Mutex<Option<Client>>,
    url: DatabaseUrl,
    tls: TlsSettings,
    encryption: Encryption,
    version: String,
}

/// Whether the connection string of the source can be read at all.
pub fn check_url(url: &Secret) -> Result<()> {
    taken_apart(url).and_then(|(url, _)| config(&url)).map(drop)
}

impl Source {
    /// Connects and makes sure that it is a CockroachDB.
    pub async fn connect(settings: &config::Source) -> Result<Self> {
        Self::reach(settings).await?
    }

    /// The same; the inner error is one that may pass by itself.
    pub async fn reach(settings: &config::Source) -> Result<Result<Self>> {
        let (url, tls) = taken_apart(&settings.url)?;
        let encryption = tls
            .encryption(settings.allow_insecure, &format!("the source {url}"))
            .map_err(|error| coded(code::source::NOT_ENCRYPTED, error))?;
        tls.client_config().map_err(|error| of_flag(code::source::CERTIFICATE, error))?;
        if encryption != Encryption::Never {
            warn_unless_verified(&url, &tls);
        }
        let client = match open(&url, &tls, encryption).await {
            Ok(client) => Mutex::new(Some(client)),
            Err(error) => return passing(error),
        };
        let mut source = Self { client, url, tls, encryption, version: String::new() };
        source.version = match source.value("SELECT version()").await {
            Ok(version) => version,
            Err(error) => return passing(error),
        };
        if !source.version.starts_with("CockroachDB") {
            return Err(Error::new(
                code::source::NOT_COCKROACHDB,
                format!("the source {} is not a CockroachDB: {}", source.url, source.version),
            )
            .hint(SWAPPED));
        }
        Ok(Ok(source))
    }

    /// `CockroachDB CCL v25.2.1 (…)`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The database of the connection string.
    pub fn database(&self) -> &str {
        if self.url.database.is_empty() { "defaultdb" } else { &self.url.database }
    }

    /// The connection string without its password.
    pub fn place(&self) -> String {
        self.url.to_string()
    }

    /// The user of the connection string.
    pub fn user(&self) -> &str {
        user(&self.url)
    }

    /// Changefeeds of tables need rangefeeds.
    pub async fn check_rangefeeds(&self) -> Result<()> {
        let value = self.value(&format!("SHOW CLUSTER SETTING {RANGEFEEDS}")).await.map_err(|error| match error {
            error if error.sqlstate == Some(SqlState::INSUFFICIENT_PRIVILEGE) => {
                Error { code: code::source::RIGHTS, ..error }
                    .hint(format!("GRANT SYSTEM VIEWCLUSTERSETTING TO {};", self.user()))
            }
            error => error,
        })?;
        match value.as_str() {
            "t" | "true" | "on" => Ok(()),
            _ => Err(Error::new(
                code::source::RANGEFEEDS,
                format!("rangefeeds are off on the source {} ({RANGEFEEDS} = {value})", self.url),
            )
            .hint(format!("SET CLUSTER SETTING {RANGEFEEDS} = true;"))),
        }
    }

    /// The source's own time: everything committed so far lies at or below it.
    pub async fn now(&self) -> Result<Timestamp> {
        let text = self.value("SELECT cluster_logical_timestamp()").await?;
        text.parse().map_err(|_| {
            Error::new(code::source::UNEXPECTED_ANSWER, format!("the source's time {text} is not a timestamp"))
        })
    }

    /// A further connection, with the same settings.
    pub(super) async fn connection(&self) -> Result<Client> {
        open(&self.url, &self.tls, self.encryption).await
    }

    pub(super) async fn value(&self, sql: &str) -> Result<String> {
        let rows = self.rows(sql).await?;
        let value = rows.first().and_then(|row| row.get(0));
        value
            .map(str::to_owned)
            .ok_or_else(|| Error::new(code::source::UNEXPECTED_ANSWER, format!("the source gives no answer to {sql}")))
    }

    /// Rows as text, within the time limit. A statement that was under way when the connection broke is not repeated.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<SimpleQueryRow>> {
        let mut idle = self.client.lock().await;
        let client = match idle.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => open(&self.url, &self.tls, self.encryption).await?,
        };
        let answer = tokio::time::timeout(STATEMENT_TIMEOUT, client.simple_query(sql)).await;
        let answer = answer.map_err(|_| self.silent(STATEMENT_TIMEOUT))?;
        *idle = Some(client);
        let messages = answer.map_err(|failure| self.failed(&failure))?;
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }

    /// No answer in time.
    pub(super) fn silent(&self, limit: Duration) -> Error {
        let message = format!("the source {} does not answer within {} s", self.url, limit.as_secs());
        Error::new(code::source::UNREACHABLE, message).hint("check that the cluster is healthy: cockroach node status")
    }

    /// The statement is not repeated: it may hold secrets.
    pub(super) fn failed(&self, failure: &tokio_postgres::Error) -> Error {
        match failure.as_db_error() {
            None => Error::new(
                code::source::UNREACHABLE,
                format!("the connection to the source {} failed: {}", self.url, with_causes(failure)),
            )
            .hint("check that the cluster runs, and that this machine reaches its SQL port"),
            Some(answer) => {
                let state = SqlState::new(answer.code().code());
                let code = match state {
                    Some(SqlState::INSUFFICIENT_PRIVILEGE) => code::source::RIGHTS,
                    Some(SqlState::NO_LICENSE) => code::changefeed::LICENSE,
                    _ => code::source::REFUSES,
                };
                let message = format!("the source {} refuses a statement: {}", self.url, answer.message());
                let error = Error::new(code, message).sqlstate(state);
                match answer.hint() {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            }
        }
    }
}

/// Whether waiting may help. A statement that is wrong, or not permitted, stays so; a node that drains, a range that cannot
/// be reached, a time limit may pass.
pub fn may_pass(error: &Error) -> bool {
    // Who may log in, databases, names and rights, features.
    const FINAL: [&[u8; 2]; 4] = [b"28", b"3D", b"42", b"0A"];
    error.sqlstate.is_none_or(|state| !FINAL.contains(&&state.class()))
}

fn passing<T>(error: Error) -> Result<Result<T>> {
    if may_pass(&error) { Ok(Err(error)) } else { Err(error) }
}

fn taken_apart(url: &Secret) -> Result<(DatabaseUrl, TlsSettings)> {
    let url = DatabaseUrl::parse(url.reveal()).map_err(|error| of_flag(code::source::URL, error))?;
    if !matches!(url.scheme.as_str(), "postgres" | "postgresql") {
        return Err(Error::new(
            code::source::NOT_COCKROACHDB,
            format!("the source {url} is not a CockroachDB: its scheme is not postgres://"),
        )
        .hint(SWAPPED));
    }
    let tls = TlsSettings::libpq(&url).map_err(|error| of_flag(code::source::URL, error))?;
    Ok((url, tls))
}

fn coded(code: Code, error: ebb_sdk::Error) -> Error {
    Error { code, ..error.into() }
}

/// Of a part of the connection string, whichever side's it may be.
fn of_flag(code: Code, error: ebb_sdk::Error) -> Error {
    Error { message: format!("--source: {}", error.message), ..coded(code, error) }
}

/// Encrypted, but with whom? Said once.
fn warn_unless_verified(url: &DatabaseUrl, tls: &TlsSettings) {
    static WARNED: Once = Once::new();
    if tls.mode == SslMode::Disable || tls.is_verified() {
        return;
    }
    let named = url.parameter("sslmode").map_or("no sslmode".to_owned(), |_| format!("sslmode={}", tls.mode));
    WARNED.call_once(|| {
        tracing::warn!(
            error_code = code::source::NOT_VERIFIED.text(),
            hint = "use sslmode=verify-full with sslrootcert=PATH of the cluster's CA certificate",
            "the connection to the source {url} is encrypted, but the server's certificate is not verified ({named}): another \
             server that answers in its place learns the password"
        );
    });
}

fn config(url: &DatabaseUrl) -> Result<Config> {
    let mut config = Config::new();
    config
        .application_name("ebb")
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives_idle(KEEPALIVES_IDLE)
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .host(if url.host.is_empty() { "localhost" } else { &url.host })
        .port(url.port.unwrap_or(PORT))
        .user(user(url))
        .dbname(if url.database.is_empty() { "defaultdb" } else { &url.database });
    if let Some(password) = &url.password {
        config.password(password.reveal());
    }
    for (name, value) in &url.parameters {
        match name.as_str() {
            "sslmode" | "sslrootcert" | "sslcert" | "sslkey" | "sslcrl" | "application_name" => {}
            "options" => drop(config.options(value)),
            "connect_timeout" => match value.parse() {
                Ok(seconds @ 1_u64..) => drop(config.connect_timeout(Duration::from_secs(seconds))),
                _ => {
                    return Err(Error::new(
                        code::source::URL,
                        "connect_timeout in --source is not a number of seconds",
                    )
                    .hint("write it as connect_timeout=10"));
                }
            },
            _ => {
                return Err(Error::new(code::source::URL, format!("--source has an unknown parameter, {name}")).hint(
                    "known are sslmode, sslrootcert, sslcert, sslkey, sslcrl, connect_timeout, options, application_name",
                ));
            }
        }
    }
    Ok(config)
}

fn user(url: &DatabaseUrl) -> &str {
    url.user.as_deref().unwrap_or("root")
}

/// The driver's own limit ends with the TCP connection; this one holds for TLS and the login too.
async fn open(url: &DatabaseUrl, tls: &TlsSettings, encryption: Encryption) -> Result<Client> {
    let config = config(url)?;
    let limit = config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
    let opened = async {
        let client = log_in(config, url, tls, encryption).await?;
        client.simple_query(ISOLATION).await.map_err(|failure| unreachable(url, tls, &failure))?;
        Ok(client)
    };
    tokio::time::timeout(limit, opened).await.unwrap_or_else(|_| {
        Err(Error::new(
            code::source::UNREACHABLE,
            format!("cannot connect to the source {url}: no answer within {} s", limit.as_secs()),
        )
        .hint(REACH))
    })
}

async fn log_in(mut config: Config, url: &DatabaseUrl, tls: &TlsSettings, encryption: Encryption) -> Result<Client> {
    if matches!(encryption, Encryption::Never | Encryption::AfterPlain) {
        config.ssl_mode(Wire::Disable);
        match config.connect(NoTls).await {
            Ok((client, connection)) => return Ok(drive(client, connection)),
            Err(failure) if encryption == Encryption::Never => return Err(unreachable(url, tls, &failure)),
            // The server may demand TLS; what it says to that attempt is what counts.
            Err(_) => {}
        }
    }
    config.ssl_mode(if encryption == Encryption::BeforePlain { Wire::Prefer } else { Wire::Require });
    let connected = config.connect(MakeRustlsConnect::new(tls.client_config()?)).await;
    connected.map(|(client, connection)| drive(client, connection)).map_err(|failure| {
        let lacks_tls = failure.as_db_error().is_none() && with_causes(&failure).contains("does not support TLS");
        match lacks_tls {
            // It may have answered in the cluster's place, so that trying again may help.
            true => coded(code::source::NOT_ENCRYPTED, tls.unencrypted(&format!("connect to the source {url}"))),
            false => unreachable(url, tls, &failure),
        }
    })
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

#[cfg(test)]
mod tests {
    use ebb_servers::{Impostor, Protocol};

    use super::*;

    #[test]
    fn a_url_that_cannot_be_read_is_refused() {
        let check = |url: &str, expected: Option<&str>| match (check_url(&Secret::new(url)), expected) {
            (Ok(()), None) => {}
            (Err(error), Some(expected)) => {
                let text = format!("{error} | {}", error.hint.as_deref().unwrap_or_default());
                assert!(text.contains(expected) && !text.contains("geheim"), "{text}");
            }
            (checked, expected) => panic!("{url}: {checked:?} instead of {expected:?}"),
        };
        check("postgres://root:geheim@localhost:26257/defaultdb?sslmode=verify-full", None);
        check("postgresql://root@localhost/?sslmode=disable&connect_timeout=5&options=-c%20x%3Dy", None);
        check("postgres://root:geheim@localhost/db?sslmode=maybe", Some("sslmode=verify-full"));
        check("postgres://root:geheim@localhost/db?connect_timeout=soon", Some("connect_timeout=10"));
        check("postgres://root:geheim@localhost/db?nonsense=1", Some("known are sslmode"));
        check("other://root:geheim@localhost/db", Some("swapped"));
        check("localhost:26257", Some("scheme"));
    }

    #[tokio::test]
    async fn a_connection_that_is_not_encrypted_must_be_admitted() {
        let url = Secret::new("postgres://root:geheim@localhost:1/db?sslmode=disable");
        let refused = Source::connect(&config::Source { url, allow_insecure: false }).await.err().unwrap();
        assert!(refused.hint.as_deref().unwrap().contains("--allow-tls-mode-disable"), "{refused:?}");
        assert!(!format!("{refused:?}").contains("geheim"));
    }

    /// Whoever answers in the cluster's place says that it has no TLS.
    #[tokio::test]
    async fn a_stranger_without_tls_is_not_told_the_password() {
        for query in ["", "?sslmode=prefer", "?sslmode=allow", "?sslmode=require"] {
            let impostor = Impostor::start(Protocol::Postgres).unwrap();
            let url = Secret::new(format!("postgres://root:geheim@127.0.0.1:{}/db{query}", impostor.port()));
            let source = config::Source { url, allow_insecure: false };
            let refused = Source::connect(&source).await.err().unwrap();
            assert!(refused.message.contains("does not support TLS"), "{refused:?}");
            let is_admitted = refused.hint.as_deref().unwrap().contains("--allow-tls-mode-disable");
            assert_eq!(is_admitted, !query.ends_with("require"), "{refused:?}");
            assert_eq!(String::from_utf8_lossy(&impostor.heard()), "", "{query}");
            // It would have got it: what is admitted is told.
            if is_admitted {
                Source::connect(&config::Source { allow_insecure: true, ..source }).await.err().unwrap();
                assert!(String::from_utf8_lossy(&impostor.heard()).contains("geheim"), "{query}");
            }
        }
    }
}
