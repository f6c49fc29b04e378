//! The same feed with and without a crowd of hostile clients: what they cost in rows a second, and in memory.
//!
//! Owns: the crowd. Does not own: the feed and its rate (`main`).

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::Bench;
use crate::ebb::{Ebb, Usage};
use crate::generator::History;
use crate::sender::{self, Client};

/// Between the end of a hostile connection and the next.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one kind of them goes on.
const ALONE: Duration = Duration::from_secs(8);
/// Hostile clients hold on for so long at most.
const HOLD_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Connects and says nothing.
    Silent,
    /// Begins a handshake and stops.
    HalfHandshake,
    /// Speaks something else.
    Garbage,
    /// Shakes hands without a certificate, and posts.
    NoCertificate,
    /// With a certificate from here on: rows for a schema that is not there.
    Elsewhere,
    /// States the largest body, sends 1 MiB of it, and then a byte a second.
    Slow,
    /// Empty messages, as many as the largest body has, compressed.
    Amplifying,
    /// Good rows, and a bad one behind them.
    Malformed,
}

const KINDS: [Kind; 8] = [
    Kind::Silent,
    Kind::HalfHandshake,
    Kind::Garbage,
    Kind::NoCertificate,
    Kind::Elsewhere,
    Kind::Slow,
    Kind::Amplifying,
    Kind::Malformed,
];

/// The default of `--body-bytes-max`.
const BODY_BYTES_MAX: usize = 34 << 20;

/// Rounds of a quiet feed and one under attack, one after the other.
pub(crate) async fn run(bench: &Bench, rows: usize, rounds: usize, count: usize) {
    println!(
        "{rows} rows, {} connections; hostile: {count} connections, each anew {} s after its end",
        bench.connections,
        PAUSE.as_secs()
    );
    println!(
        "{:>6} {:>12} {:>15} {:>7} {:>10} {:>10} {:>8} {:>8}",
        "round", "quiet rows/s", "attacked rows/s", "ratio", "CPU us/row", "attacked", "RSS MiB", "tries"
    );
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let history = History::generate(rows, round as u64);
        let (_, expected) = crate::raw(bench, &history, &format!("raw_{round}")).await;
        let (quiet, alone) = crate::through_ebb(bench, &history, &format!("quiet_{round}"), &expected, None).await;
        let crowd = Crowd::new(count, &KINDS);
        let name = format!("attacked_{round}");
        let (attacked, usage) = crate::through_ebb(bench, &history, &name, &expected, Some(&crowd)).await;
        let ratio = attacked / quiet;
        let cpu_us = |usage: &Usage| usage.cpu.as_secs_f64() * 1e6 / rows as f64;
        println!(
            "{round:>6} {quiet:>12.0} {attacked:>15.0} {ratio:>7.2} {:>10.1} {:>10.1} {:>8} {:>8}",
            cpu_us(&alone),
            cpu_us(&usage),
            usage.rss_peak_bytes >> 20,
            crowd.tries.load(Ordering::Relaxed)
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("ratio {:.2} (median of {rounds})", ratios[(ratios.len() - 1) / 2]);
    bench.server.create("requests");
    let ebb = Ebb::start(bench, "requests");
    unknown_paths(bench, &ebb).await;
    large_body(bench, &ebb).await;
    ebb.stop();
    for kind in KINDS {
        alone(bench, kind, count).await;
    }
}

/// What one kind of client costs in memory.
async fn alone(bench: &Bench, kind: Kind, count: usize) {
    let database = format!("alone_{kind:?}").to_lowercase();
    bench.server.create(&database);
    let ebb = Ebb::start(bench, &database);
    let before = ebb.usage().rss_peak_bytes;
    let crowd = Crowd::new(count, &[kind]);
    let attack = crowd.attack(bench, &ebb).await;
    sleep(ALONE).await;
    drop(attack);
    println!(
        "{count} times {kind:?} for {} s: {} tries, {} MiB at most before, {} MiB at most",
        ALONE.as_secs(),
        crowd.tries.load(Ordering::Relaxed),
        before >> 20,
        ebb.usage().rss_peak_bytes >> 20
    );
    ebb.stop();
}

/// A million paths, each another one, from somebody who may write.
async fn unknown_paths(bench: &Bench, ebb: &Ebb) {
    const PATHS: usize = 1_000_000;
    let mut tasks = JoinSet::new();
    let (before, began) = (ebb.usage().rss_bytes, Instant::now());
    for number in 0..bench.connections {
        let mut client = Client::connect(bench, ebb.port, "").await;
        let paths = (number..PATHS).step_by(bench.connections);
        tasks.spawn(async move {
            for path in paths {
                client.refused(&format!("/nowhere_{path}/{path}"), b"{}".to_vec(), 404).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("every answer is 404");
    }
    println!(
        "{PATHS} unknown paths in {:.0} s: {} MiB resident before, {} MiB after",
        began.elapsed().as_secs_f64(),
        before >> 20,
        ebb.usage().rss_bytes >> 20
    );
}

/// The largest body that is read at all, which then turns out to be no JSON.
async fn large_body(bench: &Bench, ebb: &Ebb) {
    let mut client = Client::connect(bench, ebb.port, "").await;
    let (before, began) = (ebb.usage().rss_bytes, Instant::now());
    client.refused(&ebb.path, vec![b'{'; BODY_BYTES_MAX], 400).await;
    println!(
        "a body of 34 MiB in {:.1} s: {} MiB resident before, {} MiB at most, {} MiB after",
        began.elapsed().as_secs_f64(),
        before >> 20,
        ebb.usage().rss_peak_bytes >> 20,
        ebb.usage().rss_bytes >> 20
    );
}

pub(crate) struct Crowd {
    count: usize,
    tries: Arc<AtomicU64>,
    kinds: Vec<Kind>,
    /// What those send that have something to say.
    empty_messages: Bytes,
    malformed: Bytes,
}

impl Crowd {
    fn new(count: usize, kinds: &[Kind]) -> Self {
        let gzip = |text: &str| {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(text.as_bytes()).expect("memory");
            Bytes::from(gzip.finish().expect("memory"))
        };
        let empty = format!("{{\"payload\":[{}", "{},".repeat(BODY_BYTES_MAX / 3 - 10));
        let row = r#"{"after":{"id":1},"key":[1],"topic":"nowhere","updated":"1.0"},"#;
        let malformed = format!("{{\"payload\":[{}{{}}]}}", row.repeat(BODY_BYTES_MAX / row.len() - 1));
        Self {
            count,
            tries: Arc::default(),
            kinds: kinds.to_vec(),
            empty_messages: gzip(&empty),
            malformed: gzip(&malformed),
        }
    }

    /// Attacks until what it returns is dropped. Comes back when everybody has connected once.
    pub(crate) async fn attack(&self, bench: &Bench, ebb: &Ebb) -> JoinSet<()> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(bench.certs.ca()).expect("the authority")).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (connector, port) = (TlsConnector::from(Arc::new(config)), ebb.port);
        let client = sender::connector(bench);
        let mut tasks = JoinSet::new();
        for number in 0..self.count {
            let (tries, kind) = (Arc::clone(&self.tries), self.kinds[number % self.kinds.len()]);
            let path = if matches!(kind, Kind::Elsewhere) { "/nowhere/public".to_owned() } else { ebb.path.clone() };
            let connector = if kind.has_certificate() { client.clone() } else { connector.clone() };
            let body =
                if matches!(kind, Kind::Amplifying) { self.empty_messages.clone() } else { self.malformed.clone() };
            tasks.spawn(async move {
                loop {
                    tries.fetch_add(1, Ordering::Relaxed);
                    let _ = timeout(HOLD_MAX, attempt(kind, port, &connector, &path, &body)).await;
                    sleep(PAUSE).await;
                }
            });
        }
        while self.tries.load(Ordering::Relaxed) < self.count as u64 {
            sleep(Duration::from_millis(5)).await;
        }
        tasks
    }
}

impl Kind {
    fn has_certificate(self) -> bool {
        matches!(self, Self::Elsewhere | Self::Slow | Self::Amplifying | Self::Malformed)
    }
}

/// One connection, until the other side ends it; of a valid client until it has an answer.
async fn attempt(kind: Kind, port: u16, connector: &TlsConnector, path: &str, body: &[u8]) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    match kind {
        Kind::Silent => {}
        Kind::HalfHandshake => socket.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]).await?,
        Kind::Garbage => socket.write_all(b"POST / HTTP/1.1\r\n\r\n").await?,
        Kind::NoCertificate => {
            let name = ServerName::try_from("localhost").expect("a name");
            let mut stream = connector.connect(name, socket).await?;
            stream.write_all(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").await?;
            return until_end(&mut stream).await;
        }
        Kind::Elsewhere | Kind::Slow | Kind::Amplifying | Kind::Malformed => {
            let name = ServerName::try_from("localhost").expect("a name");
            let mut stream = connector.connect(name, socket).await?;
            let (encoding, length) =
                if matches!(kind, Kind::Slow) { ("identity", BODY_BYTES_MAX) } else { ("gzip", body.len()) };
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Encoding: {encoding}\r\n\
                 Content-Length: {length}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await?;
            if matches!(kind, Kind::Slow) {
                stream.write_all(&vec![b' '; 1 << 20]).await?;
                loop {
                    sleep(Duration::from_secs(1)).await;
                    stream.write_all(b" ").await?;
                    stream.flush().await?;
                }
            }
            stream.write_all(body).await?;
            stream.flush().await?;
            return stream.read(&mut [0; 1024]).await.map(drop);
        }
    }
    until_end(&mut socket).await
}

async fn until_end(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<()> {
    let mut chunk = [0; 1024];
    while stream.read(&mut chunk).await? > 0 {}
    Ok(())
}
