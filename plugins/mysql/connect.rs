//! From a connection string to a session with the settings that applying needs.
//!
//! Owns: parameters, session settings, telling MySQL from MariaDB. Does not own: what the modes of TLS are called, and when
//! plain text is spoken (the sdk).

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use ebb_sdk::tls::{Encryption, SslMode, TlsSettings, unusable as unusable_file, without_authority};
use ebb_sdk::{ConnectOptions, DatabaseUrl, Error, ErrorKind, Level, Result, Rounding, Topic};
use mysql_async::prelude::Queryable;
use mysql_async::{ClientIdentity, Conn, DriverError, Opts, OptsBuilder, SslOpts};
use rustls::CertificateError;
use tokio::time::timeout;

use crate::before::Before;
use crate::error::translate;
use crate::{Session, Tables};

const PORT: u16 = 3306;
/// Unless `connect_timeout` says otherwise; it covers everything up to the first answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// The server ends the transaction of a process that was stopped in the middle of it, and with it its locks: until then
/// nobody else can take the feed over.
pub(crate) const IDLE_IN_TRANSACTION_SECONDS: u64 = 10;
/// MySQL has no such limit; there it is the session that ends when nothing comes for so long, and what is so long changes
/// with the transaction.
pub(crate) const IDLE_SECONDS: u64 = 600;
/// How long the server waits for the rest of a message, and for the client to take an answer.
const NET_SECONDS: u64 = 60;
/// What the client waits beyond the server's own limit.
pub(crate) const ANSWER_GRACE: Duration = Duration::from_secs(10);
/// Statements that the connection keeps prepared.
const STATEMENTS_MAX: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    MySql,
    MariaDb,
}

/// What the server said of itself and of this session.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) flavour: Flavour,
    /// `MariaDB 10.11.19`.
    pub(crate) name: String,
    pub(crate) database: String,
    /// As GRANT names it.
    pub(crate) user: String,
    /// Longest message that it takes.
    pub(crate) packet_bytes_max: usize,
}

/// Opens a connection, looks at what the server is, and sets the session up.
pub(crate) async fn connect(options: &ConnectOptions) -> Result<Session> {
    let url = DatabaseUrl::parse(&options.url)?;
    // As of MySQL's own clients: an authority that is named is there to be used.
    let names_authority = url.parameter("sslrootcert").is_some_and(|path| !path.is_empty());
    let default = if names_authority { SslMode::VerifyCa } else { SslMode::Disable };
    let tls = TlsSettings::from_url(&url, default)?;
    // A socket of the file system is on no network.
    let is_local = url.parameter("socket").is_some() && tls.mode < SslMode::Require;
    let encryption = if is_local {
        Encryption::Never
    } else {
        tls.encryption(options.allow_insecure, &format!("the target {url}"))?
    };
    if url.database.is_empty() {
        return Err(Error::new(ErrorKind::Config, format!("the target {url} names no database"))
            .topic(Topic::Url)
            .hint("add it to the connection string: mysql://user:password@host:3306/database"));
    }
    let (builder, wait) = builder(&url)?;
    let late = |_| {
        let message = format!("cannot connect to the target {url}: no answer within {} s", wait.as_secs());
        Error::new(ErrorKind::Retry, message)
            .topic(Topic::Unreachable)
            .hint("see that the target runs and can be reached, or set connect_timeout")
    };
    let opened = async {
        let mut conn = open(&builder, &tls, encryption, &url).await?;
        let server = look_at(&mut conn, &url).await?;
        Ok((conn, server))
    };
    let (conn, server) = timeout(wait, opened).await.map_err(late)??;
    let settings = settings(&server, apply_timeout(options.apply_timeout_ms));
    let mut session = Session {
        conn,
        server,
        options: ConnectOptions { url: String::new(), ..options.clone() },
        settings,
        answer_wait: answer_wait(options.apply_timeout_ms),
        tables: Tables::default(),
        enforces: true,
        before: Before::default(),
        rounding: Rounding::default(),
        owned: Vec::new(),
        in_snapshot: false,
    };
    set_up(&mut session).await?;
    Ok(session)
}

fn apply_timeout(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds.max(1))
}

/// How long an answer is waited for.
pub(crate) fn answer_wait(apply_timeout_ms: u64) -> Duration {
    apply_timeout(apply_timeout_ms) + ANSWER_GRACE
}

/// The settings of the session, as often as they are changed for something else.
pub(crate) async fn set_up(session: &mut Session) -> Result<()> {
    for setting in session.settings.clone() {
        session.command(&setting, "set the session up").await?;
    }
    session.enforces = true;
    Ok(())
}

async fn look_at(conn: &mut Conn, url: &DatabaseUrl) -> Result<Server> {
    let sql = "SELECT VERSION(), DATABASE(), CURRENT_USER(), @@max_allowed_packet";
    let answer: Option<(String, String, String, u64)> =
        conn.query_first(sql).await.map_err(|failure| translate(&failure, "look at the target"))?;
    let (version, database, account, packet) = answer.unwrap_or_default();
    let flavour = if version.contains("MariaDB") { Flavour::MariaDb } else { Flavour::MySql };
    // MariaDB may put `5.5.5-` before its number, for clients that know no larger one.
    let number = version.strip_prefix("5.5.5-").unwrap_or(&version);
    let number: String = number.chars().take_while(|letter| letter.is_ascii_digit() || *letter == '.').collect();
    let (name, oldest) = match flavour {
        Flavour::MySql => ("MySQL", (5, 7)),
        Flavour::MariaDb => ("MariaDB", (10, 6)),
    };
    let mut parts = number.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < oldest {
        return Err(Error::new(ErrorKind::Config, format!("the target {url} is too old: {name} {number}"))
            .topic(Topic::Version)
            .hint("ebb writes to MySQL 5.7 and later, and to MariaDB 10.6 and later"));
    }
    let user = account.rsplit_once('@').map_or_else(|| account.clone(), |(user, host)| format!("'{user}'@'{host}'"));
    let packet_bytes_max = usize::try_from(packet).unwrap_or(usize::MAX);
    Ok(Server { flavour, name: format!("{name} {number}"), database, user, packet_bytes_max })
}

fn settings(server: &Server, apply_timeout: Duration) -> Vec<String> {
    let seconds = apply_timeout.as_secs().clamp(2, 31_536_000);
    // Waiting for a lock gives up first, so that the error says which of the two it was.
    let lock_seconds = (seconds * 4 / 5).max(1);
    let limits = match server.flavour {
        Flavour::MySql => format!("max_execution_time = {}, wait_timeout = {IDLE_SECONDS}", seconds * 1000),
        Flavour::MariaDb => {
            // Of a long list of keys it would make a table, and read all of the other one to join the two.
            format!(
                "max_statement_time = {seconds}, idle_transaction_timeout = {IDLE_IN_TRANSACTION_SECONDS}, \
                 in_predicate_conversion_threshold = 0"
            )
        }
    };
    // MySQL rounds what is beyond the precision of a time, as the source does; MariaDB must be told to.
    let rounding = if server.flavour == Flavour::MariaDb { ",TIME_ROUND_FRACTIONAL" } else { "" };
    vec![
        // The character set of everything that is sent, whatever the server's default.
        "SET NAMES utf8mb4".into(),
        // Dates of zeros may be the default of a column that only the target has, and stay in rows that have them; as values
        // they are refused before they are sent.
        format!(
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES,STRICT_TRANS_TABLES,\
             ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION{rounding}'"
        ),
        // Whatever the server's default, each session may write. Gaps between rows stay free for others, and a verification sees what is there now. A server that logs statements
        // cannot do without the locks on gaps.
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE".into(),
        // A catalog that is read cut off would have tables that lack columns; a connection must outlive its COMMIT.
        format!(
            "SET time_zone = '+00:00', innodb_lock_wait_timeout = {lock_seconds}, foreign_key_checks = 1, unique_checks = 1, \
             sql_select_limit = 18446744073709551615, sql_big_selects = 1, completion_type = 0, \
             sql_quote_show_create = 1, lc_messages = 'en_US', \
             net_read_timeout = {NET_SECONDS}, net_write_timeout = {NET_SECONDS}, autocommit = 1, {limits}"
        ),
    ]
}

fn builder(url: &DatabaseUrl) -> Result<(OptsBuilder, Duration)> {
    let mut wait = CONNECT_TIMEOUT;
    let mut builder = OptsBuilder::default()
        .ip_or_hostname(if url.host.is_empty() { "localhost" } else { &url.host })
        .tcp_port(url.port.unwrap_or(PORT))
        .user(url.user.clone())
        .pass(url.password.as_ref().map(|password| password.reveal().to_owned()))
        .db_name(Some(url.database.clone()))
        .tcp_keepalive(Some(KEEPALIVE_IDLE))
        .stmt_cache_size(STATEMENTS_MAX)
        // The rows that a condition finds count, also where they stay as they are.
        .client_found_rows(true)
        .prefer_socket(Some(false));
    for (name, value) in &url.parameters {
        match name.as_str() {
            "sslmode" | "sslrootcert" | "sslcert" | "sslkey" => {}
            "socket" => builder = builder.socket(Some(value.clone())),
            "connect_timeout" => match value.parse::<u64>() {
                Ok(0) => {}
                Ok(seconds) => wait = Duration::from_secs(seconds),
                Err(_) => return Err(unusable(name, "it must be a number of seconds")),
            },
            // What they ask for is so anyway, or is about something that this session does not have.
            "charset" | "collation" | "parseTime" | "loc" | "multiStatements" | "timeout" | "readTimeout"
            | "writeTimeout" | "time_zone" | "sql_mode" => {
                ebb_sdk::log(Level::Debug, &format!("the parameter {name} of the target's URL has no effect"));
            }
            _ => return Err(unusable(name, "it is not known")),
        }
    }
    Ok((builder, wait))
}

fn unusable(name: &str, why: &str) -> Error {
    let message = format!("the parameter {name} of the target's connection string cannot be used: {why}");
    Error::new(ErrorKind::Config, message)
        .topic(Topic::Url)
        .hint("known are sslmode, sslrootcert, sslcert, sslkey, socket and connect_timeout (seconds)")
}

async fn open(builder: &OptsBuilder, tls: &TlsSettings, encryption: Encryption, url: &DatabaseUrl) -> Result<Conn> {
    let doing = format!("connect to the target {url}");
    let failed = |failure: mysql_async::Error| match lacks_tls(&failure) {
        true => tls.unencrypted(&doing),
        false => translate(&failure, &doing),
    };
    let plain = || Conn::new(Opts::from(builder.clone()));
    let encrypted = async || -> Result<_> {
        warn_once(tls, url);
        let ssl = ssl(tls)?;
        let with = |ssl: SslOpts| Conn::new(Opts::from(builder.clone().ssl_opts(ssl)));
        match with(ssl.clone()).await {
            // The chain is verified before the name. The driver asks for the name even so: it gets one that is there.
            Err(failure) if ssl.skip_domain_validation() => match presented_name(&failure) {
                Some(name) => Ok(with(ssl.with_danger_tls_hostname_override(Some(name))).await),
                None => Ok(Err(failure)),
            },
            opened => Ok(opened),
        }
    };
    match encryption {
        Encryption::Never => plain().await.map_err(failed),
        Encryption::AfterPlain => match plain().await {
            Ok(conn) => Ok(conn),
            Err(refusal) => {
                encrypted().await?.map_err(|failure| failed(if lacks_tls(&failure) { refusal } else { failure }))
            }
        },
        Encryption::BeforePlain => match encrypted().await? {
            Err(failure) if lacks_tls(&failure) => plain().await.map_err(failed),
            opened => opened.map_err(failed),
        },
        Encryption::Always => encrypted().await?.map_err(failed),
    }
}

/// Every session of a run is connected alike.
fn warn_once(tls: &TlsSettings, url: &DatabaseUrl) {
    static WARNED: Once = Once::new();
    if let Some(warning) = tls.warning(&format!("the target {url}")) {
        WARNED.call_once(|| ebb_sdk::log(Level::Warn, &warning));
    }
}

fn lacks_tls(failure: &mysql_async::Error) -> bool {
    matches!(failure, mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer))
}

/// A name that the server's certificate has, when it was refused for lack of the right one and for nothing else.
fn presented_name(failure: &mysql_async::Error) -> Option<String> {
    let mut causes = std::iter::successors(Some(failure as &(dyn StdError + 'static)), |&error| error.source());
    let refusal = causes.find_map(|cause| {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()).or_else(|| cause.downcast_ref::<rustls::Error>())
    });
    let Some(rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })) = refusal
    else {
        return None;
    };
    // `DnsName("localhost")`, `IpAddress(127.0.0.1)`; a wildcard is no name.
    let name = |shown: &String| Some(shown.split_once('(')?.1.trim_end_matches(')').trim_matches('"').to_owned());
    presented.iter().filter_map(name).find(|name| !name.contains('*'))
}

/// What the modes mean is the same as for every dialect: see [`ebb_sdk::tls`].
fn ssl(tls: &TlsSettings) -> Result<SslOpts> {
    let mut ssl = SslOpts::default();
    if let (Some(cert), Some(key)) = (readable(tls.cert.as_ref(), "sslcert")?, readable(tls.key.as_ref(), "sslkey")?) {
        ssl = ssl.with_client_identity(Some(ClientIdentity::new(cert.into(), key.into())));
    }
    if !tls.is_verified() {
        return Ok(ssl.with_danger_accept_invalid_certs(true));
    }
    let roots = match readable(tls.root_cert.as_ref(), "sslrootcert")? {
        Some(path) => vec![path.into()],
        None => rustls_native_certs::load_native_certs().certs.into_iter().map(|root| root.to_vec().into()).collect(),
    };
    if roots.is_empty() {
        return Err(without_authority(""));
    }
    let ssl = ssl.with_disable_built_in_roots(true).with_root_certs(roots);
    Ok(ssl.with_danger_skip_domain_validation(tls.mode != SslMode::VerifyFull))
}

/// A file that cannot be read is named before the driver meets it.
fn readable(path: Option<&PathBuf>, parameter: &str) -> Result<Option<PathBuf>> {
    let Some(path) = path else { return Ok(None) };
    std::fs::File::open(path).map_err(|error| unusable_file(parameter, path, &error.to_string()))?;
    Ok(Some(path.clone()))
}
