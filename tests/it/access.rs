//! Who may write: whatever way is chosen, the changefeed's rows arrive and nobody else's do.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ebb_servers::Signal;

use crate::harness::codes;
use crate::harness::pages::http_get;
use crate::harness::post::Post;
use crate::harness::world::{Ebb, World, free_port};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int)";
/// What the sink's URL says when the changefeed shows no certificate.
const NO_CERTIFICATE: &str = r#""sink_query_parameters": "insecure_tls_skip_verify=true""#;

/// A row that the source does not have.
const FORGED: &str =
    r#"{"payload":[{"after":{"id":666,"v":1},"key":[666],"topic":"t","updated":"9000000000000000000.0"}],"length":1}"#;
const FORGED_RESOLVED: &str = r#"{"resolved":"9000000000000000000.0000000000"}"#;

/// A token, signed with the key `name` in the world's folder, which is made when it is missing.
fn token(world: &World, name: &str, more: &[&str]) -> String {
    let flag = if world.dir().join(name).exists() { "--key" } else { "--new-key" };
    world.run(&[&["make-jwt", flag, name], more].concat()).trim().to_owned()
}

/// The changefeed's rows arrive; what the others post is refused with this status, and changes nothing.
fn check(world: &World, ebb: &Ebb, others: &[(Post<'_>, u16)]) {
    let count = world.source("SELECT count(*) FROM t");
    world.source(&format!("INSERT INTO t VALUES ({count}, 1)"));
    world.wait_equal(ebb, &["t"]);
    for (number, (post, expected)) in others.iter().enumerate() {
        for body in [FORGED, FORGED_RESOLVED, "", "{"] {
            let answer = post.send(body);
            assert_eq!(answer.status, *expected, "request {number} with {body:?}: {}\n{}", answer.body, ebb.log());
            assert!(!answer.body.contains("666") && !answer.body.contains("geheim"), "{}", answer.body);
        }
    }
    // A forged resolved timestamp would have made every later row one that came too late.
    world.source(&format!("INSERT INTO t VALUES ({count} + 1, 1)"));
    world.wait_equal(ebb, &["t"]);
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[test]
fn a_client_needs_a_certificate_of_the_changefeeds_authority() {
    let world = World::new("access_mtls", TABLE);
    let mut ebb = world.fetch(&[]).ready();
    check(&world, &ebb, &[(Post::new(&world).without_certificate(), 0)]);
    let line = ebb.wait_line("127.0.0.1: the client showed no certificate");
    assert!(line.contains("error_code\":\"EBB-R027\""), "{line}");
    assert_eq!(Post::new(&world).send("{}").status, 400, "who has a certificate is heard");
    ebb.stop();
}

#[test]
fn a_header_goes_into_the_changefeed_by_itself() {
    let world = World::new("access_header", TABLE);
    let with = |header: &str| Post::new(&world).without_certificate().header(format!("Authorization: {header}"));
    let others = || {
        let token =
            Post::new(&world).without_certificate().path(format!("{}/public?access_token=geheim", world.database()));
        [
            (Post::new(&world).without_certificate(), 401),
            (with("Bearer geheimer"), 401),
            (with("Bearer "), 401),
            (with("Basic geheim"), 401),
            (token, 401),
        ]
    };
    // In the file of the changefeed's settings.
    world.write_changefeed_settings(&format!(r#"{{{NO_CERTIFICATE}, "webhook_auth_header": "Bearer geheim"}}"#));
    let ebb = world.fetch(&["--on-exit", "cancel"]).ready();
    check(&world, &ebb, &others());
    assert_eq!(with("Bearer geheim").send("{}").status, 400);
    assert!(!ebb.stop().contains("geheim"));
    // As a flag, which a variable of the environment may stand for.
    world.write_changefeed_settings(&format!("{{{NO_CERTIFICATE}}}"));
    let flags = "--stagingSchema second --webhook-auth-header 'Bearer geheim' -v";
    let ebb = world.fetch(&["--replicator-flags", flags]).ready();
    check(&world, &ebb, &others());
    assert!(!ebb.stop().contains("geheim"));
}

#[test]
fn where_several_ways_are_chosen_all_must_be_passed() {
    let world = World::new("access_both", TABLE);
    world.write_changefeed_settings(r#"{"webhook_auth_header": "Bearer geheim"}"#);
    let ebb = world.fetch(&[]).ready();
    let others = [
        (Post::new(&world), 401),
        (Post::new(&world).header("Authorization: Bearer other"), 401),
        (Post::new(&world).without_certificate().header("Authorization: Bearer geheim"), 0),
    ];
    check(&world, &ebb, &others);
    assert_eq!(Post::new(&world).header("Authorization: Bearer geheim").send("{}").status, 400);
    ebb.stop();
}

#[test]
fn a_token_opens_its_schemas_and_no_others() {
    let world = World::new("access_token", TABLE);
    let own = format!("{}.public", world.database());
    let good = token(&world, "a.key", &["--allow", &own]);
    world.write_changefeed_settings(&format!(r#"{{{NO_CERTIFICATE}, "webhook_auth_header": "Bearer {good}"}}"#));
    let keys = world.dir().join("keys");
    fs::create_dir(&keys).expect("a folder");
    fs::copy(world.dir().join("a.key.pub"), keys.join("a.pub")).expect("a key");
    let flags = format!("--stagingSchema _replicator_1 -v --jwt-public-keys {}", keys.display());
    let ebb = world.fetch(&["--replicator-flags", &flags]).ready();
    let with = |token: &str| Post::new(&world).without_certificate().header(bearer(token));
    let public = fs::read(world.dir().join("a.key.pub")).expect("a key");
    let others = [
        (Post::new(&world).without_certificate(), 401),
        (with("geheim"), 401),
        (with(&token(&world, "b.key", &["--allow", &own])), 401),
        (with(&altered(&good, |header| header.replace("ES256", "none"), "")), 401),
        (with(&hmac(&good, &public)), 401),
        (with(&altered(&good, str::to_owned, "AAAA")), 401),
        (with(&token(&world, "a.key", &["--allow", "elsewhere.public"])), 403),
        (with(&token(&world, "a.key", &["--allow", world.database()])), 403),
    ];
    check(&world, &ebb, &others);
    for allowed in [own.as_str(), "*.public", "*.*"] {
        assert_eq!(with(&token(&world, "a.key", &["--allow", allowed])).send("{}").status, 400, "{allowed}");
    }
    let in_url = Post::new(&world).without_certificate();
    let in_url = in_url.path(format!("{}/public?access_token={good}", world.database()));
    assert_eq!(in_url.send("{}").status, 400);
    assert!(!ebb.stop().contains(&good));
}

/// A token with another header and this signature.
fn altered(token: &str, header: impl Fn(&str) -> String, signature: &str) -> String {
    let mut parts = token.split('.');
    let decoded = URL_SAFE_NO_PAD.decode(parts.next().expect("a header")).expect("base64");
    let header = URL_SAFE_NO_PAD.encode(header(&String::from_utf8(decoded).expect("JSON")));
    format!("{header}.{}.{signature}", parts.next().expect("claims"))
}

/// The classic confusion: signed with the public key, as if it were a shared secret.
fn hmac(token: &str, public: &[u8]) -> String {
    let unsigned = altered(token, |header| header.replace("ES256", "HS256"), "");
    let unsigned = unsigned.trim_end_matches('.');
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, public);
    format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, unsigned.as_bytes())))
}

#[test]
fn tokens_are_revoked_and_keys_added_without_a_restart() {
    let world = World::new("access_reload", TABLE);
    let own = format!("{}.public", world.database());
    let (first, second) = (token(&world, "a.key", &["-a", &own]), token(&world, "b.key", &["-a", &own, "--days", "1"]));
    let revoked = world.dir().join("revoked");
    fs::write(&revoked, "").expect("a file");
    let keys = world.dir().join("keys.pem");
    fs::copy(world.dir().join("a.key.pub"), &keys).expect("a key");
    let files = [&keys, &revoked].map(|path| path.display().to_string());
    let mut ebb = world.start(&["--jwt-public-keys", &files[0], "--jwt-revoked-ids", &files[1]]);
    let status = |token: &str| Post::new(&world).without_certificate().header(bearer(token)).send("{}").status;
    assert_eq!((status(&first), status(&second)), (400, 401));
    // Both keys in one file, and the first token's id.
    let both = ["a.key.pub", "b.key.pub"].map(|name| fs::read_to_string(world.dir().join(name)).expect("a key"));
    fs::write(&keys, both.concat()).expect("the keys");
    let claims = URL_SAFE_NO_PAD.decode(first.split('.').nth(1).expect("claims")).expect("base64");
    let claims: serde_json::Value = serde_json::from_slice(&claims).expect("JSON");
    fs::write(&revoked, format!("{}\n", claims["jti"].as_str().expect("an id"))).expect("the ids");
    ebb.signal(Signal::HUP);
    ebb.wait_line("read certificates and keys again");
    assert_eq!((status(&first), status(&second)), (401, 400));
    // What cannot be read changes nothing.
    fs::write(&keys, "nonsense").expect("the keys");
    ebb.signal(Signal::HUP);
    ebb.wait_line("keys of tokens cannot be read again");
    assert_eq!((status(&first), status(&second)), (401, 400));
    ebb.stop();
}

#[test]
fn only_one_flag_lets_everybody_write_and_it_is_told() {
    let world = World::new("access_open", TABLE);
    world.write_changefeed_settings(&format!("{{{NO_CERTIFICATE}}}"));
    let mut closed = world.fetch(&["--replicator-flags", "--stagingSchema s"]);
    assert_eq!(closed.wait().code(), Some(2));
    assert!(closed.log().contains("cannot tell its changefeed from anybody else"), "{}", closed.log());
    let pages = format!("127.0.0.1:{}", free_port());
    let flags = format!("--stagingSchema s --disableAuthentication --metricsAddr {pages}");
    let mut ebb = world.fetch(&["--replicator-flags", &flags]);
    let warning = "authentication disabled, any caller may write to the target database";
    assert!(ebb.wait_line(warning).contains("\"level\":\"warn\""));
    ebb.wait_line("changefeed created");
    assert!(http_get(&pages, "/_/status").contains(warning));
    assert_eq!(Post::new(&world).without_certificate().send("{}").status, 400);
    ebb.stop();
}

#[test]
fn what_cannot_authenticate_anybody_is_refused_at_start() {
    let world = World::new("access_refused", TABLE);
    world.write_changefeed_settings(&format!(r#"{{{NO_CERTIFICATE}, "webhook_auth_header": "Bearer abc"}}"#));
    let refused = |flags: &str, expected: &str| {
        let mut ebb = world.fetch(&["--replicator-flags", flags]);
        assert_ne!(ebb.wait().code(), Some(0));
        let codes = [
            ("own webhook", "EBB-A012"),
            ("it holds a private key", "EBB-A010"),
            ("nowhere.pem cannot be used", "EBB-A010"),
        ];
        for (_, code) in codes.iter().filter(|(text, _)| expected.starts_with(text)) {
            assert!(ebb.log().contains(&format!("error_code\":\"{code}")), "{code} is not in {}", ebb.log());
        }
        assert!(ebb.log().contains(expected), "{expected:?} is not in {}", ebb.log());
    };
    token(&world, "a.key", &["-a", "x.public"]);
    refused("--webhook-auth-header 'Bearer other'", "differ");
    refused("--jwt-public-keys a.key.pub", "own webhook_auth_header would be refused");
    refused("--jwt-public-keys a.key", "it holds a private key");
    refused("--jwt-public-keys nowhere.pem", "nowhere.pem cannot be used");
    refused("--jwt-revoked-ids x", "--jwt-public-keys");
    refused("--tlsClientCA nowhere.pem", "nowhere.pem");
    world.write_changefeed_settings(&format!("{{{NO_CERTIFICATE}}}"));
    refused("--jwt-public-keys a.key.pub", "demands a token, and the changefeed has none");
    // A token for the right schema, in the wrong place.
    let elsewhere = token(&world, "a.key", &["-a", &format!("{}.public", world.database())]);
    world.write_changefeed_settings(&format!(r#"{{{NO_CERTIFICATE}, "webhook_auth_header": "{elsewhere}"}}"#));
    refused("--jwt-public-keys a.key.pub", "own webhook_auth_header would be refused");
}

#[test]
fn keys_made_elsewhere_sign_tokens_too() {
    let world = World::new("access_openssl", TABLE);
    let openssl = |args: &[&str]| {
        let made = std::process::Command::new("openssl").current_dir(world.dir()).args(args).output();
        assert!(made.expect("openssl is installed").status.success(), "{args:?}");
    };
    openssl(&["ecparam", "-out", "ec.key", "-genkey", "-name", "prime256v1"]);
    openssl(&["ec", "-in", "ec.key", "-pubout", "-out", "ec.pub"]);
    openssl(&["ecparam", "-out", "p384.key", "-genkey", "-name", "secp384r1"]);
    openssl(&["ec", "-in", "p384.key", "-pubout", "-out", "p384.pub"]);
    openssl(&["genrsa", "-out", "rsa.key", "2048"]);
    openssl(&["rsa", "-in", "rsa.key", "-pubout", "-out", "rsa.pub"]);
    openssl(&["rsa", "-in", "rsa.key", "-traditional", "-out", "old.key"]);
    let keys = world.dir().join("keys");
    fs::create_dir(&keys).expect("a folder");
    for name in ["ec.pub", "p384.pub", "rsa.pub"] {
        fs::copy(world.dir().join(name), keys.join(name)).expect("a key");
    }
    let ebb = world.start(&["--jwt-public-keys", &keys.display().to_string()]);
    let own = format!("{}.public", world.database());
    for key in ["ec.key", "p384.key", "rsa.key", "old.key"] {
        world.run(&["make-jwt", "-k", key, "-a", &own, "-o", "out.jwt"]);
        let token = fs::read_to_string(world.dir().join("out.jwt")).expect("the token");
        let post = Post::new(&world).without_certificate().header(bearer(token.trim()));
        assert_eq!(post.send("{}").status, 400, "{key}\n{}", ebb.log());
    }
    ebb.stop();
}

#[test]
fn private_files_are_private_and_nothing_is_written_over() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new("access_files", TABLE);
    let made =
        ["--changefeeds-path", "made.json", "--port", "30005", "--host", "ebb.example.com", "--host", "10.0.0.7"];
    world.run(&[&["certs"][..], &made].concat());
    let mode = |name: &str| fs::metadata(world.dir().join(name)).expect(name).permissions().mode() & 0o777;
    assert_eq!(["certs/ca.key", "certs/server.key", "certs/client.key", "made.json"].map(mode), [0o600; 4]);
    assert_eq!(fs::read_to_string(world.dir().join("certs/.gitignore")).expect("a file"), "*\n");
    let settings = fs::read_to_string(world.dir().join("made.json")).expect("the settings");
    assert!(settings.contains("\"ebb.example.com\"") && settings.contains("30005"), "{settings}");
    // Whom somebody has admitted stays admitted, and what somebody has added stays there.
    fs::set_permissions(world.dir().join("certs/server.key"), fs::Permissions::from_mode(0o640)).expect("it is ours");
    fs::write(world.dir().join("made.json"), settings.replacen('{', "{\"resolved\": \"2s\",", 1)).expect("it is ours");
    // The hosts are those of before.
    world.run(&["certs", "--renew", "--changefeeds-path", "made.json"]);
    let text = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-ext", "subjectAltName", "-in"])
        .arg(world.dir().join("certs/server.crt"))
        .output()
        .expect("openssl is installed");
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("DNS:ebb.example.com") && text.contains("IP Address:10.0.0.7"), "{text}");
    assert_eq!(["certs/ca.key", "certs/server.key", "certs/client.key"].map(mode), [0o600, 0o640, 0o600]);
    assert!(fs::read_to_string(world.dir().join("made.json")).expect("the settings").contains("\"2s\""));
    // What is wrong is found before anything is written.
    let run = |args: &[&str]| codes::output(world.bare(env!("CARGO_BIN_EXE_ebb")).args(args));
    let wrong = run(&["certs", "--out", "other", "--host", "größe"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(!world.dir().join("other").exists());
    let again = run(&["certs"]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(1) && said.contains("not written over") && said.contains("--renew"), "{said}");
    let claims = token(&world, "a.key", &["-a", "x"]).split('.').nth(1).map(|part| URL_SAFE_NO_PAD.decode(part));
    let claims: serde_json::Value = serde_json::from_slice(&claims.expect("claims").expect("base64")).expect("JSON");
    let seconds = claims["exp"].as_u64().zip(claims["iat"].as_u64()).map(|(end, start)| end - start);
    assert_eq!(seconds, Some(90 * 24 * 60 * 60), "a token ends by itself");
    assert_eq!(mode("a.key"), 0o600);
    let again = run(&["make-jwt", "--new-key", "a.key", "-a", "x"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(world.dir().join("a.key.pub").exists());
}
