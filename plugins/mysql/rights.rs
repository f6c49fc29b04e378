//! Whether this user sees triggers: MySQL shows none to those who may not make any, and says nothing of it.
//!
//! Owns: reading SHOW GRANTS, and which right mends a refusal to make triggers. Does not own: what is done where triggers cannot be seen (`effect`).

use ebb_sdk::{Error, ErrorKind, Result};
use mysql_async::Error as Failure;

use crate::connect::Flavour;
use crate::error::translate;
use crate::triggers::spoken;
use crate::{Session, quoted};

/// May not make triggers, or none of somebody else, or none that the binary log would repeat.
pub(crate) const NO_RIGHT: [u16; 5] = [1142, 1227, 1419, 1044, 1370];

/// The tables whose triggers can be seen.
#[derive(Debug, Default)]
pub(crate) struct TriggerRights {
    all: bool,
    tables: Vec<String>,
    /// What would let it see all.
    pub(crate) grant: String,
}

impl TriggerRights {
    pub(crate) fn sees(&self, table: &str) -> bool {
        self.all || self.tables.iter().any(|name| name == table)
    }
}

pub(crate) async fn of_triggers(session: &mut Session) -> Result<TriggerRights> {
    let grants: Vec<String> = spoken(session, "SHOW GRANTS", "see the user's rights").await?;
    let database = session.server.database.clone();
    let mut rights = TriggerRights {
        grant: format!("GRANT TRIGGER ON {}.* TO {};", quoted(&database), session.server.user),
        ..TriggerRights::default()
    };
    for grant in &grants {
        rights.read(grant, &database);
    }
    Ok(rights)
}

impl TriggerRights {
    /// ``GRANT SELECT, TRIGGER ON `d`.* TO `u`@`%` ``.
    fn read(&mut self, grant: &str, database: &str) {
        let Some((verbs, rest)) = grant.split_once(" ON ") else { return };
        let (is_grant, verbs) = match (verbs.strip_prefix("GRANT "), verbs.strip_prefix("REVOKE ")) {
            (Some(verbs), _) => (true, verbs),
            (_, Some(verbs)) => (false, verbs),
            _ => return,
        };
        if !verbs.split(", ").any(|verb| matches!(verb, "TRIGGER" | "ALL PRIVILEGES" | "ALL")) {
            return;
        }
        let Some((scope, rest)) = name(rest) else { return };
        let Some((table, _)) = rest.strip_prefix('.').and_then(name) else { return };
        match (scope.as_str(), table.as_str()) {
            ("*", "*") => self.all = is_grant,
            (scope, "*") if is_like(database, scope) => self.all = is_grant,
            (scope, table) if scope == database => self.tables.push(table.to_owned()),
            _ => {}
        }
    }
}

/// A name in quotes, or `*`, and what follows it.
fn name(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix('*') {
        return Some(("*".into(), rest));
    }
    let mut rest = text.strip_prefix('`')?;
    let mut name = String::new();
    loop {
        let (part, behind) = rest.split_once('`')?;
        name.push_str(part);
        match behind.strip_prefix('`') {
            Some(more) => {
                name.push('`');
                rest = more;
            }
            None => return Some((name, behind)),
        }
    }
}

/// The pattern of a database in a GRANT: `_` and `%` stand for others unless there is a backslash before them.
fn is_like(text: &str, pattern: &str) -> bool {
    let (mut letters, mut marks) = (text.chars(), pattern.chars());
    match marks.next() {
        None => text.is_empty(),
        Some('%') => {
            let rest = marks.as_str();
            (0..=text.len()).filter(|&at| text.is_char_boundary(at)).any(|at| is_like(&text[at..], rest))
        }
        Some('_') => letters.next().is_some() && is_like(letters.as_str(), marks.as_str()),
        Some(mark) => {
            let mark = if mark == '\\' { marks.next().unwrap_or(mark) } else { mark };
            letters.next() == Some(mark) && is_like(letters.as_str(), marks.as_str())
        }
    }
}

/// A missing right is mended by an administrator, in these words.
pub(crate) fn refused(session: &Session, failure: &Failure, doing: &str) -> Error {
    let error = translate(failure, doing);
    let Failure::Server(answer) = failure else { return error };
    let user = &session.server.user;
    let hint = match (answer.code, session.server.flavour) {
        (1419, _) => "as an administrator of the target: SET GLOBAL log_bin_trust_function_creators = 1;".to_owned(),
        (1227, Flavour::MariaDb) => {
            format!(
                "as an administrator of the target, so that triggers keep their definers: GRANT SET USER ON *.* TO {user};"
            )
        }
        (1227, Flavour::MySql) => format!(
            "as an administrator of the target, so that triggers keep their definers: GRANT SET_ANY_DEFINER, \
             ALLOW_NONEXISTENT_DEFINER, SYSTEM_USER ON *.* TO {user}; (before MySQL 8.2 GRANT SET_USER_ID, SYSTEM_USER; \
             before 8.0 GRANT SUPER)"
        ),
        _ => of_rows(session),
    };
    match NO_RIGHT.contains(&answer.code) {
        true => Error { kind: ErrorKind::Config, ..error.hint(hint) },
        false => error,
    }
}

pub(crate) fn of_rows(session: &Session) -> String {
    let (database, user) = (quoted(&session.server.database), &session.server.user);
    format!(
        "as an administrator of the target: GRANT TRIGGER, CREATE, DROP, SELECT, INSERT, UPDATE, DELETE ON {database}.* TO {user};"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_of_every_kind() {
        for (grants, sees) in [
            (vec!["GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION"], true),
            (vec!["GRANT USAGE ON *.* TO `u`@`%`", "GRANT SELECT, TRIGGER ON `my_db`.* TO `u`@`%`"], true),
            (vec!["GRANT SELECT, TRIGGER ON `my\\_db`.* TO `u`@`%`"], true),
            (vec!["GRANT TRIGGER ON `my%`.* TO `u`@`%`"], true),
            (vec!["GRANT TRIGGER ON `my_db`.`t` TO `u`@`%`"], true),
            (vec!["GRANT TRIGGER ON `my_db`.`other` TO `u`@`%`"], false),
            (vec!["GRANT SELECT, INSERT ON `my_db`.* TO `u`@`%`"], false),
            (vec!["GRANT TRIGGER ON `other`.* TO `u`@`%`"], false),
            (vec!["GRANT `role`@`%` TO `u`@`%`", "GRANT PROXY ON ``@`` TO 'root'@'%'"], false),
            (vec!["GRANT ALL PRIVILEGES ON *.* TO `u`@`%`", "REVOKE TRIGGER ON `my_db`.* FROM `u`@`%`"], false),
        ] {
            let mut rights = TriggerRights::default();
            grants.iter().for_each(|grant| rights.read(grant, "my_db"));
            assert_eq!(rights.sees("t"), sees, "{grants:?}");
        }
        assert_eq!(name("`a``b`.*"), Some(("a`b".into(), ".*")));
    }
}
