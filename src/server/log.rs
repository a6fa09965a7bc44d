//! The log, to standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::settings::LogSettings;

/// Starts it; the filter was checked with the settings.
pub(super) fn start(settings: &LogSettings) {
    let filter = EnvFilter::new(&settings.filter);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // It would be told on standard error, which is what fails.
        .log_internal_errors(false);
    // A second start in one process keeps the first log.
    let _ = if settings.json { log.json().try_init() } else { log.try_init() };
}
