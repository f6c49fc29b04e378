//! The file of the history: a line of JSON for each event, the newest last.
//!
//! Owns: that a line is durable once it is written, that a line which was cut off by a crash does no harm, and that the file
//! stays small. Does not own: which events there are, and who writes when (`mod`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{EVENTS_MAX, Entry};
use crate::private;

const NAME: &str = "history";
/// The file is written anew, with the last events alone, once it has so many lines.
const LINES_MAX: usize = 2 * EVENTS_MAX;
/// What is read of it: more than it can hold.
const BYTES_MAX: u64 = 32 << 20;

/// The file of a folder that this process has locked.
pub(super) struct HistoryFile {
    path: PathBuf,
    /// `None` until something is written, and after a failure, which may have left half a line.
    file: Option<File>,
    lines: usize,
}

/// What a folder's file holds, also while another process writes to it. A folder without one has no events.
pub fn read(folder: &Path) -> io::Result<Vec<Entry>> {
    let (mut entries, _) = parsed(&folder.join(NAME))?;
    entries.drain(..entries.len().saturating_sub(EVENTS_MAX));
    Ok(entries)
}

/// The events, and whether each line is one and is whole.
fn parsed(path: &Path) -> io::Result<(Vec<Entry>, bool)> {
    let mut file = match private::open(path, OpenOptions::new().read(true)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), true)),
        opened => opened?,
    };
    let bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(BYTES_MAX)))?;
    let mut text = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut text)?;
    let is_ended = text.is_empty() || text.ends_with(b"\n");
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let entries: Vec<Entry> = lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let is_whole = is_ended && entries.len() == lines.len();
    Ok((entries, is_whole))
}

impl HistoryFile {
    /// The file and what it holds; nothing is written yet.
    pub(super) fn open(folder: &Path) -> (Self, io::Result<Vec<Entry>>) {
        let mut this = Self { path: folder.join(NAME), file: None, lines: 0 };
        let read = parsed(&this.path).and_then(|(entries, is_whole)| {
            this.lines = entries.len();
            // Behind a line that was cut off the next one would be lost.
            if is_whole {
                let mut options = OpenOptions::new().create(true).append(true).to_owned();
                this.file = Some(private::open(&this.path, &mut options)?);
            }
            Ok(entries)
        });
        (this, read)
    }

    /// Makes the last events durable, of which `new` are not in the file yet.
    pub(super) fn write(&mut self, entries: &[Arc<Entry>], new: usize) -> io::Result<()> {
        let fresh = &entries[entries.len().saturating_sub(new)..];
        match self.file.take() {
            Some(mut file) if self.lines + fresh.len() <= LINES_MAX => {
                file.write_all(&lines(fresh)?)?;
                file.sync_data()?;
                self.lines += fresh.len();
                self.file = Some(file);
                Ok(())
            }
            _ => self.replace(entries),
        }
    }

    /// The last events alone, in a file that takes the place of the old one in one step.
    fn replace(&mut self, entries: &[Arc<Entry>]) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut options = OpenOptions::new().create(true).truncate(true).write(true).to_owned();
        let mut file = private::open(&beside, &mut options)?;
        file.write_all(&lines(entries)?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.lines = entries.len();
        self.file = Some(file);
        Ok(())
    }
}

fn lines(entries: &[Arc<Entry>]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut text, entry.as_ref())?;
        text.push(b'\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::*;
    use crate::private::tempdir;

    fn entries(count: usize) -> Vec<Arc<Entry>> {
        (0..count).map(|n| Arc::new(Entry::new(Event::Signal, n.to_string()))).collect()
    }

    fn texts(folder: &Path) -> Vec<String> {
        read(folder).unwrap().into_iter().map(|entry| entry.text).collect()
    }

    #[test]
    fn a_line_that_was_cut_off_is_left_out_and_written_over() {
        let folder = tempdir();
        let (mut file, found) = HistoryFile::open(folder.path());
        assert!(found.unwrap().is_empty());
        file.write(&entries(3), 3).unwrap();
        let path = folder.path().join(NAME);
        let whole = fs::read(&path).unwrap();
        for cut in 1..whole.len() / 3 {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            // Only the end of the line may be missing.
            let kept: &[&str] = if cut == 1 { &["0", "1", "2"] } else { &["0", "1"] };
            assert_eq!(texts(folder.path()), kept, "{cut}");
            let (mut file, found) = HistoryFile::open(folder.path());
            let mut all: Vec<_> = found.unwrap().into_iter().map(Arc::new).collect();
            all.extend(entries(1));
            file.write(&all, 1).unwrap();
            assert_eq!(texts(folder.path()), [kept, &["0"]].concat(), "{cut}");
        }
    }

    #[test]
    fn the_file_stays_small() {
        let folder = tempdir();
        let (mut file, _) = HistoryFile::open(folder.path());
        for _ in 0..5 {
            file.write(&entries(EVENTS_MAX), EVENTS_MAX).unwrap();
            let lines = fs::read_to_string(folder.path().join(NAME)).unwrap().lines().count();
            assert!((EVENTS_MAX..=LINES_MAX).contains(&lines), "{lines}");
            assert_eq!(texts(folder.path()).len(), EVENTS_MAX);
        }
    }
}
