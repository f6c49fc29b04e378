//! Texts in character sets other than UTF-8: kept whole, or refused by name; never cut, and no letter becomes another.

use ebb_sdk::ErrorKind;

use crate::world::World;

/// Type, a text that it holds and one that it does not, what is said of that.
fn texts() -> Vec<(&'static str, String, String, &'static str)> {
    let some = |letter: &str, count: usize, end: &str| format!("{}{end}", letter.repeat(count));
    let (long, no_letter) = ("too long", "Incorrect string value|Conversion from collation");
    vec![
        ("TINYTEXT", some("x", 253, "é"), some("x", 254, "é"), long),
        ("TINYTEXT", some("x", 254, " "), some("x", 255, " "), long),
        ("TINYTEXT CHARACTER SET latin1", some("é", 255, ""), some("é", 256, ""), long),
        ("TINYTEXT CHARACTER SET latin1", some("é", 254, " "), some("é", 255, " "), long),
        ("TINYTEXT CHARACTER SET latin1", some("é", 254, "\n"), some("é", 255, "\n"), long),
        ("TINYTEXT CHARACTER SET latin1", "€".into(), "Ж".into(), no_letter),
        ("TINYTEXT CHARACTER SET gbk", some("漢", 127, ""), some("漢", 127, "  "), long),
        ("TINYTEXT CHARACTER SET gbk", some("漢", 120, "  "), some("漢", 128, ""), long),
        ("TINYTEXT CHARACTER SET utf16", some("x", 127, ""), some("x", 128, ""), long),
        ("TINYTEXT CHARACTER SET utf16", some("x", 60, "  "), some("x", 127, "  "), long),
        ("TEXT CHARACTER SET latin1", some("é", 65_534, " "), some("é", 65_535, " "), long),
        ("VARCHAR(3) CHARACTER SET latin1", "éé ".into(), "ééé ".into(), long),
        ("VARCHAR(3) CHARACTER SET latin1", "éé\t".into(), "ééé\t".into(), long),
        ("VARCHAR(3) CHARACTER SET gbk", "漢漢 ".into(), "é漢🐘".into(), no_letter),
        ("VARCHAR(9) CHARACTER SET ascii", "a?".into(), "é".into(), no_letter),
        ("VARCHAR(9) CHARACTER SET cp932", "晙".into(), "a晡".into(), "stores the letter"),
        ("CHAR(3) CHARACTER SET latin1", "ééé".into(), "éé ".into(), "loses the blanks"),
    ]
}

#[tokio::test]
async fn texts_are_kept_or_refused() {
    let texts = texts();
    let table = |(at, text): (usize, &(&str, String, String, &str))| {
        format!("CREATE TABLE t{at} (id INT PRIMARY KEY, v {} NULL);", text.0)
    };
    for world in World::both("letters", &texts.iter().enumerate().map(table).collect::<String>()) {
        let mut writer = world.writer().await;
        for (at, (type_name, kept, refused, why)) in texts.iter().enumerate() {
            let (table, json) = (format!("t{at}"), |text: &str| serde_json::Value::from(text).to_string());
            writer.upsert(&table, &["id", "v"], &[&["1", &json(kept)]]).await.unwrap();
            let shown = world.sql(&format!("SELECT HEX(CONVERT(v USING utf8mb4)) FROM {table}"));
            let hex: String = kept.bytes().map(|byte| format!("{byte:02X}")).collect();
            assert!(shown == hex, "{:?} {type_name} {kept}", world.flavour);
            let written = writer.upsert(&table, &["id", "v"], &[&["2", &json(refused)]]).await;
            let error = written.expect_err(type_name);
            let said = why.split('|').any(|why| error.message.contains(why));
            let named = (error.key.as_deref(), error.column.as_deref()) == (Some("id=2"), Some("v"));
            assert!(said && named && error.kind == ErrorKind::Refused, "{:?} {type_name}: {error:?}", world.flavour);
        }
    }
}
