//! Primary keys page by page in the order of their index, and the statement that shows a row.

use ebb_sdk::{Key, KeyPage, Session as _};

use crate::reader::Reader;
use crate::values::{HELD, Key as InKey, TYPES};
use crate::world::{World, table_of};

/// Every key, in pages of so many.
async fn all(reader: &mut Reader, table: &str, limit: u32) -> Vec<Key> {
    let table = table_of(&reader.catalog, table).clone();
    let (mut found, mut after): (Vec<Key>, Option<Key>) = (Vec::new(), None);
    loop {
        let page = reader.session.keys(&table, &KeyPage { after: after.clone(), limit }).await.expect("a page");
        assert!(page.len() <= limit as usize);
        let is_last = page.len() < limit as usize;
        after = page.last().cloned().or(after);
        found.extend(page);
        if is_last {
            return found;
        }
    }
}

#[tokio::test]
async fn pages_follow_the_index() {
    let world = World::new(
        "row_keys_pages",
        "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext;
         CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE one (v text, id int8 PRIMARY KEY);
         INSERT INTO one SELECT 'x', i FROM generate_series(-3, 7) i; DELETE FROM one WHERE id = 2;
         CREATE TABLE three (c int, b ext.citext, a text COLLATE nocase, PRIMARY KEY (a, b, c));
         INSERT INTO three SELECT c, b, a FROM unnest('{B,a,C}'::text[]) a, unnest('{y,X}'::text[]) b, generate_series(1, 5) c;
         CREATE TABLE parts (id int, at date, PRIMARY KEY (id, at)) PARTITION BY HASH (id);
         CREATE TABLE part0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE part1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         INSERT INTO parts SELECT i % 7, DATE '2016-01-01' + i FROM generate_series(1, 40) i;
         CREATE TABLE none (id uuid PRIMARY KEY);",
    );
    drop(world.writer().await);
    let mut reader = Reader::new(&world).await;
    for (table, columns) in [("one", "id"), ("three", "a, b, c"), ("parts", "id, at"), ("none", "id")] {
        let expected = world.sql(&format!("SELECT {columns} FROM {table} ORDER BY {columns}"));
        for limit in [1, 3, 10, 1000] {
            let found = all(&mut reader, table, limit).await;
            let found: Vec<_> = found.iter().map(|key| key.join("|")).collect();
            assert_eq!(found.join("\n"), expected, "{table} by {limit}");
        }
    }
}

#[tokio::test]
async fn keys_of_every_type_lead_on_to_the_next_one() {
    let keys = || HELD.iter().enumerate().filter(|(_, (_, as_key, ..))| *as_key == InKey);
    let tables = keys().map(|(at, (name, ..))| format!("CREATE TABLE k{at} (n int, v {name} PRIMARY KEY);"));
    let types = TYPES.replace("values_held", "row_keys_types");
    let world = World::new("row_keys_types", &(types + &tables.collect::<String>()));
    let mut writer = world.writer().await;
    for (at, (_, _, json, _)) in keys() {
        writer.upsert(&format!("k{at}"), &["n", "v"], &[&["1", json]]).await.unwrap();
    }
    let mut reader = Reader::new(&world).await;
    for (at, (name, _, json, shown)) in keys() {
        let found = all(&mut reader, &format!("k{at}"), 1).await;
        let expected = match *name {
            "money" => shown.trim_start_matches('$').to_owned(),
            "inet" => shown.trim_end_matches("/128").to_owned(),
            _ => (*shown).to_owned(),
        };
        assert_eq!(found, [[expected]], "{name} {json}");
        // The row is shown by its key, and by the text that came.
        let table = table_of(&reader.catalog, &format!("k{at}")).clone();
        let wire = if json.starts_with('"') { serde_json::from_str(json).unwrap() } else { (*json).to_owned() };
        for key in [found[0].clone(), vec![wire]] {
            let look = reader.session.look(&table, &key);
            // The settings of a person, who sees money and moments as they are used to.
            let there = world.sql(&look);
            assert!(there.starts_with("1|"), "{name} {json}: {look} shows {there}");
        }
    }
}

#[tokio::test]
async fn the_statement_that_shows_a_row_means_no_other() {
    let world = World::new(
        "row_keys_look",
        r#"CREATE SCHEMA "S""x"; CREATE TABLE "S""x"."T" ("I'd" text, n int, PRIMARY KEY (n, "I'd"));
           INSERT INTO "S""x"."T" VALUES ('O''N', 1), ('a\b', 1), ('\''', 1), ('', 2), (E'two\nlines', 2);"#,
    );
    drop(world.writer().await);
    let mut reader = Reader::new(&world).await;
    let table = table_of(&reader.catalog, "T").clone();
    let key = ["7".to_owned(), "a".to_owned()];
    assert_eq!(reader.session.look(&table, &key), r#"SELECT * FROM "S""x"."T" WHERE "n" = '7' AND "I'd" = 'a';"#);
    let keys = all(&mut reader, "T", 2).await;
    assert_eq!(keys.len(), 5);
    for key in keys {
        let look = reader.session.look(&table, &key);
        for setting in ["on", "off"] {
            let shown = world.sql(&format!("SET standard_conforming_strings = {setting}; {look}"));
            assert_eq!(shown, format!("{}|{}", key[1], key[0]), "{look}");
        }
    }
}
