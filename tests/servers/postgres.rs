//! One PostgreSQL server: data in a temporary folder, a free port of 127.0.0.1 and a socket in that folder, superuser
//! `postgres` with the password `postgres`.
//!
//! Owns: where the programs are, initialisation, settings, start, readiness, stop, kill and restart.
//! Does not own: a driver; [`Postgres::psql`] runs the command-line client for what a test wants to say quickly.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{Watcher, await_condition, children, end, free_port, is_gone, own_uid, run, signal};
use crate::{Certs, Error, KeyPair, Result};

const SUPERUSER: &str = "postgres";
const PASSWORD: &str = "postgres";
const START_WAIT: Duration = Duration::from_secs(30);
const STOP_WAIT: Duration = Duration::from_secs(30);
const START_ATTEMPTS_MAX: usize = 5;

/// How a client that comes over TCP proves who it is. The socket in the folder always trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    Trust,
    /// `scram-sha-256` with the role's password.
    Scram,
    /// A client certificate whose common name is the role. Needs [`PostgresOptions::certs`].
    Certificate,
}

#[derive(Debug, Clone)]
pub struct PostgresOptions<'a> {
    pub authentication: Authentication,
    /// With certificates, TCP connections must use TLS; without, they cannot.
    pub certs: Option<&'a Certs>,
    /// Off makes commits quick and is safe as long as the machine keeps running; `kill9` needs no fsync.
    pub fsync: bool,
    /// More settings, as in `postgresql.conf`.
    pub settings: Vec<(String, String)>,
}

impl Default for PostgresOptions<'_> {
    fn default() -> Self {
        PostgresOptions { authentication: Authentication::Scram, certs: None, fsync: false, settings: Vec::new() }
    }
}

pub struct Postgres {
    bin: PathBuf,
    dir: TempDir,
    port: u16,
    owner: Option<Owner>,
    ca: Option<PathBuf>,
    running: Option<Child>,
    watcher: Watcher,
}

/// The account that the server runs under when this process is root, which PostgreSQL refuses.
#[derive(Debug, Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Postgres {
    pub fn start(options: &PostgresOptions<'_>) -> Result<Postgres> {
        let bin = find_programs()?;
        let owner = find_owner()?;
        let dir = tempfile::Builder::new().prefix("ebb-postgres-").tempdir();
        let dir = dir.map_err(Error::because("cannot make a temporary folder"))?;
        let (ca, watcher) = (options.certs.map(Certs::ca), Watcher::start(dir.path())?);
        let mut server = Postgres { bin, dir, port: 0, owner, ca, running: None, watcher };
        server.give(server.dir.path())?;
        server.initialise()?;
        server.configure(options)?;
        for attempt in 1.. {
            server.port = free_port()?;
            match server.launch() {
                Err(error) if attempt < START_ATTEMPTS_MAX && error.to_string().contains("could not bind") => {}
                result => return result.map(|()| server),
            }
        }
        unreachable!("the last attempt returns")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's own process id, for a test that wants to stop and continue it.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Child::id)
    }

    /// The folder with data, log and socket.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Over TCP as the superuser, with the password, and `sslmode` and `sslrootcert` when TLS is on.
    pub fn url(&self, database: &str) -> String {
        self.url_as(SUPERUSER, PASSWORD, database)
    }

    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        let tls = match &self.ca {
            Some(ca) => format!("sslmode=verify-full&sslrootcert={}", ca.display()),
            None => "sslmode=disable".to_owned(),
        };
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}?{tls}", self.port)
    }

    /// For libpq and drivers that know its key words: over the socket, which trusts.
    pub fn socket_conninfo(&self, database: &str) -> String {
        format!("host={} port={} user={SUPERUSER} dbname={database}", self.dir.path().display(), self.port)
    }

    /// Runs statements as the superuser and returns what they print, unaligned and without headings.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        run(psql.arg(self.socket_conninfo(database)), "psql")
    }

    /// What the server has logged since the beginning.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A clean end: open sessions are closed, a checkpoint is written. The data stays for [`Postgres::restart`].
    pub fn stop(&mut self) -> Result<()> {
        self.end(Signal::INT)
    }

    /// Ends the server and its children at once with SIGKILL, as a crash of the machine would.
    pub fn kill9(&mut self) -> Result<()> {
        let Some(mut server) = self.running.take() else { return Ok(()) };
        let pid = server.id();
        // Stopped first, so that it starts no child between the listing and the end.
        let _ = signal(pid, Signal::STOP);
        let children = children(pid);
        server.kill().map_err(Error::because("cannot kill PostgreSQL"))?;
        for child in &children {
            let _ = signal(*child, Signal::KILL);
        }
        server.wait().map_err(Error::because("cannot wait for PostgreSQL"))?;
        self.watcher.follow(None)?;
        await_condition(STOP_WAIT, || children.iter().all(|child| is_gone(*child)).then_some(()))
            .ok_or_else(|| Error::new(format!("children of PostgreSQL process {pid} do not end")))
    }

    /// Starts it again, after [`Postgres::stop`] if it still runs, with the same port and data.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    fn end(&mut self, name: Signal) -> Result<()> {
        let Some(server) = self.running.take() else { return Ok(()) };
        end(server, name).and(self.watcher.follow(None))
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// initdb takes most of a second, so its result is kept and copied.
    fn initialise(&self) -> Result<()> {
        let template = self.template()?;
        let mut copy = Command::new("cp");
        copy.args(["-R", "--preserve=mode"]).arg(&template).arg(self.data());
        self.as_owner(&mut copy);
        run(&mut copy, "cp").map(drop)
    }

    /// The kept folder is only taken when the server's account owns it: a shared folder is writable for all.
    fn template(&self) -> Result<PathBuf> {
        let uid = self.owner.map_or_else(own_uid, |owner| owner.uid);
        let version = run(Command::new(self.bin.join("initdb")).arg("--version"), "initdb --version")?;
        let version = version.split_whitespace().nth(2).unwrap_or("unknown").to_owned();
        let template = std::env::temp_dir().join(format!("ebb-initdb-{version}-{uid}"));
        if fs::metadata(&template).is_ok_and(|found| found.uid() == uid) {
            return Ok(template);
        }
        let fresh = self.dir.path().join("template");
        let password_file = self.dir.path().join("password");
        fs::write(&password_file, PASSWORD).map_err(Error::because("cannot write the password file"))?;
        let mut initdb = Command::new(self.bin.join("initdb"));
        initdb.args(["--no-sync", "--no-instructions", "--locale=C", "--encoding=UTF8", "--auth-local=trust"]);
        initdb.args(["--auth-host=scram-sha-256", "--username", SUPERUSER]);
        initdb.arg(option("--pwfile=", &password_file)).arg(option("--pgdata=", &fresh));
        self.as_owner(&mut initdb);
        run(&mut initdb, "initdb")?;
        // Another process may have been quicker, or the folder may be on another disk: ours serves this server anyway.
        match fs::rename(&fresh, &template) {
            Ok(()) => Ok(template),
            Err(_) => Ok(fresh),
        }
    }

    fn configure(&self, options: &PostgresOptions<'_>) -> Result<()> {
        let data = self.data();
        let mut settings = vec![
            ("unix_socket_directories", quoted(&self.dir.path().display().to_string())),
            ("listen_addresses", quoted("127.0.0.1")),
            ("max_connections", "200".to_owned()),
            ("log_line_prefix", quoted("%m [%p] ")),
        ];
        if !options.fsync {
            settings.extend([("fsync", "off".to_owned()), ("full_page_writes", "off".to_owned())]);
        }
        if let Some(certs) = options.certs {
            let KeyPair { cert, key } = certs.server();
            // Copies, because the server's account may not read the originals and insists on owning its key.
            for (from, name) in [(cert, "server.crt"), (key, "server.key"), (certs.ca(), "ca.crt")] {
                self.copy_private(&from, &data.join(name))?;
            }
            settings.extend([("ssl", "on".to_owned()), ("ssl_ca_file", quoted("ca.crt"))]);
        }
        let mut text =
            fs::read_to_string(data.join("postgresql.conf")).map_err(Error::because("no postgresql.conf"))?;
        for (name, value) in settings {
            text.push_str(&format!("{name} = {value}\n"));
        }
        for (name, value) in &options.settings {
            text.push_str(&format!("{name} = {}\n", quoted(value)));
        }
        fs::write(data.join("postgresql.conf"), text).map_err(Error::because("cannot write postgresql.conf"))?;
        fs::write(data.join("pg_hba.conf"), access_rules(options)).map_err(Error::because("cannot write pg_hba.conf"))
    }

    fn copy_private(&self, from: &Path, to: &Path) -> Result<()> {
        let failed = || Error::because(format!("cannot copy {}", from.display()));
        fs::copy(from, to).map_err(failed())?;
        fs::set_permissions(to, fs::Permissions::from_mode(0o600)).map_err(failed())?;
        self.give(to)
    }

    fn give(&self, path: &Path) -> Result<()> {
        let Some(Owner { uid, gid }) = self.owner else { return Ok(()) };
        chown(path, Some(uid), Some(gid)).map_err(Error::because(format!("cannot chown {}", path.display())))
    }

    fn as_owner(&self, command: &mut Command) {
        command.current_dir(self.dir.path());
        if let Some(Owner { uid, gid }) = self.owner {
            command.uid(uid).gid(gid);
        }
    }

    fn launch(&mut self) -> Result<()> {
        let log_path = self.dir.path().join("log");
        let log = fs::OpenOptions::new().create(true).append(true).open(&log_path);
        let log = log.map_err(Error::because("cannot open the server's log"))?;
        let log_before = self.log().len();
        let mut postgres = Command::new(self.bin.join("postgres"));
        postgres.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        self.as_owner(&mut postgres);
        let errors = log.try_clone().map_err(Error::because("cannot open the server's log"))?;
        postgres.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let mut server = postgres.spawn().map_err(Error::because("cannot run PostgreSQL"))?;
        let watched = self.watcher.follow(Some(server.id()));
        let ready = await_condition(START_WAIT, || readiness(&mut server, &self.data()));
        if ready == Some(Readiness::Accepts) {
            self.running = Some(server);
            return watched;
        }
        let _ = server.kill();
        let _ = server.wait();
        self.watcher.follow(None)?;
        let log = self.log();
        Err(Error::new(format!("PostgreSQL did not start; its log:\n{}", log.get(log_before..).unwrap_or(&log))))
    }
}

impl Drop for Postgres {
    /// SIGQUIT, since nobody will read the data again.
    fn drop(&mut self) {
        let _ = self.end(Signal::QUIT);
    }
}

#[derive(PartialEq, Eq)]
enum Readiness {
    Accepts,
    Ended,
}

/// The eighth line of `postmaster.pid` says "ready" from the moment that connections are accepted.
fn readiness(server: &mut Child, data: &Path) -> Option<Readiness> {
    if !matches!(server.try_wait(), Ok(None)) {
        return Some(Readiness::Ended);
    }
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let mut lines = text.lines();
    let is_ours = lines.next()?.trim() == server.id().to_string();
    (is_ours && lines.nth(6)?.trim() == "ready").then_some(Readiness::Accepts)
}

fn access_rules(options: &PostgresOptions<'_>) -> String {
    let kind = if options.certs.is_some() { "hostssl" } else { "host" };
    let method = match options.authentication {
        Authentication::Trust => "trust",
        Authentication::Scram => "scram-sha-256",
        Authentication::Certificate => "cert",
    };
    format!("local all all trust\n{kind} all all 127.0.0.1/32 {method}\n")
}

/// `EBB_TEST_POSTGRES_BIN`, else the newest under Debian's folder, else the one in PATH.
fn find_programs() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("EBB_TEST_POSTGRES_BIN") {
        return Ok(PathBuf::from(dir));
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed = versions.filter(|version| version.path().join("bin/initdb").exists());
    let newest = installed.max_by_key(|version| version.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    if let Some(version) = newest {
        return Ok(version.path().join("bin"));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).find(|dir| dir.join("initdb").exists()).ok_or_else(|| {
        Error::new("no PostgreSQL server found: initdb is neither under /usr/lib/postgresql nor in PATH; install it or set EBB_TEST_POSTGRES_BIN")
    })
}

/// None when this process is not root: then the server runs under the same account.
fn find_owner() -> Result<Option<Owner>> {
    if own_uid() != 0 {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd").map_err(Error::because("cannot read /etc/passwd"))?;
    let account = accounts.lines().find_map(|line| line.strip_prefix("postgres:"));
    let mut fields = account.into_iter().flat_map(|line| line.split(':').skip(1)).map(str::parse);
    match (fields.next(), fields.next()) {
        (Some(Ok(uid)), Some(Ok(gid))) => Ok(Some(Owner { uid, gid })),
        _ => Err(Error::new("PostgreSQL does not run as root and there is no account 'postgres': create it")),
    }
}

fn option(name: &str, path: &Path) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from(name);
    text.push::<&OsStr>(path.as_ref());
    text
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
