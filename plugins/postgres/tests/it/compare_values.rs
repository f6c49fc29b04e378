//! Every type of a column beside every type of the source: what was written is the same, the smallest change is seen, and what
//! the column cannot hold ends nothing.

use ebb_sdk::{Compared, Session as _};

use crate::fit::{COLUMNS, SCHEMA};
use crate::reader::{Reader, shown};
use crate::samples::samples;
use crate::values::{HELD, Key, REFUSED, TYPES, good_value};
use crate::world::World;

/// Rows without their lifetimes: `id` and value.
fn compare_rows<'a>(rows: &'a [[&'a str; 2]]) -> Vec<&'a [&'a str]> {
    rows.iter().map(<[&str; 2]>::as_slice).collect()
}

fn different_rows(compared: &Compared) -> Vec<u32> {
    compared.different.iter().map(|difference| difference.row).collect()
}

#[tokio::test]
async fn what_was_written_is_the_same_in_every_type() {
    let tables = HELD.iter().enumerate().map(|(at, (type_name, as_key, ..))| {
        let key = format!("CREATE TABLE k{at} (n int, v {type_name} PRIMARY KEY);");
        let value = format!("CREATE TABLE v{at} (id int PRIMARY KEY, v {type_name});");
        if *as_key == Key { value + &key } else { value }
    });
    let types = TYPES.replace("values_held", "compare_held");
    let world = World::new("compare_held", &(types + &tables.collect::<String>()));
    let mut writer = world.writer().await;
    for (at, (_, as_key, json, _)) in HELD.iter().enumerate() {
        writer.upsert(&format!("v{at}"), &["id", "v"], &[&["1", json], &["2", "null"]]).await.unwrap();
        if *as_key == Key {
            writer.upsert(&format!("k{at}"), &["n", "v"], &[&["1", json]]).await.unwrap();
        }
    }
    let mut reader = Reader::new(&world).await;
    for (at, (type_name, as_key, json, _)) in HELD.iter().enumerate() {
        let table = format!("v{at}");
        let same = reader.compare(&table, &["id", "v"], &[&["1", json], &["2", "null"]]).await;
        assert_eq!(shown(&same, &reader.catalog, &table), "", "{type_name} {json}");
        // A value is not NULL, and NULL is no value.
        let other = reader.compare(&table, &["v", "id"], &[&[json, "2"], &["null", "1"], &[json, "3"]]).await;
        assert_eq!((different_rows(&other), &other.missing), (vec![0, 1], &vec![2]), "{type_name} {json}");
        assert_eq!(other.different[0].columns[0].found, None, "{type_name} {json}");
        assert_eq!(other.different[1].columns[0].expected, None, "{type_name} {json}");
        assert_eq!(other.different[0].columns[0].expected, other.different[1].columns[0].found, "{type_name} {json}");
        if *as_key == Key {
            let table = format!("k{at}");
            let same = reader.compare(&table, &["v", "n"], &[&[json, "1"]]).await;
            assert_eq!(shown(&same, &reader.catalog, &table), "", "{type_name} {json}");
            let other = reader.compare(&table, &["v", "n"], &[&[json, "2"]]).await;
            assert_eq!(shown(&other, &reader.catalog, &table), "0 n: 1, 2", "{type_name} {json}");
        }
    }
}

/// Whether a value can be written is whether it can be the same: of every type of the source, into every type of a column.
#[tokio::test]
async fn a_value_is_the_same_if_it_was_written_and_else_it_differs() {
    let tables: String = COLUMNS
        .iter()
        .enumerate()
        .map(|(at, column)| format!("CREATE TABLE t{at} (id int PRIMARY KEY, v {column});"))
        .collect();
    let world = World::new("compare_fit", &(SCHEMA.to_owned() + &tables));
    let values: Vec<String> = samples().into_iter().flat_map(|sample| sample.values).collect();
    let ids: Vec<String> = (0..values.len()).map(|id| id.to_string()).collect();
    let rows: Vec<_> = ids.iter().zip(&values).map(|(id, json)| [id.as_str(), json.as_str()]).collect();
    let mut writer = world.writer().await;
    let mut refused = Vec::new();
    for at in 0..COLUMNS.len() {
        let nulls: Vec<_> = ids.iter().map(|id| [id.as_str(), "null"]).collect();
        writer.upsert(&format!("t{at}"), &["id", "v"], &compare_rows(&nulls)).await.unwrap();
        let mut of_column = Vec::new();
        for (place, row) in rows.iter().enumerate() {
            if writer.upsert(&format!("t{at}"), &["id", "v"], &[row]).await.is_err() {
                of_column.push(u32::try_from(place).unwrap());
            }
        }
        refused.push(of_column);
    }
    let mut reader = Reader::new(&world).await;
    for (at, column) in COLUMNS.iter().enumerate() {
        let compared = reader.compare(&format!("t{at}"), &["id", "v"], &compare_rows(&rows)).await;
        assert_eq!((different_rows(&compared), &compared.missing), (refused[at].clone(), &vec![]), "{column}");
        for difference in &compared.different {
            let found = &difference.columns[0];
            assert_eq!((difference.columns.len(), &found.found), (1, &None), "{column}");
            let json = &values[difference.row as usize];
            let is_shown = found.expected.as_ref().is_some_and(|text| !text.is_empty() || json == "\"\"");
            assert!(is_shown, "{column} {json} {found:?}");
        }
    }
}

/// The same of keys: a row that could not be written under its key is missing.
#[tokio::test]
async fn a_key_finds_its_row_if_it_was_written_and_else_it_is_missing() {
    let is_key = |column: &&str| !matches!(*column, "json" | "xml");
    let table = |at: usize, column: &str| format!("CREATE TABLE k{at} (v {column} PRIMARY KEY, n int);");
    let columns: Vec<_> = COLUMNS.into_iter().filter(is_key).collect();
    let tables: String = columns.iter().enumerate().map(|(at, column)| table(at, column)).collect();
    let world = World::new("compare_keys", &(SCHEMA.to_owned() + &tables));
    let values: Vec<String> = samples().into_iter().flat_map(|sample| sample.values).collect();
    let mut writer = world.writer().await;
    let mut written = Vec::new();
    for at in 0..columns.len() {
        let mut of_column = Vec::new();
        for json in &values {
            of_column.push(writer.upsert(&format!("k{at}"), &["v", "n"], &[&[json, "1"]]).await.is_ok());
        }
        written.push(of_column);
    }
    let mut reader = Reader::new(&world).await;
    for (at, column) in columns.iter().enumerate() {
        for (json, is_written) in values.iter().zip(&written[at]) {
            let compared = reader.compare(&format!("k{at}"), &["v", "n"], &[&[json, "1"]]).await;
            // What was written may have been written again with another spelling since; it is there all the same.
            assert_eq!(compared.missing.is_empty(), *is_written, "{column} {json}");
        }
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_a_difference_and_no_error() {
    let tables = REFUSED.iter().enumerate().map(|(at, (type_name, ..))| {
        let good = if type_name.contains("interval") || type_name.contains("pair") { "" } else { "NOT NULL" };
        format!("CREATE TABLE r{at} (id int PRIMARY KEY, v {type_name} {good});")
    });
    let types = TYPES.replace("values_held", "compare_refused");
    let world =
        World::new("compare_refused", &(types + &tables.collect::<String>()).replace("NOT NULL NOT NULL", "NOT NULL"));
    let mut writer = world.writer().await;
    let ids: Vec<_> = (0..50).map(|id: u32| id.to_string()).collect();
    for (at, (type_name, ..)) in REFUSED.iter().enumerate() {
        let rows: Vec<_> = ids[..45].iter().map(|id| [id.as_str(), good_value(type_name)]).collect();
        writer.upsert(&format!("r{at}"), &["id", "v"], &compare_rows(&rows)).await.unwrap();
    }
    let mut reader = Reader::new(&world).await;
    for (at, (type_name, json, _)) in REFUSED.iter().enumerate() {
        let is_bad = |id: &String| ["7", "37", "48"].contains(&id.as_str());
        let rows: Vec<_> =
            ids.iter().map(|id| [id.as_str(), if is_bad(id) { json } else { good_value(type_name) }]).collect();
        let table = format!("r{at}");
        let compared = reader.compare(&table, &["id", "v"], &compare_rows(&rows)).await;
        assert_eq!(different_rows(&compared), [7, 37], "{type_name} {json}");
        assert_eq!(compared.missing, [45, 46, 47, 48, 49], "{type_name} {json}");
        let wire = match json.strip_prefix('"') {
            Some(_) => serde_json::from_str::<String>(json).unwrap(),
            None => (*json).to_owned(),
        };
        let expected = (*json != "null").then_some(wire);
        assert_eq!(compared.different[0].columns[0].expected, expected, "{type_name} {json}");
    }
}

/// Type and two values, as JSON, that are as near to each other as can be. Each is taken for the other in no way.
const NEAR: &[(&str, &str, &str)] = &[
    ("boolean", "true", "false"),
    ("int2", "32766", "32767"),
    ("int4", "0", "-1"),
    ("int8", "9223372036854775806", "9223372036854775807"),
    ("oid", "1", "2"),
    ("numeric", "1.0", "1.00"),
    ("numeric", "0", "0.0"),
    ("numeric", "\"NaN\"", "0"),
    ("numeric", "\"Infinity\"", "\"-Infinity\""),
    ("numeric", "12345678901234567890123456789012345678901.5", "12345678901234567890123456789012345678901.6"),
    ("numeric(10,2)", "12345678.91", "12345678.92"),
    ("numeric[]", "[1.0]", "[1.00]"),
    ("money", "12345.01", "12345.02"),
    ("money[]", "[1]", "[1.01]"),
    ("float4", "0", "-0"),
    ("float4", "1.1", "1.1000001"),
    ("float4", "\"NaN\"", "\"Infinity\""),
    ("float8", "0", "-0"),
    ("float8", "0.1", "0.10000000000000002"),
    ("float8", "5E-324", "0"),
    ("float8", "1.7976931348623157E+308", "\"Infinity\""),
    ("float8[]", "[0]", "[-0]"),
    ("text", "\"\"", "\" \""),
    ("text", "\"a\"", "\"a \""),
    ("text", "\"a\"", "\"A\""),
    ("text", "\"é\"", "\"e\\u0301\""),
    ("text", "\"a\"", "\"\\u200da\""),
    ("text", "1.0", "1.00"),
    ("text", "{\"a\":1}", "{\"a\": 1}"),
    ("text COLLATE nocase", "\"a\"", "\"A\""),
    ("text COLLATE nocase", "\"é\"", "\"e\\u0301\""),
    ("varchar(5)", "\"a\"", "\"a \""),
    ("varchar COLLATE nocase", "\"a\"", "\"A\""),
    ("char(5)", "\"a\"", "\"A\""),
    ("char(5)", "\"\"", "\"a\""),
    ("bpchar", "\"a\"", "\"a \""),
    ("name", "\"a\"", "\"A\""),
    ("\"char\"", "\"a\"", "\"A\""),
    ("ext.citext", "\"a\"", "\"A\""),
    ("ext.citext", "\"a\"", "\"a \""),
    ("bytea", "\"\\\\x\"", "\"\\\\x00\""),
    ("bytea", "\"\\\\x6869\"", "\"\\\\x6868\""),
    ("bytea[]", "[\"\\\\x00\"]", "[\"\\\\x01\"]"),
    ("uuid", "\"7f9c24e8-3b12-4fef-91e0-56a2d5a246ec\"", "\"7f9c24e8-3b12-4fef-91e0-56a2d5a246ed\""),
    ("date", "\"2016-01-25\"", "\"2016-01-26\""),
    ("date", "\"0044-03-15 BC\"", "\"0044-03-15\""),
    ("date", "\"infinity\"", "\"-infinity\""),
    ("time", "\"24:00:00\"", "\"00:00:00\""),
    ("time", "\"01:23:45.123456\"", "\"01:23:45.123457\""),
    ("timetz", "\"03:04:05+00\"", "\"04:04:05+01\""),
    ("timestamp", "\"2016-01-25T10:10:10\"", "\"2016-01-25T10:10:10.000001\""),
    ("timestamp", "\"-0043-03-15T00:00:00\"", "\"-0042-03-15T00:00:00\""),
    ("timestamp(3)", "\"2016-01-25T10:10:10.001\"", "\"2016-01-25T10:10:10.002\""),
    ("timestamptz", "\"2016-01-25T10:10:10Z\"", "\"2016-01-25T10:10:10.000001Z\""),
    ("timestamptz", "\"294277-01-01T23:59:59.999999Z\"", "\"294276-12-31T23:59:59.999998Z\""),
    ("interval", "\"1 mon\"", "\"30 days\""),
    ("interval", "\"1 day\"", "\"24:00:00\""),
    ("interval", "\"-1 days +02:00:00\"", "\"-22:00:00\""),
    ("interval", "\"00:00:00\"", "\"00:00:00.000001\""),
    ("json", "{\"a\": 1.0}", "{\"a\": 1.00}"),
    ("json", "{\"a\": null}", "{}"),
    ("json", "\"1\"", "1"),
    ("json", "[1, 2]", "[2, 1]"),
    ("json", "{\"a\": \"\\u0000\"}", "{\"a\": \"\\u0000 \"}"),
    ("json[]", "[{\"a\": 1}]", "[{\"a\": 2}]"),
    ("jsonb", "{\"a\": 1.0}", "{\"a\": 1.00}"),
    ("jsonb", "{\"a\": null}", "{}"),
    ("jsonb", "\"1\"", "1"),
    ("jsonb", "\"\"", "null"),
    ("jsonb", "{\"__crdb_json_null__\": true}", "\"null\""),
    ("jsonb", "[0.12345678901234567890]", "[0.12345678901234567891]"),
    ("document", "{\"a\": 1.0}", "{\"a\": 1.00}"),
    ("inet", "\"10.1.2.3\"", "\"10.1.2.3/31\""),
    ("inet", "\"::ffff:1.2.3.4\"", "\"1.2.3.4\""),
    ("cidr", "\"10.0.0.0/8\"", "\"10.0.0.0/9\""),
    ("macaddr", "\"08:00:2b:01:02:03\"", "\"08:00:2b:01:02:04\""),
    ("bit(8)", "\"10010101\"", "\"10010100\""),
    ("varbit", "\"101\"", "\"1010\""),
    ("varbit(8)", "\"\"", "\"0\""),
    ("state", "\"foo\"", "\"bar\""),
    ("state[]", "[\"foo\"]", "[\"bar\"]"),
    ("code", "\"a\"", "\"A\""),
    ("code[]", "[\"a\"]", "[\"A\"]"),
    ("places", "[1]", "[2]"),
    ("text[]", "[]", "[null]"),
    ("text[]", "[\"a\"]", "[\"a\", null]"),
    ("text[]", "[\"NULL\"]", "[null]"),
    ("text[] COLLATE nocase", "[\"a\"]", "[\"A\"]"),
    ("varchar(5)[]", "[\"a\"]", "[\"a \"]"),
    ("char(5)[]", "[\"a\"]", "[\"A\"]"),
    ("bit(2)[]", "[\"10\"]", "[\"11\"]"),
    ("int8[]", "[1, null]", "[null, 1]"),
    ("interval[]", "[\"1 mon\"]", "[\"30 days\"]"),
    ("tsvector", "\"'a':1A 'cat':3\"", "\"'a':1 'cat':3\""),
    ("tsquery", "\"'a' & 'b'\"", "\"'b' & 'a'\""),
    ("xml", "\"<a>1</a>\"", "\"<a>1 </a>\""),
    ("ext.hstore", "\"\\\"a\\\"=>NULL\"", "\"\\\"a\\\"=>\\\"NULL\\\"\""),
    ("ext.ltree", "\"a.b\"", "\"a.B\""),
    ("int4range", "\"[1,5)\"", "\"[1,6)\""),
    ("numrange", "\"[1.0,2)\"", "\"[1.00,2)\""),
    ("tstzrange", "\"[2016-01-25T15:10:10Z,)\"", "\"(2016-01-25T15:10:10Z,)\""),
    ("point", "\"(0,1)\"", "\"(-0,1)\""),
    ("pg_lsn", "\"16/B374D848\"", "\"16/B374D849\""),
];

const NEAR_TYPES: &str = "
    CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext; CREATE EXTENSION ltree SCHEMA ext;
    CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
    CREATE TYPE state AS ENUM ('foo', 'bar'); CREATE DOMAIN code AS varchar(5); CREATE DOMAIN document AS jsonb;
    CREATE DOMAIN places AS int8[];";

#[tokio::test]
async fn the_smallest_change_is_seen_in_every_type() {
    let tables = NEAR.iter().enumerate();
    let tables = tables.map(|(at, (name, ..))| format!("CREATE TABLE t{at} (id int PRIMARY KEY, v {name});"));
    let world = World::new("compare_near", &(NEAR_TYPES.to_owned() + &tables.collect::<String>()));
    let mut writer = world.writer().await;
    for (at, (name, one, other)) in NEAR.iter().enumerate() {
        let rows: [&[&str]; 4] = [&["1", one], &["2", other], &["3", one], &["4", other]];
        let written = writer.upsert(&format!("t{at}"), &["id", "v"], &rows).await;
        written.unwrap_or_else(|error| panic!("{name} {one} {other}: {error}"));
    }
    let mut reader = Reader::new(&world).await;
    for (at, (name, one, other)) in NEAR.iter().enumerate() {
        let rows: [&[&str]; 4] = [&["1", other], &["2", one], &["3", one], &["4", other]];
        let compared = reader.compare(&format!("t{at}"), &["id", "v"], &rows).await;
        assert_eq!(different_rows(&compared), [0, 1], "{name} {one} {other}");
        let [first, second] = [0, 1].map(|row: usize| compared.different[row].columns[0].clone());
        assert_eq!((&first.found, &first.expected), (&second.expected, &second.found), "{name} {one} {other}");
        assert!(first.found != first.expected && first.found.is_some(), "{name} {one} {other}: {first:?}");
    }
}

/// Type, JSON, and the same value as another tool may have loaded it.
const OTHER_SPELLINGS: &[(&str, &str, &str)] = &[
    ("boolean", "true", "'yes'"),
    ("int4", "1E+2", "'0100'"),
    ("numeric", "26.30", "'+0026.30'"),
    ("numeric(6,2)", "1E+2", "100"),
    ("numeric(6,2)[]", "[1, 1.5]", "'{1.0,1.50}'"),
    ("money", "1234.5", "'$1234.50'"),
    ("float4", "1.100000023841858", "'1.1'"),
    ("float8", "0.1", "'0.1000000000000000055'"),
    ("float8", "\"NaN\"", "'nan'"),
    ("float8", "-0", "'-0.0'"),
    ("char(5)", "\"abc\"", "'abc  '"),
    ("bytea", "\"\\\\x6869\"", "'hi'"),
    ("uuid", "\"7f9c24e8-3b12-4fef-91e0-56a2d5a246ec\"", "'{7F9C24E83B124FEF91E056A2D5A246EC}'"),
    ("date", "\"2016-01-25\"", "'Jan 25 2016'"),
    ("time", "\"13:23:45\"", "'01:23:45 PM'"),
    ("timetz", "\"03:04:05+05:30\"", "'03:04:05 +0530'"),
    ("timestamp", "\"2016-01-25T10:10:10\"", "'2016-01-25 10:10:10.000'"),
    ("timestamptz", "\"2016-01-25T15:10:10Z\"", "'2016-01-25 10:10:10-05'"),
    ("timestamptz", "\"294277-01-01T23:59:59.999999Z\"", "'infinity'"),
    ("interval", "\"1 year 2 mons 3 days 04:05:06.789\"", "'P1Y2M3DT4H5M6.789S'"),
    ("interval", "\"1 year 2 mons\"", "'14 mons'"),
    ("json", "{\"b\": [1.10, null], \"a\": \"é\"}", "'{\"a\":\"\\u00e9\",  \"b\":[1.10,null]}'"),
    ("json[]", "[{\"b\": 1, \"a\": 2}]", "ARRAY['{\"a\":2,\"b\":1}'::json]"),
    ("jsonb", "{\"b\": 1, \"a\": [1.10, null]}", "'{\"a\":[1.10,null],  \"b\":1}'"),
    ("inet", "\"10.1.2.3\"", "'10.1.2.3/32'"),
    ("inet", "\"::1\"", "'0:0:0:0:0:0:0:1'"),
    ("cidr", "\"10.0.0.0/8\"", "'10/8'"),
    ("macaddr", "\"08:00:2b:01:02:03\"", "'08002B-010203'"),
    ("bit(8)", "\"10010101\"", "'x95'"),
    ("varchar(5)[]", "[\"ab\", null]", "'{ \"ab\" , null }'"),
    ("tsvector", "\"'a':1A 'cat':3\"", "'cat:3 a:1A'"),
    ("ext.hstore", "\"\\\"b\\\"=>\\\"2\\\", \\\"a\\\"=>\\\"1\\\"\"", "'a=>1,b=>2'"),
    ("int4range", "\"[1,5)\"", "'[1,4]'"),
    ("pg_lsn", "\"16/B374D848\"", "'16/b374d848'"),
];

#[tokio::test]
async fn another_spelling_of_a_value_is_the_same() {
    let tables = OTHER_SPELLINGS.iter().enumerate();
    let tables = tables.map(|(at, (name, _, sql))| {
        format!("CREATE TABLE t{at} (id int PRIMARY KEY, v {name}); INSERT INTO t{at} VALUES (1, {sql});")
    });
    let world = World::new("compare_spellings", &(NEAR_TYPES.to_owned() + &tables.collect::<String>()));
    drop(world.writer().await);
    let mut reader = Reader::new(&world).await;
    for (at, (name, json, sql)) in OTHER_SPELLINGS.iter().enumerate() {
        let table = format!("t{at}");
        let compared = reader.compare(&table, &["id", "v"], &[&["1", json]]).await;
        assert_eq!(shown(&compared, &reader.catalog, &table), "", "{name} {json} {sql}");
    }
    reader.session.rollback().await.unwrap();
}
