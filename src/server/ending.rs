//! How a server ends: it says that it does not serve any more while it still does, so that
//! balancers can look elsewhere; then it lets the running calls end.

use std::time::Duration;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::timeout,
};

use super::ServeError;

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Nobody has asked for an end.
    Serving,
    /// All is served, and health says NOT_SERVING.
    Draining,
    /// No new calls.
    Ending,
    /// No call runs any more: what is to be kept of them is written.
    Closing,
}

/// What asks for the end.
pub(super) struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl EndSignals {
    /// Takes SIGTERM and SIGINT from now on.
    pub(super) fn taken() -> Result<Self, ServeError> {
        Ok(Self {
            terminate: handler(SignalKind::terminate())?,
            interrupt: handler(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits until no new calls are to be taken: the first signal begins the end, the second one
    /// shortens it.
    pub(super) async fn lead(&mut self, stage: &watch::Sender<Stage>, drain: Duration) {
        self.next().await;
        stage.send_replace(Stage::Draining);
        if !drain.is_zero() {
            tracing::info!("health says NOT_SERVING; new calls are taken for {drain:?} more");
            let _ = timeout(drain, self.next()).await;
        }
        tracing::info!("no new calls; waiting for the running ones");
    }
}

/// The handler of a signal.
pub(super) fn handler(kind: SignalKind) -> Result<Signal, ServeError> {
    signal(kind).map_err(|error| ServeError::Stopped(error.to_string()))
}

/// Ends when the server takes no more calls.
pub(super) async fn ending(stage: &mut watch::Receiver<Stage>) {
    // Where nobody leads any more, the server ends too.
    let _ = stage.wait_for(|stage| *stage >= Stage::Ending).await;
}

/// Ends when no call runs any more.
pub(super) async fn closing(stage: &mut watch::Receiver<Stage>) {
    let _ = stage.wait_for(|stage| *stage == Stage::Closing).await;
}
