//! The members of an ENUM or a SET, from the spelling of its type.
//!
//! Owns: undoing the server's escapes, which are the same in every sql_mode. Pure.

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
