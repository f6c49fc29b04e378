//! The server that a target database is on, whichever it is.
//!
//! Owns: what tests want of each alike. Does not own: starting and ending them (`ebb_servers`).

use std::sync::OnceLock;

use ebb_servers::{Certs, Flavour, MySql, MySqlOptions, Postgres, Protocol};

/// Which dialect a test writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    MySql(Flavour),
}

/// All that ebb writes to with the mysql plugin.
pub const MYSQLS: [Dialect; 2] = [Dialect::MySql(Flavour::MariaDb), Dialect::MySql(Flavour::MySql)];

pub enum Server {
    Postgres(Postgres),
    MySql(MySql),
}

impl Server {
    pub fn start(dialect: Dialect, certs: Option<&Certs>, fsync: bool) -> Self {
        match dialect {
            Dialect::Postgres => {
                let options = ebb_servers::Options { certs, fsync, ..ebb_servers::Options::default() };
                Self::Postgres(Postgres::start(&options).expect("the target PostgreSQL"))
            }
            Dialect::MySql(flavour) => {
                let options = MySqlOptions { certs, fsync, ..MySqlOptions::default() };
                Self::MySql(MySql::start(flavour, &options).expect("the target MySQL"))
            }
        }
    }

    /// That of all tests, which demands TLS.
    pub fn shared(dialect: Dialect, certs: &'static Certs) -> &'static Self {
        static POSTGRES: OnceLock<Server> = OnceLock::new();
        static MARIADB: OnceLock<Server> = OnceLock::new();
        static MYSQL: OnceLock<Server> = OnceLock::new();
        let server = match dialect {
            Dialect::Postgres => &POSTGRES,
            Dialect::MySql(Flavour::MariaDb) => &MARIADB,
            Dialect::MySql(Flavour::MySql) => &MYSQL,
        };
        server.get_or_init(|| Self::start(dialect, Some(certs), false))
    }

    pub fn create_database(&self, name: &str) {
        let created = match self {
            Self::Postgres(server) => server.psql("postgres", &format!("CREATE DATABASE \"{name}\"")),
            Self::MySql(server) => server.sql("mysql", &format!("CREATE DATABASE `{name}`")),
        };
        created.expect("a database");
    }

    /// What the statements print: a line for each row, columns separated by `|`, NULL as nothing.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String, String> {
        match self {
            Self::Postgres(server) => server.psql(database, sql).map_err(|error| error.to_string()),
            Self::MySql(server) => {
                let answer = server.sql(database, sql).map_err(|error| error.to_string())?;
                fn column(text: &str) -> &str {
                    if text == "NULL" { "" } else { text }
                }
                let line = |line: &str| line.split('|').map(column).collect::<Vec<_>>().join("|");
                Ok(answer.lines().map(line).collect::<Vec<_>>().join("\n"))
            }
        }
    }

    pub fn port(&self) -> u16 {
        match self {
            Self::Postgres(server) => server.port(),
            Self::MySql(server) => server.port(),
        }
    }

    pub fn protocol(&self) -> Protocol {
        match self {
            Self::Postgres(_) => Protocol::Postgres,
            Self::MySql(_) => Protocol::MySql,
        }
    }

    pub fn url(&self, database: &str) -> String {
        match self {
            Self::Postgres(server) => server.url(database),
            Self::MySql(server) => server.url(database),
        }
    }

    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        match self {
            Self::Postgres(server) => server.url_as(user, password, database),
            Self::MySql(server) => server.url_as(user, password, database),
        }
    }

    /// Another port of the same machine in front of it, without TLS.
    pub fn url_through(&self, port: u16, database: &str) -> String {
        match self {
            Self::Postgres(_) => {
                format!("postgres://postgres:postgres@127.0.0.1:{port}/{database}?sslmode=disable")
            }
            Self::MySql(_) => format!("mysql://root:root@127.0.0.1:{port}/{database}"),
        }
    }

    pub fn kill9(&mut self) -> ebb_servers::Result<()> {
        match self {
            Self::Postgres(server) => server.kill9(),
            Self::MySql(server) => server.kill9(),
        }
    }

    pub fn restart(&mut self) -> ebb_servers::Result<()> {
        match self {
            Self::Postgres(server) => server.restart(),
            Self::MySql(server) => server.restart(),
        }
    }
}
