//! `ebb certs --revoke`: the list of the authority's certificates that are not valid any more, before their time.
//!
//! Owns: the list, and which certificates are on it. Does not own: the authority (`certs`), and judging by the list
//! (`receive/tls`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rcgen::{CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use time::{Duration, OffsetDateTime};
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;

use super::certs::{self, Authority};
use super::files::{self, Mode};
use crate::code;
use crate::error::{Error, Result};

/// The list's name, beside the authority's certificate.
pub const LIST: &str = "revoked.crl";
/// The lines above the list (PEM admits text there) that say what is on it, for when it is extended.
const REVOKED: &str = "revoked: ";
/// Nobody asks for a newer list when it has passed.
const VALID: Duration = Duration::days(3650);

/// What is wanted.
#[derive(Debug)]
pub struct Options {
    /// The authority's folder.
    pub dir: PathBuf,
    /// PEM file of the certificate.
    pub certificate: PathBuf,
}

/// Puts the certificate on the list, and returns what is to be printed.
pub fn revoke(options: &Options) -> Result<String> {
    let authority = certs::read_authority(&options.dir, "--revoke")?;
    let serial = serial(&options.certificate, &authority)?;
    let list = options.dir.join(LIST);
    let mut entries = entries(&list)?;
    if entries.iter().all(|(known, _)| *known != serial) {
        entries.push((serial, OffsetDateTime::now_utc().unix_timestamp()));
    }
    write(&list, &entries, &authority.issuer)?;
    Ok(format!(
        "revoked {}; the list {} has {} certificates\n\
         ebb refuses them once it is started with --tlsClientCRL {}; one that runs so takes the list up on SIGHUP, or \
         within a minute\n",
        options.certificate.display(),
        list.display(),
        entries.len(),
        list.display()
    ))
}

/// A list of nothing, so that the flag can be given before it is needed.
pub(super) fn start(dir: &Path, issuer: &Issuer<'_, KeyPair>) -> Result<()> {
    write(&dir.join(LIST), &[], issuer)
}

/// Serial number and time.
type Entry = (Vec<u8>, i64);

fn write(path: &Path, entries: &[Entry], issuer: &Issuer<'_, KeyPair>) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::new(code::defect::CRYPTOGRAPHY, format!("the list of revocations cannot be made: {error}"))
    };
    let now = OffsetDateTime::now_utc();
    let revoked: Result<Vec<_>> = entries
        .iter()
        .map(|(serial, at)| {
            let revocation_time = OffsetDateTime::from_unix_timestamp(*at).map_err(|error| failed(&error))?;
            let serial_number = SerialNumber::from_slice(serial);
            Ok(RevokedCertParams { serial_number, revocation_time, reason_code: None, invalidity_date: None })
        })
        .collect();
    let params = CertificateRevocationListParams {
        this_update: now - Duration::days(1),
        next_update: now + VALID,
        crl_number: SerialNumber::from(u64::try_from(now.unix_timestamp()).unwrap_or(0)),
        issuing_distribution_point: None,
        revoked_certs: revoked?,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = params.signed_by(issuer).and_then(|list| list.pem()).map_err(|error| failed(&error))?;
    let hex = |serial: &[u8]| serial.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines: String = entries.iter().map(|(serial, at)| format!("{REVOKED}{} {at}\n", hex(serial))).collect();
    files::replace(path, &format!("{lines}{list}"), Mode::Public)
}

/// What is on the list; nothing where there is none yet.
fn entries(path: &Path) -> Result<Vec<Entry>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|error| unusable(path, &error.to_string()))?,
    };
    let entry = |line: &str| {
        let (serial, at) = line.split_once(' ')?;
        let bytes = (0..serial.len()).step_by(2).map(|at| u8::from_str_radix(serial.get(at..at + 2)?, 16).ok());
        Some((bytes.collect::<Option<Vec<u8>>>()?, at.parse().ok()?))
    };
    let lines = text.lines().filter_map(|line| line.strip_prefix(REVOKED));
    let entries: Option<Vec<Entry>> = lines.map(entry).collect();
    // What is on the list and not in the lines would be left out of the next one.
    let is_whole = |entries: &Vec<Entry>| {
        let named: BTreeSet<_> = entries.iter().map(|(serial, _)| serial.clone()).collect();
        revoked(&text).is_some_and(|revoked| revoked == named)
    };
    entries.filter(is_whole).ok_or_else(|| unusable(path, "ebb certs did not write it so"))
}

/// The serial numbers on a list in PEM form.
fn revoked(text: &str) -> Option<BTreeSet<Vec<u8>>> {
    let der = CertificateRevocationListDer::from_pem_slice(text.as_bytes()).ok()?;
    let list = CertificateList::from_der(&der).ok()?;
    let revoked = list.tbs_cert_list.revoked_certificates.unwrap_or_default();
    Some(revoked.iter().map(|revoked| revoked.serial_number.as_bytes().to_vec()).collect())
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::new(
        code::access::REVOCATION_LIST,
        format!("the list of revocations {} cannot be extended: {why}", path.display()),
    )
    .hint("put back the file that ebb certs has made; without its entries revoked certificates would be valid again")
}

/// The serial number of a certificate of this authority.
fn serial(path: &Path, authority: &Authority) -> Result<Vec<u8>> {
    let refused = |why: &str| {
        Error::new(code::access::REVOCATION_LIST, format!("--revoke {} cannot be used: {why}", path.display())).hint(
            "give the PEM file of a certificate that ebb certs has made, such as certs/client.crt, and the folder of \
             its authority with --out",
        )
    };
    let der = CertificateDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::NoItemsFound => refused("it holds no certificate in PEM form"),
        error => refused(&error.to_string()),
    })?;
    let certificate = Certificate::from_der(&der).map_err(|error| refused(&error.to_string()))?;
    if !authority.has_signed(&certificate) {
        return Err(refused("it is not a certificate of this authority"));
    }
    Ok(certificate.tbs_certificate.serial_number.as_bytes().to_vec())
}
