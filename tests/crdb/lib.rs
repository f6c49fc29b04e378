//! A stand-in for CockroachDB, for tests and the demo: PostgreSQL's wire protocol in front of a real PostgreSQL that
//! holds the tables, with what only CockroachDB has put in between: changefeeds over the webhook sink, their jobs,
//! reads AS OF SYSTEM TIME, cluster settings. Where it does not know what CockroachDB would do, it gives an error that
//! begins with "stand-in: not supported".
//!
//! Does not own: the PostgreSQL server behind it. The modules stand in reading order.

mod failure;
mod version;

mod proxy;
mod wire;
mod zone;
mod backend;

mod rewrite;
mod statement;
mod lex;
mod cursor;

mod options;
mod sink_config;
mod duration;
mod address;
mod alter;

mod settings;
mod variables;
mod show;
mod slices;
mod as_of;
mod transaction;
mod past;
mod row_json;
mod keys;

mod schema;
mod jobs;
mod feed;
mod history;
mod encode;
mod message;
mod rows;

mod sink;
mod http;
mod tls;

mod faults;
mod disorder;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_postgres::Config;

pub use faults::Fault;
use faults::Faults;
use jobs::Task;
pub use version::Version;

#[derive(Debug, Clone)]
pub struct CrdbOptions {
    /// The PostgreSQL that holds the tables, as a superuser: `postgres://postgres:secret@127.0.0.1:5432`. No TLS.
    pub backend: String,
    pub listen: SocketAddr,
    /// With it, clients must use TLS; without, they cannot.
    pub tls: Option<Tls>,
    /// The release to be played: `25.2.1`.
    pub version: String,
    /// Users that must give a password. All others need none.
    pub passwords: BTreeMap<String, String>,
    /// Connections of each feed for rows. The cluster setting `changefeed.sink_io_workers` stands above it.
    pub sink_io_workers: usize,
    /// The wait before a feed that has failed starts again, doubled up to the maximum.
    pub restart_backoff: Duration,
    pub restart_backoff_max: Duration,
    /// How far back reads and cursors may go.
    pub gc_ttl: Duration,
}

impl Default for CrdbOptions {
    fn default() -> CrdbOptions {
        CrdbOptions {
            backend: "postgres://postgres@127.0.0.1:5432".to_owned(),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            tls: None,
            version: "25.2.1".to_owned(),
            passwords: BTreeMap::new(),
            sink_io_workers: 4,
            restart_backoff: Duration::from_millis(200),
            restart_backoff_max: Duration::from_secs(2),
            gc_ttl: Duration::from_secs(4 * 60 * 60),
        }
    }
}

/// PEM files of the server.
#[derive(Debug, Clone)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// The authority that has signed the server's certificate and those of clients.
    pub ca: PathBuf,
    pub require_client_cert: bool,
}

#[derive(Debug)]
pub struct Error(String);

impl Error {
    fn because<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> Error {
        move |cause| Error(format!("{what}: {cause}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// A running stand-in. Dropping it ends everything, as [`Crdb::stop`] does, but does not wait.
pub struct Crdb {
    addr: SocketAddr,
    server: Arc<Server>,
    accept: Task,
}

/// What sessions share. The tasks of the databases end with it.
struct Server {
    shared: Arc<Shared>,
    tls: Option<Arc<ServerConfig>>,
    databases: Mutex<HashMap<String, Task>>,
}

/// What feeds share.
struct Shared {
    options: CrdbOptions,
    version: Version,
    backend: Config,
    faults: Arc<Faults>,
}

impl Crdb {
    /// Prepares the backend, resumes the jobs that it finds there, and listens.
    pub async fn start(options: CrdbOptions) -> Result<Crdb, Error> {
        let version = Version::parse(&options.version).map_err(Error)?;
        let backend: Config = options.backend.parse().map_err(Error::because("--backend is no PostgreSQL URL"))?;
        let tls = options.tls.as_ref().map(tls::server_config).transpose()?;
        let listener = TcpListener::bind(options.listen).await;
        let listener = listener.map_err(Error::because(format!("cannot listen on {}", options.listen)))?;
        let addr = listener.local_addr().map_err(Error::because("cannot listen"))?;
        let shared = Arc::new(Shared { options, version, backend, faults: Arc::default() });
        let server = Arc::new(Server { shared, tls, databases: Mutex::default() });
        server.resume().await?;
        let accept = Task(tokio::spawn(accept(Arc::clone(&server), listener)));
        Ok(Crdb { addr, server, accept })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A URL for any PostgreSQL client, with the user's password and, under TLS, the authority to trust.
    pub fn url(&self, database: &str, user: &str) -> String {
        let options = &self.server.shared.options;
        let password = options.passwords.get(user).map(|password| format!(":{password}")).unwrap_or_default();
        let tls = match &options.tls {
            Some(tls) => format!("sslmode=verify-full&sslrootcert={}", tls.ca.display()),
            None => "sslmode=disable".to_owned(),
        };
        format!("postgres://{user}{password}@127.0.0.1:{}/{database}?{tls}", self.addr.port())
    }

    /// Injects a fault into the next feed that can have it, so often; see [`Fault`] for what `amount` means.
    pub fn inject_fault(&self, fault: Fault, count: u32, amount: Option<u32>) {
        self.server.shared.faults.inject(fault, count, amount);
    }

    /// How many of the injected faults have not happened yet.
    pub fn faults_left(&self, fault: Fault) -> u32 {
        self.server.shared.faults.left(fault)
    }

    pub fn clear_faults(&self) {
        self.server.shared.faults.clear();
    }

    /// Ends sessions and feeds and waits for it. Jobs stay in the backend and go on with the next start.
    pub async fn stop(mut self) {
        self.accept.0.abort();
        let _ = (&mut self.accept.0).await;
        for (_, mut task) in self.server.databases.lock().await.drain() {
            task.0.abort();
            let _ = (&mut task.0).await;
        }
    }
}

/// Sessions end with this task.
async fn accept(server: Arc<Server>, listener: TcpListener) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = sessions.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(sessions.spawn(proxy::serve(Arc::clone(&server), stream))),
                // Too many open files, say; it passes.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
}

/// A database that cannot be served, as a client is told.
struct Unavailable {
    code: &'static str,
    message: String,
}

impl Server {
    async fn resume(&self) -> Result<(), Error> {
        let failed = |error: &tokio_postgres::Error| {
            let url = &self.shared.options.backend;
            let cause = history::describe(error);
            Error(format!("cannot use the backend (--backend, now {}): {cause}", address::redacted(url)))
        };
        let client = schema::connect(&self.shared.backend, "postgres").await.map_err(|error| failed(&error))?;
        schema::prepare_cluster(&client).await.map_err(|error| failed(&error))?;
        let names = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate";
        for row in client.query(names, &[]).await.map_err(|error| failed(&error))? {
            let name: &str = row.get(0);
            let client = schema::connect(&self.shared.backend, name).await.map_err(|error| failed(&error))?;
            if name == "defaultdb" || schema::is_installed(&client).await.map_err(|error| failed(&error))? {
                self.open_database(name).await.map_err(|unavailable| Error(unavailable.message))?;
            }
        }
        Ok(())
    }

    /// Puts the stand-in's objects into the database at its first use, and looks after its jobs from then on.
    async fn open_database(&self, name: &str) -> Result<(), Unavailable> {
        let mut databases = self.databases.lock().await;
        if databases.get(name).is_some_and(|task| !task.0.is_finished()) {
            return Ok(());
        }
        let opened = async {
            let mut client = schema::connect(&self.shared.backend, name).await?;
            schema::install(&mut client, &self.shared.version).await
        };
        if let Err(error) = opened.await {
            let is_missing = error.code() == Some(&tokio_postgres::error::SqlState::INVALID_CATALOG_NAME);
            let message = history::describe(&error);
            return Err(Unavailable { code: if is_missing { "3D000" } else { "XX000" }, message });
        }
        let task = tokio::spawn(jobs::supervise(Arc::clone(&self.shared), name.to_owned()));
        databases.insert(name.to_owned(), Task(task));
        Ok(())
    }
}
