//! A server of any kind that ebb writes to, for what is wanted of all of them alike.
//!
//! Owns: choosing between them. Does not own: any of them (`postgres`, `mysql`).

use crate::{Certs, Flavour, MySql, MySqlOptions, Postgres, PostgresOptions, Protocol, Result};

/// What ebb writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    MySql(Flavour),
}

pub enum Server {
    Postgres(Postgres),
    MySql(MySql),
}

impl Server {
    /// With certificates, connections over TCP must use TLS.
    pub fn start(dialect: Dialect, certs: Option<&Certs>, fsync: bool) -> Result<Self> {
        match dialect {
            Dialect::Postgres => {
                Postgres::start(&PostgresOptions { certs, fsync, ..PostgresOptions::default() }).map(Self::Postgres)
            }
            Dialect::MySql(flavour) => {
                MySql::start(flavour, &MySqlOptions { certs, fsync, ..MySqlOptions::default() }).map(Self::MySql)
            }
        }
    }

    pub fn create_database(&self, name: &str) -> Result<String> {
        match self {
            Self::Postgres(server) => server.psql("postgres", &format!("CREATE DATABASE \"{name}\"")),
            Self::MySql(server) => server.sql("mysql", &format!("CREATE DATABASE `{name}`")),
        }
    }

    /// Runs statements and returns what they print: a line for each row, columns separated by `|`.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        match self {
            Self::Postgres(server) => server.psql(database, sql),
            Self::MySql(server) => server.sql(database, sql),
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

    /// Without TLS, on its own port or on another of this machine that leads to it.
    pub fn plain_url(&self, port: u16, database: &str) -> String {
        match self {
            Self::Postgres(_) => {
                format!("postgres://postgres:postgres@127.0.0.1:{port}/{database}?sslmode=disable")
            }
            Self::MySql(_) => format!("mysql://root:root@127.0.0.1:{port}/{database}"),
        }
    }

    pub fn kill9(&mut self) -> Result<()> {
        match self {
            Self::Postgres(server) => server.kill9(),
            Self::MySql(server) => server.kill9(),
        }
    }

    pub fn restart(&mut self) -> Result<()> {
        match self {
            Self::Postgres(server) => server.restart(),
            Self::MySql(server) => server.restart(),
        }
    }
}
