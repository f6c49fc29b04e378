//! Who is let in, how, and what the error says otherwise.

use std::net::TcpListener;

use ebb_sdk::{Error, ErrorKind, Session as _};
use ebb_servers::{Certs, Flavour, Impostor, MySql, MySqlOptions, Protocol};

use crate::world::{World, Writer, connect, connect_with, refused};

#[track_caller]
fn check(error: &Error, kind: ErrorKind, message: &str, hint: &str) {
    assert_eq!(error.kind, kind, "{error:?}");
    assert!(error.message.contains(message), "{error:?}");
    assert!(error.hint.as_ref().is_some_and(|found| found.contains(hint)), "{error:?}");
    assert!(!format!("{error:?}").contains("geheim"), "{error:?}");
}

#[tokio::test]
async fn wrong_settings_are_named() {
    for world in World::both("connect_wrong", "CREATE USER nobody@'%' IDENTIFIED BY 'geheim'") {
        let wrong = refused(&world.url_as("nobody", "geheim2"), true).await;
        check(&wrong, ErrorKind::Config, "Access denied for user 'nobody'", "");
        let missing = refused(&world.url().replace("connect_wrong", "nowhere"), true).await;
        check(&missing, ErrorKind::Config, "nknown database 'nowhere'", "see the database");
        check(&refused(&world.url(), false).await, ErrorKind::Config, "no sslmode", "--allow-tls-mode-disable");
        let unknown = refused(&format!("{}?sslcrl=x", world.url()), true).await;
        check(&unknown, ErrorKind::Config, "the parameter sslcrl", "known are sslmode");
        let mode = refused(&format!("{}?sslmode=perhaps", world.url()), true).await;
        assert_eq!(mode.kind, ErrorKind::Config, "{mode:?}");
        let nameless = refused(world.url().trim_end_matches("connect_wrong"), true).await;
        check(&nameless, ErrorKind::Config, "names no database", "mysql://");
    }
}

/// Every character that has a meaning in a URL, and some that have none anywhere.
#[tokio::test]
async fn passwords_of_any_characters_and_both_forms_of_the_url() {
    for world in World::both("connect_password", "") {
        for (number, (password, encoded)) in [
            ("a$52&", "a%2452%26"),
            ("p@ss:w/o?r#d%", "p%40ss%3Aw%2Fo%3Fr%23d%25"),
            ("'\"\\ü€🐘 ", "%27%22%5C%C3%BC%E2%82%AC%F0%9F%90%98%20"),
        ]
        .into_iter()
        .enumerate()
        {
            let literal = password.replace('\\', "\\\\").replace('\'', "''");
            world.sql(&format!(
                "CREATE USER u{number}@'%' IDENTIFIED BY '{literal}'; GRANT ALL ON connect_password.* TO u{number}@'%'"
            ));
            let url = world.url_as(&format!("u{number}"), encoded);
            connect(&url).await.unwrap_or_else(|error| panic!("{password}: {error:?}")).close().await;
            let older =
                url.replace("@127.0.0.1:", "@tcp(127.0.0.1:").replace("/connect_password", ")/connect_password");
            connect(&older).await.unwrap_or_else(|error| panic!("{older}: {error:?}")).close().await;
        }
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("mysql://u:geheim@127.0.0.1:{port}/d?connect_timeout=1");
    // It accepts, and never says a word.
    check(&refused(&url, true).await, ErrorKind::Retry, "no answer within 1 s", "can be reached");
    drop(listener);
    check(&refused(&url, true).await, ErrorKind::Retry, "refused", "can be reached");
}

#[tokio::test]
async fn the_session_is_set_up_whatever_the_server_says() {
    // The servers of these tests have another time zone, no mode and latin1.
    let schema = "CREATE TABLE t (id INT PRIMARY KEY, seen VARCHAR(500));
         CREATE TRIGGER see BEFORE INSERT ON t FOR EACH ROW SET NEW.seen = CONCAT_WS(' ', @@time_zone, @@character_set_client,
             @@innodb_lock_wait_timeout, @@foreign_key_checks + 0, @@net_read_timeout, @@completion_type, @@sql_big_selects + 0,
             @@sql_select_limit > 1000, @@sql_mode LIKE '%STRICT_ALL_TABLES%')";
    for world in World::both("connect_settings", schema) {
        let mut writer = Writer::new(connect_with(&world.url(), true, 5000).await.unwrap()).await;
        writer.upsert("t", &["id"], &[&["1"]]).await.unwrap();
        // A trigger has the mode that it was made in.
        assert_eq!(world.sql("SELECT seen FROM t"), "+00:00 utf8mb4 4 1 60 NO_CHAIN 1 1 0");
        writer.session.close().await;
    }
}

#[tokio::test]
async fn tls_is_verified_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let certs = Certs::create(&dir.path().join("ours")).unwrap();
    let others = Certs::create(&dir.path().join("others")).unwrap();
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = MySql::start(flavour, &MySqlOptions { certs: Some(&certs), ..MySqlOptions::default() }).unwrap();
        let verified = server.url("mysql");
        connect_with(&verified, false, 5000).await.unwrap().close().await;
        let base = verified.split('?').next().unwrap().to_owned();
        for mode in ["require", "prefer", "allow"] {
            let url = format!("{base}?sslmode={mode}");
            connect_with(&url, false, 5000)
                .await
                .unwrap_or_else(|error| panic!("{flavour:?} {mode}: {error:?}"))
                .close()
                .await;
        }
        for (mode, certs, expected) in [
            ("verify-full", &others, "certificate"),
            ("verify-ca", &others, "certificate"),
            ("require", &others, "certificate"),
        ] {
            let url = format!("{base}?sslmode={mode}&sslrootcert={}", certs.ca().display());
            check(&refused(&url, false).await, ErrorKind::Config, expected, "sslrootcert");
        }
        let plain = refused(&base, true).await;
        let said = if flavour == Flavour::MariaDb { "Access denied" } else { "insecure transport" };
        check(&plain, ErrorKind::Config, said, "sslmode");
    }
}

/// Whoever answers in the target's place says that it has no TLS.
#[tokio::test]
async fn a_stranger_without_tls_is_not_told_the_password() {
    for query in ["", "?sslmode=prefer", "?sslmode=allow", "?sslmode=require"] {
        let impostor = Impostor::start(Protocol::MySql).unwrap();
        let url = format!("mysql://app:geheim@127.0.0.1:{}/d{query}", impostor.port());
        let error = refused(&url, false).await;
        let is_admitted = query != "?sslmode=require";
        let (said, hint) = match query {
            "" => ("no sslmode", "--allow-tls-mode-disable"),
            "?sslmode=require" => ("does not support TLS", "turn TLS on"),
            _ => ("does not support TLS", "--allow-tls-mode-disable"),
        };
        check(&error, ErrorKind::Config, said, hint);
        assert_eq!(String::from_utf8_lossy(&impostor.heard()), "", "{query}");
        // It would have got it: what is admitted is told.
        if is_admitted {
            refused(&url, true).await;
            assert!(String::from_utf8_lossy(&impostor.heard()).contains("mysql_native_password"), "{query}");
        }
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_passes_where_names_are_not_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let certs = Certs::create(dir.path()).unwrap();
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let options = MySqlOptions {
            certs: Some(&certs),
            settings: vec!["bind-address=127.0.0.2".into()],
            ..MySqlOptions::default()
        };
        let server = MySql::start(flavour, &options).unwrap();
        let base = server.url("mysql").replace("127.0.0.1", "127.0.0.2");
        check(&refused(&base, false).await, ErrorKind::Config, "certificate", "sslmode");
        for mode in ["verify-ca", "require"] {
            let url = base.replace("verify-full", mode);
            connect_with(&url, false, 5000)
                .await
                .unwrap_or_else(|error| panic!("{flavour:?} {mode}: {error:?}"))
                .close()
                .await;
        }
    }
}

/// The URL of the published runbook: paths percent-encoded, a certificate of the client demanded.
#[tokio::test]
async fn a_client_certificate_lets_in() {
    let dir = tempfile::tempdir().unwrap();
    let certs = Certs::create(dir.path()).unwrap();
    let pair = certs.client("root").unwrap();
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = MySql::start(flavour, &MySqlOptions { certs: Some(&certs), ..MySqlOptions::default() }).unwrap();
        server.sql("mysql", "CREATE DATABASE molt; CREATE USER app@'%' IDENTIFIED BY 'pw' REQUIRE X509; GRANT ALL ON molt.* TO app@'%'").unwrap();
        let path = |path: &std::path::Path| path.display().to_string().replace('/', "%2f");
        let url = format!(
            "mysql://app:pw@localhost:{}/molt?sslcert={}&sslkey={}&sslmode=verify-full&sslrootcert={}",
            server.port(),
            path(&pair.cert),
            path(&pair.key),
            path(&certs.ca())
        );
        connect_with(&url, false, 5000).await.unwrap_or_else(|error| panic!("{flavour:?}: {error:?}")).close().await;
        let without = refused(
            &url.replace("sslcert=", "sslmode=verify-full&sslrootcert=").replace("&sslkey=", "&sslrootcert="),
            false,
        )
        .await;
        assert_eq!(without.kind, ErrorKind::Config, "{without:?}");
        let unreadable = refused(&url.replace("client.root.key", "nothing"), false).await;
        check(&unreadable, ErrorKind::Config, "sslkey", "PEM file");
    }
}
