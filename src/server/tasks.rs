//! The tasks of a server, supervised: none of them ends before the server does, and one that does
//! is said and ends the server.

use std::{any::Any, collections::HashMap, future::pending};

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::metrics;

/// Tasks that run as long as the server does.
#[derive(Default)]
pub(super) struct Tasks {
    running: JoinSet<()>,
    tasks: HashMap<Id, Task>,
}

struct Task {
    name: &'static str,
    handle: AbortHandle,
    /// Whether it sees by itself that the server ends. Others are cut off then.
    ends: bool,
}

/// A task that ended before its time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the task `{name}` {how}")]
pub struct TaskEnded {
    name: &'static str,
    how: String,
}

impl Tasks {
    /// Runs a task that may be cut off anywhere when the server ends.
    pub(super) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.add(name, task, false);
    }

    /// Runs a task that sees by itself that the server ends, and is waited for then.
    pub(super) fn spawn_until_end(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.add(name, task, true);
    }

    fn add(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static, ends: bool) {
        let handle = self.running.spawn(task);
        self.tasks.insert(handle.id(), Task { name, handle, ends });
    }

    /// Waits for the first task that ends, which none should while the server runs. It may be cut
    /// off and asked again.
    pub(super) async fn ended(&mut self) -> TaskEnded {
        match self.running.join_next_with_id().await {
            Some(ended) => self.told(ended),
            None => pending().await,
        }
    }

    /// Cuts off the tasks that do not end by themselves, and waits for the others. Answers the
    /// first that panicked.
    pub(super) async fn finish(mut self) -> Option<TaskEnded> {
        for task in self.tasks.values().filter(|task| !task.ends) {
            task.handle.abort();
        }
        let mut panicked = None;
        while let Some(ended) = self.running.join_next_with_id().await {
            if ended.as_ref().is_err_and(JoinError::is_panic) {
                let told = self.told(ended);
                panicked = panicked.or(Some(told));
            }
        }
        panicked
    }

    /// Says loudly which task ended, and how.
    fn told(&mut self, ended: Result<(Id, ()), JoinError>) -> TaskEnded {
        let (id, how) = match ended {
            Ok((id, ())) => (id, "ended, and should not while the server runs".to_owned()),
            Err(error) => (error.id(), format!("panicked: {}", panic_text(error))),
        };
        let name = self.tasks.remove(&id).map_or("of no name", |task| task.name);
        let ended = TaskEnded { name, how };
        metrics::alarm("task_ended", "");
        tracing::error!(alarm = "task_ended", task = name, "{ended}");
        ended
    }
}

/// What a panic said, where it said a text.
fn panic_text(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was cut off".to_owned() };
    let panic: &(dyn Any + Send) = panic.as_ref();
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text").to_owned()
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_or_ends_is_seen_and_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("lives", pending());
        let (go, gone) = oneshot::channel::<()>();
        tasks.spawn("panics", async { assert!(gone.await.is_err(), "a test") });
        tasks.spawn("ends", async {});
        let ended = tasks.ended().await;
        assert_eq!(ended.to_string(), "the task `ends` ended, and should not while the server runs");
        go.send(()).unwrap();
        let panicked = tasks.ended().await;
        assert_eq!(panicked.to_string(), "the task `panics` panicked: a test");
        assert_eq!(tasks.finish().await, None, "what is cut off at the end is no failure");
    }

    #[tokio::test]
    async fn what_ends_by_itself_is_waited_for() {
        let mut tasks = Tasks::default();
        let (end, mut ended) = oneshot::channel::<()>();
        let (done, mut was_done) = oneshot::channel();
        tasks.spawn("cut off", pending());
        tasks.spawn_until_end("ends by itself", async move {
            let _ = (&mut ended).await;
            tokio::task::yield_now().await;
            let _ = done.send(());
        });
        end.send(()).unwrap();
        assert_eq!(tasks.finish().await, None);
        assert_eq!(was_done.try_recv(), Ok(()));
        let mut tasks = Tasks::default();
        tasks.spawn_until_end("fails at the end", async { assert_eq!(1, 2, "the last write") });
        let failed = tasks.finish().await.unwrap().to_string();
        assert!(
            failed.contains("`fails at the end` panicked") && failed.contains("the last write"),
            "{failed}"
        );
    }
}
