//! The pages for operators and their tools on `--metricsAddr`: health, readiness, metrics, status, and a page for a browser.
//!
//! Owns: their address, and the thread that serves them: whatever is asked there, the receiver's threads do not wait for it.
//! Does not own: what they show (`json`, `prometheus`, `page`).

mod connections;
mod guard;
mod live;
mod routes;
mod server;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::{Snapshot, Status};
use crate::code;
use crate::config;
use crate::error::{Error, Result};
use crate::listen::listen;
use crate::stage::{Backlog, MetadataFile, PagesOfRun, RunState};
use crate::threads;
use guard::Guard;
use live::Live;
use tls::Tls;

/// The pages of one run.
pub struct Pages {
    listener: TcpListener,
    live: Arc<Live>,
    guard: Arc<Guard>,
    tls: Option<Arc<Tls>>,
}

/// The run that the pages are about.
struct Run {
    status: Arc<Status>,
    backlog: Backlog,
    feed: String,
}

impl Run {
    fn snapshot(&self) -> Snapshot {
        self.status.snapshot(&self.feed, *self.backlog.watch_resolved().borrow(), self.backlog.forecast())
    }
}

impl Pages {
    /// Listens, and notes in the staging folder where that is and what opens them.
    pub async fn bind(
        settings: &config::Pages,
        status: Arc<Status>,
        backlog: Backlog,
        feed: String,
        run_state: &RunState,
    ) -> Result<Self> {
        let listener = listen(settings.addr, settings.flag).await?.into_std().map_err(|error| unusable(&error))?;
        let addr = listener.local_addr().map_err(|error| unusable(&error))?;
        let guard = Guard::new(settings.login.as_ref(), addr, settings.tls.is_some())?;
        let note = PagesOfRun { addr, token: Some(guard.token().to_owned()), certificate: None };
        let tls =
            settings.tls.clone().map(|identity| Tls::read(identity, note.clone(), run_state.clone())).transpose()?;
        if tls.is_none() {
            run_state.save(MetadataFile::Pages, &Some(note))?;
        }
        warn_of_strangers(settings, addr);
        if let Some((file, mode)) = settings.login.as_ref().and_then(|login| login.readable.as_ref()) {
            let file = file.display();
            tracing::warn!(
                error_code = code::access::PAGES_FILE.text(),
                hint = format!("chmod 0600 '{file}', and change what stands in it"),
                "other users of this machine may read the file {file} of --metricsAuth (mode {mode:04o})"
            );
        }
        let live = Live::new(Run { status, backlog, feed });
        Ok(Self { listener, live: Arc::new(live), guard: Arc::new(guard), tls: tls.map(Arc::new) })
    }

    pub fn addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves until it is dropped, on a thread of its own.
    pub async fn run(self) {
        // Dropped together with this future, which ends the thread.
        let (_stop, stopped) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let work = move || threads::runtime(&mut Builder::new_current_thread())?.block_on(self.serve(stopped));
        let started = threads::spawn("pages", |outcome| drop(done.send(outcome)), work);
        let ended = match started {
            Ok(()) => ended.await.unwrap_or(Ok(())),
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::error!(error_code = error.code.text(), hint = error.hint, "the pages have ended: {error}");
        }
    }

    async fn serve(self, stopped: oneshot::Receiver<()>) -> Result<()> {
        let Self { listener, live, guard, tls } = self;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(|error| unusable(&error))?;
        let watched = Arc::clone(&live);
        tokio::select! {
            () = server::serve(listener, live, guard, tls) => {}
            () = watched.tell() => {}
            _ = stopped => {}
        }
        Ok(())
    }
}

fn unusable(error: &std::io::Error) -> Error {
    Error::new(code::receiver::ADDRESS, format!("the pages cannot be served: {error}"))
        .hint("choose another address with --metricsAddr")
}

/// What others can read or overhear. They are served all the same: monitoring must not end with an upgrade.
fn warn_of_strangers(settings: &config::Pages, addr: SocketAddr) {
    if addr.ip().is_loopback() {
        return;
    }
    if settings.login.is_none() {
        tracing::warn!(
            error_code = code::access::PAGES_OPEN.text(),
            hint = "give --metricsAuth FILE, or an address of this machine alone, such as 127.0.0.1:3030",
            "whoever reaches {addr} can read the pages: names of tables, how the run goes, and the key of a row that is refused"
        );
    } else if settings.tls.is_none() {
        tracing::warn!(
            error_code = code::access::PAGES_PLAIN.text(),
            hint = "give --metricsTls, or an address of this machine alone with a proxy that ends TLS in front of it",
            "the password of the pages on {addr} crosses the network in clear text"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::private::tempdir;
    use crate::stage::{Stage, StagingLimits};

    fn get(addr: SocketAddr, path: &str) -> String {
        let mut socket = TcpStream::connect(addr).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_dead_thread_is_what_probes_see() {
        let dir = tempdir();
        let stage = Stage::open(dir.path(), StagingLimits::default()).unwrap();
        let status = Arc::new(Status::default());
        let addr = ([127, 0, 0, 1], 0).into();
        let settings = config::Pages { addr, flag: "--metricsAddr", required: true, login: None, tls: None };
        let pages =
            Pages::bind(&settings, Arc::clone(&status), stage.backlog.clone(), "s".into(), &stage.run_state).await;
        let pages = pages.unwrap();
        let addr = pages.addr().unwrap();
        let served = tokio::spawn(pages.run());
        let talk = move || {
            for path in ["/_/livez", "/_/healthz", "/_/readyz"] {
                assert!(get(addr, path).starts_with("HTTP/1.1 200 "), "{path}");
            }
            let applier = Arc::clone(&status);
            let panicked = std::thread::spawn(move || {
                let _alive = applier.measures.applier.begin();
                panic!("on purpose");
            });
            assert!(panicked.join().is_err());
            // Answers of one moment are the same.
            std::thread::sleep(live::FRESH_FOR);
            for path in ["/_/livez", "/_/healthz", "/_/readyz"] {
                let answer = get(addr, path);
                assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("applier has ended"), "{answer}");
            }
            assert!(get(addr, "/metrics").contains("ebb_thread_alive{thread=\"applier\"} 0\n"));
        };
        tokio::task::spawn_blocking(talk).await.unwrap();
        served.abort();
    }
}
