//! The receiver's settings: its certificate, who may write, its limits.
//!
//! Owns: what stands in for a certificate or authority that is not given. Does not own: reading them (`receive`).

use std::path::{Path, PathBuf};

use ebb_sdk::Secret;

use super::values::{address, at_least_one, not_zero};
use crate::cli::overrides::Overrides;
use crate::cli::replicator::Replicator;
use crate::code;
use crate::config::{Access, ChangefeedSettings, ClientCa, Identity, Receiver, ReceiverLimits, Tokens};
use crate::error::{Error, Result};
use crate::receive;

/// Where `ebb certs` puts the receiver's certificate and key.
const CERTIFICATE: &str = "certs/server.crt";
const PRIVATE_KEY: &str = "certs/server.key";
/// The authority's name beside the certificate.
const AUTHORITY: &str = "ca.crt";

/// The HTTP server needs so much.
const HEADER_BYTES_MIN: u32 = 8 << 10;

/// `overrides` are those of a changefeed that this run creates.
pub(super) fn receiver(
    replicator: &Replicator,
    bind_addr: &str,
    overrides: Option<&Overrides>,
    warnings: &mut Vec<String>,
) -> Result<Receiver> {
    let identity = identity(replicator)?;
    let access = access(replicator, &identity, overrides)?;
    if access.is_open() {
        warnings.push("authentication disabled, any caller may write to the target database".into());
    }
    let sink = overrides.map(Overrides::sink_tls);
    Ok(Receiver { bind_addr: address("--bindAddr", bind_addr)?, identity, access, sink, limits: limits(replicator)? })
}

fn limits(replicator: &Replicator) -> Result<ReceiverLimits> {
    if replicator.header_bytes_max < HEADER_BYTES_MIN {
        return Err(Error::new(
            code::settings::VALUE,
            format!("--header-bytes-max {} is too little", replicator.header_bytes_max),
        )
        .hint(format!("give at least {HEADER_BYTES_MIN}")));
    }
    Ok(ReceiverLimits {
        body_bytes_max: at_least_one("--body-bytes-max", replicator.body_bytes_max)?,
        // One large body, and two small ones beside it.
        in_flight_bytes_max: at_least_one("--in-flight-bytes-max", replicator.in_flight_bytes_max)?
            .max(receive::lane_bytes(replicator.body_bytes_max).saturating_add(8 << 20)),
        connections_max: at_least_one("--connections-max", replicator.connections_max)?,
        untrusted_connections_max: at_least_one("--untrusted-connections-max", replicator.untrusted_connections_max)?,
        header_bytes_max: replicator.header_bytes_max,
        handshake_timeout: not_zero("--handshake-timeout", replicator.handshake_timeout)?,
        idle_timeout: not_zero("--idle-timeout", replicator.idle_timeout)?,
        body_idle_timeout: not_zero("--body-idle-timeout", replicator.body_idle_timeout)?,
        body_timeout: not_zero("--body-timeout", replicator.body_timeout)?,
        response_timeout: not_zero("--httpResponseTimeout", replicator.http_response_timeout)?,
    })
}

fn identity(replicator: &Replicator) -> Result<Identity> {
    match (&replicator.tls_certificate, &replicator.tls_private_key, replicator.tls_self_signed) {
        (Some(certificate), Some(private_key), false) => {
            Ok(Identity::Files { certificate: certificate.clone(), private_key: private_key.clone() })
        }
        (None, None, true) => Ok(Identity::SelfSigned),
        (None, None, false) if Path::new(CERTIFICATE).exists() && Path::new(PRIVATE_KEY).exists() => {
            Ok(Identity::Files { certificate: CERTIFICATE.into(), private_key: PRIVATE_KEY.into() })
        }
        (None, None, false) => Err(Error::new(
            code::access::NO_CERTIFICATE,
            "the receiver has no certificate, and changefeeds are sent over HTTPS only",
        )
        .hint(
            "make one with `ebb certs`, or add --tlsCertificate ./certs/server.crt --tlsPrivateKey ./certs/server.key \
                 (in fetch inside --replicator-flags \"…\"), or set EBB_TLS_CERTIFICATE and EBB_TLS_PRIVATE_KEY; for a \
                 trial without certificates add --tlsSelfSigned --disableAuthentication",
        )),
        (_, _, true) => Err(Error::new(
            code::settings::FLAGS_CONFLICT,
            "--tlsSelfSigned makes a certificate, and one is given as well",
        )
        .hint(
            "leave out --tlsSelfSigned, or --tlsCertificate and --tlsPrivateKey (in the environment too: \
             EBB_TLS_CERTIFICATE, EBB_TLS_PRIVATE_KEY)",
        )),
        _ => Err(Error::new(
            code::settings::FLAGS_CONFLICT,
            "--tlsCertificate and --tlsPrivateKey belong together, and one of them is missing",
        )
        .hint("give both, or none and --tlsSelfSigned")),
    }
}

/// Who may write. Where several ways are chosen a request must pass all of them.
fn access(replicator: &Replicator, identity: &Identity, overrides: Option<&Overrides>) -> Result<Access> {
    let client_crl = replicator.tls_client_crl.clone();
    let unused = Error::new(
        code::settings::FLAGS_CONFLICT,
        "--tlsClientCRL revokes certificates of clients, and none are asked for",
    )
    .hint("give their authority with --tlsClientCA, or leave out --tlsClientCRL");
    if replicator.disable_authentication {
        return if client_crl.is_some() { Err(unused) } else { Ok(Access::default()) };
    }
    let header = replicator.webhook_auth_header.as_ref().or_else(|| overrides.and_then(Overrides::auth_header));
    let header = header.map(checked_header).transpose()?;
    let tokens = replicator.jwt_public_keys.as_ref().map(|public_keys| Tokens {
        public_keys: public_keys.clone(),
        revoked_ids: replicator.jwt_revoked_ids.clone(),
    });
    if tokens.is_some() && header.is_none() && overrides.is_some_and(|overrides| !overrides.shows_token()) {
        return Err(Error::new(code::access::TOKEN_MISSING, "--jwt-public-keys demands a token, and the changefeed has none").hint(
            "give it one with --webhook-auth-header 'Bearer <token>' (EBB_WEBHOOK_AUTH_HEADER) or as webhook_auth_header in \
             --changefeeds-path; ebb make-jwt makes one",
        ));
    }
    let is_chosen = header.is_some() || tokens.is_some();
    let client_ca = client_ca(replicator, identity, overrides, is_chosen);
    if client_ca.is_none() && client_crl.is_some() {
        return Err(unused);
    }
    let access = Access { client_ca, client_crl, header, tokens };
    if access.is_open() {
        return Err(Error::new(code::access::NO_AUTHENTICATION, "the receiver cannot tell its changefeed from anybody else").hint(
            "`ebb certs` makes what is needed: client_cert, client_key and ca_cert in the sink_query_parameters of \
             --changefeeds-path, or --tlsClientCA ca.crt in start; --webhook-auth-header and --jwt-public-keys are other \
             ways; or let anybody write with --disableAuthentication (in fetch inside --replicator-flags)",
        ));
    }
    Ok(access)
}

/// The changefeed's own authority is the natural one: it is the one that the receiver is verified with.
fn client_ca(
    replicator: &Replicator,
    identity: &Identity,
    overrides: Option<&Overrides>,
    is_otherwise_chosen: bool,
) -> Option<ClientCa> {
    if let Some(path) = &replicator.tls_client_ca {
        return Some(ClientCa::File(path.clone()));
    }
    match overrides {
        Some(overrides) if !overrides.shows_certificate() => None,
        Some(overrides) => {
            let of_changefeed = overrides.client_authority().and(overrides.origin.clone()).map(|origin| {
                let path = origin.path().to_owned();
                ClientCa::Changefeed(ChangefeedSettings::new(path, move || origin.ca_cert()))
            });
            of_changefeed.or_else(|| beside(identity).map(ClientCa::File))
        }
        None if is_otherwise_chosen => None,
        None => beside(identity).map(ClientCa::File),
    }
}

fn beside(identity: &Identity) -> Option<PathBuf> {
    let Identity::Files { certificate, .. } = identity else { return None };
    Some(certificate.with_file_name(AUTHORITY)).filter(|path| path.exists())
}

fn checked_header(header: &Secret) -> Result<Secret> {
    let text = header.reveal();
    let is_sound = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && text.trim() == text;
    if !is_sound {
        return Err(Error::new(code::settings::VALUE, "--webhook-auth-header holds what cannot stand in a header")
            .hint("give printable ASCII such as 'Bearer 4c0d…', which openssl rand -hex 32 can make"));
    }
    Ok(header.clone())
}
