//! The path of a request and the topic of a message: each leads to one table or to none.
#![no_main]

use ebb::receive::segments;
use ebb::stage::TableId;
use ebb::tables::{Destination, Table, Tables};
use libfuzzer_sys::fuzz_target;

const KNOWN: TableId = TableId(9);

fuzz_target!(|input: (&str, &str)| {
    let (path, topic) = input;
    let own = ["molt".to_owned(), "public".to_owned()];
    let mut tables = Tables::default();
    for (name, number) in ["orders", "My Table", "a.b", "odd\"name"].into_iter().zip(0..) {
        let table = Table { number: TableId(number), ..Table::default() };
        tables.add(&own, &[name.to_owned()], false, table);
    }
    // Of a source that is known, whose names are what they are to the letter.
    let source = Some(("public".to_owned(), "items".to_owned()));
    tables.add(&own, &["Items".to_owned()], false, Table { number: KNOWN, source, ..Table::default() });
    let Some(found) = segments(path) else { return };
    assert!(found.iter().all(|segment| !segment.is_empty()));
    assert_eq!(tables.has_path(&found), found == own);
    let table = match tables.find(&found, topic) {
        Destination::Table(table, _) => Some(table.number),
        Destination::Refused(..) | Destination::Unknown => None,
    };
    assert!(table != Some(KNOWN) || topic.contains("items"), "{topic}");
    assert!(table.is_none() || found == own);
    // A name and its quoted spelling mean the same.
    let quoted = format!("\"{}\"", topic.replace('"', "\"\""));
    if let Some(number) = table.filter(|_| !topic.contains(['.', '"'])) {
        assert!(matches!(tables.find(&found, &quoted), Destination::Table(table, _) if table.number == number), "{topic}");
    }
});
