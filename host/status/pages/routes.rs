//! What is answered under which path.
//!
//! Owns: the paths and their status codes. Does not own: who may ask (`guard`), the texts of status, metrics and page.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::connections::Connection;
use super::guard::{self, Guard, Refusal};
use super::live::{Events, Live};
use crate::proof::PROOF;
use crate::status::{Reason, Snapshot, liveness, page};

/// Whoever asks it with a nonce learns whether this is the run of a staging folder.
const PROVED: &str = "/_/livez";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const METRICS: &str = "text/plain; version=0.0.4";
/// How far the target may be behind when no `?max=` says so.
const CAUGHT_UP_SECONDS: f64 = 15.0;
const PATHS: &str =
    "pages: / /_/livez /_/healthz /_/readyz /_/caughtup /_/varz /_/status /_/history /_/trend /_/events\n";

type Answer = Response<Either<Full<Bytes>, Events>>;

pub(super) fn answer(request: &Request<Incoming>, live: &Live, guard: &Guard, connection: &Arc<Connection>) -> Answer {
    let mut answer = match guard.admit(request) {
        Ok(()) => {
            connection.is_heard();
            let mut answer = route(request, live, connection);
            if let Some(proof) = guard.proof(request.headers()).filter(|_| request.uri().path() == PROVED) {
                answer.headers_mut().insert(PROOF, proof);
            }
            answer
        }
        Err(refusal) => refused(refusal),
    };
    guard::harden(answer.headers_mut());
    answer
}

fn route(request: &Request<Incoming>, live: &Live, connection: &Arc<Connection>) -> Answer {
    match request.uri().path() {
        "/" => text("text/html; charset=utf-8", live.html()),
        "/_/page.css" => text("text/css; charset=utf-8", page::CSS),
        "/_/page.js" => text("text/javascript; charset=utf-8", page::JS),
        "/_/page.svg" => text("image/svg+xml", page::ICON),
        "/_/events" if request.method() == Method::HEAD => text("text/event-stream", ""),
        "/_/events" => {
            let mut answer = Response::new(Either::Right(live.listen(Arc::clone(connection))));
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            answer
        }
        "/_/trend" => text(JSON, live.trend()),
        "/_/history" => text(JSON, live.history()),
        "/_/livez" | "/_/healthz" => probed(liveness::judge(&live.moment().snapshot)),
        "/_/readyz" => probed(ready(&live.moment().snapshot)),
        "/_/caughtup" => probed(caught_up(request.uri().query(), &live.moment().snapshot)),
        "/_/varz" | "/metrics" => text(METRICS, live.moment().metrics()),
        "/_/status" => text(JSON, live.moment().status()),
        _ => with(StatusCode::NOT_FOUND, PATHS),
    }
}

/// Whether a request would be taken now.
fn ready(snapshot: &Snapshot) -> Result<String, String> {
    let alive = liveness::judge(snapshot)?;
    if snapshot.staging.is_full { Err("requests are held: staging is full\n".into()) } else { Ok(alive) }
}

/// Whether the target is at most `?max=` seconds behind; the error says by how much it is.
fn caught_up(query: Option<&str>, snapshot: &Snapshot) -> Result<String, String> {
    let max = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("max=")));
    let seconds = max.map(|max| max.strip_suffix('s').unwrap_or(max).parse::<f64>());
    let max = match seconds {
        None => CAUGHT_UP_SECONDS,
        Some(Ok(max)) if max >= 0.0 => max,
        Some(_) => return Err("max is a number of seconds: /_/caughtup?max=30\n".into()),
    };
    match snapshot.lag() {
        _ if snapshot.reasons().contains(&Reason::NothingReceived) => Err("nothing has arrived yet\n".into()),
        Some(lag) if lag <= max => Ok(format!("OK, {lag:.1} s behind\n")),
        Some(lag) => Err(format!("{lag:.1} s behind, which is more than {max} s\n")),
        None => Err("nothing is applied yet\n".into()),
    }
}

fn text(kind: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(text.into())));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn probed(said: Result<String, String>) -> Answer {
    match said {
        Ok(said) => text(TEXT, said),
        Err(said) => with(StatusCode::SERVICE_UNAVAILABLE, said),
    }
}

fn with(status: StatusCode, said: impl Into<Bytes>) -> Answer {
    let mut answer = text(TEXT, said);
    *answer.status_mut() = status;
    answer
}

fn refused(Refusal { status, text, header }: Refusal) -> Answer {
    let mut answer = with(status, text);
    answer.headers_mut().extend(header);
    answer
}
