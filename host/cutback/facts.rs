//! What the report says of both servers: where they are, their versions, and a digest of each table.
//!
//! Owns: the digests of the source's tables. Does not own: those of the target (`verify`), the report itself (`report`).

use std::collections::BTreeMap;

use ebb_sdk::Catalog;
use ring::digest::{SHA256, digest};
use serde::Serialize;

use crate::config::Config;
use crate::error::Result;
use crate::proof;
use crate::source::{Source, SourceTable};
use crate::tables::TableRoute;
use crate::verify;

/// Both servers when the round began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    pub source: Server,
    pub target: Server,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Server {
    /// The connection string without its password.
    pub place: String,
    pub version: String,
    /// SHA-256 of the columns, types and keys of each table that is replicated, by name.
    pub tables: BTreeMap<String, String>,
}

impl Facts {
    pub(super) async fn look(
        config: &Config,
        source: &Source,
        catalog: &Catalog,
        routes: &[TableRoute],
    ) -> Result<Self> {
        let chosen = match &config.changefeed {
            Some(changefeed) => source.chosen_tables(changefeed).await?.tables,
            None => Vec::new(),
        };
        let is_replicated = |table: &&SourceTable| {
            let place = Some((table.schema.clone(), table.name.clone()));
            routes.iter().any(|route| !route.is_left && route.source == place)
        };
        let tables = chosen.iter().filter(is_replicated);
        let source = Server {
            place: source.place(),
            version: source.version().to_owned(),
            tables: tables.map(|table| (format!("{}.{}", table.schema, table.name), shape(table))).collect(),
        };
        let target = Server {
            place: ebb_sdk::DatabaseUrl::parse(config.target.url.reveal())?.to_string(),
            version: catalog.server_version.clone(),
            tables: verify::described(catalog, routes),
        };
        Ok(Self { source, target })
    }
}

/// What a changefeed sends of a table, and how its rows are told apart.
fn shape(table: &SourceTable) -> String {
    let columns = table.columns.iter().map(|column| (&column.name, &column.source_type, column.nullable));
    let columns: Vec<_> = columns.collect();
    let shape = (columns, &table.hidden_columns, &table.key_columns, &table.unique_keys);
    // Names, numbers and lists of them.
    let text = serde_json::to_vec(&shape).unwrap_or_default();
    proof::hexadecimal(digest(&SHA256, &text).as_ref())
}

#[cfg(test)]
mod tests {
    use ebb_sdk::SourceType;

    use super::*;
    use crate::source::SourceColumn;

    #[test]
    fn whatever_a_table_is_made_of_changes_its_digest() {
        let column = |name: &str, type_name: &str| SourceColumn {
            name: name.to_owned(),
            source_type: SourceType { name: type_name.to_owned(), ..SourceType::default() },
            nullable: false,
        };
        let table = SourceTable {
            schema: "public".into(),
            name: "t".into(),
            columns: vec![column("id", "INT8"), column("name", "STRING")],
            key_columns: vec!["id".into()],
            ..SourceTable::default()
        };
        let mut others = [(); 6].map(|()| table.clone());
        others[0].columns[1].name = "names".into();
        others[1].columns[1].source_type.name = "STRING(3)".into();
        others[2].columns[1].nullable = true;
        others[3].key_columns.push("name".into());
        others[4].unique_keys.push(vec!["name".into()]);
        others[5].hidden_columns.push("rowid".into());
        assert_eq!(shape(&table), shape(&table.clone()));
        assert_eq!(shape(&table).len(), 64);
        for other in others {
            assert_ne!(shape(&other), shape(&table), "{other:?}");
        }
    }
}
