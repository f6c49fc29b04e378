//! `ALTER CHANGEFEED`: its grammar, and which options it may change.
//!
//! Does not own: that the job is paused, and the change itself (`schema/orders.sql`).

use serde_json::json;

use crate::address::{self, Address};
use crate::cursor::Cursor;
use crate::failure::Failure;
use crate::lex::literal;
use crate::options::{self, Options};
use crate::tls;
use crate::version::Version;

/// Options that stay what they were. The wording of the error is from memory.
const FIXED: [&str; 3] = ["cursor", "end_time", "full_table_name"];

/// The cursor stands behind `ALTER CHANGEFEED`.
pub(crate) fn rewrite(cursor: &mut Cursor<'_>, version: &Version) -> Result<String, Failure> {
    let id = cursor.next().ok_or_else(|| Failure::syntax("EOF"))?.text;
    let (mut set, mut unset) = (Options::new(), Vec::new());
    while !cursor.is_at_end() {
        if cursor.accept(&["SET"]) {
            loop {
                let name = name(cursor)?;
                let value = if cursor.accept_symbol('=') { Some(cursor.value()?) } else { None };
                set.insert(name, value);
                if !cursor.accept_symbol(',') {
                    break;
                }
            }
        } else if cursor.accept(&["UNSET"]) {
            loop {
                unset.push(name(cursor)?);
                if !cursor.accept_symbol(',') {
                    break;
                }
            }
        } else {
            return Err(Failure::unsupported("ALTER CHANGEFEED with ADD or DROP"));
        }
    }
    let sink = set.remove("sink").flatten();
    if let Some(fixed) = set.keys().chain(&unset).find(|name| FIXED.contains(&name.as_str())) {
        return Err(Failure::uncategorized(format!("cannot alter option \"{fixed}\"")));
    }
    options::check_names(&set, version)?;
    options::check(&set, version)?;
    let sink = match sink {
        None => json!({}),
        Some(sink) => {
            tls::client_config(&Address::parse(&sink)?).map(drop)?;
            json!({ "sink": sink, "sink_redacted": address::redacted(&sink) })
        }
    };
    let changes = json!({ "set": set, "unset": unset, "sink": sink });
    Ok(format!(
        "SELECT job_id, job_description FROM crdb_internal.alter_changefeed({id}, {}::jsonb)",
        literal(&changes.to_string())
    ))
}

fn name(cursor: &mut Cursor<'_>) -> Result<String, Failure> {
    let token = cursor.next().ok_or_else(|| Failure::syntax("EOF"))?;
    token.name().or_else(|| token.string()).ok_or_else(|| Failure::syntax(token.text))
}
