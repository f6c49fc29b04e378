//! Runs `ebb certs`, and then `ebb fetch` as the vendor's page shows it, with one word changed.
//!
//! Owns: the commands, their folder and their output. Does not own: when it is started and killed.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ebb_servers::{Certs, Signal, Watcher};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::Result;
use crate::screen::Screen;

/// How long ebb may take to say that it is ready, and to end.
const WAIT_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// Everything that a start needs.
pub(crate) struct Replicator {
    program: PathBuf,
    args: Vec<String>,
    environment: Vec<(&'static str, PathBuf)>,
    dir: PathBuf,
    screen: Arc<Screen>,
}

impl Replicator {
    /// Makes the certificates and puts the command together.
    pub(crate) fn new(screen: &Arc<Screen>, dir: &Path, certs: &Certs, source_port: u16, target: &str) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("ebb");
        if !program.exists() {
            return Err(format!("{} is not built: run make demo", program.display()).into());
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        let made = Command::new(&program).current_dir(dir).args(["certs", "--port", &port]).output()?;
        for text in [&made.stdout, &made.stderr] {
            String::from_utf8_lossy(text).lines().for_each(|line| screen.line(&format!("  {line}")));
        }
        if !made.status.success() {
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
        let environment = vec![
            ("PGSSLROOTCERT", certs.ca()),
            ("EBB_STAGING_DIR", dir.join("staging")),
            // Many machines have /tmp in memory; nothing here has to outlive a reboot.
            ("EBB_STAGING_UNSAFE_FILESYSTEM", "true".into()),
        ];
        Ok(Self {
            program,
            args: args.map(String::from).to_vec(),
            environment,
            dir: dir.to_owned(),
            screen: Arc::clone(screen),
        })
    }

    /// The command as a person would type it.
    pub(crate) fn command_line(&self) -> String {
        let mut lines = String::from("  ebb certs\n  ebb fetch");
        for arg in &self.args[1..] {
            match arg.strip_prefix("--").filter(|_| !arg.contains(' ')) {
                Some(_) => lines.push_str(&format!(" \\\n    {arg}")),
                None => lines.push_str(&format!(" '{arg}'")),
            }
        }
        lines
    }

    pub(crate) fn start(&self) -> Result<Running> {
        // It outlives this process when that is killed: ebb ends too, and its folder goes.
        let watcher = Watcher::start(&self.dir)?;
        let mut child = Command::new(&self.program)
            .current_dir(&self.dir)
            .args(&self.args)
            .envs(self.environment.iter().map(|(name, path)| (name, path)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let streams = (child.stdout.take(), child.stderr.take());
        let (sender, lines) = unbounded_channel();
        let pid = child.id();
        let mut running = Running { child, lines, watcher };
        running.watcher.follow(Some(pid))?;
        let (Some(out), Some(err)) = streams else { return Err("ebb has no output".into()) };
        show(out, Arc::clone(&self.screen), sender.clone());
        show(err, Arc::clone(&self.screen), sender);
        Ok(running)
    }
}

/// Shows lines and passes them on, until the stream ends.
fn show(stream: impl Read + Send + 'static, screen: Arc<Screen>, lines: UnboundedSender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            screen.line(&format!("  {line}"));
            // Nobody waits for a line any more once ebb is ready.
            let _ = lines.send(line);
        }
    });
}

/// A running ebb. It is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    lines: UnboundedReceiver<String>,
    watcher: Watcher,
}

impl Running {
    /// Waits for a log line that holds this text.
    pub(crate) async fn wait_for(&mut self, text: &str) -> Result<()> {
        let found = async {
            while let Some(line) = self.lines.recv().await {
                if line.contains(text) {
                    return Ok(());
                }
            }
            Err(format!("ebb ended before it said {text:?}"))
        };
        let in_time = tokio::time::timeout(WAIT_MAX, found).await;
        Ok(in_time.unwrap_or_else(|_| Err(format!("ebb did not say {text:?} within {WAIT_MAX:?}")))?)
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.watcher.follow(None)?)
    }

    /// SIGTERM; returns the exit code.
    pub(crate) async fn stop(&mut self) -> Result<i32> {
        ebb_servers::signal(self.child.id(), Signal::TERM)?;
        let ended = async {
            loop {
                match self.child.try_wait() {
                    Ok(None) => tokio::time::sleep(POLL).await,
                    result => return result,
                }
            }
        };
        let in_time = tokio::time::timeout(WAIT_MAX, ended).await;
        let status = in_time.map_err(|_| format!("ebb did not end within {WAIT_MAX:?} of SIGTERM"))??;
        Ok(status.and_then(|status| status.code()).unwrap_or(-1))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
