//! Cuts SQL into tokens, as far as it must be understood to find what only CockroachDB knows: strings, quoted names and
//! comments are told from words, so that nothing inside them is ever rewritten.
//!
//! Does not own: any grammar. Operators come as single characters.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    QuotedName,
    Text,
    Number,
    Parameter,
    Symbol(char),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) start: usize,
}

impl Token<'_> {
    pub(crate) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// A key word, in either case. A quoted name is never one.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    pub(crate) fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    pub(crate) fn is_symbol(&self, symbol: char) -> bool {
        self.kind == Kind::Symbol(symbol)
    }

    /// As a name: unquoted ones fold to lower case.
    pub(crate) fn name(&self) -> Option<String> {
        match self.kind {
            Kind::Word => Some(self.text.to_lowercase()),
            Kind::QuotedName => Some(self.text[1..self.text.len() - 1].replace("\"\"", "\"")),
            _ => None,
        }
    }

    /// The contents of a string literal. Escapes of `E''` are none of the statements we read.
    pub(crate) fn string(&self) -> Option<String> {
        if self.kind != Kind::Text {
            return None;
        }
        if let Some(rest) = self.text.strip_prefix('$') {
            let tag = rest.find('$')? + 2;
            return self.text.get(tag..self.text.len() - tag).map(str::to_owned);
        }
        let inner = self.text.strip_prefix('\'')?.strip_suffix('\'')?;
        Some(inner.replace("''", "'"))
    }
}

pub(crate) fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while start < sql.len() {
        let rest = &sql[start..];
        let (kind, length) = next(rest);
        if let Some(kind) = kind {
            tokens.push(Token { kind, text: &rest[..length], start });
        }
        start += length;
    }
    tokens
}

/// The kind, if it is not white space or a comment, and the length in bytes of what stands first.
fn next(rest: &str) -> (Option<Kind>, usize) {
    let first = rest.chars().next().unwrap_or(' ');
    let second = rest[first.len_utf8()..].chars().next().unwrap_or(' ');
    match first {
        ' ' | '\t' | '\r' | '\n' | '\x0c' => (None, 1),
        '-' if second == '-' => (None, rest.find('\n').unwrap_or(rest.len())),
        '/' if second == '*' => (None, comment(rest)),
        '\'' => (Some(Kind::Text), quoted(rest, '\'', false)),
        '"' => (Some(Kind::QuotedName), quoted(rest, '"', false)),
        'e' | 'E' if second == '\'' => (Some(Kind::Text), 1 + quoted(&rest[1..], '\'', true)),
        'b' | 'B' | 'x' | 'X' if second == '\'' => (Some(Kind::Text), 1 + quoted(&rest[1..], '\'', false)),
        '$' if second.is_ascii_digit() => {
            (Some(Kind::Parameter), 1 + rest[1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - 1))
        }
        '$' => match dollar_quoted(rest) {
            Some(length) => (Some(Kind::Text), length),
            None => (Some(Kind::Symbol('$')), 1),
        },
        '0'..='9' => (Some(Kind::Number), number(rest)),
        '.' if second.is_ascii_digit() => (Some(Kind::Number), number(rest)),
        c if c.is_alphabetic() || c == '_' => (Some(Kind::Word), word(rest)),
        c => (Some(Kind::Symbol(c)), c.len_utf8()),
    }
}

fn word(rest: &str) -> usize {
    rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len())
}

fn number(rest: &str) -> usize {
    let mut previous = ' ';
    for (at, c) in rest.char_indices() {
        let is_sign = matches!(c, '+' | '-') && matches!(previous, 'e' | 'E');
        if !(c.is_ascii_alphanumeric() || c == '.' || is_sign) {
            return at;
        }
        previous = c;
    }
    rest.len()
}

/// Up to the closing quote; a doubled quote is part of the contents. An open end takes all.
fn quoted(rest: &str, quote: char, has_escapes: bool) -> usize {
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if c == '\\' && has_escapes {
            characters.next();
        } else if c == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    rest.len()
}

fn dollar_quoted(rest: &str) -> Option<usize> {
    let tag_end = 1 + rest[1..].find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
    let tag = rest.get(..=tag_end).filter(|tag| tag.ends_with('$'))?;
    let body = &rest[tag.len()..];
    Some(body.find(tag).map_or(rest.len(), |end| tag.len() + end + tag.len()))
}

/// Block comments nest.
fn comment(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut at, mut depth) = (0, 0);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// As a string literal for PostgreSQL.
pub(crate) fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// As a quoted name.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expected: &[&str]) {
        let found: Vec<&str> = tokens(sql).iter().map(|token| token.text).collect();
        assert_eq!(found, expected, "{sql}");
    }

    #[test]
    fn strings_names_and_comments_are_whole() {
        check("SELECT 'it''s; AS OF' -- ; x\n, \"A \"\"b\"", &["SELECT", "'it''s; AS OF'", ",", "\"A \"\"b\""]);
        check("a/* /* nested */ ; */b", &["a", "b"]);
        check(r"E'\'; x' 1", &[r"E'\'; x'", "1"]);
        check("$x$ ' ; $$ $x$;$1", &["$x$ ' ; $$ $x$", ";", "$1"]);
        check("1751161903005030052.0000000001 -1e+5.x", &["1751161903005030052.0000000001", "-", "1e+5.x"]);
        check("'open", &["'open"]);
    }

    #[test]
    fn contents_lose_their_quotes() {
        let all = tokens(r#"'it''s' $q$a'b$q$ "A""b" Name"#);
        assert_eq!(all[0].string().unwrap(), "it's");
        assert_eq!(all[1].string().unwrap(), "a'b");
        assert_eq!(all[2].name().unwrap(), "A\"b");
        assert_eq!(all[3].name().unwrap(), "name");
    }
}
