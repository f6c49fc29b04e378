//! The tasks of a run that go on until it ends: one that ends by itself ends the run.
//!
//! Owns: their names, and ending all of them. Does not own: threads (`threads`), and tasks that come and go with connections
//! (`receive/connection`).

use std::collections::HashMap;
use std::future::pending;

use tokio::task::{Id, JoinSet};

use crate::code;
use crate::error::Error;

/// Of a defect.
pub(super) const AGAIN: &str = "start again: no acknowledged row was lost; report this with the log lines above";

/// Everything that was started.
#[derive(Default)]
pub(super) struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    pub(super) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.set.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Comes back only when one has ended, which none should.
    pub(super) async fn ended(&mut self) -> Error {
        let (id, how) = match self.set.join_next_with_id().await {
            Some(Ok((id, ()))) => (id, "has ended by itself".to_owned()),
            Some(Err(error)) => (error.id(), format!("has broken off: {error}")),
            None => pending().await,
        };
        let name = self.names.get(&id).unwrap_or(&"?");
        Error::new(code::defect::TASK_ENDED, format!("the task {name} {how}")).hint(AGAIN)
    }

    /// Ends all of them, and waits until nothing of them runs any more.
    pub(super) async fn close(&mut self) {
        self.set.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_is_heard_of_by_name() {
        let mut tasks = Tasks::default();
        tasks.spawn("quiet", pending());
        tasks.spawn("short", async {});
        assert!(tasks.ended().await.message.contains("the task short has ended by itself"));
        tasks.spawn("broken", async { panic!("on purpose") });
        let error = tasks.ended().await;
        assert!(error.message.contains("the task broken has broken off"), "{error}");
        tasks.close().await;
    }
}
