//! Certificates, keys and tokens that cannot be used, or not for long.
//!
//! Owns: what commands and a start say of them. Does not own: what clients meet in a handshake (`receiver`).

use std::fs;

use ebb_servers::Signal;

use super::{TABLE, TARGET, Told, command, logged, told};
use crate::harness::ebb::Ebb;
use crate::harness::world::World;

const LIST: &str = "certs/revoked.crl cannot be extended: ebb certs did not write it so";
const LIST_BACK: &str = "put back the file that ebb certs has made";

/// Commands in a folder that has no certificates, and what they say.
const WITHOUT_FILES: &[(&str, Told<'static>)] = &[
    (
        "make-jwt -a x",
        ("A023", "there is no key to sign the token with", "--key FILE, or make one with --new-key FILE"),
    ),
    ("make-jwt -a x -k no.key", ("A023", "--key no.key cannot be used", "give a PEM file with an EC (P-256, P-384)")),
    ("certs --renew", ("A025", "certs/ca.crt cannot be read", "--renew needs the authority that ebb certs has made")),
    ("certs --revoke a.crt", ("A025", "certs/ca.crt cannot be read", "give its folder with --out")),
];

#[test]
fn commands_name_the_file_that_they_cannot_use() {
    let world = World::new("errors_certs", TABLE);
    let check = |words: &str, expected| told(&mut command(&world, words), expected);
    for (words, expected) in WITHOUT_FILES {
        check(words, *expected);
    }
    check(
        &format!("start --targetConn {TARGET} --disableAuthentication"),
        ("A020", "the receiver has no certificate", "make one with `ebb certs`"),
    );
    world.run(&["certs", "--changefeeds-path", "a.json"]);
    world.run(&["certs", "--changefeeds-path", "b.json", "--out", "other"]);
    let path = |name: &str| world.dir().join(name);
    // Both authorities have the same name.
    fs::write(path("text"), "no certificate").expect("a file");
    for (name, why) in [
        ("other/client.crt", "is not a certificate of this authority"),
        ("text", "holds no certificate"),
        ("no.crt", "No such"),
    ] {
        check(&format!("certs --revoke {name}"), ("A027", why, "the folder of its authority with --out"));
    }
    // Without its lines, a list would lose what is on it.
    world.run(&["certs", "--revoke", "certs/client.crt"]);
    let list = fs::read_to_string(path("certs/revoked.crl")).expect("the list");
    let without =
        list.lines().filter(|line| !line.starts_with("revoked: ")).fold(String::new(), |all, line| all + line + "\n");
    for wrong in ["", "no list", &without, &list.replace("revoked: ", "revoked: x")] {
        fs::write(path("certs/revoked.crl"), wrong).expect("a file");
        check("certs --revoke certs/server.crt", ("A027", LIST, LIST_BACK));
    }
    fs::write(path("certs/revoked.crl"), list).expect("a file");
    assert!(world.run(&["certs", "--revoke", "certs/server.crt"]).contains("has 2 certificates"));
    let named = fs::read_to_string(path("certs/server.crt")).expect("a certificate");
    let (_, bare) = named.split_once('\n').expect("a line of hosts");
    fs::write(path("certs/server.crt"), bare).expect("a file");
    check(
        "certs --renew --changefeeds-path a.json",
        ("A026", "certs/server.crt does not say which hosts", "ebb certs --renew --host NAME"),
    );
    fs::copy(path("other/ca.key"), path("certs/ca.key")).expect("a copy");
    check("certs --renew --changefeeds-path a.json", ("A025", "do not belong together", "ca.crt and ca.key"));
}

#[test]
fn tokens_are_looked_at_before_the_first_request() {
    let world = World::new("errors_tokens", TABLE);
    let own = format!("{}.public", world.database());
    let token = world.run(&["make-jwt", "--new-key", "a.key", "--allow", &own, "--days", "1"]);
    let settings = serde_json::json!({
        "sink_query_parameters": "insecure_tls_skip_verify=true",
        "webhook_auth_header": format!("Bearer {}", token.trim()),
    });
    world.write_changefeed_settings(&settings.to_string());
    let fetch = |more: &str| {
        let flags = format!("--stagingSchema s --jwt-public-keys a.key.pub {more}");
        world.fetch(&["--replicator-flags", &flags])
    };
    let line = fetch("--jwt-revoked-ids nowhere").failure();
    logged(&line, ("A011", "--jwt-revoked-ids nowhere cannot be read", "give a file with one id (jti) a line"));
    let mut ebb = fetch("").ready();
    let line = ebb.wait_line("the changefeed's token expires in");
    // 24 of them where no second has passed.
    logged(&line, ("A013", "expires in 2", "make another with ebb make-jwt --days"));
    ebb.stop();
}

/// Its certificates are in the machine's trust store, and in its changefeeds file only as long as that is left alone.
#[test]
fn the_authority_of_clients_is_judged_at_the_start_and_at_each_reading() {
    let world = World::new("errors_authority", TABLE);
    let (source, target, server) = (world.source_url(), world.target_url(), world.certs().server());
    let mut command = world.bare(super::EBB);
    command.args(["fetch", "--mode", "failback", "--non-interactive", "--source", &source, "--target", &target]);
    command.args(["--changefeeds-path", "changefeed-secure.json", "--replicator-flags", "--stagingSchema s -v"]);
    command.env("EBB_TLS_CERTIFICATE", server.cert).env("EBB_TLS_PRIVATE_KEY", server.key);
    let mut ebb = Ebb::spawn({
        command.env("SSL_CERT_FILE", world.certs().ca());
        command
    })
    .ready();
    let line = ebb.wait_line("is in this machine's trust store");
    logged(&line, ("A017", "anybody can get a certificate of it", "an authority of your own with --tlsClientCA"));
    world.write_changefeed_settings(r#"{"sink_query_parameters": "insecure_tls_skip_verify=true"}"#);
    ebb.signal(Signal::HUP);
    let line = ebb.wait_line("certificates cannot be read again");
    let text = "changefeed-secure.json: client_cert or ca_cert is missing in \"sink_query_parameters\"";
    logged(&line, ("A024", text, "ebb certs makes a file that has both"));
    ebb.stop();
}
