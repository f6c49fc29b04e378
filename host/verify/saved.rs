//! How far a comparison has come, kept for `--resume`, and what the last one has proved.
//!
//! Owns: the file beside the staging folder, and whether it is of the same comparison. Does not own: what the numbers mean (`state`).

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ebb_sdk::Catalog;
use ring::digest::SHA256;
use serde::{Deserialize, Serialize};

use super::state::{Mismatches, TableState};
use crate::code;
use crate::error::{Error, Result};
use crate::private;
use crate::tables::TableRoute;

/// A comparison, as it is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Saved {
    /// What it compares: a position is of use to the same comparison only.
    pub compares: Compares,
    pub tables: BTreeMap<String, TableState>,
    pub mismatches: Mismatches,
    /// In nanoseconds since 1970, by this machine's clock.
    pub begun: i64,
    pub saved: i64,
    /// Every table is compared to its end.
    pub is_finished: bool,
}

/// What a comparison is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compares {
    /// Without passwords.
    pub source: String,
    pub target: String,
    pub only_keys: bool,
    /// Every table that is replicated, and not a choice of them.
    pub every_table: bool,
    /// Each table as the target described it: [`described`].
    pub described: BTreeMap<String, String>,
    /// The columns of each table as they are compared.
    pub tables: BTreeMap<String, Vec<String>>,
    /// The source's key of each table, with the types: a position is one in this order.
    pub keys: BTreeMap<String, Vec<String>>,
}

/// The file of a staging schema.
pub fn path(staging_dir: &Path, schema: &str) -> PathBuf {
    staging_dir.join(format!("{schema}.verify"))
}

/// The file of the last comparison that has proved all of it equal, beside the one of `path`.
pub fn proof_path(path: &Path) -> PathBuf {
    path.with_extension("proof")
}

/// What of the tables of a run must stay as it is for a proof to count: a digest of their columns and keys, by name.
pub fn described(catalog: &Catalog, routes: &[TableRoute]) -> BTreeMap<String, String> {
    let tables = routes.iter().filter(|route| !route.is_left).map(|route| &catalog.tables[route.position]);
    tables
        .map(|table| {
            let shape = (&table.columns, &table.primary_key, &table.unique_keys, &table.foreign_keys);
            // The types of the sdk have nothing that JSON lacks.
            let text = serde_json::to_vec(&shape).unwrap_or_default();
            (table.to_string(), crate::proof::hexadecimal(ring::digest::digest(&SHA256, &text).as_ref()))
        })
        .collect()
}

impl Saved {
    pub fn differences(&self) -> u64 {
        self.tables.values().map(TableState::differences).sum()
    }

    /// Rows of the source that were compared.
    pub fn rows(&self) -> u64 {
        self.tables.values().map(|state| state.compared).sum()
    }

    /// When it was kept last.
    pub fn ended(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(u64::try_from(self.saved).unwrap_or_default())
    }

    /// What was kept last, if anything was.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        let text = private::open(path, OpenOptions::new().read(true)).and_then(io::read_to_string);
        match text {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| unusable(path, &error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(path, &error.to_string())),
        }
    }

    /// It compares all that a run replicates, and not a part of it.
    pub fn is_whole(&self) -> bool {
        self.compares.every_table && !self.compares.only_keys
    }

    /// Keeps a proof beside the comparison, and none that a difference has refuted since.
    pub fn keep_proof(&self, path: &Path) -> Result<()> {
        let proof = proof_path(path);
        if self.differences() > 0 {
            return match fs::remove_file(&proof) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unusable(&proof, &error.to_string())),
                _ => Ok(()),
            };
        }
        if self.is_finished && self.is_whole() { self.save(&proof) } else { Ok(()) }
    }

    /// In the place of what was kept before, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        let kept = serde_json::to_vec(self).map_err(io::Error::from).and_then(|bytes| private::replace(path, &bytes));
        kept.map_err(|error| {
            let message = format!("how far the comparison has come cannot be kept in {}: {error}", path.display());
            Error::new(code::verify::NOT_KEPT, message)
                .hint("choose a folder that this user may write, with --staging-dir")
        })
    }

    /// Refuses to continue another comparison.
    pub fn must_be_of(&self, compares: &Compares, path: &Path) -> Result<()> {
        if self.compares == *compares {
            return Ok(());
        }
        let message = format!(
            "--resume cannot continue what {} has: it compares other tables, columns or databases",
            path.display()
        );
        Err(Error::new(code::verify::OTHER_COMPARISON, message)
            .hint("run the command as it was run before, or without --resume to compare from the beginning"))
    }
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::new(code::verify::NOT_KEPT, format!("{} cannot be read: {why}", path.display()))
        .hint("move it away, and run ebb verify without --resume")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_continued_by_the_same_comparison_only() {
        let folder = private::tempdir();
        let path = path(folder.path(), "s");
        assert!(Saved::load(&path).expect("no file").is_none());
        let compares = Compares { source: "a".into(), ..Compares::default() };
        let mut saved = Saved { compares: compares.clone(), begun: 7, ..Saved::default() };
        saved.tables.insert("t".into(), TableState { after: Some(vec!["1".into()]), ..TableState::default() });
        saved.save(&path).expect("it is kept");
        saved.save(&path).expect("and again");
        let found = Saved::load(&path).expect("a file").expect("what was kept");
        assert_eq!(found.tables["t"].after, Some(vec!["1".into()]));
        assert!(found.must_be_of(&compares, &path).is_ok());
        assert!(found.must_be_of(&Compares { only_keys: true, ..compares }, &path).is_err());
        fs::write(&path, "{").expect("a file");
        assert!(Saved::load(&path).is_err());
    }
}
