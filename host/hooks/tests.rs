//! What a hook is given, and what comes of one that does not do as it should.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::process::{Outcome, run};
use super::{Hooks, Queue, last_line};
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
    entry.fact("code", "EBB-W010").fact("lag_seconds", 1.5).fact("applied", "1751161903005030052.0000000002")
}

#[tokio::test]
async fn it_has_the_event_in_its_environment_and_nothing_of_ebbs() {
    let dir = tempdir();
    script(dir.path(), "refused", "env; echo aloud >&2; exit 3");
    let (outcome, output) = run(&dir.path().join("refused"), "s", &refused(), LIMIT).await;
    assert!(matches!(outcome, Outcome::Failed(status) if status.code() == Some(3)), "{outcome:?}");
    let has = |line: &str| output.lines().any(|other| other == line);
    for line in [
        "EBB_EVENT=row-refused",
        "EBB_APPLIED_AT=2025-06-29T01:51:43.005Z",
        "EBB_SCHEMA=s",
        "EBB_CODE=EBB-W010",
        "EBB_LAG_SECONDS=1.5",
        "EBB_JOB=",
        "aloud",
    ] {
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
    let error = hooks.ask(&Entry::new(Event::Started, ""), "the start").await.unwrap_err();
    assert!(error.code == code::hooks::VETO && error.message.contains("exit status: 1"), "{error}");
    // Without a program nobody is asked.
    hooks.ask(&Entry::new(Event::Ended, ""), "the start").await.unwrap();
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

#[tokio::test]
async fn one_that_others_may_write_by_now_is_not_run() {
    let dir = tempdir();
    script(dir.path(), "refused", &format!("touch {}/run", dir.path().display()));
    let program = dir.path().join("refused");
    fs::set_permissions(&program, Permissions::from_mode(0o757)).unwrap();
    let (outcome, _) = run(&program, "s", &refused(), LIMIT).await;
    assert!(
        matches!(&outcome, Outcome::NotTrusted(untrusted) if untrusted.why.contains("everybody may write")),
        "{outcome:?}"
    );
    assert!(!dir.path().join("run").exists());
}

#[tokio::test]
async fn a_missing_interpreter_is_not_taken_for_a_missing_file() {
    let dir = tempdir();
    let program = dir.path().join("refused");
    fs::write(&program, "#!/nowhere/python3 -u\n").unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let (outcome, _) = run(&program, "s", &refused(), LIMIT).await;
    let Outcome::NotStarted(why) = &outcome else { panic!("{outcome:?}") };
    assert!(why.contains("its interpreter is not there") && why.contains("/nowhere/python3 -u"), "{why}");
}

#[test]
fn of_an_output_the_last_line_is_shown_and_steers_nothing() {
    assert_eq!(last_line("a\nnot today\u{1b}[2J\n\n"), Some("not today\\u{1b}[2J".into()));
    assert_eq!(last_line(" \n"), None);
    let long = last_line(&"\u{f6}".repeat(1000)).unwrap();
    assert_eq!((long.chars().count(), long.ends_with('…')), (201, true));
    assert!(!last_line("scheme://a:geheim@h/db is down").unwrap().contains("geheim"));
}
