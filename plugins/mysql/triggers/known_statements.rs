//! The statements that make a trigger again, told from all others.
//!
//! Owns: the forms that `text` writes, and that a statement is one: the driver always lets the server take several at a time.
//! Does not own: whose statement it is (the host). Pure.

/// Why a list of statements is not one that [`Definition::create`](super::text::Definition::create) made; `None` when it is.
pub(super) fn foreign<'a>(create: &'a [String], database: &str) -> Option<&'a str> {
    let (set, others) = create.split_first()?;
    let Some(mode) = mode(set) else { return Some(set) };
    let has = |wanted: &str| mode.split(',').any(|word| word == wanted);
    let escapes = match (has("NO_BACKSLASH_ESCAPES"), has("ANSI_QUOTES")) {
        (true, _) => "",
        (false, true) => "'",
        (false, false) => "'\"",
    };
    let is_taken = |statement: &&String| is_collation(statement, database) || is_one_trigger(statement, escapes);
    others.iter().find(|statement| !is_taken(statement)).map(String::as_str)
}

/// The mode under which a trigger was made.
fn mode(statement: &str) -> Option<&str> {
    let (mode, rest) = statement.strip_prefix("SET SESSION sql_mode = '")?.split_once('\'')?;
    let rest = word(rest.strip_prefix(", character_set_client = ")?)?;
    let rest = word(rest.strip_prefix(", collation_connection = ")?)?;
    (rest.is_empty() && mode.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b',')))
        .then_some(mode)
}

fn is_collation(statement: &str, database: &str) -> bool {
    let prefix = format!("ALTER DATABASE {} COLLATE ", crate::quoted(database));
    statement.strip_prefix(&prefix).and_then(word) == Some("")
}

/// What follows on a word of ASCII letters.
fn word(text: &str) -> Option<&str> {
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(text.len());
    (end > 0).then(|| &text[end..])
}

/// Whether this is one CREATE TRIGGER: no semicolon stands outside of what begins and ends in its body.
fn is_one_trigger(statement: &str, escapes: &str) -> bool {
    let Some(tokens) = tokens(statement, escapes) else { return false };
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token: &&str| token.eq_ignore_ascii_case(word));
    // `DEFINER=`u`@`h``: the quotes are no tokens.
    let create = if is(1, "DEFINER") { 4 } else { 1 };
    if !is(0, "CREATE") || !is(create, "TRIGGER") || create == 4 && !(is(2, "=") && is(3, "@")) {
        return false;
    }
    let Some(row) = (0..tokens.len()).find(|&at| is(at, "FOR") && is(at + 1, "EACH") && is(at + 2, "ROW")) else {
        return false;
    };
    let (mut depth, mut at, mut begins) = (0_u32, row + 3, true);
    while at < tokens.len() {
        let token = tokens[at].to_ascii_uppercase();
        let is_name = at > 0 && is(at - 1, ".");
        match token.as_str() {
            ";" if depth == 0 => return false,
            "BEGIN" | "CASE" if !is_name => depth += 1,
            "IF" | "LOOP" | "WHILE" | "REPEAT" if begins && !is_name => depth += 1,
            "END" if !is_name => {
                let Some(less) = depth.checked_sub(1) else { return false };
                depth = less;
                at += usize::from(["IF", "CASE", "LOOP", "WHILE", "REPEAT"].iter().any(|word| is(at + 1, word)));
            }
            _ => {}
        }
        // A label, and the place among other triggers, whose name is in quotes, stand before a statement too.
        begins = matches!(
            token.as_str(),
            ";" | "BEGIN" | "THEN" | "ELSE" | "DO" | "LOOP" | "REPEAT" | ":" | "FOLLOWS" | "PRECEDES"
        );
        at += 1;
    }
    depth == 0
}

/// Words and marks outside of quotes and comments; a backslash escapes within the quotes of `escapes`. `None` where a comment is code, or has no end.
fn tokens<'a>(statement: &'a str, escapes: &str) -> Option<Vec<&'a str>> {
    let bytes = statement.as_bytes();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let rest = &statement[at..];
        at += match bytes[at] {
            quote @ (b'`' | b'\'' | b'"') => quoted(rest.as_bytes(), quote, escapes.contains(char::from(quote)))?,
            b'#' => rest.find('\n').unwrap_or(rest.len()),
            b'-' if rest.starts_with("--")
                && rest[2..].starts_with(|letter: char| letter.is_ascii_whitespace() || letter.is_control()) =>
            {
                rest.find('\n').unwrap_or(rest.len())
            }
            b'/' if rest.starts_with("/*!") || rest.starts_with("/*M!") => return None,
            b'/' if rest.starts_with("/*") => 2 + rest[2..].find("*/")? + 2,
            byte if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii() => {
                let is_part =
                    |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '$') || !letter.is_ascii();
                let length = rest.find(|letter: char| !is_part(letter)).unwrap_or(rest.len());
                tokens.push(&rest[..length]);
                length
            }
            byte => {
                if !byte.is_ascii_whitespace() {
                    tokens.push(&rest[..1]);
                }
                1
            }
        };
    }
    Some(tokens)
}

/// How long a quoted text is; a quote that is doubled begins another one at once, which is as well.
fn quoted(bytes: &[u8], quote: u8, escapes: bool) -> Option<usize> {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: &str = "SET SESSION sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES', character_set_client = utf8mb4, collation_connection = utf8mb4_bin";

    #[test]
    fn only_what_makes_a_trigger_is_taken() {
        let check = |statement: &str, expected: bool| {
            let create = [SET.to_owned(), statement.to_owned()];
            assert_eq!(foreign(&create, "d`b").is_none(), expected, "{statement}");
        };
        let body =
            |body: &str| format!("CREATE DEFINER=`u`@`%` TRIGGER `act` BEFORE INSERT ON `t` FOR EACH ROW {body}");
        for taken in [
            "SET NEW.v = 1",
            "FOLLOWS `o;ther` SET NEW.v = 'a;b', NEW.w = 'it''s', NEW.x = 'it\\'s; so'",
            "BEGIN SET NEW.v = 1; SET NEW.w = 2; END",
            "PRECEDES `x` IF NEW.v > 1 THEN SET NEW.v = 1; ELSEIF NEW.v = 2 THEN SET NEW.v = IF(1, 2, 3); END IF",
            "l: BEGIN DECLARE done INT; WHILE NEW.v < 3 DO SET NEW.v = NEW.v + 1; END WHILE; m: LOOP LEAVE m; END LOOP m; END",
            "BEGIN SET NEW.end = CASE NEW.v WHEN 1 THEN 2 ELSE 3 END; CASE 1 WHEN 1 THEN SET @a = 1; END CASE; END",
            "BEGIN REPEAT SET @a = 1; /* ; END */ UNTIL 1 END REPEAT; IF 1 THEN BEGIN END; END IF; # END;\nSET @a = 1; END",
        ] {
            check(&body(taken), true);
        }
        check("create trigger act before delete on t for each row set @a = 1", true);
        check("ALTER DATABASE `d``b` COLLATE latin1_bin", true);
        for refused in [
            "SET @a = 1; GRANT ALL ON *.* TO x",
            "BEGIN END; GRANT ALL ON *.* TO x",
            "BEGIN END; GRANT ALL ON *.* TO x; BEGIN END",
            "SET @a = 1 /*! ; GRANT ALL ON *.* TO x */",
            "SET @a = IF(1, 2, 3); GRANT ALL ON *.* TO x; END IF",
            "SET @a = 1;",
        ] {
            check(&body(refused), false);
        }
        for refused in [
            "GRANT ALL ON *.* TO x",
            "ALTER DATABASE `d``b` COLLATE latin1_bin; DROP TABLE t",
            "ALTER DATABASE `other` COLLATE latin1_bin",
            "CREATE PROCEDURE p() SET @a = 1",
            "CREATE DEFINER=`u`@`%` PROCEDURE p() SET @a = 'for each row'",
            "",
        ] {
            check(refused, false);
        }
        let escaped = body("BEGIN SET @a = 'x\\'; END; GRANT ALL ON *.* TO x; -- '; END");
        check(&escaped, true);
        let set = SET.replace("ANSI_QUOTES", "NO_BACKSLASH_ESCAPES");
        assert!(foreign(&[set, escaped], "d").is_some(), "a backslash is a letter there");
        for set in [
            "SET GLOBAL read_only = 1",
            &SET.replace("utf8mb4,", "utf8mb4, GLOBAL x = 1,"),
            &format!("{SET}; DROP TABLE t"),
        ] {
            assert_eq!(foreign(&[set.to_owned()], "d"), Some(set));
        }
        assert_eq!(foreign(&[], "d"), None);
    }
}
