//! Comparing rows with a snapshot: nothing is found where nothing differs, and the smallest difference is.

use ebb_mysql::Session;
use ebb_sdk::{Block, Catalog, ColumnIndex, Compared, DifferentColumn, Join, Operation, RowBuffer, Session as _};
use ebb_servers::Flavour;

use crate::rounding::ROUNDED;
use crate::values::REFUSED;
use crate::world::{FEED, World, Writer, connect_rounding, table_of};
use crate::writer::push;

/// A session in a snapshot, as often as another one is begun.
pub(crate) struct Reader {
    pub session: Session,
    pub catalog: Catalog,
}

impl Reader {
    pub(crate) async fn new(mut session: Session) -> Self {
        let catalog = session.describe().await.expect("a catalog");
        session.join(&Join { feed: FEED.into(), snapshot: String::new() }).await.expect("a snapshot");
        Self { session, catalog }
    }

    pub(crate) async fn renew(&mut self) {
        self.session.rollback().await.expect("its end");
        self.session.join(&Join { feed: FEED.into(), snapshot: String::new() }).await.expect("a snapshot");
    }

    pub(crate) async fn compare(&mut self, table: &str, columns: &[&str], rows: &[&[&str]]) -> Compared {
        let table = table_of(&self.catalog, table);
        let columns: Vec<ColumnIndex> = columns.iter().map(|name| table.column(name).expect("a column")).collect();
        let mut buffer = RowBuffer::new(columns.len());
        rows.iter().copied().flatten().for_each(|json| push(&mut buffer, json));
        let block = Block::new(table, Operation::Upsert, &columns, buffer.cells(), buffer.text());
        self.session.compare(block).await.unwrap_or_else(|error| panic!("{table} {rows:?}: {error:?}"))
    }
}

/// The columns that differ, each with what is there and what was expected.
pub(crate) fn differences(compared: &Compared) -> Vec<(u32, usize, Option<&str>, Option<&str>)> {
    let of = |row: u32, column: &DifferentColumn| (row, column.column.place());
    let all = compared.different.iter().flat_map(|found| found.columns.iter().map(move |column| (found.row, column)));
    all.map(|(row, column)| (of(row, column), column))
        .map(|((row, at), column)| (row, at, column.found.as_deref(), column.expected.as_deref()))
        .collect()
}

/// A value that no row could hold is different from the one that is there, and takes nothing else along.
#[tokio::test]
async fn what_could_not_be_written_is_different_or_missing() {
    for world in World::both("compare_refused", "") {
        let refused = || REFUSED.iter().enumerate().filter(|(_, (type_name, ..))| !type_name.contains("CHECK"));
        let table = |(at, (type_name, ..)): (usize, &(&str, &str, &str))| {
            format!(
                "CREATE TABLE r{at} (id INT PRIMARY KEY, v {type_name}); CREATE TABLE s{at} (id INT PRIMARY KEY, v INT);"
            )
        };
        world.sql(&refused().map(table).collect::<String>());
        let mut writer = world.writer().await;
        for (at, (type_name, ..)) in refused() {
            let good = crate::values::good_value(type_name);
            writer.upsert(&format!("r{at}"), &["id", "v"], &[&["1", good], &["2", good]]).await.unwrap();
        }
        let mut reader = Reader::new(world.session().await).await;
        for (at, (type_name, json, _)) in refused() {
            let long = format!("\"{}\"", "x".repeat(256));
            let json = if *json == "\"~\"" { long.as_str() } else { json };
            let good = crate::values::good_value(type_name);
            let rows: [&[&str]; 4] = [&["1", good], &["9", json], &["2", json], &["8", good]];
            let found = reader.compare(&format!("r{at}"), &["id", "v"], &rows).await;
            let shown = format!("{:?} {type_name} {json}: {found:?}", world.flavour);
            assert_eq!(found.missing, [1, 3], "{shown}");
            let [(2, 1, Some(_), expected)] = *differences(&found) else { panic!("{shown}") };
            assert_eq!(expected.is_none(), json == "null", "{shown}");
        }
    }
}

#[tokio::test]
async fn keys_that_no_row_can_have_are_missing() {
    let schema = "CREATE TABLE l (k VARCHAR(9) CHARACTER SET latin1 PRIMARY KEY, v INT); INSERT INTO l VALUES ('?', 1), ('a', 1);
         CREATE TABLE d (k DECIMAL(4,2) PRIMARY KEY, v INT); INSERT INTO d VALUES (99.99, 1), (1, 1);
         CREATE TABLE e (k ENUM('a','b') PRIMARY KEY, v INT); INSERT INTO e VALUES ('a', 1);
         CREATE TABLE m (k DATE PRIMARY KEY, v INT); INSERT INTO m VALUES ('2016-03-01', 1)";
    for world in World::both("compare_no_key", schema) {
        world.writer().await;
        let mut reader = Reader::new(world.session().await).await;
        for (table, key, good) in [
            ("l", "\"🐘\"", "\"a\""),
            ("l", "\"Ж\"", "\"a\""),
            ("d", "100", "1"),
            ("d", "99.991", "1"),
            ("e", "\"c\"", "\"a\""),
            ("m", "\"2016-02-31\"", "\"2016-03-01\""),
        ] {
            let found = reader.compare(table, &["k", "v"], &[&[key, "1"], &[good, "1"], &["null", "1"]]).await;
            assert_eq!(found, Compared { missing: vec![0, 2], different: vec![] }, "{:?} {table} {key}", world.flavour);
        }
    }
}

/// Equal in the collation is another row: one is missing, and one is only the target's.
#[tokio::test]
async fn keys_are_the_same_letter_by_letter() {
    let schema = "CREATE TABLE t (k VARCHAR(20) COLLATE utf8mb4_general_ci, n INT, v INT, PRIMARY KEY (k, n));
         INSERT INTO t VALUES ('ADA', 1, 1), ('x ', 1, 1), ('é', 1, 1), ('Rome', 1, 1), ('Oslo', 2, 2)";
    for world in World::both("compare_letters", schema) {
        world.writer().await;
        let mut reader = Reader::new(world.session().await).await;
        let rows: [&[&str]; 6] = [
            &["\"Ada\"", "1", "1"],
            &["\"x\"", "1", "1"],
            &["\"E\"", "1", "1"],
            &["\"Rome\"", "2", "1"],
            &["\"Oslo\"", "2", "3"],
            &["\"ADA\"", "1", "1"],
        ];
        let found = reader.compare("t", &["k", "n", "v"], &rows).await;
        assert_eq!(found.missing, [0, 1, 2, 3], "{:?}", world.flavour);
        assert_eq!(differences(&found), [(4, 2, Some("2"), Some("3"))]);
    }
}

/// What looks like the value is not always the value.
#[tokio::test]
async fn what_only_looks_the_same_is_different() {
    let schema =
        "SET sql_mode = ''; CREATE TABLE e (id INT PRIMARY KEY, v ENUM('','b')); INSERT INTO e VALUES (1, 'c'), (2, 1);
         CREATE TABLE s (id INT PRIMARY KEY, v VARCHAR(9) CHARACTER SET eucjpms);
         INSERT INTO s VALUES (1, _binary x'8FFEFE'), (2, '?'), (3, 'か?');
         CREATE TABLE z (id INT PRIMARY KEY, v DATE); INSERT INTO z VALUES (1, '0000-00-00')";
    for world in World::both("compare_looks", schema) {
        world.writer().await;
        let mut reader = Reader::new(world.session().await).await;
        let found = reader.compare("e", &["id", "v"], &[&["1", "\"\""], &["2", "\"\""]]).await;
        assert_eq!(differences(&found), [(0, 1, Some("(no member)"), Some(""))], "{:?}", world.flavour);
        let rows: [&[&str]; 3] = [&["1", "\"?\""], &["2", "\"?\""], &["3", "\"か?\""]];
        let found = reader.compare("s", &["id", "v"], &rows).await;
        assert_eq!(found.different.iter().map(|found| found.row).collect::<Vec<_>>(), [0], "{found:?}");
        let found = reader.compare("z", &["id", "v"], &[&["1", "\"0001-01-01\""]]).await;
        assert_eq!(differences(&found), [(0, 1, Some("0000-00-00"), Some("0001-01-01"))]);
    }
}

#[tokio::test]
async fn digits_that_may_be_lost_are_compared_as_they_are_stored() {
    let table = |(at, (type_name, ..)): (usize, &(&str, &str, &str))| {
        format!("CREATE TABLE d{at} (id INT PRIMARY KEY, v {type_name}, w {type_name});")
    };
    for world in World::both("compare_rounding", &ROUNDED.iter().enumerate().map(table).collect::<String>()) {
        let mut writer = Writer::new(connect_rounding(&world.url(), &["v"]).await).await;
        for (at, (type_name, json, _)) in ROUNDED.iter().enumerate() {
            writer
                .upsert(&format!("d{at}"), &["id", "v"], &[&["1", json]])
                .await
                .unwrap_or_else(|error| panic!("{type_name}: {error}"));
            world.sql(&format!("UPDATE d{at} SET w = v"));
        }
        let mut reader = Reader::new(connect_rounding(&world.url(), &["v"]).await).await;
        for (at, (type_name, json, _)) in ROUNDED.iter().enumerate() {
            let found = reader.compare(&format!("d{at}"), &["id", "v", "w"], &[&["1", json, json]]).await;
            let all = differences(&found);
            assert!(matches!(*all, [(0, 2, Some(_), Some(_))]), "{:?} {type_name} {json}: {all:?}", world.flavour);
        }
    }
}

/// Whatever the server rounds, the comparison rounds alike.
#[tokio::test]
async fn random_numbers_round_as_the_server_does() {
    let types = [
        "INT",
        "DECIMAL(20,3)",
        "FLOAT",
        "DOUBLE",
        "FLOAT(9,2)",
        "DOUBLE(15,3)",
        "DATETIME(3)",
        "DATETIME",
        "TIME(2)",
        "TIME",
    ];
    let table = |(at, type_name): (usize, &&str)| format!("CREATE TABLE n{at} (id INT PRIMARY KEY, v {type_name});");
    let (seed, schema) = (fastrand::u64(..), types.iter().enumerate().map(table).collect::<String>());
    for world in World::both("compare_random", &schema) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut writer = Writer::new(connect_rounding(&world.url(), &["v"]).await).await;
        let mut written = Vec::new();
        for (at, type_name) in types.iter().enumerate() {
            let value = |rng: &mut fastrand::Rng| {
                let (day, hour) = (rng.u32(1..=31), rng.u32(0..24));
                let clock = format!(
                    "{hour:02}:{}:{}.{:06}",
                    if rng.bool() { "59" } else { "00" },
                    if rng.bool() { "59" } else { "07" },
                    rng.u32(..1_000_000)
                );
                match type_name {
                    name if name.starts_with("DATE") => format!("\"2015-12-{day:02}T{clock}Z\""),
                    name if name.starts_with("TIME") => format!("\"{}{clock}\"", if rng.bool() { "-" } else { "" }),
                    _ => {
                        let digits = rng.usize(1..=9);
                        format!(
                            "{}{}.{:0digits$}",
                            if rng.bool() { "-" } else { "" },
                            rng.u32(..99_999),
                            rng.u64(..10_u64.pow(digits as u32))
                        )
                    }
                }
            };
            let rows: Vec<[String; 2]> = (0..500).map(|id| [id.to_string(), value(&mut rng)]).collect();
            let rows: Vec<[&str; 2]> = rows.iter().map(|[id, value]| [id.as_str(), value.as_str()]).collect();
            let rows: Vec<&[&str]> = rows.iter().map(<[&str; 2]>::as_slice).collect();
            writer
                .upsert(&format!("n{at}"), &["id", "v"], &rows)
                .await
                .unwrap_or_else(|error| panic!("{type_name}: {error}"));
            written.push(rows.iter().map(|row| row[1].to_owned()).collect::<Vec<_>>());
        }
        let mut reader = Reader::new(connect_rounding(&world.url(), &["v"]).await).await;
        for (at, type_name) in types.iter().enumerate() {
            let ids: Vec<_> = (0..500).map(|id| id.to_string()).collect();
            let rows: Vec<[&str; 2]> =
                ids.iter().zip(&written[at]).map(|(id, value)| [id.as_str(), value.as_str()]).collect();
            let rows: Vec<&[&str]> = rows.iter().map(<[&str; 2]>::as_slice).collect();
            let found = reader.compare(&format!("n{at}"), &["id", "v"], &rows).await;
            assert_eq!(found, Compared::default(), "{:?} {type_name}, seed {seed}", world.flavour);
        }
    }
}

/// MariaDB knows no zero with a sign; MySQL keeps it.
#[tokio::test]
async fn a_zero_with_a_sign_is_found_as_it_was_written() {
    let schema =
        "CREATE TABLE t (id INT PRIMARY KEY, f FLOAT, d DOUBLE, fs FLOAT(7,2), ds DOUBLE(15,2), n DECIMAL(5,2))";
    for world in World::both("compare_zero", schema) {
        let mut writer = world.writer().await;
        let columns = ["id", "f", "d", "fs", "ds", "n"];
        let rows: [&[&str]; 3] = [
            &["1", "0", "0", "0", "0", "0"],
            &["2", "-0", "-0", "-0", "-0", "-0"],
            &["3", "-0.0", "-0.0", "-0.0", "-0.0", "-0.0"],
        ];
        writer.upsert("t", &columns, &rows).await.unwrap();
        let mut reader = Reader::new(world.session().await).await;
        assert_eq!(reader.compare("t", &columns, &rows).await, Compared::default(), "{:?}", world.flavour);
        let found = reader.compare("t", &columns[..3], &[&["1", "-0", "-0"], &["2", "0", "0"]]).await;
        let expected: &[_] = match world.flavour {
            Flavour::MariaDb => &[],
            Flavour::MySql => &[
                (0, 1, Some("0"), Some("-0")),
                (0, 2, Some("0"), Some("-0")),
                (1, 1, Some("-0"), Some("0")),
                (1, 2, Some("-0"), Some("0")),
            ],
        };
        assert_eq!(differences(&found), expected);
    }
}

/// Blocks of any length and order, with rows between that only the target has: what is found is the same.
#[tokio::test]
async fn blocks_of_every_order_are_compared_alike() {
    let schema = "CREATE TABLE t (a VARCHAR(20) COLLATE utf8mb4_general_ci, b INT, v INT, PRIMARY KEY (a, b))";
    for world in World::both("compare_order", schema) {
        let mut writer = world.writer().await;
        let keys: Vec<[String; 2]> =
            (0..9000).map(|at| [format!("\"k{:04}\"", at / 3), (at % 3).to_string()]).collect();
        let rows: Vec<[&str; 3]> = keys.iter().map(|[a, b]| [a.as_str(), b, "1"]).collect();
        let slices: Vec<&[&str]> = rows.iter().map(<[&str; 3]>::as_slice).collect();
        writer.upsert("t", &["a", "b", "v"], &slices).await.unwrap();
        world.sql("DELETE FROM t WHERE a = 'k0002'; UPDATE t SET v = 2 WHERE a = 'k2999' AND b = 2");
        let mut reader = Reader::new(world.session().await).await;
        // Every row; every ninth, so that most of what lies between was not asked for; and both from the end to the beginning.
        for (step, backwards) in [(1, false), (9, false), (1, true), (9, true)] {
            let mut chosen: Vec<usize> = (8..9000).step_by(step).collect();
            if backwards {
                chosen.reverse();
            }
            let some: Vec<&[&str]> = chosen.iter().map(|at| slices[*at]).collect();
            let found = reader.compare("t", &["a", "b", "v"], &some).await;
            let place = |key: usize| chosen.iter().position(|at| *at == key).unwrap() as u32;
            assert_eq!(found.missing, [place(8)], "{:?} {step} {backwards}", world.flavour);
            assert_eq!(differences(&found), [(place(8999), 2, Some("2"), Some("1"))], "{step} {backwards}");
        }
    }
}
