//! Finding and refusing plugins.

use std::fs;

use crate::world::{World, plugin_path};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY)";

#[test]
fn what_is_no_plugin_gets_one_sentence() {
    let world = World::new("plugins_wrong", TABLE);
    let check = |wanted: &str, expected: &[&str]| {
        let error = world.fetch(&["--target-plugin", wanted]).failure();
        expected.iter().for_each(|text| assert!(error.contains(text), "{text:?} is not in {error}"));
    };
    check("nonsense", &["there is no plugin nonsense", "libebb_nonsense.so", "--plugin-dir"]);
    check("/no/such/plugin.so", &["there is no plugin at /no/such/plugin.so"]);
    let text = world.dir().join("libebb_text.so");
    fs::write(&text, "not a library").expect("a file");
    check(&text.display().to_string(), &["libebb_text.so cannot be loaded"]);
    // A library of the system, for this processor, that is no plugin.
    let libc = fs::read_dir("/lib/x86_64-linux-gnu").into_iter().chain(fs::read_dir("/lib/aarch64-linux-gnu"));
    let libm = libc.flatten().flatten().map(|entry| entry.path()).find(|path| path.ends_with("libm.so.6"));
    check(&libm.expect("the system's libm").display().to_string(), &["is a shared library but not a plugin of ebb"]);
    // The header of a library for another machine.
    let mut foreign = fs::read(plugin_path().join("libebb_postgres.so")).expect("the plugin");
    foreign[18] = 0x28;
    foreign[19] = 0;
    let path = world.dir().join("libebb_foreign.so");
    fs::write(&path, foreign).expect("a file");
    check(&path.display().to_string(), &["libebb_foreign.so cannot be loaded", "operating system and processor"]);
    let error = world.fetch(&["--target", "nonsense://a@b/c"]).failure();
    assert!(error.contains("no plugin for nonsense:// targets") && error.contains("postgres (postgres://"), "{error}");
}

#[test]
fn plugins_are_found_by_name_path_and_scheme() {
    let world = World::new("plugins_found", TABLE);
    let path = plugin_path().join("libebb_postgres.so").display().to_string();
    let pgx = world.target_url().replace("postgres://postgres", "pgx://postgres");
    for (number, more) in
        [["--target-plugin", "postgres"], ["--target-plugin", &path], ["--target", &pgx]].iter().enumerate()
    {
        let mut ebb = world.fetch(more);
        ebb.wait_line("\"job\":");
        world.source(&format!("INSERT INTO t VALUES ({number})"));
        world.wait_equal(&ebb, &["t"]);
        ebb.stop();
    }
    let mut list = world.ebb(&["plugins", "list"]);
    assert_eq!(list.wait().code(), Some(0));
    assert!(list.log().contains("postgres\t0.1.0\tpostgres, postgresql, pg, pgx\t"), "{}", list.log());
}
