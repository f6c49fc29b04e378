//! What an error is about: the host looks up by it what it tells a person to do.
//!
//! Owns: the topics. Does not own: what the host does next (`ErrorKind`), and any database's own codes.

use serde::{Deserialize, Deserializer, Serialize};

/// What is wrong, as far as it is mended in a way of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// None of the others; the kind tells all that is known. Also what a host reads that does not know a newer topic.
    #[default]
    Other,
    /// There is no connection: DNS, a closed port, no answer, a server that is starting or shutting down.
    Unreachable,
    /// User, password, or the server's rules of who may connect.
    Login,
    /// The database or schema of the connection string.
    Database,
    /// Certificates, keys, and what is verified with them.
    Tls,
    /// The connection would not be encrypted.
    Unencrypted,
    /// The target takes no writes: a standby, a replica, a setting.
    ReadOnly,
    /// A right is missing.
    Privilege,
    /// No answer in time: a lock, load, a time limit.
    TooSlow,
    /// The target's disk, memory or number of connections is used up.
    Resources,
    /// A unique key or an exclusion.
    UniqueKey,
    /// A foreign key.
    ForeignKey,
    /// A CHECK constraint.
    Check,
    /// NULL where the target allows none.
    NotNull,
    /// A value that the column cannot hold.
    Value,
    /// A value that the column would round.
    Rounding,
    /// Several keys of the source are one key to the target.
    SameKey,
    /// A row or statement is larger than the target takes.
    Size,
    /// A trigger or rule refused or changed a row.
    Trigger,
    /// A table, column or key is not there any more, or is another.
    Changed,
    /// The progress row is not where it was left.
    Moved,
    /// Another process has taken the feed over.
    Fenced,
    /// Tables of ebb's own that others can change.
    OwnTables,
    /// The connection string.
    Url,
    /// The server is of a version or product that the plugin does not write to.
    Version,
}

impl Topic {
    const ALL: [Self; 25] = [
        Self::Other,
        Self::Unreachable,
        Self::Login,
        Self::Database,
        Self::Tls,
        Self::Unencrypted,
        Self::ReadOnly,
        Self::Privilege,
        Self::TooSlow,
        Self::Resources,
        Self::UniqueKey,
        Self::ForeignKey,
        Self::Check,
        Self::NotNull,
        Self::Value,
        Self::Rounding,
        Self::SameKey,
        Self::Size,
        Self::Trigger,
        Self::Changed,
        Self::Moved,
        Self::Fenced,
        Self::OwnTables,
        Self::Url,
        Self::Version,
    ];

    /// Every topic.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter()
    }
}

/// A plugin may be newer than the host: its errors must still be read.
impl<'de> Deserialize<'de> for Topic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let is_it = |topic: &Self| serde_json::to_value(topic).is_ok_and(|text| text == name.as_str());
        Ok(Self::all().find(is_it).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, ErrorKind};

    #[test]
    fn errors_of_older_and_newer_plugins_are_read() {
        let read = |text: &str| serde_json::from_str::<Error>(text).unwrap().topic;
        assert_eq!(read(r#"{"kind":"retry","message":"m"}"#), Topic::Other);
        assert_eq!(read(r#"{"kind":"retry","message":"m","topic":"of a later version"}"#), Topic::Other);
        for topic in Topic::all() {
            let error = Error::new(ErrorKind::Config, "m").topic(topic);
            assert_eq!(read(&serde_json::to_string(&error).unwrap()), topic);
        }
    }
}
