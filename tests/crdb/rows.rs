//! Answers whose rows become JSON on their way to the client: see `row_json` for the query, and for why the first and
//! the last row are the stand-in's own.
//!
//! Does not own: the JSON of a value (`encode`), and the connection (`proxy`).

use serde::Deserialize;

use crate::encode::{self, Encoding, Kind, Spelling};

/// The name of the first column of such an answer.
pub(crate) const COLUMN: &str = "crdb_internal.row_to_json";
const HEAD: &[u8] = b"\x01crdb.row_to_json";
const NAME: &[u8] = b"row_to_json\0";
/// Longer than the first row of such an answer can be.
pub(crate) const HEAD_BYTES_MAX: usize = 1 << 20;
const TEXT: i32 = 25;

#[derive(Deserialize)]
struct Head {
    names: Vec<String>,
    kinds: Vec<String>,
}

/// A column of the object: where it stands in the row, and what is written before its value.
struct Field {
    at: usize,
    prefix: String,
    kind: Kind,
}

/// What is to be done with a frame.
pub(crate) enum Act<'a> {
    Pass,
    Drop,
    /// The body of a row with one column.
    Send(&'a [u8]),
}

/// The state of one connection.
pub(crate) struct Rows {
    fields: Option<Vec<Field>>,
    /// Only the first row of an answer can say that JSON is to be made of the others.
    may_begin: bool,
    dropped: u64,
    json: String,
    body: Vec<u8>,
}

impl Rows {
    pub(crate) fn new() -> Rows {
        Rows { fields: None, may_begin: true, dropped: 0, json: String::new(), body: Vec::new() }
    }

    pub(crate) fn is_reading(&self) -> bool {
        self.fields.is_some()
    }

    /// Whether the next row must be looked at.
    pub(crate) fn is_interested(&self, bytes: usize) -> bool {
        self.fields.is_some() || self.may_begin && bytes < HEAD_BYTES_MAX
    }

    /// At every frame that is no row.
    pub(crate) fn next_answer(&mut self) {
        self.may_begin = true;
    }

    /// At an error, too.
    pub(crate) fn end(&mut self) {
        (self.fields, self.dropped) = (None, 0);
    }

    pub(crate) fn row(&mut self, row: &[u8]) -> Result<Act<'_>, String> {
        self.may_begin = false;
        let first = column(row, 2).map(|(first, _)| first).ok_or("a row ends early")?;
        let Some(fields) = &self.fields else {
            let Some(head) = first.and_then(|first| first.strip_prefix(HEAD)) else { return Ok(Act::Pass) };
            self.fields = Some(fields_of(head)?);
            self.dropped = 1;
            return Ok(Act::Drop);
        };
        if first.is_some() {
            self.fields = None;
            self.dropped += 1;
            return Ok(Act::Drop);
        }
        self.json.clear();
        write(&mut self.json, row, fields)?;
        self.body.clear();
        self.body.extend_from_slice(&1_i16.to_be_bytes());
        let length = i32::try_from(self.json.len()).map_err(|_| "a row is too long for the wire")?;
        self.body.extend_from_slice(&length.to_be_bytes());
        self.body.extend_from_slice(self.json.as_bytes());
        Ok(Act::Send(&self.body))
    }

    /// The tag of a statement, without the rows of the stand-in. None where it may stay.
    pub(crate) fn tag(&mut self, tag: &str) -> Option<String> {
        let dropped = std::mem::take(&mut self.dropped);
        self.fields = None;
        let rows: u64 = tag.strip_prefix("SELECT ")?.parse().ok()?;
        (dropped > 0).then(|| format!("SELECT {}", rows.saturating_sub(dropped)))
    }
}

/// The description of one column of text, if this is one of such an answer.
pub(crate) fn description(body: &[u8]) -> Option<Vec<u8>> {
    let rest = body.get(2..)?.strip_prefix(COLUMN.as_bytes())?.strip_prefix(b"\0")?;
    // Table, position, type, its size, its modifier, format.
    let format = rest.get(16..18)?;
    let mut one = 1_i16.to_be_bytes().to_vec();
    one.extend_from_slice(NAME);
    one.extend_from_slice(&[0; 6]);
    one.extend_from_slice(&TEXT.to_be_bytes());
    one.extend_from_slice(&(-1_i16).to_be_bytes());
    one.extend_from_slice(&(-1_i32).to_be_bytes());
    one.extend_from_slice(format);
    Some(one)
}

fn fields_of(head: &[u8]) -> Result<Vec<Field>, String> {
    let Head { names, kinds } = serde_json::from_slice(head).map_err(|error| error.to_string())?;
    let mut fields = Vec::new();
    for (index, (name, kind)) in names.iter().zip(&kinds).enumerate() {
        let kind = Kind::parse(kind).ok_or_else(|| format!("no kind {kind:?}"))?;
        fields.push((name, index + 1, kind));
    }
    fields.sort_by(|a, b| a.0.cmp(b.0));
    let field = |(index, (name, at, kind)): (usize, (&String, usize, Kind))| {
        let mut prefix = if index == 0 { "{".to_owned() } else { Spelling::Spaced.comma().to_owned() };
        encode::string(&mut prefix, name, Spelling::Spaced);
        prefix.push_str(Spelling::Spaced.colon());
        Field { at, prefix, kind }
    };
    Ok(fields.into_iter().enumerate().map(field).collect())
}

fn write(json: &mut String, row: &[u8], fields: &[Field]) -> Result<(), String> {
    let mut columns = Vec::with_capacity(fields.len() + 1);
    let mut at = 2;
    for _ in 0..=fields.len() {
        let (value, next) = column(row, at).ok_or("a row ends early")?;
        columns.push(value);
        at = next;
    }
    // As `::STRING` of JSONB writes it, in every release.
    let encoding = Encoding { spelling: Spelling::Spaced, null_objects: false };
    for Field { at, prefix, kind } in fields {
        let text = columns[*at].map(std::str::from_utf8).transpose().map_err(|error| error.to_string())?;
        json.push_str(prefix);
        encode::value(json, kind, text, encoding)?;
    }
    json.push('}');
    Ok(())
}

/// The value whose length stands here, and where the next one stands.
fn column(row: &[u8], at: usize) -> Option<(Option<&[u8]>, usize)> {
    let length = i32::from_be_bytes(*row.get(at..)?.first_chunk()?);
    let start = at + 4;
    match usize::try_from(length) {
        Ok(length) => Some((Some(row.get(start..start + length)?), start + length)),
        Err(_) => Some((None, start)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[Option<&str>]) -> Vec<u8> {
        let mut body = i16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
        for value in values {
            let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(value.unwrap_or_default().as_bytes());
        }
        body
    }

    fn sent(rows: &mut Rows, values: &[Option<&str>]) -> Option<String> {
        match rows.row(&row(values)).unwrap() {
            Act::Send(body) => Some(String::from_utf8(body[6..].to_vec()).unwrap()),
            Act::Drop => None,
            Act::Pass => Some("passed".to_owned()),
        }
    }

    #[test]
    fn rows_between_head_and_tail_become_objects_with_sorted_names() {
        let mut rows = Rows::new();
        assert_eq!(sent(&mut rows, &[Some("x")]).as_deref(), Some("passed"));
        rows.next_answer();
        let head = "\u{1}crdb.row_to_json{\"names\":[\"b\",\"A\"],\"kinds\":[\"string\",\"float\"]}";
        assert_eq!(sent(&mut rows, &[Some(head), None, None]), None);
        let found = sent(&mut rows, &[None, Some("x\"y"), Some("100")]);
        assert_eq!(found.as_deref(), Some(r#"{"A": 1E+2, "b": "x\"y"}"#));
        assert_eq!(sent(&mut rows, &[None, None, None]).as_deref(), Some(r#"{"A": null, "b": null}"#));
        assert_eq!(sent(&mut rows, &[Some("\u{1}crdb.end"), None, None]), None);
        assert_eq!(rows.tag("SELECT 4").as_deref(), Some("SELECT 2"));
        assert_eq!(rows.tag("SELECT 4"), None);
    }

    #[test]
    fn only_such_an_answer_is_described_anew() {
        let mut body = 2_i16.to_be_bytes().to_vec();
        for name in [COLUMN, "b"] {
            body.extend_from_slice(name.as_bytes());
            body.extend_from_slice(&[0; 18]);
            body.push(1);
        }
        let one = description(&body).unwrap();
        assert_eq!((&one[..2], one.last()), (&[0, 1][..], Some(&1)));
        assert_eq!(one.len(), 2 + NAME.len() + 18);
        assert!(description(&row(&[Some("x")])).is_none());
    }
}
