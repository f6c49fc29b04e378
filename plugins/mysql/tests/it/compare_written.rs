//! Rows that were written are found as they were meant, of every type.

use ebb_sdk::{Checks, Compared, Operation, Session as _};
use ebb_servers::Flavour;

use crate::compare::{Reader, differences};
use crate::samples::{RANDOM_COLUMNS, Random, samples};
use crate::values::{HELD, Use};
use crate::world::World;

#[tokio::test]
async fn what_was_written_is_found_as_it_was_meant() {
    for world in World::both("compare_held", "") {
        let held = || HELD.iter().enumerate().filter(|(_, (_, used, ..))| used.is_on(world.flavour));
        let table = |(at, (type_name, used, ..)): (usize, &(&str, Use, &str, &str, &str))| {
            let null = if type_name.contains("SRID") { "" } else { "NULL" };
            let key = if used.is_key() {
                format!("CREATE TABLE k{at} (v {type_name} PRIMARY KEY, n INT);")
            } else {
                String::new()
            };
            format!("CREATE TABLE v{at} (id INT PRIMARY KEY, v {type_name} {null}); {key}")
        };
        world.sql(&held().map(table).collect::<String>());
        let mut writer = world.writer().await;
        writer.session.begin(Checks::Immediate).await.unwrap();
        for (at, (_, used, json, ..)) in held() {
            writer
                .write(&format!("v{at}"), Operation::Upsert, &["id", "v"], &[&["1", json], &["2", "null"]])
                .await
                .unwrap();
            if used.is_key() {
                writer.write(&format!("k{at}"), Operation::Upsert, &["v", "n"], &[&[json, "1"]]).await.unwrap();
            }
        }
        writer.commit().await.unwrap();
        let mut reader = Reader::new(world.session().await).await;
        for (at, (type_name, used, json, ..)) in held() {
            let shown = format!("{:?} {type_name} {json}", world.flavour);
            let rows: [&[&str]; 3] = [&["2", "null"], &["3", json], &["1", json]];
            let found = reader.compare(&format!("v{at}"), &["id", "v"], &rows).await;
            assert_eq!(found, Compared { missing: vec![1], different: vec![] }, "{shown}");
            // NULL is no value, and no value is NULL.
            let found = reader.compare(&format!("v{at}"), &["v", "id"], &[&["null", "1"], &[json, "2"]]).await;
            let all = differences(&found);
            assert_eq!(
                all.iter().map(|(row, column, ..)| (*row, *column)).collect::<Vec<_>>(),
                [(0, 1), (1, 1)],
                "{shown}"
            );
            assert!(all[0].2.is_some() && all[0].3.is_none() && all[1].2.is_none() && all[1].3.is_some(), "{all:?}");
            assert_eq!(all[0].2, all[1].3, "{shown}");
            if used.is_key() {
                let found = reader.compare(&format!("k{at}"), &["n", "v"], &[&["1", json]]).await;
                assert_eq!(found, Compared::default(), "{shown}");
                let found = reader.compare(&format!("k{at}"), &["n", "v"], &[&["2", json]]).await;
                assert_eq!(differences(&found), [(0, 1, Some("1"), Some("2"))], "{shown}");
            }
        }
    }
}

/// What samples are tried on, on both servers.
const TYPES: [&str; 30] = [
    "TINYINT(1)",
    "INT",
    "BIGINT",
    "DECIMAL(65,2)",
    "FLOAT",
    "DOUBLE",
    "CHAR(255)",
    "VARCHAR(400)",
    "TEXT",
    "BINARY(16)",
    "VARBINARY(400)",
    "BLOB",
    "BIT(8)",
    "BIT(64)",
    "DATE",
    "DATETIME(6)",
    "DATETIME",
    "TIMESTAMP(6)",
    "TIME(6)",
    "TIME",
    "YEAR",
    "ENUM('a','a label with blanks')",
    "SET('a','b')",
    "JSON",
    "POINT",
    "GEOMETRY",
    "LONGTEXT CHARACTER SET latin1",
    "VARCHAR(400) CHARACTER SET utf16",
    "DECIMAL(10,4)",
    "TINYTEXT",
];

/// Every value of every type of the source that a column takes is found as it was written.
#[tokio::test]
async fn samples_of_every_family_are_found_as_they_were_written() {
    let table =
        |(at, type_name): (usize, &&str)| format!("CREATE TABLE f{at} (id INT PRIMARY KEY, v {type_name} NULL);");
    for world in World::both("compare_samples", &TYPES.iter().enumerate().map(table).collect::<String>()) {
        let special = match world.flavour {
            Flavour::MySql => vec!["VECTOR(3)"],
            Flavour::MariaDb => vec!["UUID", "INET4", "INET6"],
        };
        let types: Vec<_> = TYPES.iter().copied().chain(special).collect();
        for (at, type_name) in types.iter().enumerate().skip(TYPES.len()) {
            world.sql(&table((at, type_name)));
        }
        let (mut writer, mut tried) = (world.writer().await, 0);
        let mut reader = Reader::new(world.session().await).await;
        for (at, type_name) in types.iter().enumerate() {
            for sample in samples() {
                let mut id = 0;
                let mut kept: Vec<[String; 2]> = Vec::new();
                world.sql(&format!("DELETE FROM f{at}"));
                for value in &sample.values {
                    id += 1;
                    let id = id.to_string();
                    if writer.upsert(&format!("f{at}"), &["id", "v"], &[&[&id, value]]).await.is_ok() {
                        kept.push([id, value.clone()]);
                    }
                }
                reader.renew().await;
                let rows: Vec<[&str; 2]> = kept.iter().map(|[id, value]| [id.as_str(), value.as_str()]).collect();
                let rows: Vec<&[&str]> = rows.iter().map(<[&str; 2]>::as_slice).collect();
                if rows.is_empty() {
                    continue;
                }
                tried += rows.len();
                let found = reader.compare(&format!("f{at}"), &["id", "v"], &rows).await;
                assert_eq!(
                    found,
                    Compared::default(),
                    "{:?} {type_name} from {}: {rows:?}",
                    world.flavour,
                    sample.source.name
                );
            }
        }
        assert!(tried > 200, "{tried}");
    }
}

#[tokio::test]
async fn random_rows_are_found_as_they_were_written() {
    let schema = "CREATE TABLE t (id INT PRIMARY KEY, i BIGINT, n DECIMAL(30,6), f DOUBLE, t TEXT, b VARBINARY(60), d DATE, m DATETIME(6),
         u BINARY(16))";
    for world in World::both("compare_rows", schema) {
        let mut writer = world.writer().await;
        let (seed, random) = Random::fill(&mut writer).await;
        let mut reader = Reader::new(world.session().await).await;
        let ids: Vec<_> = (0..random.len()).map(|id| id.to_string()).collect();
        let row = |(id, row)| {
            let (id, row): (&String, &Random) = (id, row);
            std::iter::once(id.clone()).chain(row.json.clone()).collect::<Vec<_>>()
        };
        let rows: Vec<Vec<String>> = ids.iter().zip(&random).map(row).collect();
        let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
        let columns: Vec<_> = std::iter::once("id").chain(RANDOM_COLUMNS).collect();
        let found = reader.compare("t", &columns, &rows).await;
        assert_eq!(found, Compared::default(), "{:?}, seed {seed}", world.flavour);
    }
}
