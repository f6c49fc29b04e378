//! Two documents of JSON: whether a column that has the one would have the same if the other were written.
//!
//! Owns: the type's own rule, by which blanks and the order of an object's members are nothing, and the spelling of numbers,
//! which counts as far as the server keeps it. Does not own: which documents are written at all. Pure.

use super::exact::integer;

/// Deeper ones are compared letter by letter: no server takes them.
const DEPTH_MAX: usize = 200;

#[derive(Debug)]
enum Json<'a> {
    /// `null`, `true`, `false`.
    Word(&'a str),
    Number(&'a str),
    Text(String),
    Array(Vec<Json<'a>>),
    /// By name.
    Object(Vec<(String, Json<'a>)>),
}

/// `keeps_text` is for a server that keeps the text as it came. The other one keeps integers of 64 bits and doubles.
pub(super) fn is_same(sent: &[u8], found: &[u8], keeps_text: bool) -> bool {
    let read = |bytes| std::str::from_utf8(bytes).ok().and_then(read);
    match (read(sent), read(found)) {
        (Some(sent), Some(found)) => sent.is_same(&found, keeps_text),
        _ => sent == found,
    }
}

/// For people: members in the order of their names, so that two documents can be laid side by side. Numbers become what the
/// server would make of them, unless `keeps_text`.
pub(super) fn spelled(bytes: &[u8], keeps_text: bool) -> Option<String> {
    let mut text = String::new();
    read(std::str::from_utf8(bytes).ok()?)?.spell(keeps_text, &mut text);
    Some(text)
}

impl Json<'_> {
    fn spell(&self, keeps_text: bool, to: &mut String) {
        match self {
            Self::Number(number) if !keeps_text && (!is_whole(number) || integer(number).is_none()) => {
                to.push_str(
                    &number.parse::<f64>().map_or_else(|_| (*number).to_owned(), |number| format!("{number:?}")),
                );
            }
            Self::Word(word) | Self::Number(word) => to.push_str(word),
            Self::Text(text) => to.push_str(&serde_json::Value::from(text.as_str()).to_string()),
            Self::Array(parts) => {
                to.push('[');
                for (at, part) in parts.iter().enumerate() {
                    to.push_str(if at == 0 { "" } else { ", " });
                    part.spell(keeps_text, to);
                }
                to.push(']');
            }
            Self::Object(members) => {
                to.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    to.push_str(if at == 0 { "" } else { ", " });
                    to.push_str(&serde_json::Value::from(name.as_str()).to_string());
                    to.push_str(": ");
                    value.spell(keeps_text, to);
                }
                to.push('}');
            }
        }
    }

    fn is_same(&self, found: &Self, keeps_text: bool) -> bool {
        match (self, found) {
            (Self::Word(sent), Self::Word(found)) => sent == found,
            (Self::Number(sent), Self::Number(found)) => sent == found || !keeps_text && is_same_number(sent, found),
            (Self::Text(sent), Self::Text(found)) => sent == found,
            (Self::Array(sent), Self::Array(found)) => {
                sent.len() == found.len() && sent.iter().zip(found).all(|(sent, found)| sent.is_same(found, keeps_text))
            }
            (Self::Object(sent), Self::Object(found)) => {
                let same = |((name, sent), (other, found)): (&(String, Self), &(String, Self))| {
                    name == other && sent.is_same(found, keeps_text)
                };
                sent.len() == found.len() && sent.iter().zip(found).all(same)
            }
            _ => false,
        }
    }
}

/// Whether the server would show the one number for the other. What it shows with zeros at the end is a decimal, which no
/// document that is written has.
fn is_same_number(sent: &str, found: &str) -> bool {
    match integer(sent).filter(|_| is_whole(sent)) {
        Some(sent) => is_whole(found) && integer(found) == Some(sent),
        None => {
            let is_decimal = found.contains('.') && !found.contains(['e', 'E']) && found.ends_with('0');
            let bits = |text: &str| text.parse::<f64>().ok().map(f64::to_bits);
            !is_whole(found) && (!is_decimal || found.ends_with(".0")) && bits(sent) == bits(found)
        }
    }
}

fn is_whole(number: &str) -> bool {
    !number.contains(['.', 'e', 'E'])
}

fn read(text: &str) -> Option<Json<'_>> {
    let mut reader = Reader { rest: text };
    let json = reader.value(0)?;
    reader.skip_blanks();
    reader.rest.is_empty().then_some(json)
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Whether this comes next; then it is passed.
    fn passes(&mut self, letter: char) -> bool {
        self.skip_blanks();
        let rest = self.rest.strip_prefix(letter);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self, depth: usize) -> Option<Json<'a>> {
        self.skip_blanks();
        match self.rest.bytes().next().filter(|_| depth <= DEPTH_MAX)? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.text().map(Json::Text),
            first => {
                let is_part = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.');
                let end = self.rest.find(|letter| !is_part(letter)).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                let is_number = first == b'-' || first.is_ascii_digit();
                match word {
                    "null" | "true" | "false" => Some(Json::Word(word)),
                    _ => is_number.then_some(Json::Number(word)),
                }
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json<'a>> {
        let mut parts = Vec::new();
        self.passes('[');
        if self.passes(']') {
            return Some(Json::Array(parts));
        }
        loop {
            parts.push(self.value(depth + 1)?);
            if self.passes(']') {
                return Some(Json::Array(parts));
            }
            self.passes(',').then_some(())?;
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json<'a>> {
        let mut members = Vec::new();
        self.passes('{');
        if self.passes('}') {
            return Some(Json::Object(members));
        }
        loop {
            self.skip_blanks();
            let name = self.text()?;
            self.passes(':').then_some(())?;
            members.push((name, self.value(depth + 1)?));
            if self.passes('}') {
                members.sort_by(|(one, _), (other, _)| one.cmp(other));
                return Some(Json::Object(members));
            }
            self.passes(',').then_some(())?;
        }
    }

    fn text(&mut self) -> Option<String> {
        let mut is_escaped = false;
        let inner = self.rest.strip_prefix('"')?;
        let is_end = |letter: char| {
            let ends = letter == '"' && !is_escaped;
            is_escaped = letter == '\\' && !is_escaped;
            ends
        };
        let end = inner.find(is_end)?;
        let (text, rest) = self.rest.split_at(end + 2);
        self.rest = rest;
        match text.contains('\\') {
            true => serde_json::from_str(text).ok(),
            false => Some(text[1..=end].to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_shown_side_by_side() {
        let document = br#"{"b":[1.10,1E+2, 7,18446744073709551616],"a":"\u0041\n"}"#;
        let text = r#"{"a": "A\n", "b": [1.10, 1E+2, 7, 18446744073709551616]}"#;
        assert_eq!(spelled(document, true).as_deref(), Some(text));
        let values = r#"{"a": "A\n", "b": [1.1, 100.0, 7, 1.8446744073709552e19]}"#;
        assert_eq!(spelled(document, false).as_deref(), Some(values));
        assert_eq!(spelled(b"[1", true), None);
    }

    #[test]
    fn documents_by_their_own_rule_and_numbers_as_they_are_kept() {
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        for (sent, found, kept_as_text, as_values) in [
            (r#"{"a": 1, "b": [true, null]}"#, r#" {"b":[true,null],"a":1} "#, true, true),
            (r#"{"a": "é\n\u0041"}"#, "{\"a\": \"\\u00e9\\nA\"}", true, true),
            ("1.10", "1.1", false, true),
            ("1.00", "1.0", false, true),
            ("1.0", "1", false, false),
            ("1", "1.0", false, false),
            ("1.1", "1.10", false, false),
            ("1E+2", "100.0", false, true),
            ("1E+2", "100", false, false),
            ("-0", "0", false, true),
            ("-0.0", "0.0", false, false),
            ("18446744073709551615", "18446744073709551614", false, false),
            ("18446744073709551616", "1.8446744073709552e19", false, true),
            ("[1, 2]", "[2, 1]", false, false),
            ("[1]", "[1, 1]", false, false),
            (r#"{"a": 1}"#, r#"{"a": 1, "a": 1}"#, false, false),
            (r#"{"a": 1}"#, r#"{"A": 1}"#, false, false),
            (r#"{"a": null}"#, "{}", false, false),
            (r#""a""#, r#""a ""#, false, false),
            (r#""1""#, "1", false, false),
            ("null", r#""null""#, false, false),
            ("[1", "[1 ", false, false),
            (r#""\\""#, r#""\\""#, true, true),
            (&deep, &deep, true, true),
        ] {
            assert_eq!(is_same(sent.as_bytes(), found.as_bytes(), true), kept_as_text, "{sent} {found}");
            assert_eq!(is_same(sent.as_bytes(), found.as_bytes(), false), as_values, "{sent} {found}");
        }
    }
}
