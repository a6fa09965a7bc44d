//! The load generator: rates of the service beside the bounds that the machine sets, measured by
//! turns in one run.

mod bounds;
mod load;
mod meters;
mod processor;
mod report;

use std::{fs, time::Duration};

pub use processor::{Cost, Machine};
pub use report::{Figure, Latency, Report, Statements};

use self::{processor::Watched, report::Figures};

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
    /// How often everything is measured.
    pub rounds: u32,
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

/// What a token costs where nothing stands between its parts, by the processor's time of each.
const PARTS_DKGA04: &str = "its parts alone: that RPC, an HMAC, a row";
const PARTS_DKGA02: &str = "its parts alone: that RPC, DES and mask, a row";

/// Measures everything that the plan allows, all of it in each round, so that what the machine does
/// besides meets every figure alike.
///
/// # Errors
/// [`BenchError`]: a run in which anything is refused has no figures.
pub async fn run(plan: &Plan, settings: Option<&Settings>) -> Result<Report, BenchError> {
    let memory = |line| plan.server_pid.and_then(|pid| memory_mib(pid, line));
    let server_memory_idle_mib = memory("VmRSS:");
    let machine = Watched::begin();
    for configuration in [&plan.dkga04, &plan.dkga02].into_iter().flatten() {
        // What a server does for the first time it does more slowly.
        load::unary(plan, configuration, None).await?;
    }
    let (mut figures, mut statements) = (Figures::default(), Vec::new());
    for round in 1..=plan.rounds.max(1) {
        tracing::info!(round, of = plan.rounds, "measuring");
        statements = measure(plan, settings, &mut figures).await?;
    }
    figures.add_sum_of_parts(PARTS_DKGA04, &[HMAC, ROWS, RPC]);
    figures.add_sum_of_parts(PARTS_DKGA02, &[DES, ROWS, RPC]);
    fill(plan, settings, &mut figures).await?;
    Ok(Report {
        machine: Some(machine.end()),
        server_memory_idle_mib,
        server_memory_mib: memory("VmRSS:"),
        server_memory_peak_mib: memory("VmHWM:"),
        figures: figures.finish(plan.beside.as_ref()),
        statements,
    })
}

/// One round: the machine's own bounds, then the service. Answers what the database was sent.
async fn measure(
    plan: &Plan,
    settings: Option<&Settings>,
    figures: &mut Figures,
) -> Result<Vec<Statements>, BenchError> {
    let address = settings.and_then(postgresql);
    if let Some(settings) = settings {
        measure_bounds(plan, settings, figures).await?;
    }
    figures.add(RPC, None, load::nothing(plan).await?);
    let mut statements = Vec::new();
    let rows = if address.is_some() { UNNEST } else { ROWS };
    for (name, configuration, parts, bound) in
        [("DKGA04", &plan.dkga04, PARTS_DKGA04, HMAC), ("DKGA02", &plan.dkga02, PARTS_DKGA02, rows)]
    {
        let Some(configuration) = configuration else { continue };
        let unary = load::unary(plan, configuration, None).await?;
        let work = format!("unary, {} clients, {name}", plan.clients);
        figures.add(&work, Some(if address.is_some() { RPC } else { parts }), unary);
        let json = load::unary_in_json(plan, configuration).await?;
        figures.add(&format!("the same over HTTP with JSON, {name}"), Some(&work), json);
        let half = Some(unary.rate / 2.0);
        figures.add(
            &format!("{RPC}, at that half load, {name}"),
            None,
            load::paced_nothing(plan, half).await?,
        );
        figures.add(
            &format!("unary at half load, {name}"),
            None,
            load::unary(plan, configuration, half).await?,
        );
        sent(address)?;
        let work = format!("batch, {name}");
        figures.add(&work, Some(bound), load::batch(plan, configuration).await?);
        statements.extend(sent(address)?.map(|sent| Statements::of(&work, sent)));
        let work = format!("stream, {name}");
        figures.add(&work, Some(bound), load::stream(plan, configuration, 0).await?);
        statements.extend(sent(address)?.map(|sent| Statements::of(&work, sent)));
    }
    Ok(statements)
}

/// What this machine's HSM, disk and database do for themselves.
async fn measure_bounds(plan: &Plan, settings: &Settings, figures: &mut Figures) -> Result<(), BenchError> {
    let dkga04 = match plan.dkga04.as_deref() {
        Some(name) => Some((name, load::key_check_value(plan, name).await?)),
        None => None,
    };
    let rates = bounds::hsm(&settings.hsm, dkga04, plan.window).await?;
    if let Some(hmac) = rates.token_hmac {
        figures.add(HMAC, None, hmac);
    }
    figures.add(SESSION_HMAC, None, rates.session_hmac);
    figures.add(DES, None, rates.des);
    let syncs = bounds::disk(settings, plan.window).map_err(|error| BenchError::Ledger(error.to_string()))?;
    figures.add(SYNC, None, syncs);
    let Some(address) = postgresql(settings) else {
        figures.add(ROWS, None, bounds::ledger(settings, plan.window).await?);
        return Ok(());
    };
    // Connections as many as servers, which have one each that writes.
    let connections = u32::try_from(plan.servers.max(1)).unwrap_or(1);
    for (name, way) in [(UNNEST, RawRows::Unnest), (COPY, RawRows::Copy)] {
        figures.add(name, None, apart(|| store::raw_rows(address, way, connections, plan.window))?);
    }
    Ok(())
}

/// The ledger, and a stream, on top of many rows.
async fn fill(plan: &Plan, settings: Option<&Settings>, figures: &mut Figures) -> Result<(), BenchError> {
    let Some(fill) = plan.fill else { return Ok(()) };
    if let Some(settings) = settings.filter(|settings| postgresql(settings).is_none()) {
        bounds::grown(settings, plan.window, fill, |on_top, rate| {
            let on_top_of = format!("the same on top of {fill} rows");
            match on_top {
                false => figures.add(EMPTY_ROWS, None, rate),
                true => figures.add(&on_top_of, Some(EMPTY_ROWS), rate),
            }
        })
        .await?;
    }
    if let Some(configuration) = &plan.dkga02 {
        load::stream(plan, configuration, fill).await?;
        for _ in 0..plan.rounds.max(1) {
            let full = load::stream(plan, configuration, 0).await?;
            figures.add(&format!("stream, DKGA02, on top of {fill} tokens"), Some("stream, DKGA02"), full);
        }
    }
    Ok(())
}

fn postgresql(settings: &Settings) -> Option<&PostgresqlAddress> {
    match &settings.store.url {
        DatabaseUrl::Postgresql(address) => Some(address.as_ref()),
        DatabaseUrl::Sqlite(_) => None,
    }
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

/// A line of `/proc/PID/status`, which counts in KiB.
fn memory_mib(pid: u32, line: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = status.lines().find_map(|text| text.strip_prefix(line))?;
    kib.split_whitespace().next()?.parse::<f64>().ok().map(|kib| kib / 1024.0)
}
