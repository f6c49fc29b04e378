//! Why CockroachDB cannot be connected to.
//!
//! Owns: telling the reasons apart that are mended in different ways. Does not own: connecting (`connect`).

use ebb_sdk::tls::TlsSettings;
use ebb_sdk::{DatabaseUrl, with_causes};

use crate::code;
use crate::error::{Error, SqlState};

pub(super) const REACH: &str = "check host and port in --source, and that the cluster runs";

pub(super) fn unreachable(url: &DatabaseUrl, tls: &TlsSettings, failure: &tokio_postgres::Error) -> Error {
    let state = failure.code().and_then(|code| SqlState::new(code.code()));
    let text = with_causes(failure);
    let lower = text.to_lowercase();
    let (code, why, hint) = match state {
        Some(SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION) => {
            (code::source::CREDENTIALS, text, "check user and password in --source")
        }
        Some(SqlState::INVALID_CATALOG_NAME) => (
            code::source::DATABASE_MISSING,
            text,
            "check the database in --source: postgres://user@host:26257/DATABASE",
        ),
        _ if lower.contains("password missing") => (
            code::source::CREDENTIALS,
            "it asks for a password, and --source has none".into(),
            "write postgres://USER:PASSWORD@HOST:26257/DATABASE; the variable EBB_SOURCE keeps it out of the list of processes",
        ),
        _ if lower.contains("unknownissuer") => (
            code::source::CERTIFICATE_UNTRUSTED,
            format!("its certificate was not issued by an authority that is trusted: {}", authority(url, tls)),
            "add sslrootcert=PATH of the cluster's CA certificate (ca.crt) to --source, or set PGSSLROOTCERT",
        ),
        _ if lower.contains("certificate") => (
            code::source::CERTIFICATE,
            text,
            "check sslrootcert, sslcert and sslkey in --source, and that the cluster's certificate is valid for the host",
        ),
        _ => (code::source::UNREACHABLE, text, REACH),
    };
    Error::new(code, format!("cannot connect to the source {url}: {why}")).hint(hint).sqlstate(state)
}

/// What the source's certificate was verified with.
fn authority(url: &DatabaseUrl, tls: &TlsSettings) -> String {
    let is_named = url.parameter("sslrootcert").is_some() || std::env::var_os("PGSSLROOTCERT").is_some();
    match &tls.root_cert {
        Some(path) => format!("ebb trusts those in {}", path.display()),
        None if is_named => "ebb trusts those of this machine (sslrootcert=system)".into(),
        None => {
            "--source has no sslrootcert, and ~/.postgresql/root.crt does not exist, so that ebb trusts those of this \
                 machine"
                .into()
        }
    }
}
