//! Puts the stand-in's own objects into a database of the backend.
//!
//! Owns: connections of the stand-in itself. Does not own: connections of clients (`backend`).

use tokio_postgres::{Client, Config, Error, NoTls};

use crate::faults::Fault;
use crate::lex::{identifier, literal};
use crate::version::Version;

/// In the order in which they need each other.
const SCRIPTS: [&str; 11] = [
    include_str!("schema/clock.sql"),
    include_str!("schema/types.sql"),
    include_str!("schema/keys.sql"),
    include_str!("schema/capture.sql"),
    include_str!("schema/past.sql"),
    include_str!("schema/jobs.sql"),
    include_str!("schema/alter.sql"),
    include_str!("schema/zone.sql"),
    include_str!("schema/faults.sql"),
    include_str!("schema/show.sql"),
    include_str!("schema/retention.sql"),
];

pub(crate) async fn connect(backend: &Config, database: &str) -> Result<Client, Error> {
    let mut config = backend.clone();
    config.dbname(database).application_name("crdb stand-in");
    let (client, connection) = config.connect(NoTls).await?;
    // Ends when the client is dropped; its errors come out of the client's calls too.
    tokio::spawn(connection);
    Ok(client)
}

/// Privileges on the cluster, each kept as a role of this name behind `crdb_internal.`.
pub(crate) const SYSTEM_PRIVILEGES: [&str; 3] = ["VIEWCLUSTERSETTING", "MODIFYCLUSTERSETTING", "REPLICATION"];

/// The role that CockroachDB always has, those for privileges, and the database that it starts with.
pub(crate) async fn prepare_cluster(client: &Client) -> Result<(), Error> {
    create_role(client, "root", "SUPERUSER LOGIN").await?;
    for privilege in SYSTEM_PRIVILEGES {
        create_role(client, &format!("crdb_internal.{privilege}"), "NOLOGIN").await?;
    }
    if client.query_opt("SELECT FROM pg_database WHERE datname = 'defaultdb'", &[]).await?.is_none() {
        client.batch_execute("CREATE DATABASE defaultdb").await?;
    }
    Ok(())
}

async fn create_role(client: &Client, name: &str, attributes: &str) -> Result<(), Error> {
    if client.query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[&name]).await?.is_none() {
        client.batch_execute(&format!("CREATE ROLE {} {attributes}", identifier(name))).await?;
    }
    Ok(())
}

/// Databases that hold the stand-in's objects already, and so perhaps jobs to resume.
pub(crate) async fn is_installed(client: &Client) -> Result<bool, Error> {
    let sql = "SELECT to_regclass('crdb_internal.job') IS NOT NULL";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

/// All or nothing, and again at every start: the functions are those of this program.
pub(crate) async fn install(client: &mut Client, version: &Version) -> Result<(), Error> {
    let transaction = client.transaction().await?;
    transaction
        .batch_execute("SELECT pg_advisory_xact_lock(1668441187); SET LOCAL client_min_messages = warning")
        .await?;
    for script in SCRIPTS {
        transaction.batch_execute(script).await?;
    }
    transaction.batch_execute(&constants(version)).await?;
    transaction.commit().await
}

fn constants(version: &Version) -> String {
    let kinds: Vec<String> = Fault::ALL.iter().map(|fault| literal(fault.name())).collect();
    let function = |name: &str, kind: &str, value: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION crdb_internal.{name}() RETURNS {kind} LANGUAGE sql IMMUTABLE AS $c$ SELECT {value} $c$;\n"
        )
    };
    function("version", "text", &literal(&version.banner()))
        + &function("status_word", "text", &literal(version.status_word()))
        + &function("is_throttled_without_license", "bool", if version.is_at_least(24, 3) { "true" } else { "false" })
        + &function("guards_internals", "bool", if version.is_at_least(26, 1) { "true" } else { "false" })
        + &function("fault_kinds", "text[]", &format!("ARRAY[{}, 'none']", kinds.join(", ")))
}
