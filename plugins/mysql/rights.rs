//! What this user may do. MySQL shows triggers to nobody who may not make any, and says nothing of it.
//!
//! Owns: reading SHOW GRANTS, and which right mends a refusal to make triggers. Does not own: what is done where triggers cannot be seen (`effect`).

use std::collections::BTreeMap;

use ebb_sdk::{Error, ErrorKind, MissingRight, Result, Table, TableIndex};
use mysql_async::Error as Failure;

use crate::connect::Flavour;
use crate::error::translate;
use crate::triggers::spoken;
use crate::{Session, quoted};

/// May not make triggers, or none of somebody else, or none that the binary log would repeat.
pub(crate) const NO_RIGHT: [u16; 5] = [1142, 1227, 1419, 1044, 1370];

/// What the user may do, by right.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    by_verb: BTreeMap<&'static str, Granted>,
    /// The server does not tell what the roles that count give.
    pub(crate) unknown: bool,
    /// Roles that were granted, as SET DEFAULT ROLE takes them, and count for nothing: they are not active in this session.
    pub(crate) inactive: Vec<String>,
    /// What would let it see all triggers.
    pub(crate) trigger_grant: String,
}

/// Where one right holds.
#[derive(Debug, Default)]
struct Granted {
    all: bool,
    tables: Vec<String>,
}

/// What is looked for.
const VERBS: [&str; 7] = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRIGGER", "CREATE", "PROCESS"];
/// What rows are written with.
const OF_ROWS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

pub(crate) async fn of(session: &mut Session) -> Result<Rights> {
    let grants: Vec<String> = spoken(session, "SHOW GRANTS", "see the user's rights").await?;
    let database = session.server.database.clone();
    let mut rights = Rights {
        trigger_grant: format!("GRANT TRIGGER ON {}.* TO {};", quoted(&database), session.server.user),
        ..Rights::default()
    };
    for grant in &grants {
        rights.read(grant, &database);
    }
    if !rights.inactive.is_empty() {
        rights.read_roles(session, &database).await;
    }
    Ok(rights)
}

impl Rights {
    pub(crate) fn may(&self, verb: &str, table: &str) -> bool {
        self.by_verb.get(verb).is_some_and(|granted| granted.all || granted.tables.iter().any(|name| name == table))
    }

    /// Of the roles that were granted only active ones count, and a session begins with the default ones.
    async fn read_roles(&mut self, session: &mut Session, database: &str) {
        let doing = "see what the user's roles give";
        let active: Result<Vec<Option<String>>> = spoken(session, "SELECT CURRENT_ROLE()", doing).await;
        let active = match active {
            Ok(active) => active.into_iter().flatten().next().filter(|role| role != "NONE"),
            Err(_) => return self.unknown = true,
        };
        let Some(active) = active else { return };
        let (sql, active) = match session.server.flavour {
            Flavour::MySql => (format!("SHOW GRANTS FOR CURRENT_USER() USING {active}"), roles(&active)),
            Flavour::MariaDb => (format!("SHOW GRANTS FOR {}", quoted(&active)), vec![quoted(&active)]),
        };
        match spoken::<String>(session, &sql, doing).await {
            Ok(grants) => grants.iter().for_each(|grant| self.read(grant, database)),
            Err(_) => self.unknown = true,
        }
        self.inactive.retain(|role| !active.contains(role));
    }

    /// What makes the roles count from the next session on.
    pub(crate) fn activation(&self, session: &Session) -> Option<String> {
        let user = &session.server.user;
        Some(match session.server.flavour {
            Flavour::MySql if self.inactive.is_empty() => return None,
            Flavour::MySql => format!("SET DEFAULT ROLE ALL TO {user};"),
            // It has one.
            Flavour::MariaDb => format!("SET DEFAULT ROLE {} FOR {user};", self.inactive.first()?),
        })
    }

    /// What is certainly missing for rows to be written.
    pub(crate) fn missing(&self, tables: &[Table]) -> Vec<MissingRight> {
        if self.unknown {
            return Vec::new();
        }
        let of_table = |(table, at): (&Table, TableIndex)| {
            let rights = OF_ROWS.iter().filter(|verb| !self.may(verb, &table.name));
            MissingRight { table: at, rights: rights.map(|verb| (*verb).to_owned()).collect() }
        };
        tables.iter().zip(TableIndex::all()).map(of_table).filter(|missing| !missing.rights.is_empty()).collect()
    }

    /// ``GRANT SELECT, TRIGGER ON `d`.* TO `u`@`%` ``.
    fn read(&mut self, grant: &str, database: &str) {
        let Some((verbs, rest)) = grant.split_once(" ON ") else {
            // ``GRANT `r`@`%`,`s`@`%` TO `u`@`%` ``.
            let granted = grant.strip_prefix("GRANT ").and_then(|grant| grant.split_once(" TO "));
            for role in granted.map(|(granted, _)| roles(granted)).unwrap_or_default() {
                if !self.inactive.contains(&role) {
                    self.inactive.push(role);
                }
            }
            return;
        };
        let (is_grant, verbs) = match (verbs.strip_prefix("GRANT "), verbs.strip_prefix("REVOKE ")) {
            (Some(verbs), _) => (true, verbs),
            (_, Some(verbs)) => (false, verbs),
            _ => return,
        };
        let Some((scope, rest)) = name(rest) else { return };
        let Some((table, _)) = rest.strip_prefix('.').and_then(name) else { return };
        let named: Vec<&str> = verbs.split(", ").map(|verb| verb.split(" (").next().unwrap_or_default()).collect();
        for verb in VERBS {
            if !named.iter().any(|named| [verb, "ALL PRIVILEGES", "ALL"].contains(named)) {
                continue;
            }
            let granted = self.by_verb.entry(verb).or_default();
            match (scope.as_str(), table.as_str()) {
                ("*", "*") => granted.all = is_grant,
                (scope, "*") if is_like(database, scope) => granted.all = is_grant,
                (scope, table) if scope == database => granted.tables.push(table.to_owned()),
                _ => {}
            }
        }
    }
}

/// The names of roles, as the server writes them one after another.
fn roles(text: &str) -> Vec<String> {
    let mut roles = vec![String::new()];
    let mut is_quoted = false;
    for letter in text.chars() {
        is_quoted ^= letter == '`';
        match roles.last_mut() {
            Some(role) if is_quoted || letter != ',' => role.push(letter),
            _ => roles.push(String::new()),
        }
    }
    roles.into_iter().map(|role| role.trim().to_owned()).collect()
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
    fn missing_rights_are_those_that_are_certain() {
        let tables = ["t", "u"].map(|name| Table { name: name.into(), ..Table::default() });
        for (grants, expected) in [
            (vec!["GRANT ALL PRIVILEGES ON *.* TO `root`@`%`"], [vec![], vec![]]),
            (vec!["GRANT SELECT, INSERT, UPDATE ON `my_db`.* TO `u`@`%`"], [vec!["DELETE"], vec!["DELETE"]]),
            (
                vec!["GRANT SELECT (`a`, `b`), INSERT (`a`), UPDATE, DELETE ON `my_db`.`t` TO `u`@`%`"],
                [vec![], vec!["SELECT", "INSERT", "UPDATE", "DELETE"]],
            ),
            (
                vec!["GRANT SELECT, INSERT ON `my_db`.* TO `u`@`%`", "GRANT `role`@`%` TO `u`@`%`"],
                [vec!["UPDATE", "DELETE"], vec!["UPDATE", "DELETE"]],
            ),
        ] {
            let mut rights = Rights::default();
            grants.iter().for_each(|grant| rights.read(grant, "my_db"));
            let missing = rights.missing(&tables);
            let of = |at: usize| missing.iter().find(|missing| missing.table == TableIndex::at(at));
            let found = [0, 1].map(|at| of(at).map_or_else(Vec::new, |missing| missing.rights.clone()));
            assert_eq!(
                found,
                expected.map(|rights| rights.into_iter().map(String::from).collect::<Vec<_>>()),
                "{grants:?}"
            );
        }
    }

    #[test]
    fn roles_are_told_from_rights() {
        let mut rights = Rights::default();
        rights.read("GRANT `a`@`%`,`b,``c`@`%` TO `u`@`%` WITH ADMIN OPTION", "d");
        rights.read("GRANT `r` TO `u`@`%`", "d");
        rights.read("GRANT PROXY ON ``@`%` TO 'root'@'localhost' WITH GRANT OPTION", "d");
        assert_eq!(rights.inactive, ["`a`@`%`", "`b,``c`@`%`", "`r`"]);
    }

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
            let mut rights = Rights::default();
            grants.iter().for_each(|grant| rights.read(grant, "my_db"));
            assert_eq!(rights.may("TRIGGER", "t"), sees, "{grants:?}");
        }
        assert_eq!(name("`a``b`.*"), Some(("a`b".into(), ".*")));
    }
}
