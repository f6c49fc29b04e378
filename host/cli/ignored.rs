//! Flags of MOLT that mean nothing here: accepted, so that published runbooks go on working, with a warning
//! that says what ebb does instead.
//!
//! Owns: their list, and those that are refused because the rows would be others with them. Does not own: flags that do something (`flags`).

use std::ffi::OsString;

use crate::code;
use crate::error::{Error, Result};

/// Name, whether a value follows, what ebb does instead.
type Ignored = (&'static str, bool, &'static str);

/// Those of `replicator start`.
pub(super) const OF_REPLICATOR: &[Ignored] = &[
    ("--assumeIdempotent", false, "repeats are always recognised"),
    ("--bestEffortOnly", false, "source transactions are always applied whole"),
    ("--bestEffortWindow", true, "source transactions are always applied whole"),
    ("--collapseMutations", false, "of several versions of a row in one window only the last is written"),
    ("--dataDir", true, "metrics are served, not stored"),
    ("--disableCheckpointStream", false, "progress is kept in the target"),
    ("--discard", false, "rows are never discarded"),
    ("--discardDelay", true, "rows are never discarded"),
    ("--dlqTableName", true, "a row that the target refuses stops replication"),
    ("--enableCheckpointStream", false, "progress is kept in the target"),
    ("--enableParallelApplies", false, "one session writes, with statements for many rows"),
    ("--flushPeriod", true, "a window is applied as soon as its resolved timestamp has come"),
    ("--flushSize", true, "see --transaction-rows-max"),
    ("--healthCheckTimeout", true, "health pages answer at once"),
    ("--immediate", false, "rows are always staged first"),
    ("--limitLookahead", true, "see --transaction-rows-max"),
    ("--logFormat", true, "lines are JSON"),
    ("--maxRetries", true, "what can succeed later is tried until it does"),
    ("--metricsSnapshotCompression", true, "metrics are served, not stored"),
    ("--metricsSnapshotPeriod", true, "metrics are served, not stored"),
    ("--metricsSnapshotRetentionSize", true, "metrics are served, not stored"),
    ("--metricsSnapshotRetentionTime", true, "metrics are served, not stored"),
    ("--ndjsonBufferSize", true, "only webhook changefeeds are received"),
    ("--parallelism", true, "one session writes, with statements for many rows"),
    ("--quiescentPeriod", true, "tables are written parents first, so that nothing has to be deferred"),
    ("--retryMultiplier", true, "the delay between attempts doubles"),
    ("--scanSize", true, "staged rows are read as they are needed"),
    ("--schemaRefresh", true, "tables are described at start and at every new connection"),
    ("--stageDisableCreateTableReaderIndex", false, "staging is a local folder (--staging-dir)"),
    ("--stageMarkAppliedLimit", true, "staging is a local folder (--staging-dir)"),
    ("--stageMode", true, "staging is a local folder (--staging-dir)"),
    ("--stageSanityCheckPeriod", true, "every staged row has a checksum"),
    ("--stageSanityCheckWindow", true, "every staged row has a checksum"),
    ("--stageUnappliedPeriod", true, "see the page /_/status"),
    ("--stagingConn", true, "staging is a local folder (--staging-dir)"),
    ("--stagingCreateSchema", false, "the staging folder is created when it is missing"),
    ("--stagingIdleTime", true, "staging is a local folder (--staging-dir)"),
    ("--stagingJitterTime", true, "staging is a local folder (--staging-dir)"),
    ("--stagingMaxLifetime", true, "staging is a local folder (--staging-dir)"),
    ("--stagingMaxPoolSize", true, "staging is a local folder (--staging-dir)"),
    ("--targetApplyQueueSize", true, "one window is applied at a time"),
    ("--targetIdleTime", true, "one session writes"),
    ("--targetJitterTime", true, "one session writes"),
    ("--targetMaxLifetime", true, "one session writes"),
    ("--targetMaxPoolSize", true, "one session writes"),
    ("--targetStatementCacheSize", true, "one statement per table and operation is prepared"),
    ("--taskGracePeriod", true, "see --gracePeriod"),
    ("--timestampLimit", true, "see --transaction-rows-max"),
];

/// Those of `molt fetch` that are for loading.
pub(super) const OF_FETCH: &[Ignored] = &[
    ("--source-cdb", true, "only CockroachDB is a source"),
    ("--metrics-scrape-interval", true, "metrics are served while ebb runs"),
    ("--pglogical-publication-and-slot-drop-and-recreate", false, "the source is a changefeed"),
    ("--pglogical-publication-name", true, "the source is a changefeed"),
    ("--pglogical-replication-slot-name", true, "the source is a changefeed"),
    ("--pglogical-replication-slot-plugin", true, "the source is a changefeed"),
    ("--pprof-listen-addr", true, "there are no profiling pages"),
    ("--filter-path", true, "rows are not filtered"),
    ("--type-map-file", true, "tables are not created"),
    ("--table-handling", true, "tables are not created"),
    ("--skip-pk-check", false, "tables without a primary key are refused"),
    ("--use-copy", false, "nothing is loaded"),
    ("--direct-copy", false, "nothing is loaded"),
    ("--cleanup", false, "nothing is loaded"),
    ("--compression", true, "set \"compression\" in the --changefeeds-path file"),
    ("--export-concurrency", true, "nothing is loaded"),
    ("--table-concurrency", true, "nothing is loaded"),
    ("--row-batch-size", true, "nothing is loaded"),
    ("--import-batch-size", true, "nothing is loaded"),
    ("--flush-rows", true, "nothing is loaded"),
    ("--flush-size", true, "nothing is loaded"),
    ("--crdb-pts-duration", true, "the changefeed protects its own rows"),
    ("--crdb-pts-refresh-interval", true, "the changefeed protects its own rows"),
    ("--use-stats-based-sharding", false, "nothing is loaded"),
    ("--ignore-replication-check", false, "nothing is loaded"),
    ("--assume-role", true, "nothing is loaded"),
    ("--use-implicit-auth", false, "nothing is loaded"),
    ("--bucket-path", true, "nothing is loaded"),
    ("--import-region", true, "nothing is loaded"),
    ("--local-path", true, "nothing is loaded"),
    ("--local-path-listen-addr", true, "nothing is loaded"),
    ("--local-path-crdb-access-addr", true, "nothing is loaded"),
    ("--fetch-id", true, "nothing is loaded"),
    ("--continuation-token", true, "nothing is loaded"),
    ("--continuation-file-name", true, "nothing is loaded"),
];

/// With them MOLT would write other rows: a run without them would leave the target wrong. What to do instead.
pub(super) const REFUSED: &[(&str, &str)] = &[
    (
        "--userscript",
        "leave it out, and do on the target what the script did: a view, a generated column, or a trigger with --triggers fire; \
         --ignore-columns leaves columns out",
    ),
    (
        "--transformations-file",
        "leave it out: tables are matched by name, so rename the target's tables to those of CockroachDB, and leave columns \
         out with --ignore-columns",
    ),
];

/// The error for a flag of them, by its canonical key.
pub(super) fn refused(key: &str) -> Option<Error> {
    let is_it = |name: &str| name.replace('-', "").eq_ignore_ascii_case(key);
    let (name, instead) = REFUSED.iter().find(|(name, _)| is_it(name))?;
    Some(
        Error::new(
            code::settings::REFUSED_FLAG,
            format!("{name} would change what is written, and ebb writes rows as they are"),
        )
        .hint(*instead),
    )
}

/// The flag of a canonical key of the configuration file, and what ebb does instead.
pub(super) fn instead_of(key: &str) -> Option<(&'static str, &'static str)> {
    let is_it = |name: &str| name.replace('-', "").eq_ignore_ascii_case(key);
    OF_REPLICATOR.iter().chain(OF_FETCH).find(|(name, ..)| is_it(name)).map(|(name, _, instead)| (*name, *instead))
}

/// Their names, for the help.
pub(super) fn names(ignored: &[Ignored]) -> String {
    let names: Vec<_> = ignored.iter().map(|(name, ..)| *name).collect();
    names.join(", ")
}

/// Takes the flags of `ignored` out, with their values, and says so. A flag that switches may be written `--flag=false`.
/// Those that would change the rows are refused.
pub(super) fn strip(args: &[OsString], ignored: &[Ignored]) -> Result<(Vec<OsString>, Vec<String>)> {
    let (mut kept, mut warnings) = (Vec::new(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        let (name, value) = text.split_once('=').map_or((text.as_ref(), None), |(name, value)| (name, Some(value)));
        if let Some((known, _)) = REFUSED.iter().find(|(known, _)| *known == name)
            && let Some(error) = refused(&known.replace('-', ""))
        {
            return Err(error);
        }
        match ignored.iter().find(|(known, _, _)| *known == name) {
            Some((name, takes_value, instead)) => {
                if *takes_value && value.is_none() {
                    args.next();
                }
                warnings.push(format!("{name} has no effect: {instead}"));
            }
            None => {
                kept.push(arg.clone());
                // The text behind it is a command line of its own.
                if name == "--replicator-flags" && value.is_none() {
                    kept.extend(args.next().cloned());
                }
            }
        }
    }
    Ok((kept, warnings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_with_their_values() {
        let check = |args: &str, kept: &str, warnings: usize| {
            let args: Vec<_> = args.split(' ').map(OsString::from).collect();
            let (found, said) = strip(&args, OF_REPLICATOR).unwrap();
            let found: Vec<_> = found.iter().map(|arg| arg.to_string_lossy()).collect();
            assert_eq!((found.join(" ").as_str(), said.len()), (kept, warnings), "{said:?}");
        };
        check("--parallelism 16 -v", "-v", 1);
        check("--parallelism=16 -v", "-v", 1);
        check("--stageSanityCheckPeriod -1s -v", "-v", 1);
        check("--collapseMutations -v --enableParallelApplies=false", "-v", 2);
        check("--replicator-flags --immediate --immediate", "--replicator-flags --immediate", 1);
        check("--bindAddr :1 --stagingConn", "--bindAddr :1", 1);
        check("--parallelismus 16", "--parallelismus 16", 0);
    }
}
