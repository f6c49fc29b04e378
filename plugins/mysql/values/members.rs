//! The members of an ENUM or a SET, from the spelling of its type.
//!
//! Owns: undoing the server's escapes, which are the same in every sql_mode, and whether a value is made of them. Pure.

use super::{Reason, reason};

const NO_MEMBER: Reason = reason(1265, "the value is not a member of the column's type, letter by letter");
const TWICE: Reason = reason(1265, "a member comes twice, and a set holds it once");
/// It shows `?` in their place.
const HIDDEN: Reason = reason(
    1265,
    "the server does not show members with characters of four bytes, so that ebb cannot tell whether the value is one; make the \
     column a VARCHAR",
);

/// `enum('a','it''s','c:\\temp')`.
pub(super) fn members(column_type: &str) -> Vec<String> {
    let list = column_type.split_once('(').map_or("", |(_, list)| list);
    let mut members = Vec::new();
    let mut letters = list.chars().peekable();
    while letters.next_if_eq(&'\'').is_some() {
        let mut member = String::new();
        while let Some(letter) = letters.next() {
            match letter {
                '\'' if letters.next_if_eq(&'\'').is_none() => break,
                '\\' => member.extend(letters.next().map(unescaped)),
                letter => member.push(letter),
            }
        }
        members.push(member);
        letters.next_if_eq(&',');
    }
    members
}

pub(super) fn check_member(members: &[String], text: &str) -> Result<(), Reason> {
    match members.iter().any(|member| member == text) {
        true => Ok(()),
        false if text.chars().any(|letter| letter.len_utf8() == 4) => Err(HIDDEN),
        false => Err(NO_MEMBER),
    }
}

/// In any order, since a set has none; the server would leave one out that comes twice.
pub(super) fn check_set(members: &[String], text: &str) -> Result<(), Reason> {
    let parts: Vec<&str> = if text.is_empty() { Vec::new() } else { text.split(',').collect() };
    for (at, part) in parts.iter().enumerate() {
        check_member(members, part)?;
        if parts[..at].contains(part) {
            return Err(TWICE);
        }
    }
    Ok(())
}

fn unescaped(letter: char) -> char {
    match letter {
        'n' => '\n',
        'r' => '\r',
        '0' => '\0',
        letter => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_every_kind() {
        for (column_type, expected) in [
            ("enum('a','b')", vec!["a", "b"]),
            ("set('')", vec![""]),
            (r#"enum('it''s','''','a,b','x)','(','q"')"#, vec!["it's", "'", "a,b", "x)", "(", "q\""]),
            (r"enum('c:\\temp','l\nb','r\rr','z\0z','\\n')", vec!["c:\\temp", "l\nb", "r\rr", "z\0z", "\\n"]),
            ("enum('Größe') charset x", vec!["Größe"]),
        ] {
            assert_eq!(members(column_type), expected, "{column_type}");
        }
    }
}
