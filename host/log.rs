//! Log lines as the vendor's docs and users' scripts quote them: `{"level":"info","time":"…","message":"…"}`, further
//! fields behind `message`.
//!
//! Owns: the shape of a line and where it goes. Does not own: what is worth saying, and which
//! texts are secret (`mask`).

use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, OnceLock};

use chrono::{Local, SecondsFormat};
use parking_lot::Mutex;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry;

use crate::code;
use crate::config::{Log, LogDestination, LogFormat};
use crate::error::{Error, Result, steers, visible};
use crate::logged::{self, Severity};
use crate::{mask, private};

/// Sends every event of the process to the destination, from now on.
pub fn init(log: &Log) -> Result<()> {
    ebb_sdk::hide_values(log.hide_values);
    // Control codes are for terminals, and for those that want them (https://no-color.org).
    let is_live = matches!(log.destination, LogDestination::Stdout)
        && log.format == LogFormat::Console
        && std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none()
        && std::env::var("TERM").is_ok_and(|term| term != "dumb");
    let writer: Box<dyn Write + Send> = match &log.destination {
        LogDestination::Stdout => Box::new(std::io::stdout()),
        LogDestination::File(path) => Box::new(private::append(path).map_err(|error| {
            Error::new(
                code::settings::FILE_UNWRITABLE,
                format!("the log file {} cannot be written: {error}", path.display()),
            )
            .hint("give another path with --log-file, or leave it out for standard output")
        })?),
    };
    let lines = Arc::new(Lines {
        level: log.level,
        format: log.format,
        output: Mutex::new(Output { writer, is_live, status: String::new() }),
    });
    let twice = || Error::new(code::defect::TWICE, "logging was started twice");
    LINES.set(Arc::clone(&lines)).map_err(|_| twice())?;
    tracing::subscriber::set_global_default(registry().with(Shared(lines))).map_err(|_| twice())
}

/// Logs the error that ends a run, with its hint and fields; to standard error as well when there is no log yet.
pub fn failure(error: &Error) {
    let mut fields = Fields { message: error.message.clone(), others: vec![(CODE, error.code.text().into())] };
    fields.others.extend(error.hint.iter().map(|hint| ("hint", Value::from(hint.as_str()))));
    fields.others.extend(error.fields.iter().map(|(name, value)| (*name, Value::from(value.as_str()))));
    match LINES.get() {
        Some(lines) => {
            note(Level::ERROR, &fields);
            lines.write(Level::ERROR, &fields);
        }
        None => {
            let _ = std::io::stderr().write_all(json_line(Level::ERROR, &fields.clean()).as_bytes());
        }
    }
}

/// The field of an event that has the code of a warning: see `code`.
const CODE: &str = "error_code";

/// Set once by `init`: the fields of an error are not known when the program is compiled, as tracing's are.
static LINES: OnceLock<Arc<Lines>> = OnceLock::new();

/// What tracing is given; the lines themselves are shared with `failure`.
struct Shared(Arc<Lines>);

struct Lines {
    level: Level,
    format: LogFormat,
    output: Mutex<Output>,
}

/// Where lines go. On a terminal the last row is a line that says where the run stands, and is drawn again below each line.
struct Output {
    writer: Box<dyn Write + Send>,
    is_live: bool,
    status: String,
}

/// Back to the beginning of the row, which is cleared.
const CLEAR: &str = "\r\x1b[K";
/// Where a terminal does not say how wide it is.
const COLUMNS: u16 = 80;

/// A longer line would take two rows, of which only one is cleared.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok().filter(|size| size.ws_col > 1);
    usize::from(size.map_or(COLUMNS, |size| size.ws_col))
}

impl Output {
    fn line(&mut self, line: &str) -> std::io::Result<()> {
        let Self { writer, is_live, status } = self;
        match is_live {
            true => write!(writer, "{CLEAR}{line}{status}")?,
            false => writer.write_all(line.as_bytes())?,
        }
        writer.flush()
    }

    fn status(&mut self, text: &str) -> std::io::Result<()> {
        if !self.is_live {
            return Ok(());
        }
        self.status = visible(text, "").chars().take(columns() - 1).collect();
        write!(self.writer, "{CLEAR}{}", self.status)?;
        self.writer.flush()
    }
}

/// Shows where the run stands, below the lines of the log; nothing where there is no terminal. An empty text takes it away.
pub fn status(text: &str) {
    if let Some(lines) = LINES.get() {
        // A terminal that is gone must not stop replication.
        let _ = lines.output.lock().status(text);
    }
}

impl<S: Subscriber> Layer<S> for Shared {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (level, lines) = (*event.metadata().level(), &self.0);
        // Libraries speak at debug and trace; theirs are shown only when everything is.
        let ours = ["ebb", "plugin"].iter().any(|name| event.metadata().target().starts_with(name));
        // The driver of the source and the target shows what it sends.
        let threshold = if ours || lines.level == Level::TRACE && !ebb_sdk::values_are_hidden() {
            lines.level
        } else {
            Level::WARN.min(lines.level)
        };
        // Counted also where --logging error does not show it.
        if level <= threshold.max(Level::WARN) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            if !ours && level <= Level::WARN {
                fields.others.insert(0, (CODE, code::defect::LIBRARY.text().into()));
            }
            note(level, &fields);
            if level <= threshold {
                lines.write(level, &fields);
            }
        }
    }
}

impl Lines {
    fn write(&self, level: Level, fields: &Fields) {
        let fields = &fields.clean();
        let line = match self.format {
            LogFormat::Json => json_line(level, fields),
            LogFormat::Console => console_line(level, fields),
        };
        // A log that cannot be written must not stop replication.
        let _ = self.output.lock().line(&line);
    }
}

/// An error or a warning counts.
fn note(level: Level, fields: &Fields) {
    let severity = match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        _ => return,
    };
    if let Some(code) = fields.others.iter().find(|(name, _)| *name == CODE).and_then(|(_, value)| value.as_str()) {
        logged::note(severity, code);
    }
}

fn json_line(level: Level, fields: &Fields) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let mut line = format!(
        "{{\"level\":\"{}\",\"time\":\"{}\",\"message\":{}",
        level_name(level),
        Local::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        quoted(&fields.message)
    );
    for (name, value) in &fields.others {
        line.push_str(&format!(",{}:{value}", quoted(name)));
    }
    // The rest is spelled out by JSON itself.
    let mut line = line.chars().fold(String::new(), |mut line, letter| {
        match steers(letter) {
            true => line.push_str(&format!("\\u{:04x}", u32::from(letter))),
            false => line.push(letter),
        }
        line
    });
    line.push_str("}\n");
    line
}

fn console_line(level: Level, fields: &Fields) -> String {
    let time = Local::now().format("%H:%M:%S");
    let code = fields.others.iter().find(|(name, _)| *name == CODE).and_then(|(_, value)| value.as_str());
    let code = code.map(|code| format!("[{code}] ")).unwrap_or_default();
    // What it lists was made visible before it was numbered.
    let is_list = fields.has_code(code::table::SEVERAL_FINDINGS);
    let message = visible(&fields.message, if is_list { "\n" } else { "" });
    let mut line = format!("{time} {:<5} {code}{message}", level_name(level));
    for (name, value) in fields.others.iter().filter(|(name, _)| *name != CODE) {
        match value.as_str().filter(|_| is_list && *name == "hint") {
            Some(list) => line.push_str(&format!("\nhint:\n{}", visible(list, "\n"))),
            None => line.push_str(&format!(" {name}={}", visible(&value.to_string(), ""))),
        }
    }
    line.push('\n');
    line
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    /// Whoever wrote it: a library, a plugin, a server may repeat what they were told.
    fn clean(&self) -> Self {
        let clean = |value: &Value| value.as_str().map_or_else(|| value.clone(), |text| mask::clean(text).into());
        let field = |name: &str, value: &Value| match name {
            "key" | "behind_key" if ebb_sdk::values_are_hidden() => ebb_sdk::HIDDEN.into(),
            _ => clean(value),
        };
        let others = self.others.iter().map(|(name, value)| (*name, field(name, value))).collect();
        Self { message: mask::clean(&self.message), others }
    }

    fn has_code(&self, code: code::Code) -> bool {
        self.others.iter().any(|(name, value)| *name == CODE && value.as_str() == Some(code.text()))
    }

    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::from(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_terminal_is_drawn_below_the_log() {
        let drawn = |is_live| {
            let writer = Arc::new(Mutex::new(Vec::new()));
            let mut output = Output { writer: Box::new(Shown(Arc::clone(&writer))), is_live, status: String::new() };
            output.status("1 s behind").unwrap();
            output.line("a line\n").unwrap();
            output.status("").unwrap();
            String::from_utf8(writer.lock().clone()).unwrap()
        };
        assert_eq!(drawn(true), "\r\x1b[K1 s behind\r\x1b[Ka line\n1 s behind\r\x1b[K");
        assert_eq!(drawn(false), "a line\n");
    }

    struct Shown(Arc<Mutex<Vec<u8>>>);

    impl Write for Shown {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn fields_stand_behind_the_message() {
        let fields = Fields { message: "applied \"x\"".into(), others: vec![("rows", Value::from(3))] };
        let line = json_line(Level::INFO, &fields);
        assert!(line.starts_with("{\"level\":\"info\",\"time\":\""), "{line}");
        assert!(line.ends_with(",\"message\":\"applied \\\"x\\\"\",\"rows\":3}\n"), "{line}");
    }

    #[test]
    fn a_list_of_findings_has_lines_on_a_console() {
        let mut others = vec![(CODE, Value::from("EBB-K001")), ("hint", Value::from("1) mend\n2) drop"))];
        let line = |others: &[_]| {
            let fields = Fields { message: "2 findings:\n1) a\n2) b".into(), others: others.to_vec() };
            console_line(Level::ERROR, &fields)
        };
        assert!(line(&others).ends_with(" error [EBB-K001] 2 findings:\n1) a\n2) b\nhint:\n1) mend\n2) drop\n"));
        others[0].1 = "EBB-K002".into();
        assert_eq!(line(&others).lines().count(), 1);
    }

    #[test]
    fn no_text_makes_a_line_of_its_own_or_steers_a_terminal() {
        let forged = "no table t\n12:00:00 error all is lost\u{1b}[2J\u{9b}1m\u{202e}";
        let fields = Fields { message: forged.into(), others: vec![("path", Value::from(forged))] };
        for line in [json_line(Level::WARN, &fields), console_line(Level::WARN, &fields)] {
            assert_eq!(line.chars().filter(|letter| steers(*letter)).count(), 1, "{line:?}");
            assert!(line.ends_with('\n'));
        }
        let line: Value = serde_json::from_str(&json_line(Level::WARN, &fields)).unwrap();
        assert_eq!((&line["message"], &line["path"]), (&Value::from(forged), &Value::from(forged)));
    }
}
