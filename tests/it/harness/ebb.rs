//! `ebb` as a child process, whose log lines can be awaited.
//!
//! Owns: its start, its end, and what it has said. Does not own: its arguments (`world`).

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use ebb_servers::{Signal, Watcher};

use super::codes;
use super::world::{POLL, WAIT_MAX, wait_for};

/// A running `ebb`. Its output is collected line by line.
pub(crate) struct Ebb {
    child: Child,
    lines: Arc<Lines>,
    // Ends the child when this process is killed.
    watcher: Watcher,
}

#[derive(Default)]
struct Lines {
    text: Mutex<Vec<String>>,
    arrived: Condvar,
}

impl Ebb {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut watcher = Watcher::start(command.get_current_dir().expect("a world's folder")).expect("a watcher");
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ebb starts");
        watcher.follow(Some(child.id())).expect("a watcher");
        let lines = Arc::new(Lines::default());
        let out: Box<dyn std::io::Read + Send> = Box::new(child.stdout.take().expect("piped"));
        let err: Box<dyn std::io::Read + Send> = Box::new(child.stderr.take().expect("piped"));
        for stream in [out, err] {
            let lines = Arc::clone(&lines);
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    lines.text.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                    lines.arrived.notify_all();
                }
            });
        }
        Self { child, lines, watcher }
    }

    pub(crate) fn log(&self) -> String {
        self.lines.text.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Waits for a line that holds this text, and returns it.
    pub(crate) fn wait_line(&mut self, text: &str) -> String {
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            let lines = self.lines.text.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            drop(self.lines.arrived.wait_timeout(lines, POLL).unwrap_or_else(PoisonError::into_inner));
            let ended = self.child.try_wait().expect("the child can be asked");
            assert!(ended.is_none() || self.log().contains(text), "ended ({ended:?}) without {text:?}\n{}", self.log());
            assert!(Instant::now() < deadline, "waited in vain for {text:?}\n{}", self.log());
        }
    }

    /// Waits until the changefeed runs and requests are taken.
    pub(crate) fn ready(mut self) -> Self {
        self.wait_line("\"message\":\"changefeed created\"");
        self
    }

    /// Panics when it has ended by itself.
    pub(crate) fn must_run(&mut self) {
        let ended = self.child.try_wait().expect("the child can be asked");
        assert!(ended.is_none(), "it has ended by itself: {ended:?}\n{}", self.log());
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let ended = self.child.try_wait().expect("the child can be asked");
        ended.inspect(|_| std::thread::sleep(POLL))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        ebb_servers::signal(self.pid(), signal).expect("it runs");
    }

    /// `kill -9`.
    pub(crate) fn kill9(mut self) {
        self.child.kill().expect("the child can be killed");
        self.child.wait().expect("the child can be waited for");
    }

    /// SIGTERM; the exit code must be 0.
    pub(crate) fn stop(mut self) -> String {
        // A process that has said nothing yet does not listen for signals yet either.
        wait_for("a first line", String::new, || !self.log().is_empty());
        self.signal(Signal::TERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.log());
        self.log()
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                self.watcher.follow(None).expect("a watcher");
                // The readers see the end of the streams a moment later.
                std::thread::sleep(POLL);
                return status;
            }
            assert!(Instant::now() < deadline, "it never ended\n{}", self.log());
            std::thread::sleep(POLL);
        }
    }

    /// Waits for a failure and returns its one error line.
    pub(crate) fn failure(mut self) -> String {
        let status = self.wait();
        assert_eq!(status.code(), Some(1), "{}", self.log());
        let log = self.log();
        let errors: Vec<_> = log.lines().filter(|line| line.starts_with("{\"level\":\"error\"")).collect();
        assert_eq!(errors.len(), 1, "one error line is wanted\n{log}");
        errors[0].to_owned()
    }
}

impl Drop for Ebb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A test that has failed says why already.
        if !std::thread::panicking() {
            let unknown = codes::unexplained(&self.log());
            assert!(unknown.is_empty(), "without a code of docs/errors.md:\n{}", unknown.join("\n"));
        }
    }
}
