//! One program that is run for an event: what it is given, how long it may take, and what comes of it.
//!
//! Owns: its environment and its end. Does not own: which program it is (`folder`), what follows from its end (`mod`).

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use ebb_sdk::Timestamp;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::error::visible;
use crate::history::Entry;
use crate::plugin::{Untrusted, trusted};

/// What is kept of its output; the rest is read and dropped, so that it need not wait.
const OUTPUT_BYTES_MAX: usize = 4 << 10;
/// How often a program that is still being written is tried again.
const BUSY_MAX: u32 = 5;
/// After its end, output may still be on its way.
const OUTPUT_WAIT: Duration = Duration::from_millis(100);
/// What it is given of ebb's own environment, which holds secrets.
const KEPT: [&str; 3] = ["PATH", "HOME", "LANG"];
/// What Linux reads of the first line of a script.
const INTERPRETER_BYTES_MAX: u64 = 255;
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The variables that it is given, and the facts that they hold.
const FACTS: [(&str, &str); 6] = [
    ("EBB_APPLIED", "applied"),
    ("EBB_CODE", "code"),
    ("EBB_JOB", "job"),
    ("EBB_LAG_SECONDS", "lag_seconds"),
    ("EBB_REASON", "reason"),
    ("EBB_TABLE", "table"),
];

/// How it has ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    Failed(ExitStatus),
    NotStarted(String),
    /// Others may have written the file since the start.
    NotTrusted(Untrusted),
    TimedOut,
}

/// Every variable of an event, also those that are empty.
fn variables(schema: &str, entry: &Entry) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("EBB_AT", entry.at.clone()),
        ("EBB_EVENT", entry.event.clone()),
        ("EBB_SCHEMA", schema.to_owned()),
        ("EBB_TEXT", entry.text.clone()),
        ("EBB_VERSION", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let applied = entry.shown("applied").parse::<Timestamp>().ok();
    let applied =
        applied.map(|at| DateTime::from_timestamp_nanos(at.wall).to_rfc3339_opts(SecondsFormat::Millis, true));
    variables.push(("EBB_APPLIED_AT", applied.unwrap_or_default()));
    variables.extend(FACTS.iter().map(|(variable, fact)| (*variable, entry.shown(fact))));
    // A byte of zero in one would keep the program from starting.
    variables.into_iter().map(|(name, value)| (name, visible(&value, ""))).collect()
}

/// The names of the variables that every hook is given.
pub fn variable_names() -> Vec<&'static str> {
    let none = Entry { at: String::new(), event: String::new(), text: String::new(), facts: serde_json::Map::new() };
    variables("", &none).into_iter().map(|(name, _)| name).collect()
}

/// Runs it to its end, or kills it and all that it has started once the time is over. Also returns the beginning of its output.
pub(super) async fn run(program: &Path, schema: &str, entry: &Entry, limit: Duration) -> (Outcome, String) {
    // A run lasts for weeks, in which the file and the folders above it may have changed hands.
    if let Err(untrusted) = trusted(program) {
        return (Outcome::NotTrusted(untrusted), String::new());
    }
    let mut command = Command::new(program);
    let kept = KEPT.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
    command.env_clear().env("PATH", OsString::from(PATH)).envs(kept).envs(variables(schema, entry));
    // A group of its own: ctrl-c in a terminal is for ebb, and the end of the group is the end of all that it has started.
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut spawned = command.spawn();
    // A program that was written a moment ago may still be open in a process that is being started elsewhere.
    for _ in 0..BUSY_MAX {
        match &spawned {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
            _ => break,
        }
        tokio::time::sleep(OUTPUT_WAIT).await;
        spawned = command.spawn();
    }
    let mut group = match spawned {
        Ok(child) => Group(child),
        Err(error) => return (Outcome::NotStarted(why_not_started(program, &error)), String::new()),
    };
    let (out, err) = (group.0.stdout.take(), group.0.stderr.take());
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let outcome = {
        let mut reading =
            std::pin::pin!(async { tokio::join!(collect(out, &mut said), collect(err, &mut complained)) });
        let ended = timeout(limit, async {
            let mut is_read = false;
            loop {
                tokio::select! {
                    status = group.0.wait() => return (status, is_read),
                    _ = &mut reading, if !is_read => is_read = true,
                }
            }
        });
        match ended.await {
            Ok((status, is_read)) => {
                if !is_read {
                    // What it has left running may hold its output open.
                    let _ = timeout(OUTPUT_WAIT, &mut reading).await;
                }
                match status {
                    Ok(status) if status.success() => Outcome::Done,
                    Ok(status) => Outcome::Failed(status),
                    Err(error) => Outcome::NotStarted(error.to_string()),
                }
            }
            Err(_) => Outcome::TimedOut,
        }
    };
    said.extend(complained);
    said.truncate(OUTPUT_BYTES_MAX);
    (outcome, String::from_utf8_lossy(&said).trim_end().to_owned())
}

/// The system says of a missing interpreter what it says of a missing file.
fn why_not_started(program: &Path, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::NotFound || !program.exists() {
        return error.to_string();
    }
    let mut start = Vec::new();
    let read = std::fs::File::open(program).and_then(|file| file.take(INTERPRETER_BYTES_MAX).read_to_end(&mut start));
    let text = String::from_utf8_lossy(&start);
    let line = text.lines().next().unwrap_or_default();
    let interpreter = line.strip_prefix("#!").filter(|_| read.is_ok()).map(|line| visible(line.trim(), ""));
    match interpreter {
        Some(name) => format!("its interpreter is not there: its first line names {name:?} ({error})"),
        None => format!("the file is there, but the loader or interpreter that it needs is not ({error})"),
    }
}

/// A process that has not ended yet goes with all of its group when this is dropped.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Without an id it was waited for, and the number may be another's by now.
        let id = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(id) = id {
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

/// Reads to the end, and keeps the beginning.
async fn collect(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
}
