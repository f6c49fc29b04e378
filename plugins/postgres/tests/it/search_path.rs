//! Operators and types that other users of the database put in front of PostgreSQL's own.
//!
//! Owns: that none of them is used. Does not own: functions (`connect`).

use ebb_sdk::{Checks, LeaseRenewal, Operation, Session as _};

use crate::world::{FEED, World};

/// Operators of the kinds that ebb's statements use: the same types as PostgreSQL's own, and the exact types where it has none.
const OPERATORS: &[(&str, &str, &str, &str)] = &[
    ("=", "text", "text", "bool"),
    ("=", "name", "text", "bool"),
    ("=", "name", "name", "bool"),
    ("=", "\"char\"", "\"char\"", "bool"),
    ("=", "oid", "oid", "bool"),
    ("=", "oid", "regclass", "bool"),
    ("=", "oid", "int4", "bool"),
    ("=", "int2", "int2", "bool"),
    ("=", "int4", "int4", "bool"),
    ("=", "int8", "int8", "bool"),
    ("=", "varchar", "varchar", "bool"),
    ("<>", "text", "text", "bool"),
    ("<>", "name", "name", "bool"),
    ("<>", "\"char\"", "\"char\"", "bool"),
    ("<>", "int2", "int4", "bool"),
    ("<>", "oid", "oid", "bool"),
    ("<>", "tid", "tid", "bool"),
    (">", "int2", "int4", "bool"),
    (">", "int4", "int4", "bool"),
    (">=", "int8", "int4", "bool"),
    ("&", "int2", "int4", "int4"),
    ("->>", "jsonb", "text", "text"),
    ("->>", "jsonb", "varchar", "text"),
    ("||", "text", "text", "text"),
    ("*", "float8", "interval", "interval"),
    ("*", "float8", "int4", "float8"),
    ("*", "numeric", "int4", "numeric"),
    ("+", "timestamptz", "interval", "timestamptz"),
    ("-", "timestamptz", "timestamptz", "interval"),
    ("/", "int4", "int8", "int8"),
    ("+", "int8", "int4", "int8"),
];

#[tokio::test]
async fn operators_and_types_of_others_are_not_used() {
    let operator = |(at, (name, left, right, of)): (usize, &(&str, &str, &str, &str))| {
        format!(
            "CREATE FUNCTION aaa.f{at}({left}, {right}) RETURNS {of} LANGUAGE plpgsql AS $$ BEGIN \
             RAISE EXCEPTION 'aaa.{name} was run'; END $$; \
             CREATE OPERATOR aaa.{name} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = aaa.f{at});"
        )
    };
    let operators: String = OPERATORS.iter().enumerate().map(operator).collect();
    // A schema whose name comes first in every order, and a path that has it in front.
    let world = World::new(
        "hostile_operators",
        &format!(
            "CREATE SCHEMA aaa; CREATE TABLE aaa.t (id int8 PRIMARY KEY, name varchar, n int8 UNIQUE DEFERRABLE); \
             CREATE TABLE aaa.c (id varchar PRIMARY KEY, up int8 REFERENCES aaa.t, CHECK (up > 0)); \
             CREATE FUNCTION aaa.see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 NEW.name = current_setting('search_path'); RETURN NEW; END $$; \
             CREATE TRIGGER see BEFORE INSERT ON aaa.t FOR EACH ROW EXECUTE FUNCTION aaa.see(); {operators} \
             CREATE DOMAIN aaa.text AS int; CREATE DOMAIN aaa.timestamptz AS int; \
             ALTER DATABASE hostile_operators SET search_path = aaa, pg_catalog"
        ),
    );
    let mut writer = world.writer().await;
    writer.upsert("t", &["id", "name", "n"], &[&["1", "\"a\"", "1"], &["2", "\"b\"", "2"]]).await.unwrap();
    writer.upsert("c", &["id", "up"], &[&["\"x\"", "1"]]).await.unwrap();
    writer.session.begin(Checks::Suspended).await.unwrap();
    writer.write("t", Operation::Delete, &["id"], &[&["2"], &["9"]]).await.unwrap();
    writer.write("c", Operation::Replace, &["id", "up"], &[&["\"x\"", "1"]]).await.unwrap();
    writer.write("t", Operation::Verify, &["id"], &[&["1"], &["2"]]).await.unwrap();
    writer.write("c", Operation::Verify, &["id"], &[&["\"x\""]]).await.unwrap();
    writer.commit().await.unwrap();
    writer.delete("c", &["id"], &[&["\"y\""]]).await.unwrap();
    let lease = LeaseRenewal { feed: FEED.into(), epoch: writer.progress.epoch, alive_ms: 1000, note: None };
    writer.session.renew(&lease).await.unwrap();
    writer.session.lease_state(FEED).await.unwrap().unwrap();
    writer.session.progress(FEED).await.unwrap().unwrap();
    // What a trigger of the user's meets is the path that the user has.
    assert_eq!(world.sql("SELECT id, name FROM aaa.t"), "1|aaa, pg_catalog");
}
