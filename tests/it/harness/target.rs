//! The servers that the tests' target databases are on.
//!
//! Owns: which are shared, and answers that read alike. Does not own: the servers (`ebb_servers`).

use std::collections::BTreeSet;
use std::sync::OnceLock;

use ebb_servers::{Certs, Dialect, Flavour, Server};

use super::world::World;

/// All that ebb writes to with the mysql plugin.
pub(crate) const MYSQLS: [Dialect; 2] = [Dialect::MySql(Flavour::MariaDb), Dialect::MySql(Flavour::MySql)];

/// The server of all tests, which demands TLS.
pub(crate) fn shared(dialect: Dialect, certs: &'static Certs) -> &'static Server {
    static POSTGRES: OnceLock<Server> = OnceLock::new();
    static MARIADB: OnceLock<Server> = OnceLock::new();
    static MYSQL: OnceLock<Server> = OnceLock::new();
    let server = match dialect {
        Dialect::Postgres => &POSTGRES,
        Dialect::MySql(Flavour::MariaDb) => &MARIADB,
        Dialect::MySql(Flavour::MySql) => &MYSQL,
    };
    server.get_or_init(|| Server::start(dialect, Some(certs), false).expect("the target's server"))
}

/// What the statements print, NULL as nothing.
pub(crate) fn answer(server: &Server, database: &str, sql: &str) -> ebb_servers::Result<String> {
    let answer = server.sql(database, sql)?;
    if matches!(server, Server::Postgres(_)) {
        return Ok(answer);
    }
    fn column(text: &str) -> &str {
        if text == "NULL" { "" } else { text }
    }
    let line = |line: &str| line.split('|').map(column).collect::<Vec<_>>().join("|");
    Ok(answer.lines().map(line).collect::<Vec<_>>().join("\n"))
}

/// The rows that only one side has, a few of them.
pub(crate) fn difference(source: &str, target: &str) -> String {
    let rows = |side: &str| side.lines().map(String::from).collect::<BTreeSet<_>>();
    let (source, target) = (rows(source), rows(target));
    let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
        let rows: Vec<_> = one.difference(other).cloned().collect();
        format!("{} {:?}", rows.len(), &rows[..rows.len().min(10)])
    };
    format!("only at the source {}, only on the target {}", only(&source, &target), only(&target, &source))
}

impl World {
    /// Of a user, made here, who may write to every table and do nothing else.
    pub(crate) fn plain_target_url(&self) -> String {
        let name = format!("{}_app", self.database());
        self.target(&format!(
            "CREATE ROLE {name} LOGIN PASSWORD 'x'; GRANT CREATE, USAGE ON SCHEMA public TO {name};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}"
        ));
        self.target_url_as(&name, "x")
    }
}
