//! The database that the shop came from: PostgreSQL, MySQL or MariaDB, as TARGET says.
//!
//! Owns: what differs between them: the server, the tables in its words, and rows as texts that can be compared. Does not
//! own: the comparison (`shop`).

use ebb_servers::{Certs, Dialect, Flavour, Server};

use crate::Result;
use crate::shop::{self, State};

pub(crate) struct Target {
    dialect: Dialect,
    server: Server,
}

const MYSQL_SCHEMA: &str = "
CREATE TABLE customers (
    id CHAR(36) PRIMARY KEY, email VARCHAR(100) NOT NULL, tags JSON NOT NULL, preferences JSON, since DATETIME(6) NOT NULL);
CREATE TABLE products (id BIGINT PRIMARY KEY, name VARCHAR(100) NOT NULL, price DECIMAL(10,2) NOT NULL, stock BIGINT NOT NULL);
CREATE TABLE orders (
    id BIGINT PRIMARY KEY, customer CHAR(36) NOT NULL, state ENUM('new', 'paid', 'sent') NOT NULL,
    placed DATETIME(6) NOT NULL, total DECIMAL(12,2) NOT NULL, FOREIGN KEY (customer) REFERENCES customers (id));
CREATE TABLE order_lines (
    order_id BIGINT, line BIGINT, product BIGINT NOT NULL, amount BIGINT NOT NULL, price DECIMAL(10,2) NOT NULL,
    PRIMARY KEY (order_id, line), FOREIGN KEY (order_id) REFERENCES orders (id), FOREIGN KEY (product) REFERENCES products (id));";

impl Target {
    /// Starts the server that TARGET names, encrypted, with the shop's tables in the database `molt`.
    pub(crate) fn start(certs: &Certs) -> Result<Self> {
        let dialect = match std::env::var("TARGET").as_deref() {
            Err(_) | Ok("" | "postgres") => Dialect::Postgres,
            Ok("mysql") => Dialect::MySql(Flavour::MySql),
            Ok("mariadb") => Dialect::MySql(Flavour::MariaDb),
            Ok(other) => return Err(format!("TARGET={other} is not known: it is postgres, mysql or mariadb").into()),
        };
        let server = Server::start(dialect, Some(certs), false)?;
        server.create_database("molt")?;
        server.sql("molt", if dialect == Dialect::Postgres { shop::SCHEMA } else { MYSQL_SCHEMA })?;
        Ok(Self { dialect, server })
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.dialect {
            Dialect::Postgres => "PostgreSQL",
            Dialect::MySql(Flavour::MySql) => "MySQL",
            Dialect::MySql(Flavour::MariaDb) => "MariaDB",
        }
    }

    /// As the vendor's page has it; certificates are named besides where the dialect has no other way.
    pub(crate) fn url(&self, certs: &Certs) -> String {
        let port = self.server.port();
        match self.dialect {
            Dialect::Postgres => format!("postgres://postgres:postgres@localhost:{port}/molt?sslmode=verify-full"),
            Dialect::MySql(_) => format!(
                "mysql://root:root@localhost:{port}/molt?sslmode=verify-full&sslrootcert={}",
                certs.ca().display().to_string().replace('/', "%2f")
            ),
        }
    }

    pub(crate) fn sql(&self, sql: &str) -> Result<String> {
        Ok(self.server.sql("molt", sql)?)
    }

    pub(crate) fn state(&self) -> Result<State> {
        let newest = match self.dialect {
            Dialect::Postgres => shop::NEWEST,
            Dialect::MySql(_) => "timestampdiff(MICROSECOND, '1970-01-01', max(placed)) DIV 1000",
        };
        State::parse(&self.sql(&State::query(newest))?)
    }

    /// The queries that show every row of a table as one line, at the source and on the target.
    pub(crate) fn shown(&self, table: &str) -> [String; 2] {
        if self.dialect == Dialect::Postgres {
            let rows = format!("SELECT t::text FROM {table} AS t ORDER BY 1");
            return [rows.clone(), format!("SET TimeZone = 'UTC'; {rows}")];
        }
        let time = |column: &str| format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')");
        // MariaDB keeps a JSON text as it came, with its own blanks.
        let json = |column: &str| match self.dialect {
            Dialect::MySql(Flavour::MariaDb) => format!("JSON_LOOSE({column})"),
            _ => column.to_owned(),
        };
        let (source, target) = match table {
            "customers" => (
                format!("id, email, to_jsonb(tags), preferences, {}", time("since")),
                format!("id, email, {}, {}, since", json("tags"), json("preferences")),
            ),
            "products" => ("id, name, price, stock".into(), "id, name, price, stock".into()),
            "orders" => {
                (format!("id, customer, state, {}, total", time("placed")), "id, customer, state, placed, total".into())
            }
            _ => ("order_id, line, product, amount, price".into(), "order_id, line, product, amount, price".into()),
        };
        [source, target].map(|columns| format!("SELECT concat_ws('|', {columns}) FROM {table}"))
    }
}
