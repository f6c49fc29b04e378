//! Whether values of rows may stand in messages: `--log-values`.
//!
//! Owns: the one switch of a process, or of a plugin, which is a library of its own. Does not own: which part of a message
//! is a value: whoever writes one says so with [`shown_value`].

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

/// What stands in the place of a value.
pub const HIDDEN: &str = "(not shown: --log-values off)";

static ARE_HIDDEN: AtomicBool = AtomicBool::new(false);

/// Sets it, from now on. In a plugin the sdk does so at every connection.
pub fn hide_values(hidden: bool) {
    ARE_HIDDEN.store(hidden, Ordering::Relaxed);
}

/// Also whether somebody else's words, which may quote values, must not be repeated.
pub fn values_are_hidden() -> bool {
    ARE_HIDDEN.load(Ordering::Relaxed)
}

/// A value, or a key of a row, as a message may show it.
pub fn shown_value(text: &str) -> Cow<'_, str> {
    if values_are_hidden() { HIDDEN.into() } else { text.into() }
}
