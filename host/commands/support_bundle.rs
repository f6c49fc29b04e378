//! `ebb support-bundle`: one file that tells others what they need to help, and holds no row and no secret.
//!
//! Owns: what goes into it, and what of a log line must stay out. Does not own: masking of secrets (`mask`), the settings as they
//! are shown (`cli/show`).

use std::path::{Path, PathBuf};

use chrono::Utc;
use serde_json::{Map, Value, json};

use super::files::{self, Mode};
use super::history;
use super::pages::Pages;
use crate::code;
use crate::error::{Error, Result, listed, visible};
use crate::mask;
use crate::stage;

/// The end of a log: so many bytes of it are read, and so many lines kept.
const LOG_BYTES_MAX: u64 = 4 << 20;
const LOG_LINES_MAX: usize = 2000;
/// Of a line of the log these fields are kept, and no others: ebb writes nothing into them that a row could hold.
const FIELDS: &[&str] = &[
    "address",
    "applied",
    "attempt",
    "bytes",
    "column",
    "constraint",
    "cursor",
    "dropped",
    "error_code",
    "hook",
    "job",
    "level",
    "plugin",
    "room_bytes",
    "row_bytes",
    "rows_left",
    "since",
    "staged_bytes",
    "status",
    "table",
    "target",
    "time",
    "to",
    "transactions",
    "tries",
];
/// Messages that are kept begin so; all others are left out, and of a line with a code the code's own words are shown.
const MESSAGES: &[&str] = &[
    "a write that was cut off",
    "changefeed created",
    "client certificates are verified anew",
    "connected",
    "creating changefeed on the source",
    "ending",
    "everything staged was applied",
    "new run: changes after",
    "pages listening",
    "read certificates and keys again",
    "receiver listening",
    "resumed the paused changefeed",
    "resuming: the target has everything up to",
    "staging has room again",
    "starting replicator",
    "the first rows have come",
    "the source answers again",
    "the source is there again",
    "the target is there after",
    "the target takes rows again",
    "the target takes the rows again",
    "the transaction whose answer was lost",
    "using the running changefeed",
];
const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];
/// Fields of a status that name a row, or may quote one.
const OF_ROWS: &[&str] = &["key", "behind_key", "hint"];

/// What is wanted.
#[derive(Debug)]
pub struct Options {
    pub staging_dir: PathBuf,
    pub schema: String,
    /// The settings as `ebb config show --json` prints them, or why it cannot.
    pub settings: Option<std::result::Result<String, String>>,
    pub log: Option<PathBuf>,
    pub out: Option<PathBuf>,
}

/// Writes the file, and returns what to tell the user.
pub fn make(options: &Options) -> Result<String> {
    let folder = stage::folder(&options.staging_dir, &options.schema);
    if !folder.is_dir() {
        return Err(stage::no_folder(&folder));
    }
    let now = Utc::now();
    let mut bundle = Bundle::default();
    bundle.put("made_at", json!(now.to_rfc3339()));
    bundle.put("ebb", json!({ "version": env!("CARGO_PKG_VERSION"), "commit": option_env!("EBB_COMMIT") }));
    bundle.put("system", json!({ "os": std::env::consts::OS, "arch": std::env::consts::ARCH }));
    bundle.put("staging_schema", json!(options.schema));
    bundle.settings(options.settings.as_ref());
    bundle.run(options);
    bundle.folder(&folder)?;
    bundle.log(options.log.as_deref())?;
    bundle.leave_out("findings", "they need both connection strings: send the output of ebb check --json along");
    let path = options.out.clone().unwrap_or_else(|| {
        let schema = options.schema.replace(std::path::MAIN_SEPARATOR, "_");
        PathBuf::from(format!("ebb-support-{schema}-{}.json", now.format("%Y%m%dT%H%M%SZ")))
    });
    files::refuse_existing(&[&path], "give another name with --out")?;
    let bundle = mask::clean_json(bundle.finish());
    let text = format!("{bundle:#}\n");
    files::replace(&path, &text, Mode::Private)?;
    Ok(format!(
        "{} holds: {}\n{}No row and no secret is in it; names of tables, columns and hosts are. Read it before you send it.\n",
        path.display(),
        listed(held(&bundle)),
        left_out(&bundle)
    ))
}

/// The parts that a bundle has, for a person.
fn held(bundle: &Value) -> Vec<String> {
    let parts = [
        ("settings", "settings without secrets"),
        ("status", "status"),
        ("metrics", "metrics"),
        ("history", "history"),
        ("staging", "the list of staged files"),
        ("log", "the end of the log"),
    ];
    let versions = "the version of ebb".to_owned();
    let held = parts.iter().filter(|(name, _)| !bundle[name].is_null()).map(|(_, what)| (*what).to_owned());
    std::iter::once(versions).chain(held).collect()
}

/// A line for each part that is missing.
fn left_out(bundle: &Value) -> String {
    let text = |value: &Value| visible(value.as_str().unwrap_or_default(), "");
    let parts = bundle["left_out"].as_array().into_iter().flatten();
    parts.map(|part| format!("left out: {}: {}\n", text(&part["what"]), text(&part["why"]))).collect()
}

#[derive(Default)]
struct Bundle {
    parts: Map<String, Value>,
    left_out: Vec<Value>,
}

impl Bundle {
    fn put(&mut self, name: &str, value: Value) {
        self.parts.insert(name.to_owned(), value);
    }

    fn leave_out(&mut self, what: &str, why: &str) {
        self.left_out.push(json!({ "what": what, "why": why }));
    }

    fn settings(&mut self, settings: Option<&std::result::Result<String, String>>) {
        match settings {
            Some(Err(why)) => self.leave_out("settings", why),
            Some(Ok(text)) => self.put("settings", serde_json::from_str(text).unwrap_or_else(|_| json!(text))),
            None => self.leave_out("settings", "give the command of the run behind --: … -- fetch --config ebb.toml"),
        }
    }

    /// What a running ebb says of itself.
    fn run(&mut self, options: &Options) {
        let pages = Pages::of_run(&options.staging_dir, &options.schema).map(|(pages, _)| pages);
        for (name, path) in [("status", "/_/status"), ("history", "/_/history"), ("metrics", "/_/varz")] {
            let why = pages.as_ref().err().map_or("the run does not answer", |error| error.message.as_str());
            match pages.as_ref().ok().and_then(|pages| pages.text(path)) {
                Some(text) if name == "metrics" => self.put(name, json!(text.lines().collect::<Vec<_>>())),
                Some(text) => self.put(name, serde_json::from_str(&text).map_or(Value::Null, without_rows)),
                None if name == "history" => self.history(options),
                None => self.leave_out(name, why),
            }
        }
    }

    /// As the folder of a run that has ended holds it.
    fn history(&mut self, options: &Options) {
        match history::of_folder(&stage::folder(&options.staging_dir, &options.schema)) {
            Ok(Some(entries)) => self.put("history", without_rows(Value::Array(entries))),
            Ok(None) => self.leave_out("history", "the staging folder has none"),
            Err(error) => self.leave_out("history", &error.message),
        }
    }

    fn folder(&mut self, folder: &Path) -> Result<()> {
        match stage::summary(folder)? {
            None => self.leave_out("staging", "there is no staging folder here"),
            Some(found) => {
                let files = found.files.iter().map(|(name, bytes)| json!({ "name": name, "bytes": bytes }));
                let staging = json!({
                    "files": files.collect::<Vec<_>>(),
                    "resolved": found.resolved.to_string(),
                    "released": found.released.to_string(),
                    "forgotten": found.forgotten.to_string(),
                    "tables": found.tables,
                });
                self.put("staging", staging);
            }
        }
        Ok(())
    }

    fn log(&mut self, path: Option<&Path>) -> Result<()> {
        let Some(path) = path else {
            self.leave_out("log", "give the file with --log, as --log-format json has written it");
            return Ok(());
        };
        let text = tail(path).map_err(|error| {
            Error::new(code::settings::FILE_UNREADABLE, format!("the log {} cannot be read: {error}", path.display()))
                .hint("give the file that --log-file has written, or leave out --log")
        })?;
        let (mut lines, mut others) = (Vec::new(), 0_usize);
        for line in text.lines() {
            match serde_json::from_str::<Map<String, Value>>(line).ok().and_then(shown_line) {
                Some(line) => lines.push(line),
                None => others += 1,
            }
        }
        let start = lines.len().saturating_sub(LOG_LINES_MAX);
        self.put("log", Value::Array(lines.split_off(start)));
        if others > 0 {
            self.leave_out(
                "lines of the log",
                &format!("{others} are not as --log-format json writes them, and may hold anything"),
            );
        }
        Ok(())
    }

    fn finish(mut self) -> Value {
        self.parts.insert("left_out".to_owned(), Value::Array(self.left_out));
        Value::Object(self.parts)
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(LOG_BYTES_MAX);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // The first line may have lost its beginning.
    Ok(if start == 0 { text } else { text.split_once('\n').map_or(String::new(), |(_, rest)| rest.to_owned()) })
}

/// A line as it may be given away; `None` for one that ebb has not written so.
fn shown_line(line: Map<String, Value>) -> Option<Value> {
    let text = |name: &str| line.get(name).and_then(Value::as_str);
    let (level, message) = (text("level")?, text("message")?);
    if !LEVELS.contains(&level) || text("time").is_none() {
        return None;
    }
    let code = text("error_code").and_then(|found| code::all().find(|code| code.text() == found));
    let message = match code {
        Some(code) => Some(code::title(code).to_owned()),
        None => MESSAGES.iter().any(|known| message.starts_with(known)).then(|| message.to_owned()),
    };
    let is_kept = |name: &str, value: &Value| {
        FIELDS.contains(&name) && (value.is_string() || value.is_number()) && (name != "status" || value.is_number())
    };
    let mut kept: Map<String, Value> = line.into_iter().filter(|(name, value)| is_kept(name, value)).collect();
    if let Some(message) = message {
        kept.insert("message".to_owned(), Value::String(message));
    }
    Some(Value::Object(kept))
}

/// The same without the names of rows.
pub(super) fn without_rows(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(name, _)| !OF_ROWS.contains(&name.as_str()));
            Value::Object(fields.map(|(name, value)| (name, without_rows(value))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(without_rows).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_line_only_what_ebb_writes_for_itself_is_kept() {
        let shown = |line: Value| match line {
            Value::Object(line) => shown_line(line),
            _ => unreachable!("an object"),
        };
        let line =
            |message: &str| json!({ "time": "t", "level": "warn", "message": message, "tries": 3, "key": "[4711]" });
        let coded = |code: &str| {
            let mut line = line("4711");
            line["error_code"] = json!(code);
            shown(line).expect("a line of ebb's")
        };
        for code in ["EBB-T014", "EBB-W010", "EBB-K051", "EBB-R030", "EBB-T017"] {
            let shown = coded(code);
            assert!(!shown.to_string().contains("4711") && shown["tries"] == 3, "{shown}");
            assert!(shown["message"].as_str().is_some_and(|message| !message.is_empty()), "{shown}");
        }
        assert_eq!(shown(line("changefeed created")).expect("a line")["message"], "changefeed created");
        for message in ["anything 4711", "applied 4711"] {
            assert_eq!(shown(line(message)).expect("a line").get("message"), None);
        }
        // Others wrap what ebb has said.
        for foreign in [
            json!({ "log": "{\"key\":\"[4711]\"}", "stream": "stdout", "time": "t" }),
            json!({ "MESSAGE": "4711", "PRIORITY": "6" }),
            json!({ "time": "t", "level": "notice", "message": "4711" }),
        ] {
            assert_eq!(shown(foreign), None);
        }
        let odd =
            json!({ "time": "t", "level": "info", "message": "connected", "status": "4711", "table": {"key": 4711} });
        assert_eq!(shown(odd), Some(json!({ "time": "t", "level": "info", "message": "connected" })));
    }

    #[test]
    fn rows_have_no_name_in_a_status_and_a_mask_ends_with_its_text() {
        assert_eq!(
            without_rows(json!({ "waiting": { "key": "[1]", "table": "t" } })),
            json!({ "waiting": { "table": "t" } })
        );
        let url = json!({ "target": "scheme://u:geheim@h:3306/d?require_ssl=true", "next": "x" });
        let masked = mask::clean_json(url);
        assert!(!masked.to_string().contains("geheim") && masked["next"] == "x", "{masked}");
    }
}
