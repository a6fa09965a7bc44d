//! `vendkey token`.

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::{
    connection::Connection,
    interruption,
    output::{self, Failure},
    stdout,
};
use crate::{
    api::v1::{
        AllTests, ClearCredit, ClearTamper, CurrencyCredit, Extended, IssueTokenRequest, IssuedToken,
        MeterTest, Power, RawRegister, Rounding, TokenIdentifier, Transferred, UnitCredit,
        VerifyTokenRequest, VerifyTokenResponse,
        clear_credit::Register,
        currency_credit,
        issue_token_request::Content,
        meter_test::{Form, Test},
        token_service_client::TokenServiceClient,
        unit_credit,
        verify_token_response::Result as Verdict,
    },
    sts::typed::{self, TypedError},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Issue one token
    Issue(Box<Issue>),
    /// Issue a token for each line of a CSV file; resumable
    Batch(super::token_batch::Arguments),
    /// Say what a token is
    Verify(Verify),
}

#[derive(Args)]
#[command(
    after_help = "Example: vendkey token issue --configuration configurations/4f... --meter 47500150231 --electricity 12.5

Exactly one of the contents is given. A meter test needs neither configuration nor meter."
)]
pub(super) struct Issue {
    /// configurations/{uuid}
    #[arg(long, default_value = "", hide_default_value = true)]
    configuration: String,
    /// The meter's number: 11, 13 or 18 digits; blanks and hyphens do not matter
    #[arg(long, default_value = "", hide_default_value = true, value_parser = meter_number)]
    meter: String,
    /// A UUID; the same one again answers the same token. A new one is made if not given
    #[arg(long, value_name = "UUID")]
    request_id: Option<Uuid>,
    /// The time that the token carries, such as 2026-11-21T10:00:00Z; now if not given
    #[arg(long, value_name = "TIME")]
    time: Option<jiff::Timestamp>,
    /// Round amounts finer than the least unit up instead of refusing them
    #[arg(long)]
    round_up: bool,
    #[command(flatten)]
    content: ContentArguments,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
#[command(next_help_heading = "Contents, exactly one")]
struct ContentArguments {
    /// Electricity credit in kWh
    #[arg(long, value_name = "KWH")]
    electricity: Option<String>,
    /// Water credit in kl (cubic metres)
    #[arg(long, value_name = "KL")]
    water: Option<String>,
    /// Gas credit in cubic metres
    #[arg(long, value_name = "M3")]
    gas: Option<String>,
    /// Time credit in minutes
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<String>,
    /// Electricity credit in currency; may be negative
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    electricity_currency: Option<String>,
    /// Water credit in currency; may be negative
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    water_currency: Option<String>,
    /// Gas credit in currency; may be negative
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    gas_currency: Option<String>,
    /// Time credit in currency; may be negative
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    time_currency: Option<String>,
    /// Meter test "all", for meters with codes of 2 or 4 digits
    #[arg(long, value_name = "DIGITS", value_parser = ["2", "4"])]
    test_all: Option<String>,
    /// Meter test with raw control bits, as DIGITS:HEX such as 2:0x8
    #[arg(long, value_name = "DIGITS:HEX", value_parser = control)]
    test_control: Option<MeterTest>,
    /// Extended read of an index, 0 to 63
    #[arg(long, value_name = "INDEX")]
    extended_read: Option<u32>,
    /// Largest load in watts
    #[arg(long, value_name = "WATTS")]
    maximum_power_limit: Option<u64>,
    /// Clear the credit of a register: electricity, water, gas, time, or the same with _currency,
    /// or all
    #[arg(long, value_name = "REGISTER", value_parser = register)]
    clear_credit: Option<Register>,
    /// Tariff rate, a raw register from 0 to 65535
    #[arg(long, value_name = "REGISTER")]
    tariff_rate: Option<u32>,
    /// Clear the tamper condition
    #[arg(long)]
    clear_tamper: bool,
    /// Largest difference between phases in watts
    #[arg(long, value_name = "WATTS")]
    maximum_phase_power_unbalance: Option<u64>,
    /// Water meter factor, a raw register from 0 to 65535
    #[arg(long, value_name = "REGISTER")]
    water_meter_factor: Option<u32>,
    /// Extended function as INDEX:VALUE, 0 to 63 and 0 to 1023
    #[arg(long, value_name = "INDEX:VALUE", value_parser = extended)]
    extended: Option<Extended>,
}

/// A meter's number as people type it; whether it is one is for the server to say.
pub(super) fn meter_number(text: &str) -> Result<String, TypedError> {
    if text.is_empty() { Ok(String::new()) } else { typed::digits(text) }
}

fn register(text: &str) -> Result<Register, String> {
    Register::from_str_name(&text.to_ascii_uppercase())
        .filter(|register| *register != Register::Unspecified)
        .ok_or_else(|| "expected electricity, water, gas, time, the same with _currency, or all".to_owned())
}

fn control(text: &str) -> Result<MeterTest, String> {
    let parsed = text.split_once(':').and_then(|(digits, control)| {
        let form = match digits {
            "2" => Form::TwoDigit,
            "4" => Form::FourDigit,
            _ => return None,
        };
        let control = u64::from_str_radix(control.trim_start_matches("0x"), 16).ok()?;
        Some(MeterTest { form: form.into(), test: Some(Test::Control(control)), manufacturer_code: 0 })
    });
    parsed.ok_or_else(|| "expected 2:HEX or 4:HEX".to_owned())
}

fn extended(text: &str) -> Result<Extended, String> {
    let parsed = text
        .split_once(':')
        .and_then(|(index, value)| Some(Extended { index: index.parse().ok()?, value: value.parse().ok()? }));
    parsed.ok_or_else(|| "expected INDEX:VALUE".to_owned())
}

impl ContentArguments {
    fn content(self, round_up: bool) -> Option<Content> {
        let rounding = if round_up { Rounding::Up } else { Rounding::Unspecified };
        let units = |amount| UnitCredit {
            amount: Some(unit_credit::Amount::Decimal(amount)),
            rounding: rounding.into(),
        };
        let money = |amount| CurrencyCredit {
            amount: Some(currency_credit::Amount::Decimal(amount)),
            rounding: rounding.into(),
        };
        let all = |digits: String| MeterTest {
            form: if digits == "4" { Form::FourDigit } else { Form::TwoDigit }.into(),
            test: Some(Test::All(AllTests {})),
            manufacturer_code: 0,
        };
        let read = |index| MeterTest { test: Some(Test::ExtendedRead(index)), ..MeterTest::default() };
        let power = |watts| Power { watts };
        let raw = |value| RawRegister { value };
        let test = self.test_all.map(all).or(self.test_control).or(self.extended_read.map(read));
        None.or(self.electricity.map(units).map(Content::ElectricityCredit))
            .or(self.water.map(units).map(Content::WaterCredit))
            .or(self.gas.map(units).map(Content::GasCredit))
            .or(self.minutes.map(units).map(Content::TimeCredit))
            .or(self.electricity_currency.map(money).map(Content::ElectricityCurrencyCredit))
            .or(self.water_currency.map(money).map(Content::WaterCurrencyCredit))
            .or(self.gas_currency.map(money).map(Content::GasCurrencyCredit))
            .or(self.time_currency.map(money).map(Content::TimeCurrencyCredit))
            .or(test.map(Content::MeterTest))
            .or(self.maximum_power_limit.map(power).map(Content::MaximumPowerLimit))
            .or(self
                .clear_credit
                .map(|register| Content::ClearCredit(ClearCredit { register: register.into() })))
            .or(self.tariff_rate.map(raw).map(Content::TariffRate))
            .or(self.clear_tamper.then_some(Content::ClearTamper(ClearTamper {})))
            .or(self.maximum_phase_power_unbalance.map(power).map(Content::MaximumPhasePowerUnbalance))
            .or(self.water_meter_factor.map(raw).map(Content::WaterMeterFactor))
            .or(self.extended.map(Content::Extended))
    }
}

#[derive(Args)]
#[command(
    after_help = "Example: vendkey token verify --configuration configurations/4f... --meter 47500150231 \"4129 0812 6607 2385 0032\""
)]
pub(super) struct Verify {
    /// 20 digits as they were typed or pasted: grouped, quoted, with "Token:" in front
    #[arg(required = true, value_name = "TOKEN")]
    token: Vec<String>,
    /// configurations/{uuid}
    #[arg(long)]
    configuration: String,
    /// The meter's number: 11, 13 or 18 digits; blanks and hyphens do not matter
    #[arg(long, value_parser = meter_number)]
    meter: String,
    /// Show the bits of the clear block by name
    #[arg(long)]
    bits: bool,
    /// Look into a token that this server did not issue, which needs the permission verify_foreign
    #[arg(long)]
    examine_foreign: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Command {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Issue(issue) => issue.run().await,
            Self::Batch(batch) => batch.run().await,
            Self::Verify(verify) => verify.run().await,
        }
    }
}

impl Issue {
    async fn run(self) -> Result<(), Failure> {
        let json = self.connection.json;
        let request_id = self.request_id.unwrap_or_else(Uuid::now_v7);
        let request = IssueTokenRequest {
            configuration: self.configuration,
            meter: self.meter,
            request_id: request_id.to_string(),
            token_time: self.time.map(|time| prost_types::Timestamp { seconds: time.as_second(), nanos: 0 }),
            content: self.content.content(self.round_up),
        };
        let mut client = TokenServiceClient::new(self.connection.open().await?);
        let again = format!(
            "request id: {request_id}\nthe same command with --request-id {request_id} shows it; without, it issues another one"
        );
        let interrupted = interruption::tell(format!("the token may be issued\n{again}"));
        let reply = client.issue_token(request).await.map_err(|status| {
            // Without the id the caller could not ask for a token that may exist.
            stdout::note(format!("request id: {request_id}"));
            Failure::refused(json)(status)
        })?;
        let shown = output::show(json, reply.get_ref(), described);
        drop(interrupted);
        shown.map_err(|failure| failure.again(|| format!("the token is issued\n{again}")))
    }
}

impl Verify {
    async fn run(self) -> Result<(), Failure> {
        let json = self.connection.json;
        let request = VerifyTokenRequest {
            token: self.token.join(" "),
            configuration: self.configuration,
            meter: self.meter,
            bit_layout: self.bits,
            examine_foreign: self.examine_foreign,
        };
        let mut client = TokenServiceClient::new(self.connection.open().await?);
        let reply = client.verify_token(request).await.map_err(Failure::refused(json))?;
        output::show(json, reply.get_ref(), found)
    }
}

/// 20 digits as five groups of four, as they are printed for customers.
pub(super) fn grouped(token: &str) -> String {
    let digits: Vec<char> = token.chars().collect();
    let groups: Vec<String> = digits.chunks(4).map(|group| group.iter().collect()).collect();
    groups.join(" ")
}

fn amount(transferred: Option<&Transferred>) -> String {
    transferred
        .map(|transferred| {
            let rounded = if transferred.rounded_up { " (rounded up)" } else { "" };
            format!("{}{rounded}", format!("{} {}", transferred.amount, transferred.unit).trim_end())
        })
        .unwrap_or_default()
}

fn identifier(tid: Option<&TokenIdentifier>) -> String {
    tid.map(|tid| format!("{} = {}", tid.value, output::time(tid.time.as_ref()))).unwrap_or_default()
}

fn number<T: ToString>(number: Option<T>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

fn described(issued: &IssuedToken) -> String {
    let meter = match issued.meter_pan.as_str() {
        "" => String::new(),
        pan => format!("{pan} (DRN {})", issued.drn),
    };
    output::fields([
        ("token", grouped(&issued.token)),
        ("kind", issued.kind.clone()),
        ("class", format!("{}, subclass {}", issued.token_class, issued.token_subclass)),
        ("transfers", amount(issued.transferred.as_ref())),
        ("register", number(issued.register)),
        ("control", issued.control.map(|control| format!("{control:#x}")).unwrap_or_default()),
        (
            "manufacturer",
            issued
                .manufacturer_code
                .filter(|code| *code != 0)
                .map(|code| code.to_string())
                .unwrap_or_default(),
        ),
        ("meter", meter),
        ("token identifier", identifier(issued.tid.as_ref())),
        ("configuration", issued.configuration.clone()),
        ("key check value", issued.kcv.clone()),
        ("name", issued.name.clone()),
        ("request id", issued.request_id.clone()),
        ("issued", output::time(issued.issue_time.as_ref())),
        (
            "replay",
            if issued.replay { "yes: this request had been answered before" } else { "no" }.to_owned(),
        ),
    ])
}

fn found(answer: &VerifyTokenResponse) -> String {
    let verdict = match answer.result() {
        Verdict::Unspecified => "",
        Verdict::Valid => "valid: issued here, and a meter takes it",
        Verdict::KeyExpired => "key expired: no meter takes it",
        Verdict::CreditUnderDefaultKey => "credit under a default key: no meter takes it",
        Verdict::NotAToken => "not a token",
        Verdict::Proprietary => {
            "a manufacturer's own token (class 1, subclasses 6 to 15); anybody may make it"
        }
        Verdict::Reserved => "a class or subclass that the standard reserves",
        Verdict::NotIssuedHere => "not issued here",
        Verdict::MeterTest => "a meter test; anybody may make it",
        Verdict::CrcMismatch => "the CRC does not match: a typing error, another meter or another key",
        Verdict::UnknownSubclass => "a subclass, register or attribute that the standard does not define",
        Verdict::ValidForeign => "a token of this meter and key, not issued here",
    };
    let verdict = match answer.explanation.as_str() {
        "" => verdict.to_owned(),
        explanation => format!("{verdict}: {explanation}"),
    };
    let own = answer.result() == Verdict::Proprietary;
    let crc = answer.crc_holds.map(|holds| if holds { "holds" } else { "does not hold" });
    let class = answer.token_class.zip(answer.token_subclass);
    let mut text = output::fields([
        ("result", verdict),
        ("kind", answer.kind.clone()),
        ("class", class.map(|(class, subclass)| format!("{class}, subclass {subclass}")).unwrap_or_default()),
        ("transfers", amount(answer.transferred.as_ref())),
        ("register", number(answer.register)),
        ("control", answer.control.map(|control| format!("{control:#x}")).unwrap_or_default()),
        (
            "manufacturer",
            answer
                .manufacturer_code
                .filter(|code| *code != 0 || own)
                .map(|code| code.to_string())
                .unwrap_or_default(),
        ),
        ("CRC", crc.unwrap_or_default().to_owned()),
        ("random number", number(answer.rnd)),
        ("meter", answer.meter_pan.clone()),
        ("token identifier", identifier(answer.tid.as_ref())),
        ("configuration", answer.configuration.clone()),
        ("key check value", answer.kcv.clone()),
        ("name", answer.issued_token.clone()),
        ("issued", output::time(answer.issue_time.as_ref())),
    ]);
    for field in &answer.key_change {
        text.push_str(&format!("\n{}  {}", field.name, field.value));
    }
    if !answer.bit_layout.is_empty() {
        let rows = answer.bit_layout.iter().map(|field| [field.name.clone(), field.bits.clone()]);
        text = format!("{text}\n{}", output::table(["field", "bits"], rows));
    }
    text
}
