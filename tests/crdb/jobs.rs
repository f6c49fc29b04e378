//! The changefeed jobs of one database: starts feeds, and turns what clients ask for into what is.
//!
//! Does not own: the feed itself (`feed`), and the statements that ask (`schema/jobs.sql`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use crate::feed::{self, Job, Outcome};
use crate::{Shared, schema};

const POLL: Duration = Duration::from_millis(20);
const RECONNECT: Duration = Duration::from_millis(200);
const GARBAGE_INTERVAL: Duration = Duration::from_secs(60);

/// With the error that was injected into a job.
const ACTIVE: &str = "SELECT id, status, message FROM crdb_internal.job \
     LEFT JOIN crdb_internal.failure ON failure.job = id WHERE status IN ('running', 'pause-requested', 'cancel-requested')";
const READ: &str =
    "SELECT id, spec::text, relations, topics, start_tick, high_water FROM crdb_internal.job WHERE id = $1";
const PAUSED: &str = "UPDATE crdb_internal.job SET status = 'paused', modified = clock_timestamp() \
     WHERE id = $1 AND status = 'pause-requested'";
const CANCELED: &str = "UPDATE crdb_internal.job SET status = 'canceled', running_status = NULL, \
     finished = clock_timestamp(), modified = clock_timestamp() WHERE id = $1 AND status = 'cancel-requested'";
const SUCCEEDED: &str = "UPDATE crdb_internal.job SET status = 'succeeded', running_status = NULL, \
     finished = clock_timestamp(), modified = clock_timestamp() WHERE id = $1 AND status = 'running' AND $2::text = ''";
const ENDED: &str = "SELECT crdb_internal.end_changefeed($1, $2)";
const NOTE: &str = "UPDATE crdb_internal.job SET running_status = $2, modified = clock_timestamp() \
     WHERE id = $1 AND status = 'running'";

/// A task that ends with its owner.
pub(crate) struct Task(pub(crate) JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs until the database is gone. Feeds outlive a lost connection: they come back by themselves.
pub(crate) async fn supervise(shared: Arc<Shared>, database: String) {
    let mut feeds = HashMap::new();
    loop {
        if let Err(error) = serve(&shared, &database, &mut feeds).await {
            let is_gone = error.code() == Some(&SqlState::INVALID_CATALOG_NAME);
            let was_removed = error.code() == Some(&SqlState::UNDEFINED_TABLE);
            if is_gone || was_removed {
                return;
            }
        }
        sleep(RECONNECT).await;
    }
}

async fn serve(shared: &Arc<Shared>, database: &str, feeds: &mut HashMap<i64, Task>) -> Result<(), Error> {
    let client = schema::connect(&shared.backend, database).await?;
    let active = client.prepare(ACTIVE).await?;
    let mut garbage_collected = Instant::now();
    loop {
        let rows = client.query(&active, &[]).await?;
        feeds.retain(|id, feed| !feed.0.is_finished() && rows.iter().any(|row| row.get::<_, i64>(0) == *id));
        for row in rows {
            let (id, status, error): (i64, &str, Option<&str>) = (row.get(0), row.get(1), row.get(2));
            match (status, error) {
                ("running", Some(error)) => {
                    stop(feeds, id).await;
                    client.execute(ENDED, &[&id, &error]).await?;
                }
                ("running", None) if !feeds.contains_key(&id) => {
                    let task = start(shared, database, &client, id).await?;
                    feeds.extend(task.map(|task| (id, task)));
                }
                ("pause-requested", _) => {
                    stop(feeds, id).await;
                    client.execute(PAUSED, &[&id]).await?;
                }
                ("cancel-requested", _) => {
                    stop(feeds, id).await;
                    client.execute(CANCELED, &[&id]).await?;
                }
                _ => {}
            }
        }
        if garbage_collected.elapsed() > GARBAGE_INTERVAL {
            let seconds = shared.options.gc_ttl.as_secs_f64();
            client.execute("SELECT crdb_internal.collect_garbage(make_interval(secs => $1))", &[&seconds]).await?;
            garbage_collected = Instant::now();
        }
        sleep(POLL).await;
    }
}

async fn start(shared: &Arc<Shared>, database: &str, client: &Client, id: i64) -> Result<Option<Task>, Error> {
    let Some(row) = client.query_opt(READ, &[&id]).await? else { return Ok(None) };
    match Job::read(&row, shared) {
        Ok(job) => Ok(Some(Task(tokio::spawn(run(Arc::clone(shared), database.to_owned(), job))))),
        // A job of another release, say.
        Err(error) => client.execute(ENDED, &[&id, &error]).await.map(|_| None),
    }
}

/// Nothing is sent any more once this returns.
async fn stop(feeds: &mut HashMap<i64, Task>, id: i64) {
    if let Some(mut feed) = feeds.remove(&id) {
        feed.0.abort();
        let _ = (&mut feed.0).await;
    }
}

async fn run(shared: Arc<Shared>, database: String, job: Job) {
    let id = job.id;
    let (sql, text) = match feed::run(&shared, &database, job).await {
        Outcome::Succeeded => (SUCCEEDED, String::new()),
        Outcome::Failed(error) => (ENDED, error),
    };
    while update(&shared, &database, sql, id, &text).await.is_err() {
        sleep(RECONNECT).await;
    }
}

/// The present state in words. If it cannot be written now, the next try will say it.
pub(crate) async fn note(shared: &Shared, database: &str, id: i64, text: &str) {
    let _ = update(shared, database, NOTE, id, text).await;
}

async fn update(shared: &Shared, database: &str, sql: &str, id: i64, text: &str) -> Result<u64, Error> {
    schema::connect(&shared.backend, database).await?.execute(sql, &[&id, &text]).await
}
