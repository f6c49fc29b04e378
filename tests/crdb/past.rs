//! Puts in the place of `crdb_internal.as_of(NULL::t, time)`, which reads all versions of all rows, what the planner can
//! see through, wherever the backend says that it may; see `schema/past.sql`. And before a statement is sent, waits
//! until all that was committed up to its time is visible.
//!
//! Does not own: which tables of a statement are read in the past (`as_of`).

use std::sync::Arc;

use tokio_postgres::Client;

use crate::lex::{self, Kind, Token, identifier};
use crate::rewrite::{self, Edit};
use crate::{Server, schema};

const CALL: &str = "crdb_internal.as_of(NULL::";
const FIND: &str = "SELECT crdb_internal.past_table($1, $2, $3, $4)";

/// A session's second connection, opened when the session first needs it.
pub(crate) struct Past {
    server: Arc<Server>,
    database: String,
    user: String,
    /// Of the session's own connection.
    process: i32,
    client: Option<Client>,
}

impl Past {
    pub(crate) fn new(server: &Arc<Server>, database: String, user: String, key: &[u8]) -> Past {
        let process = key.first_chunk().map_or(0, |process| i32::from_be_bytes(*process));
        Past { server: Arc::clone(server), database, user, process, client: None }
    }

    /// Whatever cannot be found out stays as it is, which is slower and not wrong.
    pub(crate) async fn plan(&mut self, sql: String) -> String {
        if !sql.contains(CALL) {
            return sql;
        }
        let mut edits = Vec::new();
        for call in calls(&sql) {
            match self.table(&call).await {
                Ok(Some(text)) => edits.push(Edit { start: call.start, end: call.end, text }),
                Ok(None) => {}
                Err(_) => self.client = None,
            }
        }
        rewrite::apply(&sql, edits)
    }

    async fn table(&mut self, call: &Call) -> Result<Option<String>, tokio_postgres::Error> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(schema::connect(&self.server.shared.backend, &self.database).await?),
        };
        let row = client.query_one(FIND, &[&call.table, &call.time, &self.user, &self.process]).await?;
        Ok(row.get(0))
    }
}

/// Where a call stands, and its arguments.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    start: usize,
    end: usize,
    table: String,
    time: String,
}

/// Those with a table's full name: what others mean depends on the session.
fn calls(sql: &str) -> Vec<Call> {
    let tokens = lex::tokens(sql);
    (0..tokens.len()).filter_map(|at| call(&tokens[at..])).collect()
}

/// `crdb_internal.as_of(NULL::"schema"."table", 'time')`, as `as_of` writes it.
fn call(tokens: &[Token<'_>]) -> Option<Call> {
    let [internal, dot, as_of, open, null, colon, colon_too, schema, dot_too, table, comma, time, close, ..] = tokens
    else {
        return None;
    };
    let symbols = [(dot, '.'), (open, '('), (colon, ':'), (colon_too, ':'), (dot_too, '.'), (comma, ','), (close, ')')];
    let is_call = internal.is("crdb_internal") && as_of.is("as_of") && null.is("NULL") && time.kind == Kind::Text;
    if !is_call || !symbols.iter().all(|(token, symbol)| token.is_symbol(*symbol)) {
        return None;
    }
    let table = format!("{}.{}", identifier(&schema.name()?), identifier(&table.name()?));
    Some(Call { start: internal.start, end: close.end(), table, time: time.string()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_with_full_names_are_found() {
        let sql = "SELECT 'crdb_internal.as_of(NULL::a.b, ''1'')' \
                   FROM crdb_internal.as_of(NULL::\"s\".\"T\", '17.1') x, crdb_internal.as_of(NULL::\"t\", '17.1') y";
        let found = calls(sql);
        let [Call { start, end, table, time }] = &found[..] else { panic!("{found:?}") };
        assert_eq!(&sql[*start..*end], "crdb_internal.as_of(NULL::\"s\".\"T\", '17.1')");
        assert_eq!((table.as_str(), time.as_str()), ("\"s\".\"T\"", "17.1"));
    }
}
