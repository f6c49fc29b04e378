//! The statements that make a trigger again, told from all others.
//!
//! Owns: the forms that `triggers` writes. Does not own: that a statement comes alone, which the protocol sees to (`saved`),
//! and whose statement it is (the host). Pure.

/// Whether the statement is one of those that are saved with a trigger.
pub(super) fn is_of_a_trigger(statement: &str) -> bool {
    is_create(statement) || is_state(statement) || is_comment(statement) || is_dependency(statement)
}

/// What comes behind is the server's own spelling; it takes one statement at a time.
fn is_create(statement: &str) -> bool {
    let rest = statement.strip_prefix("CREATE ").map(|rest| rest.strip_prefix("CONSTRAINT ").unwrap_or(rest));
    rest.and_then(|rest| rest.strip_prefix("TRIGGER ")).and_then(name).is_some()
}

/// `ALTER TABLE` can do a lot more than to enable a trigger.
fn is_state(statement: &str) -> bool {
    let state = || {
        let rest = relation(statement.strip_prefix("ALTER TABLE ONLY ")?)?;
        let states = [" DISABLE", " ENABLE ALWAYS", " ENABLE REPLICA"];
        let rest = states.iter().find_map(|state| rest.strip_prefix(state))?;
        name(rest.strip_prefix(" TRIGGER ")?)
    };
    state() == Some("")
}

fn is_comment(statement: &str) -> bool {
    let comment = || {
        let rest = name(statement.strip_prefix("COMMENT ON TRIGGER ")?)?;
        relation(rest.strip_prefix(" ON ")?)?.strip_prefix(" IS ")
    };
    comment().is_some()
}

fn is_dependency(statement: &str) -> bool {
    let dependency = || {
        let rest = name(statement.strip_prefix("ALTER TRIGGER ")?)?;
        let rest = relation(rest.strip_prefix(" ON ")?)?;
        name(rest.strip_prefix(" DEPENDS ON EXTENSION ")?)
    };
    dependency() == Some("")
}

/// What follows on `schema.table`.
fn relation(text: &str) -> Option<&str> {
    name(name(text)?.strip_prefix('.')?)
}

/// What follows on a name as `format('%I')` writes it.
fn name(text: &str) -> Option<&str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let is_part = |letter: char| letter == '_' || letter == '$' || letter.is_alphanumeric();
        let end = text.find(|letter| !is_part(letter)).unwrap_or(text.len());
        return (end > 0).then(|| &text[end..]);
    };
    let mut letters = quoted.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == '"' && letters.next_if(|(_, next)| *next == '"').is_none() {
            return Some(&quoted[at + 1..]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_makes_a_trigger_is_taken() {
        let check = |statement: &str, expected: bool| assert_eq!(is_of_a_trigger(statement), expected, "{statement}");
        for taken in [
            "CREATE TRIGGER act BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.act()",
            "CREATE CONSTRAINT TRIGGER \"A\"\"b\" AFTER INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.act()",
            "ALTER TABLE ONLY public.t ENABLE ALWAYS TRIGGER act",
            "ALTER TABLE ONLY \"S.\"\"1\".\"T t\" DISABLE TRIGGER \"x;y\"",
            "ALTER TABLE ONLY öl.t ENABLE REPLICA TRIGGER act",
            "COMMENT ON TRIGGER act ON public.t IS 'it''s so'",
            "ALTER TRIGGER act ON public.t DEPENDS ON EXTENSION citext",
        ] {
            check(taken, true);
        }
        for refused in [
            "",
            "ALTER ROLE app SUPERUSER",
            "CREATE EVENT TRIGGER x ON ddl_command_start EXECUTE FUNCTION f()",
            "CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE sql AS ''",
            "ALTER TABLE ONLY public.t ENABLE ALWAYS TRIGGER act, OWNER TO app",
            "ALTER TABLE ONLY public.t OWNER TO app",
            "ALTER TABLE ONLY public.t DISABLE TRIGGER \"a\" \"b",
            "ALTER TRIGGER act ON public.t DEPENDS ON EXTENSION citext; DROP TABLE t",
            "COMMENT ON TABLE t IS ''",
            " CREATE TRIGGER a",
        ] {
            check(refused, false);
        }
    }
}
