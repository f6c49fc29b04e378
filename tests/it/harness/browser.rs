//! A browser without a window: Chromium, through chromedriver and the WebDriver protocol (<https://www.w3.org/TR/webdriver2/>).
//!
//! Owns: its start and end, and what a test asks of a page. Does not own: what a page should show.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ebb_servers::{Signal, Watcher};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::world::wait_for;

/// For one answer of the driver.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// One browser with a profile of its own, and one page.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    // End the driver and the browser when this process is killed.
    watchers: [Watcher; 2],
    profile: TempDir,
}

impl Browser {
    pub(crate) fn start() -> Self {
        Self::with_settings(&json!({}))
    }

    /// One whose pages run no script.
    pub(crate) fn without_scripts() -> Self {
        Self::with_settings(&json!({ "profile.managed_default_content_settings.javascript": 2 }))
    }

    fn with_settings(settings: &Value) -> Self {
        let profile = TempDir::new().expect("a temporary folder");
        let mut watchers = [(); 2].map(|()| Watcher::start(profile.path()).expect("a watcher"));
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed");
        watchers[0].follow(Some(driver.id())).expect("a watcher");
        let port = port(&mut driver);
        let mut browser = Self { driver, port, session: String::new(), watchers, profile };
        let user_data = format!("--user-data-dir={}", browser.profile.path().join("data").display());
        let mut args = vec!["--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"];
        args.extend([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-dev-shm-usage",
            &user_data,
        ]);
        // Its sandbox cannot be set up by the one user that needs none.
        if rustix::process::geteuid().is_root() {
            args.push("--no-sandbox");
        }
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "acceptInsecureCerts": true,
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "binary": "/usr/bin/chromium", "args": args, "prefs": settings },
        } } });
        let made = browser.ask("POST", "/session", &wanted);
        browser.session = made["sessionId"].as_str().expect("a session").to_owned();
        let process = made["capabilities"]["goog:processID"].as_u64().and_then(|id| u32::try_from(id).ok());
        browser.watchers[1].follow(Some(process.expect("chromedriver says which process it is"))).expect("a watcher");
        browser
    }

    pub(crate) fn open(&self, url: &str) {
        self.of_session("/url", &json!({ "url": url }));
    }

    /// What a function body returns in the page.
    pub(crate) fn script(&self, body: &str) -> Value {
        self.of_session("/execute/sync", &json!({ "script": body, "args": [] }))
    }

    /// What a reader sees of the first element that a selector finds.
    pub(crate) fn text(&self, selector: &str) -> String {
        let found = self.of_session("/element", &json!({ "using": "css selector", "value": selector }));
        let id = found.as_object().and_then(|found| found.values().next()?.as_str()).expect("an element").to_owned();
        let path = format!("/session/{}/element/{id}/text", self.session);
        self.ask("GET", &path, &Value::Null).as_str().expect("text").to_owned()
    }

    /// Waits until an element shows this.
    pub(crate) fn wait_text(&self, selector: &str, expected: &str, log: impl Fn() -> String) {
        let what = format!("{expected:?} in {selector}");
        wait_for(&what, || format!("{}\n{}", self.text("body"), log()), || self.text(selector).contains(expected));
    }

    pub(crate) fn press_tab(&self) {
        let keys = json!([{ "type": "keyDown", "value": "\u{e004}" }, { "type": "keyUp", "value": "\u{e004}" }]);
        self.of_session("/actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys }] }));
    }

    /// What the console was told: errors of scripts, of loading, of the content security policy.
    pub(crate) fn console(&self) -> Vec<String> {
        let lines = self.of_session("/se/log", &json!({ "type": "browser" }));
        lines.as_array().into_iter().flatten().map(|line| line["message"].to_string()).collect()
    }

    /// A window of this width, in light or dark.
    pub(crate) fn look(&self, width: u32, theme: &str) {
        let size = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// The whole page as a picture in `target/screenshots`, for a person.
    pub(crate) fn picture(&self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        let taken = self.devtools("Page.captureScreenshot", &json!({ "captureBeyondViewport": true }));
        let bytes = STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(name).with_extension("png"), bytes).expect("a picture");
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.of_session("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    fn of_session(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}{path}", self.session), body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = exchange(self.port, method, path, body).expect("the driver answers");
        let value = answer["value"].clone();
        assert!(value.get("error").is_none(), "{method} {path}: {value}");
        value
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser; the driver would leave it behind.
        let _ = exchange(self.port, "DELETE", &format!("/session/{}", self.session), &Value::Null);
        let _ = ebb_servers::signal(self.driver.id(), Signal::TERM);
        let _ = self.driver.wait();
        for watcher in &mut self.watchers {
            let _ = watcher.follow(None);
        }
    }
}

/// It chooses a free one, and says so.
fn port(driver: &mut Child) -> u16 {
    let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let said = lines.find_map(|line| line.split_once("started successfully on port ").map(|(_, port)| port.to_owned()));
    // Nobody waits for a reader of the rest.
    std::thread::spawn(move || lines.for_each(drop));
    said.and_then(|port| port.trim_end_matches('.').parse().ok()).expect("chromedriver says where it listens")
}

fn exchange(port: u16, method: &str, path: &str, body: &Value) -> std::io::Result<Value> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    let body = if body.is_null() { String::new() } else { body.to_string() };
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut reader = BufReader::new(socket);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let mut answer = vec![0; length];
    reader.read_exact(&mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}
