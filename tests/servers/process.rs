//! What every server process needs: a free port, signals, an end that is waited for, and a watcher that ends the
//! server when the process that started it dies without running its destructors (a killed test, a `static`).
//!
//! Does not own: how a particular server is started or asked whether it is ready.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

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

/// The standard library can only send SIGKILL.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid_of_kernel = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid_of_kernel = pid_of_kernel.ok_or_else(|| Error::new(format!("{pid} is no id of a process")))?;
    kill_process(pid_of_kernel, signal).map_err(Error::because(format!("cannot send {signal:?} to process {pid}")))
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

/// Sends a signal and waits for the end; a server that does not end is killed.
pub(crate) fn end(mut server: Child, name: Signal) -> Result<()> {
    signal(server.id(), name)?;
    match await_condition(STOP_WAIT, || server.try_wait().transpose()) {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(Error::new(format!("cannot wait for the server: {error}"))),
        None => {
            let _ = server.kill();
            let _ = server.wait();
            Err(Error::new(format!("the server did not end within {STOP_WAIT:?} of {name:?}")))
        }
    }
}

/// A shell that waits for the end of its standard input, which comes when this process dies, however it dies. Then it
/// ends the process that it was told of last, and removes a folder.
pub struct Watcher(Child);

/// Each line that comes is the process to end, or empty. SIGQUIT lets a server end its children; one that does not end is killed.
const SCRIPT: &str = r#"while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
    kill -QUIT "$pid" 2>/dev/null
    tries=0
    while kill -0 "$pid" 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || kill -KILL "$pid" 2>/dev/null
        sleep 0.05
    done
fi
rm -rf "$0""#;

impl Watcher {
    /// Removes `dir` when this process is gone. It starts before what it is to end, so that there is no moment in between.
    pub fn start(dir: &Path) -> Result<Watcher> {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT]).arg(dir).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Its own process group: an interrupt typed at the terminal must not end it first.
        let child = shell.process_group(0).env("pid", "").current_dir("/").spawn();
        child.map(Watcher).map_err(Error::because("cannot start the watcher of a server"))
    }

    /// From now on this process ends too, or none.
    pub fn follow(&mut self, pid: Option<u32>) -> Result<()> {
        let line = pid.map_or_else(|| "\n".to_owned(), |pid| format!("{pid}\n"));
        let input = self.0.stdin.as_mut().ok_or_else(|| Error::new("the watcher of a server has no input"))?;
        input.write_all(line.as_bytes()).map_err(Error::because("cannot tell the watcher of a server"))
    }
}

impl Drop for Watcher {
    /// The watched process has been ended properly; its id may be another's soon.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
