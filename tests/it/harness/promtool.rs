//! Prometheus' own judgement of metrics, rules and expressions.
//!
//! Owns: running `promtool`, which `tests/servers/get-promtool.sh` has unpacked into `target/promtool`, or into the folder that
//! `EBB_TEST_PROMTOOL` names. Does not own: what is judged.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs it in the project's folder, with this as its standard input; panics with what it says when it finds fault.
pub(crate) fn promtool(args: &[&str], input: &str) {
    let mut child = Command::new(program())
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    // It ends with 0 where it has warned only.
    assert!(output.status.success() && !said.contains("WARNING"), "promtool {args:?}:\n{said}");
}

fn program() -> PathBuf {
    let folder = std::env::var_os("EBB_TEST_PROMTOOL").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/promtool"));
    let program = folder.join("promtool");
    let folder = folder.display();
    assert!(program.exists(), "no {folder}/promtool: run `make promtool`, or `tests/servers/get-promtool.sh {folder}`");
    program
}
