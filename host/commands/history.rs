//! What `ebb status --history` prints: what has happened to a run, the newest last.
//!
//! Owns: the form, and reading the folder of a run. Does not own: asking a running ebb (`status`), the events (`history`).

use std::path::Path;

use serde_json::Value;

use crate::code;
use crate::error::{Error, Result, visible};
use crate::history;

/// The events of a staging folder; `None` where there is no such folder.
pub(super) fn of_folder(folder: &Path) -> Result<Option<Vec<Value>>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let entries = history::read(folder).map_err(|error| {
        Error::new(
            code::settings::FILE_UNREADABLE,
            format!("the history in {} cannot be read: {error}", folder.display()),
        )
        .hint("run the command as the user that runs ebb")
    })?;
    Ok(Some(entries.into_iter().filter_map(|entry| serde_json::to_value(entry).ok()).collect()))
}

/// A line for each event, or the whole as JSON.
pub(super) fn shown(entries: &[Value], is_json: bool) -> String {
    if is_json {
        return format!("{:#}\n", Value::from(entries));
    }
    if entries.is_empty() {
        return "nothing has happened yet\n".into();
    }
    let text = |entry: &Value, name: &str| visible(entry[name].as_str().unwrap_or("-"), "");
    let line = |entry: &Value| {
        let at = text(entry, "at").replacen('T', " ", 1);
        format!("{at:<25}{:<20}{}\n", text(entry, "event"), text(entry, "text"))
    };
    entries.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_a_line_and_steers_nothing() {
        let entries = [
            json!({ "at": "2026-05-04T12:03:10.123Z", "event": "started", "text": "ebb has started" }),
            json!({ "at": "2026-05-04T12:03:11.000Z", "event": "ended", "text": "a\n\u{1b}[2J" }),
        ];
        let expected = "2026-05-04 12:03:10.123Z started             ebb has started\n\
                        2026-05-04 12:03:11.000Z ended               a\\n\\u{1b}[2J\n";
        assert_eq!(shown(&entries, false), expected);
        assert_eq!(serde_json::from_str::<Value>(&shown(&entries, true)).unwrap(), json!(entries));
        assert_eq!(shown(&[], false), "nothing has happened yet\n");
    }
}
