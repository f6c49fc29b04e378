//! The code of an error of a plugin or of the sdk: by its topic, and without one by its kind.
//!
//! Owns: the table. Does not own: the topics (the sdk), and which error has which (each plugin).

use ebb_sdk::{Error, ErrorKind, Topic};

use super::{Code, defect, row, target};

pub fn of(error: &Error) -> Code {
    match error.topic {
        Topic::Other => of_kind(error.kind),
        Topic::Unreachable => target::UNREACHABLE,
        Topic::Login => target::LOGIN,
        Topic::Database => target::DATABASE,
        Topic::Tls => target::TLS,
        Topic::Unencrypted => target::UNENCRYPTED,
        Topic::ReadOnly => target::READ_ONLY,
        Topic::Privilege => target::PRIVILEGE,
        Topic::TooSlow => target::TOO_SLOW,
        Topic::Resources => target::RESOURCES,
        Topic::UniqueKey => row::UNIQUE_KEY,
        Topic::ForeignKey => row::FOREIGN_KEY,
        Topic::Check => row::CHECK,
        Topic::NotNull => row::NOT_NULL,
        Topic::Value => row::VALUE,
        Topic::Rounding => row::ROUNDING,
        Topic::SameKey => row::SAME_KEY,
        Topic::Size => row::TOO_LARGE,
        Topic::Trigger => row::TRIGGER,
        Topic::Changed => target::CHANGED,
        Topic::Moved => target::PROGRESS_MOVED,
        Topic::Fenced => target::TAKEN_OVER,
        Topic::OwnTables => target::OWN_TABLES,
        Topic::Url => target::URL,
        Topic::Version => target::VERSION,
    }
}

fn of_kind(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Refused => row::REFUSED,
        ErrorKind::Retry | ErrorKind::Config => target::SERVER,
        ErrorKind::Broken => defect::BROKEN_PROMISE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_and_kind_has_a_code_that_is_listed() {
        use ErrorKind::{Broken, Config, Refused, Retry};
        let listed: Vec<Code> = crate::code::all().collect();
        for topic in Topic::all() {
            for kind in [Retry, Refused, Config, Broken] {
                let code = of(&Error::new(kind, "m").topic(topic));
                assert!(listed.contains(&code), "{topic:?}, {kind:?}: {code}");
            }
        }
    }
}
