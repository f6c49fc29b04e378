//! Who is let in, how, and what the error says otherwise.

use std::net::TcpListener;

use ebb_sdk::{Error, ErrorKind, Session as _};
use ebb_servers::{Authentication, Certs, Impostor, Postgres, PostgresOptions, Protocol};

use crate::world::{World, Writer, connect, connect_with, refused};

#[track_caller]
fn check(error: &Error, kind: ErrorKind, message: &str, hint: &str) {
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.message.contains(message), "{error}");
    assert!(error.hint.as_ref().is_some_and(|found| found.contains(hint)), "{error:?}");
    assert!(!format!("{error:?}").contains("geheim"), "{error:?}");
}

#[tokio::test]
async fn wrong_settings_are_named() {
    let world = World::new("connect_wrong", "CREATE ROLE nobody LOGIN PASSWORD 'geheim'");
    let wrong = refused(&world.url_as("nobody", "geheim2"), true).await;
    check(&wrong, ErrorKind::Config, "password authentication failed for user \"nobody\"", "user and password");
    let missing = refused(&world.url().replace("connect_wrong", "nowhere"), true).await;
    check(&missing, ErrorKind::Config, "database \"nowhere\" does not exist", "see the database");
    let plain = refused(&world.url(), false).await;
    check(&plain, ErrorKind::Config, "sslmode=disable", "--allow-tls-mode-disable");
    let no_tls = refused(&world.url().replace("disable", "require"), true).await;
    check(&no_tls, ErrorKind::Config, "server does not support TLS", "sslmode");
    let unknown = refused(&format!("{}&nonsense=x", world.url()), true).await;
    check(&unknown, ErrorKind::Config, "the parameter nonsense", "known are sslmode");
    let standby = refused(&format!("{}&target_session_attrs=standby", world.url()), true).await;
    check(&standby, ErrorKind::Config, "ebb writes", "known are");
    let no_password = refused(&world.url_as("nobody", "geheim").replace(":geheim", ""), true).await;
    check(&no_password, ErrorKind::Config, "password missing", "user:password");
    world.sql("CREATE ROLE lost LOGIN PASSWORD 'geheim'; ALTER ROLE lost SET search_path = nowhere");
    let lost = refused(&world.url_as("lost", "geheim"), true).await;
    check(&lost, ErrorKind::Config, "no current schema", "search_path");
}

#[tokio::test]
async fn cockroachdb_is_no_target() {
    let world = World::new(
        "connect_crdb",
        "CREATE OR REPLACE FUNCTION pg_catalog.version() RETURNS text LANGUAGE sql AS $$ SELECT 'CockroachDB CCL v25.1.0' $$",
    );
    check(&refused(&world.url(), true).await, ErrorKind::Config, "is a CockroachDB", "--target must be the database");
}

/// What stands in front of the server's own functions would run with the rights of ebb's user.
#[tokio::test]
async fn functions_of_others_are_not_run() {
    let shadow = |name: &str, arguments: &str, of: &str| {
        format!(
            "CREATE FUNCTION evil.{name}({arguments}) RETURNS {of} LANGUAGE plpgsql AS $$ BEGIN \
             RAISE EXCEPTION 'evil.{name} was run'; END $$;"
        )
    };
    let functions = [
        ("version", "", "text"),
        ("current_setting", "text", "text"),
        ("current_schema", "", "name"),
        ("current_database", "", "name"),
        ("now", "", "timestamptz"),
        ("count", "bigint", "bigint"),
        ("format_type", "oid, integer", "text"),
    ];
    let functions: String = functions.map(|(name, arguments, of)| shadow(name, arguments, of)).concat();
    let world = World::new(
        "connect_evil",
        &format!(
            "CREATE SCHEMA evil; {functions} CREATE TABLE evil.t (id int PRIMARY KEY, v text); \
             ALTER DATABASE connect_evil SET search_path = evil, pg_catalog"
        ),
    );
    let mut writer = world.writer().await;
    writer.upsert("t", &["id", "v"], &[&["1", "\"a\""]]).await.unwrap();
    assert_eq!(world.sql("SELECT v FROM evil.t"), "a");
}

#[tokio::test]
async fn a_server_that_is_away_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgres://u:geheim@127.0.0.1:{port}/d?connect_timeout=1");
    // It accepts, and never says a word.
    check(&refused(&url, false).await, ErrorKind::Retry, "no answer within 1 s", "can be reached");
    drop(listener);
    check(&refused(&url, false).await, ErrorKind::Retry, "Connection refused", "can be reached");
}

#[tokio::test]
async fn the_session_is_set_up_whatever_the_database_says() {
    let world = World::new(
        "connect_settings",
        "ALTER DATABASE connect_settings SET TimeZone = 'Asia/Tokyo';
         ALTER DATABASE connect_settings SET default_transaction_isolation = 'serializable';
         ALTER DATABASE connect_settings SET standard_conforming_strings = off; CREATE SCHEMA \"a b\";
         CREATE TABLE t (id int PRIMARY KEY, seen text);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             NEW.seen = concat_ws(' ', current_setting('TimeZone'), current_setting('transaction_isolation'),
                 current_setting('standard_conforming_strings'), current_setting('statement_timeout'),
                 current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout'),
                 current_setting('application_name'), current_setting('search_path'));
             RETURN NEW; END $$;
         CREATE TRIGGER see BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION see()",
    );
    let parameters = "search_path=\"a%20b\",public&pool_max_conns=4&keepalives_count=2&options=-c%20geqo=off";
    let mut writer =
        Writer::new(connect_with(&format!("{}&{parameters}", world.url()), true, 5000).await.unwrap()).await;
    writer.upsert("t", &["id"], &[&["1"]]).await.unwrap();
    assert_eq!(world.sql("SELECT seen FROM t"), "UTC read committed on 5s 4s 1min ebb \"a b\",public");
    assert_eq!(world.sql("SELECT wall FROM \"a b\".ebb_progress"), "1");
    writer.session.close().await;
    world.wait_for_no_session();
    let named = connect(&format!("{}&application_name=billing", world.url())).await.unwrap();
    assert_eq!(world.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'billing'"), "1");
    named.close().await;
}

#[tokio::test]
async fn settings_of_a_role_change_no_meaning() {
    let world = World::new(
        "connect_pinned",
        "CREATE ROLE lax LOGIN SUPERUSER PASSWORD 'geheim'; CREATE ROLE tied LOGIN PASSWORD 'geheim';
         ALTER ROLE lax SET array_nulls = off; ALTER ROLE lax SET session_replication_role = replica;
         ALTER ROLE lax SET synchronous_commit = off; ALTER ROLE tied SET session_replication_role = replica;
         GRANT ALL ON SCHEMA public TO tied; CREATE TABLE t (id int PRIMARY KEY, a text[], up int REFERENCES t, seen text);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             NEW.seen = current_setting('synchronous_commit'); RETURN NEW; END $$;
         CREATE TRIGGER see BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION see()",
    );
    let mut writer = Writer::new(connect(&world.url_as("lax", "geheim")).await.unwrap()).await;
    writer.upsert("t", &["id", "a"], &[&["1", "[\"a\", null, \"NULL\"]"]]).await.unwrap();
    assert_eq!(world.sql("SELECT a, seen FROM t"), "{a,NULL,\"NULL\"}|on");
    let orphan = writer.upsert("t", &["id", "up"], &[&["2", "7"]]).await.unwrap_err();
    assert!(orphan.message.contains("violates foreign key"), "{orphan}");
    let tied = refused(&world.url_as("tied", "geheim"), true).await;
    check(&tied, ErrorKind::Config, "session_replication_role", "ALTER ROLE \"tied\" RESET session_replication_role");
    world.sql("ALTER ROLE tied RESET session_replication_role");
    connect(&world.url_as("tied", "geheim")).await.unwrap().close().await;
}

#[tokio::test]
async fn a_folder_as_host_is_its_socket() {
    let world = World::new("connect_socket", "");
    let (folder, port) = world.socket();
    let mut session = connect(&format!("pg://postgres@/connect_socket?host={folder}&port={port}")).await.unwrap();
    assert_eq!(session.describe().await.unwrap().namespace, ["connect_socket", "public"]);
}

#[tokio::test]
async fn tls_is_verified_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let certs = Certs::create(&dir.path().join("ours")).unwrap();
    let others = Certs::create(&dir.path().join("others")).unwrap();
    let server = Postgres::start(&PostgresOptions { certs: Some(&certs), ..PostgresOptions::default() }).unwrap();
    let verified = server.url("postgres");
    connect_with(&verified, false, 5000).await.unwrap().close().await;
    let base = verified.split('?').next().unwrap().to_owned();
    for mode in ["sslmode=require", "sslmode=prefer", "sslmode=allow", ""] {
        connect_with(&format!("{base}?{mode}"), false, 5000).await.unwrap_or_else(|error| panic!("{mode}: {error}"));
    }
    let foreign = format!("{base}?sslmode=verify-full&sslrootcert={}", others.ca().display());
    check(&refused(&foreign, false).await, ErrorKind::Config, "invalid peer certificate", "sslrootcert");
    let plain = refused(&format!("{base}?sslmode=disable"), true).await;
    check(&plain, ErrorKind::Config, "no encryption", "pg_hba.conf");
}

/// Whoever answers in the target's place says that it has no TLS.
#[tokio::test]
async fn a_stranger_without_tls_is_not_told_the_password() {
    for query in ["", "?sslmode=prefer", "?sslmode=allow", "?sslmode=require"] {
        let impostor = Impostor::start(Protocol::Postgres).unwrap();
        let url = format!("postgres://app:geheim@127.0.0.1:{}/d{query}", impostor.port());
        let error = refused(&url, false).await;
        let is_admitted = query != "?sslmode=require";
        let hint = if is_admitted { "--allow-tls-mode-disable" } else { "turn TLS on" };
        check(&error, ErrorKind::Config, "does not support TLS", hint);
        assert_eq!(String::from_utf8_lossy(&impostor.heard()), "", "{query}");
        // It would have got it: what is admitted is told.
        if is_admitted {
            refused(&url, true).await;
            assert!(String::from_utf8_lossy(&impostor.heard()).contains("geheim"), "{query}");
        }
    }
}

#[tokio::test]
async fn a_client_certificate_lets_in() {
    let dir = tempfile::tempdir().unwrap();
    let certs = Certs::create(dir.path()).unwrap();
    let options = PostgresOptions {
        certs: Some(&certs),
        authentication: Authentication::Certificate,
        ..PostgresOptions::default()
    };
    let server = Postgres::start(&options).unwrap();
    let url = |name: &str| {
        let pair = certs.client(name).unwrap();
        format!("{}&sslcert={}&sslkey={}", server.url("postgres"), pair.cert.display(), pair.key.display())
    };
    connect_with(&url("postgres"), false, 5000).await.unwrap().close().await;
    let other = refused(&url("other"), false).await;
    check(&other, ErrorKind::Config, "certificate authentication failed", "pg_hba.conf");
    let none = refused(&server.url("postgres"), false).await;
    assert_eq!(none.kind, ErrorKind::Config, "{none}");
}
