//! The statements that make a trigger again.
//!
//! Owns: what of a trigger they say, and its place among the triggers of one event. Does not own: running them
//! (`triggers`). Pure.

use crate::quoted;

/// What the server tells of a trigger.
#[derive(Clone, Debug, Default)]
pub(super) struct Definition {
    pub(super) sql_mode: String,
    /// As SHOW CREATE TRIGGER has it, without its place among others.
    pub(super) statement: String,
    pub(super) character_set_client: String,
    pub(super) collation_connection: String,
    pub(super) database_collation: String,
}

impl Definition {
    /// In their order. A trigger keeps the settings under which it was made. `behind` is the one that fires before it.
    pub(super) fn create(&self, database: &str, collation: &str, behind: Option<&str>) -> Vec<String> {
        let alter = |collation: &str| format!("ALTER DATABASE {} COLLATE {collation}", quoted(database));
        let set = format!(
            "SET SESSION sql_mode = '{}', character_set_client = {}, collation_connection = {}",
            self.sql_mode, self.character_set_client, self.collation_connection
        );
        let create = match (behind, header_end(&self.statement)) {
            (Some(name), Some(end)) => placed(&self.statement, end, "FOLLOWS", name),
            _ => self.statement.clone(),
        };
        match self.database_collation == collation {
            true => vec![set, create],
            false => vec![set, alter(&self.database_collation), create, alter(collation)],
        }
    }
}

/// A statement with a place among the other triggers of its event.
pub(super) fn placed(statement: &str, header_end: usize, word: &str, name: &str) -> String {
    let (header, body) = statement.split_at(header_end);
    format!("{header} {word} {}{body}", quoted(name))
}

/// A statement without the place that [`Definition::create`] gave it, and the trigger that it was placed behind.
pub(super) fn unplaced(statement: &str) -> Option<(String, String)> {
    let end = header_end(statement)?;
    let (header, rest) = statement.split_at(end);
    let name = rest.strip_prefix(" FOLLOWS `")?;
    let mut letters = name.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == '`' && letters.next_if(|(_, next)| *next == '`').is_none() {
            return Some((format!("{header}{}", &name[at + 1..]), name[..at].replace("``", "`")));
        }
    }
    None
}

/// Where `FOR EACH ROW` ends.
pub(super) fn header_end(statement: &str) -> Option<usize> {
    let words = words(statement);
    let is = |at: usize, text: &str| words.get(at).is_some_and(|(word, _)| word.eq_ignore_ascii_case(text));
    (0..words.len()).find(|&at| is(at, "FOR") && is(at + 1, "EACH") && is(at + 2, "ROW")).map(|at| words[at + 2].1)
}

/// `BEFORE` and `INSERT`, the words before `ON`.
pub(super) fn event(statement: &str) -> Option<(String, String)> {
    let end = header_end(statement)?;
    let words = words(&statement[..end]);
    let on = words.iter().rposition(|(word, _)| word.eq_ignore_ascii_case("ON"))?;
    let word = |at: usize| Some(words.get(at)?.0.to_uppercase());
    Some((word(on.checked_sub(2)?)?, word(on.checked_sub(1)?)?))
}

/// Words outside of quotes and comments, with the place where each ends.
fn words(statement: &str) -> Vec<(&str, usize)> {
    let bytes = statement.as_bytes();
    let (mut words, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let rest = &statement[at..];
        at += match bytes[at] {
            quote @ (b'`' | b'\'' | b'"') => 2 + rest[1..].find(char::from(quote)).unwrap_or(rest.len()),
            b'#' => rest.find('\n').unwrap_or(rest.len()),
            b'-' if rest.starts_with("-- ") => rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            byte if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii() => {
                let is_part =
                    |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '$') || !letter.is_ascii();
                let length = rest.find(|letter: char| !is_part(letter)).unwrap_or(rest.len());
                words.push((&rest[..length], at + length));
                length
            }
            _ => 1,
        };
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATEMENT: &str = "CREATE DEFINER=`for each row`@`%` trigger b before insert on `on` /* FOR EACH ROW */ \
                             for  each\nrow BEGIN SET @a = 'for each row'; END";

    #[test]
    fn a_place_among_others_goes_in_and_out() {
        let definition = Definition {
            sql_mode: "ANSI".into(),
            statement: STATEMENT.into(),
            character_set_client: "latin1".into(),
            collation_connection: "latin1_bin".into(),
            database_collation: "utf8mb4_bin".into(),
        };
        let set = "SET SESSION sql_mode = 'ANSI', character_set_client = latin1, collation_connection = latin1_bin";
        assert_eq!(definition.create("d", "utf8mb4_bin", None), [set, STATEMENT]);
        let create = definition.create("d", "latin1_bin", Some("a`"));
        let statement = STATEMENT.replace("\nrow ", "\nrow FOLLOWS `a``` ");
        let alter = |collation| format!("ALTER DATABASE `d` COLLATE {collation}");
        assert_eq!(create, [set, &alter("utf8mb4_bin"), &statement, &alter("latin1_bin")]);
        assert_eq!(unplaced(&statement), Some((STATEMENT.into(), "a`".into())));
        assert_eq!(unplaced(STATEMENT), None);
        assert_eq!(event(&statement), Some(("BEFORE".into(), "INSERT".into())));
        assert_eq!(event("DROP TABLE t"), None);
    }
}
