//! `ebb certs`: an authority, a certificate for the receiver, one for the changefeed, and the file for `--changefeeds-path`.
//!
//! Owns: their names, their days, and that nothing is written over. Does not own: verifying them (`receive/tls`).

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};
use x509_cert::Certificate;
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::der::{Decode, Encode};
use x509_cert::name::Name;

use super::files::{self, Mode};
use super::revoke;
use crate::code;
use crate::error::{Error, Result};

/// The authority's name, by which it is found again when certificates are renewed.
const AUTHORITY: &str = "ebb authority";
/// The line above the certificate (PEM admits text there) that names its hosts, for when it is renewed.
const HOSTS: &str = "hosts: ";
const THIS_MACHINE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// A clock that is behind must not find a certificate that is not valid yet.
const BACKDATED: Duration = Duration::days(1);

/// What is wanted.
#[derive(Debug)]
pub struct Options {
    pub dir: PathBuf,
    pub changefeeds_path: PathBuf,
    /// Names and addresses of the receiver; the first one is the changefeed's. Those of before, or of this machine, when
    /// there are none.
    pub hosts: Vec<String>,
    pub port: u16,
    pub client_name: String,
    pub days: u32,
    pub authority_days: u32,
    /// The authority is there already.
    pub renew: bool,
}

/// Writes the files, and returns what is to be printed.
pub fn make(options: &Options) -> Result<String> {
    let file = |name: &str| options.dir.join(name);
    let renewed = options.renew.then(|| read_authority(&options.dir, "--renew")).transpose()?;
    let hosts = hosts(options)?;
    let server = certificate(&hosts[0], &hosts, ExtendedKeyUsagePurpose::ServerAuth, options.days)?;
    let client = certificate(&options.client_name, &[], ExtendedKeyUsagePurpose::ClientAuth, options.days)?;
    let authority = renewed.map_or_else(|| new_authority(options), Ok)?;
    keep_out_of_git(&options.dir)?;
    let (server, client) = (sign(&server, &authority)?, sign(&client, &authority)?);
    let settings = settings(options, &hosts[0], &client, &authority)?;
    // Whoever reloads takes a certificate and key that do not belong together for a change that is under way.
    files::replace(&file("server.key"), &server.key, Mode::Private)?;
    let named = format!("{HOSTS}{}\n{}", hosts.join(" "), server.certificate);
    files::replace(&file("server.crt"), &named, Mode::Public)?;
    files::replace(&file("client.key"), &client.key, Mode::Private)?;
    files::replace(&file("client.crt"), &client.certificate, Mode::Public)?;
    files::replace(&options.changefeeds_path, &settings, Mode::Private)?;
    Ok(summary(options, &hosts))
}

/// A certificate that is renewed without a word about its hosts must not lose one.
fn hosts(options: &Options) -> Result<Vec<String>> {
    if !options.hosts.is_empty() {
        return Ok(options.hosts.clone());
    }
    if !options.renew {
        return Ok(THIS_MACHINE.map(String::from).to_vec());
    }
    let text = std::fs::read_to_string(options.dir.join("server.crt")).unwrap_or_default();
    let named = text.lines().find_map(|line| line.strip_prefix(HOSTS));
    named.map(|hosts| hosts.split_whitespace().map(str::to_owned).collect()).ok_or_else(|| {
        Error::new(
            code::access::HOSTS,
            format!("{}/server.crt does not say which hosts it is for", options.dir.display()),
        )
        .hint("give them: ebb certs --renew --host NAME, with --host once for each")
    })
}

pub(super) struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    /// Another authority has the same name: only its key tells it apart.
    pub(super) fn has_signed(&self, certificate: &Certificate) -> bool {
        let signed = certificate.tbs_certificate.to_der().unwrap_or_default();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.issuer.key().public_key_raw());
        key.verify(&signed, certificate.signature.raw_bytes()).is_ok()
    }
}

/// Certificate and key, both PEM.
struct Signed {
    certificate: String,
    key: String,
}

fn new_authority(options: &Options) -> Result<Authority> {
    let files = ["ca.crt", "ca.key", "server.crt", "server.key", "client.crt", "client.key", revoke::LIST];
    let files = files.map(|name| options.dir.join(name));
    let mut paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    paths.push(&options.changefeeds_path);
    files::refuse_existing(
        &paths,
        "add --renew to make new certificates with this authority, or give another folder with --out and another file with --changefeeds-path",
    )?;
    files::make_folder(&options.dir)?;
    let key = new_key()?;
    let mut params = authority_params()?;
    last(&mut params, options.authority_days)?;
    let certificate = params.self_signed(&key).map_err(|error| failed(&error))?.pem();
    files::replace(&options.dir.join("ca.key"), &key.serialize_pem(), Mode::Private)?;
    files::replace(&options.dir.join("ca.crt"), &certificate, Mode::Public)?;
    let issuer = Issuer::new(params, key);
    revoke::start(&options.dir, &issuer)?;
    Ok(Authority { issuer, certificate })
}

/// Keys are committed by mistake; whoever wants that has to say so.
fn keep_out_of_git(dir: &Path) -> Result<()> {
    let path = dir.join(".gitignore");
    if path.exists() { Ok(()) } else { files::replace(&path, "*\n", Mode::Public) }
}

/// The authority of an earlier call. Its name is always the same, so that the key is all that is needed to sign.
pub(super) fn read_authority(dir: &Path, flag: &str) -> Result<Authority> {
    let read = |name: &str| {
        std::fs::read_to_string(dir.join(name)).map_err(|error| {
            Error::new(code::access::AUTHORITY, format!("{} cannot be read: {error}", dir.join(name).display()))
                .hint(format!("{flag} needs the authority that ebb certs has made: give its folder with --out"))
        })
    };
    let (certificate, key) = (read("ca.crt")?, read("ca.key")?);
    let unusable = |why: String| {
        Error::new(code::access::AUTHORITY, format!("the authority in {} cannot be used: {why}", dir.display()))
            .hint(format!("{flag} needs the ca.crt and ca.key that ebb certs has made"))
    };
    let der = rustls::pki_types::pem::PemObject::from_pem_slice(key.as_bytes());
    let der: PrivateKeyDer<'static> =
        der.map_err(|error: rustls::pki_types::pem::Error| unusable(error.to_string()))?;
    let key = KeyPair::try_from(&der).map_err(|error| unusable(error.to_string()))?;
    let certificate_der = rustls::pki_types::pem::PemObject::from_pem_slice(certificate.as_bytes());
    let certificate_der: rustls::pki_types::CertificateDer<'static> =
        certificate_der.map_err(|error: rustls::pki_types::pem::Error| unusable(error.to_string()))?;
    let is_of_key = Certificate::from_der(&certificate_der).is_ok_and(|certificate| {
        let signed = certificate.tbs_certificate;
        let public_key = signed.subject_public_key_info.subject_public_key;
        public_key.raw_bytes() == key.public_key_raw() && is_authority(&signed.subject)
    });
    if !is_of_key {
        return Err(unusable("ca.crt and ca.key do not belong together, or were not made by ebb certs".into()));
    }
    Ok(Authority { issuer: Issuer::new(authority_params()?, key), certificate })
}

/// Whether a certificate's subject or issuer is the authority.
fn is_authority(name: &Name) -> bool {
    let mut attributes = name.0.iter().flat_map(|part| part.0.iter());
    attributes.any(|attribute| attribute.oid == COMMON_NAME && attribute.value.value() == AUTHORITY.as_bytes())
}

fn authority_params() -> Result<CertificateParams> {
    let mut params = named(AUTHORITY, &[])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn certificate(name: &str, hosts: &[String], usage: ExtendedKeyUsagePurpose, days: u32) -> Result<CertificateParams> {
    let mut params = named(name, hosts)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    last(&mut params, days)?;
    Ok(params)
}

fn named(name: &str, hosts: &[String]) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts).map_err(|error| {
        Error::new(code::settings::VALUE, format!("--host {}: {error}", hosts.join(", ")))
            .hint("give names such as ebb.example.com, or addresses")
    })?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn last(params: &mut CertificateParams, days: u32) -> Result<()> {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATED;
    params.not_after = now.checked_add(Duration::days(i64::from(days))).ok_or_else(|| {
        Error::new(code::settings::VALUE, format!("{days} days from now is no date")).hint("give fewer days")
    })?;
    Ok(())
}

fn sign(params: &CertificateParams, authority: &Authority) -> Result<Signed> {
    let key = new_key()?;
    let certificate = params.signed_by(&key, &authority.issuer).map_err(|error| failed(&error))?;
    Ok(Signed { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn new_key() -> Result<KeyPair> {
    KeyPair::generate().map_err(|error| failed(&error))
}

fn failed(error: &rcgen::Error) -> Error {
    Error::new(code::defect::CRYPTOGRAPHY, format!("a certificate cannot be made: {error}"))
}

/// The settings of the changefeed. Keys that somebody has added to an earlier file stay.
fn settings(options: &Options, host: &str, client: &Signed, authority: &Authority) -> Result<String> {
    let mut settings: Map<String, Value> = match std::fs::read_to_string(&options.changefeeds_path) {
        Err(_) => Map::new(),
        Ok(text) => serde_json::from_str(&text).map_err(|error| {
            Error::new(
                code::settings::FILE_MALFORMED,
                format!("{} is no JSON object (line {})", options.changefeeds_path.display(), error.line()),
            )
            .hint("mend or remove it, or give another file with --changefeeds-path")
        })?,
    };
    settings.entry("host").or_insert_with(|| host.into());
    settings.entry("port").or_insert_with(|| options.port.into());
    let parameter =
        |name: &str, pem: &str| format!("{name}={}", utf8_percent_encode(&STANDARD.encode(pem), NON_ALPHANUMERIC));
    let query = [
        parameter("client_cert", &client.certificate),
        parameter("client_key", &client.key),
        parameter("ca_cert", &authority.certificate),
    ];
    settings.insert("sink_query_parameters".into(), query.join("&").into());
    serde_json::to_string_pretty(&settings)
        .map(|text| format!("{text}\n"))
        .map_err(|error| Error::new(code::defect::CRYPTOGRAPHY, format!("the settings cannot be written: {error}")))
}

fn summary(options: &Options, hosts: &[String]) -> String {
    let dir = options.dir.display();
    let is_here = options.dir == Path::new("certs");
    let flags = if is_here {
        String::new()
    } else {
        format!("\n  --replicator-flags \"--tlsCertificate {dir}/server.crt --tlsPrivateKey {dir}/server.key\"")
    };
    let made = match options.renew {
        true => "certificates with the authority of",
        false => "an authority and certificates in",
    };
    let is_address = |host: &String| host.parse::<IpAddr>().is_ok();
    let kind = if hosts.iter().all(is_address) { "addresses" } else { "names" };
    format!(
        "made {made} {dir}, valid {} days for the {kind} {}\n\
         {} is for --changefeeds-path; it holds a private key\n\
         keep {dir}/ca.key away from the receiver\n\
         now: ebb fetch --mode failback --source … --target … --changefeeds-path {}{flags}\n",
        options.days,
        hosts.join(", "),
        options.changefeeds_path.display(),
        options.changefeeds_path.display(),
    )
}
