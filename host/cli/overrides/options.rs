//! Options of the changefeed that CockroachDB would reject, or with which it would not send every change.
//!
//! Owns: their values. Does not own: which options there are (`overrides`).

use serde_json::{Map, Value};

use crate::cli::duration;
use crate::code;
use crate::config::InitialScan;
use crate::error::{Error, Result};

pub(super) fn initial_scan(text: &str, place: &str) -> Result<InitialScan> {
    match text {
        "yes" => Ok(InitialScan::Yes),
        "no" => Ok(InitialScan::No),
        "only" => Err(Error::new(
            code::settings::CHANGEFEED_OPTION,
            format!("{place}: \"initial_scan\" = \"only\" sends no later changes"),
        )
        .hint("use \"no\", or \"yes\" to have existing rows sent first")),
        _ => Err(Error::new(code::settings::CHANGEFEED_OPTION, format!("{place}: \"initial_scan\" is neither"))
            .hint("use \"no\" or \"yes\"")),
    }
}

/// Options of which CockroachDB knows a few values only.
pub(super) fn check_choices<'a>(value_of: &impl Fn(&str) -> &'a str, place: &str) -> Result<()> {
    for (name, known) in [("compression", ["gzip", "zstd"]), ("on_error", ["fail", "pause"])] {
        let value = value_of(name);
        if !value.is_empty() && !known.contains(&value) {
            return Err(Error::new(
                code::settings::CHANGEFEED_OPTION,
                format!("{place}: \"{name}\" has no value that is known"),
            )
            .hint(format!("use \"{}\" or \"{}\"", known[0], known[1])));
        }
    }
    let headers = value_of("extra_headers");
    let is_sound = |map: Map<String, Value>| map.values().all(Value::is_string);
    if !headers.is_empty() && !serde_json::from_str(headers).is_ok_and(is_sound) {
        return Err(Error::new(
            code::settings::CHANGEFEED_OPTION,
            format!("{place}: \"extra_headers\" must be a text that holds a JSON object of texts"),
        )
        .hint("write it as \"{\\\"X-Api-Key\\\": \\\"…\\\"}\""));
    }
    Ok(())
}

/// CockroachDB refuses Bytes or Messages without Frequency; the published default has that fault.
pub(super) fn check_flush(config: &str, place: &str) -> Result<()> {
    let config: Value = serde_json::from_str(config).map_err(|_| {
        Error::new(
            code::settings::CHANGEFEED_OPTION,
            format!("{place}: \"webhook_sink_config\" must be a text that holds a JSON object"),
        )
        .hint("write it as \"{\\\"Flush\\\":{\\\"Bytes\\\":1048576,\\\"Frequency\\\":\\\"1s\\\"}}\"")
    })?;
    let flush = |key: &str| config.pointer(&format!("/Flush/{key}"));
    let is_set = |key: &str| flush(key).and_then(Value::as_i64).is_some_and(|number| number != 0);
    let frequency = flush("Frequency").and_then(Value::as_str).unwrap_or("0s");
    if (is_set("Bytes") || is_set("Messages")) && duration::parse(frequency).is_ok_and(|frequency| frequency.is_zero())
    {
        return Err(Error::new(code::settings::CHANGEFEED_OPTION, format!(
            "{place}: \"webhook_sink_config\" sets Flush.Bytes or Flush.Messages without Flush.Frequency, which CockroachDB refuses"
        ))
        .hint("write {\"Flush\":{\"Bytes\":1048576,\"Frequency\":\"1s\"}}"));
    }
    Ok(())
}
