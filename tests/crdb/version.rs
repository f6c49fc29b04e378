//! Which release of CockroachDB is played, and where the releases differ.
//!
//! Owns: the parsing of the version and every question of the kind "is this release new enough for …".

/// A release such as 25.2.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    text: String,
    major: u32,
    minor: u32,
}

impl Version {
    /// Takes `25.2.1` and `v25.2.1`, also with a suffix such as `-rc.1`.
    pub fn parse(text: &str) -> Result<Version, String> {
        let bare = text.strip_prefix('v').unwrap_or(text);
        let mut parts = bare.splitn(3, '.');
        let mut number = || parts.next().and_then(|part| part.parse().ok());
        match (number(), number(), parts.next()) {
            (Some(major), Some(minor), Some(_)) => Ok(Version { text: bare.to_owned(), major, minor }),
            _ => Err(format!("{text:?} is no version of CockroachDB: give one such as 25.2.1")),
        }
    }

    /// What `SELECT version()` says.
    pub(crate) fn banner(&self) -> String {
        format!("CockroachDB CCL v{} (x86_64-unknown-linux-gnu, built 2025/06/20 00:00:00, go1.23.7)", self.text)
    }

    /// `25.2`, as in the addresses of the documentation.
    pub(crate) fn series(&self) -> String {
        format!("{}.{}", self.major, self.minor)
    }

    /// Before 23.2 a batch was marshalled a second time: no spaces, and `<`, `>` and `&` escaped.
    pub(crate) fn has_compact_json(&self) -> bool {
        !self.is_at_least(23, 2)
    }

    /// Before 25.4 a topic was the table's name as SQL would write it.
    pub(crate) fn has_bare_topics(&self) -> bool {
        self.is_at_least(25, 4)
    }

    /// The sink of before 23.2 gave up on a request after three seconds; the present one waits for ever.
    pub(crate) fn default_client_timeout(&self) -> Option<std::time::Duration> {
        (!self.is_at_least(23, 2)).then_some(std::time::Duration::from_secs(3))
    }

    /// "job with state x" since 25, "job with status x" before.
    pub(crate) fn status_word(&self) -> &'static str {
        if self.is_at_least(25, 1) { "state" } else { "status" }
    }

    pub(crate) fn is_at_least(&self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        let version = Version::parse("v25.10.0-rc.1").unwrap();
        assert!(version.is_at_least(25, 4) && !version.is_at_least(26, 1));
        assert_eq!(version.series(), "25.10");
        assert!(Version::parse("25").is_err());
        assert!(Version::parse("23.1.17").unwrap().has_compact_json());
    }
}
