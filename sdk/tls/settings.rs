//! The TLS settings of a connection: from its URL and, where libpq would look there, the environment and `~/.postgresql`.
//!
//! Owns: which mode follows from what was given, what is refused because it would verify less than was asked for, and when
//! a connection may go unencrypted. Does not own: verifying (`tls`).

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::{DatabaseUrl, Error, ErrorKind, Result, Topic};

/// The values of `sslmode`, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// Plain text, and TLS when the server wants it.
    Allow,
    /// TLS, and plain text when the server has none.
    Prefer,
    /// TLS. From here up there is no plain text.
    Require,
    /// TLS, the certificate's chain verified.
    VerifyCa,
    /// TLS, chain and host name verified.
    VerifyFull,
}

const MODES: [(&str, SslMode); 6] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

impl SslMode {
    /// What it is not is not repeated: in a URL that was put together wrongly it may be part of a password.
    fn parse(text: &str, place: &str) -> Result<Self> {
        let found = MODES.iter().find(|(name, _)| *name == text).map(|(_, mode)| *mode);
        found.ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("{place} is not a mode of TLS"))
                .topic(Topic::Tls)
                .hint("use sslmode=verify-full, verify-ca, require, prefer, allow or disable")
        })
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MODES.iter().find(|(_, mode)| mode == self).map_or("", |(name, _)| name))
    }
}

/// How a connection goes about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// `disable`.
    Never,
    /// `allow`: only when the server refuses plain text.
    AfterPlain,
    /// `prefer`: plain text only when the server has no TLS.
    BeforePlain,
    /// With TLS or not at all.
    Always,
}

/// The TLS part of a connection string.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// `sslmode`: whether TLS is used, and how much of the server's certificate is checked.
    pub mode: SslMode,
    /// `sslrootcert`: the authorities to trust; the system's own when absent.
    pub root_cert: Option<PathBuf>,
    /// `sslcert`: the client's certificate chain.
    pub cert: Option<PathBuf>,
    /// `sslkey`: its key.
    pub key: Option<PathBuf>,
    /// `sslcrl`: certificates of servers that are not valid any more.
    pub crl: Option<PathBuf>,
}

/// What an environment may ask libpq for, and ebb does not do: the name, and the value where it is not any.
const BEYOND: &[(&str, Option<&str>)] = &[
    ("PGSSLCRLDIR", None),
    ("PGREQUIREAUTH", None),
    ("PGSSLMINPROTOCOLVERSION", Some("TLSv1.3")),
    ("PGSSLCERTMODE", Some("require")),
    ("PGCHANNELBINDING", Some("require")),
    ("PGGSSENCMODE", Some("require")),
];

/// Where libpq looks beside the connection string.
struct Surroundings<'a> {
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// `~/.postgresql`.
    folder: Option<PathBuf>,
}

impl TlsSettings {
    /// Without files.
    pub fn new(mode: SslMode) -> Self {
        Self { mode, root_cert: None, cert: None, key: None, crl: None }
    }

    /// Reads the parameters of a URL. `default` is the mode of a URL that names none.
    ///
    /// # Errors
    /// `Config` for an `sslmode` that is unknown, or that verifies less than the rest asks for.
    pub fn from_url(url: &DatabaseUrl, default: SslMode) -> Result<Self> {
        Self::found(url, &Surroundings { variable: &|_| None, folder: None }, default)
    }

    /// As libpq does: what the URL leaves out is taken from `PGSSLMODE`, `PGREQUIRESSL`, `PGSSLROOTCERT`, `PGSSLCERT`,
    /// `PGSSLKEY` and `PGSSLCRL`, and then from the files in `~/.postgresql`, where they exist.
    ///
    /// # Errors
    /// As [`TlsSettings::from_url`], and for a variable that asks for more than is done.
    pub fn libpq(url: &DatabaseUrl) -> Result<Self> {
        let folder = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".postgresql"));
        Self::found(url, &Surroundings { variable: &|name| std::env::var_os(name), folder }, SslMode::Prefer)
    }

    fn found(url: &DatabaseUrl, around: &Surroundings<'_>, default: SslMode) -> Result<Self> {
        let variable = |name: &str| (around.variable)(name).filter(|value| !value.is_empty());
        if let Some((name, _)) = BEYOND.iter().find(|(name, wanted)| match wanted {
            None => variable(name).is_some(),
            Some(wanted) => variable(name).is_some_and(|value| value == *wanted),
        }) {
            let message = format!("the environment has {name}, which asks for more than ebb verifies of a server");
            return Err(Error::new(ErrorKind::Config, message)
                .topic(Topic::Tls)
                .hint(format!("unset {name} for ebb, and use sslmode=verify-full")));
        }
        let file = |parameter: &str, name: &str, in_folder: &str| {
            let given = url.parameter(parameter).filter(|value| !value.is_empty()).map(OsString::from);
            let in_folder = || around.folder.as_ref().map(|folder| folder.join(in_folder)).filter(|path| path.exists());
            given.or_else(|| variable(name)).map(PathBuf::from).or_else(in_folder)
        };
        let root_cert = file("sslrootcert", "PGSSLROOTCERT", "root.crt");
        let is_system = root_cert.as_ref().is_some_and(|path| path.as_os_str() == "system");
        let mode = match (url.parameter("sslmode"), variable("PGSSLMODE"), variable("PGREQUIRESSL")) {
            (Some(text), ..) => Some(SslMode::parse(text, "sslmode of the connection string")?),
            (None, Some(text), _) => Some(SslMode::parse(&text.to_string_lossy(), "PGSSLMODE of the environment")?),
            (None, None, Some(flag)) if flag.to_string_lossy().starts_with('1') => Some(SslMode::Require),
            _ => None,
        };
        Ok(Self {
            mode: sound(mode.unwrap_or(if is_system { SslMode::VerifyFull } else { default }), is_system, &root_cert)?,
            root_cert: root_cert.filter(|_| !is_system),
            cert: file("sslcert", "PGSSLCERT", "postgresql.crt"),
            key: file("sslkey", "PGSSLKEY", "postgresql.key"),
            crl: file("sslcrl", "PGSSLCRL", "root.crl"),
        })
    }

    /// Whether the server must show a certificate of an authority that is trusted. Below `verify-ca` it must only where the
    /// authority is named, as in libpq.
    pub fn is_verified(&self) -> bool {
        self.mode > SslMode::Require || (self.mode != SslMode::Disable && self.root_cert.is_some())
    }

    /// Whether and when plain text is spoken, which only `--allow-tls-mode-disable` admits: whoever answers in the server's
    /// place decides what it supports, and would be told the password. `side` is `the target …` or `the source …`.
    ///
    /// # Errors
    /// `Config` for `disable` where that is not admitted.
    pub fn encryption(&self, allow_insecure: bool, side: &str) -> Result<Encryption> {
        match (self.mode, allow_insecure) {
            (SslMode::Disable, false) => {
                let message = format!("{side} has sslmode=disable, or no sslmode: it would not be encrypted");
                Err(Error::new(ErrorKind::Config, message).topic(Topic::Unencrypted).hint(ADMIT))
            }
            (SslMode::Disable, true) => Ok(Encryption::Never),
            (SslMode::Allow, true) => Ok(Encryption::AfterPlain),
            (SslMode::Prefer, true) => Ok(Encryption::BeforePlain),
            _ => Ok(Encryption::Always),
        }
    }

    /// The error of a server without TLS, for a connection that is [`Encryption::Always`] encrypted.
    pub fn unencrypted(&self, doing: &str) -> Error {
        let why = match self.mode {
            SslMode::Allow | SslMode::Prefer => "would have the password sent unencrypted",
            _ => "demands it",
        };
        let message = format!("cannot {doing}: the server does not support TLS, and sslmode={} {why}", self.mode);
        Error::new(ErrorKind::Config, message).topic(Topic::Unencrypted).hint(match self.mode {
            SslMode::Allow | SslMode::Prefer => {
                "turn TLS on at the server and use sslmode=verify-full, or admit it with --allow-tls-mode-disable (now false)"
            }
            _ => "turn TLS on at the server, or see sslmode in the connection string",
        })
    }

    /// What is to be warned of: encrypted, but to whom?
    pub fn warning(&self, side: &str) -> Option<String> {
        let is_open = self.mode != SslMode::Disable && !self.is_verified();
        is_open.then(|| {
            format!(
                "{side} is not verified (sslmode={} without sslrootcert): whoever answers in its place is told the password; \
                 use sslmode=verify-full",
                self.mode
            )
        })
    }
}

const ADMIT: &str = "use sslmode=verify-full, or admit it with --allow-tls-mode-disable (now false)";

/// With the machine's authorities everybody has a certificate, so that it is the name that counts.
fn sound(mode: SslMode, is_system: bool, root_cert: &Option<PathBuf>) -> Result<SslMode> {
    if is_system && mode != SslMode::VerifyFull {
        let message =
            format!("sslrootcert=system with sslmode={mode} would take anybody's certificate of a public authority");
        return Err(Error::new(ErrorKind::Config, message)
            .topic(Topic::Tls)
            .hint("use sslmode=verify-full, or name an authority of your own"));
    }
    if mode == SslMode::VerifyCa && root_cert.is_none() {
        let message = "sslmode=verify-ca without sslrootcert would take anybody's certificate of a public authority";
        return Err(Error::new(ErrorKind::Config, message)
            .topic(Topic::Tls)
            .hint("add sslrootcert=PATH of the CA certificate to the connection string, or use sslmode=verify-full"));
    }
    Ok(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mode and root that follow from a query, variables and files in `~/.postgresql`.
    fn found(query: &str, variables: &[(&str, &str)], files: &[&str]) -> Result<TlsSettings> {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|name| std::fs::write(folder.path().join(name), "").unwrap());
        let url = DatabaseUrl::parse(&format!("postgres://u@h/d?{query}")).unwrap();
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        let around = Surroundings { variable: &variable, folder: Some(folder.path().to_owned()) };
        TlsSettings::found(&url, &around, SslMode::Prefer)
    }

    #[test]
    fn the_mode_is_the_one_that_libpq_takes() {
        let check = |query: &str, variables: &[(&str, &str)], files: &[&str], mode: SslMode, root: Option<&str>| {
            let found = found(query, variables, files).unwrap();
            let name = found.root_cert.as_ref().map(|path| path.file_name().unwrap().to_str().unwrap());
            assert_eq!((found.mode, name), (mode, root), "{query} {variables:?} {files:?}");
        };
        check("", &[], &[], SslMode::Prefer, None);
        check("", &[("PGSSLMODE", "verify-full")], &[], SslMode::VerifyFull, None);
        check("sslmode=require", &[("PGSSLMODE", "verify-full")], &[], SslMode::Require, None);
        check("", &[("PGREQUIRESSL", "1")], &[], SslMode::Require, None);
        check("", &[("PGREQUIRESSL", "1"), ("PGSSLMODE", "verify-full")], &[], SslMode::VerifyFull, None);
        check("", &[("PGSSLMODE", ""), ("PGREQUIRESSL", "0")], &[], SslMode::Prefer, None);
        check("sslmode=require", &[], &["root.crt"], SslMode::Require, Some("root.crt"));
        check("", &[("PGSSLROOTCERT", "/a.crt")], &["root.crt"], SslMode::Prefer, Some("a.crt"));
        check("sslrootcert=/b.crt", &[("PGSSLROOTCERT", "/a.crt")], &[], SslMode::Prefer, Some("b.crt"));
        // The system's authorities: the strongest mode, by itself, and not those of a file.
        check("sslrootcert=system", &[], &["root.crt"], SslMode::VerifyFull, None);
        check("", &[("PGSSLROOTCERT", "system")], &["root.crt"], SslMode::VerifyFull, None);
        check("sslrootcert=system&sslmode=verify-full", &[], &[], SslMode::VerifyFull, None);
        assert!(found("", &[], &["root.crl"]).unwrap().crl.is_some());
        assert!(found("", &[("PGSSLCRL", "/c")], &[]).unwrap().crl.is_some());
    }

    #[test]
    fn what_would_verify_less_than_was_asked_for_is_refused() {
        let check = |query: &str, variables: &[(&str, &str)], expected: &str| {
            let error = found(query, variables, &[]).unwrap_err();
            let text = format!("{error} {}", error.hint.clone().unwrap_or_default());
            assert!(text.contains(expected) && !text.contains("geheim"), "{text}");
        };
        for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
            check(&format!("sslrootcert=system&sslmode={mode}"), &[], "use sslmode=verify-full");
            check("sslrootcert=system", &[("PGSSLMODE", mode)], "use sslmode=verify-full");
            check(&format!("sslmode={mode}"), &[("PGSSLROOTCERT", "system")], "use sslmode=verify-full");
        }
        check("sslmode=verify-ca", &[], "sslrootcert=PATH");
        check("sslmode=geheim", &[], "use sslmode=verify-full");
        check("", &[("PGSSLMODE", "geheim")], "PGSSLMODE");
        for (name, value) in BEYOND {
            check("sslmode=verify-full", &[(name, value.unwrap_or("any"))], name);
        }
        assert!(found("", &[("PGCHANNELBINDING", "prefer")], &[]).is_ok());
    }

    #[test]
    fn nothing_goes_unencrypted_unless_that_is_admitted() {
        for (name, mode) in MODES {
            let settings = TlsSettings::new(mode);
            let admitted = settings.encryption(true, "the target").unwrap();
            let expected = match name {
                "disable" => Encryption::Never,
                "allow" => Encryption::AfterPlain,
                "prefer" => Encryption::BeforePlain,
                _ => Encryption::Always,
            };
            assert_eq!(admitted, expected, "{name}");
            match settings.encryption(false, "the target") {
                Ok(encryption) => assert_eq!((encryption, name == "disable"), (Encryption::Always, false)),
                Err(error) => assert!(error.hint.unwrap().contains("--allow-tls-mode-disable") && name == "disable"),
            }
        }
    }
}
