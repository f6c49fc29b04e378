//! Certificates of the receiver and of its changefeed: renewed while ebb runs, and looked at before anything is created.

use std::fs;

use ebb_servers::Signal;

use crate::harness::world::World;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";

#[test]
fn certificates_are_renewed_without_a_restart() {
    let world = World::new("access_renew", TABLE);
    world.run(&["certs", "--changefeeds-path", "secure.json"]);
    let settings = fs::read_to_string(world.dir().join("secure.json")).expect("the settings");
    let settings: serde_json::Value = serde_json::from_str(&settings).expect("JSON");
    world.write_changefeed_settings(
        &serde_json::json!({ "sink_query_parameters": settings["sink_query_parameters"] }).to_string(),
    );
    let flags = "--stagingSchema _replicator_1 -v --tlsCertificate certs/server.crt --tlsPrivateKey certs/server.key";
    let mut ebb = world.fetch(&["--replicator-flags", flags]).ready();
    let old = shown(&world);
    world.run(&["certs", "--renew", "--changefeeds-path", "secure.json"]);
    assert_eq!(shown(&world), old, "nothing changes by itself within a second");
    ebb.signal(Signal::HUP);
    ebb.wait_line("read certificates and keys again");
    let new = fs::read_to_string(world.dir().join("certs/server.crt")).expect("a certificate");
    let new = new.lines().skip(1).collect::<Vec<_>>().join("\n");
    assert_ne!(shown(&world), old);
    assert!(shown(&world).contains(new.trim()), "the new certificate is shown");
    // The changefeed goes on with what it has: its certificate is of the same authority.
    world.source("INSERT INTO t VALUES (1, 1)");
    world.wait_equal(&ebb, &["t"]);
    fs::write(world.dir().join("certs/server.crt"), "nonsense").expect("a file");
    ebb.signal(Signal::HUP);
    ebb.wait_line("certificates cannot be read again");
    assert!(shown(&world).contains(new.trim()));
    ebb.stop();
}

/// What would fail in every handshake is told before the changefeed is created.
#[test]
fn certificates_are_looked_at_as_the_other_side_will() {
    let world = World::new("access_looked_at", TABLE);
    let openssl = |args: &[&str]| {
        let made = std::process::Command::new("openssl").current_dir(world.dir()).args(args).output();
        let made = made.expect("openssl is installed");
        assert!(made.status.success(), "{made:?}");
    };
    let sink = |file: &str| {
        let settings = fs::read_to_string(world.dir().join(file)).expect("the settings");
        let settings: serde_json::Value = serde_json::from_str(&settings).expect("JSON");
        settings["sink_query_parameters"].as_str().expect("a text").to_owned()
    };
    // Signs the request of a key once more, with other days.
    let sign = |days: &str, name: &str| {
        let (key, crt) = (format!("certs/{name}.key"), format!("certs/{name}.crt"));
        openssl(&["req", "-new", "-key", &key, "-subj", "/CN=localhost", "-out", "a.csr"]);
        fs::write(world.dir().join("a.ext"), "subjectAltName=DNS:localhost").expect("a file");
        openssl(&[
            "x509",
            "-req",
            "-in",
            "a.csr",
            "-CA",
            "certs/ca.crt",
            "-CAkey",
            "certs/ca.key",
            "-days",
            days,
            "-extfile",
            "a.ext",
            "-out",
            &crt,
        ]);
    };
    let flags = "--stagingSchema s --tlsCertificate certs/server.crt --tlsPrivateKey certs/server.key";
    // A proxy may make it right, which only those know who have put it there.
    let start_with = |settings: &str, flags: &str, code: &str, text: &str| {
        world.write_changefeed_settings(settings);
        let mut ebb = world.fetch(&["--replicator-flags", flags]);
        let line = ebb.wait_line(text);
        assert!(line.contains(code) && line.contains("\"level\":\"warn\""), "{code} is not in {line}");
        ebb.stop();
    };
    let start = |settings: &str, code: &str, text: &str| start_with(settings, flags, code, text);
    let with = |sink: &str| serde_json::json!({ "sink_query_parameters": sink }).to_string();
    world.run(&["certs", "--changefeeds-path", "a.json", "--host", "ebb.example.com"]);
    start(&with(&sink("a.json")), "EBB-A030", "certs/server.crt is not valid for localhost");
    world.run(&["certs", "--renew", "--changefeeds-path", "a.json", "--host", "localhost"]);
    world.run(&["certs", "--changefeeds-path", "b.json", "--out", "other"]);
    let authority = |sink: &str| sink.split('&').find(|pair| pair.starts_with("ca_cert=")).expect("ca_cert").to_owned();
    let (own, other) = (sink("a.json"), sink("b.json"));
    let with_ca = format!("{flags} --tlsClientCA certs/ca.crt");
    let foreign = with(&own.replace(&authority(&own), &authority(&other)));
    start_with(&foreign, &with_ca, "EBB-A031", "was not issued by the ca_cert");
    let mixed = other.replace(&authority(&other), &authority(&own));
    start(&with(&mixed), "EBB-A032", "would refuse the client_cert");
    sign("3", "server");
    start(&with(&own), "EBB-A029", "expires in 7");
    sign("0", "server");
    start(&with(&own), "EBB-A028", "a changefeed that verifies it sends nothing");
}

/// The certificates that the receiver shows.
fn shown(world: &World) -> String {
    let url = format!("https://localhost:{}/_/healthz", world.port());
    let client = |name: &str| world.dir().join("certs").join(name);
    let output = std::process::Command::new("curl")
        .args(["--silent", "--insecure", "--max-time", "20", "--output", "/dev/null", "--write-out", "%{certs}", &url])
        .arg("--cert")
        .arg(client("client.crt"))
        .arg("--key")
        .arg(client("client.key"))
        .output()
        .expect("curl is installed");
    String::from_utf8(output.stdout).expect("text")
}
