//! The body of a webhook request: rows or a resolved timestamp, all of it well-formed or none of it taken.
//!
//! Owns: the wrapped envelope in both of CockroachDB's spellings. Does not own: reading bytes from the network, and what
//! a table is. No I/O. Unknown fields are passed over: later versions add some.

mod reading;

use std::borrow::Cow;
use std::fmt;

use ebb_sdk::Timestamp;
use serde::de::DeserializeSeed;
use serde_json::value::RawValue;

use crate::columns::canonical_value;
use reading::Reading;

/// Longest `key`, in bytes of JSON. No index of a target takes one that is near it.
const KEY_BYTES_MAX: usize = 1 << 20;

/// What one request says.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// All of them were taken.
    Rows,
    Resolved(Timestamp),
}

/// Why a body was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Stopped<E> {
    Malformed(Malformed),
    /// Whoever takes the rows has refused one.
    Refused(E),
}

/// One changed row.
#[derive(Debug)]
pub struct Message<'a> {
    pub topic: Cow<'a, str>,
    pub updated: Timestamp,
    /// The primary key, a JSON array in the order of the source's key.
    pub key: &'a RawValue,
    /// The row as a JSON object; `None` when it was deleted.
    pub after: Option<&'a RawValue>,
    /// The row as it was, when the changefeed has the option `diff`; `Some(None)` when there was none.
    pub before: Option<Option<&'a RawValue>>,
}

/// A primary key in the one spelling that all of its spellings have.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    pub text: String,
    /// How many values it has.
    pub values: usize,
}

/// Why a body cannot be taken. Its text is for the answer and the log, and holds no row data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    Empty,
    NotUtf8,
    /// Not JSON, or JSON of another shape: with line and column.
    Syntax {
        line: usize,
        column: usize,
    },
    NeitherRowsNorResolved,
    RowsAndResolved,
    /// A field of a message, or of the body, is there twice.
    Twice(&'static str),
    LongKey,
    Length {
        stated: usize,
        counted: usize,
    },
    NoUpdated,
    NoKey,
    NoTopic,
    NoAfter,
    /// `after` or `before` is neither an object nor null.
    NoRow,
    BadTimestamp,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the body is empty"),
            Self::NotUtf8 => f.write_str("the body is not UTF-8"),
            Self::Syntax { line, column } => {
                write!(f, "the body is not JSON of a changefeed's shape, or it was cut off (line {line}, column {column})")
            }
            Self::NeitherRowsNorResolved => f.write_str("the body has neither \"payload\" nor \"resolved\""),
            Self::RowsAndResolved => f.write_str("the body has both \"payload\" and \"resolved\""),
            Self::Twice(field) => write!(f, "\"{field}\" is there twice, which CockroachDB does not write"),
            Self::LongKey => {
                write!(f, "a \"key\" is longer than {KEY_BYTES_MAX} bytes, which no index of a target takes")
            }
            Self::Length { stated, counted } => {
                write!(f, "the body states {stated} messages and holds {counted}")
            }
            Self::NoUpdated => f.write_str("a message has no \"updated\": create the changefeed WITH updated"),
            Self::NoKey => f.write_str(
                "a message has no \"key\": only table changefeeds WITH envelope = 'wrapped' (the default) can be applied",
            ),
            Self::NoAfter => f.write_str("a message does not say what its row is \"after\" the change"),
            Self::NoRow => f.write_str("a row is not an object"),
            Self::NoTopic => f.write_str("a message has no \"topic\": only table changefeeds can be applied"),
            Self::BadTimestamp => f.write_str("a timestamp is not of the form <nanoseconds>.<logical>"),
        }
    }
}

/// Takes a body apart without copying rows. Each is handed over as it is read, so that the first one that is refused ends
/// it, and none of them is kept here. What was handed over counts only once this returns [`Body::Rows`].
pub fn read<'a, E>(body: &'a [u8], take: impl FnMut(Message<'a>) -> Result<(), E>) -> Result<Body, Stopped<E>> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Stopped::Malformed(Malformed::Empty));
    }
    let text = std::str::from_utf8(body).map_err(|_| Stopped::Malformed(Malformed::NotUtf8))?;
    let mut reading = Reading { take, stopped: None, counted: 0 };
    let mut json = serde_json::Deserializer::from_str(text);
    let frame = (&mut reading).deserialize(&mut json).and_then(|frame| json.end().map(|()| frame));
    let frame = match (frame, reading.stopped) {
        (_, Some(stopped)) => return Err(stopped),
        (Ok(frame), None) => frame,
        (Err(error), None) => {
            let (line, column) = (error.line(), error.column());
            return Err(Stopped::Malformed(Malformed::Syntax { line, column }));
        }
    };
    frame.judged(reading.counted).map_err(Stopped::Malformed)
}

/// The text by which a key is staged: the array without white space, strings escaped and numbers written in one way only, so
/// that every spelling of the feed gives the same text. Of a deleted row CockroachDB knows no more than its key, which
/// does not hold the trailing zeros of a DECIMAL.
pub fn canonical_key(key: &RawValue) -> Result<Key, Malformed> {
    if key.get().len() > KEY_BYTES_MAX {
        return Err(Malformed::LongKey);
    }
    let parts: Vec<&RawValue> = serde_json::from_str(key.get()).map_err(|_| Malformed::NoKey)?;
    let mut text = String::with_capacity(key.get().len());
    text.push('[');
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&canonical_value(part).map_err(|_| Malformed::NoKey)?);
    }
    text.push(']');
    Ok(Key { text, values: parts.len() })
}

fn timestamp(text: &str) -> Result<Timestamp, Malformed> {
    text.parse().map_err(|_| Malformed::BadTimestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every message of a body.
    fn parse(body: &[u8]) -> Result<Vec<Message<'_>>, Malformed> {
        let mut messages = Vec::new();
        let taken = read(body, |message| {
            messages.push(message);
            Ok::<(), std::convert::Infallible>(())
        });
        match taken {
            Ok(Body::Rows) => Ok(messages),
            Ok(Body::Resolved(_)) => panic!("a resolved message"),
            Err(Stopped::Malformed(malformed)) => Err(malformed),
            Err(Stopped::Refused(never)) => match never {},
        }
    }

    fn rows(body: &str) -> Vec<(String, Timestamp, String, Option<String>)> {
        let row = |message: Message<'_>| {
            let after = message.after.map(|after| after.get().to_owned());
            (message.topic.into_owned(), message.updated, canonical_key(message.key).unwrap().text, after)
        };
        parse(body.as_bytes()).unwrap().into_iter().map(row).collect()
    }

    #[test]
    fn both_spellings_say_the_same() {
        let spaced = r#"{"payload":[{"after": {"id": 1, "t": "a<b"}, "key": [1, "a<b"], "topic": "t", "updated": "10.0000000002"}],"length":1}"#;
        let compact = r#"{"payload":[{"after":{"id":1,"t":"a\u003cb"},"key":[1,"a\u003cb"],"topic":"t","updated":"10.0000000002"}],"length":1}"#;
        let (spaced, compact) = (rows(spaced), rows(compact));
        assert_eq!(spaced[0].2, "[1,\"a<b\"]");
        assert_eq!((&spaced[0].0, spaced[0].1, &spaced[0].2), (&compact[0].0, compact[0].1, &compact[0].2));
    }

    #[test]
    fn deletes_with_and_without_before() {
        let body = r#"{ "payload" : [ { "after": null, "key" : [ 42 ], "topic" : "tbl", "updated" : "30.0" },
            { "after" : null, "before": null, "key" : [ 9 ], "topic" : "\"Tbl\"", "updated" : "30.0", "new_field": [1] },
            { "after" : null, "before": {"a": 1}, "key" : [ 1 ], "topic" : "tbl", "updated" : "30.0" } ] }"#;
        let messages = parse(body.as_bytes()).unwrap();
        assert!(messages.iter().all(|message| message.after.is_none()));
        let before = |message: &Message<'_>| message.before.map(|before| before.map(|row| row.get().to_owned()));
        let before: Vec<_> = messages.iter().map(before).collect();
        assert_eq!(before, [None, Some(None), Some(Some("{\"a\": 1}".to_owned()))]);
        assert_eq!(messages[1].topic, "\"Tbl\"");
    }

    #[test]
    fn numbers_keep_every_digit() {
        let body = r#"{"payload":[{"after": {"n": 9223372036854775807, "d": 1E+2}, "key": [9223372036854775807], "topic": "t", "updated": "1.0"}],"length":1}"#;
        let rows = rows(body);
        assert_eq!(rows[0].2, "[9223372036854775807]");
        assert_eq!(rows[0].3.as_deref(), Some(r#"{"n": 9223372036854775807, "d": 1E+2}"#));
    }

    #[test]
    fn what_cannot_be_taken_is_named() {
        let check =
            |body: &str, expected: Malformed| assert_eq!(parse(body.as_bytes()).unwrap_err(), expected, "{body}");
        check("", Malformed::Empty);
        check(" \n", Malformed::Empty);
        check("{}", Malformed::NeitherRowsNorResolved);
        check(r#"{"resolved":"x"}"#, Malformed::BadTimestamp);
        check(r#"{"payload":[],"length":1}"#, Malformed::Length { stated: 1, counted: 0 });
        check(r#"{"payload":[{"key":[1],"topic":"t"}]}"#, Malformed::NoUpdated);
        check(r#"{"payload":[{"key":[1],"topic":"t","updated":"1.0"}]}"#, Malformed::NoAfter);
        check(r#"{"payload":[{"after":{},"topic":"t","updated":"1.0"}]}"#, Malformed::NoKey);
        check(r#"{"payload":[{"after":[],"key":[1],"topic":"t","updated":"1.0"}]}"#, Malformed::NoRow);
        check(r#"{"payload":[{"after":{},"key":[],"after":null}]}"#, Malformed::Twice("after"));
        check(r#"{"payload":[],"payload":[]}"#, Malformed::Twice("payload"));
        check(r#"{"payload":[],"resolved":"1.0"}"#, Malformed::RowsAndResolved);
        check(r#"{"payload":[{"__crdb__":{"key":[1],"topic":"t","updated":"1.0"},"a":1}]}"#, Malformed::NoKey);
        for other in ["[[],0,null]", "null", r#"{"payload":null}"#, r#"{"payload":[[{},null,[1],"t","1.0"]]}"#] {
            assert!(matches!(parse(other.as_bytes()), Err(Malformed::Syntax { .. })), "{other}");
        }
        assert_eq!(parse(b"{\xff").unwrap_err(), Malformed::NotUtf8);
    }

    #[test]
    fn no_prefix_of_a_body_is_taken() {
        let body = r#"{"payload":[{"after": {"id": 1}, "key": [1], "topic": "t", "updated": "1.0"}],"length":1}"#;
        for end in 0..body.len() {
            assert!(parse(&body.as_bytes()[..end]).is_err(), "{end} of {body}");
        }
        let resolved = read(br#"{"resolved":"20.0"}"#, |_| Err(()));
        assert_eq!(resolved, Ok(Body::Resolved(Timestamp { wall: 20, logical: 0 })));
    }

    #[test]
    fn the_first_row_that_is_not_taken_ends_it() {
        let good = r#"{"after":{},"key":[1],"topic":"t","updated":"1.0"}"#;
        // What follows is not even JSON, and is not looked at.
        let body = format!(r#"{{"payload":[{good},{{}},{good},nonsense"#);
        let mut taken = 0;
        let malformed = read(body.as_bytes(), |_| {
            taken += 1;
            Ok::<(), ()>(())
        });
        assert_eq!((malformed, taken), (Err(Stopped::Malformed(Malformed::NoKey)), 1));
        assert_eq!(read(body.as_bytes(), |_| Err("no")), Err(Stopped::Refused("no")));
    }

    #[test]
    fn a_key_has_a_length_that_an_index_takes() {
        let key = format!("[\"{}\"]", "x".repeat(KEY_BYTES_MAX));
        assert_eq!(canonical_key(serde_json::from_str(&key).unwrap()), Err(Malformed::LongKey));
    }

    #[test]
    fn a_number_has_one_spelling_in_keys() {
        let long = "1".repeat(41);
        for (spellings, expected) in [
            (vec!["0", "-0", "0.000", "0E-9", "-0.0E+7"], "0"),
            (vec!["100", "100.00", "1E+2", "1e2", "10.0E1"], "100"),
            (vec!["26.3", "26.30", "2630E-2", "0.263e2"], "26.3"),
            (vec!["-0.05", "-5E-2", "-0.0500"], "-0.05"),
            (vec!["4E+50", "400e48", &format!("4{}", "0".repeat(50))], "4E50"),
            (vec!["5E-324", "50.0E-325"], "5E-324"),
            (vec!["1E+39", &format!("1{}.0", "0".repeat(39))], &format!("1{}", "0".repeat(39))),
            (vec!["9223372036854775807"], "9223372036854775807"),
            (vec![&long, &format!("{long}.0")], &format!("{long}E0")),
            (vec!["1.5E+99999999999999999999"], "1.5E+99999999999999999999"),
            (vec!["0.1E-9223372036854775808"], "0.1E-9223372036854775808"),
        ] {
            for spelling in spellings {
                let key: &RawValue = serde_json::from_str(spelling).unwrap();
                let array = format!("[{key},\"1.0\"]");
                let key = canonical_key(serde_json::from_str(&array).unwrap()).unwrap();
                assert_eq!(key.text, format!("[{expected},\"1.0\"]"), "{spelling}");
            }
        }
    }
}
