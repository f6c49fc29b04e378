//! What is said of a command line that cannot be parsed: clap's words, without the values.
//!
//! Owns: that no value is repeated. Anything may be a secret that lost its quotes, or stands behind the wrong flag. Does not
//! own: the words for settings that cannot run (`resolve`).

use std::error::Error as _;
use std::ffi::OsString;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::replicator::ReplicatorOnly;
use super::size;

/// What stands in the place of a value.
const HIDDEN: &str = "…";
/// A shorter value is taken for no secret.
const SECRET_CHARS_MIN: usize = 4;
/// The longest name that is taken for a mistyped flag.
const NAME_CHARS_MAX: usize = 40;

/// The error of parsing `args`, with every value taken out.
pub(super) fn without_values(mut error: clap::Error, args: &[OsString]) -> clap::Error {
    // How the argument could be given as a value.
    error.remove(ContextKind::Suggested);
    error.remove(ContextKind::TrailingArg);
    if let Some(value) = text(&error, ContextKind::InvalidValue).filter(|value| !value.is_empty()) {
        // A value of few letters is no secret, and may be a part of any word.
        let is_shown = |why: &str| value.chars().count() < SECRET_CHARS_MIN || size::is_mistyped(&value, why);
        let shown = |why: String| if is_shown(&why) { why } else { why.replace(&value, HIDDEN) };
        if let Some(source) = error.source().map(|source| shown(source.to_string())) {
            let arg = text(&error, ContextKind::InvalidArg).unwrap_or_default();
            error = clap::Error::raw(error.kind(), format!("invalid value for '{arg}': {source}\n"));
            error.insert(ContextKind::InvalidArg, ContextValue::String(arg));
        } else {
            error.insert(ContextKind::InvalidValue, ContextValue::String(HIDDEN.into()));
        }
    }
    if error.kind() == ErrorKind::UnknownArgument {
        let arg = text(&error, ContextKind::InvalidArg).unwrap_or_default();
        let name = arg.split('=').next().unwrap_or_default();
        let shown = if is_flag(name) { name.to_owned() } else { place(&arg, args) };
        error.insert(ContextKind::InvalidArg, ContextValue::String(shown));
    }
    if text(&error, ContextKind::InvalidSubcommand).is_some_and(|name| !is_word(&name)) {
        error.insert(ContextKind::InvalidSubcommand, ContextValue::String(HIDDEN.into()));
    }
    error
}

/// Why something is not shown, and how it came to stand there.
pub(super) fn hint(error: &clap::Error) -> Option<String> {
    let is_hidden = text(error, ContextKind::InvalidArg)?.starts_with(HIDDEN);
    is_hidden.then(|| "a value with spaces must stand in quotes; it is not repeated, since it may be a secret".into())
}

/// What `ebb fetch` takes for the receiver and the applier stands inside another flag.
pub(super) fn elsewhere(error: &clap::Error) -> Option<String> {
    let flag = text(error, ContextKind::InvalidArg).filter(|_| error.kind() == ErrorKind::UnknownArgument)?;
    let name = flag.strip_prefix("--")?;
    let mut inside = ReplicatorOnly::command();
    inside.build();
    let is_known = inside.get_arguments().any(|arg| {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        arg.get_long() == Some(name) || aliases.contains(&name)
    });
    is_known.then(|| format!("in ebb fetch {flag} stands inside another flag: --replicator-flags \"{flag} …\""))
}

/// The flag that was meant, by clap's own measure.
pub(super) fn meant(error: &clap::Error) -> Option<String> {
    let flag = text(error, ContextKind::SuggestedArg)?;
    Some(format!("did you mean {}?", flag.split([' ', '=']).next()?))
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// Where a value stands that belongs to no flag.
fn place(arg: &str, args: &[OsString]) -> String {
    let at = args.iter().position(|given| given.to_string_lossy() == arg).unwrap_or(0);
    let before = args[..at].iter().rev().map(|given| given.to_string_lossy().into_owned());
    let flag = before.map(|given| given.split('=').next().unwrap_or_default().to_owned()).find(|name| is_flag(name));
    flag.map_or_else(|| HIDDEN.into(), |flag| format!("{HIDDEN} behind {flag}"))
}

/// Flags have no digits: a text that has some is more likely a value.
fn is_flag(text: &str) -> bool {
    match text.strip_prefix("--") {
        Some(name) => is_word(name),
        None => text.strip_prefix('-').is_some_and(|name| name.len() == 1 && is_word(name)),
    }
}

fn is_word(text: &str) -> bool {
    let is_of_name = |letter: char| letter.is_ascii_alphabetic() || letter == '-' || letter == '_';
    !text.is_empty() && text.len() <= NAME_CHARS_MAX && text.chars().all(is_of_name)
}
