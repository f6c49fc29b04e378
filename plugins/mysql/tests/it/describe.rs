//! What the catalog says of tables of every kind.

use ebb_sdk::{Action, ColumnIndex, Identity, Session as _, TableIndex};
use ebb_servers::Flavour;

use crate::world::{World, table_of};

#[tokio::test]
async fn columns_and_keys() {
    let schema = "CREATE TABLE `Odd ``name` (b VARCHAR(3), a INT NOT NULL, `C d` DECIMAL(10,2) NOT NULL, sum INT AS (a + 1) STORED,
             n INT AS (a + 2) VIRTUAL, m INT NOT NULL AUTO_INCREMENT, t TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (`C d`, a),
             UNIQUE pair (m, b), UNIQUE prefix (b(2)));
         CREATE TABLE keyless (a INT); CREATE VIEW shown AS SELECT 1 AS a;
         CREATE TABLE old (id INT PRIMARY KEY) ENGINE = MyISAM;";
    for world in World::both("describe_columns", schema) {
        let mut writer = world.writer().await;
        let catalog = writer.session.describe().await.unwrap();
        assert_eq!(catalog.namespace, ["describe_columns"]);
        let name = if world.flavour == Flavour::MariaDb { "MariaDB 10." } else { "MySQL 9." };
        assert!(catalog.server_version.starts_with(name), "{}", catalog.server_version);
        let mut names: Vec<_> = catalog.tables.iter().map(|table| table.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["Odd `name", "keyless", "old"]);
        let table = table_of(&catalog, "Odd `name");
        assert_eq!(table.to_string(), "describe_columns.Odd `name");
        let columns: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(columns, ["b", "a", "C d", "sum", "n", "m", "t"]);
        let nullable: Vec<_> = table.columns.iter().map(|column| column.nullable).collect();
        assert_eq!(nullable, [true, false, false, true, true, false, true]);
        let generated: Vec<_> =
            table.columns.iter().filter(|column| column.generated).map(|column| &column.name).collect();
        assert_eq!(generated, ["sum", "n"]);
        assert_eq!(table.columns[5].identity, Identity::ByDefault);
        assert_eq!(
            (table.primary_key.clone(), table.unique_keys.iter().map(|key| key.columns.clone()).collect::<Vec<_>>()),
            (positions(&[2, 1]), vec![positions(&[5, 0]), positions(&[0])])
        );
        assert!(table_of(&catalog, "keyless").primary_key.is_empty());
        let not_writable = table_of(&catalog, "old").not_writable[0].clone();
        assert!(not_writable.why.contains("MyISAM"), "{not_writable:?}");
        // The statement is the one that mends it.
        world.sql(&not_writable.hint);
        assert_eq!(table_of(&writer.session.describe().await.unwrap(), "old").not_writable, []);
    }
}

#[tokio::test]
async fn foreign_keys_and_triggers() {
    let schema = "CREATE TABLE parents (x INT, y INT, PRIMARY KEY (x, y));
         CREATE TABLE children (id INT PRIMARY KEY, py INT, px INT, up INT,
             CONSTRAINT self FOREIGN KEY (up) REFERENCES children (id) ON DELETE SET NULL,
             CONSTRAINT pair FOREIGN KEY (px, py) REFERENCES parents (x, y) ON DELETE CASCADE ON UPDATE NO ACTION);
         CREATE TRIGGER t BEFORE INSERT ON parents FOR EACH ROW SET NEW.y = NEW.y;";
    for world in World::both("describe_references", schema) {
        let catalog = world.session().await.describe().await.unwrap();
        let at = |name: &str| TableIndex::at(catalog.tables.iter().position(|table| table.name == name).unwrap());
        let children = table_of(&catalog, "children");
        let [pair, to_self] = children.foreign_keys.as_slice() else { panic!("{children:?}") };
        assert_eq!(
            (pair.name.as_str(), pair.references, pair.columns.clone()),
            ("pair", at("parents"), positions(&[2, 1]))
        );
        assert_eq!(
            (pair.references_columns.clone(), pair.on_delete, pair.on_update),
            (positions(&[0, 1]), Action::Cascade, Action::Restrict)
        );
        assert_eq!((to_self.references, to_self.on_delete), (at("children"), Action::SetNull));
        assert!(!table_of(&catalog, "parents").triggers.is_empty() && children.triggers.is_empty());
        assert!(catalog.suspends_checks && !catalog.suspends_triggers);
    }
}

/// What a CHECK reads resists NULL, but for the one that says of a text that it is JSON; such a text is written as JSON.
#[tokio::test]
async fn checks_of_every_kind() {
    let schema = "CREATE TABLE t (id INT PRIMARY KEY, plain LONGTEXT, own JSON, earlier JSON,
             first LONGTEXT CHECK (json_valid(first) AND first IS NOT NULL), second LONGTEXT, third VARCHAR(50),
             `odd``n` INT, `it's` INT, a INT, b INT, c INT, Abc INT, CHECK (json_valid(THIRD)),
             CHECK (length(second) > 0 AND json_valid(second)), CHECK (`odd``n` IS NOT NULL OR `it's` IS NOT NULL),
             CHECK (a < B), CHECK (ABC <> 'c'));
         ALTER TABLE t RENAME COLUMN earlier TO later;";
    for world in World::both("describe_checks", schema) {
        let mut writer = world.writer().await;
        let resisting: Vec<_> =
            table_of(&writer.catalog, "t").columns.iter().filter(|column| column.resists_null).collect();
        let resisting: Vec<_> = resisting.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(resisting, ["first", "second", "odd`n", "it's", "a", "b", "Abc"], "{:?}", world.flavour);
        let columns = ["id", "plain", "own", "later", "first", "second", "third", "odd`n"];
        let row = ["1", "\"1\"", "\"1\"", "\"1\"", "\"1\"", "\"1\"", "\"1\"", "1"];
        writer.upsert("t", &columns, &[&row]).await.unwrap();
        let found = world.sql("SELECT plain, own, later, first, second, third FROM t");
        assert_eq!(found, "1|\"1\"|\"1\"|\"1\"|\"1\"|\"1\"", "{:?}", world.flavour);
    }
}

/// The statement that mends a key keeps how its letters are compared.
#[tokio::test]
async fn a_key_is_mended_with_its_collation() {
    let letters = "VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_bin";
    for world in World::both("describe_mend", "") {
        // Each has a kind of key that the other does not take, or does not mend by this alone.
        let key = match world.flavour {
            Flavour::MySql => format!("{letters} AS (CONCAT('x', a)) STORED"),
            Flavour::MariaDb => format!("{letters} CHECK (json_valid(k))"),
        };
        world.sql(&format!("CREATE TABLE t (a VARCHAR(9) CHARACTER SET latin1, k {key}, PRIMARY KEY (k))"));
        let mut session = world.session().await;
        let not_writable = table_of(&session.describe().await.unwrap(), "t").not_writable[0].clone();
        world.sql(&not_writable.hint);
        let shown = "SELECT collation_name, extra FROM information_schema.columns
             WHERE table_schema = DATABASE() AND table_name = 't' AND column_name = 'k'";
        assert_eq!(world.sql(shown).trim_end_matches('|'), "latin1_bin", "{:?} {not_writable:?}", world.flavour);
        assert_eq!(table_of(&session.describe().await.unwrap(), "t").not_writable, [], "{:?}", world.flavour);
    }
}

/// Keys of a table with a history are shown with the end of a row in them, which the server has added.
#[tokio::test]
async fn a_history_is_no_part_of_a_key() {
    let schema = "CREATE TABLE t (id INT PRIMARY KEY, v INT UNIQUE, since TIMESTAMP(6) GENERATED ALWAYS AS ROW START,
             until TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (since, until)) WITH SYSTEM VERSIONING";
    let [mariadb, _] = World::both("describe_history", "");
    mariadb.sql(schema);
    let catalog = mariadb.session().await.describe().await.unwrap();
    let table = table_of(&catalog, "t");
    let unique: Vec<_> = table.unique_keys.iter().map(|key| key.columns.clone()).collect();
    assert_eq!((table.primary_key.clone(), unique), (positions(&[0]), vec![positions(&[1])]));
    assert_eq!(table.columns.iter().map(|column| column.generated).collect::<Vec<_>>(), [false, false, true, true]);
    assert!(table.not_writable.is_empty() && !table.columns.iter().any(|column| column.resists_null), "{table:?}");
}

fn positions(places: &[u32]) -> Vec<ColumnIndex> {
    places.iter().copied().map(ColumnIndex).collect()
}
