//! What a credential may do: rows of its own schemas and nothing of others, within what time allows.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::post::{Answer, Post};
use crate::harness::world::{Ebb, World};

const TABLES: &str = "CREATE TABLE orders (id int PRIMARY KEY, v int); CREATE SCHEMA audit; \
                      CREATE TABLE audit.logins (id int PRIMARY KEY, v int)";

/// A token for these schemas of the world's database.
fn token(world: &World, schemas: &[&str]) -> String {
    let flag = if world.dir().join("a.key").exists() { "--key" } else { "--new-key" };
    let allowed: Vec<_> = schemas.iter().map(|schema| format!("{}.{schema}", world.database())).collect();
    let mut args = vec!["make-jwt", flag, "a.key"];
    args.extend(allowed.iter().flat_map(|schema| ["--allow", schema.as_str()]));
    world.run(&args)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn row(topic: &str, id: u32, second: u64) -> String {
    format!(
        r#"{{"after": {{"id": {id}, "v": 1}}, "key": [{id}], "topic": "{topic}", "updated": "{second}000000000.0"}}"#
    )
}

fn body(rows: &[String]) -> String {
    format!(r#"{{"payload":[{}],"length":{}}}"#, rows.join(","), rows.len())
}

fn resolved(second: u64) -> String {
    format!(r#"{{"resolved":"{second}000000000.0000000000"}}"#)
}

fn post(world: &World, token: &str, schema: &str, body: &str) -> Answer {
    let path = format!("{}/{schema}", world.database());
    Post::new(world).without_certificate().header(format!("Authorization: Bearer {token}")).path(path).send(body)
}

fn refused(ebb: &Ebb, answer: &Answer, status: u16, why: &str) {
    assert!(answer.status == status && answer.body.contains(why), "{}: {}\n{}", answer.status, answer.body, ebb.log());
}

#[test]
fn a_token_of_one_schema_reaches_no_other_through_its_path() {
    let world = World::new("grants_fetch", TABLES);
    let (whole, part) = (token(&world, &["public", "audit"]), token(&world, &["public"]));
    let with = |token: &str| {
        world.write_changefeed_settings(&format!(
            r#"{{"sink_query_parameters": "insecure_tls_skip_verify=true", "webhook_auth_header": "Bearer {token}"}}"#
        ));
        world.fetch(&[
            "--schema-filter",
            "public|audit",
            "--replicator-flags",
            "--stagingSchema s -v --jwt-public-keys a.key.pub",
        ])
    };
    // The changefeed's own token is looked at before anything is received.
    let mut ebb = with(&part);
    assert_eq!(ebb.wait().code(), Some(1), "{}", ebb.log());
    assert!(ebb.log().contains("would be refused for the schema grants_fetch.audit"), "{}", ebb.log());
    let ebb = with(&whole).ready();
    let [logins, orders] = ["audit.logins", "public.orders"].map(|table| format!("grants_fetch.{table}"));
    let time = now() + 200;
    let answer = post(&world, &part, "public", &body(&[row(&logins, 666, time)]));
    refused(&ebb, &answer, 403, "this access token is not for the schema grants_fetch.audit");
    // Nothing of a body that is refused is left, not even what its bearer may write.
    let answer = post(&world, &part, "public", &body(&[row(&orders, 667, time), row(&logins, 668, time)]));
    refused(&ebb, &answer, 403, "--allow grants_fetch.public --allow grants_fetch.audit");
    refused(&ebb, &post(&world, &part, "public", &resolved(now() - 1)), 403, "every schema");
    // What would end the run does not where it comes from somebody who may write to a part of it only.
    let late = post(&world, &part, "public", &body(&[row(&orders, 669, 1)]));
    refused(&ebb, &late, 400, "came for the first time after");
    world.source("INSERT INTO orders VALUES (1, 1); INSERT INTO audit.logins VALUES (1, 1)");
    world.wait_equal(&ebb, &["orders", "audit.logins"]);
    ebb.stop();
}

#[test]
fn a_resolved_timestamp_is_about_every_schema_of_the_run() {
    let world = World::new("grants_start", TABLES);
    let [whole, public, audit] = [&["*"][..], &["public"], &["audit"]].map(|schemas| token(&world, schemas));
    let ebb = world.start(&["--jwt-public-keys", "a.key.pub", "-v"]);
    let time = now() - 1000;
    assert_eq!(post(&world, &audit, "audit", &body(&[row("logins", 1, time)])).status, 200, "{}", ebb.log());
    refused(&ebb, &post(&world, &public, "public", &resolved(time + 200)), 403, "the schema grants_start.audit");
    refused(&ebb, &post(&world, &public, "audit", &body(&[row("logins", 2, time)])), 403, "not for this schema");
    assert_eq!(post(&world, &audit, "audit", &body(&[row("logins", 3, time + 1)])).status, 200);
    assert_eq!(post(&world, &public, "public", &body(&[row("orders", 1, time + 1)])).status, 200);
    assert_eq!(post(&world, &whole, "public", &resolved(time + 2)).status, 200);
    world.wait_target(&ebb, "SELECT string_agg(id::text, ',' ORDER BY id) FROM audit.logins", "1,3");
    ebb.stop();
}

#[test]
fn a_time_that_is_not_yet_is_not_taken() {
    let world = World::new("grants_future", TABLES);
    let whole = token(&world, &["*"]);
    let ebb = world.start(&["--jwt-public-keys", "a.key.pub", "-v"]);
    let year_2100 = 4_102_444_800;
    for (time, status) in [(year_2100, 400), (now() + 25 * 3600, 400), (now() + 23 * 3600, 200)] {
        let rows = post(&world, &whole, "public", &body(&[row("orders", 1, now()), row("orders", 2, time)]));
        assert_eq!(rows.status, status, "{}", rows.body);
        if status == 400 {
            refused(&ebb, &rows, 400, "24 hours ahead of the clock of the machine that ebb runs on");
            refused(&ebb, &post(&world, &whole, "public", &resolved(time)), 400, "24 hours ahead");
        }
    }
    // A forged resolved timestamp would make this the one that came too late.
    let time = now();
    assert_eq!(post(&world, &whole, "public", &body(&[row("orders", 3, time)])).status, 200);
    assert_eq!(post(&world, &whole, "public", &resolved(time + 1)).status, 200);
    world.wait_target(&ebb, "SELECT string_agg(id::text, ',' ORDER BY id) FROM orders", "1,3");
    ebb.stop();
}

/// Whoever may write a part of the run decides nothing that the rest of it rests on.
#[test]
fn a_token_of_one_schema_does_not_say_which_table_of_the_source_is_the_right_one() {
    let world = World::new("grants_part", TABLES);
    let (whole, part) = (token(&world, &["*"]), token(&world, &["public"]));
    let mut ebb = world.start(&["--jwt-public-keys", "a.key.pub", "-v"]);
    let ahead = body(&[row("orders", 1, now() + 3600)]);
    assert_ne!(post(&world, &part, "public", &ahead).status, 200, "an hour ahead is for the whole run only");
    assert_eq!(post(&world, &part, "public", &body(&[row("evil.x.orders", 1, now())])).status, 200, "{}", ebb.log());
    let own = body(&[row("shop.public.orders", 2, now())]);
    assert_eq!(post(&world, &whole, "public", &own).status, 200, "{}", ebb.log());
    refused(&ebb, &post(&world, &part, "public", &body(&[row("evil.x.orders", 3, now())])), 400, "two tables");
    ebb.must_run();
    // Many in one body are refused at the second, and not compared with one another.
    let many: Vec<String> = (0..500).map(|at| row(&format!("d{at}.s.orders"), at, now())).collect();
    refused(&ebb, &post(&world, &part, "public", &body(&many)), 400, "d0.s.orders and d1.s.orders");
    ebb.must_run();
    ebb.stop();
}

#[test]
fn a_refused_body_does_not_say_which_table_of_the_source_is_the_right_one() {
    let world = World::new("grants_origin", TABLES);
    let whole = token(&world, &["*"]);
    let mut ebb = world.start(&["--jwt-public-keys", "a.key.pub", "-v"]);
    // The source is not known: any spelling may be its own, and the first one that is taken counts.
    let refused_by_its_second = body(&[row("ORDERS", 1, now()), "{}".into()]);
    refused(&ebb, &post(&world, &whole, "public", &refused_by_its_second), 400, "no \"key\"");
    assert_eq!(post(&world, &whole, "public", &body(&[row("orders", 2, now())])).status, 200, "{}", ebb.log());
    // The run ends, perhaps before it has answered.
    assert_ne!(post(&world, &whole, "public", &body(&[row("ORDERS", 3, now())])).status, 200);
    assert_eq!(ebb.wait().code(), Some(1));
    assert!(ebb.log().contains("two tables of the source"), "{}", ebb.log());
}
