//! Settings that are refused before anything is connected to.
//!
//! Owns: flags, variables and files, and commands that write files. Does not own: where a value came from (`config`).

use std::fs;

use super::{TABLE, TARGET, Told, command, told};
use crate::harness::world::World;

const SCRIPT: &str = "would change what is written";
const IN_FETCH: &str = "in fetch inside --replicator-flags";

/// What is run, and what it says.
const COMMANDS: &[(&str, Told<'static>)] = &[
    ("explain Q999", ("F001", "no error has the code Q999", "ebb explain alone lists the letters")),
    ("man file", ("F012", "the manual pages cannot be written to file: File exists", "give another folder")),
    (
        "certs --out file/certs --changefeeds-path a.json",
        ("F012", "the folder file/certs cannot be made: Not a directory", "with --out"),
    ),
    ("certs --changefeeds-path file/a.json", ("F012", "file/a.json cannot be written", "that this user may write")),
    ("init", ("F013", "certs/ca.key is there already, and is not written over", "give another folder with --out")),
    ("init --out run", ("F015", "there is no answer to: CockroachDB", "give --source, --target, --tables and --host")),
    ("init --yes --out run", ("F015", "--source is not given, and --yes asks nothing", "add --source")),
];

#[test]
fn commands_say_what_they_lack() {
    let world = World::new("errors_commands", TABLE);
    fs::write(world.dir().join("file"), "").expect("a file");
    for (words, expected) in COMMANDS {
        told(&mut command(&world, words), *expected);
    }
    let urls = format!("--source '{}' --target '{}'", world.source_url(), world.target_url());
    let words = format!("init --yes --out run --tables nothing {urls}");
    told(&mut command(&world, &words), ("F021", "no table of the target matches --tables", "correct --tables"));
}

/// Flags of `ebb fetch`, and what is said of them.
const OF_FETCH: &[(&str, Told<'static>)] = &[
    ("", ("F023", "would not verify the receiver's certificate", "give --changefeeds-path FILE with client_cert")),
    ("--userscript a.ts", ("F018", SCRIPT, "leave it out, and do on the target what the script did")),
    ("--transformations-file a.json", ("F018", SCRIPT, "rename the target's tables")),
    ("--replicator-flags '--userscript a.ts'", ("F018", SCRIPT, "a trigger with --triggers fire")),
    ("--table-exclusion-filter '.*'", ("F021", "--table-exclusion-filter '.*' leaves no table", "leave the flag out")),
];

#[test]
fn flags_that_would_lose_rows_are_refused() {
    let world = World::new("errors_flags", TABLE);
    for (flags, expected) in OF_FETCH {
        told(&mut command(&world, &format!("{} {flags}", fetch())), *expected);
    }
    let start = format!("start --targetConn {TARGET} --tlsSelfSigned --disableAuthentication");
    let of_fetch =
        "--changefeeds-path changefeed-secure.json --replicator-flags '--tlsSelfSigned --disableAuthentication'";
    for words in [start, format!("{} {of_fetch}", fetch())] {
        let mut command = command(&world, &words);
        command.env_remove("EBB_STAGING_DIR").env_remove("XDG_STATE_HOME").env("HOME", "");
        told(&mut command, ("F022", "neither XDG_STATE_HOME nor HOME is set", IN_FETCH));
    }
}

fn fetch() -> String {
    format!("fetch --mode failback --non-interactive --source {TARGET} --target {TARGET}")
}

/// Keys of the changefeeds file, and what is said of them.
const OPTIONS: &[(&str, &str, &str)] = &[
    (r#""initial_scan": "only""#, "sends no later changes", "use \"no\", or \"yes\""),
    (r#""initial_scan": "maybe""#, "\"initial_scan\" is neither", "use \"no\" or \"yes\""),
    (r#""on_error": "ignore""#, "\"on_error\" has no value that is known", "use \"fail\" or \"pause\""),
    (r#""compression": "lz4""#, "\"compression\" has no value that is known", "use \"gzip\" or \"zstd\""),
    (r#""extra_headers": "a""#, "must be a text that holds a JSON object of texts", "write it as \"{\\\"X-Api-Key"),
    (r#""webhook_sink_config": "a""#, "must be a text that holds a JSON object", "write it as \"{\\\"Flush"),
    (r#""webhook_sink_config": "{\"Flush\":{\"Bytes\":1}}""#, "without Flush.Frequency", "\"Frequency\":\"1s\""),
];

#[test]
fn options_that_a_changefeed_cannot_have_are_refused() {
    let world = World::new("errors_options", TABLE);
    for (option, text, remedy) in OPTIONS {
        fs::write(world.dir().join("a.json"), format!("{{{option}}}")).expect("a file");
        let mut command = command(&world, &format!("{} --changefeeds-path a.json", fetch()));
        told(&mut command, ("F020", text, remedy));
    }
}
