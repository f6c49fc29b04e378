//! The options of a changefeed: which exist, which values they take, and what they mean together. The same code checks
//! a statement and reads a stored job.
//!
//! Does not own: the grammar of the statement (`statement`) and the sink's address (`address`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::duration;
use crate::failure::Failure;
use crate::sink_config::{Flush, Retry, SinkConfig};
use crate::version::Version;

/// As written: values are absent for an option without one.
pub(crate) type WrittenOptions = BTreeMap<String, Option<String>>;

const DEFAULT_MIN_CHECKPOINT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan {
    Yes,
    No,
    Only,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Zstd,
}

/// A checked changefeed: no option is missing and none is in doubt.
#[derive(Debug, Clone)]
pub(crate) struct Changefeed {
    pub(crate) scan: Scan,
    pub(crate) updated: bool,
    pub(crate) mvcc_timestamp: bool,
    pub(crate) diff: bool,
    pub(crate) null_objects: bool,
    /// The least distance between two resolved timestamps; None when there are to be none.
    pub(crate) resolved: Option<Duration>,
    pub(crate) min_checkpoint: Duration,
    pub(crate) flush: Flush,
    pub(crate) retry: Retry,
    pub(crate) client_timeout: Option<Duration>,
    pub(crate) authorization: Option<String>,
    pub(crate) extra_headers: Vec<(String, String)>,
    pub(crate) compression: Option<Compression>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    None,
    Optional,
    Required,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Support {
    /// Read below, or of no consequence for what the stand-in does.
    Full,
    /// Exists, but the stand-in cannot do what it asks.
    Missing,
    OtherSink,
}

struct Known {
    name: &'static str,
    value: Value,
    since: (u32, u32),
    support: Support,
}

const fn known(name: &'static str, value: Value, since: (u32, u32), support: Support) -> Known {
    Known { name, value, since, support }
}

const ALWAYS: (u32, u32) = (0, 0);

const KNOWN: &[Known] = &[
    known("avro_schema_prefix", Value::Required, ALWAYS, Support::OtherSink),
    known("compression", Value::Required, ALWAYS, Support::Full),
    known("confluent_schema_registry", Value::Required, ALWAYS, Support::OtherSink),
    known("cursor", Value::Required, ALWAYS, Support::Full),
    known("diff", Value::None, ALWAYS, Support::Full),
    known("encode_json_value_null_as_object", Value::None, (24, 2), Support::Full),
    known("end_time", Value::Required, ALWAYS, Support::Missing),
    known("enriched_properties", Value::Required, (25, 2), Support::Full),
    known("envelope", Value::Required, ALWAYS, Support::Full),
    known("execution_locality", Value::Required, ALWAYS, Support::Full),
    known("extra_headers", Value::Required, (25, 4), Support::Full),
    known("file_size", Value::Required, ALWAYS, Support::OtherSink),
    known("format", Value::Required, ALWAYS, Support::Full),
    known("full_table_name", Value::None, ALWAYS, Support::Full),
    known("gc_protect_expires_after", Value::Required, ALWAYS, Support::Full),
    known("headers_json_column_name", Value::Required, ALWAYS, Support::OtherSink),
    known("ignore_disable_changefeed_replication", Value::None, (24, 1), Support::Full),
    known("initial_scan", Value::Optional, ALWAYS, Support::Full),
    known("initial_scan_only", Value::None, ALWAYS, Support::Full),
    known("kafka_sink_config", Value::Required, ALWAYS, Support::OtherSink),
    known("key_column", Value::Required, ALWAYS, Support::Missing),
    known("key_in_value", Value::None, ALWAYS, Support::Full),
    known("lagging_ranges_polling_interval", Value::Required, ALWAYS, Support::Full),
    known("lagging_ranges_threshold", Value::Required, ALWAYS, Support::Full),
    known("metrics_label", Value::Required, ALWAYS, Support::Full),
    known("min_checkpoint_frequency", Value::Required, ALWAYS, Support::Full),
    known("mvcc_timestamp", Value::None, ALWAYS, Support::Full),
    known("no_initial_scan", Value::None, ALWAYS, Support::Full),
    known("on_error", Value::Required, ALWAYS, Support::Full),
    known("partition_alg", Value::Required, ALWAYS, Support::OtherSink),
    known("partition_format", Value::Required, ALWAYS, Support::OtherSink),
    known("protect_data_from_gc_on_pause", Value::None, ALWAYS, Support::Full),
    known("pubsub_sink_config", Value::Required, ALWAYS, Support::OtherSink),
    known("range_distribution_strategy", Value::Required, (26, 1), Support::Full),
    known("resolved", Value::Optional, ALWAYS, Support::Full),
    known("schema_change_events", Value::Required, ALWAYS, Support::Full),
    known("schema_change_policy", Value::Required, ALWAYS, Support::Full),
    known("split_column_families", Value::None, ALWAYS, Support::Missing),
    known("topic_in_value", Value::None, ALWAYS, Support::Full),
    known("unordered", Value::None, ALWAYS, Support::Missing),
    known("updated", Value::None, ALWAYS, Support::Full),
    known("virtual_columns", Value::Required, ALWAYS, Support::Full),
    known("webhook_auth_header", Value::Required, ALWAYS, Support::Full),
    known("webhook_client_timeout", Value::Required, ALWAYS, Support::Full),
    known("webhook_sink_config", Value::Required, ALWAYS, Support::Full),
];

/// What CockroachDB finds before it looks at any table: names, and whether a value is given.
pub(crate) fn check_names(options: &WrittenOptions, version: &Version) -> Result<(), Failure> {
    for (name, value) in options {
        match (find(name, version).map(|known| known.value), value) {
            (None, _) => return Err(Failure::invalid(format!("invalid option {name:?}"))),
            (Some(Value::Required), None) => {
                return Err(Failure::invalid(format!("option {name:?} requires a value")));
            }
            (Some(Value::None), Some(_)) => {
                return Err(Failure::invalid(format!("option {name:?} does not take a value")));
            }
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn is_known(name: &str, version: &Version) -> bool {
    find(name, version).is_some()
}

fn find(name: &str, version: &Version) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name && version.is_at_least(known.since.0, known.since.1))
}

pub(crate) fn scan(options: &WrittenOptions) -> Result<Scan, Failure> {
    let forms = ["initial_scan", "initial_scan_only", "no_initial_scan"];
    let given: Vec<&str> = forms.into_iter().filter(|form| options.contains_key(*form)).collect();
    if let [first, second, ..] = given[..] {
        return Err(Failure::uncategorized(format!("cannot specify both {first} and {second}")));
    }
    let scan = match options.get("initial_scan").map(|value| value.as_deref().unwrap_or("yes")) {
        Some("yes" | "") => Scan::Yes,
        Some("no") => Scan::No,
        Some("only") => Scan::Only,
        Some(other) => {
            return Err(Failure::invalid(format!(
                "unknown initial_scan: {other}, valid values are 'no', 'only', 'yes'"
            )));
        }
        None if options.contains_key("initial_scan_only") => Scan::Only,
        None if options.contains_key("no_initial_scan") || options.contains_key("cursor") => Scan::No,
        None => Scan::Yes,
    };
    let excluded = ["end_time", "resolved", "diff", "mvcc_timestamp", "updated"];
    match excluded.into_iter().find(|name| scan == Scan::Only && options.contains_key(*name)) {
        Some(name) => Err(Failure::uncategorized(format!("cannot specify both initial_scan='only' and {name}"))),
        None => Ok(scan),
    }
}

/// What CockroachDB finds after it has looked at the tables: values, combinations, what the sink cannot do.
pub(crate) fn check(options: &WrittenOptions, version: &Version) -> Result<Changefeed, Failure> {
    for known in KNOWN.iter().filter(|known| options.contains_key(known.name)) {
        match known.support {
            Support::Full => {}
            Support::Missing => return Err(Failure::unsupported(format!("changefeed option {}", known.name))),
            Support::OtherSink => {
                return Err(Failure::uncategorized(format!("this sink is incompatible with option {}", known.name)));
            }
        }
    }
    check_envelope(options)?;
    check_schema_changes(options)?;
    one_of(options, "on_error", &["fail", "pause"])?;
    let compression = compression(options, version)?;
    let config = SinkConfig::parse(text(options, "webhook_sink_config"))?;
    let client_timeout = duration(options, "webhook_client_timeout")?;
    if client_timeout == Some(Duration::ZERO) {
        return Err(Failure::uncategorized("option webhook_client_timeout must be a duration greater than 0"));
    }
    let resolved = match options.get("resolved") {
        Some(None) => Some(Duration::ZERO),
        _ => duration(options, "resolved")?,
    };
    Ok(Changefeed {
        scan: scan(options)?,
        updated: options.contains_key("updated"),
        mvcc_timestamp: options.contains_key("mvcc_timestamp"),
        diff: options.contains_key("diff"),
        null_objects: options.contains_key("encode_json_value_null_as_object"),
        resolved,
        min_checkpoint: duration(options, "min_checkpoint_frequency")?.unwrap_or(DEFAULT_MIN_CHECKPOINT),
        flush: config.flush,
        retry: config.retry,
        client_timeout: client_timeout.or(version.default_client_timeout()),
        authorization: text(options, "webhook_auth_header").map(str::to_owned),
        extra_headers: extra_headers(options)?,
        compression,
    })
}

/// What CREATE CHANGEFEED tells its client beside the job's id.
pub(crate) fn notices(options: &WrittenOptions, version: &Version) -> Vec<String> {
    let mut notices = Vec::new();
    if options.contains_key("protect_data_from_gc_on_pause") {
        notices.push("protect_data_from_gc_on_pause option is no longer needed".to_owned());
    }
    let checkpoint = text(options, "min_checkpoint_frequency");
    let interval = checkpoint.and_then(|value| duration::parse(value).ok()).unwrap_or(DEFAULT_MIN_CHECKPOINT);
    let resolved = options.get("resolved").map(|value| value.as_deref().and_then(|value| duration::parse(value).ok()));
    if let Some(resolved) = resolved
        && version.is_at_least(25, 1)
        && resolved.unwrap_or_default() < interval
    {
        let given = resolved.map_or_else(|| "0s by default".to_owned(), duration::format);
        let origin = if checkpoint.is_some() { "configured" } else { "default" };
        let interval = duration::format(interval);
        notices.push(format!(
            "resolved ({given}) messages will not be emitted more frequently than the {origin} \
                 min_checkpoint_frequency ({interval}), but may be emitted less frequently"
        ));
    }
    notices
}

fn check_envelope(options: &WrittenOptions) -> Result<(), Failure> {
    match text(options, "envelope") {
        None | Some("wrapped") => {}
        Some(envelope @ ("key_only" | "row" | "deprecated_row")) => {
            return Err(Failure::uncategorized(format!("this sink is incompatible with envelope={envelope}")));
        }
        Some(envelope @ ("bare" | "enriched")) => return Err(Failure::unsupported(format!("envelope={envelope}"))),
        Some(other) => {
            let valid = "'bare', 'deprecated_row', 'enriched', 'key_only', 'row', 'wrapped'";
            return Err(Failure::invalid(format!("unknown envelope: {other}, valid values are {valid}")));
        }
    }
    if options.contains_key("enriched_properties") {
        let message = "enriched_properties is only usable with envelope=enriched";
        return Err(Failure::uncategorized(message));
    }
    match text(options, "format") {
        None | Some("json") => Ok(()),
        Some("csv") if scan(options)? == Scan::Only => Err(Failure::unsupported("format=csv")),
        Some("csv") => Err(Failure::uncategorized("format=csv is only usable with initial_scan_only")),
        Some(format @ ("avro" | "parquet" | "protobuf")) => {
            Err(Failure::uncategorized(format!("this sink is incompatible with format={format}")))
        }
        Some(other) => {
            Err(Failure::invalid(format!("unknown format: {other}, valid values are 'avro', 'csv', 'json', 'parquet'")))
        }
    }
}

fn check_schema_changes(options: &WrittenOptions) -> Result<(), Failure> {
    let policy = one_of(options, "schema_change_policy", &["backfill", "ignore", "nobackfill", "stop"])?;
    if let Some(policy) = policy.filter(|policy| *policy != "backfill") {
        return Err(Failure::unsupported(format!("schema_change_policy={policy}")));
    }
    let events = one_of(options, "schema_change_events", &["column_changes", "default"])?;
    if let Some(events) = events.filter(|events| *events != "default") {
        return Err(Failure::unsupported(format!("schema_change_events={events}")));
    }
    match one_of(options, "virtual_columns", &["null", "omitted"])? {
        Some("null") => Err(Failure::unsupported("virtual_columns=null")),
        _ => Ok(()),
    }
}

fn compression(options: &WrittenOptions, version: &Version) -> Result<Option<Compression>, Failure> {
    let Some(name) = text(options, "compression") else { return Ok(None) };
    if !version.is_at_least(25, 2) {
        return Err(Failure::uncategorized("this sink is incompatible with option compression"));
    }
    match name {
        "gzip" => Ok(Some(Compression::Gzip)),
        "zstd" => Ok(Some(Compression::Zstd)),
        _ => Err(Failure::invalid(format!("unknown compression: {name}, valid values are 'gzip', 'zstd'"))),
    }
}

fn extra_headers(options: &WrittenOptions) -> Result<Vec<(String, String)>, Failure> {
    let Some(json) = text(options, "extra_headers") else { return Ok(Vec::new()) };
    let headers: BTreeMap<String, String> = serde_json::from_str(json)
        .map_err(|error| Failure::uncategorized(format!("invalid extra_headers option value: {error}")))?;
    Ok(headers.into_iter().collect())
}

fn one_of<'a>(options: &'a WrittenOptions, name: &str, valid: &[&str]) -> Result<Option<&'a str>, Failure> {
    match text(options, name) {
        Some(value) if !valid.contains(&value) => {
            let valid: Vec<String> = valid.iter().map(|value| format!("'{value}'")).collect();
            Err(Failure::invalid(format!("unknown {name}: {value}, valid values are {}", valid.join(", "))))
        }
        value => Ok(value),
    }
}

fn duration(options: &WrittenOptions, name: &str) -> Result<Option<Duration>, Failure> {
    let Some(value) = text(options, name).filter(|value| !value.is_empty()) else { return Ok(None) };
    match duration::parse(value) {
        Ok(duration) => Ok(Some(duration)),
        Err(duration::Invalid::Negative) => {
            Err(Failure::uncategorized(format!("negative durations are not accepted: {name}='{value}'")))
        }
        Err(duration::Invalid::Text(reason)) => {
            Err(Failure::uncategorized(format!("problem parsing option {name}: {reason}")))
        }
    }
}

fn text<'a>(options: &'a WrittenOptions, name: &str) -> Option<&'a str> {
    options.get(name)?.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> WrittenOptions {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (!value.is_empty()).then(|| (*value).to_owned())))
            .collect()
    }

    fn refusal(pairs: &[(&str, &str)]) -> String {
        let (options, version) = (options(pairs), Version::parse("25.2.1").unwrap());
        check_names(&options, &version).and_then(|()| check(&options, &version)).unwrap_err().message
    }

    #[test]
    fn refusals_have_the_words_of_cockroachdb() {
        for (pairs, expected) in [
            (&[("foo", "1")][..], "invalid option \"foo\""),
            (&[("updated", "x")], "option \"updated\" does not take a value"),
            (&[("extra_headers", "{}")], "invalid option \"extra_headers\""),
            (&[("resolved", "x")], "problem parsing option resolved: time: invalid duration \"x\""),
            (&[("resolved", "-1s")], "negative durations are not accepted: resolved='-1s'"),
            (&[("webhook_client_timeout", "0s")], "option webhook_client_timeout must be a duration greater than 0"),
            (&[("initial_scan", ""), ("no_initial_scan", "")], "cannot specify both initial_scan and no_initial_scan"),
            (&[("initial_scan", "only"), ("updated", "")], "cannot specify both initial_scan='only' and updated"),
            (&[("envelope", "row")], "this sink is incompatible with envelope=row"),
            (&[("format", "avro")], "this sink is incompatible with format=avro"),
            (&[("kafka_sink_config", "{}")], "this sink is incompatible with option kafka_sink_config"),
            (&[("envelope", "enriched")], "stand-in: not supported: envelope=enriched"),
        ] {
            assert_eq!(refusal(pairs), expected);
        }
    }

    #[test]
    fn a_cursor_turns_the_scan_off_unless_told_otherwise() {
        assert_eq!(scan(&options(&[])).unwrap(), Scan::Yes);
        assert_eq!(scan(&options(&[("cursor", "1")])).unwrap(), Scan::No);
        assert_eq!(scan(&options(&[("cursor", "1"), ("initial_scan", "yes")])).unwrap(), Scan::Yes);
    }

    #[test]
    fn a_quick_resolved_is_warned_of() {
        let version = Version::parse("25.2.1").unwrap();
        assert_eq!(
            notices(&options(&[("resolved", "10s")]), &version),
            [
                "resolved (10s) messages will not be emitted more frequently than the default min_checkpoint_frequency (30s), but may be emitted less frequently"
            ]
        );
        assert!(notices(&options(&[("resolved", "1s"), ("min_checkpoint_frequency", "1s")]), &version).is_empty());
    }
}
