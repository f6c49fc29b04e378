//! Both flavours start, keep what they hold over a crash, speak TLS, and go away.

use ebb_servers::{Certs, Flavour, MySql, MySqlOptions};

#[test]
fn both_flavours_start_crash_and_come_back() {
    for (flavour, expected) in [(Flavour::MariaDb, "MariaDB"), (Flavour::MySql, "")] {
        let mut server = MySql::start(flavour, &MySqlOptions { fsync: true, ..Default::default() }).unwrap();
        assert!(server.sql("mysql", "SELECT version()").unwrap().contains(expected));
        server.sql("mysql", "CREATE DATABASE d; CREATE TABLE d.t (a INT); INSERT INTO d.t VALUES (1), (NULL)").unwrap();
        server.kill9().unwrap();
        assert!(server.sql("d", "SELECT 1").is_err());
        server.restart().unwrap();
        assert_eq!(server.sql("d", "SELECT a, a FROM t").unwrap(), "1|1\nNULL|NULL\n");
        let dir = server.dir().to_owned();
        drop(server);
        assert!(!dir.exists());
    }
}

#[test]
fn tls_is_demanded_where_there_are_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let certs = Certs::create(&folder.path().join("certs")).unwrap();
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = MySql::start(flavour, &MySqlOptions { certs: Some(&certs), ..Default::default() }).unwrap();
        assert!(server.url("d").contains("sslmode=verify-full"));
        assert_eq!(server.sql("mysql", "SELECT @@require_secure_transport").unwrap(), "1\n");
    }
}
