//! Which records of dropped triggers are ebb's own: the target's table of them is often writable for users of the application,
//! and whoever puts triggers back is often an administrator.
//!
//! Owns: the proof that goes with a record (HMAC-SHA256 under a key that only the staging folder holds), and how a record
//! without one is shown. Does not own: the records (the plugin), what becomes of them (`triggers`).

use ebb_sdk::SavedTrigger;
use ring::hmac::{self, HMAC_SHA256};
use ring::rand::{SecureRandom, SystemRandom};

use crate::code;
use crate::error::{Error, Result, visible};
use crate::stage::{MetadataFile, RunState};

const KEY_BYTES: usize = 32;

/// The key of one staging folder.
pub(crate) struct Prover(hmac::Key);

impl Prover {
    /// The key that the folder has, or a new one, which is on disk before anything is proven with it.
    pub(crate) fn of(run_state: &RunState) -> Result<Self> {
        if let Some(known) = Self::known(run_state)? {
            return Ok(known);
        }
        let mut key = [0; KEY_BYTES];
        SystemRandom::new()
            .fill(&mut key)
            .map_err(|_| Error::new(code::defect::NO_RANDOM, "the system gives no random numbers"))?;
        run_state.save(MetadataFile::TriggerKey, key.as_slice())?;
        Ok(Self::new(&key))
    }

    /// `None` where no trigger was ever dropped with this folder.
    pub(crate) fn known(run_state: &RunState) -> Result<Option<Self>> {
        match run_state.load::<Vec<u8>>(MetadataFile::TriggerKey)? {
            Some(key) if key.len() == KEY_BYTES => Ok(Some(Self::new(&key))),
            Some(key) => Err(Error::new(
                code::target::TRIGGER_RECORD,
                format!(
                    "the file triggers.key of the staging folder was changed: its key has {} bytes, and ebb wrote {KEY_BYTES}",
                    key.len()
                ),
            )
            .hint("put the file triggers.key back, or create the dropped triggers by hand")),
            None => Ok(None),
        }
    }

    fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, key))
    }

    pub(crate) fn prove(&self, saved: &mut SavedTrigger) {
        saved.proof = hex(hmac::sign(&self.0, &content(saved)).as_ref());
    }

    pub(crate) fn is_proven(&self, saved: &SavedTrigger) -> bool {
        bytes(&saved.proof).is_some_and(|proof| hmac::verify(&self.0, &content(saved), &proof).is_ok())
    }
}

/// All that a record says. JSON keeps its parts apart.
fn content(saved: &SavedTrigger) -> Vec<u8> {
    let bare = SavedTrigger { proof: String::new(), ..saved.clone() };
    serde_json::to_vec(&bare).expect("a trigger is plain data")
}

/// Whether two records say the same, whatever their proofs.
pub(crate) fn is_same(one: &SavedTrigger, other: &SavedTrigger) -> bool {
    content(one) == content(other)
}

/// The statements of records, for a person to read: whatever steers a terminal is spelled out.
pub(crate) fn for_review(records: &[SavedTrigger]) -> String {
    let mut review = String::new();
    for record in records {
        review += &format!("-- {} on {}\n", visible(&record.trigger.name, ""), visible(&record.table, ""));
        for statement in &record.trigger.create {
            review += &format!("{};\n", visible(statement, "\n\t"));
        }
    }
    review
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use ebb_sdk::Trigger;

    use super::*;

    fn record() -> SavedTrigger {
        let trigger = Trigger { name: "act".into(), is_suspended: true, create: vec!["CREATE".into(), "ALTER".into()] };
        let namespace = vec!["d".into(), "public".into()];
        SavedTrigger { feed: "f".into(), namespace, table: "t".into(), trigger, proof: String::new() }
    }

    #[test]
    fn whatever_is_changed_of_a_record_takes_its_proof_away() {
        let prover = Prover::new(&[7; KEY_BYTES]);
        assert!(!prover.is_proven(&record()));
        let mut proven = record();
        prover.prove(&mut proven);
        assert!(prover.is_proven(&proven) && is_same(&proven, &record()));
        assert!(!Prover::new(&[8; KEY_BYTES]).is_proven(&proven));
        let changes: [fn(&mut SavedTrigger); 8] = [
            |record| record.feed.push('x'),
            |record| record.namespace[1].push('x'),
            |record| record.table.push('x'),
            |record| record.trigger.name.push('x'),
            |record| record.trigger.is_suspended = false,
            |record| record.trigger.create[1].push_str(" ROLE"),
            |record| record.trigger.create = vec!["CREATEALTER".into()],
            |record| record.proof.truncate(62),
        ];
        for change in changes {
            let mut changed = proven.clone();
            change(&mut changed);
            assert!(!prover.is_proven(&changed), "{changed:?}");
        }
        for wrong in ["", "0", "é", "+f", &"0".repeat(64)] {
            assert!(!prover.is_proven(&SavedTrigger { proof: wrong.into(), ..record() }));
        }
    }

    #[test]
    fn a_review_cannot_steer_a_terminal_or_leave_its_comment() {
        let mut record = record();
        record.trigger.name = "a\u{1b}[2J\nDROP".into();
        record.trigger.create = vec!["CREATE\n\u{7}x".into()];
        assert_eq!(for_review(&[record]), "-- a\\u{1b}[2J\\nDROP on t\nCREATE\n\\u{7}x;\n");
    }
}
