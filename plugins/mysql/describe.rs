//! Tables, columns and keys, from `information_schema`.
//!
//! Owns: what of it goes into the sdk's catalog, and what writing and verifying need beside.
//! Does not own: how a value is written (`values`).

use std::collections::HashMap;
use std::sync::Arc;

use ebb_sdk::{Action, Catalog, Column, ForeignKey, Identity, Result, Table, Trigger, Unfit, UniqueKey};
use mysql_async::Row;
use mysql_async::prelude::{FromRow, Queryable};

use crate::connect::{Flavour, Server};
use crate::constraints::Reference;
use crate::error::translate;
use crate::progress::TABLE;
use crate::values::Form;
use crate::{Session, answered, quoted};

/// How a column's values are written.
#[derive(Clone, Debug)]
pub(crate) struct ColumnType {
    pub(crate) form: Form,
    pub(crate) nullable: bool,
    /// The character set of a text.
    pub(crate) charset: Option<String>,
    /// The type's name without length: `tinyint`.
    pub(crate) name: String,
    pub(crate) is_unsigned: bool,
    /// Digits of a decimal, bits of a bit column.
    pub(crate) precision: Option<u64>,
    pub(crate) bytes_max: Option<u64>,
}

impl ColumnType {
    /// Values that differ at the source may be equal here, as `Ada` and `ADA` are. Even a binary collation may take
    /// blanks at the end for nothing.
    pub(crate) fn is_folded(&self) -> bool {
        self.charset.is_some()
    }
}

/// What writing must know of a table beside its columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableFacts {
    pub(crate) columns: Vec<ColumnType>,
    /// It has unique keys beside the primary key, of any kind: an upsert may meet another row than it means.
    pub(crate) has_unique_keys: bool,
}

/// As described last.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) facts: HashMap<String, TableFacts>,
    /// Every foreign key of the database.
    pub(crate) references: Arc<[Reference]>,
}

pub(crate) struct Described {
    pub(crate) catalog: Catalog,
    pub(crate) tables: Tables,
}

const TABLES: &str = "SELECT table_name AS name, engine AS engine FROM information_schema.tables \
     WHERE table_schema = DATABASE() AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND table_name <> ? \
     ORDER BY table_name";

const COLUMNS: &str = "SELECT table_name, column_name, data_type, column_type, is_nullable, extra, \
         character_set_name, character_maximum_length, character_octet_length, numeric_scale, datetime_precision, $srid AS srid, column_default, numeric_precision \
     FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position";

/// MariaDB's JSON is a text whose constraint says so.
const JSON_COLUMNS: &str = "SELECT table_name, constraint_name FROM information_schema.check_constraints \
     WHERE constraint_schema = DATABASE() AND check_clause LIKE 'json\\_valid(%'";

const UNIQUE_KEYS: &str = "SELECT table_name, index_name, column_name FROM information_schema.statistics \
     WHERE table_schema = DATABASE() AND non_unique = 0 ORDER BY table_name, index_name, seq_in_index";

const FOREIGN_KEYS: &str = "SELECT k.table_name, k.constraint_name, k.column_name, k.referenced_table_schema, k.referenced_table_name, k.referenced_column_name, r.delete_rule, r.update_rule \
     FROM information_schema.key_column_usage k JOIN information_schema.referential_constraints r \
     ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name AND r.table_name = k.table_name \
     WHERE k.table_schema = DATABASE() AND k.referenced_table_name IS NOT NULL \
     ORDER BY k.table_name, k.constraint_name, k.ordinal_position";

const TRIGGERS: &str =
    "SELECT event_object_table, trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()";

/// Describes every table of the database.
pub(crate) async fn describe(session: &mut Session) -> Result<Described> {
    let mut builder = Builder::default();
    for (name, engine) in rows::<(String, Option<String>)>(session, TABLES, vec![TABLE.into()]).await? {
        builder.table(&session.server, name, engine);
    }
    let srid = match session.server.flavour {
        Flavour::MySql if !session.server.name.starts_with("MySQL 5.") => "srs_id",
        _ => "NULL",
    };
    let json = match session.server.flavour {
        Flavour::MariaDb => rows::<(String, String)>(session, JSON_COLUMNS, vec![]).await?,
        Flavour::MySql => Vec::new(),
    };
    for row in rows::<Row>(session, &COLUMNS.replace("$srid", srid), vec![]).await? {
        builder.column(session.server.flavour, &row, &json);
    }
    for (table, key, column) in rows::<(String, String, Option<String>)>(session, UNIQUE_KEYS, vec![]).await? {
        builder.unique_key(&table, key, column.as_deref());
    }
    builder.finish_unique_keys();
    for row in rows::<ForeignKeyRow>(session, FOREIGN_KEYS, vec![]).await? {
        builder.reference(row);
    }
    builder.finish_references(&session.server.database);
    for (name, trigger) in rows::<(String, String)>(session, TRIGGERS, vec![]).await? {
        if let Some(&at) = builder.positions.get(&name) {
            builder.tables[at].triggers.push(Trigger { name: trigger, ..Trigger::default() });
        }
    }
    let catalog = Catalog {
        namespace: vec![session.server.database.clone()],
        tables: builder.tables,
        server_version: session.server.name.clone(),
        checks_each_row: true,
        defers_checks: false,
        suspends_checks: true,
        suspends_triggers: false,
        suspend_hint: None,
    };
    Ok(Described { catalog, tables: Tables { facts: builder.facts, references: builder.references.into() } })
}

async fn rows<T: FromRow + Send + 'static>(
    session: &mut Session,
    sql: &str,
    parameters: Vec<mysql_async::Value>,
) -> Result<Vec<T>> {
    let (wait, doing) = (session.answer_wait, "describe the target's tables");
    let parameters = match parameters.is_empty() {
        true => mysql_async::Params::Empty,
        false => mysql_async::Params::Positional(parameters),
    };
    let read =
        async { session.conn.exec::<T, _, _>(sql, parameters).await.map_err(|failure| translate(&failure, doing)) };
    answered(wait, doing, read).await
}

/// Table, constraint, column, the parent's database, table and column, ON DELETE, ON UPDATE.
type ForeignKeyRow = (String, String, String, String, String, String, String, String);

#[derive(Default)]
struct Builder {
    /// Position in `tables` by name.
    positions: HashMap<String, usize>,
    tables: Vec<Table>,
    facts: HashMap<String, TableFacts>,
    /// Table, name of the key, its columns; `None` when one of them is an expression.
    unique_keys: Vec<(usize, String, Option<Vec<u32>>)>,
    references: Vec<Reference>,
    actions: Vec<(Action, Action)>,
}

impl Builder {
    fn table(&mut self, server: &Server, name: String, engine: Option<String>) {
        let engine = engine.unwrap_or_default();
        let unfit = (!engine.eq_ignore_ascii_case("InnoDB")).then(|| Unfit {
            why: format!("its engine is {engine}, and a transaction needs InnoDB"),
            hint: format!("ALTER TABLE {} ENGINE = InnoDB;", quoted(&name)),
        });
        self.positions.insert(name.clone(), self.tables.len());
        self.facts.insert(name.clone(), TableFacts::default());
        self.tables.push(Table {
            namespace: vec![server.database.clone()],
            name,
            unfit: unfit.into_iter().collect(),
            ..Table::default()
        });
    }

    fn column(&mut self, flavour: Flavour, row: &Row, json: &[(String, String)]) {
        let text = |at: usize| row.get::<Option<String>, _>(at).flatten().unwrap_or_default();
        let number = |at: usize| row.get::<Option<u64>, _>(at).flatten();
        let (table, name, extra) = (text(0), text(1), text(5).to_uppercase());
        let Some(&at) = self.positions.get(&table) else { return };
        let is_json = json.iter().any(|(json_table, column)| *json_table == table && *column == name);
        let (data_type, type_name) = (text(2).to_lowercase(), text(3));
        let data_type = if is_json { "json" } else { &data_type };
        let form = Form::of(flavour, data_type, &type_name, [number(7), number(8), number(9), number(10), number(11)]);
        let nullable = text(4) == "YES";
        let charset = Some(text(6)).filter(|charset| !charset.is_empty());
        self.facts.entry(table).or_default().columns.push(ColumnType {
            form,
            nullable,
            charset,
            name: data_type.to_owned(),
            is_unsigned: type_name.contains("unsigned"),
            precision: number(13),
            bytes_max: number(8),
        });
        self.tables[at].columns.push(Column {
            name,
            type_name,
            nullable,
            generated: extra.contains("VIRTUAL") || extra.contains("STORED") || extra.contains("PERSISTENT"),
            has_default: row.get::<Option<String>, _>(12).flatten().is_some(),
            identity: if extra.contains("AUTO_INCREMENT") { Identity::ByDefault } else { Identity::None },
        });
    }

    fn unique_key(&mut self, table: &str, key: String, column: Option<&str>) {
        let Some(&at) = self.positions.get(table) else { return };
        let position = column.and_then(|column| self.tables[at].column(column));
        match self.unique_keys.last_mut() {
            Some((same, name, columns)) if *same == at && *name == key => {
                *columns = columns.take().zip(position).map(|(mut columns, position)| {
                    columns.push(position);
                    columns
                });
            }
            _ => self.unique_keys.push((at, key, position.map(|position| vec![position]))),
        }
    }

    fn finish_unique_keys(&mut self) {
        for (at, key, columns) in std::mem::take(&mut self.unique_keys) {
            let table = &mut self.tables[at];
            if key == "PRIMARY" {
                table.primary_key = columns.unwrap_or_default();
                continue;
            }
            self.facts.entry(table.name.clone()).or_default().has_unique_keys = true;
            table.unique_keys.extend(columns.map(|columns| UniqueKey { columns, nulls_equal: false }));
        }
    }

    fn reference(&mut self, row: ForeignKeyRow) {
        let (child, name, column, parent_database, parent, referenced, on_delete, on_update) = row;
        match self.references.last_mut() {
            Some(last) if last.child == child && last.name == name => {
                last.columns.push(column);
                last.referenced.push(referenced);
            }
            _ => {
                let (columns, referenced) = (vec![column], vec![referenced]);
                let key = self.positions.get(&child).map(|&at| key_names(&self.tables[at])).unwrap_or_default();
                self.references.push(Reference { name, child, columns, parent_database, parent, referenced, key });
                self.actions.push((action(&on_delete), action(&on_update)));
            }
        }
    }

    /// Keys to tables of other databases are no matter of planning; verified they are all the same.
    fn finish_references(&mut self, database: &str) {
        for (reference, &(on_delete, on_update)) in self.references.iter().zip(&self.actions) {
            let parent = self.positions.get(&reference.parent).filter(|_| reference.parent_database == database);
            let (Some(&child), Some(&parent)) = (self.positions.get(&reference.child), parent) else { continue };
            let columns =
                |table: &Table, names: &[String]| names.iter().filter_map(|name| table.column(name)).collect();
            let key = ForeignKey {
                name: reference.name.clone(),
                columns: columns(&self.tables[child], &reference.columns),
                references: u32::try_from(parent).expect("a database has fewer than 2^32 tables"),
                references_columns: columns(&self.tables[parent], &reference.referenced),
                on_delete,
                on_update,
                deferred: false,
            };
            self.tables[child].foreign_keys.push(key);
        }
    }
}

fn key_names(table: &Table) -> Vec<String> {
    table.primary_key.iter().map(|&at| table.columns[at as usize].name.clone()).collect()
}

/// InnoDB looks at every row by itself: what the standard calls NO ACTION is RESTRICT here.
fn action(rule: &str) -> Action {
    match rule {
        "CASCADE" => Action::Cascade,
        "SET NULL" => Action::SetNull,
        "SET DEFAULT" => Action::SetDefault,
        _ => Action::Restrict,
    }
}
