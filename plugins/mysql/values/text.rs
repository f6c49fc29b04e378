//! Texts: the room that they need, and strings of JSON.
//!
//! Owns: what the server would cut without a word, and texts that would become another value. Does not own: letters that a
//! character set lacks, which the server refuses. Pure.

use std::borrow::Cow;

use mysql_async::Value as Parameter;
use serde::de::IgnoredAny;

use super::{Mend, Reason, TOO_LONG, reason};

const BLANKS: Reason = reason(1406, "a char column loses the blanks at the end of a value");
pub(crate) const ANOTHER_LETTER: Reason = reason(1366, "in cp932 the server stores the letter 晡 as 晙");
const NO_DOCUMENT: Reason = Reason {
    code: 1366,
    text: Cow::Borrowed(
        "the text is itself a JSON object or array, and the JSON string of that text would be another value",
    ),
    mend: Mend::Document,
};

/// A text whose limit is in characters.
pub(super) fn fitting(text: &str, chars_max: u64, is_char: bool) -> Result<Parameter, Reason> {
    if text.len() as u64 > chars_max && text.chars().count() as u64 > chars_max {
        return Err(TOO_LONG);
    }
    if is_char && text.ends_with(' ') { Err(BLANKS) } else { Ok(text.as_bytes().into()) }
}

/// The one letter that a server stores as another one without a word: both do, of all letters of Unicode in all their sets.
pub(crate) fn is_another_letter(charset: Option<&str>, text: &str) -> bool {
    charset == Some("cp932") && text.contains('晡')
}

/// Whether a text has room in so many bytes, as far as that can be told here. Of what cannot the server refuses what is too
/// long, but cuts white space at the end without a word.
pub(super) fn has_room(text: &str, bytes_max: u64, letter_bytes_max: Option<u64>) -> bool {
    let Some(most) = letter_bytes_max else { return text.len() as u64 <= bytes_max };
    let letters = text.chars().count() as u64;
    let may_be_cut = text.ends_with(|letter: char| letter.is_whitespace() || letter.is_control());
    letters <= bytes_max && (!may_be_cut || letters * most <= bytes_max)
}

pub(super) fn json_string(text: &str) -> Result<Parameter, Reason> {
    if is_document(text) { Err(NO_DOCUMENT) } else { Ok(serde_json::Value::from(text).to_string().into_bytes().into()) }
}

/// A string of JSONB and a document in a STRING come as the same text, and only the one gets quotes.
fn is_document(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<IgnoredAny>(text).is_ok()
}
