//! `ebb report-key` and `ebb verify-report`; and writing the report of `ebb cutback`.
//!
//! Owns: the files. Does not own: what stands in a report (`report`), signing (`report/signature`).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::files::{self, Mode};
use crate::code;
use crate::cutback::Report;
use crate::error::{Error, Result, visible};
use crate::report::signature::{self, SigningKey, TrustedKey, beside, bounded, sha256};
use crate::report::{self, Parts};

const SIGNATURE_BYTES_MAX: u64 = 4 << 10;

/// Makes a pair of keys, and returns what to tell the user.
pub fn make_key(out: &Path) -> Result<String> {
    let mut public = out.as_os_str().to_owned();
    public.push(".pub");
    let public = PathBuf::from(public);
    files::refuse_existing(&[out, &public], "sign with it: ebb cutback --sign-key FILE, or give another name")?;
    let (private, of_others) = signature::new_pair()?;
    files::replace(out, &private, Mode::Private)?;
    files::replace(&public, &of_others, Mode::Public)?;
    Ok(format!(
        "private key {} for ebb cutback --sign-key, public key {} for ebb verify-report --key\n\
         Give the public key to those who are to verify reports beforehand: one that comes with a report proves nothing.\n",
        out.display(),
        public.display()
    ))
}

/// Says whether a report is as it was signed by this key.
pub fn verify(path: &Path, key: &Path) -> Result<String> {
    let trusted = TrustedKey::read(key)?;
    let unreadable = |why: String| {
        Error::new(code::settings::FILE_UNREADABLE, format!("the report {} cannot be read: {why}", path.display()))
            .hint("give the file that ebb cutback --report or --report-html has written")
    };
    let bytes = File::open(path).map_err(|error| error.to_string());
    let bytes = bytes.and_then(|file| bounded(file, report::BYTES_MAX)).map_err(unreadable)?;
    let refused = |why: &str| {
        Error::new(code::cutback::NOT_AS_SIGNED, format!("{} proves nothing: {why}", path.display()))
            .hint("ask for the report and its .sig again, and for the public key of who has signed it, by another way")
    };
    let signature = match File::open(beside(path)) {
        Ok(file) => bounded(file, SIGNATURE_BYTES_MAX).map_err(|why| refused(&format!("its signature: {why}")))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(refused(&format!("it has no signature, {} is missing", beside(path).display())));
        }
        Err(error) => return Err(refused(&format!("its signature cannot be read: {error}"))),
    };
    trusted.verify(&bytes, &String::from_utf8_lossy(&signature)).map_err(refused)?;
    Ok(format!("{} is as it was signed by the key {}{}\n", path.display(), trusted.fingerprint(), said(&bytes)))
}

/// The verdict of a report in JSON.
fn said(bytes: &[u8]) -> String {
    let report: Value = serde_json::from_slice(bytes).unwrap_or_default();
    if report["format"] != report::FORMAT {
        return String::new();
    }
    let record = &report["record"];
    let text = |name: &str| visible(record[name].as_str().unwrap_or("not known"), "");
    let dry = if record["dry_run"] == true { ", a dry run" } else { "" };
    format!(": {}{dry}, ended {}, equal as of {}", text("verdict"), text("ended"), text("verified_to"))
}

/// Where a report goes; everything that can be wrong with it is found before the first step.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    wanted: &'a Report,
    key: Option<SigningKey>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(wanted: &'a Report) -> Result<Self> {
        let paths = || [Some(&wanted.path), wanted.page.as_ref()].into_iter().flatten();
        if paths().any(|path| Some(path) == wanted.sign_key.as_ref()) || Some(&wanted.path) == wanted.page.as_ref() {
            return Err(Error::new(
                code::settings::VALUE,
                "two of --report, --report-html and --sign-key are one file",
            )
            .hint("give each a name of its own"));
        }
        let key = wanted.sign_key.as_deref().map(SigningKey::read).transpose()?;
        for path in paths() {
            files::try_write(path)?;
        }
        Ok(Self { wanted, key })
    }

    /// Writes all files, and says which.
    pub(super) fn write(&self, parts: Parts<'_>) -> Result<String> {
        let report = report::document(parts);
        let text = format!("{report:#}\n");
        let path = &self.wanted.path;
        self.put(path, &text)?;
        let mut said = format!("report {}", path.display());
        if let Some(page) = &self.wanted.page {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            self.put(page, &report::page(&report, &name, &sha256(text.as_bytes())))?;
            said += &format!(", page {}", page.display());
        }
        said += &match &self.key {
            Some(key) => format!(", signed by the key {}", key.fingerprint()),
            None => ", not signed (--sign-key)".to_owned(),
        };
        Ok(said)
    }

    /// What is left of an earlier signature would be that of another report.
    fn put(&self, path: &Path, text: &str) -> Result<()> {
        let signature = beside(path);
        match fs::remove_file(&signature) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let message = format!("the old signature {} cannot be removed: {error}", signature.display());
                return Err(
                    Error::new(code::settings::FILE_UNWRITABLE, message).hint("give a path that this user may write")
                );
            }
            _ => {}
        }
        files::replace(path, text, Mode::Private)?;
        match &self.key {
            Some(key) => files::replace(&signature, &key.sign(text.as_bytes()), Mode::Private),
            None => Ok(()),
        }
    }
}
