//! Threads whose end cannot be overlooked: whoever starts one hears how it has ended.
//!
//! Owns: their names, and a panic as an error. Does not own: what an end means to the run.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use tokio::runtime::{Builder, Runtime};

use crate::code;
use crate::error::{Error, Result};

/// Starts a thread for `work`. `on_end` runs on it afterwards, with what the work has returned, or with a panic as an error;
/// by then whatever the work owned is dropped. Linux shows the first 15 bytes of the name.
///
/// # Errors
/// When the system has no thread left. Then neither is called.
pub fn spawn<T>(
    name: &'static str,
    on_end: impl FnOnce(Result<T>) + Send + 'static,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<()> {
    let watched = move || {
        // What the work shares with others may be half changed after a panic, and no lock says so: the caller must end the
        // run for it.
        on_end(catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(name, panic.as_ref()))));
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(watched)
        .map(drop)
        .map_err(|error| Error::new(code::defect::NO_THREAD, format!("the thread {name} cannot be started: {error}")))
}

/// A runtime for what waits for others.
///
/// # Errors
/// When the system has no thread left.
pub fn runtime(builder: &mut Builder) -> Result<Runtime> {
    builder.enable_all().build().map_err(|error| {
        Error::new(code::defect::SYSTEM, format!("cannot start the runtime: {error}"))
            .hint("raise the system's limit of threads for this user (ulimit -u), then start again")
    })
}

fn panicked(name: &str, panic: &(dyn Any + Send)) -> Error {
    let formatted = panic.downcast_ref::<String>().map(String::as_str);
    let message = formatted.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
    Error::new(code::defect::PANIC, format!("the thread {name} has panicked: {message}"))
        .hint("start again: nothing acknowledged was lost; report this with the lines above")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn end_of(work: impl FnOnce() -> Result<u8> + Send + 'static) -> Result<u8> {
        let (ended, end) = channel();
        spawn("worker", move |outcome| ended.send(outcome).unwrap(), work).unwrap();
        end.recv().unwrap()
    }

    #[test]
    fn every_end_is_heard_of() {
        assert_eq!(end_of(|| Ok(7)), Ok(7));
        assert_eq!(
            end_of(|| Err(Error::new(code::defect::PANIC, "the disk is gone"))).unwrap_err().message,
            "the disk is gone"
        );
        let name = || thread::current().name().map(str::to_owned);
        assert_eq!(
            end_of(move || Err(Error::new(code::defect::PANIC, name().unwrap()))).unwrap_err().message,
            "worker"
        );
    }

    #[test]
    fn a_panic_is_an_error_that_says_what_has_panicked() {
        for (message, error) in [
            ("constant", end_of(|| panic!("constant"))),
            ("formatted 3", end_of(|| panic!("formatted {}", 1 + 2))),
            ("without a message", end_of(|| std::panic::panic_any(3))),
        ] {
            let error = error.unwrap_err();
            assert_eq!(error.message, format!("the thread worker has panicked: {message}"));
            assert!(error.hint.is_some());
        }
    }

    #[test]
    fn what_the_work_owns_is_gone_when_its_end_is_heard_of() {
        let (ended, end) = channel();
        let (owned, is_dropped) = channel::<()>();
        let on_end = move |_: Result<()>| ended.send(is_dropped.recv().is_err()).unwrap();
        spawn("worker", on_end, move || {
            let _owned = owned;
            panic!("on purpose");
        })
        .unwrap();
        assert!(end.recv().unwrap());
    }
}
