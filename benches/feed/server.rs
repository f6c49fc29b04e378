//! The database that is written to: what differs between PostgreSQL, MySQL and MariaDB.
//!
//! Owns: starting it with settings for load, the table in its words, a checksum, watching the progress row. Does not own: the
//! raw loops (`baseline`, `baseline_mysql`).

use ebb_servers::{Flavour, MySql, MySqlOptions, Postgres, Protocol};
use mysql_async::prelude::Queryable;
use tokio_postgres::NoTls;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    Postgres,
    Mysql,
    Mariadb,
}

pub struct Server(ebb_servers::Server);

const POSTGRES_TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, customer text NOT NULL, city text, status text, \
                              amount numeric(12,2), quantity int, note text, created timestamptz, updated timestamptz)";
const MYSQL_TABLE: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, customer VARCHAR(100) NOT NULL, city VARCHAR(100), \
                           status VARCHAR(20), amount DECIMAL(12,2), quantity INT, note VARCHAR(200), \
                           created DATETIME(6), updated DATETIME(6))";

impl Server {
    /// Every commit is on the disk before it is answered.
    pub fn start(target: Target) -> Self {
        let flavour = match target {
            Target::Postgres => {
                let settings = [("shared_buffers", "1GB"), ("max_wal_size", "8GB")]
                    .map(|(name, value)| (name.into(), value.into()));
                let options =
                    ebb_servers::PostgresOptions { fsync: true, settings: settings.into(), ..Default::default() };
                return Self(ebb_servers::Server::Postgres(Postgres::start(&options).expect("PostgreSQL")));
            }
            Target::Mysql => Flavour::MySql,
            Target::Mariadb => Flavour::MariaDb,
        };
        let log = if flavour == Flavour::MySql { "innodb-redo-log-capacity=4G" } else { "innodb-log-file-size=2G" };
        let settings = vec!["innodb-buffer-pool-size=1G".into(), log.into()];
        let server = MySql::start(flavour, &MySqlOptions { fsync: true, settings, certs: None }).expect("MySQL");
        Self(ebb_servers::Server::MySql(server))
    }

    pub fn create(&self, database: &str) {
        self.0.create_database(database).expect("a database");
        match self.protocol() {
            Protocol::Postgres => {
                self.sql(database, POSTGRES_TABLE);
                self.sql("postgres", "CHECKPOINT");
            }
            Protocol::MySql => drop(self.sql(database, MYSQL_TABLE)),
        }
    }

    pub fn protocol(&self) -> Protocol {
        self.0.protocol()
    }

    /// TCP without TLS, for ebb and the raw loop alike.
    pub fn url(&self, database: &str) -> String {
        self.0.plain_url(self.0.port(), database)
    }

    /// The path that a changefeed sends to.
    pub fn path(&self, database: &str) -> String {
        match self.protocol() {
            Protocol::Postgres => format!("/{database}/public"),
            Protocol::MySql => format!("/{database}"),
        }
    }

    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.0.sql(database, sql).expect("the statement runs").trim().to_owned()
    }

    /// What the table holds, in one short text.
    pub fn checksum(&self, database: &str) -> String {
        let sql = match self.protocol() {
            Protocol::Postgres => {
                "SELECT count(*) || ' ' || coalesce(md5(string_agg(md5(t::text), '' ORDER BY id)), '') FROM t"
            }
            Protocol::MySql => {
                "SELECT COUNT(*), BIT_XOR(CAST(CONV(LEFT(SHA2(CONCAT_WS('|', id, customer, city, status, amount, quantity, note, \
                 created, updated), 256), 16), 16, 10) AS UNSIGNED)) FROM t"
            }
        };
        self.sql(database, sql)
    }

    /// The PostgreSQL, for modes that know no other.
    pub fn postgres(&self) -> &Postgres {
        match &self.0 {
            ebb_servers::Server::Postgres(server) => server,
            ebb_servers::Server::MySql(_) => panic!("this mode measures PostgreSQL only"),
        }
    }

    pub async fn watch(&self, database: &str) -> Watch {
        match &self.0 {
            ebb_servers::Server::Postgres(server) => {
                let opened = tokio_postgres::connect(&server.socket_conninfo(database), NoTls).await;
                let (client, connection) = opened.expect("PostgreSQL answers");
                tokio::spawn(connection);
                Watch::Postgres(client)
            }
            ebb_servers::Server::MySql(server) => {
                let opts = mysql_async::Opts::from_url(&server.url(database)).expect("a URL");
                Watch::MySql(Box::new(tokio::sync::Mutex::new(
                    mysql_async::Conn::new(opts).await.expect("MySQL answers"),
                )))
            }
        }
    }
}

/// A connection that looks at the progress row.
pub enum Watch {
    Postgres(tokio_postgres::Client),
    MySql(Box<tokio::sync::Mutex<mysql_async::Conn>>),
}

impl Watch {
    pub async fn applied(&self) -> i64 {
        const SQL: &str = "SELECT wall FROM ebb_progress";
        match self {
            Self::Postgres(client) => client.query_one(SQL, &[]).await.expect("the progress row").get(0),
            Self::MySql(conn) => {
                conn.lock().await.query_first(SQL).await.expect("the progress row").unwrap_or_default()
            }
        }
    }
}
