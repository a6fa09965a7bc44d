//! `vendkey bench`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use super::{
    connection::Connection,
    output::{self, Failure},
    whole_file,
};
use crate::{
    bench::{self, Plan, Report, Statements},
    settings::Settings,
};

#[derive(Args)]
#[command(
    after_help = "Example: vendkey bench --dkga04 configurations/4f... --dkga02 configurations/9a... --settings vendkey.toml

Issues tokens for made-up meters as fast as the server takes them, for some seconds in each way, and prints each rate beside the bound
that this machine sets. The tokens stay in the ledger: never run it against a server that vends. `make bench` starts a server for it."
)]
pub(super) struct Arguments {
    /// A configuration under DKGA04
    #[arg(long, value_name = "NAME")]
    dkga04: Option<String>,
    /// A configuration under DKGA02
    #[arg(long, value_name = "NAME")]
    dkga02: Option<String>,
    /// How long each measurement takes
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How often everything is measured, by turns; the table shows medians
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Clients that call one token at a time
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Settings of the server's HSM and disk: measures their own bounds too
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Measures the ledger, and a stream, once more on top of this number of rows
    #[arg(long, value_name = "ROWS", requires = "settings")]
    fill: Option<u64>,
    /// The server's process: its memory is read too
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Another server of the same database; may be given more than once
    #[arg(long, value_name = "ENDPOINT")]
    also: Vec<String>,
    /// The JSON of an earlier run: each figure stands beside the one of the same work
    #[arg(long, value_name = "FILE")]
    beside: Option<PathBuf>,
    /// Where the figures go as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

/// Connections over which the clients spread.
const CONNECTIONS: usize = 8;

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let settings = match &self.settings {
            Some(file) => Some(Settings::load(file).map_err(Failure::settings)?),
            None => None,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::runtime)?;
        let report = runtime.block_on(self.measure(settings))?;
        let json = serde_json::to_string_pretty(&report).map_err(|error| Failure::text(error.to_string()))?;
        if let Some(file) = &self.report {
            whole_file::put(file, 0o666, &json)
                .map_err(|error| Failure::created("--report", file, &error))?;
        }
        if self.connection.json {
            output::print_text(json)?;
        } else {
            output::print_text(table(&report))?;
        }
        Ok(())
    }

    async fn measure(&self, settings: Option<Settings>) -> Result<Report, Failure> {
        let mut channels = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            channels.push(self.connection.open().await?);
            for endpoint in &self.also {
                channels.push(self.connection.open_at(endpoint).await?);
            }
        }
        let beside = self.beside.as_ref().map(|file| earlier(file)).transpose()?;
        let plan = Plan {
            channels,
            dkga04: self.dkga04.clone(),
            dkga02: self.dkga02.clone(),
            window: Duration::from_secs(self.seconds.max(1)),
            rounds: self.rounds.max(1),
            clients: self.clients.max(1),
            fill: self.fill,
            server_pid: self.server_pid,
            servers: self.also.len() + 1,
            beside,
        };
        bench::run(&plan, settings.as_ref()).await.map_err(|error| Failure::text(error.to_string()))
    }
}

/// The figures of an earlier run.
fn earlier(file: &Path) -> Result<Report, Failure> {
    let text = fs::read_to_string(file).map_err(|error| Failure::file("--beside", file, &error))?;
    serde_json::from_str(&text).map_err(|error| Failure::data("--beside", file, error))
}

fn table(report: &Report) -> String {
    let rows = report.figures.iter().map(|figure| {
        let several = figure.lowest < figure.highest;
        [
            figure.work.clone(),
            format!("{:.0}", figure.rate),
            if several { format!("{:.0} to {:.0}", figure.lowest, figure.highest) } else { String::new() },
            figure.bound.clone().unwrap_or_default(),
            figure.share.map(|share| format!("{:.0} %", share * 100.0)).unwrap_or_default(),
            figure
                .latency
                .map(|l| format!("{:.2} / {:.2} / {:.2}", l.p50_ms, l.p99_ms, l.p999_ms))
                .unwrap_or_default(),
            figure.cost.map(|cost| format!("{:.1} + {:.1}", cost.client, cost.server)).unwrap_or_default(),
            figure.cost.map(|cost| format!("{:.0} %", cost.busy * 100.0)).unwrap_or_default(),
        ]
    });
    let table = output::table(
        [
            "work",
            "per second",
            "of all rounds",
            "beside",
            "share",
            "ms: p50 / p99 / p99.9",
            "µs: client + server",
            "busy",
        ],
        rows,
    );
    let memory = report.server_memory_mib.map(|mib| {
        format!(
            "\nthe server's memory: {:.0} MiB idle, {mib:.0} MiB now, at most {:.0} MiB",
            report.server_memory_idle_mib.unwrap_or(mib),
            report.server_memory_peak_mib.unwrap_or(mib)
        )
    });
    let statements = report.statements.iter().map(|statements| {
        let Statements { work, a_batch, rows, wal_bytes } = statements;
        format!(
            "\n{work}: {a_batch:.1} statements for a batch of {rows:.0} rows, {wal_bytes:.0} bytes of the \
             write-ahead log for a row"
        )
    });
    let machine = report.machine.map(|machine| {
        format!(
            "\nthe machine: {} processors, load average {:.2} before, {:.1} % stolen by its host meanwhile",
            machine.processors,
            machine.load_average,
            machine.stolen * 100.0
        )
    });
    let (memory, machine) = (memory.unwrap_or_default(), machine.unwrap_or_default());
    format!("{table}{}{memory}{machine}", statements.collect::<String>())
}
