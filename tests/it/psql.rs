//! Sessions of psql that stay open: to run many statements, and to keep a transaction open in ebb's way.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::world::World;

/// One session; it ends, and rolls back, when this is dropped.
pub struct Psql {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Psql {
    pub fn connect(url: &str) -> Self {
        let mut child = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("psql is installed");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, input, output }
    }

    /// Runs statements and returns the last line that they print; `None` when one fails, or the session is lost.
    pub fn ask(&mut self, sql: &str) -> Option<String> {
        writeln!(self.input, "{sql};\n\\echo end-of-answer").ok()?;
        let mut last = String::new();
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "end-of-answer" => return Some(last),
                other => last = other.to_owned(),
            }
        }
    }
}

impl Drop for Psql {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Begins a transaction on the target, and keeps it open until what this returns is dropped.
pub fn hold(world: &World, sql: &str) -> Psql {
    let mut session = Psql::connect(&world.target_url());
    session.ask(&format!("BEGIN; {sql}")).unwrap_or_else(|| panic!("the target refuses: {sql}"));
    session
}
