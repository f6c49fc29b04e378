//! Passwords of any characters, in every place of a command line: nothing that is said repeats them.
#![no_main]

#[path = "../../tests/command_line_secrets.rs"]
mod command_line_secrets;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (before, after) = input;
    // An argument holds no NUL.
    if !before.contains('\0') && !after.contains('\0') {
        command_line_secrets::check(before, after);
    }
});
