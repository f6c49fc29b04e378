//! The database that is written to: what differs between PostgreSQL, MySQL and MariaDB.
//!
//! Owns: starting it with settings for load, the table in its words, a checksum, watching the progress row. Does not own: the
//! raw loops (`baseline`, `baseline_mysql`).

use ebb_servers::{Flavour, MySql, MySqlOptions, Postgres};
use mysql_async::prelude::Queryable;
use tokio_postgres::NoTls;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    Postgres,
    Mysql,
    Mariadb,
}

pub enum Server {
    Postgres(Postgres),
    MySql(MySql),
}

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
                let options = ebb_servers::Options { fsync: true, settings: settings.into(), ..Default::default() };
                return Self::Postgres(Postgres::start(&options).expect("PostgreSQL"));
            }
            Target::Mysql => Flavour::MySql,
            Target::Mariadb => Flavour::MariaDb,
        };
        let log = if flavour == Flavour::MySql { "innodb-redo-log-capacity=4G" } else { "innodb-log-file-size=2G" };
        let settings = vec!["innodb-buffer-pool-size=1G".into(), log.into()];
        Self::MySql(MySql::start(flavour, &MySqlOptions { fsync: true, settings, certs: None }).expect("MySQL"))
    }

    pub fn create(&self, database: &str) {
        match self {
            Self::Postgres(_) => {
                self.sql("postgres", &format!("CREATE DATABASE {database}"));
                self.sql(database, POSTGRES_TABLE);
                self.sql("postgres", "CHECKPOINT");
            }
            Self::MySql(_) => {
                self.sql("mysql", &format!("CREATE DATABASE {database}"));
                self.sql(database, MYSQL_TABLE);
            }
        }
    }

    /// TCP without TLS, for ebb and the raw loop alike.
    pub fn url(&self, database: &str) -> String {
        match self {
            Self::Postgres(server) => {
                format!("{}?sslmode=disable", server.url(database).split('?').next().expect("a URL"))
            }
            Self::MySql(server) => server.url(database),
        }
    }

    /// The path that a changefeed sends to.
    pub fn path(&self, database: &str) -> String {
        match self {
            Self::Postgres(_) => format!("/{database}/public"),
            Self::MySql(_) => format!("/{database}"),
        }
    }

    pub fn sql(&self, database: &str, sql: &str) -> String {
        let answer = match self {
            Self::Postgres(server) => server.psql(database, sql),
            Self::MySql(server) => server.sql(database, sql),
        };
        answer.expect("the statement runs").trim().to_owned()
    }

    /// What the table holds, in one short text.
    pub fn checksum(&self, database: &str) -> String {
        let sql = match self {
            Self::Postgres(_) => {
                "SELECT count(*) || ' ' || coalesce(md5(string_agg(md5(t::text), '' ORDER BY id)), '') FROM t"
            }
            Self::MySql(_) => {
                "SELECT COUNT(*), BIT_XOR(CAST(CONV(LEFT(SHA2(CONCAT_WS('|', id, customer, city, status, amount, quantity, note, \
                 created, updated), 256), 16), 16, 10) AS UNSIGNED)) FROM t"
            }
        };
        self.sql(database, sql)
    }

    /// The PostgreSQL, for modes that know no other.
    pub fn postgres(&self) -> &Postgres {
        match self {
            Self::Postgres(server) => server,
            Self::MySql(_) => panic!("this mode measures PostgreSQL only"),
        }
    }

    pub async fn watch(&self, database: &str) -> Watch {
        match self {
            Self::Postgres(server) => {
                let opened = tokio_postgres::connect(&server.socket_conninfo(database), NoTls).await;
                let (client, connection) = opened.expect("PostgreSQL answers");
                tokio::spawn(connection);
                Watch::Postgres(client)
            }
            Self::MySql(server) => {
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
