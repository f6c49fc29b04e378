//! Keys that only CockroachDB has, in the catalog and in the feed; hidden columns, JSON null, and isolation.

use ebb_crdb::CrdbOptions;
use serde_json::{Value, json};

use crate::harness::{QUICK, Stage};

fn brief(rows: &[Value]) -> Vec<Value> {
    let mut rows: Vec<Value> = rows.iter().map(|row| json!([row["key"], row["after"]])).collect();
    rows.sort_by_key(Value::to_string);
    rows
}

const KEY: &str = "SELECT string_agg(column_name || CASE WHEN implicit THEN '*' ELSE '' END, ',' ORDER BY seq_in_index)
    FROM [SHOW INDEXES FROM t] WHERE index_name = 't_pkey' AND NOT storing";

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_regional_table_begin_their_key_with_the_region_and_move() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')").await;
    stage.run("ALTER TABLE t SET LOCALITY REGIONAL BY ROW").await;
    assert_eq!(stage.text(KEY).await, "crdb_region*,id");
    let hidden =
        "SELECT is_hidden FROM information_schema.columns WHERE table_name = 't' AND column_name = 'crdb_region'";
    assert_eq!(stage.text(hidden).await, "YES");
    stage.feed("t", QUICK).await;
    let row = stage.receiver.until_rows(1).await.remove(0);
    assert_eq!(
        json!([row["key"], row["after"]]),
        json!([["us-east1", 1], {"crdb_region": "us-east1", "id": 1, "v": "a"}])
    );
    // The id alone stays unique.
    assert_eq!(stage.refusal("INSERT INTO t (crdb_region, id) VALUES ('us-west1', 1)").await.0, "23505");
    stage.receiver.forget();
    stage.run("UPDATE t SET crdb_region = 'europe-west1' WHERE id = 1").await;
    let rows = stage.receiver.until_rows(2).await;
    assert_eq!(rows[0]["updated"], rows[1]["updated"]);
    assert_eq!(
        brief(&rows),
        [
            json!([["europe-west1", 1], {"crdb_region": "europe-west1", "id": 1, "v": "a"}]),
            json!([["us-east1", 1], null])
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_is_in_the_key_and_not_in_the_row() {
    let stage = Stage::new().await;
    stage.run("CREATE TABLE t (id int8, v text NOT VISIBLE DEFAULT 'x', PRIMARY KEY (id) USING HASH WITH (bucket_count = 8)); CREATE TABLE u (id int8 PRIMARY KEY USING HASH)").await;
    assert_eq!(stage.text(KEY).await, "crdb_internal_id_shard_8*,id");
    let kinds =
        "SELECT string_agg(attname || ':' || attgenerated::text, ',' ORDER BY attname) FROM pg_catalog.pg_attribute
        WHERE attrelid = 't'::regclass AND attnum > 0";
    assert_eq!(stage.text(kinds).await, "crdb_internal_id_shard_8:v,id:,v:");
    let hidden = "SELECT string_agg(column_name, ',' ORDER BY column_name) FROM [SHOW COLUMNS FROM t] WHERE is_hidden";
    assert_eq!(stage.text(hidden).await, "crdb_internal_id_shard_8,v");
    stage.feed("t, u", QUICK).await;
    stage.run("INSERT INTO t SELECT g FROM generate_series(1, 20) AS g; INSERT INTO t VALUES (1) ON CONFLICT (id) DO NOTHING; INSERT INTO u VALUES (7)").await;
    let rows = stage.receiver.until_rows(21).await;
    let mut shards = std::collections::BTreeSet::new();
    for row in rows.iter().filter(|row| row["topic"] == "t") {
        let shard = row["key"][0].as_i64().unwrap();
        assert!((0..8).contains(&shard));
        assert_eq!(row["after"], json!({"id": row["key"][1], "v": "x"}));
        shards.insert(shard);
    }
    assert!(shards.len() > 2, "{shards:?}");
    let other = rows.iter().find(|row| row["topic"] == "u").unwrap();
    assert_eq!((&other["key"][1], &other["after"]), (&json!(7), &json!({"id": 7})));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_primary_key_changes_the_shape_of_keys_from_then_on() {
    let stage = Stage::new().await;
    stage
        .run("CREATE TABLE t (a int8, b int8, v int8, PRIMARY KEY (a, b)); INSERT INTO t VALUES (1, 2, 0), (3, 4, 0)")
        .await;
    let job = stage.feed("t", &format!("{QUICK}, diff, initial_scan = 'no'")).await;
    stage.run("UPDATE t SET v = 1 WHERE a = 1").await;
    let before = stage.text("SELECT cluster_logical_timestamp()").await;
    stage.run("ALTER TABLE t ALTER PRIMARY KEY USING COLUMNS (b, a)").await;
    assert_eq!(stage.text(KEY).await, "b,a");
    let past = |time: &str| {
        format!(
            "SELECT string_agg(k.column_name, ',' ORDER BY k.ordinal_position) FROM information_schema.key_column_usage k \
             AS OF SYSTEM TIME '{time}' WHERE k.table_name = 't'"
        )
    };
    assert_eq!(stage.text(&past(&before)).await, "a,b");
    assert_eq!(stage.text(&past("-1us")).await, "b,a");
    stage.run("UPDATE t SET v = 2 WHERE a = 1; DELETE FROM t WHERE a = 3").await;
    let rows = stage.receiver.until_rows(3).await;
    let images: Vec<Value> =
        rows.iter().map(|row| json!([row["key"], row["before"]["v"], row["after"]["v"]])).collect();
    let mut images = images;
    images.sort_by_key(Value::to_string);
    assert_eq!(images, [json!([[1, 2], 0, 1]), json!([[2, 1], 1, 2]), json!([[4, 3], 0, null])]);
    stage.receiver.forget();
    stage.run("ALTER TABLE t ALTER PRIMARY KEY USING COLUMNS (a) USING HASH").await;
    assert_eq!(stage.text(KEY).await, "crdb_internal_a_shard_16*,a");
    stage.run("UPDATE t SET v = 3").await;
    let row = stage.receiver.until_rows(1).await.remove(0);
    assert_eq!(row["key"].as_array().unwrap().len(), 2);
    assert_eq!((&row["key"][1], &row["after"]), (&json!(1), &json!({"a": 1, "b": 2, "v": 3})));
    assert_eq!(stage.status(job).await, "running");
    // Nothing but what was written was told, and reads of the past see each row once.
    stage.await_resolved().await;
    assert_eq!(stage.receiver.seen().rows().len(), 1);
    stage.receiver.forget();
    stage.feed("t", QUICK).await;
    assert_eq!(stage.receiver.until_rows(1).await[0]["after"], json!({"a": 1, "b": 2, "v": 3}));
    stage.await_resolved().await;
    assert_eq!(stage.receiver.seen().rows().len(), 1);
    let (code, message) = stage.refusal("ALTER TABLE t SET LOCALITY GLOBAL").await;
    assert_eq!((code.as_str(), message.starts_with("stand-in: not supported")), ("0A000", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_null_is_an_object_where_the_feed_says_so() {
    for (options, expected) in
        [("", json!(null)), (", encode_json_value_null_as_object", json!({"__crdb_json_null__": true}))]
    {
        let stage = Stage::new().await;
        stage.run("CREATE TABLE t (id int8 PRIMARY KEY, d jsonb); INSERT INTO t VALUES (1, 'null'), (2, NULL)").await;
        stage.feed("t", &format!("{QUICK}{options}")).await;
        let rows = brief(&stage.receiver.until_rows(2).await);
        assert_eq!(rows, [json!([[1], {"d": expected, "id": 1}]), json!([[2], {"d": null, "id": 2}])]);
    }
    let stage = Stage::with(CrdbOptions { version: "24.1.9".into(), ..CrdbOptions::default() }).await;
    stage.run("CREATE TABLE t (id int8 PRIMARY KEY)").await;
    let sink = stage.receiver.url("/");
    let sql = format!("CREATE CHANGEFEED FOR TABLE t INTO '{sink}' WITH encode_json_value_null_as_object");
    assert_eq!(stage.refusal(&sql).await.1, "invalid option \"encode_json_value_null_as_object\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn read_committed_has_no_time_of_its_own() {
    let stage = Stage::new().await;
    stage.run("SELECT cluster_logical_timestamp()").await;
    stage.run("SET default_transaction_isolation = 'read committed'").await;
    assert_eq!(stage.refusal("SELECT cluster_logical_timestamp()").await.0, "0A000");
    stage.run("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT cluster_logical_timestamp(); COMMIT").await;
}
