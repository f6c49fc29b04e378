//! Which target table a message is about: the path of the request and the topic of the message decide.
//!
//! Owns: topics in all their spellings (bare, quoted, qualified). Does not own: whether a table can be applied to, which
//! is established before the receiver starts. What is not found here is refused, never passed over.

use std::collections::HashMap;
use std::sync::Arc;

use ebb_sdk::TableIndex;

use super::SourceKey;
use super::origin::Origin;
use crate::error::Error;
use crate::stage::TableId;

/// A table that rows are taken for.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Its number in the staging folder.
    pub number: TableId,
    /// Its position in the target's catalog.
    pub position: TableIndex,
    /// The target's schema that it belongs to, as the segments of a path: who writes a row must be let in there.
    pub schema: Vec<String>,
    /// Schema and name at the source; `None` when the source cannot be asked.
    pub source: Option<(String, String)>,
    pub key: Arc<SourceKey>,
    /// Those that every row of the source has, as far as it is known.
    pub columns: Vec<String>,
    /// Columns that the source hides and the target lacks, such as the shard of a hash-sharded key.
    pub hidden_columns: Vec<String>,
    /// Rows of it are staged, and none come any more: it need not be there at the source.
    pub is_left: bool,
}

/// What a topic stands for.
#[derive(Debug)]
pub enum Destination<'a> {
    Table(&'a Table, Origin),
    /// The target has the table, in this schema, and rows cannot be written to it as they are: why.
    Refused(&'a [String], &'a Error),
    Unknown,
}

/// A longer topic names no table: CockroachDB writes database, schema and name.
const TOPIC_BYTES_MAX: usize = 8 << 10;

/// Every table that rows are taken for, by path and topic.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    list: Vec<Table>,
    /// Where in the list each number in staging stands.
    places: HashMap<TableId, usize>,
    refused: Vec<(Vec<String>, Error)>,
    /// The source's, where it is known.
    database: Option<String>,
    paths: HashMap<Vec<String>, Topics>,
}

#[derive(Clone, Debug, Default)]
struct Topics {
    exact: HashMap<String, Place>,
    /// By the lower-case topic; `None` when two tables differ in case only.
    folded: HashMap<String, Option<Place>>,
}

/// Where a table stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Taken(usize),
    Refused(usize),
}

impl Tables {
    /// Adds a table under a path and every topic it may come with.
    pub fn add(&mut self, path: &[String], topics: &[String], case_sensitive: bool, table: Table) {
        let place = Place::Taken(self.list.len());
        self.places.insert(table.number, self.list.len());
        self.list.push(table);
        self.paths.entry(path.to_vec()).or_default().add(topics, case_sensitive, place);
    }

    /// Adds a table of this schema whose rows end the run, and why.
    pub fn refuse(&mut self, path: &[String], topics: &[String], case_sensitive: bool, schema: &[String], why: Error) {
        let place = Place::Refused(self.refused.len());
        self.refused.push((schema.to_vec(), why));
        self.paths.entry(path.to_vec()).or_default().add(topics, case_sensitive, place);
    }

    /// Rows that name another database are none of this source.
    pub fn set_database(&mut self, database: &str) {
        self.database = Some(database.to_owned());
    }

    pub fn list(&self) -> &[Table] {
        &self.list
    }

    /// The table of a number in staging.
    pub fn numbered(&self, number: TableId) -> Option<&Table> {
        self.places.get(&number).map(|&at| &self.list[at])
    }

    /// Whether requests to this path are for us.
    pub fn has_path(&self, path: &[String]) -> bool {
        self.paths.contains_key(path)
    }

    /// Every path that requests may go to.
    pub fn paths(&self) -> impl Iterator<Item = &Vec<String>> {
        self.paths.keys()
    }

    /// Every schema that requests go to or write to, each once.
    pub fn schemas(&self) -> Vec<&[String]> {
        let of_tables =
            self.list.iter().map(|table| &table.schema).chain(self.refused.iter().map(|(schema, _)| schema));
        let mut schemas: Vec<_> = self.paths.keys().chain(of_tables).map(Vec::as_slice).collect();
        schemas.sort_unstable();
        schemas.dedup();
        schemas
    }

    /// The table of a topic.
    pub fn find(&self, path: &[String], topic: &str) -> Destination<'_> {
        let Some(topics) = self.paths.get(path).filter(|_| topic.len() <= TOPIC_BYTES_MAX) else {
            return Destination::Unknown;
        };
        // A bare name since 25.4 may itself hold dots and quotes, so the topic as it stands comes first.
        if let Some(place) = topics.find(topic) {
            return self.route(place, || Origin::bare(topic));
        }
        let Some(parts) = identifiers(topic) else { return Destination::Unknown };
        let whole = parts.join(".");
        // `db.schema.table`. Two parts are a table and a column family, whose rows are not whole: they are not taken.
        let [database, schema, name] = parts.as_slice() else {
            return topics
                .find(&whole)
                .map_or(Destination::Unknown, |place| self.route(place, || Origin::bare(&whole)));
        };
        let origin = || Origin::qualified(&format!("{database}.{schema}"), name);
        if let Some(place) = topics.find(&whole) {
            return self.route(place, origin);
        }
        match topics.find(name) {
            // Of a table that is known, another schema's table of the same name is another table.
            Some(Place::Taken(at)) if !self.is_of_source(&self.list[at], database, schema) => Destination::Unknown,
            Some(place) => self.route(place, origin),
            None => Destination::Unknown,
        }
    }

    fn is_of_source(&self, table: &Table, database: &str, schema: &str) -> bool {
        match (&table.source, &self.database) {
            (Some((known, _)), Some(of)) => known == schema && of == database,
            (Some((known, _)), None) => known == schema,
            (None, _) => true,
        }
    }

    fn route(&self, place: Place, origin: impl FnOnce() -> Origin) -> Destination<'_> {
        match place {
            Place::Taken(at) => {
                let (table, origin) = (&self.list[at], origin());
                // Names of the source are what they are to the letter, however the target compares them.
                let is_it = table.source.as_ref().is_none_or(|(_, name)| origin.is_of(name));
                if is_it { Destination::Table(table, origin) } else { Destination::Unknown }
            }
            Place::Refused(at) => {
                let (schema, why) = &self.refused[at];
                Destination::Refused(schema, why)
            }
        }
    }
}

impl Topics {
    fn add(&mut self, topics: &[String], case_sensitive: bool, place: Place) {
        for topic in topics {
            self.exact.insert(topic.clone(), place);
            if !case_sensitive {
                let folded = self.folded.entry(topic.to_lowercase()).or_insert(Some(place));
                if *folded != Some(place) {
                    *folded = None;
                }
            }
        }
    }

    fn find(&self, name: &str) -> Option<Place> {
        self.exact.get(name).copied().or_else(|| *self.folded.get(&name.to_lowercase())?)
    }
}

/// Splits `db.schema."My Table"` as SQL does; `None` when it is not a list of identifiers.
fn identifiers(topic: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = topic;
    loop {
        let (part, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_identifier(quoted)?,
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        parts.push(part);
        match behind.strip_prefix('.') {
            Some(more) => rest = more,
            None => return behind.is_empty().then_some(parts),
        }
    }
}

/// Reads up to the closing quote; a doubled quote stands for one.
fn quoted_identifier(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code;

    fn path() -> Vec<String> {
        vec!["molt".into(), "public".into()]
    }

    fn tables(topics: &[&str], case_sensitive: bool) -> Tables {
        let mut tables = Tables::default();
        for (topic, number) in topics.iter().zip(0..) {
            let table = Table { number: TableId(number), ..Table::default() };
            tables.add(&path(), &[(*topic).to_owned()], case_sensitive, table);
        }
        tables
    }

    fn number(route: &Destination<'_>) -> Option<u32> {
        match route {
            Destination::Table(table, _) => Some(table.number.0),
            Destination::Refused(..) | Destination::Unknown => None,
        }
    }

    #[test]
    fn a_table_that_is_known_has_one_schema() {
        let mut tables = tables(&["orders"], true);
        tables.list[0].source = Some(("tenant1".into(), "orders".into()));
        assert_eq!(number(&tables.find(&path(), "shop.tenant1.orders")), Some(0));
        assert_eq!(number(&tables.find(&path(), "shop.tenant2.orders")), None);
        tables.set_database("shop");
        assert_eq!(number(&tables.find(&path(), "\"orders\"")), Some(0));
        assert_eq!(number(&tables.find(&path(), "shop.tenant1.orders")), Some(0));
        assert_eq!(number(&tables.find(&path(), "other.tenant1.orders")), None);
        tables.refuse(
            &path(),
            &["loud".to_owned()],
            true,
            &path(),
            Error::new(code::table::TABLE_NOT_WRITABLE, "it has a rule"),
        );
        assert!(matches!(tables.find(&path(), "loud"), Destination::Refused(_, why) if why.message == "it has a rule"));
    }

    #[test]
    fn a_table_that_is_known_has_one_name() {
        let mut tables = tables(&["Orders", "items"], false);
        tables.list[0].source = Some(("public".into(), "orders".into()));
        let find = |topic: &str| number(&tables.find(&path(), topic));
        assert_eq!((find("orders"), find("shop.public.orders")), (Some(0), Some(0)));
        assert_eq!((find("Orders"), find("ORDERS"), find("shop.public.ORDERS")), (None, None, None));
        assert_eq!(find("ITEMS"), Some(1), "of a source that is not known any spelling may be the right one");
        assert_eq!(find(&"x".repeat(1 << 20)), None);
    }

    #[test]
    fn topics_in_every_spelling() {
        let tables = tables(&["orders", "My Table", "odd\"name", "a.b"], true);
        let check = |topic: &str, expected: Option<u32>| {
            assert_eq!(number(&tables.find(&path(), topic)), expected, "{topic}");
        };
        check("orders", Some(0));
        check("defaultdb.public.orders", Some(0));
        check("\"My Table\"", Some(1));
        check("My Table", Some(1));
        check("defaultdb.public.\"My Table\"", Some(1));
        check("\"odd\"\"name\"", Some(2));
        check("a.b", Some(3));
        check("Orders", None);
        check("customers.orders", None);
        check("defaultdb.public.customers.orders", None);
        check("customers", None);
        check("\"orders", None);
        assert_eq!(number(&tables.find(&["molt".to_owned()], "orders")), None);
    }

    #[test]
    fn case_is_folded_unless_ambiguous() {
        let tables = tables(&["Orders", "items", "Items"], false);
        let find = |topic: &str| number(&tables.find(&path(), topic));
        assert_eq!(find("orders"), Some(0));
        assert_eq!(find("items"), Some(1));
        assert_eq!(find("Items"), Some(2));
        assert_eq!(find("ITEMS"), None);
    }
}
