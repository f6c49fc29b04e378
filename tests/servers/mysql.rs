//! One MySQL or MariaDB server: data in a temporary folder, a free port of 127.0.0.1 and a socket in that folder, user
//! `root` with the password `root` from everywhere.
//!
//! Owns: where the programs are, initialisation, settings, start, readiness, stop, kill and restart.
//! Does not own: a driver; [`MySql::sql`] runs the command-line client for what a test wants to say quickly.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{Watcher, await_condition, end, free_port, own_uid, run};
use crate::{Certs, Error, Result};

const START_WAIT: Duration = Duration::from_secs(60);
const START_ATTEMPTS_MAX: usize = 5;
/// Everything that a test may want to do, over TCP and over the socket.
const USERS: &str = "DROP USER IF EXISTS root@'127.0.0.1', root@'::1';
CREATE USER IF NOT EXISTS root@'%' IDENTIFIED BY 'root';
GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;
ALTER USER root@localhost IDENTIFIED BY 'root';
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Debian's package `mariadb-server-core`.
    MariaDb,
    /// What `get-mysql.sh` has unpacked into `target/mysql`, or into the folder that `EBB_TEST_MYSQL` names.
    MySql,
}

#[derive(Debug, Clone, Default)]
pub struct MySqlOptions<'a> {
    /// With certificates, connections must use TLS; without, they cannot.
    pub certs: Option<&'a Certs>,
    /// Off makes commits quick and is safe as long as the machine keeps running; `kill9` needs no fsync.
    pub fsync: bool,
    /// More of the server's options, without the dashes.
    pub settings: Vec<String>,
}

pub struct MySql {
    flavour: Flavour,
    dir: TempDir,
    port: u16,
    ca: Option<PathBuf>,
    settings: Vec<String>,
    running: Option<Child>,
    watcher: Watcher,
}

impl MySql {
    pub fn start(flavour: Flavour, options: &MySqlOptions<'_>) -> Result<MySql> {
        let dir = tempfile::Builder::new().prefix("ebb-mysql-").tempdir();
        let dir = dir.map_err(Error::because("cannot make a temporary folder"))?;
        let (ca, watcher) = (options.certs.map(Certs::ca), Watcher::start(dir.path())?);
        let mut server = MySql { flavour, dir, port: 0, ca, settings: settings(options), running: None, watcher };
        server.initialise()?;
        fs::write(server.dir.path().join("users.sql"), USERS).map_err(Error::because("cannot write the users"))?;
        for attempt in 1.. {
            server.port = free_port()?;
            match server.launch() {
                Err(error) if attempt < START_ATTEMPTS_MAX && error.to_string().contains("Address already in use") => {}
                result => return result.map(|()| server),
            }
        }
        unreachable!("the last attempt returns")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder with data, log and socket.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Over TCP as `root`; with `sslmode` and `sslrootcert` when TLS is on.
    pub fn url(&self, database: &str) -> String {
        self.url_as("root", "root", database)
    }

    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        let tls = match &self.ca {
            Some(ca) => format!("?sslmode=verify-full&sslrootcert={}", ca.display()),
            None => String::new(),
        };
        format!("mysql://{user}:{password}@127.0.0.1:{}/{database}{tls}", self.port)
    }

    /// Runs statements as `root`; the columns of what they print are separated by `|`, lines have no heading.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "-uroot", "-proot", "-N", "-B", "-r", "--default-character-set=utf8mb4", "-S"]);
        client.arg(self.socket()).args(["-e", sql, database]);
        let output = client.output().map_err(Error::because("cannot run mariadb"))?;
        if !output.status.success() {
            return Err(Error::new(format!("{}\nin: {sql}", String::from_utf8_lossy(&output.stderr).trim())));
        }
        Ok(String::from_utf8_lossy(&output.stdout).replace('\t', "|"))
    }

    /// What the server has logged since the beginning.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log.err")).unwrap_or_default()
    }

    /// A clean end. The data stays for [`MySql::restart`].
    pub fn stop(&mut self) -> Result<()> {
        self.end(Signal::TERM)
    }

    /// Ends the server at once with SIGKILL, as a crash of the machine would.
    pub fn kill9(&mut self) -> Result<()> {
        self.end(Signal::KILL)
    }

    /// Starts it again, after [`MySql::stop`] if it still runs, with the same port and data.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    fn end(&mut self, name: Signal) -> Result<()> {
        let Some(server) = self.running.take() else { return Ok(()) };
        end(server, name).and(self.watcher.follow(None))
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// It takes seconds, so its result is kept and copied.
    fn initialise(&self) -> Result<()> {
        let mut copy = Command::new("cp");
        run(copy.args(["-R", "--preserve=mode"]).arg(self.template()?).arg(self.data()), "cp").map(drop)
    }

    /// The kept folder is only taken when this account owns it: a shared folder is writable for all.
    fn template(&self) -> Result<PathBuf> {
        let uid = own_uid();
        let version = version(self.flavour)?;
        let template = std::env::temp_dir().join(format!("ebb-mysql-{version}-{uid}"));
        if fs::metadata(&template).is_ok_and(|found| found.uid() == uid) {
            return Ok(template);
        }
        let fresh = self.dir.path().join("template");
        match self.flavour {
            Flavour::MariaDb => {
                let mut install = Command::new("mariadb-install-db");
                install.args([
                    "--no-defaults",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                    "--force",
                ]);
                install.arg(format!("--datadir={}", fresh.display()));
                run(install.args(as_user()), "mariadb-install-db")?;
            }
            Flavour::MySql => {
                let mut initialise = program(self.flavour)?;
                initialise.args(as_user()).arg("--initialize-insecure");
                run(initialise.arg(format!("--datadir={}", fresh.display())), "mysqld --initialize-insecure")?;
            }
        }
        // Another process may have been quicker, or the folder may be on another disk: ours serves this server anyway.
        match fs::rename(&fresh, &template) {
            Ok(()) => Ok(template),
            Err(_) => Ok(fresh),
        }
    }

    fn launch(&mut self) -> Result<()> {
        let log_before = self.log().len();
        let mut command = program(self.flavour)?;
        let path = |name: &str, path: PathBuf| format!("--{name}={}", path.display());
        command.args(as_user()).args([
            path("datadir", self.data()),
            // A server removes temporary files that it finds at its start: those of others must not be among them.
            path("tmpdir", self.dir.path().into()),
            path("socket", self.socket()),
            path("pid-file", self.dir.path().join("pid")),
            path("log-error", self.dir.path().join("log.err")),
            path("init-file", self.dir.path().join("users.sql")),
            format!("--port={}", self.port),
        ]);
        command.args(&self.settings).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut server = command.spawn().map_err(Error::because("cannot run the server"))?;
        let watched = self.watcher.follow(Some(server.id()));
        let ready = await_condition(START_WAIT, || readiness(&mut server, &self.log()[log_before..]));
        if ready == Some(Readiness::Accepts) {
            self.running = Some(server);
            return watched;
        }
        let _ = server.kill();
        let _ = server.wait();
        self.watcher.follow(None)?;
        Err(Error::new(format!("{:?} did not start; its log:\n{}", self.flavour, &self.log()[log_before..])))
    }
}

impl Drop for MySql {
    /// Nobody will read the data again.
    fn drop(&mut self) {
        let _ = self.kill9();
    }
}

#[derive(PartialEq, Eq)]
enum Readiness {
    Accepts,
    Ended,
}

fn readiness(server: &mut Child, log: &str) -> Option<Readiness> {
    if log.contains("ready for connections") {
        return Some(Readiness::Accepts);
    }
    (!matches!(server.try_wait(), Ok(None))).then_some(Readiness::Ended)
}

fn settings(options: &MySqlOptions<'_>) -> Vec<String> {
    let mut settings: Vec<String> = [
        "bind-address=127.0.0.1",
        "skip-name-resolve",
        "skip-log-bin",
        "performance-schema=OFF",
        "max-connections=200",
        "character-set-server=utf8mb4",
        "innodb-buffer-pool-size=128M",
    ]
    .map(String::from)
    .into();
    settings.push(format!("innodb-flush-log-at-trx-commit={}", u8::from(options.fsync)));
    if let Some(certs) = options.certs {
        let pair = certs.server();
        settings.push("require-secure-transport=ON".into());
        for (name, path) in [("ssl-ca", certs.ca()), ("ssl-cert", pair.cert), ("ssl-key", pair.key)] {
            settings.push(format!("{name}={}", path.display()));
        }
    }
    settings.extend(options.settings.iter().cloned());
    settings.into_iter().map(|setting| format!("--{setting}")).collect()
}

/// The server's program without its options. MySQL runs with libraries of its own beside those of the system.
fn program(flavour: Flavour) -> Result<Command> {
    let mut command = match flavour {
        Flavour::MariaDb => Command::new("/usr/sbin/mariadbd"),
        Flavour::MySql => Command::new(mysql_root()?.join("usr/lib64/ld-linux-x86-64.so.2")),
    };
    if flavour == Flavour::MySql {
        let root = mysql_root()?;
        let libraries = root.join("usr/lib/x86_64-linux-gnu");
        command.arg("--library-path").arg(format!("{}:{}", libraries.display(), libraries.join("private").display()));
        command.arg(root.join("usr/sbin/mysqld"));
        command.args(["--no-defaults", "--mysqlx=OFF", "--secure-file-priv="]);
        command.arg(format!("--lc-messages-dir={}", root.join("usr/share/mysql").display()));
        command.arg(format!("--plugin-dir={}", root.join("usr/lib/mysql/plugin").display()));
    } else {
        command.arg("--no-defaults");
    }
    Ok(command)
}

fn mysql_root() -> Result<PathBuf> {
    let folder = std::env::var_os("EBB_TEST_MYSQL").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/mysql"));
    match folder.join("complete").exists() {
        true => Ok(folder.join("root")),
        false => Err(Error::new(format!(
            "MySQL is not in {}: run `make mysql`, or `tests/servers/get-mysql.sh {}`",
            folder.display(),
            folder.display()
        ))),
    }
}

/// In one word, for the name of a file.
fn version(flavour: Flavour) -> Result<String> {
    let output = program(flavour)?.arg("--version").output();
    let output = output.map_err(Error::because("cannot run the server, is mariadb-server-core installed?"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = text.split_whitespace().skip_while(|word| *word != "Ver").nth(1).unwrap_or("unknown");
    Ok(number.chars().filter(|letter| letter.is_alphanumeric() || *letter == '.').collect())
}

fn as_user() -> Option<&'static str> {
    (own_uid() == 0).then_some("--user=root")
}
