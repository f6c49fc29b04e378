//! The receiver's port and limits, and clients that it does not come to terms with.
//!
//! Owns: what is said of an address, of open files, of a plugin's folder and of failed handshakes. Does not own: limits
//! that hold (`connections`), and requests (`requests`).

use std::fs;
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};

use super::{EBB, TABLE, Told, logged};
use crate::harness::ebb::Ebb;
use crate::harness::world::World;

/// `ebb start` by a shell that runs `before` first, or by ebb itself.
fn start(world: &World, before: &str, flags: &[&str]) -> Ebb {
    let (target, server) = (world.target_url(), world.certs().server());
    let mut command = world.bare("sh");
    command.args(["-c", &format!("{before} \"$0\" \"$@\""), EBB, "start", "--targetConn", &target]);
    command.args(["--stagingSchema", "s"]).args(flags);
    command.env("EBB_TLS_CERTIFICATE", server.cert).env("EBB_TLS_PRIVATE_KEY", server.key);
    Ebb::spawn(command)
}

#[test]
fn an_address_that_cannot_be_listened_on_is_told_with_its_remedy() {
    let world = World::new("errors_address", TABLE);
    let is_reserved = first_free_port() > 1;
    // The first is of the addresses that documents show: no machine has it.
    for (before, address, expected) in [
        ("exec", "192.0.2.1:0", ("R012", "this machine does not have that address", "[::]:0 for all of them")),
        (
            WITHOUT_CAPABILITY,
            "127.0.0.1:1",
            ("R011", "cannot listen on 127.0.0.1:1: Permission denied", "from 1024 up"),
        ),
    ] {
        if before == WITHOUT_CAPABILITY && !is_reserved {
            continue;
        }
        let line = start(&world, before, &["--bindAddr", address, "--disableAuthentication"]).failure();
        logged(&line, expected);
    }
}

/// Docker reserves no port in a container: there nobody can come upon the error.
fn first_free_port() -> u16 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    text.trim().parse().expect("the first port that is not reserved")
}

/// The tests may be run by root, who may listen on every port.
const WITHOUT_CAPABILITY: &str =
    "if [ \"$(id -u)\" = 0 ]; then exec setpriv --bounding-set=-net_bind_service \"$0\" \"$@\"; fi; exec";

#[test]
fn limits_and_folders_that_do_not_suffice_are_warned_of() {
    let world = World::new("errors_limits", TABLE);
    let flags = ["--bindAddr", "127.0.0.1:0", "--plugin-dir", "/no/such/plugins", "--disableAuthentication"];
    let mut ebb = start(&world, "ulimit -n 64; exec", &flags);
    ebb.wait_line("receiver listening");
    for (text, expected) in [
        ("open files", ("R013", "open files, and the system allows it 64", "or lower --connections-max (")),
        ("the plugin folder", ("P016", "/no/such/plugins does not exist", "correct --plugin-dir or EBB_PLUGIN_PATH")),
    ] {
        logged(&ebb.wait_line(text), expected);
    }
    ebb.stop();
}

/// Certificates of clients: its file, its years, who has issued it, and what the log says of a handshake with it.
const CLIENTS: &[(&str, [i32; 2], Issued, Told<'static>)] = &[
    ("late", [2019, 2020], Issued::Here, ("R023", "certificate expired on 2020-01-01", "ebb certs --renew")),
    ("early", [2998, 2999], Issued::Here, ("R024", "it becomes valid on 2998-01-01", "set the clock of this machine")),
    (
        "other",
        [2019, 2999],
        Issued::Elsewhere,
        ("R026", "was not issued by the authority of --tlsClientCA", "client_key"),
    ),
];

#[derive(Clone, Copy, PartialEq)]
enum Issued {
    Here,
    Elsewhere,
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = named("clients");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

#[test]
fn a_handshake_that_fails_is_told_with_its_remedy() {
    let world = World::new("errors_handshakes", TABLE);
    let (here, elsewhere) = (authority(), authority());
    let path = |name: &str| world.dir().join(name);
    fs::write(path("clients.crt"), here.pem()).expect("a file");
    let mut ebb = world.start(&["--tlsClientCA", "clients.crt"]);
    for (name, [from, to], issued, expected) in CLIENTS {
        let mut params = named(name);
        (params.not_before, params.not_after) = (date_time_ymd(*from, 1, 1), date_time_ymd(*to, 1, 1));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let issuer = if *issued == Issued::Here { &here } else { &elsewhere };
        let certificate = params.signed_by(&key, issuer).expect("a certificate");
        let (cert_file, key_file) = (path("client.crt"), path("client.key"));
        fs::write(&cert_file, certificate.pem()).expect("a file");
        fs::write(&key_file, key.serialize_pem()).expect("a file");
        ask(&world, &["--insecure", "--cert", "client.crt", "--key", "client.key"]);
        logged(&ebb.wait_line(&format!("EBB-{}", expected.0)), *expected);
    }
    ask(&world, &["--cacert", "clients.crt"]);
    let expected = ("R028", "the client does not trust the receiver's certificate", "must be valid for \"host\"");
    logged(&ebb.wait_line("EBB-R028"), expected);
    ebb.stop();
}

/// A request that gets no answer.
fn ask(world: &World, files: &[&str]) {
    let mut curl = Command::new("curl");
    curl.current_dir(world.dir()).args(["--silent", "--show-error", "--max-time", "20"]).args(files);
    let asked = curl.arg(format!("https://localhost:{}/_/healthz", world.port())).output().expect("curl is installed");
    assert!(!asked.status.success(), "{asked:?}");
}
