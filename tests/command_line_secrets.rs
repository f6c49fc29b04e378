//! A password in every place of a command line where one may end up, by mistake or not, looked for in what is said of it.
//! A module of the host's tests and of a fuzz target.

use std::ffi::OsString;

use ebb::cli::{self, Command};
use ebb_sdk::{DatabaseUrl, masked_url};

/// In the middle of each password: a text that stands nowhere else, so that whatever shows it repeats a secret.
const CANARY_SECRET: &str = "k4n4r1e";
const RUN: [&str; 5] =
    ["--mode", "failback", "--allow-tls-mode-disable", "--replicator-flags", "--tlsSelfSigned --disableAuthentication"];

/// Panics where a part of `before`, the canary secret and `after`, taken for a password, is shown.
pub(super) fn check(before: &str, after: &str) {
    let password = format!("{before}{CANARY_SECRET}{after}");
    check_urls(&password);
    for args in strays(&password) {
        look(&args);
    }
    for args in settings(&password) {
        look(&args);
        look(&[&["config".to_owned(), "show".into()], &args[..]].concat());
    }
}

fn check_urls(password: &str) {
    for url in urls(password) {
        assert_silent(&url, &masked_url(&url));
        match DatabaseUrl::parse(&url) {
            Ok(parsed) => assert_silent(&url, &format!("{parsed} {:?}", parsed.password)),
            Err(error) => assert_silent(&url, &format!("{error:?}")),
        }
    }
}

/// As it is and percent-encoded, where a password belongs and where it is mistaken for something else.
fn urls(password: &str) -> Vec<String> {
    let encoded: String = password.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut urls = Vec::new();
    for password in [password, &encoded] {
        urls.push(format!("postgres://user:{password}@host/database"));
        urls.push(format!("postgres://user:{password}@host:5432/database?sslmode=require"));
        urls.push(format!("postgres://user:12{password}@host/database?password={password}"));
        urls.push(format!("postgres://user:1?{password}@host/database"));
        urls.push(format!("postgres//user:{password}@host/database"));
        urls.push(format!("user:{password}@host/database"));
        urls.push(format!("postgres://user@host/database?sslmode=require&{password}"));
        urls.push(format!("postgres://user@host/database?sslkey=-----BEGIN PRIVATE KEY-----{password}"));
    }
    urls
}

/// Places that no password belongs to.
fn strays(password: &str) -> Vec<Vec<String>> {
    let args = |args: &[&str]| args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>();
    let fetch = |more: &[&str]| {
        args(&[&["fetch", "--source", "postgres://u@h/d", "--target", "postgres://u@h/d"][..], &RUN, more].concat())
    };
    let url = format!("postgres://user:{password}@host/database");
    let start = |more: &[&str]| args(&[&["start", "--targetConn", "postgres://u@h/d"][..], more].concat());
    vec![
        args(&[password]),
        fetch(&[password]),
        fetch(&[&url]),
        fetch(&["--logging", password]),
        fetch(&["--cursor", password]),
        fetch(&["--table-filter", &format!("({password}")]),
        fetch(&["--target-wait", password]),
        fetch(&[&format!("--non-interactive={password}")]),
        start(&["--webhook-auth-header", "Bearer", password]),
        start(&["--bindAddr", &format!(":{password}")]),
        start(&["--connections-max", password]),
        start(&["--triggers", &url]),
        start(&["--disableAuthentication", password]),
        start(&["--disableAuthentication", "--tlsSelfSigned", &format!("-x{password}")]),
        args(&["fetch", "--mode", password, "--source", "a://b", "--target", "a://b"]),
        args(&[
            "fetch",
            "--replicator-flags",
            &format!("--webhook-auth-header Bearer {password}"),
            "--mode",
            "failback",
        ]),
        [args(&["fetch", "--source", "a://b", "--target", "a://b"]), args(&RUN[..4]), args(&[&format!("-v {url}")])]
            .concat(),
        args(&["certs", "--port", password]),
        args(&["plugins", password]),
        args(&["triggers", password]),
    ]
}

/// Places that `config show` has to mask.
fn settings(password: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for url in urls(password) {
        let fetch = [&["fetch", "--source", &url, "--target", &url][..], &RUN].concat();
        let start = ["start", "--targetConn", &url, "--tlsSelfSigned", "--disableAuthentication"];
        all.push(fetch.iter().map(|&arg| arg.to_owned()).collect());
        all.push(start.map(str::to_owned).to_vec());
    }
    let header = format!("--webhook-auth-header=Bearer {password}");
    all.push(["start", "--targetConn", "postgres://u@h/d", "--tlsSelfSigned", &header].map(str::to_owned).to_vec());
    all
}

fn look(args: &[String]) {
    let given = args.iter().map(OsString::from);
    let said = match cli::parse(std::iter::once("ebb".into()).chain(given)) {
        Ok(Command::Run(_, warnings)) => warnings.join("\n"),
        Ok(Command::Print(text)) => text,
        Ok(_) => String::new(),
        Err(exit) => exit.text(),
    };
    assert_silent(&args.join(" "), &said);
}

fn assert_silent(given: &str, said: &str) {
    assert!(!said.contains(CANARY_SECRET), "{given:?} is answered with {said}");
}
