//! `ebb init`: asks for what a first run needs, tries it, and writes the files of the run.
//!
//! Owns: the questions, their order, and that nothing is written over without leave. Does not own: connecting (`daemon`),
//! certificates (`certs`).

use std::io::{BufRead, Write};
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ebb_sdk::Secret;
use rustls::pki_types::ServerName;

use super::certs;
use super::files::{self, Mode};
use crate::code;
use crate::error::{Error, Result, listed, visible};
use crate::mask;

const DAYS: u32 = 365;
const AUTHORITY_DAYS: u32 = 3650;
const CLIENT_NAME: &str = "changefeed";
const LOCALHOST: &str = "localhost";

/// What the flags say; what is missing is asked for.
#[derive(Debug)]
pub struct Options {
    pub source: Option<Secret>,
    pub target: Option<Secret>,
    /// A regular expression.
    pub tables: Option<String>,
    /// Under which CockroachDB reaches the receiver.
    pub host: Option<String>,
    pub port: u16,
    pub dir: PathBuf,
    /// `--allow-tls-mode-disable`.
    pub allow_insecure: bool,
    /// No questions: what is missing is an error.
    pub yes: bool,
}

/// Its version, and the names of its tables.
pub type TargetFound = (String, Vec<String>);

/// How the servers are tried.
pub struct Servers<'a> {
    /// Gives the version.
    pub source: &'a dyn Fn(&Secret, bool) -> Result<String>,
    pub target: &'a dyn Fn(&Secret, bool) -> Result<TargetFound>,
}

/// The person at the other end of standard input.
struct Person<'a> {
    answers: &'a mut dyn BufRead,
    questions: &'a mut dyn Write,
    is_silent: bool,
}

impl Person<'_> {
    fn say(&mut self, text: &str) {
        // Nothing can be done when the terminal is gone.
        let _ = writeln!(self.questions, "{}", visible(&mask::clean(text), "")).and_then(|()| self.questions.flush());
    }

    fn say_error(&mut self, error: &Error) {
        let _ = write!(self.questions, "{}", mask::clean(&error.told())).and_then(|()| self.questions.flush());
    }

    fn ask(&mut self, question: &str) -> Result<String> {
        let _ = write!(self.questions, "{question}: ").and_then(|()| self.questions.flush());
        let mut answer = String::new();
        match self.answers.read_line(&mut answer) {
            Ok(count) if count > 0 => Ok(answer.trim().to_owned()),
            _ => {
                // The question has no end of line.
                let _ = writeln!(self.questions).and_then(|()| self.questions.flush());
                Err(Error::new(code::settings::NOT_GIVEN, format!("there is no answer to: {question}"))
                    .hint("give --source, --target, --tables and --host, and --yes for no questions"))
            }
        }
    }

    /// Without an answer nobody has agreed.
    fn agrees(&mut self, question: &str) -> bool {
        let is_yes = |answer: String| matches!(answer.as_str(), "y" | "Y" | "yes");
        !self.is_silent && self.ask(&format!("{question} [y/N]")).is_ok_and(is_yes)
    }

    /// The flag's value or an answer, once `check` takes it. Without questions its error is the end.
    fn value<T>(
        &mut self,
        (flag, question): (&str, &str),
        given: Option<String>,
        default: Option<&str>,
        check: impl Fn(&str) -> Result<T>,
    ) -> Result<(String, T)> {
        let mut given = given;
        loop {
            let text = match (given.take(), default) {
                (Some(text), _) => text,
                (None, Some(default)) if self.is_silent => default.to_owned(),
                (None, None) if self.is_silent => {
                    return Err(Error::new(
                        code::settings::NOT_GIVEN,
                        format!("{flag} is not given, and --yes asks nothing"),
                    )
                    .hint(format!("add {flag}")));
                }
                (None, default) => {
                    let answer = self.ask(question)?;
                    if answer.is_empty() { default.unwrap_or_default().to_owned() } else { answer }
                }
            };
            match check(&text) {
                Ok(found) => return Ok((text, found)),
                Err(error) if self.is_silent => return Err(error),
                Err(error) => self.say_error(&error),
            }
        }
    }
}

/// What was found out.
struct Answers {
    source: String,
    target: String,
    tables: String,
    host: String,
}

/// Asks, tries, writes; returns what to do next.
pub fn run(options: &Options, servers: &Servers<'_>) -> Result<String> {
    let (mut answers, mut questions) = (std::io::stdin().lock(), std::io::stderr());
    let mut person = Person { answers: &mut answers, questions: &mut questions, is_silent: options.yes };
    set_up(options, servers, &mut person)
}

fn set_up(options: &Options, servers: &Servers<'_>, person: &mut Person<'_>) -> Result<String> {
    let certs = certs_options(options);
    let (file, renew) = (options.dir.join("ebb.toml"), certs.dir.join("ca.key").exists());
    let present = [file.as_path(), &certs.dir.join("ca.key"), &certs.changefeeds_path];
    for path in present.into_iter().filter(|path| path.exists()) {
        let question = if path.ends_with("ca.key") {
            format!(
                "{} is there already. Make new certificates with this authority, in the place of the old ones?",
                path.display()
            )
        } else {
            format!("{} is there already. Write over it?", path.display())
        };
        if !person.agrees(&question) {
            files::refuse_existing(&[path], "give another folder with --out, or move the file away")?;
        }
    }
    let answers = ask_all(options, servers, person)?;
    files::make_folder(&options.dir)?;
    if !renew && certs.changefeeds_path.exists() {
        // Somebody has agreed; certificates are made anew only where there is no file of old ones.
        std::fs::remove_file(&certs.changefeeds_path).map_err(|error| {
            Error::new(
                code::settings::FILE_UNWRITABLE,
                format!("{} cannot be removed: {error}", certs.changefeeds_path.display()),
            )
        })?;
    }
    let hosts = if answers.host == LOCALHOST && !renew { Vec::new() } else { vec![answers.host.clone()] };
    certs::make(&certs::Options { hosts, renew, ..certs_options(options) })?;
    files::replace(&file, &settings(options, &answers, &certs)?, Mode::Private)?;
    Ok(format!(
        "wrote {} (it may hold passwords), {}, and certificates in {}\n\
         CockroachDB must reach {}\n\
         now: ebb fetch --config {}\n\
         the same command resumes the run\n",
        file.display(),
        certs.changefeeds_path.display(),
        certs.dir.display(),
        match answers.host.contains(':') {
            true => format!("[{}]:{}", answers.host, options.port),
            false => format!("{}:{}", answers.host, options.port),
        },
        file.display()
    ))
}

fn ask_all(options: &Options, servers: &Servers<'_>, person: &mut Person<'_>) -> Result<Answers> {
    let text = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.reveal().to_owned());
    let as_secret = |url: &str| {
        let url = Secret::new(url);
        mask::remember_url(&url);
        url
    };
    let (source, version) =
        person.value(("--source", "CockroachDB, the source of changes (URL)"), text(&options.source), None, |url| {
            (servers.source)(&as_secret(url), options.allow_insecure)
        })?;
    person.say(&format!("connected to the source: {version}"));
    let (target, (version, known)) = person.value(
        ("--target", "The database to bring changes back to (URL)"),
        text(&options.target),
        None,
        |url| (servers.target)(&as_secret(url), options.allow_insecure),
    )?;
    person.say(&format!("connected to the target: {version}"));
    let question = "Tables, a regular expression on the name [.*]";
    let (tables, matching) =
        person.value(("--tables", question), options.tables.clone(), Some(".*"), |text| matching(text, &known))?;
    person.say(&format!("tables of the target that match: {}", listed(&matching)));
    let question = "Host under which CockroachDB reaches this machine [localhost]";
    let (host, ()) = person.value(("--host", question), options.host.clone(), Some(LOCALHOST), check_host)?;
    if (host.as_str(), options.port).to_socket_addrs().is_err() {
        person.say(&format!("{host} cannot be resolved here: see that it can be on every node of CockroachDB"));
    }
    Ok(Answers { source, target, tables, host })
}

/// The tables that a filter chooses.
fn matching(filter: &str, known: &[String]) -> Result<Vec<String>> {
    let chosen = regex::RegexBuilder::new(filter).case_insensitive(true).build().map_err(|_| {
        Error::new(code::settings::VALUE, "--tables is not a regular expression")
            .hint("write names as ^(employees|payments)$")
    })?;
    let found: Vec<String> = known.iter().filter(|name| chosen.is_match(name)).cloned().collect();
    if found.is_empty() {
        let all = if known.is_empty() { "none".into() } else { listed(known) };
        return Err(Error::new(code::settings::NOTHING_CHOSEN, "no table of the target matches --tables")
            .hint(format!("correct --tables, which is a regular expression; the tables of the target: {all}")));
    }
    Ok(found)
}

fn check_host(host: &str) -> Result<()> {
    if ServerName::try_from(host).is_err() {
        return Err(Error::new(code::settings::VALUE, "the host is no host")
            .hint("give a name or an address alone, without scheme or port"));
    }
    Ok(())
}

fn certs_options(options: &Options) -> certs::Options {
    // Names stay short where everything is in the folder that ebb is started in.
    let within = |name: &str| if options.dir == Path::new(".") { name.into() } else { options.dir.join(name) };
    certs::Options {
        dir: within("certs"),
        changefeeds_path: within("changefeed-secure.json"),
        hosts: Vec::new(),
        port: options.port,
        client_name: CLIENT_NAME.into(),
        days: DAYS,
        authority_days: AUTHORITY_DAYS,
        renew: false,
    }
}

/// The file for `--config`.
fn settings(options: &Options, answers: &Answers, certs: &certs::Options) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
    // ebb may be started in another folder than the file's.
    let path = |path: PathBuf| toml::Value::from(std::path::absolute(&path).unwrap_or(path).display().to_string());
    let all = [
        ("mode", "failback".into()),
        ("source", answers.source.as_str().into()),
        ("target", answers.target.as_str().into()),
        ("table-filter", answers.tables.as_str().into()),
        ("changefeeds-path", path(certs.changefeeds_path.clone())),
        ("tlsCertificate", path(certs.dir.join("server.crt"))),
        ("tlsPrivateKey", path(certs.dir.join("server.key"))),
        ("stagingSchema", format!("_replicator_{now}").into()),
    ];
    let mut table: toml::Table = all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if options.allow_insecure {
        table.insert("allow-tls-mode-disable".into(), true.into());
    }
    let text = toml::to_string(&table).map_err(|error| {
        Error::new(code::settings::FILE_UNWRITABLE, format!("the settings cannot be written: {error}"))
    })?;
    Ok(format!(
        "# Settings of one run, made by ebb init: ebb config show fetch --config ebb.toml shows them all.\n{text}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_with(answers: &str, options: &Options) -> (Result<String>, String) {
        let source = |url: &Secret, _: bool| match url.reveal().contains("right") {
            true => Ok("CockroachDB v25".to_owned()),
            false => Err(Error::new(code::settings::VALUE, "the password is wrong")),
        };
        let target = |_: &Secret, _: bool| Ok(("server 1".to_owned(), vec!["employees".to_owned()]));
        let (mut answers, mut said) = (answers.as_bytes(), Vec::new());
        let mut person = Person { answers: &mut answers, questions: &mut said, is_silent: options.yes };
        let outcome = set_up(options, &Servers { source: &source, target: &target }, &mut person);
        (outcome, String::from_utf8(said).unwrap())
    }

    fn options(dir: &Path, yes: bool) -> Options {
        let dir = dir.join("run");
        Options { source: None, target: None, tables: None, host: None, port: 30004, dir, allow_insecure: false, yes }
    }

    #[test]
    fn a_wrong_answer_is_said_and_asked_again() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path(), false);
        let answers = "x://wrong\nx://right\nx://target\nnone\n\nhttps://x\nebb.example.com\n";
        let (outcome, said) = run_with(answers, &options);
        assert!(outcome.unwrap().contains("now: ebb fetch --config"), "{said}");
        for text in ["the password is wrong", "no table of the target matches", "match: employees", "is no host"] {
            assert!(said.contains(text), "{text} is not in {said}");
        }
        let text = std::fs::read_to_string(options.dir.join("ebb.toml")).unwrap();
        assert!(text.contains("source = \"x://right\"") && text.contains("table-filter = \".*\""), "{text}");
        // What is there stays unless somebody agrees.
        let (outcome, said) = run_with("n\n", &options);
        assert!(outcome.unwrap_err().message.contains("is there already") && said.contains("Write over it?"));
        assert_eq!(std::fs::read_to_string(options.dir.join("ebb.toml")).unwrap(), text);
        let (outcome, _) = run_with("y\ny\ny\nx://right\nx://target\n\nother.example.com\n", &options);
        outcome.unwrap();
    }

    #[test]
    fn without_questions_what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (outcome, said) = run_with("", &options(dir.path(), true));
        assert!(outcome.unwrap_err().message.contains("--source is not given"), "{said}");
    }
}
