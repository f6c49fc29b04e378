//! The steps that prepare the target, and the last look at who writes.
//!
//! Owns: what each does and says, and what it leaves to a person. Does not own: their order (`cutback`), the steps before (`steps`).

use ebb_sdk::{ConcernKind, SequenceMove, SequenceMoves, Unlooked};

use super::{Came, LOOK_INTERVAL, Work};
use crate::cutback::record::Record;
use crate::error::{Result, listed};

const QUIET_SOURCE: &str = "nothing was written on CockroachDB";

impl Work<'_> {
    pub(super) fn sequences(&mut self, record: &mut Record) -> Result<Came> {
        let act = !self.options.dry_run;
        let tables = self.positions();
        let Some(all) = self.sides.session.advance_sequences(&tables, act)? else {
            record.to_do.push("advance the sequences of the target: its plugin cannot".into());
            return Ok(Came::Passed("nothing was looked at: the plugin does not know sequences".into()));
        };
        let to_do = all.unlooked.iter().map(|unlooked| format!("look at {}: {}", unlooked.what, unlooked.why));
        record.to_do.extend(to_do);
        let refused = all.moves.iter().filter(|one| one.refused.is_some());
        let refusal = |one: &SequenceMove| {
            let fix = one.fix.as_ref().map(|fix| format!(" ({fix})")).unwrap_or_default();
            format!("{}: {}{fix}", one.sequence, one.refused.as_deref().unwrap_or_default())
        };
        let refused: Vec<String> = refused.map(refusal).collect();
        if !refused.is_empty() {
            return Ok(Came::Failed(refused.join("; ")));
        }
        let said = said(&all, act);
        Ok(if act || all.moves.is_empty() { Came::Passed(said) } else { Came::Would(said) })
    }

    /// What is not analyzed is slow and not wrong.
    pub(super) fn analyze(&mut self, record: &mut Record) -> Result<Came> {
        if self.options.dry_run {
            return Ok(Came::Would(format!("ANALYZE {} tables", self.sides.tables.len())));
        }
        let mut left = Vec::new();
        for (at, table) in &self.sides.tables {
            if self.is_late() {
                return Ok(self.time_is_up(&format!("{table} is not analyzed")));
            }
            match self.sides.session.analyze(*at) {
                Ok(Some(())) => {}
                Ok(None) => return Ok(Came::Passed("the plugin cannot".into())),
                Err(error) => {
                    let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                    record.to_do.push(format!("ANALYZE {table}, which is not analyzed: {}{hint}", error.message));
                    left.push(table);
                }
            }
        }
        let known = self.sides.tables.len() - left.len();
        let left = if left.is_empty() { String::new() } else { format!("; not analyzed: {}", listed(&left)) };
        Ok(Came::Passed(format!("the planner knows {known} tables{left}")))
    }

    /// Whether anything was written since, on either side.
    pub(super) fn late_writers(&mut self, record: &mut Record) -> Result<Came> {
        let now = self.runtime.block_on(self.sides.source.now())?;
        let Some(quiet) = self.quiet.take() else { return Ok(Came::Failed("nothing was quiet".into())) };
        loop {
            let seen = self.status()?;
            // It counts from its start.
            if seen.running() < quiet.running() {
                let why =
                    "ebb fetch was started again meanwhile, so that nobody knows what has come: run ebb cutback again";
                return Ok(Came::Failed(why.into()));
            }
            if let Some(why) = seen.hindrances().into_iter().next() {
                return Ok(Came::Failed(why));
            }
            if seen.received() != quiet.received() {
                let tables = seen.changed_since(&quiet);
                return Ok(Came::Failed(format!("rows were written on CockroachDB after all, to {}", listed(&tables))));
            }
            if seen.resolved().is_some_and(|resolved| resolved >= now) {
                break;
            }
            if self.is_late() {
                return Ok(self.time_is_up("no later resolved timestamp has come"));
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        // What ebb wrote itself may be told late, so that another comparison decides.
        if let Some(said) = self.written_since()?
            && let Came::Failed(why) = self.proof(record)?
        {
            return Ok(Came::Failed(format!("{said}; {why}")));
        }
        if let Some(said) = self.written_since()? {
            return Ok(Came::Failed(said));
        }
        self.present_writers(record)
    }

    fn present_writers(&mut self, record: &mut Record) -> Result<Came> {
        let Some(survey) = self.sides.session.survey(&self.positions())? else {
            record.to_do.push("find out who else writes to the target: its plugin cannot".into());
            return Ok(Came::Passed(format!("{QUIET_SOURCE}; the plugin does not tell who writes to the target")));
        };
        let others = survey.concerns.into_iter().filter(|concern| concern.kind == ConcernKind::OtherWriter);
        let writers: Vec<String> = others.map(|concern| concern.reason).collect();
        if !writers.is_empty() {
            return Ok(Came::Failed(format!("somebody else writes to the target: {}", writers.join("; "))));
        }
        // What is of no known kind may have been a look at writers.
        let is_of_writers = |unlooked: &Unlooked| matches!(unlooked.kind, None | Some(ConcernKind::OtherWriter));
        let unseen: Vec<Unlooked> = survey.unlooked.into_iter().filter(is_of_writers).collect();
        if unseen.is_empty() {
            return Ok(Came::Passed(format!("{QUIET_SOURCE}, and nobody else writes to the target now")));
        }
        let shown: Vec<&str> = unseen.iter().map(|unlooked| unlooked.what.as_str()).collect();
        let said = format!(
            "{QUIET_SOURCE}; whether somebody else has written to the target and not committed is not known, since these were \
             not looked at: {}",
            listed(&shown)
        );
        let to_do = unseen.iter().map(|unlooked| {
            format!(
                "make sure that nobody else writes to the target: not looked at: {}: {}",
                unlooked.what, unlooked.why
            )
        });
        record.to_do.extend(to_do);
        Ok(Came::Passed(said))
    }
}

/// Nothing is told as good that was not looked at.
fn said(all: &SequenceMoves, act: bool) -> String {
    let one = |one: &SequenceMove| format!("{} from {} to {} for {}", one.sequence, one.from, one.to, one.column);
    let moved = listed(all.moves.iter().map(one));
    let mut said = match (all.moves.is_empty(), act) {
        (true, _) if all.looked == 0 => "no sequence was looked at".to_owned(),
        (true, _) => format!("{} sequences were looked at, and each gives a free value next", all.looked),
        (false, true) => format!("advanced {moved}"),
        (false, false) => format!("advance {moved}"),
    };
    if let Some(by_itself) = &all.by_itself {
        said += &format!("; {by_itself}");
    }
    if !all.unlooked.is_empty() {
        said += &format!("; {} left to be looked at by hand", all.unlooked.len());
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_answer_is_not_told_as_good() {
        assert_eq!(said(&SequenceMoves::default(), true), "no sequence was looked at");
        let all = SequenceMoves { looked: 2, ..SequenceMoves::default() };
        assert_eq!(said(&all, true), "2 sequences were looked at, and each gives a free value next");
    }
}
