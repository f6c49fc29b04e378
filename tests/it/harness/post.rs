//! Requests of a client that is not the changefeed: honest, mistaken or hostile.
//!
//! Owns: one POST by curl, with or without a certificate. Does not own: what the answer should be.

use std::process::Command;

use super::world::World;

/// A request. By default it shows the changefeed's client certificate and goes to the target's schema.
pub(crate) struct Post<'a> {
    pub world: &'a World,
    /// The common name of the client certificate.
    pub certificate: Option<&'a str>,
    pub path: String,
    pub headers: Vec<String>,
}

/// Status code (0 when there was none) and body.
pub(crate) struct Answer {
    pub status: u16,
    pub body: String,
}

impl<'a> Post<'a> {
    pub(crate) fn new(world: &'a World) -> Self {
        Self {
            world,
            certificate: Some("changefeed"),
            path: format!("{}/public", world.database()),
            headers: vec!["Content-Type: application/json".into()],
        }
    }

    pub(crate) fn without_certificate(mut self) -> Self {
        self.certificate = None;
        self
    }

    pub(crate) fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    pub(crate) fn header(mut self, header: impl Into<String>) -> Self {
        self.headers.push(header.into());
        self
    }

    pub(crate) fn send(&self, body: &str) -> Answer {
        let url = format!("https://localhost:{}/{}", self.world.port(), self.path);
        // The receiver may have made its own certificate; whether it is verified is not what these requests are about.
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--insecure", "--max-time", "20", "--write-out", "\n%{http_code}"]);
        if let Some(name) = self.certificate {
            let client = self.world.certs().client(name).expect("a certificate");
            curl.arg("--cert").arg(&client.cert).arg("--key").arg(&client.key);
        }
        curl.args(self.headers.iter().flat_map(|header| ["--header", header]));
        let posted = curl.args(["--data-binary", body, &url]).output().expect("curl is installed");
        // Shown only when the test fails: why there was no answer.
        print!("{}", String::from_utf8_lossy(&posted.stderr));
        let text = String::from_utf8_lossy(&posted.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').expect("curl prints a code");
        Answer { status: status.parse().expect("a number"), body: body.to_owned() }
    }
}

/// A body with one row of `t`, as the changefeed sends it.
pub(crate) fn one_row(id: u32, updated: &str) -> String {
    format!(
        r#"{{"payload":[{{"after":{{"id":{id},"v":1}},"key":[{id}],"topic":"t","updated":"{updated}"}}],"length":1}}"#
    )
}

/// A time a moment ahead of what the changefeed has sent, by the clock that it uses too.
pub(crate) fn a_moment_from_now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_nanos();
    format!("{}.0000000000", now + 1_500_000_000)
}

/// A time that the test does not come to, and that ebb still takes.
pub(crate) fn an_hour_from_now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    format!("{}.0000000000", (now + std::time::Duration::from_secs(3600)).as_nanos())
}
