//! Finding and refusing plugins.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::ebb::Ebb;
use crate::harness::world::{World, plugin_path};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY)";

#[test]
fn what_is_no_plugin_gets_one_sentence() {
    let world = World::new("plugins_wrong", TABLE);
    let check = |wanted: &str, expected: &[&str]| {
        let error = world.fetch(&["--target-plugin", wanted]).failure();
        expected.iter().for_each(|text| assert!(error.contains(text), "{text:?} is not in {error}"));
    };
    check("nonsense", &["EBB-P010", "there is no plugin nonsense", "libebb_nonsense.so", "--plugin-dir"]);
    check("/no/such/plugin.so", &["there is no plugin at /no/such/plugin.so"]);
    let text = world.dir().join("libebb_text.so");
    fs::write(&text, "not a library").expect("a file");
    check(&text.display().to_string(), &["EBB-P011", "libebb_text.so cannot be loaded"]);
    // A library of the system, for this processor, that is no plugin.
    let libc = fs::read_dir("/lib/x86_64-linux-gnu").into_iter().chain(fs::read_dir("/lib/aarch64-linux-gnu"));
    let libm = libc.flatten().flatten().map(|entry| entry.path()).find(|path| path.ends_with("libm.so.6"));
    check(
        &libm.expect("the system's libm").display().to_string(),
        &["EBB-P013", "is a shared library but not a plugin of ebb"],
    );
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

/// A file that cannot be loaded keeps a plugin of its name from being found: both are named.
#[test]
fn a_file_that_hides_a_plugin_is_named() {
    let world = World::new("plugins_hidden", TABLE);
    let folder = world.dir().join("badplug");
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("libebb_postgres.so");
    fs::write(&file, "not a library").expect("a file");
    let (folder, file) = (folder.display().to_string(), file.display().to_string());
    for more in [&[][..], &["--target-plugin", "postgres"]] {
        let error = world.fetch(&[&["--plugin-dir", &folder], more].concat()).failure();
        for expected in ["EBB-P011", "cannot be loaded", "it hides", &format!("remove {file}")] {
            assert!(error.contains(expected), "{expected:?} is not in {error}");
        }
    }
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

/// Whoever may write into the folder that ebb is started in must not have code of their own run by it.
#[test]
fn nothing_is_loaded_from_the_folder_that_ebb_is_started_in() {
    let world = World::new("plugins_planted", TABLE);
    let planted = "libebb_planted.so";
    for folder in ["", ".local/share/ebb/plugins", "ebb/plugins"] {
        let folder = world.dir().join(folder);
        fs::create_dir_all(&folder).expect("a folder");
        fs::copy(plugin_path().join("libebb_postgres.so"), folder.join(planted)).expect("a copy");
    }
    let run = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = world.bare(env!("CARGO_BIN_EXE_ebb"));
        command.args(args).envs([("HOME", ""), ("EBB_PLUGIN_PATH", "")]).envs(variables.iter().copied());
        let mut ebb = Ebb::spawn(command);
        (ebb.wait().code(), ebb.log())
    };
    for variables in [[("HOME", "")], [("XDG_DATA_HOME", "")], [("XDG_DATA_HOME", ".")], [("EBB_PLUGIN_PATH", "::")]] {
        let (code, said) = run(&["plugins", "list"], &variables);
        assert!(code == Some(0) && !said.contains(planted), "{variables:?}: {said}");
    }
    for (args, variables) in [
        (&["plugins", "list"][..], &[("EBB_PLUGIN_PATH", "/:.")][..]),
        (&["plugins", "list", "--plugin-dir", "."], &[]),
    ] {
        let (code, said) = run(args, variables);
        assert!(code == Some(2) && said.contains("from the root on"), "{said}");
    }
    // The system's loader would find it in these.
    let (target, here) = (world.target_url(), world.dir().display().to_string());
    let args =
        ["start", "--targetConn", &target, "--target-plugin", planted, "--tlsSelfSigned", "--disableAuthentication"];
    let (_, said) = run(&args, &[("LD_LIBRARY_PATH", &here)]);
    assert!(said.contains("there is no plugin libebb_planted.so"), "{said}");
}

#[test]
fn a_plugin_that_others_may_replace_is_not_loaded() {
    let world = World::new("plugins_open", TABLE);
    let folder = world.dir().join("plugins");
    fs::create_dir(&folder).expect("a folder");
    let library = folder.join("libebb_other.so");
    fs::copy(plugin_path().join("libebb_postgres.so"), &library).expect("a copy");
    let open = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("one's own folder");
    let list = || {
        let mut list = world.ebb(&["plugins", "list", "--plugin-dir", &folder.display().to_string()]);
        list.wait();
        list.log()
    };
    open(0o755);
    assert!(list().contains(&format!("postgres\t0.1.0\tpostgres, postgresql, pg, pgx\t{}", library.display())));
    for mode in [0o777, 0o1777, 0o757] {
        open(mode);
        let why = format!("everybody may write {} (owner: user ", folder.display());
        let listed = list();
        assert!(listed.contains(&why) && listed.contains(&format!("mode {mode:04o}")), "{listed}");
        for wanted in ["other", &library.display().to_string()] {
            let args = ["--target-plugin", wanted, "--plugin-dir", &folder.display().to_string()];
            let line = world.fetch(&args).failure();
            assert!(line.contains(&why) && line.contains("chmod go-w"), "{line}");
        }
    }
}
