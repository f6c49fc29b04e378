//! The real program as a child process, and what the kernel says of it.
//!
//! Owns: its flags, its end, its CPU and memory. Does not own: what it is sent.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::Bench;
use crate::server::Watch;

pub(crate) struct Ebb {
    child: Child,
    watch: Watch,
    pub port: u16,
    pub database: String,
    /// Where a changefeed sends to.
    pub path: String,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub cpu: Duration,
    pub rss_bytes: u64,
    pub rss_peak_bytes: u64,
}

impl Usage {
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self { cpu: self.cpu - before.cpu, ..*self }
    }
}

impl Ebb {
    /// Starts it for a database whose name is also that of its staging.
    pub(crate) fn start(bench: &Bench, database: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let server = bench.certs.server();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ebb"))
            .args(["start", "--allow-tls-mode-disable", "--stagingSchema", database, "--bindAddr"])
            .arg(format!("127.0.0.1:{port}"))
            .arg("--targetConn")
            .arg(bench.server.url(database))
            .arg("--tlsCertificate")
            .arg(server.cert)
            .arg("--tlsPrivateKey")
            .arg(server.key)
            .arg("--tlsClientCA")
            .arg(bench.certs.ca())
            .arg("--staging-dir")
            .arg(bench.staging.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ebb starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (ready, is_ready) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if line.contains("receiver listening") {
                    let _ = ready.send(());
                }
                if !line.contains("\"level\":\"info\"") {
                    println!("  {line}");
                }
            }
        });
        is_ready.recv_timeout(Duration::from_secs(30)).expect("ebb listens");
        let watch =
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(bench.server.watch(database)));
        Self { child, watch, port, database: database.to_owned(), path: bench.server.path(database) }
    }

    /// Waits until the target stands at this time.
    pub(crate) async fn wait_applied(&self, wall: i64) {
        loop {
            let applied = self.watch.applied().await;
            if applied >= wall {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let kib = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).expect("the kernel says so");
            line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).expect("a number") << 10
        };
        Usage { cpu: cpu_of(&stat), rss_bytes: kib("VmRSS:"), rss_peak_bytes: kib("VmHWM:") }
    }

    /// Where its time went.
    pub(crate) fn print_threads(&self) {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs").flatten();
        for task in tasks {
            let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
            let cpu = cpu_of(&stat);
            if cpu > Duration::from_millis(20) {
                let name = stat.split(['(', ')']).nth(1).unwrap_or_default();
                println!("  thread {name}: {:.2} s", cpu.as_secs_f64());
            }
        }
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(mut self) {
        ebb_servers::signal(self.child.id(), ebb_servers::Signal::TERM).expect("it runs");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Ebb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time of a line of `/proc`; the kernel counts in hundredths of a second.
fn cpu_of(stat: &str) -> Duration {
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
