//! Which target table a message is about: the path of the request and the topic of the message decide.
//!
//! Owns: topics in all their spellings (bare, quoted, qualified). Does not own: whether a table can be applied to, which
//! is settled before the receiver starts. What is not found here is refused, never passed over.

use std::collections::HashMap;

/// A table that rows are taken for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Its number in the staging folder.
    pub number: u32,
    /// Its position in the target's catalog.
    pub position: u32,
    /// The source's primary key, in the order of a message's `key`; `None` when the source cannot be asked.
    pub key_columns: Option<Vec<String>>,
    /// Columns that the source hides and the target lacks, such as the shard of a hash-sharded key.
    pub hidden_columns: Vec<String>,
}

/// Every table that rows are taken for, by path and topic.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    list: Vec<Table>,
    paths: HashMap<Vec<String>, Topics>,
}

#[derive(Clone, Debug, Default)]
struct Topics {
    exact: HashMap<String, usize>,
    /// By the lower-case topic; `None` when two tables differ in case only.
    folded: HashMap<String, Option<usize>>,
}

impl Tables {
    /// Adds a table under a path and every topic it may come with.
    pub fn add(&mut self, path: &[String], topics: &[String], case_sensitive: bool, table: Table) {
        let at = self.list.len();
        self.list.push(table);
        let known = self.paths.entry(path.to_vec()).or_default();
        for topic in topics {
            known.exact.insert(topic.clone(), at);
            if !case_sensitive {
                let folded = known.folded.entry(topic.to_lowercase()).or_insert(Some(at));
                if *folded != Some(at) {
                    *folded = None;
                }
            }
        }
    }

    pub fn list(&self) -> &[Table] {
        &self.list
    }

    /// Whether requests to this path are for us.
    pub fn has_path(&self, path: &[String]) -> bool {
        self.paths.contains_key(path)
    }

    /// Every path that requests may go to.
    pub fn paths(&self) -> impl Iterator<Item = &Vec<String>> {
        self.paths.keys()
    }

    /// The table of a topic.
    pub fn find(&self, path: &[String], topic: &str) -> Option<&Table> {
        let topics = self.paths.get(path)?;
        let parts = identifiers(topic);
        // A bare name since 25.4 may itself hold dots and quotes, so the topic as it stands comes first.
        let spellings = [Some(topic.to_owned()), parts.as_ref().map(|parts| parts.join("."))];
        // `db.schema.table`. Two parts are a table and a column family, whose rows are not whole: they are not taken.
        let last = parts.as_ref().filter(|parts| parts.len() == 3).and_then(|parts| parts.last().cloned());
        spellings.into_iter().chain([last]).flatten().find_map(|name| topics.find(&name)).map(|at| &self.list[at])
    }
}

impl Topics {
    fn find(&self, name: &str) -> Option<usize> {
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

    fn path() -> Vec<String> {
        vec!["molt".into(), "public".into()]
    }

    fn tables(topics: &[&str], case_sensitive: bool) -> Tables {
        let mut tables = Tables::default();
        for (at, topic) in topics.iter().enumerate() {
            let table = Table { number: u32::try_from(at).unwrap(), ..Table::default() };
            tables.add(&path(), &[(*topic).to_owned()], case_sensitive, table);
        }
        tables
    }

    #[test]
    fn topics_in_every_spelling() {
        let tables = tables(&["orders", "My Table", "odd\"name", "a.b"], true);
        let check = |topic: &str, expected: Option<u32>| {
            assert_eq!(tables.find(&path(), topic).map(|table| table.number), expected, "{topic}");
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
        assert!(tables.find(&["molt".to_owned()], "orders").is_none());
    }

    #[test]
    fn case_is_folded_unless_ambiguous() {
        let tables = tables(&["Orders", "items", "Items"], false);
        let find = |topic: &str| tables.find(&path(), topic).map(|table| table.number);
        assert_eq!(find("orders"), Some(0));
        assert_eq!(find("items"), Some(1));
        assert_eq!(find("Items"), Some(2));
        assert_eq!(find("ITEMS"), None);
    }
}
