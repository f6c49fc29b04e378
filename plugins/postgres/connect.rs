//! From a connection string to a session with the settings that applying needs.
//!
//! Owns: libpq's parameters, session settings. Does not own: what a mode of TLS verifies, and when plain text is spoken (the
//! sdk).

use std::collections::HashMap;
use std::sync::Once;
use std::time::Duration;

use ebb_sdk::tls::{Encryption, TlsSettings};
use ebb_sdk::{Checks, ConnectOptions, DatabaseUrl, Error, ErrorKind, Level, Result, Rounding, Topic};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{ChannelBinding, Host, SslMode as Wire, TargetSessionAttrs};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::Session;
use crate::before::Before;
use crate::error::{lacks_tls, translate};
use crate::names::Names;
use crate::own::Owned;
use crate::quoted;

/// Unless `connect_timeout` says otherwise; it covers everything up to the first answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that does not acknowledge for so long is taken for lost, also in the middle of a COMMIT.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// The server ends the transaction of a process that was stopped in the middle of it, and with it its locks.
const IDLE_IN_TRANSACTION_MS: u64 = 60_000;
/// What the client waits beyond the server's own limit.
const ANSWER_GRACE: Duration = Duration::from_secs(10);
const VERSION_MIN: u32 = 110_000;

/// What the server said of itself and of this session.
#[derive(Debug)]
pub(crate) struct Server {
    /// As `server_version_num` counts: 150018.
    pub(crate) version: u32,
    /// The schema that unqualified names mean; the progress table lives there.
    pub(crate) schema: String,
    pub(crate) user: String,
    /// As the session was given them.
    replication_role: String,
    synchronous_commit: String,
}

/// Opens a connection, looks at what the server is, and sets the session up.
pub(crate) async fn connect(options: &ConnectOptions) -> Result<Session> {
    let url = DatabaseUrl::parse(&options.url)?;
    let tls = TlsSettings::libpq(&url)?;
    let config = config(&url)?;
    // No network, no TLS: PostgreSQL knows none on a socket of the file system.
    let is_local = matches!(config.get_hosts(), [Host::Unix(_)]);
    let encryption = if is_local {
        Encryption::Never
    } else {
        tls.encryption(options.allow_insecure, &format!("the target {url}"))?
    };
    let wait = config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
    let late = |_| {
        let message = format!("cannot connect to the target {url}: no answer within {} s", wait.as_secs());
        Error::new(ErrorKind::Retry, message)
            .topic(Topic::Unreachable)
            .hint("see that the target runs and can be reached, or set connect_timeout")
    };
    let opened = async {
        let (client, driver) = open(config, &tls, encryption, &url).await?;
        let server = look_at(&client, &url).await?;
        Ok((client, driver, server))
    };
    let (client, driver, server) = timeout(wait, opened).await.map_err(late)??;
    // PostgreSQL holds these settings in an int; 0 would mean no limit.
    let apply_timeout_ms = options.apply_timeout_ms.clamp(1, i32::MAX as u64);
    let session = Session {
        client,
        driver,
        server,
        answer_wait: Duration::from_millis(apply_timeout_ms) + ANSWER_GRACE,
        options: ConnectOptions { url: String::new(), ..options.clone() },
        rounded: Rounding::default(),
        details: HashMap::new(),
        names: Names::default(),
        checks: Checks::Immediate,
        before: Before::default(),
        questions: HashMap::new(),
        statements: HashMap::new(),
        owned: Owned::default(),
        advance: None,
    };
    session.command(&settings(session.server.version, apply_timeout_ms), "set the session up").await?;
    pin(&session).await?;
    Ok(session)
}

/// Takes back what a role or database sets so that rows would be written unchecked, or a COMMIT be confirmed before it
/// lasts: staging lets go of rows after it.
async fn pin(session: &Session) -> Result<()> {
    if session.server.replication_role != "origin" {
        let user = quoted(&session.server.user);
        session.command("SET session_replication_role = origin", "set the session up").await.map_err(|error| {
            let message = format!(
                "session_replication_role of the user {user} is {}, so that nothing would be checked: {}",
                session.server.replication_role, error.message
            );
            Error::new(ErrorKind::Config, message).hint(format!(
                "ALTER ROLE {user} RESET session_replication_role; or the same of the database (ALTER DATABASE … RESET), or of \
                 the server's configuration"
            ))
        })?;
    }
    if session.server.synchronous_commit == "off" {
        session.command("SET synchronous_commit = on", "set the session up").await?;
    }
    Ok(())
}

async fn look_at(client: &Client, url: &DatabaseUrl) -> Result<Server> {
    // The search path may put functions of these names in front of the server's own.
    let sql = "SELECT pg_catalog.version(), pg_catalog.current_setting('server_version_num'), \
         pg_catalog.current_schema(), current_user, pg_catalog.current_setting('session_replication_role'), \
         pg_catalog.current_setting('synchronous_commit')";
    let answer = client.simple_query(sql).await.map_err(|failure| translate(&failure, "look at the target"))?;
    let row = answer.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let text = |at: usize| row.as_ref().and_then(|row| row.get(at)).map(String::from);
    let name = text(0).unwrap_or_default();
    if name.contains("CockroachDB") {
        return Err(Error::new(ErrorKind::Config, format!("the target {url} is a CockroachDB"))
            .topic(Topic::Version)
            .hint("--source is CockroachDB and --target must be the database migrated from: are they swapped?"));
    }
    let version = text(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    if version < VERSION_MIN {
        return Err(Error::new(ErrorKind::Config, format!("the target {url} is too old: {name}"))
            .topic(Topic::Version)
            .hint("ebb writes to PostgreSQL 11 and later"));
    }
    let schema = text(2).ok_or_else(|| {
        Error::new(ErrorKind::Config, format!("the target {url} has no current schema: its search_path names none"))
            .topic(Topic::Database)
            .hint("ALTER ROLE … SET search_path = …, or CREATE SCHEMA public")
    })?;
    let [user, replication_role, synchronous_commit] = [3, 4, 5].map(|at| text(at).unwrap_or_default());
    Ok(Server { version, schema, user, replication_role, synchronous_commit })
}

fn settings(version: u32, apply_timeout_ms: u64) -> String {
    // Waiting for a lock gives up first, so that the error says which of the two it was.
    let lock_timeout_ms = (apply_timeout_ms * 4 / 5).max(1);
    // A source transaction takes as long as it takes, and a session outlives the time between two.
    let limits = [(140_000, "SET idle_session_timeout = 0; "), (170_000, "SET transaction_timeout = 0; ")];
    let limits: String = limits.into_iter().filter(|(since, _)| version >= *since).map(|(_, sql)| sql).collect();
    format!(
        "{limits}SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; \
         SET extra_float_digits = 1; SET standard_conforming_strings = on; SET client_encoding = 'UTF8'; SET jit = off; SET row_security = off; \
         SET array_nulls = on; SET quote_all_identifiers = off; \
         SET statement_timeout = {apply_timeout_ms}; SET lock_timeout = {lock_timeout_ms}; \
         SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_MS}; \
         SET default_transaction_isolation = 'read committed'; {PLANS}"
    )
}

/// Rows are found by their keys. Without this a plan of the server's own foreign-key checks, kept from the time when a
/// table was small, reads the whole table for each row once it has grown.
const PLANS: &str = "SET enable_seqscan = off";

fn config(url: &DatabaseUrl) -> Result<Config> {
    let mut config = Config::new();
    config
        .application_name("ebb")
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES);
    // A folder as host means the socket in it, as in libpq.
    config.host(url.parameter("host").unwrap_or(if url.host.is_empty() { "localhost" } else { &url.host }));
    if let Some(port) = url.port {
        config.port(port);
    }
    if let Some(user) = url.user.clone().or_else(|| environment("PGUSER")) {
        config.user(user);
    }
    match &url.password {
        Some(password) => drop(config.password(password.reveal())),
        None => drop(environment("PGPASSWORD").map(|password| config.password(password))),
    }
    if !url.database.is_empty() {
        config.dbname(&url.database);
    }
    for (name, value) in &url.parameters {
        parameter(&mut config, name, value)?;
    }
    Ok(config)
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// One parameter of the connection string
/// (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS>).
fn parameter(config: &mut Config, name: &str, value: &str) -> Result<()> {
    match name {
        "sslmode" | "sslrootcert" | "sslcert" | "sslkey" | "sslcrl" | "host" => {}
        "port" => drop(config.port(number(name, value)?)),
        "user" => drop(config.user(value)),
        "password" => drop(config.password(value)),
        "dbname" => drop(config.dbname(value)),
        "application_name" => drop(config.application_name(value)),
        "options" => drop(config.options(with_option(config, value))),
        "search_path" => {
            let escaped = value.replace('\\', "\\\\").replace(' ', "\\ ");
            config.options(with_option(config, &format!("-c search_path={escaped}")));
        }
        "connect_timeout" => match number(name, value)? {
            0 => {}
            seconds => drop(config.connect_timeout(Duration::from_secs(seconds))),
        },
        "tcp_user_timeout" => drop(config.tcp_user_timeout(Duration::from_millis(number(name, value)?))),
        "keepalives" => drop(config.keepalives(value != "0")),
        "keepalives_idle" => drop(config.keepalives_idle(Duration::from_secs(number(name, value)?))),
        "keepalives_interval" => drop(config.keepalives_interval(Duration::from_secs(number(name, value)?))),
        "keepalives_count" => drop(config.keepalives_retries(number(name, value)?)),
        "channel_binding" => drop(config.channel_binding(match value {
            "disable" => ChannelBinding::Disable,
            "prefer" => ChannelBinding::Prefer,
            "require" => ChannelBinding::Require,
            _ => return Err(unusable(name, "it must be disable, prefer or require")),
        })),
        "target_session_attrs" => match value {
            "any" => {}
            "read-write" | "primary" => drop(config.target_session_attrs(TargetSessionAttrs::ReadWrite)),
            _ => return Err(unusable(name, "ebb writes, so that it must be any, read-write or primary")),
        },
        // What they ask for is so anyway, or is about something that this session does not have.
        "client_encoding"
        | "fallback_application_name"
        | "gssencmode"
        | "krbsrvname"
        | "gsslib"
        | "sslsni"
        | "sslcompression"
        | "load_balance_hosts"
        | "statement_cache_capacity"
        | "description_cache_capacity"
        | "default_query_exec_mode" => {
            ebb_sdk::log(Level::Debug, &format!("the parameter {name} of the target's URL has no effect"));
        }
        pool if pool.starts_with("pool_") => {
            ebb_sdk::log(Level::Debug, &format!("the parameter {name} of the target's URL has no effect"));
        }
        _ => return Err(unusable(name, "it is not known")),
    }
    Ok(())
}

fn with_option(config: &Config, option: &str) -> String {
    config.get_options().map_or_else(|| option.to_owned(), |before| format!("{before} {option}"))
}

fn number<N: std::str::FromStr>(name: &str, value: &str) -> Result<N> {
    value.parse().map_err(|_| unusable(name, "it must be a number"))
}

fn unusable(name: &str, why: &str) -> Error {
    let message = format!("the parameter {name} of the target's connection string cannot be used: {why}");
    Error::new(ErrorKind::Config, message).topic(Topic::Url).hint(
        "known are sslmode, sslrootcert, sslcert, sslkey, sslcrl, host, port, user, password, dbname, application_name, options, \
         search_path, connect_timeout, tcp_user_timeout, keepalives, keepalives_idle, keepalives_interval, \
         keepalives_count, channel_binding, target_session_attrs",
    )
}

async fn open(
    mut config: Config,
    tls: &TlsSettings,
    encryption: Encryption,
    url: &DatabaseUrl,
) -> Result<(Client, JoinHandle<()>)> {
    let doing = format!("connect to the target {url}");
    let failed = |failure: tokio_postgres::Error| match lacks_tls(&failure) {
        true => tls.unencrypted(&doing),
        false => translate(&failure, &doing),
    };
    let mut refusal = None;
    if matches!(encryption, Encryption::Never | Encryption::AfterPlain) {
        config.ssl_mode(Wire::Disable);
        match config.connect(NoTls).await {
            Ok((client, connection)) => return Ok(drive(client, connection)),
            Err(failure) if encryption == Encryption::Never => return Err(failed(failure)),
            Err(failure) => refusal = Some(failure),
        }
    }
    warn_once(tls, url);
    config.ssl_mode(if encryption == Encryption::BeforePlain { Wire::Prefer } else { Wire::Require });
    match config.connect(MakeRustlsConnect::new(tls.client_config()?)).await {
        Ok((client, connection)) => Ok(drive(client, connection)),
        // A server without TLS has said all that it has to say to the first attempt.
        Err(failure) if failure.as_db_error().is_none() => Err(failed(refusal.unwrap_or(failure))),
        Err(failure) => Err(failed(failure)),
    }
}

/// Every session of a run is connected alike.
fn warn_once(tls: &TlsSettings, url: &DatabaseUrl) {
    static WARNED: Once = Once::new();
    if let Some(warning) = tls.warning(&format!("the target {url}")) {
        WARNED.call_once(|| ebb_sdk::log(Level::Warn, &warning));
    }
}

fn drive<S, T>(client: Client, mut connection: tokio_postgres::Connection<S, T>) -> (Client, JoinHandle<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let driver = tokio::spawn(async move {
        // An error ends the connection, and the next call on the client reports it.
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notice(notice) = message
                && !ebb_sdk::values_are_hidden()
            {
                ebb_sdk::log(Level::Debug, &format!("PostgreSQL says: {}", notice.message()));
            }
        }
    });
    (client, driver)
}
