//! What ends a pass, and whether another one may succeed.
//!
//! Owns: that distinction. Does not own: the errors themselves.

use ebb_sdk::ErrorKind;

use crate::code;
use crate::error::Error;
use crate::source::is_collected;

/// An error, and whether the comparison may go on behind it with new connections and a new snapshot.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) may_pass: bool,
}

impl From<ebb_sdk::Error> for Failure {
    fn from(error: ebb_sdk::Error) -> Self {
        Self { may_pass: error.kind == ErrorKind::Retry, error: error.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        // Connections, transactions that were pushed aside, resources, a node that drains.
        const PASSING: [[u8; 2]; 4] = [*b"08", *b"40", *b"53", *b"57"];
        let passes = error.sqlstate.is_some_and(|state| PASSING.contains(&state.class()));
        let may_pass = error.code == code::source::UNREACHABLE || passes || is_collected(&error);
        Self { error, may_pass }
    }
}
