//! Metadata: what a run leaves in the staging folder for the next one, beside rows.
//!
//! Owns: the names of these files, and that each is JSON with a checksum. Does not own: what they say.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::sealed::{seal, unseal};
use super::segments::{read, replace};
use super::{damaged, unreadable};
use crate::code;
use crate::error::{Error, Result};
use crate::private;

/// One file, replaced whole.
#[derive(Clone, Copy, Debug)]
pub enum MetadataFile {
    /// The target's catalog, for a start while the target is down.
    Catalog,
    /// What the changefeed was created with.
    Changefeed,
    /// Which tables of the source rows have come from.
    Origins,
    /// The primary keys of the source's tables, over time.
    Keys,
    /// Triggers of the target that were dropped.
    Triggers,
    /// What proves that a record of a trigger on the target is this folder's.
    TriggerKey,
    /// The tables of the source that rows were taken of, for a start while the source is down.
    Tables,
    /// The starts of this folder, as its target knows them.
    Starts,
    /// Tables that were refused, since the last run did not replicate them.
    RefusedTables,
    /// Where the last run served its pages.
    Pages,
}

impl MetadataFile {
    fn name(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Changefeed => "changefeed",
            Self::Origins => "origins",
            Self::Keys => "keys",
            Self::Triggers => "triggers",
            Self::TriggerKey => "triggers.key",
            Self::Tables => "tables",
            Self::Starts => "starts",
            Self::RefusedTables => "refused-tables",
            Self::Pages => "pages",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Catalog => "the target's catalog",
            Self::Changefeed => "the changefeed's settings",
            Self::Origins => "the origins of tables",
            Self::Keys => "the primary keys",
            Self::Triggers => "the triggers",
            Self::TriggerKey => "the key of the record of triggers",
            Self::Tables => "the tables",
            Self::Starts => "the starts",
            Self::RefusedTables => "the tables that were refused",
            Self::Pages => "the address of the pages",
        }
    }

    /// What to do about one that cannot be read; `None` where it counts as none, since it can be made anew.
    fn mend(self) -> Option<&'static str> {
        match self {
            // One that another version of ebb has written may have another form: then the target has to be seen again.
            Self::Catalog | Self::Tables | Self::Pages => None,
            Self::Changefeed => Some("remove the file \"changefeed\" from the staging folder: it holds no rows"),
            Self::Origins => Some("the file origins was altered by hand; put it back"),
            Self::Keys => Some("the file keys was altered by hand; put it back"),
            Self::RefusedTables => Some("the file refused-tables was altered by hand; put it back"),
            Self::Starts => Some("the file starts was altered by hand; put it back"),
            Self::TriggerKey => {
                Some("the file triggers.key was altered by hand; put it back, or make the dropped triggers by hand")
            }
            Self::Triggers => Some(
                "the file triggers was altered by hand; put it back, or move it away: the target has its own record",
            ),
        }
    }
}

/// Where a run serves its pages, and what opens them to whoever may read its staging folder.
#[derive(Clone, Serialize, Deserialize)]
pub struct PagesOfRun {
    pub addr: SocketAddr,
    /// What `Authorization` may be beside what `--metricsAuth` says; another at every start. `None`: an earlier version wrote it.
    pub token: Option<String>,
    /// SHA-256 of the certificate that is shown, as hexadecimal digits. `None`: there is no TLS.
    pub certificate: Option<String>,
}

/// Those of the last run of a folder, also while it is in use; `None` where it served none, or they cannot be read.
///
/// # Errors
/// When others may have written there, or it is damaged.
pub fn pages_of(folder: &Path) -> Result<Option<PagesOfRun>> {
    let name = MetadataFile::Pages.name();
    if !folder.is_dir() {
        return Ok(None);
    }
    private::check(folder)?;
    let bytes = match private::open(&folder.join(name), OpenOptions::new().read(true)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.and_then(|mut file| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map(|_| bytes)
        }),
    };
    let bytes = bytes.map_err(|error| unreadable(&error))?;
    Ok(serde_json::from_str(unseal(name, &bytes)?).ok())
}

/// What was saved last.
pub(super) fn load<T: DeserializeOwned>(disk: &dyn Disk, file: MetadataFile) -> Result<Option<T>> {
    let Some(text) = text(disk, file)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).or_else(|error| {
        let message = format!("{} in the staging folder cannot be read: {error}", file.what());
        match file.mend() {
            Some(mend) => Err(Error::new(code::staging::FILE_ALTERED, message).hint(mend)),
            None => {
                tracing::debug!("{message}");
                Ok(None)
            }
        }
    })
}

pub(super) fn save<T: Serialize + ?Sized>(disk: &dyn Disk, file: MetadataFile, value: &T) -> Result<()> {
    let text = serde_json::to_string(value).map_err(|error| {
        Error::new(code::defect::BROKEN_PROMISE, format!("{} cannot be written down: {error}", file.what()))
    })?;
    replace(disk, file.name(), seal(&text).as_bytes()).map_err(|error| unreadable(&error.into()))
}

fn text(disk: &dyn Disk, file: MetadataFile) -> Result<Option<String>> {
    let name = file.name();
    let names = disk.names().map_err(|error| unreadable(&error))?;
    if !names.iter().any(|other| other == name) {
        return Ok(None);
    }
    let bytes = read(disk, name).map_err(|error| unreadable(&error))?;
    // An earlier version wrote the JSON alone.
    let is_alone = !bytes.contains(&b'\n') && bytes.ends_with(b"}") || bytes.ends_with(b"]");
    let json = if is_alone {
        str::from_utf8(&bytes).map_err(|_| damaged(name, "it is not text"))?
    } else {
        unseal(name, &bytes)?
    };
    Ok(Some(json.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::tempdir;
    use crate::stage::disk::Folder;

    #[test]
    fn what_cannot_be_read_is_said_or_made_anew() {
        let folder = tempdir();
        let disk = Folder::open(folder.path()).unwrap();
        assert_eq!(load::<Vec<u32>>(&disk, MetadataFile::Keys).unwrap(), None);
        save(&disk, MetadataFile::Keys, &[1, 2]).unwrap();
        assert_eq!(load(&disk, MetadataFile::Keys).unwrap(), Some(vec![1, 2]));
        let files = [
            MetadataFile::Catalog,
            MetadataFile::Changefeed,
            MetadataFile::Origins,
            MetadataFile::Keys,
            MetadataFile::Triggers,
            MetadataFile::TriggerKey,
        ];
        for file in files.into_iter().chain([MetadataFile::Starts, MetadataFile::Tables, MetadataFile::RefusedTables]) {
            save(&disk, file, "of another form").unwrap();
            match load::<Vec<u32>>(&disk, file) {
                Ok(None) => assert!(matches!(file, MetadataFile::Catalog | MetadataFile::Tables)),
                Ok(Some(_)) => panic!("{file:?}"),
                Err(error) => assert!(error.message.contains("cannot be read") && error.hint.is_some(), "{error}"),
            }
        }
    }
}
