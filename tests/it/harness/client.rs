//! Sessions of the databases' own clients that stay open: to run many statements, and to keep a transaction open in
//! ebb's way.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use ebb_sdk::DatabaseUrl;

use super::world::{Dialect, World};

/// What marks the end of an answer.
const END: &str = "end-of-answer";

/// One session; it ends, and rolls back, when this is dropped.
pub(crate) struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// The statement that prints [`END`].
    end: &'static str,
}

impl Client {
    pub(crate) fn connect(dialect: Dialect, url: &str) -> Self {
        let (mut command, end) = match dialect {
            Dialect::Postgres => (psql(url), "\\echo end-of-answer"),
            Dialect::MySql(_) => (mariadb(url), "SELECT 'end-of-answer';"),
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the client is installed");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, input, output, end }
    }

    /// Runs statements and returns the last line that they print; `None` when one fails, or the session is lost.
    pub(crate) fn ask(&mut self, sql: &str) -> Option<String> {
        writeln!(self.input, "{sql};\n{}", self.end).ok()?;
        let mut last = String::new();
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                END => return Some(last),
                other => last = other.to_owned(),
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn psql(url: &str) -> Command {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url]);
    command
}

fn mariadb(url: &str) -> Command {
    let url = DatabaseUrl::parse(url).expect("a URL");
    let mut command = Command::new("mariadb");
    command.args(["--no-defaults", "-N", "-B", "-r", "-n", "--protocol=tcp", "-h", &url.host]);
    command.arg(format!("--port={}", url.port.unwrap_or(3306)));
    command.arg(format!("--user={}", url.user.as_deref().unwrap_or_default()));
    command.arg(format!("--password={}", url.password.as_ref().map_or("", |password| password.reveal())));
    match url.parameter("sslrootcert") {
        Some(authority) => command.arg(format!("--ssl-ca={authority}")),
        None => command.arg("--skip-ssl"),
    };
    command.arg(&url.database);
    command
}

/// Begins a transaction on the target, and keeps it open until what this returns is dropped.
pub(crate) fn hold(world: &World, sql: &str) -> Client {
    let mut session = Client::connect(Dialect::Postgres, &world.target_url());
    session.ask(&format!("BEGIN; {sql}")).unwrap_or_else(|| panic!("the target refuses: {sql}"));
    session
}
