//! Triggers: which of them fire, what they may not do, and that they come back as they were after they were dropped.

use ebb_mysql::Session;
use ebb_sdk::{Catalog, ErrorKind, SavedTrigger, Session as _, Trigger};
use ebb_servers::Flavour;

use crate::world::{World, Writer, connect, restore, table_of};

/// The case of a published sample database: a trigger that sets the time of creation.
#[tokio::test]
async fn rows_are_written_by_the_event_that_happened() {
    let schema = "CREATE TABLE customer (id INT PRIMARY KEY, email VARCHAR(50), created DATETIME NOT NULL);
         CREATE TABLE log (at INT AUTO_INCREMENT PRIMARY KEY, event VARCHAR(20));
         CREATE TABLE flags (a INT, b INT, PRIMARY KEY (a, b));
         INSERT INTO customer VALUES (1, 'old', '2006-02-14 22:04:36'), (2, 'old', '2006-02-14 22:04:36'); INSERT INTO flags VALUES (1, 1);
         CREATE TRIGGER customer_created BEFORE INSERT ON customer FOR EACH ROW SET NEW.created = '2030-01-01';
         CREATE TRIGGER customer_insert AFTER INSERT ON customer FOR EACH ROW INSERT INTO log (event) VALUES (CONCAT('insert ', NEW.id));
         CREATE TRIGGER customer_update AFTER UPDATE ON customer FOR EACH ROW INSERT INTO log (event) VALUES (CONCAT('update ', NEW.id));
         CREATE TRIGGER customer_delete AFTER DELETE ON customer FOR EACH ROW INSERT INTO log (event) VALUES (CONCAT('delete ', OLD.id));
         CREATE TRIGGER flags_insert AFTER INSERT ON flags FOR EACH ROW INSERT INTO log (event) VALUES (CONCAT('flag ', NEW.b))";
    for world in World::both("triggers_events", schema) {
        let mut writer = world.writer().await;
        let columns = ["id", "email", "created"];
        let moment = "\"2006-02-14T22:04:36\"";
        // Rows that are there, new ones, and both at once.
        writer.upsert("customer", &columns, &[&["1", "\"new\"", moment], &["2", "\"new\"", moment]]).await.unwrap();
        writer.upsert("customer", &columns, &[&["3", "\"c\"", moment], &["4", "\"d\"", moment]]).await.unwrap();
        let mixed: [&[&str]; 3] = [&["5", "\"e\"", moment], &["1", "\"new\"", moment], &["6", "\"f\"", moment]];
        writer.upsert("customer", &columns, &mixed).await.unwrap();
        writer.upsert("flags", &["a", "b"], &[&["1", "1"], &["1", "2"]]).await.unwrap();
        writer.delete("customer", &["id"], &[&["2"], &["9"]]).await.unwrap();
        let events = world.sql("SELECT GROUP_CONCAT(event ORDER BY at) FROM log");
        assert_eq!(events, "update 1,update 2,insert 3,insert 4,insert 5,update 1,insert 6,flag 2,delete 2");
        let rows = world.sql("SELECT id, email, YEAR(created) FROM customer ORDER BY id");
        assert_eq!(rows, "1|new|2006\n3|c|2030\n4|d|2030\n5|e|2030\n6|f|2030");
    }
}

/// No value is written over another row by way of a unique key or of a key that is compared loosely.
#[tokio::test]
async fn tables_with_triggers_are_guarded_as_others_are() {
    let schema = "CREATE TABLE t (name VARCHAR(9) COLLATE utf8mb4_general_ci PRIMARY KEY, u INT UNIQUE);
         CREATE TRIGGER t_insert BEFORE INSERT ON t FOR EACH ROW SET @fired = 1; INSERT INTO t VALUES ('Ada', 1), ('Bob', 2)";
    for world in World::both("triggers_guarded", schema) {
        let mut writer = world.writer().await;
        for row in [["\"ADA\"", "9"], ["\"Ada \"", "9"], ["\"Cy\"", "1"], ["\"Bob\"", "1"]] {
            let error = writer.upsert("t", &["name", "u"], &[&row]).await.unwrap_err();
            assert_eq!((error.kind, error.conflict), (ErrorKind::Refused, true), "{error:?}");
        }
        writer.delete("t", &["name"], &[&["\"ADA\""]]).await.unwrap();
        assert_eq!(world.sql("SELECT * FROM t"), "Ada|1\nBob|2");
    }
}

#[tokio::test]
async fn a_trigger_that_gives_a_row_another_key_is_named() {
    let schema = "CREATE TABLE t (id INT PRIMARY KEY, v INT);
         CREATE TRIGGER moves BEFORE INSERT ON t FOR EACH ROW SET NEW.id = NEW.id + 100";
    for world in World::both("triggers_key", schema) {
        let mut writer = world.writer().await;
        let error = writer.upsert("t", &["id", "v"], &[&["1", "1"], &["2", "2"]]).await.unwrap_err();
        assert_eq!((error.kind, error.key.as_deref()), (ErrorKind::Refused, Some("id=1")), "{error:?}");
        assert!(error.message.contains("moves") && error.hint.is_some(), "{error:?}");
        assert_eq!(world.sql("SELECT COUNT(*) FROM t"), "0");
    }
}

/// A user without the right sees no trigger, and the server does not say so.
#[tokio::test]
async fn triggers_that_cannot_be_seen_are_reckoned_with() {
    let schema = "CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1);
         CREATE TRIGGER changes BEFORE INSERT ON t FOR EACH ROW SET NEW.v = -1;
         CREATE USER IF NOT EXISTS blind@'%' IDENTIFIED BY 'pw'; GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON triggers_blind.* TO blind@'%'";
    for world in World::both("triggers_blind", schema) {
        let mut writer = Writer::new(connect(&world.url_as("blind", "pw")).await.unwrap()).await;
        let seen = saved(&writer.catalog);
        let grant = table_of(&writer.catalog, "t").hides_triggers.clone();
        let is_named = grant.is_some_and(|grant| grant.starts_with("GRANT TRIGGER ON `triggers_blind`.* TO "));
        assert_eq!(is_named, world.flavour == Flavour::MySql);
        // MariaDB shows the name only, and MySQL nothing.
        assert_eq!(seen.len(), usize::from(world.flavour == Flavour::MariaDb));
        assert!(seen.iter().all(|saved| saved.trigger.create.is_empty()));
        writer.upsert("t", &["id", "v"], &[&["1", "5"]]).await.unwrap();
        assert_eq!(world.sql("SELECT * FROM t"), "1|5");
        if world.flavour == Flavour::MariaDb {
            let error = writer.session.drop_triggers(&seen).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Config, "{error:?}");
            assert!(error.hint.is_some_and(|hint| hint.contains("GRANT TRIGGER")));
        }
        world.sql("GRANT TRIGGER ON triggers_blind.t TO blind@'%'");
        let mut session = connect(&world.url_as("blind", "pw")).await.unwrap();
        let seen = described(&mut session).await;
        assert_eq!(table_of(&session.describe().await.unwrap(), "t").hides_triggers, None);
        assert!(!seen[0].trigger.create.is_empty() && seen.len() == 1, "{seen:?}");
    }
}

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, v TEXT); CREATE TABLE s (id TINYINT PRIMARY KEY, v TEXT); CREATE TABLE `odd ``name` (id INT PRIMARY KEY, v TEXT)";

/// Triggers of every kind, as different people made them; statements are separated by `;;`.
const TRIGGERS: [&str; 8] = [
    "CREATE TRIGGER second BEFORE INSERT ON t FOR EACH ROW SET NEW.v = CONCAT(NEW.v, '2')",
    "CREATE TRIGGER first BEFORE INSERT ON t FOR EACH ROW PRECEDES second SET NEW.v = CONCAT(NEW.v, '1')",
    "CREATE TRIGGER `th``ird` BEFORE INSERT ON t /* FOR EACH ROW */ FOR EACH ROW FOLLOWS second BEGIN SET @a = 'é🐘'; SET NEW.v = CONCAT(NEW.v, '3'); END",
    "CREATE DEFINER = someone@'%' TRIGGER other AFTER INSERT ON t FOR EACH ROW SET @b = 'it''s'",
    "CREATE DEFINER = nobody@nowhere TRIGGER gone BEFORE DELETE ON `odd ``name` FOR EACH ROW SET @c = 1",
    "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES';; CREATE TRIGGER ansi BEFORE UPDATE ON \"odd `name\" FOR EACH ROW SET @d = 'c:\\temp'",
    "SET sql_mode = '';; SET NAMES latin1 COLLATE latin1_german2_ci;; CREATE TRIGGER latin AFTER UPDATE ON t FOR EACH ROW SET @e = 'gr\u{c3}\u{bc}n'",
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin;; ALTER DATABASE COLLATE utf8mb4_general_ci;; \
     CREATE TRIGGER collated AFTER DELETE ON t FOR EACH ROW SET @f = 1;; ALTER DATABASE COLLATE utf8mb4_unicode_ci",
];

/// All that the server tells of triggers but the time at which they were made.
const SHOWN: &str = "SELECT event_object_table, trigger_name, event_manipulation, action_timing, action_order, HEX(action_statement), definer, \
     sql_mode, character_set_client, collation_connection, database_collation, @@collation_database \
     FROM information_schema.triggers WHERE trigger_schema = DATABASE() ORDER BY 1, 2";

fn with_triggers(name: &str) -> [World; 2] {
    World::both(name, &format!("{TABLES}; CREATE USER IF NOT EXISTS someone@'%'")).map(|world| {
        TRIGGERS.iter().for_each(|trigger| world.sql_bodies(trigger));
        world
    })
}

fn saved(catalog: &Catalog) -> Vec<SavedTrigger> {
    let of_table = |table: &ebb_sdk::Table| {
        let saved = |trigger: &Trigger| SavedTrigger {
            feed: String::new(),
            namespace: table.namespace.clone(),
            table: table.name.clone(),
            trigger: trigger.clone(),
            proof: "p".into(),
        };
        table.triggers.iter().map(saved).collect::<Vec<_>>()
    };
    catalog.tables.iter().flat_map(of_table).collect()
}

async fn described(session: &mut Session) -> Vec<SavedTrigger> {
    saved(&session.describe().await.expect("a catalog"))
}

#[tokio::test]
async fn triggers_come_back_as_they_were() {
    for world in with_triggers("triggers_back") {
        let shown = world.sql(SHOWN);
        let mut session = world.session().await;
        let before = described(&mut session).await;
        assert_eq!(before.len(), TRIGGERS.len());
        assert!(before.iter().all(|saved| !saved.trigger.is_suspended));
        session.drop_triggers(&before).await.unwrap();
        assert_eq!(described(&mut session).await, []);
        assert_eq!(world.sql("SELECT COUNT(*) FROM ebb_triggers"), before.len().to_string());
        // Nothing is told of the table of records, and one that goes on finds it.
        assert!(session.describe().await.unwrap().tables.iter().all(|table| !table.name.starts_with("ebb_")));
        let mut session = world.session().await;
        let restored = restore(&mut session).await.unwrap();
        assert_eq!(restored.len(), before.len());
        assert_eq!(world.sql(SHOWN), shown, "{:?}", world.flavour);
        assert_eq!(described(&mut session).await, before);
        assert_eq!(world.sql("SHOW TABLES LIKE 'ebb_triggers'"), "");
        assert_eq!(session.restore_triggers("", &before).await.unwrap(), []);
        assert_eq!(world.sql(SHOWN), shown);
        // The session is what it was: strict, and of the same letters.
        session.drop_triggers(&before).await.unwrap();
        restore(&mut session).await.unwrap();
        let mut writer = Writer::new(session).await;
        writer.upsert("s", &["id", "v"], &[&["1", "\"🐘é\""]]).await.unwrap();
        assert_eq!(world.sql("SELECT v FROM s"), "🐘é");
        assert!(writer.upsert("s", &["id", "v"], &[&["300", "\"x\""]]).await.is_err());
    }
}

/// Whatever is lost or there already, what comes out is the same.
#[tokio::test]
async fn a_restore_goes_on_where_one_was_cut_off() {
    for world in with_triggers("triggers_cut") {
        let shown = world.sql(SHOWN);
        let mut session = world.session().await;
        let before = described(&mut session).await;
        // From what the host has, in any order, when the database has lost its records.
        session.drop_triggers(&before).await.unwrap();
        world.sql("DROP TABLE ebb_triggers");
        let reversed: Vec<_> = before.iter().rev().cloned().collect();
        assert_eq!(session.restore_triggers("", &reversed).await.unwrap().len(), before.len());
        assert_eq!(world.sql(SHOWN), shown, "{:?}", world.flavour);
        // Cut off between saving and dropping, with one, some and all of them dropped already.
        for dropped in 0..=before.len() {
            session.drop_triggers(&before).await.unwrap();
            let records = world.sql("SELECT COUNT(*) FROM ebb_triggers");
            assert_eq!(records, before.len().to_string());
            // Some are there again, the last first.
            let back: Vec<_> = before[dropped..].iter().rev().cloned().collect();
            world.sql("RENAME TABLE ebb_triggers TO kept");
            session.restore_triggers("", &back).await.unwrap();
            world.sql("RENAME TABLE kept TO ebb_triggers");
            let restored = restore(&mut session).await.unwrap();
            assert_eq!(restored.len(), dropped, "{restored:?}");
            assert_eq!(world.sql(SHOWN), shown, "{:?}, {dropped} dropped", world.flavour);
        }
        // A part of them, and again while the others are gone too.
        session.drop_triggers(&before[..2]).await.unwrap();
        session.drop_triggers(&before).await.unwrap();
        assert_eq!(session.restore_triggers("", &before).await.unwrap().len(), before.len());
        assert_eq!(world.sql(SHOWN), shown, "{:?}", world.flavour);
    }
}

/// A session that ends in the middle, at some moment after the definitions were saved, has lost none.
#[tokio::test]
async fn a_killed_session_loses_no_definition() {
    for world in with_triggers("triggers_killed") {
        let shown = world.sql(SHOWN);
        let before = described(&mut world.session().await).await;
        for _ in 0..4 {
            let mut session = world.session().await;
            let question = "SELECT COUNT(*) FROM ebb_triggers";
            let killed = world.kill_when(question, "8");
            let dropped = session.drop_triggers(&before).await;
            killed.await.unwrap_or_else(|error| panic!("{error}, {dropped:?}"));
            assert_eq!(world.sql(question), "8");
            restore(&mut world.session().await).await.unwrap();
            assert_eq!(world.sql(SHOWN), shown, "{:?}", world.flavour);
        }
    }
}

#[tokio::test]
async fn what_could_not_be_put_back_is_not_dropped() {
    let schema = format!(
        "{TABLES}; CREATE USER IF NOT EXISTS dropper@'%' IDENTIFIED BY 'pw'; CREATE DEFINER = root@'%' TRIGGER owned BEFORE INSERT ON t FOR EACH ROW SET @a = 1;
         GRANT ALL ON triggers_rights.* TO dropper@'%'"
    );
    for world in World::both("triggers_rights", &schema) {
        let mut session = connect(&world.url_as("dropper", "pw")).await.unwrap();
        let before = described(&mut session).await;
        let error = session.drop_triggers(&before).await.unwrap_err();
        let right = if world.flavour == Flavour::MySql { "SET_ANY_DEFINER" } else { "SET USER" };
        assert_eq!(error.kind, ErrorKind::Config, "{error:?}");
        assert!(error.hint.as_ref().is_some_and(|hint| hint.contains(right) && hint.contains("dropper")), "{error:?}");
        assert_eq!(described(&mut session).await, before);
        // The hint's own words mend it.
        world.sql(match world.flavour {
            Flavour::MySql => "GRANT SET_ANY_DEFINER, ALLOW_NONEXISTENT_DEFINER, SYSTEM_USER ON *.* TO dropper@'%'",
            Flavour::MariaDb => "GRANT SET USER ON *.* TO dropper@'%'",
        });
        let mut session = connect(&world.url_as("dropper", "pw")).await.unwrap();
        session.drop_triggers(&before).await.unwrap();
        restore(&mut session).await.unwrap();
        assert_eq!(described(&mut session).await, before);
        world.sql("REVOKE TRIGGER ON triggers_rights.* FROM dropper@'%'");
        let mut session = connect(&world.url_as("dropper", "pw")).await.unwrap();
        world.sql("DROP TRIGGER owned");
        let error = session.restore_triggers("", &before).await.unwrap_err();
        assert!(error.kind == ErrorKind::Config && error.hint.unwrap().contains("GRANT TRIGGER"), "{}", error.message);
    }
}

/// Nothing of a record is run but what makes a trigger, and one statement at a time.
#[tokio::test]
async fn a_record_with_other_statements_runs_none() {
    for world in World::both("triggers_strange", TABLES) {
        let mut session = world.session().await;
        let set = "SET SESSION sql_mode = '', character_set_client = utf8mb4, collation_connection = utf8mb4_bin";
        let create = "CREATE TRIGGER act BEFORE INSERT ON t FOR EACH ROW SET @a = 1";
        for other in
            ["DROP TABLE s", &format!("{create}; DROP TABLE s"), "ALTER DATABASE triggers_strange READ ONLY = 1"]
        {
            let trigger = Trigger { name: "act".into(), create: vec![set.into(), other.into()], ..Trigger::default() };
            let saved = SavedTrigger { table: "t".into(), trigger, ..SavedTrigger::default() };
            let error = session.restore_triggers("", &[saved]).await.unwrap_err();
            assert!(error.message.contains("a statement that ebb does not write"), "{error:?}");
            assert!(error.hint.is_some_and(|hint| hint.contains(other)));
        }
        assert_eq!(world.sql("SELECT COUNT(*) FROM s"), "0");
        assert_eq!(world.sql("SHOW TRIGGERS"), "");
        // One whose body is code for this server only could not be told from several statements: it is not dropped.
        world.sql_bodies("CREATE TRIGGER act BEFORE INSERT ON t FOR EACH ROW BEGIN /*!50000 SET @a = 1; */ END");
        let before = described(&mut session).await;
        let dropped = session.drop_triggers(&before).await;
        match before[0].trigger.create[1].contains("/*!") {
            true => assert!(dropped.unwrap_err().message.contains("could not make it again")),
            false => dropped.unwrap(),
        }
    }
}

/// What proves the right to make triggers is nobody else's trigger, and a failure leaves the database as it was.
#[tokio::test]
async fn what_is_not_dropped_stays_as_it_is() {
    let collated = "ALTER DATABASE COLLATE utf8mb4_general_ci;; \
                    CREATE TRIGGER collated AFTER DELETE ON t FOR EACH ROW SET @f = 1;; ALTER DATABASE COLLATE utf8mb4_unicode_ci";
    for world in World::both("triggers_kept", TABLES) {
        world.sql("CREATE TRIGGER ebb_probe BEFORE INSERT ON s FOR EACH ROW SET NEW.v = 'probed'");
        world.sql_bodies(collated);
        let mut session = world.session().await;
        let before = described(&mut session).await;
        let of_t: Vec<_> = before.iter().filter(|saved| saved.table == "t").cloned().collect();
        assert_eq!((before.len(), of_t.len(), of_t[0].trigger.create.len()), (2, 1, 4));
        session.drop_triggers(&of_t).await.unwrap();
        assert_eq!(
            world.sql("SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()"),
            "ebb_probe"
        );
        world.sql("RENAME TABLE t TO away");
        let error = restore(&mut session).await.unwrap_err();
        assert!(error.message.contains("put the trigger collated of t back"), "{error:?}");
        assert_eq!(world.sql("SELECT @@collation_database"), "utf8mb4_unicode_ci", "{:?}", world.flavour);
        world.sql("RENAME TABLE away TO t");
        assert_eq!(restore(&mut session).await.unwrap().len(), 1);
        assert_eq!(described(&mut session).await, before);
    }
}
