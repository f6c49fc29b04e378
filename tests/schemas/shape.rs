//! Random tables of one seed: columns, keys and references, and at most one trap, which ebb may or must refuse.
//!
//! Owns: the tables and their DDL on both sides. Does not own: rows (`work`), types (`values`).

use ebb_servers::Dialect;
use fastrand::Rng;

use crate::values::{COLUMNS, KEYS, LOSSY_KEYS, Type};

/// What is unusual about the first table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trap {
    None,
    /// A key column that does not tell apart what the source does.
    LossyKey,
    /// A child by INHERITS holds rows.
    Inherits,
    /// A rule makes nothing of deletes or updates.
    Rule,
    /// A trigger that is not suspended changes rows.
    Trigger,
    /// The source's key begins with a region, and rows move between regions.
    Region,
    /// A child holds orphans, and its reference was never validated.
    Orphans,
    /// NULLs are not distinct in the unique key.
    EqualNulls,
    /// The key of messages has one value more than the target's, and nothing is known of the source.
    LongKey,
    /// The order of the source's key changes in the middle.
    Rekeyed,
}

/// What may come of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The target equals the model.
    Exact,
    /// Or ebb has ended with an error that names the table.
    ExactOrRefused,
}

#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub name: String,
    pub kind: Type,
    pub nullable: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub name: String,
    /// Those of the key first, in the order of messages' `key`.
    pub columns: Vec<Column>,
    pub key_length: usize,
    /// The same columns in the order of the target's key.
    pub target_key: Vec<usize>,
    /// A column whose values are unique.
    pub unique: Option<usize>,
    /// A column that refers to the key of another table of the seed, which is one Int; itself included.
    pub reference: Option<(usize, usize)>,
    /// What the reference does on delete, on the target.
    pub action: &'static str,
    /// The target has a column more.
    pub has_target_only: bool,
    pub trap: Trap,
}

#[derive(Debug)]
pub(crate) struct Shape {
    pub tables: Vec<Table>,
    pub trap: Trap,
    pub verdict: Verdict,
    pub has_diff: bool,
}

impl Shape {
    pub(crate) fn random(seed: u64, dialect: Dialect, rng: &mut Rng) -> Self {
        let trap = trap(dialect, rng);
        let count = rng.usize(1..4);
        let tables: Vec<Table> =
            (0..count).map(|at| Table::random(seed, at, if at == 0 { trap } else { Trap::None }, rng)).collect();
        let tables = with_references(tables, rng);
        let verdict = match trap {
            Trap::None | Trap::Orphans | Trap::EqualNulls => Verdict::Exact,
            _ => Verdict::ExactOrRefused,
        };
        // Without it nobody knows which value of a long key is which, where the source is not asked.
        let has_diff = rng.bool() || tables.iter().any(|table| table.key_length > 1);
        Self { tables, trap, verdict, has_diff: has_diff && trap != Trap::Rekeyed }
    }

    /// Whether ebb may refuse the seed so: the table with the trap by name.
    pub(crate) fn may_refuse(&self, line: &str) -> bool {
        self.verdict == Verdict::ExactOrRefused && line.contains(&self.tables[0].name)
    }

    /// Whether ebb is told where the source is.
    pub(crate) fn has_source(&self) -> bool {
        matches!(self.trap, Trap::Region | Trap::Rekeyed)
    }
}

fn trap(dialect: Dialect, rng: &mut Rng) -> Trap {
    let both = [Trap::LossyKey, Trap::Trigger, Trap::Region, Trap::Orphans, Trap::LongKey, Trap::Rekeyed];
    let postgres = [Trap::Inherits, Trap::Rule, Trap::EqualNulls];
    if rng.u8(0..10) < 4 {
        return Trap::None;
    }
    let mut traps = both.to_vec();
    if dialect == Dialect::Postgres {
        traps.extend(postgres);
    }
    rng.choice(traps).unwrap_or(Trap::None)
}

impl Table {
    fn random(seed: u64, at: usize, trap: Trap, rng: &mut Rng) -> Self {
        let length = match trap {
            Trap::Region | Trap::Rekeyed => 2,
            Trap::None | Trap::EqualNulls => *rng.choice(&[1, 1, 2, 3]).expect("one"),
            _ => 1,
        };
        let mut columns: Vec<Column> = (0..length)
            .map(|n| {
                let kind = match trap {
                    Trap::None | Trap::EqualNulls => rng.choice(KEYS).expect("one"),
                    Trap::LossyKey => rng.choice(LOSSY_KEYS).expect("one"),
                    Trap::Region if n == 0 => Type::Text,
                    _ => Type::Int,
                };
                let name = if trap == Trap::Region && n == 0 { "crdb_region".into() } else { format!("k{n}") };
                Column { name, kind, nullable: false }
            })
            .collect();
        // Half of the single keys are what others can refer to.
        if length == 1 && trap == Trap::None && rng.bool() {
            columns[0].kind = Type::Int;
        }
        let unique = (trap == Trap::EqualNulls || rng.bool()).then_some(columns.len());
        if unique.is_some() {
            let nullable = trap == Trap::EqualNulls || rng.bool();
            columns.push(Column { name: "u".into(), kind: Type::Int, nullable });
        }
        for n in 0..rng.usize(0..4) {
            let kind = rng.choice(COLUMNS).expect("one");
            columns.push(Column { name: format!("c{n}"), kind, nullable: rng.bool() });
        }
        let mut target_key: Vec<usize> = (0..length).collect();
        rng.shuffle(&mut target_key);
        if trap == Trap::Region {
            target_key = vec![1];
        } else if trap == Trap::Rekeyed {
            target_key = vec![0, 1];
        }
        let name = format!("s{seed}_{}", char::from(b'a' + at as u8));
        let (reference, action, has_target_only) = (None, "NO ACTION", rng.bool());
        Self { name, columns, key_length: length, target_key, unique, reference, action, has_target_only, trap }
    }

    /// Whether another table may refer to it.
    pub(crate) fn can_be_parent(&self) -> bool {
        self.key_length == 1 && self.columns[0].kind == Type::Int && matches!(self.trap, Trap::None | Trap::Orphans)
    }

    /// The statements that make it on the target. References come afterwards.
    pub(crate) fn ddl(&self, dialect: Dialect) -> Vec<String> {
        let mut parts: Vec<String> = self.columns.iter().map(|column| column_ddl(column, dialect)).collect();
        if self.has_target_only {
            parts.push("only_here varchar(20) DEFAULT 'kept'".into());
        }
        let key: Vec<&str> = self.target_key.iter().map(|at| self.columns[*at].name.as_str()).collect();
        parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
        if self.unique.is_some() {
            let nulls = if self.trap == Trap::EqualNulls { "NULLS NOT DISTINCT " } else { "" };
            parts.push(format!("UNIQUE {nulls}(u)"));
        }
        let name = &self.name;
        let mut statements = vec![format!("CREATE TABLE {name} ({})", parts.join(", "))];
        let column = &self.columns[0].name;
        let reference = format!("FOREIGN KEY (r) REFERENCES {name} ({column})");
        match (self.trap, dialect) {
            (Trap::Orphans, _) => {
                let orphans = format!("INSERT INTO {name}_orphans VALUES (1, 999)");
                statements.push(format!("CREATE TABLE {name}_orphans (id int PRIMARY KEY, r bigint)"));
                statements.extend(match dialect {
                    Dialect::Postgres => {
                        [orphans, format!("ALTER TABLE {name}_orphans ADD {reference} ON DELETE CASCADE NOT VALID")]
                    }
                    Dialect::MySql(_) => [
                        format!("ALTER TABLE {name}_orphans ADD {reference} ON DELETE CASCADE"),
                        format!("SET foreign_key_checks = 0; {orphans}"),
                    ],
                });
            }
            (Trap::Inherits, _) => {
                statements.push(format!("CREATE TABLE {name}_old (PRIMARY KEY ({column})) INHERITS ({name})"));
            }
            (Trap::Rule, _) => {
                statements.push(format!("CREATE RULE keep AS ON DELETE TO {name} DO INSTEAD NOTHING"));
            }
            (Trap::Trigger, Dialect::Postgres) => {
                statements.push(format!(
                    "CREATE FUNCTION {name}_f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$"
                ));
                statements.push(format!(
                    "CREATE TRIGGER keep BEFORE DELETE ON {name} FOR EACH ROW EXECUTE FUNCTION {name}_f()"
                ));
                statements.push(format!("ALTER TABLE {name} ENABLE ALWAYS TRIGGER keep"));
            }
            (Trap::Trigger, Dialect::MySql(_)) if self.has_target_only => statements.push(format!(
                "CREATE TRIGGER {name}_t BEFORE INSERT ON {name} FOR EACH ROW SET NEW.only_here = 'changed'"
            )),
            _ => {}
        }
        statements
    }

    /// What the key and the reference have at the source.
    pub(crate) fn source_ddl(&self) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let kind = if column.kind == Type::Label { "text".into() } else { column.kind.ddl(Dialect::Postgres) };
                format!("{} {kind}{}", column.name, if column.nullable { "" } else { " NOT NULL" })
            })
            .collect();
        let key: Vec<&str> = self.columns[..self.key_length].iter().map(|column| column.name.as_str()).collect();
        let unique = if self.trap == Trap::Region { format!(", UNIQUE ({})", key[1]) } else { String::new() };
        format!("CREATE TABLE {} ({}, PRIMARY KEY ({}){unique})", self.name, columns.join(", "), key.join(", "))
    }

    pub(crate) fn reference_ddl(&self, tables: &[Table]) -> Option<String> {
        let (column, parent) = self.reference?;
        let (name, column, parent, action) = (&self.name, &self.columns[column].name, &tables[parent], self.action);
        let key = &parent.columns[0].name;
        Some(format!(
            "ALTER TABLE {name} ADD FOREIGN KEY ({column}) REFERENCES {} ({key}) ON DELETE {action}",
            parent.name
        ))
    }

    /// A query whose rows are the rows of the table, columns separated by `|`, with what only the target has at the end.
    pub(crate) fn show(&self, dialect: Dialect) -> String {
        // A lossy key may have another text; that no row is missing is what matters.
        let from = usize::from(self.trap == Trap::LossyKey);
        let mut shown: Vec<String> =
            self.columns[from..].iter().map(|column| column.kind.shown(&column.name, dialect)).collect();
        shown.push(if self.has_target_only { "only_here" } else { "'kept'" }.into());
        format!("SELECT concat_ws('|', {}) FROM {}", shown.join(", "), self.name)
    }
}

fn column_ddl(column: &Column, dialect: Dialect) -> String {
    let null = if column.nullable { "" } else { " NOT NULL" };
    format!("{} {}{null}", column.name, column.kind.ddl(dialect))
}

/// Some tables refer to others, to themselves, or in a circle.
fn with_references(mut tables: Vec<Table>, rng: &mut Rng) -> Vec<Table> {
    let parents: Vec<usize> = (0..tables.len()).filter(|at| tables[*at].can_be_parent()).collect();
    for table in &mut tables {
        if table.trap == Trap::None
            && rng.bool()
            && let Some(parent) = rng.choice(parents.clone())
        {
            table.reference = Some((table.columns.len(), parent));
            table.columns.push(Column { name: "r".into(), kind: Type::Int, nullable: true });
            table.action = rng.choice(["NO ACTION", "CASCADE", "SET NULL"]).expect("one");
        }
    }
    tables
}
