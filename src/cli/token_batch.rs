//! `vendkey token batch`: millions of lines, resumable after any crash without a double.
//!
//! The request id of a line is the UUIDv5 of the batch's id and the line's number, and answers are written in the order of the lines.
//! So the number of whole lines in the output tells where to go on, and a line that is asked for twice gets the same token.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::{
    connection::{Authorized, Connection},
    csv,
    exit::Exit,
    output::Failure,
};
use crate::api::v1::{
    ClearCredit, ClearTamper, CurrencyCredit, IssueTokenRequest, Power, RawRegister, Rounding, TokenResult,
    UnitCredit, clear_credit::Register, currency_credit, issue_token_request::Content, token_result,
    token_service_client::TokenServiceClient, unit_credit,
};

#[derive(Args)]
#[command(after_help = "Example: vendkey token batch monday.csv monday-tokens.csv

The input's first line names its columns: configuration, meter, kind, amount, and if wanted time. Kinds: electricity, water, gas,
time and each with _currency behind it, maximum_power_limit (W), clear_credit (the register, or all), clear_tamper, tariff_rate,
water_meter_factor, phase_unbalance (W).

The output has the same lines with token, tid, name, reason and message. Interrupted, the same command goes on where it stopped; it
refuses another input. A refused line has its reason and no token; the exit code is 2 then.")]
pub(super) struct Arguments {
    /// CSV with a line for each token
    input: PathBuf,
    /// Where the tokens go; FILE.batch beside it keeps what resuming needs
    output: PathBuf,
    /// Round amounts finer than the unit up instead of refusing them
    #[arg(long)]
    round_up: bool,
    #[command(flatten)]
    connection: Connection,
}

/// What is kept beside the output.
#[derive(Serialize, Deserialize)]
struct Batch {
    batch_id: Uuid,
    input_sha256: String,
}

/// Where the columns stand.
struct Columns {
    configuration: usize,
    meter: usize,
    kind: usize,
    amount: Option<usize>,
    time: Option<usize>,
}

/// A line of the input, ready to be asked for or with its fault.
struct Line {
    text: String,
    request: Result<Box<IssueTokenRequest>, String>,
}

/// How many lines may be asked for and not answered.
const WINDOW: usize = 4_096;
/// Tries without progress before it gives up.
const TRIES: u32 = 10;

const ADDED: &str = "token,tid,name,reason,message";

impl Arguments {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let batch = self.batch()?;
        let mut reader = BufReader::new(open(&self.input)?);
        let mut header = String::new();
        reader.read_line(&mut header).map_err(|error| Failure::file("input", &self.input, &error))?;
        let columns = Columns::parse(header.trim_end()).map_err(Failure::usage)?;
        let total = count_lines(&self.input)?.saturating_sub(1);
        let (mut output, done) = self.open_output(header.trim_end())?;
        let mut lines =
            reader.lines().map(|line| line.map_err(|error| Failure::file("input", &self.input, &error)));
        for _ in 0..done {
            lines.next().transpose()?;
        }

        let bar = progress(total, "lines");
        bar.set_position(done);
        if done > 0 {
            bar.println(format!("going on behind line {done}"));
        }
        let client = TokenServiceClient::new(self.connection.open().await?);
        // Read and not answered, in order: what a broken stream asks for again.
        let mut open: std::collections::VecDeque<Line> = std::collections::VecDeque::new();
        let (mut answered, mut refused, mut tries) = (done, 0_u64, 0);
        loop {
            while open.len() < WINDOW {
                let Some(text) = lines.next().transpose()? else { break };
                let number = answered + open.len() as u64 + 1;
                let request = columns.request(&text, self.round_up).map(|request| {
                    let request_id = Uuid::new_v5(&batch.batch_id, number.to_string().as_bytes());
                    Box::new(IssueTokenRequest { request_id: request_id.to_string(), ..request })
                });
                open.push_back(Line { text, request });
            }
            if open.is_empty() {
                break;
            }
            let before = open.len();
            let problem = window(client.clone(), &mut open, |line, result| {
                let (text, is_refusal) = answer(line, result);
                refused += u64::from(is_refusal);
                bar.inc(1);
                writeln!(output, "{text}")
            })
            .await;
            output.flush().map_err(|error| Failure::file("output", &self.output, &error))?;
            answered += (before - open.len()) as u64;
            if let Some(problem) = problem {
                tries = if open.len() < before { 1 } else { tries + 1 };
                if tries > TRIES {
                    bar.abandon();
                    return Err(Failure::text(format!(
                        "{problem}; run the same command again to go on behind line {answered}"
                    )));
                }
                bar.println(format!("{problem}; trying again"));
                tokio::time::sleep(Duration::from_millis(200 << tries.min(6))).await;
            }
        }
        output
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .map_err(|error| Failure::file("output", &self.output, &error))?;
        bar.finish();
        println!("{answered} lines, {refused} refused in this run; batch {}", batch.batch_id);
        if refused > 0 {
            Err(Failure::exit(Exit::Partly, format!("{refused} lines were refused: see their reasons")))
        } else {
            Ok(())
        }
    }

    /// The batch that was begun for this output, or a new one.
    fn batch(&self) -> Result<Batch, Failure> {
        let mut name = self.output.as_os_str().to_owned();
        name.push(".batch");
        let file = PathBuf::from(name);
        let input_sha256 = digest(&self.input)?;
        match fs::read_to_string(&file) {
            Ok(text) => {
                let batch: Batch = serde_json::from_str(&text)
                    .map_err(|error| Failure::text(format!("{}: {error}", file.display())))?;
                if batch.input_sha256 != input_sha256 {
                    let text = "was begun with another input; give another output, or the same input";
                    return Err(Failure::usage(format!("{} {text}", self.output.display())));
                }
                Ok(batch)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.output.exists() {
                    return Err(Failure::usage(format!(
                        "{} exists and is of no batch",
                        self.output.display()
                    )));
                }
                let batch = Batch { batch_id: Uuid::now_v7(), input_sha256 };
                let text =
                    serde_json::to_string_pretty(&batch).map_err(|error| Failure::text(error.to_string()))?;
                // Durable before the first token: without the id a second run would be another batch.
                File::create(&file)
                    .and_then(|mut out| out.write_all(text.as_bytes()).and_then(|()| out.sync_all()))
                    .map_err(|error| Failure::file("output", &file, &error))?;
                Ok(batch)
            }
            Err(error) => Err(Failure::file("output", &file, &error)),
        }
    }

    /// Opens the output behind its last whole line, and says how many lines are answered.
    fn open_output(&self, header: &str) -> Result<(BufWriter<File>, u64), Failure> {
        let failure = |error: io::Error| Failure::file("output", &self.output, &error);
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.output)
            .map_err(failure)?;
        let (mut whole, mut lines) = (0_u64, 0_u64);
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).map_err(failure)? > 0 {
            if line.last() == Some(&b'\n') {
                whole += line.len() as u64;
                lines += 1;
            }
            line.clear();
        }
        file.set_len(whole).and_then(|()| file.seek(io::SeekFrom::End(0)).map(|_| ())).map_err(failure)?;
        let mut output = BufWriter::new(file);
        if lines == 0 {
            writeln!(output, "{header},{ADDED}").map_err(failure)?;
        }
        Ok((output, lines.saturating_sub(1)))
    }
}

/// Asks for the lines and hands each answer on, in order, taking answered lines away. Says what stopped it before the end.
async fn window(
    mut client: TokenServiceClient<Authorized>,
    lines: &mut std::collections::VecDeque<Line>,
    mut answered: impl FnMut(&Line, Option<TokenResult>) -> io::Result<()>,
) -> Option<String> {
    let requests: Vec<IssueTokenRequest> =
        lines.iter().filter_map(|line| line.request.as_deref().ok().cloned()).collect();
    let (sender, receiver) = mpsc::channel(WINDOW);
    let send = async move {
        for request in requests {
            if sender.send(request).await.is_err() {
                break;
            }
        }
    };
    let receive = async {
        let mut results = match client.stream_tokens(ReceiverStream::new(receiver)).await {
            Ok(results) => results.into_inner(),
            Err(status) => return Some(status.message().to_owned()),
        };
        while let Some(line) = lines.front() {
            let result = match &line.request {
                Err(_) => None,
                Ok(_) => match results.message().await {
                    Ok(Some(result)) => Some(result),
                    Ok(None) => return Some("the server ended the stream".to_owned()),
                    Err(status) => return Some(status.message().to_owned()),
                },
            };
            if let Some(TokenResult { result: Some(token_result::Result::Refusal(refusal)), .. }) = &result
                && (refusal.maybe_issued || refusal.retry_after_ms > 0)
            {
                return Some(refusal.message.clone());
            }
            if let Err(error) = answered(line, result) {
                return Some(format!("the output cannot be written: {error}"));
            }
            lines.pop_front();
        }
        None
    };
    tokio::join!(send, receive).1
}

/// The line of the output, and whether it is a refusal.
fn answer(line: &Line, result: Option<TokenResult>) -> (String, bool) {
    let added = |fields: [&str; 5]| format!("{},{}", line.text.trim_end(), csv::line(fields));
    match (&line.request, result.and_then(|result| result.result)) {
        (Err(fault), _) => (added(["", "", "", "INVALID_FIELDS", fault]), true),
        (Ok(_), Some(token_result::Result::Token(token))) => {
            let tid = token.tid.map(|tid| tid.value.to_string()).unwrap_or_default();
            (added([&token.token, &tid, &token.name, "", ""]), false)
        }
        (Ok(_), Some(token_result::Result::Refusal(refusal))) => {
            let fields: Vec<String> = refusal
                .field_violations
                .iter()
                .map(|violation| format!("{}: {}", violation.field, violation.description))
                .collect();
            let message = if fields.is_empty() { refusal.message } else { fields.join("; ") };
            (added(["", "", "", &refusal.reason, &message]), true)
        }
        (Ok(_), None) => (added(["", "", "", "INTERNAL", "no answer"]), true),
    }
}

impl Columns {
    fn parse(header: &str) -> Result<Self, String> {
        let names = csv::fields(header).ok_or("the first line of the input is no CSV")?;
        let find = |wanted: &str| names.iter().position(|name| name.trim().eq_ignore_ascii_case(wanted));
        let need = |wanted| {
            find(wanted).ok_or_else(|| {
                format!("the input has no column {wanted}; its first line must name configuration, meter, kind, amount")
            })
        };
        Ok(Self {
            configuration: need("configuration")?,
            meter: need("meter")?,
            kind: need("kind")?,
            amount: find("amount"),
            time: find("time"),
        })
    }

    /// The request of a line, without its id.
    fn request(&self, text: &str, round_up: bool) -> Result<IssueTokenRequest, String> {
        let fields = csv::fields(text).ok_or("not a line of CSV")?;
        let field =
            |column: usize| fields.get(column).map(|field| field.trim().to_owned()).unwrap_or_default();
        let time = self.time.map(field).filter(|time| !time.is_empty());
        let token_time = time
            .map(|time| time.parse::<jiff::Timestamp>().map_err(|error| format!("time: {error}")))
            .transpose()?
            .map(|time| prost_types::Timestamp { seconds: time.as_second(), nanos: 0 });
        Ok(IssueTokenRequest {
            configuration: field(self.configuration),
            meter: field(self.meter),
            request_id: String::new(),
            token_time,
            content: Some(content(&field(self.kind), self.amount.map(field).unwrap_or_default(), round_up)?),
        })
    }
}

fn content(kind: &str, amount: String, round_up: bool) -> Result<Content, String> {
    let rounding = if round_up { Rounding::Up } else { Rounding::Unspecified }.into();
    let units = |amount| UnitCredit { amount: Some(unit_credit::Amount::Decimal(amount)), rounding };
    let money = |amount| CurrencyCredit { amount: Some(currency_credit::Amount::Decimal(amount)), rounding };
    let number = |amount: String| amount.parse().map_err(|_| format!("amount: {amount:?} is no number"));
    Ok(match kind {
        "electricity" => Content::ElectricityCredit(units(amount)),
        "water" => Content::WaterCredit(units(amount)),
        "gas" => Content::GasCredit(units(amount)),
        "time" => Content::TimeCredit(units(amount)),
        "electricity_currency" => Content::ElectricityCurrencyCredit(money(amount)),
        "water_currency" => Content::WaterCurrencyCredit(money(amount)),
        "gas_currency" => Content::GasCurrencyCredit(money(amount)),
        "time_currency" => Content::TimeCurrencyCredit(money(amount)),
        "maximum_power_limit" => Content::MaximumPowerLimit(Power { watts: number(amount)? }),
        "phase_unbalance" => Content::MaximumPhasePowerUnbalance(Power { watts: number(amount)? }),
        "tariff_rate" => Content::TariffRate(register(number(amount)?)?),
        "water_meter_factor" => Content::WaterMeterFactor(register(number(amount)?)?),
        "clear_tamper" => Content::ClearTamper(ClearTamper {}),
        "clear_credit" => {
            let register = Register::from_str_name(&amount.to_ascii_uppercase())
                .ok_or_else(|| format!("amount: {amount:?} is no register to clear"))?;
            Content::ClearCredit(ClearCredit { register: register.into() })
        }
        other => return Err(format!("kind: {other:?} is not known")),
    })
}

fn register(value: u64) -> Result<RawRegister, String> {
    Ok(RawRegister { value: value.try_into().map_err(|_| "amount: a register is 0 to 65535".to_owned())? })
}

fn open(file: &Path) -> Result<File, Failure> {
    File::open(file).map_err(|error| Failure::file("input", file, &error))
}

fn digest(file: &Path) -> Result<String, Failure> {
    let (mut reader, mut hash) = (open(file)?, Sha256::new());
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer).map_err(|error| Failure::file("input", file, &error))? {
            0 => return Ok(hex::encode(hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn count_lines(file: &Path) -> Result<u64, Failure> {
    let mut count = 0;
    for line in BufReader::new(open(file)?).split(b'\n') {
        line.map_err(|error| Failure::file("input", file, &error))?;
        count += 1;
    }
    Ok(count)
}

/// A bar with rate and time left, on standard error if that is a terminal.
pub(super) fn progress(total: u64, of: &str) -> ProgressBar {
    let template = format!("{{bar:30}} {{human_pos}} of {{human_len}} {of}, {{per_sec}}, {{eta}} left");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name() {
        let columns = Columns::parse("Meter,kind,configuration,amount,note").unwrap();
        let request =
            columns.request("47500150231,electricity,configurations/x,12.5,\"a, b\"", true).unwrap();
        assert_eq!(
            (request.meter.as_str(), request.configuration.as_str()),
            ("47500150231", "configurations/x")
        );
        let Some(Content::ElectricityCredit(credit)) = request.content else { panic!("another content") };
        assert_eq!(credit.amount, Some(unit_credit::Amount::Decimal("12.5".into())));
        assert!(Columns::parse("meter,kind").is_err());
        assert!(columns.request("1,unknown,c,1", false).is_err());
        assert!(columns.request("1,tariff_rate,c,many", false).is_err());
        assert!(columns.request("1,clear_credit,c,all", false).is_ok());
    }
}
