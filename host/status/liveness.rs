//! `/_/livez`: whether every thread of the run is alive, for whoever would start the process again.
//!
//! Owns: what counts as alive. Does not own: signs of life (`measure`). What another start would not help with is no reason: a
//! target or source that is down, a full staging, a row that is refused.

use chrono::{DateTime, SecondsFormat};

use super::Snapshot;

/// For a probe: what a person should look at; the error says which threads are dead or stuck.
pub(super) fn judge(snapshot: &Snapshot) -> Result<String, String> {
    let faults: Vec<_> = snapshot.threads.iter().filter_map(|thread| thread.fault()).collect();
    if !faults.is_empty() {
        return Err(format!("{}; start ebb again: nothing acknowledged is lost\n", faults.join("; ")));
    }
    Ok(match &snapshot.waiting {
        Some(waiting) => {
            let at = DateTime::from_timestamp_nanos(waiting.at.wall).to_rfc3339_opts(SecondsFormat::Millis, true);
            format!("OK, but applying waits for a row of {at}: see /_/status and the log\n")
        }
        None => "OK\n".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ebb_sdk::Timestamp;

    use super::*;
    use crate::measure::ThreadState;
    use crate::stage::Forecast;
    use crate::status::Status;

    #[test]
    fn a_thread_that_is_stuck_or_dead_is_no_life() {
        let status = Status::default();
        let look = || status.snapshot("s", Timestamp::ZERO, Forecast::default());
        assert_eq!(judge(&look()), Ok("OK\n".into()));
        let mut stuck = look();
        let thread = stuck.threads.iter_mut().find(|thread| thread.name == "applier").expect("the applier");
        (thread.state, thread.quiet) = (ThreadState::Stuck, Duration::from_secs(777));
        let said = judge(&stuck).unwrap_err();
        assert!(said.starts_with("applier is stuck: not heard of for 777 s"), "{said}");
        // The thread ends in earnest.
        drop(status.measures.reader.begin());
        assert_eq!(judge(&look()).unwrap_err(), "reader has ended; start ebb again: nothing acknowledged is lost\n");
    }
}
