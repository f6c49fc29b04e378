//! Steps through the tokens of one statement.

use crate::failure::Failure;
use crate::lex::{Kind, Token};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(tokens: &'a [Token<'a>]) -> Cursor<'a> {
        Cursor { tokens, at: 0 }
    }

    pub(crate) fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).copied()
    }

    pub(crate) fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        token
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Takes all the words, or none.
    pub(crate) fn accept(&mut self, words: &[&str]) -> bool {
        let here = self.tokens.get(self.at..self.at + words.len()).unwrap_or_default();
        let is_match = here.len() == words.len() && here.iter().zip(words).all(|(token, word)| token.is(word));
        self.at += if is_match { words.len() } else { 0 };
        is_match
    }

    pub(crate) fn accept_symbol(&mut self, symbol: char) -> bool {
        let is_match = self.peek().is_some_and(|token| token.is_symbol(symbol));
        self.at += usize::from(is_match);
        is_match
    }

    pub(crate) fn expect(&mut self, words: &[&str]) -> Result<(), Failure> {
        if self.accept(words) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(crate) fn expect_symbol(&mut self, symbol: char) -> Result<(), Failure> {
        if self.accept_symbol(symbol) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(crate) fn expect_end(&self) -> Result<(), Failure> {
        if self.is_at_end() { Ok(()) } else { Err(self.unexpected()) }
    }

    /// The parts of a name such as `db.public."T"`.
    pub(crate) fn name(&mut self) -> Result<Vec<String>, Failure> {
        let mut parts = Vec::new();
        loop {
            let part = self.peek().and_then(|token| token.name()).ok_or_else(|| self.unexpected())?;
            self.at += 1;
            parts.push(part);
            if !self.accept_symbol('.') {
                return Ok(parts);
            }
        }
    }

    /// A string, a word or a number, by its contents: how CockroachDB takes the values of options and settings.
    pub(crate) fn value(&mut self) -> Result<String, Failure> {
        let token = self.next().ok_or_else(|| Failure::syntax("EOF"))?;
        match token.kind {
            Kind::Text => token.string().ok_or_else(|| Failure::syntax(token.text)),
            Kind::QuotedName => token.name().ok_or_else(|| Failure::syntax(token.text)),
            Kind::Word | Kind::Number => Ok(token.text.to_owned()),
            Kind::Parameter => Err(Failure::unsupported(format!("placeholder {} in this place", token.text))),
            Kind::Symbol('-') => self.value().map(|value| format!("-{value}")),
            Kind::Symbol(_) => Err(Failure::syntax(token.text)),
        }
    }

    /// The source text of all that is left, and steps over it.
    pub(crate) fn rest<'s>(&mut self, sql: &'s str) -> &'s str {
        let here = &self.tokens[self.at.min(self.tokens.len())..];
        self.at = self.tokens.len();
        match (here.first(), here.last()) {
            (Some(first), Some(last)) => &sql[first.start..last.end()],
            _ => "",
        }
    }

    pub(crate) fn unexpected(&self) -> Failure {
        Failure::syntax(self.peek().map_or("EOF", |token| token.text))
    }
}
