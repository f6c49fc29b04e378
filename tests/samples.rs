//! Types of CockroachDB, and values of each as a changefeed writes them: ordinary ones and those at the edges.
//!
//! Owns: what the plugins' tests try on every type of their columns, and the page of the docs that is made of the outcome. It
//! is a module of those tests.

use std::collections::BTreeMap;
use std::path::Path;

use ebb_sdk::{Checks, ColumnIndex, Family, Fit, Operation, Session, SourceType};

use crate::writer::{Writer, table_of};

/// A type and the JSON of some of its values.
pub(crate) struct Sample {
    pub source: SourceType,
    pub values: Vec<String>,
}

fn sample(name: &str, family: Family, size_max: Option<u64>, values: &[&str]) -> Sample {
    let scale = (name == "DECIMAL(10,2)").then_some(2);
    let source = SourceType { name: name.into(), family, size_max, scale, element: None };
    Sample { source, values: values.iter().map(|&value| value.to_owned()).collect() }
}

fn array(element: Sample, values: &[&str]) -> Sample {
    let source = SourceType {
        name: format!("{}[]", element.source.name),
        family: Family::Array,
        element: Some(Box::new(element.source)),
        ..SourceType::default()
    };
    Sample { source, values: values.iter().map(|&value| value.to_owned()).collect() }
}

pub(crate) fn samples() -> Vec<Sample> {
    let (long, bytes) = (format!("\"{}\"", "x".repeat(300)), format!("\"\\\\x{}\"", "6a".repeat(300)));
    let uuid = "\"7f9c24e8-3b12-4fef-91e0-56a2d5a246ec\"";
    let point = "{\"coordinates\": [1, 2], \"type\": \"Point\"}";
    vec![
        sample("BOOL", Family::Bool, None, &["true", "false"]),
        sample("INT2", Family::Int, Some(2), &["7", "-32768", "32767"]),
        sample("INT4", Family::Int, Some(4), &["7", "-2147483648", "2147483647"]),
        sample("INT8", Family::Int, Some(8), &["7", "-9223372036854775808", "9223372036854775807"]),
        sample("DECIMAL(10,2)", Family::Decimal, Some(10), &["0.10", "-12345678.91", "12345678.91"]),
        sample(
            "DECIMAL",
            Family::Decimal,
            None,
            &["1.5", "1E+20", "12345678901234567890123456789012345678901.5", "1E+400"],
        ),
        sample("FLOAT4", Family::Float, Some(4), &["1.5", "3.4028235E+38", "\"NaN\""]),
        sample("FLOAT8", Family::Float, Some(8), &["1.5", "1E+300", "\"-Infinity\""]),
        sample("VARCHAR(10)", Family::String, Some(10), &["\"\"", "\"🐘 ten char\"", "\"trailing \""]),
        sample("STRING", Family::String, None, &["\"\"", "\"🐘\"", "\"text\"", &long]),
        sample("ENUM", Family::Enum, None, &["\"a\"", "\"a label with blanks\""]),
        sample("BYTES", Family::Bytes, None, &["\"\\\\x\"", "\"\\\\x6869\"", &bytes]),
        sample("UUID", Family::Uuid, None, &[uuid]),
        sample("DATE", Family::Date, None, &["\"2016-01-25\"", "\"0044-03-15 BC\"", "\"12345-01-01\"", "\"infinity\""]),
        sample("TIME", Family::Time, None, &["\"01:23:45.123456\"", "\"24:00:00\""]),
        sample("TIMETZ", Family::TimeTz, None, &["\"03:04:05+05:30\"", "\"24:00:00-15:59:59\""]),
        sample(
            "TIMESTAMP",
            Family::Timestamp,
            None,
            &["\"2016-01-25T00:00:00\"", "\"2016-01-25T10:10:10.5\"", "\"-0043-03-15T00:00:00\""],
        ),
        sample(
            "TIMESTAMPTZ",
            Family::TimestampTz,
            None,
            &["\"2016-01-25T00:00:00Z\"", "\"2016-01-25T10:10:10.5Z\"", "\"12345-01-01T00:00:00Z\""],
        ),
        sample(
            "INTERVAL",
            Family::Interval,
            None,
            &["\"-01:00:00\"", "\"1 year 2 mons 3 days 04:05:06.789\"", "\"-1 days +02:00:00\""],
        ),
        sample("JSONB", Family::Json, None, &["{\"a\": [1.10, null]}", "\"hello\"", "123", "[0.12345678901234567890]"]),
        sample("INET", Family::Inet, None, &["\"10.1.2.3\"", "\"10.1.2.3/8\"", "\"::1\""]),
        sample("BIT(8)", Family::Bit, Some(8), &["\"10010101\""]),
        sample(
            "VARBIT",
            Family::Bit,
            None,
            &["\"101\"", "\"1001010110010101100101011001010110010101100101011001010110010101100101011\""],
        ),
        array(sample("INT8", Family::Int, Some(8), &[]), &["[1, null, 9223372036854775807]", "[]"]),
        array(sample("STRING", Family::String, None, &[]), &["[\"a,b\", null]", "[\"\"]"]),
        sample(
            "GEOMETRY",
            Family::Geometry,
            None,
            &[point, "{\"coordinates\": [[0, 0], [1, 1]], \"type\": \"LineString\"}"],
        ),
        sample("VECTOR(3)", Family::Vector, None, &["\"[1,2.5,3]\""]),
    ]
}

/// What was found: for each type of a column what it makes of each type of the source.
pub(crate) type Found = Vec<(&'static str, Vec<(String, Fit)>)>;

/// Tries every value of every type on a column of each type, `v` of the table `tN` for the Nth of `columns`.
pub(crate) async fn try_all<S: Session>(
    writer: &mut Writer<S>,
    columns: impl Iterator<Item = (usize, &'static str)>,
) -> Found {
    let (mut found, mut wrong) = (Found::new(), Vec::new());
    for (at, column) in columns {
        let table = table_of(&writer.catalog, &format!("t{at}")).clone();
        let mut fits = Vec::new();
        for sample in samples() {
            let fit = writer.session.fits(&table, ColumnIndex(1), &sample.source);
            for value in &sample.values {
                writer.session.begin(Checks::Immediate).await.expect("a transaction");
                let written = writer.write(&table.name, Operation::Upsert, &["id", "v"], &[&["1", value]]).await;
                writer.session.rollback().await.expect("its end");
                // What is called never may be read by accident, as something else.
                if fit == Fit::Full && written.is_err() {
                    wrong.push(format!("{column} from {}, {value}: {fit:?}, {written:?}", sample.source.name));
                }
            }
            fits.push((sample.source.name, fit));
        }
        found.push((column, fits));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    found
}

/// The page of the docs, with sections of single values at its end. With EBB_WRITE_DOCS it is written, else it must be there
/// already.
#[track_caller]
pub(crate) fn check_page(name: &str, title: &str, found: &Found, sections: &str) {
    let mut page = format!(
        "# {title}\n\nMade by the tests, which write values of every type on the left into columns of every type on the right; \
         do not edit it.\n\nValues that a column cannot hold exactly are refused, with table, key, column and value. So are \
         numbers and seconds with digits behind the point that it has no room for, unless `--allow-rounding` names the \
         column: then the target rounds them, and they are counted. In a key they are always refused, as is every value that \
         another one would be equal to there. Where a column takes no value, or would read one as something else, ebb does not \
         start.\n\n\
         | column | takes every value of | takes some values of | takes no value of |\n|---|---|---|---|\n"
    );
    for (column, fits) in found {
        let (mut whole, mut part, mut never) = (Vec::new(), BTreeMap::<&str, Vec<&str>>::new(), Vec::new());
        for (source, fit) in fits {
            match fit {
                Fit::Full => whole.push(source.as_str()),
                Fit::Rounds(why) | Fit::Partial(why) => {
                    part.entry(why.trim_start_matches("it takes ")).or_default().push(source);
                }
                Fit::Incompatible(_) => never.push(source.as_str()),
            }
        }
        let part: Vec<_> = part.iter().map(|(why, sources)| format!("{}: {why}", sources.join(", "))).collect();
        let column = column.replace('|', "\\|");
        page.push_str(&format!("| {column} | {} | {} | {} |\n", whole.join(", "), part.join("; "), never.join(", ")));
    }
    page.push_str(sections);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    if std::env::var_os("EBB_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().expect("docs")).expect("a folder");
        std::fs::write(&path, &page).expect("the page is written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == page, "docs/{name} is not what the tests found: run them with EBB_WRITE_DOCS=1");
}

/// A row of random values: the JSON of each column of [`RANDOM_COLUMNS`], and what it must show afterwards.
pub(crate) struct Random {
    pub json: [String; 8],
    pub shown: [String; 8],
}

/// An integer, an exact number, a double, a text and bytes (both shown in hexadecimal), a day, a moment and a UUID.
pub(crate) const RANDOM_COLUMNS: [&str; 8] = ["i", "n", "f", "t", "b", "d", "m", "u"];

impl Random {
    /// Any of the values that both kinds of target hold.
    pub(crate) fn new(rng: &mut fastrand::Rng) -> Self {
        let integer = rng.i64(..) >> rng.u32(0..64);
        let number = format!(
            "{}{}.{:06}",
            if rng.bool() { "-" } else { "" },
            rng.u128(1..10_u128.pow(20)),
            rng.u32(1..1_000_000)
        );
        let double = loop {
            // Subnormal numbers are printed in different ways.
            let double = f64::from_bits(rng.u64(..));
            if double.is_normal() {
                break double;
            }
        };
        let letters = ['a', '\'', '"', '\\', '%', '\n', '\u{1}', 'é', 'Ж', '漢', '🐘', ' ', '`', ';', '\u{200d}'];
        let text: String = (0..rng.usize(0..40)).map(|_| letters[rng.usize(0..letters.len())]).collect();
        let bytes: String = (0..rng.usize(0..40)).map(|_| format!("{:02x}", rng.u8(..))).collect();
        let day = format!("{:04}-{:02}-{:02}", rng.u32(1000..9999), rng.u32(1..13), rng.u32(1..29));
        let clock =
            format!("{:02}:{:02}:{:02}.{:06}", rng.u32(0..24), rng.u32(0..60), rng.u32(0..60), rng.u32(1..1_000_000));
        let uuid = format!("{:032x}", rng.u128(..));
        let uuid = format!("{}-{}-{}-{}-{}", &uuid[..8], &uuid[8..12], &uuid[12..16], &uuid[16..20], &uuid[20..]);
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        Self {
            json: [
                integer.to_string(),
                number.clone(),
                format!("{double:E}").replace("E", if double.abs() < 1.0 { "E" } else { "E+" }),
                quoted(&text),
                quoted(&format!("\\x{bytes}")),
                quoted(&day),
                quoted(&format!("{day}T{clock}Z")),
                quoted(&uuid),
            ],
            shown: [
                integer.to_string(),
                number,
                format!("{double:e}"),
                hex(&text),
                bytes,
                day.clone(),
                format!("{day} {clock}"),
                uuid,
            ],
        }
    }

    /// Fills the table `t` with rows of random values, numbered by `id`; also says from which seed they are.
    pub(crate) async fn fill<S: Session>(writer: &mut Writer<S>) -> (u64, Vec<Self>) {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        let random: Vec<_> = (0..3000).map(|_| Self::new(&mut rng)).collect();
        let columns: Vec<_> = ["id"].into_iter().chain(RANDOM_COLUMNS).collect();
        let ids: Vec<_> = (0..random.len()).map(|id| id.to_string()).collect();
        let row = |(id, row)| {
            let (id, row): (&String, &Self) = (id, row);
            [id.clone()].into_iter().chain(row.json.clone()).collect::<Vec<_>>()
        };
        let rows: Vec<Vec<String>> = ids.iter().zip(&random).map(row).collect();
        let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        let written = writer.upsert("t", &columns, &rows.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
        written.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        (seed, random)
    }

    /// Whether a line of the values, separated by `|`, shows this row.
    pub(crate) fn is_shown(&self, line: &str) -> bool {
        let columns: Vec<&str> = line.split('|').collect();
        let mut found = columns.iter().zip(&self.shown).enumerate();
        columns.len() == self.shown.len()
            && found.all(|(at, (found, shown))| match RANDOM_COLUMNS[at] {
                "f" => found.parse::<f64>().is_ok_and(|found| format!("{found:e}") == *shown),
                _ => found.eq_ignore_ascii_case(shown),
            })
    }
}
