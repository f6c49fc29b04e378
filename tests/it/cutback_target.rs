//! What `ebb cutback` leaves to a person on the target, and says so: what was not looked at is never told as good.

use ebb_servers::Flavour;
use serde_json::Value;

use crate::cutback::{cutback, start};
use crate::harness::client::Client;
use crate::harness::world::{Dialect, World};

const SOURCE: &str = "CREATE TABLE t (id int8 PRIMARY KEY, name text); CREATE TABLE u (id int8 PRIMARY KEY, v int8)";

fn to_do(record: &Value) -> String {
    record["to_do"].to_string()
}

fn said(record: &Value, step: &str) -> String {
    let steps = record["steps"].as_array().expect("a list");
    let found = steps.iter().find(|taken| taken["step"] == step);
    found.unwrap_or_else(|| panic!("{step}: {record:#}"))["said"].to_string()
}

#[track_caller]
fn is_go((code, record): (Option<i32>, Value)) -> Value {
    assert_eq!((code, record["verdict"].as_str()), (Some(0), Some("GO")), "{record:#}");
    record
}

#[test]
fn sequences_that_cannot_be_compared_are_left_to_a_person() {
    let target = "CREATE SEQUENCE t_seq; CREATE SEQUENCE tags; CREATE SEQUENCE circle CYCLE MAXVALUE 9000;
        CREATE TABLE t (id int8 DEFAULT nextval('circle') PRIMARY KEY, name text DEFAULT 'T' || nextval('tags'));
        CREATE TABLE u (id int8 DEFAULT nextval('t_seq'::text) PRIMARY KEY, v bigserial)";
    let world = World::with_target(Dialect::Postgres, "cutback_by_hand", SOURCE, target);
    let (ebb, _) = start(&world);
    let record = is_go(cutback(&world, &[]));
    let to_do = to_do(&record);
    for part in [
        "the sequence public.t_seq, which no column uses: it gives 1 next",
        "the sequence public.tags of public.t.name",
        "CYCLE",
        "the default names it as text",
        "SELECT last_value, is_called FROM public.circle; SELECT max(",
    ] {
        assert!(to_do.contains(part), "{part}: {to_do}");
    }
    // Without an index.
    assert!(said(&record, "sequences").contains("advanced public.u_v_seq from 1 to 2"), "{record:#}");
    world.target("INSERT INTO u (id) VALUES (2)");
    assert_eq!(world.target("SELECT v FROM u WHERE id = 2"), "2");
    ebb.stop();
}

#[test]
fn sequences_of_mariadb_are_moved_behind_their_column() {
    let target = "CREATE SEQUENCE s; CREATE SEQUENCE other; CREATE SEQUENCE part;
        CREATE TABLE t (id BIGINT DEFAULT NEXTVAL(s) PRIMARY KEY, name VARCHAR(40) DEFAULT CONCAT('T', NEXTVAL(part)));
        CREATE TABLE u (id BIGINT PRIMARY KEY, v BIGINT)";
    let world = World::with_target(Dialect::MySql(Flavour::MariaDb), "cutback_maria", SOURCE, target);
    let (ebb, _) = start(&world);
    let record = is_go(cutback(&world, &["--dry-run"]));
    assert!(said(&record, "sequences").contains("advance `s` from 1 to 501"), "{record:#}");
    assert_eq!(world.target("SELECT next_not_cached_value FROM s"), "1");
    let record = is_go(cutback(&world, &[]));
    assert!(said(&record, "sequences").contains("advanced `s` from 1 to 501"), "{record:#}");
    let to_do = to_do(&record);
    assert!(to_do.contains("the sequence `other`, which no column uses: it gives 1 next"), "{to_do}");
    assert!(to_do.contains("the sequence `part` of `t`.`name`"), "{to_do}");
    // Another round cannot tell which of the values set aside comes next, and moves nothing on.
    let record = is_go(cutback(&world, &[]));
    assert!(said(&record, "sequences").contains("to 501 for"), "{record:#}");
    world.target("INSERT INTO t (name) VALUES ('new')");
    assert_eq!(world.target("SELECT id FROM t WHERE name = 'new'"), "501");
    ebb.stop();
}

#[test]
fn writers_and_statistics_that_this_user_has_no_right_on_are_told() {
    let target = "CREATE TABLE t (id bigserial PRIMARY KEY, name text); CREATE TABLE u (id int8 PRIMARY KEY, v int8)";
    let world = World::with_target(Dialect::Postgres, "cutback_unseen", SOURCE, target);
    let (ebb, _) = start(&world);
    let mut writer = Client::connect(Dialect::Postgres, &world.target_url());
    writer.ask("BEGIN; INSERT INTO u VALUES (99, 99)").expect("a row");
    let url = world.plain_target_url();
    let record = is_go(cutback(&world, &["--target", &url]));
    let (late, to_do) = (said(&record, "late writers"), to_do(&record));
    assert!(late.contains("is not known") && !late.contains("nobody else"), "{late}");
    assert!(to_do.contains("GRANT pg_read_all_stats TO"), "{to_do}");
    let analyzed = said(&record, "analyze");
    assert!(
        analyzed.contains("the planner knows 0 tables; not analyzed: ") && to_do.contains("does not own it"),
        "{to_do}"
    );
    assert_eq!(world.target("SELECT max(reltuples) <= 0 FROM pg_class WHERE relname IN ('t', 'u')"), "t");
    writer.ask("ROLLBACK").expect("no row");
    ebb.stop();
}
