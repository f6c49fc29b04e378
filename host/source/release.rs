//! The release of CockroachDB, and what changefeeds of it can do.
//!
//! Owns: reading it from the version's text, and the options that depend on it. Does not own: its faults (`advisories`).

/// Major, minor, patch.
pub type Release = (u32, u32, u32);

/// Options without a value that ebb adds by itself, and the releases that have them.
const OWN_OPTIONS: [(&str, (u32, u32)); 2] = [
    // A session or a table may keep its changes from changefeeds, and the target would never hear of them.
    ("ignore_disable_changefeed_replication", (24, 1)),
    // A JSON null would look like SQL NULL.
    (JSON_NULL_OPTION, (24, 2)),
];
const JSON_NULL_OPTION: &str = "encode_json_value_null_as_object";

/// The release of a version text (`CockroachDB CCL v25.2.1 (…)`).
pub fn release(version: &str) -> Option<Release> {
    let numbers = version.split_whitespace().find_map(|word| word.strip_prefix('v'))?;
    // Pre-releases of a version come before its first patch; what is said of that patch is near enough.
    let mut parts = numbers.split(['.', '-']).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}

/// Those that a release has.
pub fn own_options(release: Option<Release>) -> impl Iterator<Item = &'static str> {
    let release = release.map(|(major, minor, _)| (major, minor));
    let is_there = move |since: (u32, u32)| release.is_some_and(|release| release >= since);
    OWN_OPTIONS.into_iter().filter(move |(_, since)| is_there(*since)).map(|(option, _)| option)
}

/// Whether a changefeed of this version (`CockroachDB CCL v25.2.1 (…)`) tells a JSON null from SQL NULL.
pub fn tells_json_null(version: &str) -> bool {
    own_options(release(version)).any(|option| option == JSON_NULL_OPTION)
}
