//! What every server process needs: a free port, signals, an end that is waited for, and a watcher that ends the
//! server when the process that started it dies without running its destructors (a killed test, a `static`).
//!
//! Does not own: how a particular server is started or asked whether it is ready.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Error, Result};

const POLL_MS: u64 = 2;

/// 0 for root.
pub(crate) fn own_uid() -> u32 {
    std::fs::metadata("/proc/self").map_or(0, |process| process.uid())
}

/// Runs a program to its end and returns what it prints.
pub(crate) fn run(command: &mut Command, name: &str) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(Error::because(format!("cannot run {name}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    Err(Error::new(format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim_end())))
}

/// A port that was free a moment ago. Another process may take it first: callers try again.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(Error::because("cannot find a free port"))?;
    Ok(listener.local_addr().map_err(Error::because("cannot find a free port"))?.port())
}

/// Asks again and again until `condition` gives an answer.
pub(crate) fn await_condition<T>(wait: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + wait;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(POLL_MS));
    }
}

/// The standard library can only send SIGKILL; `kill` sends the others.
pub(crate) fn signal(pid: u32, name: &str) -> Result<()> {
    let failed = || format!("cannot send SIG{name} to process {pid}");
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::new(format!("{}: kill ended with {status}", failed()))),
        Err(error) => Err(Error::new(format!("{}: {error}", failed()))),
    }
}

/// Ids of the processes that `pid` has started and that still run.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// A zombie counts as gone: it holds no memory, no lock and no port.
pub(crate) fn is_gone(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

const STOP_WAIT: Duration = Duration::from_secs(30);

/// A server that answers.
pub(crate) struct Running {
    pub(crate) server: Child,
    _watcher: Watcher,
}

impl Running {
    /// From now on the server ends, and `dir` goes, when this process does.
    pub(crate) fn watch(server: Child, dir: &Path) -> Result<Running> {
        let watcher = Watcher::start(server.id(), dir)?;
        Ok(Running { server, _watcher: watcher })
    }

    /// Sends a signal and waits for the end; a server that does not end is killed.
    pub(crate) fn end(mut self, signal_name: &str) -> Result<()> {
        signal(self.server.id(), signal_name)?;
        match await_condition(STOP_WAIT, || self.server.try_wait().transpose()) {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(Error::new(format!("cannot wait for the server: {error}"))),
            None => {
                let _ = self.server.kill();
                let _ = self.server.wait();
                Err(Error::new(format!("the server did not end within {STOP_WAIT:?} of SIG{signal_name}")))
            }
        }
    }
}

/// A shell that waits for the end of its standard input, which comes when this process dies, however it dies.
pub(crate) struct Watcher(Child);

impl Watcher {
    /// Ends `pid` with SIGQUIT and removes `dir` when this process is gone.
    pub(crate) fn start(pid: u32, dir: &Path) -> Result<Watcher> {
        let script = r#"read -r _; kill -QUIT "$0" 2>/dev/null; while kill -0 "$0" 2>/dev/null; do sleep 0.05; done; rm -rf "$1""#;
        let child = Command::new("sh")
            .args(["-c", script, &pid.to_string()])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Its own process group: an interrupt typed at the terminal must not end it first.
            .process_group(0)
            .spawn()
            .map_err(Error::because("cannot start the watcher of a server"))?;
        Ok(Watcher(child))
    }
}

impl Drop for Watcher {
    /// The watched process has been ended properly; its id may be another's soon.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
