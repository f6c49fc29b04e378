//! The settings of the pages: their address, who may read them, whether over HTTPS; and how `ebb status` finds them.
//!
//! Owns: what `--metricsAuth` may hold. Does not own: serving and asking (`status`, `commands::status`).

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ebb_sdk::Secret;

use super::values::address;
use super::{FETCH_PAGES_ADDR, staging_dir};
use crate::cli::one_shot::Status;
use crate::cli::replicator::Replicator;
use crate::code;
use crate::commands::pages::Place;
use crate::commands::status;
use crate::config::{Identity, Pages, PagesLogin};
use crate::error::{Error, Result, visible};

const AUTH: &str = "--metricsAuth";
/// The rights to read it. An administrator's file is read by way of its group.
const OTHERS: u32 = 0o004;
const GROUP: u32 = 0o040;
/// A shorter one can be tried out.
const SECRET_CHARS_MIN: usize = 12;
const FORMS: &str = "the file's first line is basic:USER:PASSWORD for a browser, or bearer:TOKEN for programs; openssl rand \
                     -hex 24 makes either";

/// A default address may be taken by another ebb of this machine, which must not keep this one from running.
pub(super) fn pages(
    (flag, text, required): (&'static str, &str, bool),
    replicator: &Replicator,
    identity: &Identity,
) -> Result<Pages> {
    let login = replicator.metrics_auth.as_ref().map(login).transpose()?;
    let tls = replicator.metrics_tls.then(|| identity.clone());
    Ok(Pages { addr: address(flag, text)?, flag, required, login, tls })
}

/// `ebb status`. What the environment says of a schema counts for less than an address.
pub(in crate::cli) fn status(given: &Status) -> Result<status::Options> {
    if given.history && given.tables {
        let message = "--history and --tables are given, and the history has no rows of tables";
        let hint =
            "leave out one of the two: ebb status --tables shows the rows; --tables may come from EBB_STATUS_TABLES";
        return Err(Error::new(code::settings::FLAGS_CONFLICT, message).hint(hint));
    }
    let pages = match (&given.metrics_addr, &given.staging_schema) {
        (None, Some(schema)) => {
            Place::Run { staging_dir: staging_dir(given.staging_dir.as_ref())?, schema: schema.clone() }
        }
        (text, _) => {
            let text = text.as_deref().unwrap_or(FETCH_PAGES_ADDR);
            let host = text.rsplit_once(':').map_or(text, |(host, _)| host).trim_matches(['[', ']']);
            let host = if host.is_empty() { "localhost" } else { host };
            Place::Addr { addr: address("--metricsAddr", text)?, host: host.to_owned(), ca: given.metrics_ca.clone() }
        }
    };
    let login = given.metrics_auth.as_ref().map(login).transpose()?;
    // The folder is looked into where nobody answers.
    let asked = match (given.history, &given.staging_schema) {
        (true, Some(_)) => status::Asked::History(Some(staging_dir(given.staging_dir.as_ref())?)),
        (true, None) => status::Asked::History(None),
        (false, _) => status::Asked::Status,
    };
    let schema = given.staging_schema.clone();
    Ok(status::Options { pages, login, schema, asked, watch: given.watch, tables: given.tables, json: given.json })
}

/// The line itself, or that of a file.
fn login(given: &Secret) -> Result<PagesLogin> {
    let text = given.reveal();
    let is_line = ["basic:", "bearer:"].iter().any(|form| text.starts_with(form));
    let (text, readable) = if is_line { (text.to_owned(), None) } else { first_line(Path::new(text))? };
    let malformed = |why: &str| Error::new(code::settings::VALUE, format!("{AUTH} cannot be used: {why}")).hint(FORMS);
    let is_printable = text.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
    if !is_printable {
        return Err(malformed("it holds spaces, or what cannot stand in a header"));
    }
    let (scheme, credential, secret) = match (text.strip_prefix("basic:"), text.strip_prefix("bearer:")) {
        (Some(pair), _) => {
            let (user, password) = pair.split_once(':').ok_or_else(|| malformed("a user without a password"))?;
            if user.is_empty() {
                return Err(malformed("a password without a user"));
            }
            ("Basic", STANDARD.encode(pair), password)
        }
        (None, Some(token)) => ("Bearer", token.to_owned(), token),
        (None, None) => return Err(malformed("it begins with neither basic: nor bearer:")),
    };
    if secret.len() < SECRET_CHARS_MIN {
        return Err(malformed(&format!("its password or token is shorter than {SECRET_CHARS_MIN} characters")));
    }
    Ok(PagesLogin { header: Secret::new(format!("{scheme} {credential}")), secret: Secret::new(secret), readable })
}

/// Whether it certainly is one: it is there, or the folder is in which it would be. A token of base64 may have slashes, too.
fn is_path(path: &Path) -> bool {
    let is_folder = |folder: &Path| folder.parent().is_some() && folder.is_dir();
    path.symlink_metadata().is_ok() || path.parent().is_some_and(is_folder)
}

/// With the file and its mode, if other users may read it.
fn first_line(path: &Path) -> Result<(String, Option<(PathBuf, u32)>)> {
    let mut text = String::new();
    let read = File::open(path).and_then(|mut file| {
        file.read_to_string(&mut text)?;
        file.metadata()
    });
    let found = read.map_err(|error| {
        // What is no path may be a secret.
        let named = || format!(" {}", visible(&path.to_string_lossy(), ""));
        let shown = if is_path(path) { named() } else { String::new() };
        Error::new(code::settings::FILE_UNREADABLE, format!("the file{shown} of {AUTH} cannot be read: {error}"))
            .hint(format!("give {AUTH} the path of a file that this user may read; {FORMS}"))
    })?;
    let mode = found.mode() & 0o7777;
    let others = if found.uid() == 0 { OTHERS } else { OTHERS | GROUP };
    let readable = (mode & others != 0).then(|| (path.to_owned(), mode));
    Ok((text.lines().next().unwrap_or_default().trim_end().to_owned(), readable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_a_header() {
        let header = |text: &str| login(&Secret::new(text)).map(|login| login.header.reveal().to_owned());
        assert_eq!(header("bearer:0123456789abcdef").unwrap(), "Bearer 0123456789abcdef");
        assert_eq!(header("basic:ann:open sesame").map_err(|error| error.code), Err(code::settings::VALUE));
        assert_eq!(header("basic:ann:opensesame:1").unwrap(), "Basic YW5uOm9wZW5zZXNhbWU6MQ==");
        for wrong in ["bearer:short", "basic:ann", "basic::0123456789abcdef", "bearer:0123456789\u{e9}abc"] {
            let error = login(&Secret::new(wrong)).unwrap_err();
            assert_eq!(error.code, code::settings::VALUE, "{wrong}");
            assert!(!error.message.contains("0123456789"), "{error}");
        }
        let dir = crate::private::tempdir();
        let missing = dir.path().join("pages.auth").display().to_string();
        for path in [missing, dir.path().display().to_string()] {
            let error = login(&Secret::new(path.clone())).unwrap_err();
            assert!(error.message.starts_with(&format!("the file {path} of --metricsAuth cannot be read")), "{error}");
        }
        let error = login(&Secret::new("/0123456789abcdef")).unwrap_err();
        assert!(error.code == code::settings::FILE_UNREADABLE && !error.message.contains("0123"), "{error}");
        let error = login(&Secret::new("0123456789abcdef")).unwrap_err();
        assert!(error.code == code::settings::FILE_UNREADABLE && !error.message.contains("0123"), "{error}");
    }
}
