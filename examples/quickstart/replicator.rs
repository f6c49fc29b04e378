//! Runs `ebb certs`, and then `ebb fetch` as the vendor's page shows it, with one word changed.
//!
//! Owns: the commands, their folder and their output. Does not own: when it is started and killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use ebb_servers::Certs;

use crate::Result;

/// Everything that a start needs.
pub struct Replicator {
    program: PathBuf,
    args: Vec<String>,
    environment: Vec<(&'static str, PathBuf)>,
    dir: PathBuf,
}

impl Replicator {
    /// Makes the certificates and puts the command together.
    pub fn new(dir: &Path, certs: &Certs, source_port: u16, target: &str) -> Result<Self> {
        let examples = std::env::current_exe()?;
        let build = examples.parent().and_then(Path::parent).ok_or("this program has no folder")?;
        let program = build.join("ebb");
        if !program.exists() {
            return Err(format!("{} is not built: run make demo", program.display()).into());
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        let made = Command::new(&program).current_dir(dir).args(["certs", "--port", &port]).status()?;
        if !made.success() {
            return Err("ebb certs has failed".into());
        }
        let args = [
            "fetch",
            "--source",
            &format!("postgres://root@localhost:{source_port}/defaultdb?sslmode=verify-full"),
            "--target",
            target,
            "--table-filter",
            "customers|products|orders|order_lines",
            "--non-interactive",
            "--replicator-flags",
            "--stagingSchema _replicator_1739996035106984000",
            "--mode",
            "failback",
            "--changefeeds-path",
            "changefeed-secure.json",
        ];
        let environment = vec![("PGSSLROOTCERT", certs.ca()), ("EBB_STAGING_DIR", dir.join("staging"))];
        Ok(Self { program, args: args.map(String::from).to_vec(), environment, dir: dir.to_owned() })
    }

    /// The command as a person would type it.
    pub fn command_line(&self) -> String {
        let mut lines = String::from("  ebb certs\n  ebb fetch");
        for arg in &self.args[1..] {
            match arg.strip_prefix("--").filter(|_| !arg.contains(' ')) {
                Some(_) => lines.push_str(&format!(" \\\n    {arg}")),
                None => lines.push_str(&format!(" '{arg}'")),
            }
        }
        lines
    }

    pub fn start(&self) -> Result<Running> {
        let mut child = Command::new(&self.program)
            .current_dir(&self.dir)
            .args(&self.args)
            .envs(self.environment.iter().map(|(name, path)| (name, path)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?);
        Ok(Running { child, lines: Some(lines) })
    }
}

/// A running ebb. It is killed when this is dropped.
pub struct Running {
    child: Child,
    lines: Option<BufReader<ChildStdout>>,
}

impl Running {
    /// Shows log lines up to the one that holds this text, then goes on showing them in the background.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        let mut lines = self.lines.take().ok_or("the output is read already")?;
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            if lines.read_line(&mut line)? == 0 {
                return Err(format!("ebb ended before it said {text:?}").into());
            }
            print!("  {line}");
        }
        std::thread::spawn(move || lines.lines().map_while(|line| line.ok()).for_each(|line| println!("  {line}")));
        Ok(())
    }

    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM; returns the exit code.
    pub fn stop(&mut self) -> Result<i32> {
        Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        Ok(self.child.wait()?.code().unwrap_or(-1))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
