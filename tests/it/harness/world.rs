//! What a test stands on: two databases, certificates, the stand-in, and the flags with which `ebb` is started on them.
//!
//! Owns: starting and ending them, and comparing both sides. Does not own: what a test does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ebb_crdb::{Crdb, CrdbOptions, Fault, Tls};
use ebb_servers::{Authentication, Certs, Postgres, Proxy, Watcher};
pub(crate) use ebb_servers::{Dialect, Server};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::codes;
pub(crate) use super::ebb::Ebb;
use super::target;

/// Longest wait for anything; reached only when something is broken.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(40);
/// The release of CockroachDB that most tests have as their source.
const RELEASE: &str = "25.2.1";
pub(crate) const POLL: Duration = Duration::from_millis(30);

/// Shared by all tests of the process.
struct Servers {
    certs: Certs,
    runtime: Runtime,
    // Nobody drops what is static: the folder goes with the process.
    _watcher: Watcher,
}

static SERVERS: LazyLock<Servers> = LazyLock::new(|| {
    let dir = TempDir::new().expect("a temporary folder").keep();
    let watcher = Watcher::start(&dir).expect("a watcher");
    let certs = Certs::create(&dir.join("certs")).expect("certificates");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    Servers { certs, runtime: runtime.expect("a runtime"), _watcher: watcher }
});

/// The authority and certificates of all tests.
pub(crate) fn certs() -> &'static Certs {
    &SERVERS.certs
}

/// A stand-in for several tests, and the PostgreSQL behind it.
pub(crate) fn start_source() -> (Postgres, Crdb) {
    start_source_of(RELEASE)
}

fn start_source_of(version: &str) -> (Postgres, Crdb) {
    let trusting = ebb_servers::PostgresOptions {
        authentication: Authentication::Trust,
        ..ebb_servers::PostgresOptions::default()
    };
    let backend = Postgres::start(&trusting).expect("the PostgreSQL behind the stand-in");
    let crdb = start_crdb(&backend, version);
    (backend, crdb)
}

pub(crate) fn crdb_url(crdb: &Crdb, user: &str, database: &str) -> String {
    let (port, authority) = (crdb.addr().port(), SERVERS.certs.ca());
    format!("postgres://{user}@localhost:{port}/{database}?sslmode=verify-full&sslrootcert={}", authority.display())
}

/// One test's own source, target and folders.
pub(crate) struct World {
    name: String,
    crdb: Option<Crdb>,
    target: Target,
    /// The PostgreSQL behind the stand-in; each has its own, since a stand-in looks after every job that it finds.
    _backend: Postgres,
    dir: TempDir,
    port: u16,
}

/// The server that the target database is on.
enum Target {
    /// That of all tests.
    Shared(&'static Server),
    /// One that can be killed, behind a proxy that can cut its connections.
    Own { server: Mutex<Server>, proxy: Proxy },
}

impl World {
    /// Makes both databases and runs `schema` on each.
    pub(crate) fn new(name: &str, schema: &str) -> Self {
        Self::with_schemas(name, schema, schema)
    }

    /// The same with a schema of its own for either side.
    pub(crate) fn with_schemas(name: &str, source_schema: &str, target_schema: &str) -> Self {
        Self::with_target(Dialect::Postgres, name, source_schema, target_schema)
    }

    /// The same with a target of this dialect.
    pub(crate) fn with_target(dialect: Dialect, name: &str, source_schema: &str, target_schema: &str) -> Self {
        Self::on(Target::Shared(target::shared(dialect, &SERVERS.certs)), name, source_schema, target_schema)
    }

    /// The same with a target server that is this world's alone, behind a proxy.
    pub(crate) fn with_own_target(dialect: Dialect, name: &str, source_schema: &str, target_schema: &str) -> Self {
        let server = Server::start(dialect, None, true).expect("the target's server");
        let proxy = Proxy::start(server.port(), server.protocol()).expect("a proxy");
        Self::on(Target::Own { server: Mutex::new(server), proxy }, name, source_schema, target_schema)
    }

    /// The same with a source of this release of CockroachDB.
    pub(crate) fn of_release(version: &str, name: &str, schema: &str) -> Self {
        let target = Target::Shared(target::shared(Dialect::Postgres, &SERVERS.certs));
        Self::between(version, target, name, schema, schema)
    }

    fn on(target: Target, name: &str, source_schema: &str, target_schema: &str) -> Self {
        Self::between(RELEASE, target, name, source_schema, target_schema)
    }

    fn between(version: &str, target: Target, name: &str, source_schema: &str, target_schema: &str) -> Self {
        let (backend, crdb) = start_source_of(version);
        backend.psql("postgres", &format!("CREATE DATABASE \"{name}\"")).expect("a database");
        match &target {
            Target::Shared(server) => server.create_database(name),
            Target::Own { server, .. } => lock(server).create_database(name),
        }
        .expect("a database");
        let dir = TempDir::new().expect("a temporary folder");
        let world = Self { name: name.to_owned(), crdb: Some(crdb), target, _backend: backend, dir, port: free_port() };
        world.write_changefeed_settings("{}");
        world.source("SET CLUSTER SETTING kv.rangefeed.enabled = true");
        world.source(source_schema);
        world.target(target_schema);
        world
    }

    /// Runs SQL on CockroachDB's side, as an application would, and returns what psql prints.
    pub(crate) fn source(&self, sql: &str) -> String {
        self.try_source(sql).unwrap_or_else(|error| panic!("the source refuses: {error}\n{sql}"))
    }

    pub(crate) fn try_source(&self, sql: &str) -> Result<String, String> {
        psql(&self.source_url(), sql)
    }

    /// Runs SQL on the target.
    pub(crate) fn target(&self, sql: &str) -> String {
        let answer = match &self.target {
            Target::Shared(server) => target::answer(server, &self.name, sql),
            Target::Own { server, .. } => target::answer(&lock(server), &self.name, sql),
        };
        answer.unwrap_or_else(|error| panic!("the target refuses: {error}\n{sql}")).trim_end().to_owned()
    }

    /// The target's own server.
    pub(crate) fn server(&self) -> std::sync::MutexGuard<'_, Server> {
        match &self.target {
            Target::Own { server, .. } => lock(server),
            Target::Shared(_) => panic!("this world shares its target"),
        }
    }

    pub(crate) fn has_own_target(&self) -> bool {
        matches!(self.target, Target::Own { .. })
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        match &self.target {
            Target::Own { proxy, .. } => proxy,
            Target::Shared(_) => panic!("this world shares its target"),
        }
    }

    pub(crate) fn source_url(&self) -> String {
        self.source_url_as("root")
    }

    pub(crate) fn source_url_as(&self, user: &str) -> String {
        crdb_url(self.crdb.as_ref().expect("the stand-in runs"), user, &self.name)
    }

    pub(crate) fn target_url(&self) -> String {
        match &self.target {
            Target::Shared(server) => server.url(&self.name),
            Target::Own { server, proxy } => lock(server).plain_url(proxy.port(), &self.name),
        }
    }

    pub(crate) fn target_url_as(&self, user: &str, password: &str) -> String {
        match &self.target {
            Target::Shared(server) => server.url_as(user, password, &self.name),
            Target::Own { server, .. } => lock(server).url_as(user, password, &self.name),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn database(&self) -> &str {
        &self.name
    }

    pub(crate) fn certs(&self) -> &'static Certs {
        &SERVERS.certs
    }

    pub(crate) fn inject(&self, fault: Fault, count: u32, amount: Option<u32>) {
        self.crdb.as_ref().expect("the stand-in runs").inject_fault(fault, count, amount);
    }

    pub(crate) fn clear_faults(&self) {
        self.crdb.as_ref().expect("the stand-in runs").clear_faults();
    }

    pub(crate) fn faults_left(&self, fault: Fault) -> u32 {
        self.crdb.as_ref().expect("the stand-in runs").faults_left(fault)
    }

    /// Writes the file of `--changefeeds-path`: certificates, quick resolved timestamps, and `more` keys.
    pub(crate) fn write_changefeed_settings(&self, more: &str) {
        let query = self.certs().sink_query("changefeed").expect("a client certificate");
        let mut settings = serde_json::json!({
            "port": self.port,
            "resolved": "100ms",
            "min_checkpoint_frequency": "100ms",
            "sink_query_parameters": query,
            "webhook_sink_config": "{\"Flush\":{\"Bytes\":1048576,\"Frequency\":\"20ms\"},\"Retry\":{\"Backoff\":\"50ms\"}}",
        });
        let more: serde_json::Map<String, serde_json::Value> = serde_json::from_str(more).expect("JSON");
        settings.as_object_mut().expect("an object").extend(more);
        fs::write(self.settings_path(), settings.to_string()).expect("the settings file");
    }

    fn settings_path(&self) -> PathBuf {
        self.dir.path().join("changefeed-secure.json")
    }

    /// `ebb fetch`, with the seed's flags and `more`.
    pub(crate) fn fetch(&self, more: &[&str]) -> Ebb {
        let (source, target, settings) = (self.source_url(), self.target_url(), self.settings_path());
        let settings = settings.display().to_string();
        let mut args = vec!["fetch", "--mode", "failback", "--non-interactive"];
        // A flag may be given once; what the test gives takes the place of the usual.
        let given = |flag: &str| more.contains(&flag);
        for (flag, value) in [("--source", &source), ("--target", &target), ("--changefeeds-path", &settings)] {
            if !given(flag) {
                args.extend([flag, value.as_str()]);
            }
        }
        let replicator = "--stagingSchema _replicator_1 -v";
        if !given("--replicator-flags") {
            args.extend(["--replicator-flags", replicator]);
        }
        if self.has_own_target() {
            args.push("--allow-tls-mode-disable");
        }
        args.extend(more);
        self.ebb(&args)
    }

    /// `ebb start` on the target, on the port that the changefeed sends to, with `more`, once it listens. The certificate and
    /// the key of the receiver come by the environment; whoever gives others may.
    pub(crate) fn start(&self, more: &[&str]) -> Ebb {
        let (target, bind) = (self.target_url(), format!("127.0.0.1:{}", self.port));
        let mut ebb = self.ebb(&[&["start", "--targetConn", &target, "--bindAddr", &bind][..], more].concat());
        ebb.wait_line("receiver listening");
        ebb
    }

    /// The binary with any arguments; certificates and folders come by the environment.
    pub(crate) fn ebb(&self, args: &[&str]) -> Ebb {
        let server = self.certs().server();
        let mut command = self.bare(env!("CARGO_BIN_EXE_ebb"));
        command.args(args).env("EBB_TLS_CERTIFICATE", server.cert).env("EBB_TLS_PRIVATE_KEY", server.key);
        Ebb::spawn(command)
    }

    /// A command of the binary that ends by itself and must succeed; returns what it prints.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let output = codes::output(self.bare(env!("CARGO_BIN_EXE_ebb")).args(args));
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// A program in the world's folder, which knows of this world nothing but where to stage and where plugins are.
    pub(crate) fn bare(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.dir.path())
            .env("EBB_STAGING_DIR", self.dir.path().join("staging"))
            .env("EBB_PLUGIN_PATH", plugin_path())
            .env("HOME", self.dir.path())
            // A row that is refused ends most tests; those that wait say so.
            .env("EBB_ON_ROW_ERROR", "exit")
            .env_remove("RUST_BACKTRACE");
        // Many machines have /tmp in memory.
        if ::ebb::stage::place::check(self.dir.path(), false).is_err() {
            command.env("EBB_STAGING_UNSAFE_FILESYSTEM", "true");
        }
        command
    }

    /// Waits until both sides hold the same rows in these tables, which must not be empty altogether.
    pub(crate) fn wait_equal(&self, ebb: &Ebb, tables: &[&str]) {
        let is_filled = |table: &&str| self.source(&format!("SELECT EXISTS (SELECT FROM {table})")) == "t";
        assert!(tables.iter().any(is_filled), "nothing to compare");
        self.wait_equal_maybe_empty(ebb, tables);
    }

    pub(crate) fn wait_equal_maybe_empty(&self, ebb: &Ebb, tables: &[&str]) {
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().collect();
            lines.sort_unstable();
            lines.join("\n")
        };
        let rows = |side: &dyn Fn(&str) -> String| -> Vec<String> {
            tables.iter().map(|table| sorted(&side(&format!("SELECT * FROM {table}")))).collect()
        };
        let source = rows(&|sql| self.source(sql));
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            let target = rows(&|sql| self.target(sql));
            if source == target {
                return;
            }
            if Instant::now() > deadline {
                let differences: Vec<_> =
                    source.iter().zip(&target).map(|(source, target)| target::difference(source, target)).collect();
                panic!("the target never became equal: {}\n{}", differences.join("; "), ebb.log());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until a query on the target gives this text.
    pub(crate) fn wait_target(&self, ebb: &Ebb, sql: &str, expected: &str) {
        wait_for(&format!("{sql} to give {expected}"), || ebb.log(), || self.target(sql).trim() == expected);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(crdb) = self.crdb.take() {
            SERVERS.runtime.block_on(crdb.stop());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start_crdb(backend: &Postgres, version: &str) -> Crdb {
    let servers = &*SERVERS;
    let node = servers.certs.server();
    let tls = Tls { cert: node.cert, key: node.key, ca: servers.certs.ca(), require_client_cert: false };
    let options = CrdbOptions {
        backend: backend.socket_conninfo("postgres"),
        tls: Some(tls),
        version: version.into(),
        ..CrdbOptions::default()
    };
    servers.runtime.block_on(Crdb::start(options)).expect("the stand-in for CockroachDB")
}

/// Waits for a condition; panics with what was awaited and the log when it never comes.
pub(crate) fn wait_for(what: &str, log: impl Fn() -> String, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}\n{}", log());
        std::thread::sleep(POLL);
    }
}

/// The folder of the plugins that were built beside the binary.
pub(crate) fn plugin_path() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_ebb")).parent().expect("the binary has a folder").join("deps")
}

pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

pub(crate) fn psql(url: &str, sql: &str) -> Result<String, String> {
    let output = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql])
        .output()
        .expect("psql is installed");
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
