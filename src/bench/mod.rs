//! The load generator: rates of the service beside the bounds that the machine sets, measured in
//! one run.

mod bounds;
mod load;
mod meters;

use std::{fs, time::Duration};

use serde::{Deserialize, Serialize};

pub use load::Latency;

use crate::{
    connection::Authorized,
    settings::Settings,
    store::{self, DatabaseUrl, OpenError, PostgresqlAddress, RawRows, Sent},
};

/// What is measured, and over which connections.
pub struct Plan {
    /// Connections with a credential.
    pub channels: Vec<Authorized>,
    /// A configuration under DKGA04.
    pub dkga04: Option<String>,
    /// A configuration under DKGA02.
    pub dkga02: Option<String>,
    /// How long each measurement takes.
    pub window: Duration,
    /// Clients that call one token at a time.
    pub clients: usize,
    /// How many rows a ledger gets before its bound, and a stream, are measured once more.
    pub fill: Option<u64>,
    /// The server's process.
    pub server_pid: Option<u32>,
    /// How many servers the connections go to.
    pub servers: usize,
    /// Figures of an earlier run beside which these stand.
    pub beside: Option<Report>,
}

/// All figures of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// In the order in which they were measured.
    pub figures: Vec<Figure>,
    /// What a PostgreSQL database was sent.
    #[serde(default)]
    pub statements: Vec<Statements>,
    /// The server's memory before any load.
    pub server_memory_idle_mib: Option<f64>,
    /// The server's memory at the end.
    pub server_memory_mib: Option<f64>,
    /// The most that it ever had.
    pub server_memory_peak_mib: Option<f64>,
}

/// What batches of the ledger cost in statements.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Statements {
    /// While this was measured.
    pub work: String,
    /// Statements of a batch, BEGIN and COMMIT among them, and whatever else servers sent meanwhile.
    pub a_batch: f64,
    /// Rows of a batch.
    pub rows: f64,
    /// Bytes of the write-ahead log for a row.
    pub wal_bytes: f64,
}

/// One rate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    /// Of what.
    pub work: String,
    /// In a second.
    pub rate: f64,
    /// The bound beside which it stands.
    pub bound: Option<String>,
    /// The part of that bound.
    pub share: Option<f64>,
    /// Where calls were timed.
    pub latency: Option<Latency>,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A call was refused or broke.
    #[error("{work}: {status}")]
    Call {
        /// What was measured.
        work: String,
        /// What the server said.
        status: Box<tonic::Status>,
    },
    /// The HSM's own bound cannot be measured.
    #[error("the HSM: {0}")]
    Hsm(#[from] crate::hsm::HsmError),
    /// The disk's own bound cannot be measured.
    #[error("the ledger: {0}")]
    Ledger(String),
}

const RPC: &str = "an RPC that does nothing";
const HMAC: &str = "raw HSM, HMAC by a key of the token (DKGA04)";
const SESSION_HMAC: &str = "raw HSM, HMAC by a key of a session";
const DES: &str = "raw HSM, DES and mask (DKGA02)";
const SYNC: &str = "a sync of the disk";
const ROWS: &str = "raw durable ledger rows";
const UNNEST: &str = "raw durable rows of this PostgreSQL by unnest";
const COPY: &str = "raw durable rows of this PostgreSQL by COPY";
const EMPTY_ROWS: &str = "the same in new ledgers, alternating with a grown one";

/// Measures everything that the plan allows.
///
/// # Errors
/// [`BenchError`]: a run in which anything is refused has no figures.
pub async fn run(plan: &Plan, settings: Option<&Settings>) -> Result<Report, BenchError> {
    let mut figures = Figures { all: Vec::new(), beside: plan.beside.clone() };
    let mut statements = Vec::new();
    let address = settings.and_then(|settings| match &settings.store.url {
        DatabaseUrl::Postgresql(address) => Some(address.as_ref()),
        DatabaseUrl::Sqlite(_) => None,
    });
    let memory = |line| plan.server_pid.and_then(|pid| memory_mib(pid, line));
    let server_memory_idle_mib = memory("VmRSS:");
    if let Some(settings) = settings {
        let dkga04 = match plan.dkga04.as_deref() {
            Some(name) => Some((name, load::key_check_value(plan, name).await?)),
            None => None,
        };
        let rates = bounds::hsm(&settings.hsm, dkga04, plan.window).await?;
        if let Some(hmac) = rates.token_hmac {
            figures.add(HMAC, hmac, None, None);
        }
        figures.add(SESSION_HMAC, rates.session_hmac, None, None);
        figures.add(DES, rates.des, None, None);
        let syncs =
            bounds::disk(settings, plan.window).map_err(|error| BenchError::Ledger(error.to_string()))?;
        figures.add(SYNC, syncs.rate, None, Some(syncs.latency));
    }
    if let Some(address) = address {
        // Connections as many as servers, which have one each that writes.
        let connections = u32::try_from(plan.servers.max(1)).unwrap_or(1);
        for (name, way) in [(UNNEST, RawRows::Unnest), (COPY, RawRows::Copy)] {
            let rate = apart(|| store::raw_rows(address, way, connections, plan.window))?;
            figures.add(name, rate, None, None);
        }
    } else if let Some(settings) = settings {
        let (empty, grown) = bounds::ledger(settings, plan.window, plan.fill).await?;
        figures.add(ROWS, empty, None, None);
        if let Some((grown, fill)) = grown.zip(plan.fill) {
            figures.add(EMPTY_ROWS, grown.empty, None, None);
            figures.add(&format!("the same on top of {fill} rows"), grown.on_top, Some(EMPTY_ROWS), None);
        }
    }
    let nothing = load::nothing(plan).await?;
    figures.add(RPC, nothing.rate, None, Some(nothing.latency));
    let rows = if address.is_some() { UNNEST } else { ROWS };
    for (name, configuration, bound) in [("DKGA04", &plan.dkga04, HMAC), ("DKGA02", &plan.dkga02, rows)] {
        let Some(configuration) = configuration else { continue };
        let unary = load::unary(plan, configuration, None).await?;
        let work = format!("unary, {} clients, {name}", plan.clients);
        figures.add(&work, unary.rate, Some(RPC), Some(unary.latency));
        let json = load::unary_in_json(plan, configuration).await?;
        figures.add(
            &format!("the same over HTTP with JSON, {name}"),
            json.rate,
            Some(&work),
            Some(json.latency),
        );
        let half = load::unary(plan, configuration, Some(unary.rate / 2.0)).await?;
        figures.add(&format!("unary at half load, {name}"), half.rate, None, Some(half.latency));
        sent(address)?;
        let (work, batch) = (format!("batch, {name}"), load::batch(plan, configuration).await?);
        statements.extend(sent(address)?.map(|sent| Statements::of(&work, sent)));
        figures.add(&work, batch.rate, Some(bound), Some(batch.latency));
        let (work, stream) = (format!("stream, {name}"), load::stream(plan, configuration, 0).await?);
        statements.extend(sent(address)?.map(|sent| Statements::of(&work, sent)));
        figures.add(&work, stream, Some(bound), None);
    }
    if let Some((fill, configuration)) = plan.fill.zip(plan.dkga02.as_ref()) {
        load::stream(plan, configuration, fill).await?;
        let full = load::stream(plan, configuration, 0).await?;
        figures.add(&format!("stream, DKGA02, on top of {fill} tokens"), full, Some("stream, DKGA02"), None);
    }
    Ok(Report {
        server_memory_idle_mib,
        server_memory_mib: memory("VmRSS:"),
        server_memory_peak_mib: memory("VmHWM:"),
        figures: figures.all,
        statements,
    })
}

/// Runs it where it may wait.
fn apart<T: Send>(work: impl FnOnce() -> Result<T, OpenError> + Send) -> Result<T, BenchError> {
    tokio::task::block_in_place(work).map_err(|error| BenchError::Ledger(error.to_string()))
}

/// What the database was sent since the last call, where it counts that.
fn sent(address: Option<&PostgresqlAddress>) -> Result<Option<Sent>, BenchError> {
    match address {
        Some(address) => apart(|| store::statements_sent(address)),
        None => Ok(None),
    }
}

impl Statements {
    fn of(work: &str, sent: Sent) -> Self {
        let batches = (sent.batches as f64).max(1.0);
        let (a_batch, rows) = (sent.statements as f64 / batches, sent.rows as f64 / batches);
        let wal_bytes = sent.wal_bytes as f64 / (sent.rows as f64).max(1.0);
        Self { work: work.to_owned(), a_batch, rows, wal_bytes }
    }
}

/// Figures as they come in.
struct Figures {
    all: Vec<Figure>,
    beside: Option<Report>,
}

impl Figures {
    fn add(&mut self, work: &str, rate: f64, bound: Option<&str>, latency: Option<Latency>) {
        let of = |figures: &[Figure], work: &str| {
            figures.iter().find(|figure| figure.work == work).map(|figure| figure.rate)
        };
        let earlier = self.beside.as_ref().and_then(|report| of(&report.figures, work));
        let (beside, bound) = match earlier {
            Some(rate) => (Some(rate), Some("the same of the run before")),
            None => (bound.and_then(|bound| of(&self.all, bound)), bound),
        };
        let share = beside.filter(|beside| *beside > 0.0).map(|beside| rate / beside);
        let bound = share.and(bound).map(str::to_owned);
        self.all.push(Figure { work: work.to_owned(), rate, bound, share, latency });
    }
}

/// A line of `/proc/PID/status`, which counts in KiB.
fn memory_mib(pid: u32, line: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = status.lines().find_map(|text| text.strip_prefix(line))?;
    kib.split_whitespace().next()?.parse::<f64>().ok().map(|kib| kib / 1024.0)
}
