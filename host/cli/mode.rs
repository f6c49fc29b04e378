//! The value of `--mode`.
//!
//! Owns: what shells complete. Does not own: what is said of MOLT's other modes (`resolve`), for which any text is taken here.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command, Error};

/// The one that ebb does.
pub(super) const FAILBACK: &str = "failback";

/// Takes any text, and tells shells which one is meant.
#[derive(Clone)]
pub(super) struct Mode;

impl TypedValueParser for Mode {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(std::iter::once(PossibleValue::new(FAILBACK))))
    }
}
