//! Triggers of the target: suspended, refused, dropped and put back, and digits that may be lost by name.

use ebb_servers::Flavour;

use crate::harness::codes;
use crate::harness::pages::http_get;
use crate::harness::target::MYSQLS;
use crate::harness::world::{Dialect, World, free_port, wait_for};

/// Doubles a value that is inserted, and adds one to a value that is updated.
fn schema(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => {
            "CREATE TABLE t (id int PRIMARY KEY, n int);
             CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.n = NEW.n * 2; RETURN NEW; END$$;
             CREATE TRIGGER act BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION act();
             ALTER TABLE t ENABLE ALWAYS TRIGGER act;
             COMMENT ON TRIGGER act ON t IS 'twice, it''s so'"
        }
        Dialect::MySql(_) => {
            "CREATE TABLE t (id INT PRIMARY KEY, n INT);
             CREATE TRIGGER act BEFORE INSERT ON t FOR EACH ROW SET NEW.n = NEW.n * 2;
             CREATE TRIGGER more BEFORE UPDATE ON t FOR EACH ROW SET NEW.n = NEW.n + 1"
        }
    }
}

/// All that the server tells of them.
fn definitions(world: &World, dialect: Dialect) -> String {
    world.target(match dialect {
        Dialect::Postgres => {
            "SELECT tgname, tgenabled, pg_get_triggerdef(oid), obj_description(oid, 'pg_trigger') FROM pg_trigger
             WHERE NOT tgisinternal ORDER BY 1"
        }
        Dialect::MySql(_) => {
            "SELECT trigger_name, event_manipulation, action_timing, action_statement, definer, sql_mode
             FROM information_schema.triggers WHERE trigger_schema = DATABASE() ORDER BY 1"
        }
    })
}

fn restore(world: &World) -> String {
    let (code, said, error) = try_restore(world);
    assert_eq!(code, Some(0), "{error}");
    said
}

/// Exit code, answer, error.
fn try_restore(world: &World) -> (Option<i32>, String, String) {
    let mut command = world.bare(env!("CARGO_BIN_EXE_ebb"));
    command.args(["triggers", "restore", "--target", &world.target_url(), "--stagingSchema", "_replicator_1"]);
    let output = codes::output(&mut command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn dropped_triggers_come_back_as_they_were() {
    for dialect in [Dialect::Postgres, MYSQLS[0], MYSQLS[1]] {
        let source = "CREATE TABLE t (id int PRIMARY KEY, n int)";
        let world = World::with_target(dialect, "triggers_dropped", source, schema(dialect));
        let before = definitions(&world, dialect);
        let refusal = world.fetch(&[]).failure();
        assert!(refusal.contains("act") && refusal.contains("--triggers drop"), "{refusal}");
        let flags = ["--replicator-flags", "--stagingSchema _replicator_1 --triggers drop"];
        let ebb = world.fetch(&flags).ready();
        world.source("INSERT INTO t VALUES (1, 10), (2, 20)");
        world.wait_target(&ebb, "SELECT SUM(n) FROM t", "30");
        // A crash loses no definition, and the next run finds nothing in its way.
        ebb.kill9();
        assert_eq!(definitions(&world, dialect), "", "{dialect:?}");
        let mut ebb = world.fetch(&flags);
        ebb.wait_line("using the running changefeed");
        world.source("UPDATE t SET n = n + 1");
        world.wait_target(&ebb, "SELECT SUM(n) FROM t", "32");
        ebb.stop();
        // Another feed's triggers are none of this one's business, and a name that nobody knows is a mistake.
        let mut command = world.bare(env!("CARGO_BIN_EXE_ebb"));
        command.args(["triggers", "restore", "--target", &world.target_url(), "--stagingSchema", "_replicator_2"]);
        let output = codes::output(&mut command);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("nothing is known of the staging schema _replicator_2")
        );
        let said = restore(&world);
        assert!(said.contains("act on t"), "{said}");
        assert_eq!(definitions(&world, dialect), before, "{dialect:?}");
        assert_eq!(restore(&world), "no trigger was missing\n");
    }
}

/// The target's record alone may be anybody's: it is shown. With the folder's key it counts, whatever else the folder has lost.
#[test]
fn the_record_of_the_target_is_run_only_where_the_folder_proves_it() {
    for dialect in [Dialect::Postgres, MYSQLS[0], MYSQLS[1]] {
        let source = "CREATE TABLE t (id int PRIMARY KEY, n int)";
        let world = World::with_target(dialect, "triggers_record", source, schema(dialect));
        let before = definitions(&world, dialect);
        let flags = ["--replicator-flags", "--stagingSchema _replicator_1 --triggers drop"];
        let folder = world.dir().join("staging/_replicator_1");
        for lost in ["record", "triggers", "folder"] {
            let mut ebb = world.fetch(&flags);
            ebb.wait_line("triggers of the target: act on t");
            ebb.stop();
            let aside = world.dir().join("aside");
            match lost {
                "record" => drop(world.target("DROP TABLE ebb_triggers")),
                "triggers" => std::fs::remove_file(folder.join("triggers")).expect("the note"),
                _ => {
                    std::fs::rename(&folder, &aside).expect("the folder");
                    let (code, said, error) = try_restore(&world);
                    assert_eq!(code, Some(1));
                    assert!(said.contains("-- act on t\n") && said.contains("BEFORE INSERT ON"), "{said}");
                    assert!(error.contains("only the staging folder of the run proves"), "{error}");
                    assert!(error.contains("--staging-dir") && error.contains("act on t"), "{error}");
                    assert_eq!(definitions(&world, dialect), "", "{dialect:?}");
                    std::fs::rename(&aside, &folder).expect("the folder");
                }
            }
            restore(&world);
            assert_eq!(definitions(&world, dialect), before, "{dialect:?} without the {lost}");
        }
    }
}

/// What somebody else wrote into the target's record, or changed of it, is never run.
#[test]
fn a_forged_record_of_a_trigger_is_refused_by_name() {
    for dialect in [Dialect::Postgres, MYSQLS[0], MYSQLS[1]] {
        let source = "CREATE TABLE t (id int PRIMARY KEY, n int)";
        let world = World::with_target(dialect, "triggers_forged", source, schema(dialect));
        let before = definitions(&world, dialect);
        world.fetch(&["--replicator-flags", "--stagingSchema _replicator_1 --triggers drop"]).ready().stop();
        let (role, count) = match dialect {
            Dialect::Postgres => {
                ("CREATE ROLE forged_one SUPERUSER", "SELECT count(*) FROM pg_roles WHERE rolname = 'forged_one'")
            }
            Dialect::MySql(_) => {
                ("CREATE USER forged_one", "SELECT COUNT(*) FROM mysql.user WHERE user = 'forged_one'")
            }
        };
        let record = serde_json::json!({
            "feed": "_replicator_1", "namespace": ["d", "public"], "table": "t", "proof": "00",
            "trigger": {"name": "evil\u{1b}[2J", "create": [role]},
        });
        let record = record.to_string().replace('\\', "\\\\");
        let forge = match dialect {
            Dialect::Postgres => format!("INSERT INTO ebb_triggers (saved) VALUES (E'{record}')"),
            Dialect::MySql(_) => {
                format!("INSERT INTO ebb_triggers (place, name, definition) VALUES (9, 'e', '{record}')")
            }
        };
        world.target(&forge);
        let (code, said, error) = try_restore(&world);
        assert_eq!(code, Some(1));
        assert!(said.contains(role) && !said.contains('\u{1b}') && !error.contains('\u{1b}'), "{said:?} {error:?}");
        assert!(
            error.contains("ebb has not written") && error.contains("evil") && !error.contains("act on"),
            "{error}"
        );
        assert_eq!((definitions(&world, dialect).as_str(), world.target(count).as_str()), ("", "0"));
        // One that was ebb's and was changed is ebb's no more.
        world.target(match dialect {
            Dialect::Postgres => {
                "DELETE FROM ebb_triggers WHERE saved LIKE '%evil%'; 
                 UPDATE ebb_triggers SET saved = replace(saved, 'BEFORE INSERT', 'AFTER INSERT')"
            }
            Dialect::MySql(_) => {
                "DELETE FROM ebb_triggers WHERE name = 'e'; 
                 UPDATE ebb_triggers SET definition = REPLACE(definition, 'BEFORE INSERT', 'AFTER INSERT')"
            }
        });
        assert!(try_restore(&world).2.contains("act on t"));
        assert_eq!(definitions(&world, dialect), "");
        // Without it the folder has what it takes.
        world.target("DELETE FROM ebb_triggers");
        restore(&world);
        assert_eq!(definitions(&world, dialect), before);
    }
}

#[test]
fn accepted_triggers_fire_by_the_event_that_happens() {
    for dialect in [Dialect::Postgres, MYSQLS[0], MYSQLS[1]] {
        let source = "CREATE TABLE t (id int PRIMARY KEY, n int)";
        let world = World::with_target(dialect, "triggers_fire", source, schema(dialect));
        let mut ebb = world.fetch(&["--replicator-flags", "--stagingSchema _replicator_1 --triggers fire"]).ready();
        ebb.wait_line("act on what ebb writes, as --triggers fire says: act");
        world.source("INSERT INTO t VALUES (1, 10)");
        world.wait_target(&ebb, "SELECT n FROM t", "20");
        world.source("UPDATE t SET n = 50");
        // PostgreSQL fires BEFORE INSERT triggers for every upsert, and takes their row for the update too.
        let expected = if dialect == Dialect::Postgres { "100" } else { "51" };
        world.wait_target(&ebb, "SELECT n FROM t", expected);
        ebb.stop();
    }
}

/// MySQL does not show triggers to those who may not make any.
#[test]
fn triggers_that_cannot_be_seen_keep_a_run_from_starting() {
    for dialect in MYSQLS {
        let source = "CREATE TABLE t (id int PRIMARY KEY, n int)";
        let world = World::with_target(dialect, "triggers_hidden", source, schema(dialect));
        let create = "CREATE USER IF NOT EXISTS 'blind_one'@'%' IDENTIFIED BY 'x'";
        let database = world.database();
        world.target(&format!(
            "{create}; GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON {database}.* TO 'blind_one'@'%'"
        ));
        let line = world.fetch(&["--target", &world.target_url_as("blind_one", "x")]).failure();
        // MariaDB shows their names all the same.
        let expected = match dialect {
            Dialect::MySql(Flavour::MariaDb) => ["act, more", "--triggers fire"],
            _ => ["cannot see whether", "GRANT TRIGGER ON"],
        };
        assert!(expected.iter().all(|text| line.contains(text)), "{line}");
    }
}

#[test]
fn digits_are_lost_where_that_is_allowed_by_name_and_counted() {
    for dialect in [Dialect::Postgres, MYSQLS[0], MYSQLS[1]] {
        // Of columns that have as many digits on both sides nothing is said.
        let source =
            "CREATE TABLE t (id int PRIMARY KEY, total numeric(12,4), due timestamp, lap time(2), at timestamp(3))";
        let target = "CREATE TABLE t (id INT PRIMARY KEY, total DECIMAL(10,2), due TIMESTAMP(0) NULL, lap TIME(2), \
             at TIMESTAMP(3) NULL)";
        let world = World::with_target(dialect, "triggers_digits", source, target);
        let line = world.fetch(&[]).failure();
        for text in ["2 findings", "lose digits", "--allow-rounding t.total", "--allow-rounding t.due"] {
            assert!(line.contains(text), "{dialect:?}: {text:?} is not in {line}");
        }
        let line = world.fetch(&["--allow-rounding", "total"]).failure();
        assert!(!line.contains("t.total") && line.contains("--allow-rounding t.due"), "{line}");
        let pages = format!("127.0.0.1:{}", free_port());
        let ebb = world.fetch(&["--metrics-listen-addr", &pages, "--allow-rounding", "t.total,DUE"]).ready();
        world.source("INSERT INTO t VALUES (1, 1.005, '2024-01-01 10:00:00.7'), (2, 1.0100, '2024-01-01 10:00:00')");
        world.wait_target(&ebb, "SELECT COUNT(*), SUM(total) FROM t", "2|2.02");
        let metrics = || http_get(&pages, "/_/varz");
        wait_for("two counters", || ebb.log(), || metrics().matches("ebb_values_rounded_total{").count() == 2);
        assert!(metrics().lines().any(|line| line.contains("column=\"total\"} 1")), "{}", metrics());
        ebb.stop();
    }
}
