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
use crate::error::{Error, Result};
use crate::mask;
use crate::stage;

/// The end of a log: so many bytes of it are read, and so many lines kept.
const LOG_BYTES_MAX: u64 = 4 << 20;
const LOG_LINES_MAX: usize = 2000;
/// Areas of codes whose messages speak of schemas, servers and files, and never of a value; and the handshakes among those of
/// the receiver.
const AREAS_SHOWN: &[char] = &['A', 'C', 'F', 'K', 'P', 'S', 'T'];
const CODES_SHOWN: &[&str] = &["EBB-R02", "EBB-R01", "EBB-D01", "EBB-D020", "EBB-D021"];
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
    let now = Utc::now();
    let mut bundle = Bundle::default();
    bundle.put("made_at", json!(now.to_rfc3339()));
    bundle.put("ebb", json!({ "version": env!("CARGO_PKG_VERSION"), "commit": option_env!("EBB_COMMIT") }));
    bundle.put("system", json!({ "os": std::env::consts::OS, "arch": std::env::consts::ARCH }));
    bundle.put("staging_schema", json!(options.schema));
    bundle.settings(options.settings.as_ref());
    bundle.run(options);
    bundle.folder(&stage::folder(&options.staging_dir, &options.schema))?;
    bundle.log(options.log.as_deref())?;
    bundle.leave_out("findings", "they need both connection strings: send the output of ebb check --json along");
    let path = options.out.clone().unwrap_or_else(|| {
        let schema = options.schema.replace(std::path::MAIN_SEPARATOR, "_");
        PathBuf::from(format!("ebb-support-{schema}-{}.json", now.format("%Y%m%dT%H%M%SZ")))
    });
    files::refuse_existing(&[&path], "give another name with --out")?;
    let text = mask::clean(&format!("{:#}\n", bundle.finish()));
    files::replace(&path, &text, Mode::Private)?;
    Ok(format!(
        "{} holds settings without secrets, status, metrics, history, the list of staged files and the end of the log.\n\
         No row and no secret is in it; names of tables, columns and hosts are. Read it before you send it.\n",
        path.display()
    ))
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
            let text = pages.as_ref().and_then(|pages| pages.text(path));
            match text {
                Some(text) if name == "metrics" => self.put(name, json!(text.lines().collect::<Vec<_>>())),
                Some(text) => self.put(name, serde_json::from_str(&text).map_or(Value::Null, without_rows)),
                None if name == "history" => self.history(options),
                None => self.leave_out(name, "no ebb of this staging schema answers"),
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
            match serde_json::from_str::<Map<String, Value>>(line) {
                Ok(line) => lines.push(shown_line(line)),
                Err(_) => others += 1,
            }
        }
        let start = lines.len().saturating_sub(LOG_LINES_MAX);
        self.put("log", Value::Array(lines.split_off(start)));
        if others > 0 {
            self.leave_out("lines of the log", &format!("{others} are not JSON, and may hold anything"));
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

/// A line as it may be given away: one that may hold a value of a row keeps its time, level, code and numbers.
fn shown_line(line: Map<String, Value>) -> Value {
    let code = line.get("error_code").and_then(Value::as_str).unwrap_or_default();
    let is_known = code.is_empty()
        || code.chars().nth(4).is_some_and(|area| AREAS_SHOWN.contains(&area))
        || CODES_SHOWN.iter().any(|shown| code.starts_with(shown));
    let level = line.get("level").and_then(Value::as_str).unwrap_or_default();
    let is_shown = is_known
        && ["key", "behind_key"].iter().all(|name| !line.contains_key(*name))
        && !["debug", "trace"].contains(&level);
    let kept = |name: &str, value: &Value| match name {
        "time" | "level" | "error_code" => true,
        _ => is_shown || value.is_number(),
    };
    let cut = line.into_iter().filter(|(name, value)| kept(name, value));
    Value::Object(cut.collect())
}

/// The same without the names of rows.
fn without_rows(value: Value) -> Value {
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
    fn a_line_that_may_hold_a_value_keeps_its_numbers() {
        let shown = |line: Value| match line {
            Value::Object(line) => shown_line(line),
            _ => unreachable!("an object"),
        };
        let about =
            |code: &str| json!({ "time": "t", "level": "warn", "message": "m 4711", "error_code": code, "tries": 3 });
        assert_eq!(shown(about("EBB-T014"))["message"], "m 4711");
        assert_eq!(
            shown(about("EBB-W010")),
            json!({ "time": "t", "level": "warn", "error_code": "EBB-W010", "tries": 3 })
        );
        for code in ["EBB-D022", "EBB-D023", "EBB-R030", "EBB-X001"] {
            assert_eq!(shown(about(code)).get("message"), None, "{code}");
        }
        assert_eq!(shown(json!({ "level": "debug", "message": "m" })), json!({ "level": "debug" }));
        assert_eq!(shown(json!({ "level": "info", "message": "m", "key": "[1]" })), json!({ "level": "info" }));
        assert_eq!(
            without_rows(json!({ "waiting": { "key": "[1]", "table": "t" } })),
            json!({ "waiting": { "table": "t" } })
        );
    }
}
