//! Tables, columns and keys, from `information_schema`.
//!
//! Owns: what of it goes into the sdk's catalog, and what writing and verifying need beside.
//! Does not own: how a value is written (`values`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ebb_sdk::{
    Action, Catalog, Column, ColumnIndex, ConnectOptions, ForeignKey, Identity, NotWritable, Result, Table, TableIndex,
    Trigger, UniqueKey,
};
use mysql_async::Row;
use mysql_async::prelude::{FromRow, Queryable};

use crate::checks::{self, Check};
use crate::connect::{Flavour, Server};
use crate::constraints::{Reference, action};
use crate::error::translate;
use crate::names::Names;
use crate::not_writable::not_writable_key;
use crate::own::{PROGRESS, TRIGGERS};
use crate::values::Conversion;
use crate::{Session, answered, quoted, rights, triggers, views};

/// How a column's values are written.
#[derive(Clone, Debug)]
pub(crate) struct ColumnType {
    /// The column's name.
    pub(crate) column: String,
    pub(crate) conversion: Conversion,
    pub(crate) nullable: bool,
    /// Digits that it has no room for may be lost.
    pub(crate) may_round: bool,
    /// The character set of a text.
    pub(crate) charset: Option<String>,
    /// How its letters are compared.
    pub(crate) collation: Option<String>,
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
pub(crate) struct TableDetails {
    pub(crate) columns: Vec<ColumnType>,
    /// It has unique keys beside the primary key, of any kind, or looks at the beginning of a key only: an upsert may meet
    /// another row than it means.
    pub(crate) has_unique_keys: bool,
    /// The names of its triggers, or that this user cannot see whether there are any.
    pub(crate) triggers: Option<String>,
}

/// As described last.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) details: HashMap<String, TableDetails>,
    /// Every foreign key of the database.
    pub(crate) references: Arc<[Reference]>,
    pub(crate) names: Names,
}

pub(crate) struct Described {
    pub(crate) catalog: Catalog,
    pub(crate) tables: Tables,
}

/// Of every character set of the servers.
const LETTER_BYTES_MAX: u64 = 4;

const TABLES: &str = "SELECT table_name AS name, engine AS engine FROM information_schema.tables \
     WHERE table_schema = DATABASE() AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND table_name NOT IN (?, ?) \
     ORDER BY table_name";

const COLUMNS: &str = "SELECT table_name, column_name, data_type, column_type, is_nullable, extra, \
         character_set_name, character_maximum_length, character_octet_length, numeric_scale, datetime_precision, $srid AS srid, column_default, numeric_precision, collation_name, \
         (SELECT maxlen FROM information_schema.character_sets s WHERE s.character_set_name = c.character_set_name) AS letter, \
         generation_expression \
     FROM information_schema.columns c WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position";

const UNIQUE_KEYS: &str = "SELECT table_name, index_name, column_name, sub_part FROM information_schema.statistics \
     WHERE table_schema = DATABASE() AND non_unique = 0 ORDER BY table_name, index_name, seq_in_index";

const FOREIGN_KEYS: &str = "SELECT k.table_name, k.constraint_name, k.column_name, k.referenced_table_schema, k.referenced_table_name, k.referenced_column_name, r.delete_rule, r.update_rule \
     FROM information_schema.key_column_usage k JOIN information_schema.referential_constraints r \
     ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name AND r.table_name = k.table_name \
     WHERE k.table_schema = DATABASE() AND k.referenced_table_name IS NOT NULL \
     ORDER BY k.table_name, k.constraint_name, k.ordinal_position";

/// Describes every table of the database.
pub(crate) async fn describe(session: &mut Session) -> Result<Described> {
    let mut builder = Builder::new(session.options.clone());
    let own = vec![PROGRESS.name.into(), TRIGGERS.name.into()];
    for (name, engine) in rows::<(String, Option<String>)>(session, TABLES, own).await? {
        builder.table(&session.server, name, engine);
    }
    let srid = match session.server.flavour {
        Flavour::MySql if !session.server.name.starts_with("MySQL 5.") => "srs_id",
        _ => "NULL",
    };
    let checks = checks::all(session).await?;
    for row in rows::<Row>(session, &COLUMNS.replace("$srid", srid), vec![]).await? {
        builder.column(session.server.flavour, &row, &checks);
    }
    for (table, key, column, beginning) in rows::<UniqueKeyRow>(session, UNIQUE_KEYS, vec![]).await? {
        builder.unique_key(&table, key, column.as_deref(), beginning.is_some());
    }
    builder.finish_unique_keys();
    checks.iter().for_each(|check| builder.resists_null(check));
    builder.finish_generated();
    builder.finish_columns();
    for row in rows::<ForeignKeyRow>(session, FOREIGN_KEYS, vec![]).await? {
        builder.reference(row);
    }
    builder.finish_references(&session.server.database);
    for (table, trigger) in triggers::all(session).await? {
        builder.trigger(&table, trigger);
    }
    let grants = rights::of(session).await?;
    // MariaDB shows the names of triggers to everybody.
    if session.server.flavour == Flavour::MySql {
        builder.hide_triggers(&grants);
    }
    let catalog = Catalog {
        identifier_quote: Some('`'),
        namespace: vec![session.server.database.clone()],
        missing_rights: grants.missing(&builder.tables),
        grantee: session.server.user.clone(),
        tables: builder.tables,
        others: views::all(session).await?,
        server_version: session.server.name.clone(),
        checks_each_row: true,
        suspends_checks: true,
        ..Catalog::default()
    };
    let constraints = builder.unique_key_names.into_iter().chain(checks.into_iter().map(|check| check.name));
    let names = Names::new(&catalog.tables, &builder.references, constraints);
    Ok(Described { catalog, tables: Tables { details: builder.details, references: builder.references.into(), names } })
}

pub(crate) async fn rows<T: FromRow + Send + 'static>(
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

/// Table, key, column, and how much of it counts where it is not all.
type UniqueKeyRow = (String, String, Option<String>, Option<u64>);

/// Table, constraint, column, the parent's database, table and column, ON DELETE, ON UPDATE.
type ForeignKeyRow = (String, String, String, String, String, String, String, String);

struct Builder {
    options: ConnectOptions,
    /// Position in `tables` by name.
    positions: HashMap<String, usize>,
    tables: Vec<Table>,
    details: HashMap<String, TableDetails>,
    /// Table, name of the key, its columns; `None` when one of them is an expression.
    unique_keys: Vec<(usize, String, Option<Vec<ColumnIndex>>)>,
    unique_key_names: HashSet<String>,
    /// Table and position of the columns that say from when to when a row of a history was there.
    periods: Vec<(usize, ColumnIndex)>,
    references: Vec<Reference>,
    actions: Vec<(Action, Action)>,
}

impl Builder {
    fn new(options: ConnectOptions) -> Self {
        Self {
            options,
            positions: HashMap::new(),
            tables: Vec::new(),
            details: HashMap::new(),
            unique_keys: Vec::new(),
            unique_key_names: HashSet::new(),
            periods: Vec::new(),
            references: Vec::new(),
            actions: Vec::new(),
        }
    }

    fn table(&mut self, server: &Server, name: String, engine: Option<String>) {
        let engine = engine.unwrap_or_default();
        let not_writable = (!engine.eq_ignore_ascii_case("InnoDB")).then(|| NotWritable {
            why: format!("its engine is {engine}, and a transaction needs InnoDB"),
            hint: format!("ALTER TABLE {} ENGINE = InnoDB;", quoted(&name)),
        });
        self.positions.insert(name.clone(), self.tables.len());
        self.details.insert(name.clone(), TableDetails::default());
        self.tables.push(Table {
            namespace: vec![server.database.clone()],
            name,
            not_writable: not_writable.into_iter().collect(),
            ..Table::default()
        });
    }

    fn column(&mut self, flavour: Flavour, row: &Row, checks: &[Check]) {
        let text = |at: usize| row.get::<Option<String>, _>(at).flatten().unwrap_or_default();
        let number = |at: usize| row.get::<Option<u64>, _>(at).flatten();
        let (table, name, extra) = (text(0), text(1), text(5).to_uppercase());
        let Some(&at) = self.positions.get(&table) else { return };
        let is_json = checks.iter().any(|check| check.table == table && check.makes_json(&name));
        let (data_type, type_name) = (text(2).to_lowercase(), text(3));
        let (data_type, mut conversion) = match is_json && data_type != "json" {
            // MariaDB's own JSON is such a text too.
            true => ("json", Conversion::Json { keeps_text: true }),
            false => (&*data_type, Conversion::of(flavour, &data_type, &type_name, [7, 8, 9, 10, 11, 13].map(number))),
        };
        let nullable = text(4) == "YES";
        let charset = Some(text(6)).filter(|charset| !charset.is_empty());
        if let Conversion::LongText { letter_bytes_max, .. } = &mut conversion
            && !charset.as_deref().unwrap_or_default().starts_with("utf8")
        {
            *letter_bytes_max = Some(number(15).unwrap_or(LETTER_BYTES_MAX));
        }
        self.details.entry(table).or_default().columns.push(ColumnType {
            column: name.clone(),
            conversion,
            nullable,
            may_round: false,
            charset,
            collation: Some(text(14)).filter(|collation| !collation.is_empty()),
            name: data_type.to_owned(),
            is_unsigned: type_name.contains("unsigned"),
            precision: number(13),
            bytes_max: number(8),
        });
        let position = ColumnIndex::at(self.tables[at].columns.len());
        if matches!(text(16).as_str(), "ROW START" | "ROW END") {
            self.periods.push((at, position));
        }
        self.tables[at].columns.push(Column {
            name,
            type_name,
            nullable,
            generated: extra.contains("VIRTUAL") || extra.contains("STORED") || extra.contains("PERSISTENT"),
            has_default: row.get::<Option<String>, _>(12).flatten().is_some(),
            resists_null: false,
            identity: if extra.contains("AUTO_INCREMENT") { Identity::ByDefault } else { Identity::None },
        });
    }

    fn unique_key(&mut self, table: &str, key: String, column: Option<&str>, is_beginning: bool) {
        let Some(&at) = self.positions.get(table) else { return };
        if is_beginning {
            self.details.entry(table.to_owned()).or_default().has_unique_keys = true;
        }
        let position = column.and_then(|column| self.tables[at].column(column));
        // The server adds the end of a row to every key; of rows that are there it is the same.
        if position.is_some_and(|position| self.periods.contains(&(at, position))) {
            return;
        }
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
            self.unique_key_names.insert(key.clone());
            let table = &mut self.tables[at];
            if key == "PRIMARY" {
                table.primary_key = columns.unwrap_or_default();
                continue;
            }
            self.details.entry(table.name.clone()).or_default().has_unique_keys = true;
            table.has_other_unique_rules |= columns.is_none();
            table.unique_keys.extend(columns.map(|columns| UniqueKey { columns, nulls_equal: false }));
        }
    }

    /// What rests on knowing the primary key.
    fn finish_columns(&mut self) {
        for table in &mut self.tables {
            let Some(details) = self.details.get_mut(&table.name) else { continue };
            for (column, column_type) in table.columns.iter().zip(&mut details.columns) {
                column_type.may_round = self.options.may_round(table, &column.name);
            }
            for &at in &table.primary_key {
                let not_writable = not_writable_key(&table.name, &table.columns[at], &details.columns[at.place()]);
                table.not_writable.extend(not_writable);
            }
        }
    }

    /// Triggers come in the order in which they fire.
    fn trigger(&mut self, table: &str, trigger: Trigger) {
        let Some(&at) = self.positions.get(table) else { return };
        let names = &mut self.details.entry(table.to_owned()).or_default().triggers;
        match names {
            Some(names) => *names = format!("{names}, {}", trigger.name),
            None => *names = Some(trigger.name.clone()),
        }
        self.tables[at].triggers.push(trigger);
    }

    /// Where the user has no right to see triggers there may be some.
    fn hide_triggers(&mut self, rights: &rights::Rights) {
        for table in self.tables.iter_mut().filter(|table| !rights.may("TRIGGER", &table.name)) {
            self.details.entry(table.name.clone()).or_default().triggers = Some("unknown to ebb".into());
            table.hides_triggers = Some(rights.trigger_grant.clone());
        }
    }

    fn resists_null(&mut self, check: &Check) {
        let Some(&at) = self.positions.get(&check.table) else { return };
        let columns = &mut self.tables[at].columns;
        let names: Vec<_> = columns.iter().map(|column| column.name.clone()).collect();
        for column in columns {
            column.resists_null |= check.resists_null(&column.name, names.iter().map(String::as_str));
        }
    }

    /// A computed column that takes no NULL may be computed from any.
    fn finish_generated(&mut self) {
        for (at, table) in self.tables.iter_mut().enumerate() {
            let is_computed = |(column, position): (&Column, ColumnIndex)| {
                column.generated && !column.nullable && !self.periods.contains(&(at, position))
            };
            if table.columns.iter().zip(ColumnIndex::all()).any(is_computed) {
                table.columns.iter_mut().for_each(|column| column.resists_null = true);
            }
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
                references: TableIndex::at(parent),
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
    table.primary_key.iter().map(|&at| table.columns[at].name.clone()).collect()
}
