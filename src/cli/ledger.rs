//! `vendkey ledger`.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand, ValueEnum};

use super::{
    connection::Connection,
    ledger_seed::Seed,
    output::{self, Failure},
    whole_file::WholeFile,
};
use crate::{
    api::v1::{
        AcceptClockRequest, AcceptRestoreRequest, GetLedgerStateRequest, IssuedToken, LedgerState,
        ListIssuedTokensRequest, LowerLastTidRequest, ledger_service_client::LedgerServiceClient,
        token_service_client::TokenServiceClient,
    },
    table::{self, defused},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Whether anything is issued now, and why not
    State(Connection),
    /// Write the ledger's rows as CSV or JSON lines
    Export(Box<Export>),
    /// Raise the last token identifiers of meters that another system served
    Seed(Seed),
    /// Believe the server's clock after a jump or a long pause
    AcceptClock(Connection),
    /// Go on with a database that was restored from a backup, or whose ledger does not hold
    AcceptRestore(Connection),
    /// Lower the last token identifier of a meter that was seeded too high
    LowerTid(LowerTid),
}

#[derive(Args)]
#[command(
    after_help = "Example: vendkey ledger export --from 2026-11-01T00:00:00Z --format jsonl > november.jsonl"
)]
pub(super) struct Export {
    /// How to write rows
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Where to; standard output if not given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only this meter: 18 digits
    #[arg(long, value_name = "PAN", default_value = "", value_parser = super::token::meter_number)]
    meter: String,
    /// Only under this configuration
    #[arg(long, value_name = "NAME", default_value = "")]
    configuration: String,
    /// Only of this client
    #[arg(long, value_name = "NAME", default_value = "")]
    client: String,
    /// Only of this class
    #[arg(long)]
    class: Option<u32>,
    /// Issued at or after
    #[arg(long, value_name = "TIME")]
    from: Option<jiff::Timestamp>,
    /// Issued before
    #[arg(long, value_name = "TIME")]
    until: Option<jiff::Timestamp>,
    /// With the digits of the tokens: of your own only
    #[arg(long)]
    digits: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
}

#[derive(Args)]
#[command(
    after_help = "Example: vendkey ledger lower-tid --meter 600727475001502312 --base-date 2014 --tid 6700000

It is never set below an identifier that a token of the ledger has."
)]
pub(super) struct LowerTid {
    /// 18 digits
    #[arg(long, value_name = "PAN", value_parser = super::token::meter_number)]
    meter: String,
    /// 1993, 2014 or 2035
    #[arg(long, value_name = "YEAR")]
    base_date: u32,
    /// What the last identifier becomes
    #[arg(long, value_name = "TID")]
    tid: u32,
    #[command(flatten)]
    connection: Connection,
}

const COLUMNS: [&str; 13] = [
    "name",
    "issue_time",
    "configuration",
    "meter_pan",
    "request_id",
    "class",
    "subclass",
    "kind",
    "tid",
    "tid_time",
    "amount",
    "unit",
    "token",
];

impl Command {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::State(connection) => {
                let mut client = LedgerServiceClient::new(connection.open().await?);
                let state = client.get_ledger_state(GetLedgerStateRequest {}).await;
                shown(&connection, state)
            }
            Self::AcceptClock(connection) => {
                let mut client = LedgerServiceClient::new(connection.open().await?);
                let state = client.accept_clock(AcceptClockRequest {}).await;
                shown(&connection, state)
            }
            Self::AcceptRestore(connection) => {
                let mut client = LedgerServiceClient::new(connection.open().await?);
                let state = client.accept_restore(AcceptRestoreRequest {}).await;
                shown(&connection, state)
            }
            Self::LowerTid(lower) => lower.run().await,
            Self::Export(export) => export.run().await,
            Self::Seed(seed) => seed.run().await,
        }
    }
}

fn shown(
    connection: &Connection,
    state: Result<tonic::Response<LedgerState>, tonic::Status>,
) -> Result<(), Failure> {
    let state = state.map_err(Failure::refused(connection.json))?.into_inner();
    output::show(connection.json, &state, |state| {
        output::fields([
            ("issuing", if state.issuing { "yes" } else { "no" }.to_owned()),
            ("reason", state.reason.clone()),
            ("chain", state.chain.clone()),
            ("records", state.position.to_string()),
        ])
    })
}

impl LowerTid {
    async fn run(self) -> Result<(), Failure> {
        let Self { meter, base_date, tid, connection } = self;
        let mut client = LedgerServiceClient::new(connection.open().await?);
        let request = LowerLastTidRequest { meter_pan: meter, base_date, last_tid: tid };
        let reply = client.lower_last_tid(request).await.map_err(Failure::refused(connection.json))?;
        output::show(connection.json, reply.get_ref(), |reply| {
            format!("the last token identifier was {}, and is {}", reply.previous_tid, reply.last_tid)
        })
    }
}

/// Where rows are written, in either form.
enum Rows<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Jsonl(BufWriter<W>),
}

impl<W: Write> Rows<W> {
    fn begin(format: Format, out: W) -> io::Result<Self> {
        Ok(match format {
            Format::Csv => {
                let mut out = table::writer(out, b',');
                out.write_record(COLUMNS)?;
                Self::Csv(Box::new(out))
            }
            Format::Jsonl => Self::Jsonl(BufWriter::new(out)),
        })
    }

    fn finish(self) -> io::Result<W> {
        match self {
            Self::Csv(out) => out.into_inner().map_err(|error| error.error().kind().into()),
            Self::Jsonl(out) => out.into_inner().map_err(io::IntoInnerError::into_error),
        }
    }
}

impl Export {
    async fn run(self) -> Result<(), Failure> {
        match &self.out {
            Some(file) => {
                let failure = |error: io::Error| Failure::created("--out", file, &error);
                let out = WholeFile::begin(file, 0o666).map_err(failure)?;
                let out = self.written(out, failure).await?;
                out.finish().map_err(failure)
            }
            None => self.written(io::stdout().lock(), Failure::not_shown).await.map(drop),
        }
    }

    /// Writes the rows that are asked for.
    async fn written<W: Write>(&self, out: W, failure: impl Fn(io::Error) -> Failure) -> Result<W, Failure> {
        let mut out = Rows::begin(self.format, out).map_err(&failure)?;
        let mut client = TokenServiceClient::new(self.connection.open().await?);
        let time = |time: Option<jiff::Timestamp>| {
            time.map(|time| prost_types::Timestamp {
                seconds: time.as_second(),
                nanos: time.subsec_nanosecond(),
            })
        };
        let mut request = ListIssuedTokensRequest {
            page_size: 1_000,
            meter_pan: self.meter.clone(),
            configuration: self.configuration.clone(),
            client: self.client.clone(),
            token_class: self.class,
            start_time: time(self.from),
            end_time: time(self.until),
            digits: self.digits,
            ..ListIssuedTokensRequest::default()
        };
        loop {
            let page = client.list_issued_tokens(request.clone()).await;
            let page = page.map_err(Failure::refused(self.connection.json))?.into_inner();
            for token in &page.tokens {
                match &mut out {
                    Rows::Csv(out) => out.write_record(row(token)).map_err(io::Error::from),
                    Rows::Jsonl(out) => writeln!(out, "{}", output::json_line(token)?),
                }
                .map_err(&failure)?;
            }
            if page.next_page_token.is_empty() {
                return out.finish().map_err(&failure);
            }
            request.page_token = page.next_page_token;
        }
    }
}

fn row(token: &IssuedToken) -> [String; COLUMNS.len()] {
    let tid = token.tid.unwrap_or_default();
    let transferred = token.transferred.clone().unwrap_or_default();
    [
        token.name.clone(),
        output::time(token.issue_time.as_ref()),
        token.configuration.clone(),
        token.meter_pan.clone(),
        token.request_id.clone(),
        token.token_class.to_string(),
        token.token_subclass.to_string(),
        token.kind.clone(),
        token.tid.as_ref().map(|tid| tid.value.to_string()).unwrap_or_default(),
        output::time(tid.time.as_ref()),
        transferred.amount,
        transferred.unit,
        token.token.clone(),
    ]
    .map(|field| defused(&field).into_owned())
}
