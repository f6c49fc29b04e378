//! Published commands of MOLT Replicator, with nothing changed but the name of the program, and the ports and databases of
//! the test's servers: whoever has a runbook goes on using it.
//!
//! Owns: these texts. Does not own: what replication does then.

use std::fs;
use std::process::Command;

use ebb_servers::Signal;

use crate::harness::ebb::Ebb;
use crate::harness::pages::http_get;
use crate::harness::target::MYSQLS;
use crate::harness::world::{Dialect, World, free_port, wait_for};

pub(crate) const SEED_POSTGRES: &str = r#"molt fetch \
--source 'postgres://root@localhost:26257/defaultdb?sslmode=verify-full' \
--target 'postgres://postgres:postgres@localhost:5432/molt?sslmode=verify-full' \
--table-filter 'employees' \
--non-interactive \
--replicator-flags "--stagingSchema _replicator_1739996035106984000" \
--mode failback \
--changefeeds-path 'changefeed-secure.json'"#;

pub(crate) const SEED_MYSQL: &str = r#"molt fetch \
--source 'postgres://root@localhost:26257/defaultdb?sslmode=verify-full' \
--target 'mysql://user:password@localhost/molt?sslcert=.%2fsource_certs%2fclient.root.crt&sslkey=.%2fsource_certs%2fclient.root.key&sslmode=verify-full&sslrootcert=.%2fsource_certs%2fca.crt' \
--table-filter 'employees' \
--non-interactive \
--replicator-flags "--stagingSchema _replicator_1739996035106984000" \
--mode failback \
--changefeeds-path 'changefeed-secure.json'"#;

const WITH_CERTIFICATES: &str = r#"molt fetch \
--source $SOURCE \
--target $TARGET \
--schema-filter 'migration_schema' \
--table-filter 'employees|payments|orders' \
--replicator-flags '--stagingSchema _replicator_1739996035106984000 --tlsCertificate ./certs/server.crt --tlsPrivateKey ./certs/server.key' \
--mode failback \
--changefeeds-path 'changefeed-secure.json'"#;

const INSECURE: &str = r#"molt fetch \
--source $SOURCE \
--target $TARGET \
--table-filter 'employees' \
--non-interactive \
--mode failback \
--allow-tls-mode-disable --replicator-flags '--tlsSelfSigned --disableAuthentication'"#;

const OTHER_PORT: &str = r#"molt fetch \
--source $SOURCE \
--target $TARGET \
--table-handling none \
--non-interactive \
--changefeeds-path override.json \
--mode failback \
--allow-tls-mode-disable --replicator-flags "-v --tlsSelfSigned --disableAuthentication""#;

const START: &str = r"replicator start \
--targetConn $TARGET --stagingConn $STAGING --stagingSchema defaultdb._replicator \
--metricsAddr :30005 --bindAddr :30004 \
--tlsCertificate ./certs/server.crt --tlsPrivateKey ./certs/server.key -v";

const CREATE: &str = r#"CREATE CHANGEFEED FOR TABLE employees, payments, orders
INTO 'webhook-https://replicator-host:30004/migration_db/migration_schema?client_cert={base64_encoded_cert}&client_key={base64_encoded_key}&ca_cert={base64_encoded_ca}'
WITH updated, resolved = '250ms', min_checkpoint_frequency = '250ms', initial_scan = 'no', cursor = '{cursor}', webhook_sink_config = '{"Flush":{"Bytes":1048576,"Frequency":"1s"}}', webhook_client_timeout = '10s';"#;

const DOCUMENTED_DEFAULT: &str = r#"{
    "host": "localhost",
    "port": 30004,
    "sink_query_parameters": "insecure_tls_skip_verify=true",
    "resolved": "1s",
    "min_checkpoint_frequency": "1s",
    "initial_scan": "no",
    "webhook_sink_config": "{\"Flush\":{\"Bytes\":1048576}}"
}"#;

const EMPLOYEES: &str = "CREATE TABLE employees (id int PRIMARY KEY, name varchar(50))";

/// A folder as the runbooks expect it: certificates where libpq looks for them, and those that `ebb certs` makes.
fn folder(world: &World) {
    let dir = world.dir();
    let copy = |from: &std::path::Path, to: &str| {
        fs::create_dir_all(dir.join(to).parent().expect("a folder")).expect("a folder");
        fs::copy(from, dir.join(to)).expect("a file");
    };
    copy(&world.certs().ca(), ".postgresql/root.crt");
    let client = world.certs().client("user").expect("a certificate");
    copy(&world.certs().ca(), "source_certs/ca.crt");
    copy(&client.cert, "source_certs/client.root.crt");
    copy(&client.key, "source_certs/client.root.key");
    fs::remove_file(dir.join("changefeed-secure.json")).expect("the world's own file");
    let port = world.port().to_string();
    let made = world.bare(env!("CARGO_BIN_EXE_ebb")).args(["certs", "--port", &port]).output().expect("ebb starts");
    assert!(made.status.success(), "{made:?}");
}

/// The text as a shell runs it.
fn run(world: &World, text: &str) -> Ebb {
    let target = world.target_url();
    let address = |url: &str| url.split(['@', '?']).nth(1).expect("an address").to_owned();
    let text = text
        .replace("molt fetch", "exec $EBB fetch")
        .replace("replicator start", "exec $EBB start")
        .replace("localhost:26257/defaultdb", &address(&world.source_url()))
        .replace("localhost:5432/molt", &address(&target).replace("127.0.0.1", "localhost"))
        .replace("localhost/molt", &address(&target).replace("127.0.0.1", "localhost"))
        .replace(":30004", &format!(":{}", world.port()));
    let mut shell: Command = world.bare("sh");
    shell.env("EBB", env!("CARGO_BIN_EXE_ebb")).env("SOURCE", world.source_url()).env("TARGET", target);
    shell.env("STAGING", world.source_url()).args(["-c", &text]);
    Ebb::spawn(shell)
}

/// The three messages come, rows flow, and ctrl-c ends it with 0.
fn check(world: &World, text: &str, tables: &[&str]) -> String {
    let mut ebb = run(world, text);
    for message in ["starting replicator", "staging database name: ", "creating changefeed on the source CRDB database"]
    {
        ebb.wait_line(&format!("\"message\":\"{message}"));
    }
    ebb = ebb.ready();
    for table in tables {
        world.source(&format!(
            "INSERT INTO {table} VALUES (1, 'a'), (2, 'b'); UPDATE {table} SET name = 'c' WHERE id = 2"
        ));
        world.source(&format!("DELETE FROM {table} WHERE id = 1"));
    }
    world.wait_equal(&ebb, tables);
    ebb.signal(Signal::INT);
    assert_eq!(ebb.wait().code(), Some(0), "{}", ebb.log());
    ebb.log()
}

#[test]
fn the_secure_command_on_postgresql() {
    let world = World::new("runbook_seed", EMPLOYEES);
    folder(&world);
    let log = check(&world, SEED_POSTGRES, &["employees"]);
    assert!(log.contains("staging database name: _replicator_1739996035106984000"), "{log}");
    let description = world.source("SELECT description FROM [SHOW CHANGEFEED JOBS]");
    let address = format!("webhook-https://localhost:{}/{}/public?", world.port(), world.database());
    for part in [
        "CREATE CHANGEFEED FOR TABLE employees INTO",
        &address,
        "cursor = ",
        "initial_scan = 'no'",
        "min_checkpoint_frequency = '1s'",
        "resolved = '1s'",
        "updated",
        r#"webhook_sink_config = '{"Flush":{"Bytes":1048576,"Frequency":"1s"}}'"#,
    ] {
        assert!(description.contains(part), "{part} is not in {description}");
    }
    // A resumed run is the same command.
    let mut ebb = run(&world, SEED_POSTGRES);
    ebb.wait_line("using the running changefeed");
    world.source("INSERT INTO employees VALUES (3, 'd')");
    world.wait_equal(&ebb, &["employees"]);
    ebb.stop();
}

#[test]
fn the_secure_command_on_mysql_and_mariadb() {
    for dialect in MYSQLS {
        let world = World::with_target(dialect, "runbook_mysql", EMPLOYEES, EMPLOYEES);
        folder(&world);
        world.target("CREATE USER IF NOT EXISTS 'user'@'%' IDENTIFIED BY 'password' REQUIRE X509; GRANT ALL ON *.* TO 'user'@'%'");
        check(&world, SEED_MYSQL, &["employees"]);
    }
}

#[test]
fn the_command_with_certificates_and_a_schema() {
    let schema = "CREATE SCHEMA migration_schema; SET search_path = migration_schema;
        CREATE TABLE employees (id int PRIMARY KEY, name text); CREATE TABLE payments (id int PRIMARY KEY, name text);
        CREATE TABLE orders (id int PRIMARY KEY, name text); CREATE TABLE others (id int PRIMARY KEY)";
    let world = World::new("runbook_schema", schema);
    folder(&world);
    let tables = ["employees", "payments", "orders"].map(|name| format!("migration_schema.{name}"));
    check(&world, WITH_CERTIFICATES, &tables.each_ref().map(String::as_str));
}

#[test]
fn the_insecure_commands() {
    // The port that the defaults name is one of this machine, so that other tests must not have it.
    let world = World::new("runbook_insecure", EMPLOYEES);
    let with_port = INSECURE.replace("--allow-tls", "--changefeeds-path insecure.json --allow-tls");
    fs::write(world.dir().join("insecure.json"), format!(r#"{{"port": {}}}"#, world.port())).expect("a file");
    let log = check(&world, &with_port, &["employees"]);
    assert!(log.contains("authentication disabled, any caller may write to the target database"), "{log}");
    let world = World::new("runbook_port", EMPLOYEES);
    let settings = format!(
        r#"{{"host": "localhost", "port": {}, "sink_query_parameters": "insecure_tls_skip_verify=true"}}"#,
        world.port()
    );
    fs::write(world.dir().join("override.json"), settings).expect("a file");
    let log = check(&world, OTHER_PORT, &["employees"]);
    assert!(log.contains("--table-handling has no effect"), "{log}");
}

#[test]
fn the_documented_default_is_refused_with_its_fix() {
    let world = World::new("runbook_default", EMPLOYEES);
    fs::write(world.dir().join("override.json"), DOCUMENTED_DEFAULT).expect("a file");
    let mut ebb = run(&world, OTHER_PORT);
    assert_eq!(ebb.wait().code(), Some(2), "{}", ebb.log());
    assert!(ebb.log().contains(r#"write {"Flush":{"Bytes":1048576,"Frequency":"1s"}}"#), "{}", ebb.log());
}

#[test]
fn the_standalone_procedure() {
    let schema = "CREATE SCHEMA migration_schema; SET search_path = migration_schema;
        CREATE TABLE employees (id int PRIMARY KEY, name text); CREATE TABLE payments (id int PRIMARY KEY, name text);
        CREATE TABLE orders (id int PRIMARY KEY, name text)";
    let world = World::new("runbook_start", schema);
    folder(&world);
    let pages = free_port();
    let mut ebb = run(&world, &START.replace(":30005", &format!(":{pages}")));
    ebb.wait_line("receiver listening");
    let cursor = world.source("SELECT cluster_logical_timestamp();");
    let settings = fs::read_to_string(world.dir().join("changefeed-secure.json")).expect("the settings");
    let settings: serde_json::Value = serde_json::from_str(&settings).expect("JSON");
    let values: Vec<_> = settings["sink_query_parameters"].as_str().expect("a text").split('&').collect();
    let value =
        |name: &str| values.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).expect("it is there");
    let create = CREATE
        .replace("replicator-host:30004/migration_db", &format!("localhost:{}/{}", world.port(), world.database()))
        .replace("{base64_encoded_cert}", value("client_cert"))
        .replace("{base64_encoded_key}", value("client_key"))
        .replace("{base64_encoded_ca}", value("ca_cert"))
        .replace("{cursor}", &cursor);
    let job = world.source(&format!("SET search_path = migration_schema; {create}"));
    let job = job.lines().last().expect("a job").to_owned();
    let tables = ["employees", "payments", "orders"].map(|name| format!("migration_schema.{name}"));
    for table in &tables {
        world.source(&format!("INSERT INTO {table} VALUES (1, 'a'), (2, 'b'); DELETE FROM {table} WHERE id = 1"));
    }
    world.wait_equal(&ebb, &tables.each_ref().map(String::as_str));
    let show = format!("SELECT status || ' ' || running_status FROM [SHOW CHANGEFEED JOB {job}]");
    wait_for("the job to run", || ebb.log(), || world.source(&show).starts_with("running running: resolved=1"));
    assert!(http_get(&format!("127.0.0.1:{pages}"), "/_/varz").contains("ebb_rows_applied_total"));
    ebb.signal(Signal::INT);
    assert_eq!(ebb.wait().code(), Some(0), "{}", ebb.log());
    assert!(ebb.log().contains("--stagingConn has no effect"), "{}", ebb.log());
}

#[test]
fn a_wrong_dialect_of_flags_is_told_apart() {
    let world = World::new("runbook_roles", EMPLOYEES);
    for (text, expected) in [
        (WITH_CERTIFICATES.replace("--mode failback", "--mode data-load"), "ebb does --mode failback"),
        (WITH_CERTIFICATES.replace("--changefeeds-path 'changefeed-secure.json'", ""), "--allow-tls-mode-disable"),
        (INSECURE.replace("--mode failback", ""), "add --mode failback"),
    ] {
        let mut ebb = run(&world, &text);
        assert_eq!(ebb.wait().code(), Some(2), "{}", ebb.log());
        assert!(ebb.log().contains(expected), "{expected} is not in {}", ebb.log());
    }
    let mysql =
        World::with_target(Dialect::MySql(ebb_servers::Flavour::MariaDb), "runbook_plain", EMPLOYEES, EMPLOYEES);
    let plain = mysql.target_url().split('?').next().expect("a URL").to_owned();
    let line = mysql.fetch(&["--target", &plain]).failure();
    assert!(line.contains("--allow-tls-mode-disable"), "{line}");
}
