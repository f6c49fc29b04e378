//! The path of a request and the topic of a message: each leads to one table or to none.
#![no_main]

use ebb::receive::{Table, Tables, segments};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (path, topic) = input;
    let own = ["molt".to_owned(), "public".to_owned()];
    let mut tables = Tables::default();
    for (number, name) in ["orders", "My Table", "a.b", "odd\"name"].into_iter().enumerate() {
        let table = Table { number: u32::try_from(number).expect("few"), ..Table::default() };
        tables.add(&own, &[name.to_owned()], false, table);
    }
    let Some(found) = segments(path) else { return };
    assert!(found.iter().all(|segment| !segment.is_empty()));
    assert_eq!(tables.has_path(&found), found == own);
    let table = tables.find(&found, topic).map(|table| table.number);
    assert!(table.is_none() || found == own);
    // A name and its quoted spelling mean the same.
    let quoted = format!("\"{}\"", topic.replace('"', "\"\""));
    if let Some(number) = table.filter(|_| !topic.contains(['.', '"'])) {
        assert_eq!(tables.find(&found, &quoted).map(|table| table.number), Some(number), "{topic}");
    }
});
