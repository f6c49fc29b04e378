//! Faults of CockroachDB itself that make a changefeed leave rows out, by version.
//!
//! Owns: which published advisories a version is under. Does not own: whether a run goes on: it does, with a warning.
//! Source: <https://www.cockroachlabs.com/docs/advisories/>, A-104309 and A-123371.

use super::release::{Release, release};

/// One advisory that matters to a changefeed.
struct Advisory {
    name: &'static str,
    /// Whether a release is affected, by its minor version: the first good patch of each; all before the first are bad.
    first_good: &'static [Release],
    /// Only where existing rows are sent first.
    of_scans: bool,
    what: &'static str,
}

const ADVISORIES: &[Advisory] = &[
    Advisory {
        name: "A-104309",
        first_good: &[(22, 2, 19), (23, 1, 16), (23, 2, 2)],
        of_scans: false,
        what: "a changefeed may leave out rows, or resolve a timestamp too early",
    },
    Advisory {
        name: "A-123371",
        first_good: &[(23, 1, 22), (23, 2, 6), (24, 1, 0)],
        of_scans: true,
        what: "a changefeed that is restarted during its initial scan may leave out rows",
    },
];

/// What a person should know about this version (`CockroachDB CCL v23.1.2 (…)`) before trusting its changefeeds.
pub fn warnings(version: &str, scans: bool) -> Vec<String> {
    let Some(release) = release(version) else { return Vec::new() };
    let concern = |advisory: &&Advisory| (scans || !advisory.of_scans) && advisory.affects(release);
    let (major, minor, patch) = release;
    let text = |advisory: &Advisory| {
        format!(
            "CockroachDB v{major}.{minor}.{patch} is under technical advisory {}: {}; upgrade it to v{} or later first",
            advisory.name,
            advisory.what,
            advisory.upgrade_of(release)
        )
    };
    ADVISORIES.iter().filter(concern).map(text).collect()
}

impl Advisory {
    fn affects(&self, (major, minor, patch): Release) -> bool {
        match self.first_good.iter().find(|good| (good.0, good.1) == (major, minor)) {
            Some(good) => patch < good.2,
            None => self.first_good.iter().all(|good| (major, minor) < (good.0, good.1)),
        }
    }

    /// The least release without the fault that is not older.
    fn upgrade_of(&self, release: Release) -> String {
        let good = self.first_good.iter().find(|good| **good > release).or(self.first_good.last());
        good.map(|(major, minor, patch)| format!("{major}.{minor}.{patch}")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_warned_of_by_number() {
        let check = |version: &str, scans: bool, expected: &[&str]| {
            let found = warnings(&format!("CockroachDB CCL v{version} (x86_64, built 2024)"), scans);
            assert_eq!(found.len(), expected.len(), "{version}: {found:?}");
            for (text, part) in found.iter().zip(expected) {
                assert!(text.contains(part), "{version}: {text}");
            }
        };
        check("23.1.14", false, &["A-104309"]);
        check("23.1.14", true, &["v23.1.16 or later", "v23.1.22 or later"]);
        check("22.1.0", false, &["v22.2.19 or later"]);
        check("22.2.19", false, &[]);
        check("22.2.19", true, &["A-123371"]);
        check("23.2.1", false, &["v23.2.2 or later"]);
        check("23.2.6", true, &[]);
        check("24.1.0-rc.1", true, &[]);
        check("25.4.1", true, &[]);
        assert!(warnings("CockroachDB of an unknown kind", true).is_empty());
    }
}
