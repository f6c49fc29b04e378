//! Values on their whole way from SQL to JSON, in both spellings.

use ebb_crdb::CrdbOptions;
use serde_json::Value;

use crate::harness::Stage;

/// Type, literal, JSON as it stands in the body.
pub(crate) const VALUES: &[(&str, &str, &str)] = &[
    ("bool", "true", "true"),
    ("int8", "9223372036854775807", "9223372036854775807"),
    ("int2", "-5", "-5"),
    ("float8", "100", "1E+2"),
    ("float8", "0.000001", "0.000001"),
    ("float8", "'-0'", "-0"),
    ("float8", "5e-324", "5E-324"),
    ("float8", "'NaN'", "\"NaN\""),
    ("float8", "'-Infinity'", "\"-Infinity\""),
    ("float4", "1.1", "1.1"),
    ("numeric(10,2)", "26.3", "26.30"),
    ("numeric", "12345678901234567890.123456789", "12345678901234567890.123456789"),
    ("numeric", "0.0000001", "1E-7"),
    ("numeric", "'NaN'", "\"NaN\""),
    ("text", "E'a\"b\\\\c\\n\\u00e9\\x01<>&'", r#""a\"b\\c\né\u0001<>&""#),
    ("char(5)", "'ab'", "\"ab\""),
    ("uuid", "'68EE1F95-3137-48e2-8ce3-34ac2d18c7c8'", "\"68ee1f95-3137-48e2-8ce3-34ac2d18c7c8\""),
    ("bytea", "'hi'", r#""\\x6869""#),
    ("bytea", "''", r#""\\x""#),
    ("bit(4)", "B'1010'", "\"1010\""),
    ("varbit", "B'101'", "\"101\""),
    ("date", "'2024-01-31'", "\"2024-01-31\""),
    ("date", "'0044-03-15 BC'", "\"0044-03-15 BC\""),
    ("date", "'infinity'", "\"infinity\""),
    ("time", "'03:04:05.120'", "\"03:04:05.12\""),
    ("time", "'24:00'", "\"24:00:00\""),
    ("timetz", "'03:04:05+05:30'", "\"03:04:05+05:30\""),
    ("timestamp", "'2025-04-24 14:59:28.96273'", "\"2025-04-24T14:59:28.96273\""),
    ("timestamp", "'0044-03-15 BC'", "\"-0043-03-15T00:00:00\""),
    ("timestamptz", "'2016-01-25 10:10:10-05'", "\"2016-01-25T15:10:10Z\""),
    ("interval", "'1 year 2 mons 3 days 04:05:06.789'", "\"1 year 2 mons 3 days 04:05:06.789\""),
    ("interval", "'-1 day 2:00'", "\"-1 days +02:00:00\""),
    ("interval", "'0'", "\"00:00:00\""),
    ("inet", "'192.168.0.1'", "\"192.168.0.1\""),
    ("inet", "'10.0.0.0/8'", "\"10.0.0.0/8\""),
    ("jsonb", r#"'{"b":1,"a":[1.10,null],"B":{}}'"#, r#"{"B": {}, "a": [1.10, null], "b": 1}"#),
    ("jsonb", "'null'", "null"),
    ("json", r#"'{"b" :1, "a":"x"}'"#, r#"{"a": "x", "b": 1}"#),
    ("int8[]", "'{1,NULL,3}'", "[1, null, 3]"),
    ("text[]", r#"ARRAY['sky', NULL, E'a,b"c{}\\']"#, r#"["sky", null, "a,b\"c{}\\"]"#),
    ("bool[]", "'{t,f}'", "[true, false]"),
    ("bytea[]", r#"ARRAY['\x01'::bytea]"#, r#"["\\x01"]"#),
    ("float8[]", "'{100,NaN}'", "[1E+2, \"NaN\"]"),
    ("timestamptz[]", "ARRAY['2016-01-25 10:10:10-05'::timestamptz]", "[\"2016-01-25T15:10:10Z\"]"),
    ("public.\"Mood\"", "'so so'", "\"so so\""),
    ("public.\"Mood\"[]", "'{\"so so\"}'", "[\"so so\"]"),
    ("tsvector", "'a:1A cat:3'", "\"'a':1A 'cat':3\""),
    ("text", "NULL", "null"),
];

pub(crate) async fn table(stage: &Stage) {
    stage.run("CREATE TYPE public.\"Mood\" AS ENUM ('so so')").await;
    let columns: Vec<String> = (0..VALUES.len()).map(|at| format!("c{at:02} {}", VALUES[at].0)).collect();
    let values: Vec<&str> = VALUES.iter().map(|value| value.1).collect();
    stage.run(&format!("CREATE TABLE \"All\" (id int8 PRIMARY KEY, {})", columns.join(", "))).await;
    // No setting of the session may show in the feed.
    stage
        .run("SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Kolkata'; SET intervalstyle = iso_8601; SET bytea_output = escape; SET extra_float_digits = 0")
        .await;
    stage.run(&format!("INSERT INTO \"All\" VALUES (1, {})", values.join(", "))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_that_postgresql_can_hold() {
    let stage = Stage::new().await;
    table(&stage).await;
    stage.feed("\"All\"", "updated").await;
    let seen = stage.receiver.until("the row", |seen| !seen.0.is_empty()).await;
    let body = seen.0[0].text();
    let columns: Vec<String> = (0..VALUES.len()).map(|at| format!("\"c{at:02}\": {}", VALUES[at].2)).collect();
    let after =
        format!("{{\"after\": {{{}, \"id\": 1}}, \"key\": [1], \"topic\": \"\\\"All\\\"\", ", columns.join(", "));
    for column in &columns {
        assert!(body.contains(column.as_str()), "{column} is not in {body}");
    }
    assert!(body.contains(&after), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_releases_write_compactly() {
    let stage = Stage::with(CrdbOptions { version: "23.1.17".to_owned(), ..CrdbOptions::default() }).await;
    table(&stage).await;
    stage.feed("\"All\"", "diff").await;
    let seen = stage.receiver.until("the row", |seen| !seen.0.is_empty()).await;
    let body = seen.0[0].text();
    assert!(!body.contains("\": ") && body.contains(r"\u003c\u003e\u0026"), "{body}");
    let value: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(value["payload"][0]["after"]["c14"], "a\"b\\c\né\u{1}<>&");
    assert!(value["payload"][0]["before"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_stand_in_index_order_and_new_releases_name_tables_bare() {
    let stage = Stage::with(CrdbOptions { version: "25.4.1".to_owned(), ..CrdbOptions::default() }).await;
    stage.run("CREATE TABLE \"My T\" (a int8, b text, c timestamptz, PRIMARY KEY (c, a))").await;
    stage.feed("\"My T\"", "encode_json_value_null_as_object").await;
    stage.run("INSERT INTO \"My T\" VALUES (1, 'x', '2024-01-01 00:00:00+02')").await;
    let row = stage.receiver.until_rows(1).await.remove(0);
    assert_eq!(row["key"], serde_json::json!(["2023-12-31T22:00:00Z", 1]));
    assert_eq!(row["topic"], "My T");
}
