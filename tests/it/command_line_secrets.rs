//! Passwords of characters that have a meaning somewhere, in every place of a command line. `make fuzz` goes on from here.

#[path = "../command_line_secrets.rs"]
mod places;

/// What breaks parsers of URLs, of shells, of flags, of messages.
const NASTY: &[&str] = &[
    "",
    "'",
    "\"",
    "?",
    "1?",
    "12?x=",
    "?sslmode=",
    "&",
    "@",
    "a@b?",
    "/",
    "#",
    "%",
    "%zz",
    "%ff",
    " ",
    "\\",
    ":",
    "://",
    "a://b:c@",
    "=",
    "\n",
    "-",
    "--",
    "--x=",
    "(",
    "[",
    "tcp(",
    "Bearer ",
    "-----BEGIN ",
    "ü🐘",
];
const ROUNDS: usize = 40;

#[test]
fn no_password_is_repeated_wherever_it_stands() {
    for part in NASTY {
        places::check(part, "");
        places::check("", part);
    }
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..ROUNDS {
        let mut part = || (0..random.usize(0..4)).map(|_| NASTY[random.usize(..NASTY.len())]).collect::<String>();
        let (before, after) = (part(), part());
        places::check(&before, &after);
    }
}
