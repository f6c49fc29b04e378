//! A body of JSON read once, row by row.
//!
//! Owns: which fields a body and a message have, each once. Does not own: what they mean (`payload`). Nothing is kept of a
//! row that was handed over, so that what a body takes in memory does not grow with the number of its rows.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Body, Malformed, Message, Stopped, timestamp};

/// A body while it is read.
pub(super) struct Reading<F, E> {
    pub(super) take: F,
    /// The cause behind an error of serde, which has none but a text.
    pub(super) stopped: Option<Stopped<E>>,
    pub(super) counted: usize,
}

/// What a body says beside its rows.
#[derive(Default)]
pub(super) struct Frame {
    has_rows: bool,
    length: Option<usize>,
    resolved: Option<String>,
}

impl Frame {
    pub(super) fn judged(self, counted: usize) -> Result<Body, Malformed> {
        match (self.resolved, self.has_rows, self.length) {
            (Some(_), true, _) => Err(Malformed::RowsAndResolved),
            (Some(resolved), false, _) => timestamp(&resolved).map(Body::Resolved),
            (None, false, _) => Err(Malformed::NeitherRowsNorResolved),
            (None, true, Some(stated)) if stated != counted => Err(Malformed::Length { stated, counted }),
            (None, true, _) => Ok(Body::Rows),
        }
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Payload,
    Length,
    Resolved,
    After,
    Before,
    Key,
    Topic,
    Updated,
    #[serde(other)]
    Other,
}

/// A text without a copy where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a, F: FnMut(Message<'a>) -> Result<(), E>, E> Reading<F, E> {
    /// The error by which serde comes back; its text is never shown.
    fn stop<S: serde::de::Error>(&mut self, why: Stopped<E>) -> S {
        self.stopped.get_or_insert(why);
        S::custom("stopped")
    }

    /// Sets a field that must not have been there before.
    fn set<T, S: serde::de::Error>(&mut self, name: &'static str, field: &mut Option<T>, value: T) -> Result<(), S> {
        match field.replace(value) {
            None => Ok(()),
            Some(_) => Err(self.stop(Stopped::Malformed(Malformed::Twice(name)))),
        }
    }
}

// An object each: serde would read a derived struct from an array too, which no changefeed sends.
impl<'a, F: FnMut(Message<'a>) -> Result<(), E>, E> DeserializeSeed<'a> for &mut Reading<F, E> {
    type Value = Frame;

    fn deserialize<D: Deserializer<'a>>(self, body: D) -> Result<Frame, D::Error> {
        body.deserialize_map(self)
    }
}

impl<'a, F: FnMut(Message<'a>) -> Result<(), E>, E> Visitor<'a> for &mut Reading<F, E> {
    type Value = Frame;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body of a changefeed")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Frame, A::Error> {
        let mut frame = Frame::default();
        while let Some(field) = map.next_key()? {
            match field {
                Field::Payload if frame.has_rows => {
                    return Err(self.stop(Stopped::Malformed(Malformed::Twice("payload"))));
                }
                Field::Payload => {
                    frame.has_rows = true;
                    map.next_value_seed(Rows(&mut *self))?;
                }
                Field::Length => self.set("length", &mut frame.length, map.next_value()?)?,
                Field::Resolved => self.set("resolved", &mut frame.resolved, map.next_value()?)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(frame)
    }
}

/// The messages of a body.
struct Rows<'r, F, E>(&'r mut Reading<F, E>);

impl<'a, F: FnMut(Message<'a>) -> Result<(), E>, E> DeserializeSeed<'a> for Rows<'_, F, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, payload: D) -> Result<(), D::Error> {
        payload.deserialize_seq(self)
    }
}

impl<'a, F: FnMut(Message<'a>) -> Result<(), E>, E> Visitor<'a> for Rows<'_, F, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("messages")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut messages: A) -> Result<(), A::Error> {
        while messages.next_element_seed(Row(&mut *self.0))?.is_some() {
            self.0.counted += 1;
        }
        Ok(())
    }
}

/// One message of a body, which is handed over.
struct Row<'r, F, E>(&'r mut Reading<F, E>);

impl<'a, F: FnMut(Message<'a>) -> Result<(), E>, E> DeserializeSeed<'a> for Row<'_, F, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, message: D) -> Result<(), D::Error> {
        message.deserialize_map(self)
    }
}

impl<'a, F: FnMut(Message<'a>) -> Result<(), E>, E> Visitor<'a> for Row<'_, F, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let reading = self.0;
        let mut raw = RawMessage::default();
        while let Some(field) = map.next_key()? {
            match field {
                Field::After => reading.set("after", &mut raw.after, map.next_value()?)?,
                Field::Before => reading.set("before", &mut raw.before, map.next_value()?)?,
                Field::Key => reading.set("key", &mut raw.key, map.next_value()?)?,
                Field::Topic => reading.set("topic", &mut raw.topic, map.next_value::<Text<'a>>()?.0)?,
                Field::Updated => reading.set("updated", &mut raw.updated, map.next_value::<Text<'a>>()?.0)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let taken = raw.message().map_err(Stopped::Malformed);
        taken.and_then(|message| (reading.take)(message).map_err(Stopped::Refused)).map_err(|why| reading.stop(why))
    }
}

/// The fields of a message that are there.
#[derive(Default)]
struct RawMessage<'a> {
    after: Option<&'a RawValue>,
    before: Option<&'a RawValue>,
    key: Option<&'a RawValue>,
    topic: Option<Cow<'a, str>>,
    updated: Option<Cow<'a, str>>,
}

impl<'a> RawMessage<'a> {
    fn message(self) -> Result<Message<'a>, Malformed> {
        Ok(Message {
            key: self.key.filter(|key| key.get().starts_with('[')).ok_or(Malformed::NoKey)?,
            topic: self.topic.ok_or(Malformed::NoTopic)?,
            updated: timestamp(&self.updated.ok_or(Malformed::NoUpdated)?)?,
            after: self.after.map(row).transpose()?.ok_or(Malformed::NoAfter)?,
            before: self.before.map(row).transpose()?,
        })
    }
}

/// An object, or `None` for null.
fn row(value: &RawValue) -> Result<Option<&RawValue>, Malformed> {
    match value.get() {
        "null" => Ok(None),
        object if object.starts_with('{') => Ok(Some(value)),
        _ => Err(Malformed::NoRow),
    }
}
