//! Triggers are told to the last letter, dropped for a time and put back, whatever happens in between.

use ebb_postgres::Session;
use ebb_sdk::{Catalog, ErrorKind, SavedTrigger, Session as _, Trigger};

use crate::world::{World, connect, restore};

const TRIGGERS: &str = "
    CREATE SCHEMA \"S 1\"; CREATE EXTENSION hstore;
    CREATE FUNCTION \"S 1\".\"F\"() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TABLE \"S 1\".\"T\" (id int PRIMARY KEY, \"V v\" text, words tsvector);
    CREATE TRIGGER \"b 2\" BEFORE INSERT OR UPDATE OF \"V v\" ON \"S 1\".\"T\" FOR EACH ROW
        WHEN (NEW.\"V v\" <> 'it''s; \\') EXECUTE FUNCTION \"S 1\".\"F\"('a''b', '2');
    COMMENT ON TRIGGER \"b 2\" ON \"S 1\".\"T\" IS 'it''s a \\ note';
    ALTER TRIGGER \"b 2\" ON \"S 1\".\"T\" DEPENDS ON EXTENSION hstore;
    CREATE TRIGGER a AFTER INSERT ON \"S 1\".\"T\" REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION f();
    CREATE TRIGGER always BEFORE DELETE ON \"S 1\".\"T\" FOR EACH ROW EXECUTE FUNCTION f();
    ALTER TABLE \"S 1\".\"T\" ENABLE ALWAYS TRIGGER always;
    CREATE TRIGGER replica BEFORE DELETE ON \"S 1\".\"T\" FOR EACH ROW EXECUTE FUNCTION f();
    ALTER TABLE \"S 1\".\"T\" ENABLE REPLICA TRIGGER replica;
    CREATE TRIGGER off BEFORE DELETE ON \"S 1\".\"T\" FOR EACH ROW EXECUTE FUNCTION f();
    ALTER TABLE \"S 1\".\"T\" DISABLE TRIGGER off;
    CREATE TRIGGER words BEFORE INSERT ON \"S 1\".\"T\" FOR EACH ROW
        EXECUTE FUNCTION tsvector_update_trigger(words, 'pg_catalog.english', \"V v\");
    CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON \"S 1\".\"T\" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION f();
    CREATE TRIGGER cleared AFTER TRUNCATE ON \"S 1\".\"T\" FOR EACH STATEMENT EXECUTE FUNCTION f();
    CREATE TABLE whole (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
    CREATE TABLE low PARTITION OF whole FOR VALUES FROM (0) TO (10);
    CREATE TABLE high PARTITION OF whole FOR VALUES FROM (10) TO (20);
    CREATE TRIGGER w AFTER UPDATE ON whole FOR EACH ROW EXECUTE FUNCTION f();
    ALTER TABLE low ENABLE ALWAYS TRIGGER w; COMMENT ON TRIGGER w ON high IS 'of a part';
    CREATE TRIGGER same BEFORE INSERT ON low FOR EACH ROW EXECUTE FUNCTION f();
    CREATE TRIGGER same BEFORE INSERT ON high FOR EACH ROW EXECUTE FUNCTION f();
    CREATE TABLE silent (id int PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE loud PARTITION OF silent FOR VALUES FROM (0) TO (10);
    CREATE TRIGGER s AFTER UPDATE ON silent FOR EACH ROW EXECUTE FUNCTION f();
    ALTER TABLE ONLY silent DISABLE TRIGGER s;";

/// What the server's own catalog has of the triggers, beside their numbers.
const SHOWN: &str = "SELECT g.tgrelid::regclass, g.tgname, g.tgenabled, pg_get_triggerdef(g.oid),
        obj_description(g.oid, 'pg_trigger'), g.tgdeferrable, g.tginitdeferred, g.tgisinternal, g.tgparentid <> 0,
        (SELECT count(*) FROM pg_depend d WHERE d.objid = g.oid AND d.deptype = 'x')
    FROM pg_trigger g WHERE NOT g.tgisinternal ORDER BY 1, 2";

pub(crate) fn saved(catalog: &Catalog) -> Vec<SavedTrigger> {
    let of_table = |table: &ebb_sdk::Table| {
        let (namespace, name) = (table.namespace.clone(), table.name.clone());
        let save = move |trigger: &Trigger| SavedTrigger {
            feed: String::new(),
            namespace: namespace.clone(),
            table: name.clone(),
            trigger: trigger.clone(),
            proof: "p".into(),
        };
        table.triggers.iter().map(save).collect::<Vec<_>>()
    };
    catalog.tables.iter().flat_map(of_table).collect()
}

#[tokio::test]
async fn triggers_come_back_to_the_last_letter() {
    let world = World::new("triggers_restore", TRIGGERS);
    let mut session = world.session().await;
    let (catalog, shown) = (session.describe().await.unwrap(), world.sql(SHOWN));
    let all = saved(&catalog);
    let names: Vec<_> = all.iter().map(|saved| (saved.trigger.name.as_str(), saved.trigger.is_suspended)).collect();
    let expected = [
        ("a", true),
        ("always", false),
        ("b 2", true),
        ("later", true),
        ("replica", false),
        ("words", true),
        ("s", true),
        ("same", true),
        ("same", true),
        ("w", false),
    ];
    assert_eq!(names, expected);
    session.drop_triggers(&all).await.unwrap();
    let without = session.describe().await.unwrap();
    assert!(without.tables.iter().all(|table| table.triggers.is_empty()), "{without:?}");
    assert_eq!(without.tables.len(), catalog.tables.len());
    // To drop them again is nothing.
    session.drop_triggers(&all).await.unwrap();
    assert_eq!(world.sql("SELECT count(*) FROM ebb_triggers"), "10");
    // Another process, which has only the database.
    let mut other = world.session().await;
    let mut restored = restore(&mut other).await.unwrap();
    restored.reverse();
    assert_eq!(restored, all);
    assert_eq!((other.describe().await.unwrap(), world.sql(SHOWN)), (catalog, shown));
    assert_eq!(world.sql("SELECT to_regclass('ebb_triggers') IS NULL"), "t");
    assert_eq!(other.restore_triggers("", &all).await.unwrap(), []);
}

#[tokio::test]
async fn triggers_come_back_from_what_the_host_has_saved() {
    let world = World::new("triggers_host", TRIGGERS);
    let mut session = world.session().await;
    let (catalog, shown) = (session.describe().await.unwrap(), world.sql(SHOWN));
    let all = saved(&catalog);
    session.drop_triggers(&all).await.unwrap();
    // Some are there already, and the table of the others was lost.
    world.sql(&format!("{}; DROP TABLE ebb_triggers", all[0].trigger.create.join(";")));
    assert_eq!(session.restore_triggers("", &all).await.unwrap(), all[1..]);
    assert_eq!((session.describe().await.unwrap(), world.sql(SHOWN)), (catalog, shown));
}

#[tokio::test]
async fn one_that_cannot_be_made_does_not_keep_the_others_away() {
    let world = World::new("triggers_failing", TRIGGERS);
    let mut session = world.session().await;
    let all = saved(&session.describe().await.unwrap());
    session.drop_triggers(&all).await.unwrap();
    world.sql("ALTER TABLE low RENAME TO lower");
    let error = restore(&mut session).await.unwrap_err();
    assert!(error.message.contains("put back the trigger ") && error.hint.is_some(), "{error:?}");
    // Those of the partition that is gone are kept for the next attempt, all others are back.
    assert_eq!(world.sql("SELECT count(*) FROM ebb_triggers"), "2");
    world.sql("ALTER TABLE lower RENAME TO low");
    assert_eq!(restore(&mut session).await.unwrap().len(), 2);
    assert_eq!(world.sql("SELECT to_regclass('ebb_triggers') IS NULL"), "t");
}

/// The server ends the connection in the middle, as the end of either process would.
#[tokio::test]
async fn a_connection_that_ends_in_the_middle_loses_no_trigger() {
    let world = World::new("triggers_cut", TRIGGERS);
    let mut session = world.session().await;
    let (catalog, shown) = (session.describe().await.unwrap(), world.sql(SHOWN));
    let all = saved(&catalog);
    // When the trigger `words` is dropped, and when it comes back, which others did before.
    world.sql(
        "CREATE FUNCTION cut() RETURNS event_trigger LANGUAGE plpgsql AS
             'BEGIN IF current_query() LIKE ''%words%'' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; END';
         CREATE EVENT TRIGGER cut ON ddl_command_end WHEN TAG IN ('DROP TRIGGER', 'CREATE TRIGGER') EXECUTE FUNCTION cut();",
    );
    let error = session.drop_triggers(&all).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Retry, "{error:?}");
    assert_eq!(world.sql(SHOWN), shown);
    world.sql("ALTER EVENT TRIGGER cut DISABLE");
    let mut session = world.session().await;
    session.drop_triggers(&all).await.unwrap();
    world.sql("ALTER EVENT TRIGGER cut ENABLE");
    let error = restore(&mut session).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Retry, "{error:?}");
    let (left, there) = (world.sql("SELECT count(*) FROM ebb_triggers"), world.sql(SHOWN));
    assert!(left != "0" && left != "10" && there != shown, "{left}");
    world.sql("DROP EVENT TRIGGER cut");
    let mut session = world.session().await;
    session.restore_triggers("", &all).await.unwrap();
    assert_eq!((session.describe().await.unwrap(), world.sql(SHOWN)), (catalog, shown));
}

#[tokio::test]
async fn only_the_owner_may_and_a_changed_trigger_is_not_dropped() {
    let world = World::new("triggers_rights", TRIGGERS);
    let mut session = world.session().await;
    let all = saved(&session.describe().await.unwrap());
    world.sql("ALTER TABLE whole DISABLE TRIGGER w; ALTER TABLE whole ENABLE REPLICA TRIGGER w");
    let error = session.drop_triggers(&all).await.unwrap_err();
    assert!(error.message.contains("the trigger w of") && error.message.contains("was changed"), "{error:?}");
    assert_eq!(world.sql("SELECT to_regclass('ebb_triggers') IS NULL"), "t");
    world.sql("CREATE ROLE triggers_app LOGIN PASSWORD 'p'; GRANT ALL ON SCHEMA public TO triggers_app; GRANT ALL ON whole TO triggers_app");
    let mut app = connect(&world.url_as("triggers_app", "p")).await.unwrap();
    let all = saved(&app.describe().await.unwrap());
    let error = app.drop_triggers(&all[9..]).await.unwrap_err();
    assert!(error.kind == ErrorKind::Config && error.hint.unwrap().contains("owner"), "{}", error.message);
    world.sql("DROP OWNED BY triggers_app; DROP ROLE triggers_app");
}

/// Nothing of a record is run but what makes a trigger, and one statement at a time.
#[tokio::test]
async fn a_record_with_other_statements_runs_none() {
    let world = World::new("triggers_strange", "CREATE TABLE t (id int PRIMARY KEY)");
    let mut session = world.session().await;
    let create = "CREATE TRIGGER act BEFORE UPDATE ON public.t FOR EACH ROW \
                  EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()";
    let check = async |session: &mut Session, statements: &[&str]| {
        let create = statements.iter().map(|text| (*text).to_owned()).collect();
        let trigger = Trigger { name: "act".into(), create, ..Trigger::default() };
        let saved = SavedTrigger { table: "t".into(), trigger, ..SavedTrigger::default() };
        session.restore_triggers("", &[saved]).await.unwrap_err()
    };
    let error = check(&mut session, &[create, "CREATE ROLE strange_one SUPERUSER"]).await;
    assert!(error.message.contains("a statement that ebb does not write"), "{error:?}");
    let error = check(&mut session, &[&format!("{create}; CREATE ROLE strange_one SUPERUSER")]).await;
    assert!(error.message.contains("multiple commands"), "{error:?}");
    assert_eq!(world.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'strange_one'"), "0");
    assert_eq!(world.sql("SELECT count(*) FROM pg_trigger"), "0");
}
