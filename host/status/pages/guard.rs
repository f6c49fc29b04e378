//! Who may read the pages, and what a browser may do with them.
//!
//! Owns: the check of a request's method, host, site and credential, the proof that this is the run of a staging folder, and the
//! headers of every answer. Does not own: the answers (`routes`).

use std::net::{IpAddr, SocketAddr};

use hyper::header::{ALLOW, AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

use crate::config::PagesLogin;
use crate::error::Result;
use crate::proof::{NONCE, hexadecimal, nonce_of, random, sign};

/// Nothing is loaded from elsewhere, nothing inside the page runs or is framed, and no text becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'";
const OF_EVERY_ANSWER: &[(&str, &str)] = &[
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cache-control", "no-store"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];
/// Load balancers ask them without a credential and under any name; they say little.
const PROBES: [&str; 4] = ["/_/livez", "/_/healthz", "/_/readyz", "/_/caughtup"];
const TOKEN_BYTES: usize = 32;
/// What other sites make a browser ask for is refused, except where a person follows a link.
const SITE: &str = "sec-fetch-site";
const FETCH_MODE: &str = "sec-fetch-mode";

pub(super) struct Guard {
    login: Option<Login>,
    /// For whoever may read the staging folder; another at every start.
    token: String,
    /// Where the pages are this machine's alone: a name that leads here from elsewhere belongs to a site that attacks them by
    /// way of a browser (DNS rebinding).
    loopback: Option<IpAddr>,
}

struct Login {
    /// SHA-256 of what `Authorization` may be, so that comparing takes the same time for every length.
    accepted: [[u8; 32]; 2],
    challenge: HeaderValue,
}

/// A request that gets no page.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) text: &'static str,
    pub(super) header: Option<(HeaderName, HeaderValue)>,
}

impl Guard {
    pub(super) fn new(login: Option<&PagesLogin>, addr: SocketAddr, has_tls: bool) -> Result<Self> {
        // A certificate is proof of a name that no other site has.
        let loopback = Some(addr.ip()).filter(|ip| ip.is_loopback() && !has_tls);
        let token = hexadecimal(&random::<TOKEN_BYTES>()?);
        Ok(Self { login: login.map(|login| Login::new(login, &token)), token, loopback })
    }

    /// What `ebb status` shows where it finds the pages by the staging folder.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// What `ebb status` asks for before it shows the token: whoever has taken the address of a run that has ended cannot say it.
    pub(super) fn proof(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let nonce = headers.get(NONCE).and_then(|nonce| nonce_of(nonce.as_bytes()))?;
        HeaderValue::from_str(&sign(&self.token, nonce)).ok()
    }

    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let header = Some((ALLOW, HeaderValue::from_static("GET, HEAD")));
            return Err(Refusal { status: StatusCode::METHOD_NOT_ALLOWED, text: "only GET and HEAD\n", header });
        }
        if PROBES.contains(&request.uri().path()) {
            return Ok(());
        }
        if self.loopback.is_some_and(|ip| !is_this_machine(request, ip)) {
            let text = "these pages are for this machine: ask for localhost or the address that they listen on\n";
            return Err(Refusal { status: StatusCode::MISDIRECTED_REQUEST, text, header: None });
        }
        let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
        let is_foreign = header(SITE).is_some_and(|site| [&b"cross-site"[..], b"same-site"].contains(&site));
        if is_foreign && header(FETCH_MODE) != Some(b"navigate") {
            let text = "another site has made the browser ask for this\n";
            return Err(Refusal { status: StatusCode::FORBIDDEN, text, header: None });
        }
        match &self.login {
            Some(login) if !login.is_shown(request.headers()) => {
                let header = Some((WWW_AUTHENTICATE, login.challenge.clone()));
                let text = "these pages need what --metricsAuth says\n";
                Err(Refusal { status: StatusCode::UNAUTHORIZED, text, header })
            }
            _ => Ok(()),
        }
    }
}

/// A request without a host is none of a browser.
fn is_this_machine<B>(request: &Request<B>, bound: IpAddr) -> bool {
    let header = request.headers().get(HOST).map(|host| host.to_str().unwrap_or("?"));
    let Some(host) = request.uri().host().or(header) else { return true };
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_bound = host.parse::<IpAddr>().is_ok_and(|ip| ip == bound);
    is_bound || ["localhost", "127.0.0.1", "::1"].iter().any(|name| host.eq_ignore_ascii_case(name))
}

impl Login {
    fn new(login: &PagesLogin, token: &str) -> Self {
        let header = login.header.reveal();
        let challenge = match header.starts_with("Basic ") {
            true => HeaderValue::from_static("Basic realm=\"ebb\", charset=\"UTF-8\""),
            false => HeaderValue::from_static("Bearer realm=\"ebb\""),
        };
        Self { accepted: [sha256(header.as_bytes()), sha256(format!("Bearer {token}").as_bytes())], challenge }
    }

    /// Both are compared, whichever it is.
    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let hash = sha256(given.unwrap_or_default());
        let [one, other] = self.accepted.map(|accepted| accepted.ct_eq(&hash));
        given.is_some() & bool::from(one | other)
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut text = [0; 32];
    text.copy_from_slice(digest(&SHA256, bytes).as_ref());
    text
}

pub(super) fn harden(headers: &mut HeaderMap) {
    for (name, value) in OF_EVERY_ANSWER {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use ebb_sdk::Secret;

    use super::*;

    fn status(guard: &Guard, request: &Request<()>) -> u16 {
        guard.admit(request).map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
    }

    fn guard(addr: &str, login: Option<&str>) -> Guard {
        let (secret, readable) = (Secret::new("x"), None);
        let login = login.map(|header| PagesLogin { header: Secret::new(header), secret, readable });
        Guard::new(login.as_ref(), addr.parse().unwrap(), false).unwrap()
    }

    #[test]
    fn a_name_that_leads_to_loopback_is_not_enough() {
        let asked = |addr: &str, host: &str| {
            status(&guard(addr, None), &Request::get("/_/status").header(HOST, host).body(()).unwrap())
        };
        for host in ["localhost", "LOCALHOST:3030", "127.0.0.1:8080", "[::1]:3030", "127.0.0.5:3030"] {
            assert_eq!(asked("127.0.0.5:3030", host), 200, "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:3030", "10.0.0.1", "", "127.0.0.6", "\u{e9}"] {
            assert_eq!(asked("127.0.0.5:3030", host), 421, "{host}");
        }
        assert_eq!(asked("10.0.0.1:3030", "monitoring.example"), 200);
        let absolute = Request::get("http://evil.example/_/status").header(HOST, "localhost").body(()).unwrap();
        assert_eq!(status(&guard("127.0.0.1:1", None), &absolute), 421);
    }

    #[test]
    fn what_another_site_asks_for_is_refused() {
        let asked = |path: &str, site: &str, mode: &str| {
            let request = Request::get(path).header(SITE, site).header(FETCH_MODE, mode);
            status(&guard("127.0.0.1:1", None), &request.body(()).unwrap())
        };
        for site in ["cross-site", "same-site"] {
            for mode in ["no-cors", "cors", "websocket", ""] {
                for path in ["/", "/_/status", "/_/events", "/metrics", "/_/page.js"] {
                    assert_eq!(asked(path, site, mode), 403, "{path} {site} {mode}");
                }
                assert_eq!(asked("/_/livez", site, mode), 200);
            }
            assert_eq!(asked("/", site, "navigate"), 200, "a person follows a link");
        }
        assert_eq!([asked("/", "same-origin", "cors"), asked("/", "none", "navigate")], [200; 2]);
    }

    #[test]
    fn only_who_knows_the_token_can_prove_it() {
        let guard = guard("127.0.0.1:1", None);
        let nonce = hexadecimal(&[7; 32]);
        let proof = |nonce: &str| {
            let request = Request::get("/_/livez").header(NONCE, nonce).body(()).unwrap();
            guard.proof(request.headers()).map(|proof| proof.to_str().unwrap().to_owned())
        };
        assert_eq!(proof(&nonce), Some(sign(guard.token(), nonce.as_bytes())));
        assert_ne!(proof(&nonce), Some(sign("another", nonce.as_bytes())));
        for odd in ["", "7", &nonce[1..], &format!("{nonce}0"), &nonce.replace('0', "x")] {
            assert_eq!(proof(odd), None, "{odd}");
        }
    }

    #[test]
    fn all_but_probes_needs_the_login() {
        let guard = guard("10.0.0.1:3030", Some("Basic YTpi"));
        let asked = |path: &str, given: Option<&str>| {
            let request =
                given.into_iter().fold(Request::get(path), |request, given| request.header(AUTHORIZATION, given));
            status(&guard, &request.body(()).unwrap())
        };
        for probe in PROBES {
            assert_eq!(asked(probe, None), 200, "{probe}");
        }
        let token = format!("Bearer {}", guard.token());
        for (given, expected) in [
            (None, 401),
            (Some(""), 401),
            (Some("Basic YTpc"), 401),
            (Some("YTpi"), 401),
            (Some("Basic YTpi"), 200),
            (Some(token.as_str()), 200),
        ] {
            for path in ["/", "/_/status", "/_/events", "/_/trend", "/_/page.js", "/metrics", "/_/varz", "/nothing"] {
                assert_eq!(asked(path, given), expected, "{path} {given:?}");
            }
        }
        assert_eq!(status(&guard, &Request::post("/").body(()).unwrap()), 405);
    }
}
