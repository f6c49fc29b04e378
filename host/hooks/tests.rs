//! What a hook is given, and what comes of one that does not do as it should.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::process::{Outcome, run};
use super::{Hooks, Queue};
use crate::code;
use crate::config;
use crate::history::{Entry, Event};
use crate::private::tempdir;

const LIMIT: Duration = Duration::from_secs(20);

fn script(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
}

fn refused() -> Entry {
    let entry = Entry::new(Event::RowRefused, "the target refuses a row").fact("table", "public.t\0\n");
    entry.fact("code", "EBB-W010").fact("lag_seconds", 1.5)
}

#[tokio::test]
async fn it_has_the_event_in_its_environment_and_nothing_of_ebbs() {
    let dir = tempdir();
    script(dir.path(), "refused", "env; echo aloud >&2; exit 3");
    let (outcome, output) = run(&dir.path().join("refused"), "s", &refused(), LIMIT).await;
    assert!(matches!(outcome, Outcome::Failed(status) if status.code() == Some(3)), "{outcome:?}");
    let has = |line: &str| output.lines().any(|other| other == line);
    for line in
        ["EBB_EVENT=row-refused", "EBB_SCHEMA=s", "EBB_CODE=EBB-W010", "EBB_LAG_SECONDS=1.5", "EBB_JOB=", "aloud"]
    {
        assert!(has(line), "{line} is not in\n{output}");
    }
    assert!(has("EBB_TABLE=public.t\\u{0}\\n"), "{output}");
    // The tests run with many more.
    assert!(!output.contains("CARGO"), "{output}");
}

#[tokio::test]
async fn a_flood_is_cut_and_holds_nobody_up() {
    let dir = tempdir();
    script(
        dir.path(),
        "refused",
        "i=0; while [ $i -lt 2000 ]; do echo 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'; i=$((i+1)); done",
    );
    let (outcome, output) = run(&dir.path().join("refused"), "s", &refused(), LIMIT).await;
    assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
    assert!(output.len() > 4000 && output.len() <= 4096, "{}", output.len());
}

#[tokio::test]
async fn one_that_hangs_goes_with_all_that_it_has_started() {
    let dir = tempdir();
    let pid = dir.path().join("pid");
    script(dir.path(), "refused", &format!("sleep 60 & echo $! > {}; wait", pid.display()));
    let (outcome, _) = run(&dir.path().join("refused"), "s", &refused(), Duration::from_millis(500)).await;
    assert!(matches!(outcome, Outcome::TimedOut), "{outcome:?}");
    let started = fs::read_to_string(&pid).unwrap();
    let deadline = Instant::now() + LIMIT;
    // A zombie is not there any more, either.
    let runs = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", started.trim())).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    while runs() {
        assert!(Instant::now() < deadline, "{started} still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_it_leaves_running_is_not_waited_for() {
    let dir = tempdir();
    script(dir.path(), "refused", "sleep 5 &");
    let begun = Instant::now();
    let (outcome, _) = run(&dir.path().join("refused"), "s", &refused(), LIMIT).await;
    assert!(matches!(outcome, Outcome::Done) && begun.elapsed() < Duration::from_secs(4), "{outcome:?}");
}

#[tokio::test]
async fn a_start_is_asked_for_and_events_come_one_after_the_other() {
    let dir = tempdir();
    script(dir.path(), "started", "exit 1");
    script(dir.path(), "refused", &format!("echo $EBB_TEXT >> {}/said", dir.path().display()));
    let settings = config::Hooks { dir: Some(dir.path().into()), timeout: LIMIT };
    let hooks = Hooks::open(&settings, "s").unwrap();
    let error = hooks.ask(&Entry::new(Event::Started, "")).await.unwrap_err();
    assert!(error.code == code::hooks::VETO && error.message.contains("exit status: 1"), "{error}");
    // Without a program nobody is asked.
    hooks.ask(&Entry::new(Event::Ended, "")).await.unwrap();
    let queue = Queue::new(hooks);
    for text in ["a", "b", "c"] {
        queue.offer(&Arc::new(Entry::new(Event::RowRefused, text)));
        queue.offer(&Arc::new(Entry::new(Event::Started, text)));
    }
    tokio::select! {
        () = queue.clone().serve() => panic!("it ends"),
        () = queue.drain() => {}
    }
    assert_eq!(fs::read_to_string(dir.path().join("said")).unwrap(), "a\nb\nc\n");
}
