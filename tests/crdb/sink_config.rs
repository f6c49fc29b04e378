//! `webhook_sink_config`: when a batch is sent, and how often a refused one is sent again.

use std::time::Duration;

use serde_json::Value;

use crate::duration;
use crate::failure::Failure;

/// When a batch is full. All zero means one message per request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flush {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) frequency: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retry {
    /// Further attempts after the first; None is without end.
    pub(crate) max: Option<u32>,
    pub(crate) backoff: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SinkConfig {
    pub(crate) flush: Flush,
    pub(crate) retry: Retry,
}

impl SinkConfig {
    /// Unknown fields are ignored, as Go's decoder does.
    pub(crate) fn parse(json: Option<&str>) -> Result<SinkConfig, Failure> {
        let json = json.filter(|json| !json.is_empty()).unwrap_or("{}");
        let config: Value = serde_json::from_str(json).map_err(|error| malformed(&error.to_string()))?;
        let (flush, retry) = (&config["Flush"], &config["Retry"]);
        let flush = Flush {
            messages: count(&flush["Messages"])?,
            bytes: count(&flush["Bytes"])?,
            frequency: period(&flush["Frequency"])?.unwrap_or(Duration::ZERO),
        };
        if (flush.messages > 0 || flush.bytes > 0) && flush.frequency.is_zero() {
            return Err(Failure::uncategorized(
                "invalid sink config, Flush.Frequency is not set, messages may never be sent",
            ));
        }
        let backoff = period(&retry["Backoff"])?.filter(|backoff| !backoff.is_zero());
        let retry = Retry { max: retries(&retry["Max"])?, backoff: backoff.unwrap_or(Duration::from_millis(500)) };
        Ok(SinkConfig { flush, retry })
    }
}

fn count(value: &Value) -> Result<u64, Failure> {
    match (value, value.as_i64()) {
        (Value::Null, _) => Ok(0),
        (_, Some(number)) => u64::try_from(number).map_err(|_| negative()),
        _ => Err(malformed(&format!("cannot unmarshal {value} into Go struct field of type int"))),
    }
}

fn period(value: &Value) -> Result<Option<Duration>, Failure> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text,
        _ => return Err(malformed(&format!("cannot unmarshal {value} into Go value of type string"))),
    };
    match duration::parse(text) {
        Ok(duration) => Ok(Some(duration)),
        Err(duration::Invalid::Negative) => Err(negative()),
        Err(duration::Invalid::Text(reason)) => Err(malformed(&reason)),
    }
}

fn retries(value: &Value) -> Result<Option<u32>, Failure> {
    let number = match value {
        Value::Null => return Ok(Some(3)),
        Value::String(text) if text.eq_ignore_ascii_case("inf") => return Ok(None),
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    };
    match number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0) {
        Some(number) => Ok(Some(number)),
        None => Err(Failure::uncategorized("Retry.Max must be a positive integer. use 'inf' for infinite retries.")),
    }
}

fn negative() -> Failure {
    Failure::uncategorized("invalid sink config, all values must be non-negative")
}

fn malformed(reason: &str) -> Failure {
    Failure::uncategorized(format!("error processing option webhook_sink_config: error unmarshalling json: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_one_message_and_three_retries() {
        let config = SinkConfig::parse(None).unwrap();
        assert_eq!(config.flush, Flush::default());
        assert_eq!(config.retry, Retry { max: Some(3), backoff: Duration::from_millis(500) });
    }

    #[test]
    fn fields_are_read_and_refused() {
        let text = r#"{"Flush":{"Messages":100,"Bytes":10,"Frequency":"5s"},"Retry":{"Max":"inf","Backoff":"10ms"}}"#;
        let config = SinkConfig::parse(Some(text)).unwrap();
        assert_eq!((config.flush.messages, config.flush.bytes, config.flush.frequency.as_secs()), (100, 10, 5));
        assert_eq!(config.retry, Retry { max: None, backoff: Duration::from_millis(10) });
        for (text, expected) in [
            (r#"{"Flush":{"Bytes":1}}"#, "Flush.Frequency is not set"),
            (r#"{"Flush":{"Messages":-1}}"#, "all values must be non-negative"),
            (r#"{"Retry":{"Max":0}}"#, "Retry.Max must be a positive integer"),
            ("{", "error unmarshalling json"),
        ] {
            let message = SinkConfig::parse(Some(text)).unwrap_err().message;
            assert!(message.contains(expected), "{message}");
        }
    }
}
