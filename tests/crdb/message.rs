//! A changefeed's message of one row in the wrapped envelope, a batch of messages, and the resolved message.
//!
//! Does not own: the text of values (`encode`), and when anything is sent (`feed`, `sink`).

use bytes::Bytes;

use crate::encode::{self, Encoding, Spelling};
use crate::history::{Image, Tick, Version, decimal};

/// One element of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// Of the key alone, without the table: requests with a common hash are never under way together.
    pub(crate) key_hash: u32,
    pub(crate) json: Bytes,
}

/// What a message shows beside `after`, `key` and `topic`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageFields {
    pub(crate) encoding: Encoding,
    pub(crate) has_before: bool,
    pub(crate) has_updated: bool,
    pub(crate) has_mvcc_timestamp: bool,
}

impl Message {
    /// Fields stand in the order of their bytes. `updated` differs from the version's own time in a scan.
    pub(crate) fn new(version: &Version, topic: &str, updated: Tick, form: MessageFields) -> Result<Message, String> {
        let spelling = form.encoding.spelling;
        let mut json = String::from("{");
        let field = |json: &mut String, name: &str| {
            json.push_str(if json.len() > 1 { spelling.comma() } else { "" });
            json.push_str(&format!("\"{name}\"{}", spelling.colon()));
        };
        field(&mut json, "after");
        image(&mut json, version.after.as_ref(), form.encoding)?;
        if form.has_before {
            field(&mut json, "before");
            image(&mut json, version.before.as_ref(), form.encoding)?;
        }
        field(&mut json, "key");
        let key_start = json.len();
        key(&mut json, version, form.encoding)?;
        let key_hash = hash(&json.as_bytes()[key_start..]);
        if form.has_mvcc_timestamp {
            field(&mut json, "mvcc_timestamp");
            encode::string(&mut json, &decimal(version.tick), spelling);
        }
        field(&mut json, "topic");
        encode::string(&mut json, topic, spelling);
        if form.has_updated {
            field(&mut json, "updated");
            encode::string(&mut json, &decimal(updated), spelling);
        }
        json.push('}');
        Ok(Message { key_hash, json: json.into() })
    }
}

/// The body of a request. `extra` adds fields that no receiver can know.
pub(crate) fn batch(messages: &[Message], extra: Extra) -> Vec<u8> {
    let mut body = b"{\"payload\":[".to_vec();
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&message.json);
        if extra == Extra::Fields {
            body.pop();
            body.extend_from_slice(br#", "zz_extra": {"of": ["a later", "release"], "level": 2}}"#);
        }
    }
    body.extend_from_slice(format!("],\"length\":{}", messages.len()).as_bytes());
    if extra == Extra::Fields {
        body.extend_from_slice(br#","zz_extra":null"#);
    }
    body.push(b'}');
    body
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extra {
    Nothing,
    Fields,
}

pub(crate) fn resolved(tick: Tick) -> Bytes {
    format!("{{\"resolved\":\"{}\"}}", decimal(tick)).into()
}

fn image(json: &mut String, image: Option<&Image>, encoding: Encoding) -> Result<(), String> {
    let Some(Image { shape, values }) = image else {
        json.push_str("null");
        return Ok(());
    };
    json.push('{');
    for (index, at) in shape.sorted.iter().enumerate() {
        json.push_str(if index == 0 { "" } else { encoding.spelling.comma() });
        encode::string(json, &shape.names[*at], encoding.spelling);
        json.push_str(encoding.spelling.colon());
        let text = values.get(*at).and_then(Option::as_deref);
        encode::value(json, &shape.kinds[*at], text, encoding)?;
    }
    json.push('}');
    Ok(())
}

fn key(json: &mut String, version: &Version, encoding: Encoding) -> Result<(), String> {
    json.push('[');
    for (index, (kind, text)) in version.shape.key.iter().zip(&version.key).enumerate() {
        json.push_str(if index == 0 { "" } else { encoding.spelling.comma() });
        encode::value(json, kind, Some(text), encoding)?;
    }
    json.push(']');
    Ok(())
}

/// FNV-1a: any hash will do that is the same for equal keys.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// For tests of batches without a database.
#[cfg(test)]
pub(crate) fn sample(key_hash: u32, json: &'static str) -> Message {
    Message { key_hash, json: Bytes::from_static(json.as_bytes()) }
}

/// The spelling of a release.
pub(crate) fn spelling(is_compact: bool) -> Spelling {
    if is_compact { Spelling::Compact } else { Spelling::Spaced }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::encode::Kind;
    use crate::history::Shape;

    fn check(spelling: Spelling, expected: &str) {
        let shape = Arc::new(Shape {
            names: vec!["b".into(), "a".into(), "Z".into()],
            kinds: vec![Kind::String, Kind::Integer, Kind::Bool],
            sorted: vec![2, 1, 0],
            key: vec![Kind::Integer],
        });
        let values = vec![Some("<x>".into()), Some("1".into()), None];
        let image = Image { shape: Arc::clone(&shape), values };
        let version =
            Version { relation: 1, key: vec!["1".into()], tick: 5_000_002, shape, after: Some(image), before: None };
        let encoding = Encoding { spelling, null_objects: false };
        let form = MessageFields { encoding, has_before: true, has_updated: true, has_mvcc_timestamp: true };
        let message = Message::new(&version, "\"T\"", 7_000_000, form).unwrap();
        assert_eq!(std::str::from_utf8(&batch(&[message], Extra::Nothing)).unwrap(), expected);
    }

    #[test]
    fn both_spellings() {
        check(
            Spelling::Spaced,
            r#"{"payload":[{"after": {"Z": null, "a": 1, "b": "<x>"}, "before": null, "key": [1], "mvcc_timestamp": "5000000.0000000002", "topic": "\"T\"", "updated": "7000000.0000000000"}],"length":1}"#,
        );
        check(
            Spelling::Compact,
            r#"{"payload":[{"after":{"Z":null,"a":1,"b":"\u003cx\u003e"},"before":null,"key":[1],"mvcc_timestamp":"5000000.0000000002","topic":"\"T\"","updated":"7000000.0000000000"}],"length":1}"#,
        );
    }

    #[test]
    fn extra_fields_keep_the_batch_valid() {
        let body = batch(&[sample(1, "{\"after\": null}"), sample(2, "{\"after\": 1}")], Extra::Fields);
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["payload"][1]["after"], 1);
        assert_eq!(value["payload"][0]["zz_extra"]["level"], 2);
        assert_eq!(std::str::from_utf8(&resolved(1_000_002)).unwrap(), "{\"resolved\":\"1000000.0000000002\"}");
    }
}
