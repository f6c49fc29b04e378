//! The error of a dialect. Its kind is the branch that the host takes; its text is for a person.
//!
//! Owns: the four kinds and the parts of a message. Does not own: when and how often to try again.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Block, Topic, shown_value};

/// A result whose error is the sdk's own.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the host does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The same transaction may succeed later: deadlock, serialization failure, lock timeout, connection lost,
    /// read-only, starting up. The host drops the session, waits, connects and tries again.
    Retry,
    /// The target cannot take this data: a value that does not fit, a constraint. Trying again changes nothing.
    Refused,
    /// Settings or rights are wrong: password, missing grant, missing table. A person has to act.
    Config,
    /// The plugin or the target broke a promise. The host stops.
    Broken,
}

/// What failed and why, what mends it, and where in the data it was.
///
/// ```
/// use ebb_sdk::{Error, ErrorKind};
/// let error = Error::new(ErrorKind::Refused, "public.orders refuses a row: value too long for type varchar(3)")
///     .hint("widen the column, or correct the row at the source")
///     .table("public.orders");
/// assert_eq!(error.kind, ErrorKind::Refused);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What the host does next.
    pub kind: ErrorKind,
    /// What is wrong: the host explains it by this. Plugins of before this field do not say.
    #[serde(default)]
    pub topic: Topic,
    /// What failed and why. Never a secret.
    pub message: String,
    /// The flag, SQL or grant that mends it.
    #[serde(default)]
    pub hint: Option<String>,
    /// The database's own code, an SQLSTATE for instance.
    #[serde(default)]
    pub code: Option<String>,
    /// The table, as its `Display` has it: `public.orders`.
    #[serde(default)]
    pub table: Option<String>,
    /// The column, as the database spells it.
    #[serde(default)]
    pub column: Option<String>,
    /// The primary key of the row, `id=1, city=rome`; the host decides where it is shown.
    #[serde(default)]
    pub key: Option<String>,
    /// The constraint that was violated.
    #[serde(default)]
    pub constraint: Option<String>,
    /// With [`ErrorKind::Refused`]: a unique key, a foreign key or the like was violated, which another order of the
    /// statements may satisfy. The host then plans the transaction again.
    #[serde(default)]
    pub conflict: bool,
}

impl Error {
    /// An error without a hint and without a place. `message` says what failed and why, and never holds a secret.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            topic: Topic::Other,
            message: message.into(),
            hint: None,
            code: None,
            table: None,
            column: None,
            key: None,
            constraint: None,
            conflict: false,
        }
    }

    /// Sets what is wrong.
    #[must_use]
    pub fn topic(mut self, topic: Topic) -> Self {
        self.topic = topic;
        self
    }

    /// Sets the flag, SQL or grant that mends it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the database's own code.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Sets the table, `public.orders`.
    #[must_use]
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = Some(table.into());
        self
    }

    /// Sets the column.
    #[must_use]
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// Sets the primary key of the row, `id=1, city=rome`.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the constraint that was violated.
    #[must_use]
    pub fn constraint(mut self, constraint: impl Into<String>) -> Self {
        self.constraint = Some(constraint.into());
        self
    }

    /// Names a row of a block, and where it is known a column and its value: table, key and column, and the end of the
    /// message. `row` and `column` are positions in the block.
    #[must_use]
    pub fn at(self, block: &Block<'_>, row: usize, column: Option<usize>) -> Self {
        let key = shortened(&block.key_text(row), SHOWN_CHARS_MAX);
        let mut message = format!("{}; the row is {}", self.message, shown_value(&key));
        let mut error = self.table(block.table().to_string()).key(key);
        if let Some((at, column)) = column.and_then(|at| Some((at, block.columns().nth(at)?))) {
            let shown = |text| format!("{:?}", shortened(text, SHOWN_CHARS_MAX));
            let value = block.value(row, at).text().map_or_else(|| "NULL".into(), shown);
            message.push_str(&format!(", column {}, value {}", column.name, shown_value(&value)));
            error = error.column(&column.name);
        }
        error.message = message;
        error
    }

    /// See [`Error::conflict`].
    #[must_use]
    pub fn conflict(mut self) -> Self {
        self.conflict = true;
        self
    }
}

/// Longest part of a key or a value that a message shows.
pub const SHOWN_CHARS_MAX: usize = 100;

/// The beginning of a text, and dots where it goes on.
///
/// ```
/// assert_eq!(ebb_sdk::shortened("äöü", 3), "äöü");
/// assert_eq!(ebb_sdk::shortened("äöü", 2), "äö…");
/// ```
pub fn shortened(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The error of a server that there is no connection to. `doing` completes "cannot …".
///
/// ```
/// let text = "error connecting to server: failed to lookup address information: Name or service not known";
/// let error = ebb_sdk::unreachable("connect to the target", text);
/// assert_eq!(error.message, "cannot connect to the target: its host is not found (DNS: Name or service not known)");
/// ```
pub fn unreachable(doing: &str, text: &str) -> Error {
    let dns = text.split_once("failed to lookup address information: ").map(|(_, why)| why);
    let why = dns.map_or_else(|| text.to_owned(), |why| format!("its host is not found (DNS: {why})"));
    Error::new(ErrorKind::Retry, format!("cannot {doing}: {why}")).topic(Topic::Unreachable).hint(match dns {
        Some(_) => "correct the host in the connection string",
        None => "see that the target runs and can be reached",
    })
}

/// The hint of a row whose parent is missing. `parent` as it is shown: `public.dep`.
///
/// ```
/// assert!(ebb_sdk::missing_parent("dep").starts_with("insert the missing row into dep on the target;"));
/// ```
pub fn missing_parent(parent: &str) -> String {
    format!(
        "insert the missing row into {parent} on the target; if --table-filter, --schema-filter or --table-exclusion-filter \
         leaves {parent} out, change the filter and load the table"
    )
}

/// The text of an error with its causes, which drivers hide behind `source`; what stands there already is not repeated.
///
/// ```
/// let refused = std::io::Error::other("connection refused");
/// assert_eq!(ebb_sdk::with_causes(&refused), "connection refused");
/// ```
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    for cause in std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&cause);
        }
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
