//! `vendkey token`.

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::{
    connection::Connection,
    output::{self, Failure},
};
use crate::api::v1::{
    IssueTokenRequest, IssuedToken, RawRegister, Rounding, UnitCredit, issue_token_request::Content,
    token_service_client::TokenServiceClient, unit_credit::Amount,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Issue one token
    Issue(Box<Issue>),
    /// Issue a token for each line of a CSV file; resumable
    Batch(super::token_batch::Arguments),
}

/// Example: vendkey token issue --configuration configurations/4f... --meter 47500150231 --electricity 12.5
#[derive(Args)]
pub(super) struct Issue {
    /// configurations/{uuid}
    #[arg(long)]
    configuration: String,
    /// The meter's number: 11, 13 or 18 digits
    #[arg(long)]
    meter: String,
    /// A UUID; the same one again answers the same token. A new one is made if not given
    #[arg(long, value_name = "UUID")]
    request_id: Option<Uuid>,
    /// The time that the token carries, such as 2026-11-21T10:00:00Z; now if not given
    #[arg(long, value_name = "TIME")]
    time: Option<jiff::Timestamp>,
    /// Round amounts finer than a tenth up instead of refusing them
    #[arg(long)]
    round_up: bool,
    #[command(flatten)]
    content: ContentArguments,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct ContentArguments {
    /// Electricity credit in kWh
    #[arg(long, value_name = "KWH")]
    electricity: Option<String>,
    /// Water credit in cubic metres
    #[arg(long, value_name = "M3")]
    water: Option<String>,
    /// Gas credit in cubic metres
    #[arg(long, value_name = "M3")]
    gas: Option<String>,
    /// Time credit in minutes
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<String>,
    /// Water meter factor, a raw register from 0 to 65535
    #[arg(long, value_name = "REGISTER")]
    water_meter_factor: Option<u32>,
}

impl ContentArguments {
    fn content(self, round_up: bool) -> Option<Content> {
        let rounding = if round_up { Rounding::Up } else { Rounding::Unspecified };
        let credit = |amount| UnitCredit { amount: Some(Amount::Decimal(amount)), rounding: rounding.into() };
        None.or(self.electricity.map(credit).map(Content::ElectricityCredit))
            .or(self.water.map(credit).map(Content::WaterCredit))
            .or(self.gas.map(credit).map(Content::GasCredit))
            .or(self.minutes.map(credit).map(Content::TimeCredit))
            .or(self.water_meter_factor.map(|value| Content::WaterMeterFactor(RawRegister { value })))
    }
}

impl Command {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Issue(issue) => issue.run().await,
            Self::Batch(batch) => batch.run().await,
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
        let reply = client.issue_token(request).await.map_err(|status| {
            // Without the id the caller could not ask for a token that may exist.
            eprintln!("request id: {request_id}");
            Failure::refused(json)(status)
        })?;
        output::show(json, reply.get_ref(), described)
    }
}

/// 20 digits as five groups of four, as they are printed for customers.
fn grouped(token: &str) -> String {
    let digits: Vec<char> = token.chars().collect();
    let groups: Vec<String> = digits.chunks(4).map(|group| group.iter().collect()).collect();
    groups.join(" ")
}

fn described(issued: &IssuedToken) -> String {
    let tid = issued.tid.unwrap_or_default();
    let transferred = issued.transferred.clone().unwrap_or_default();
    let rounded = if transferred.rounded_up { " (rounded up)" } else { "" };
    output::fields([
        ("token", grouped(&issued.token)),
        ("kind", issued.kind.clone()),
        ("class", format!("{}, subclass {}", issued.token_class, issued.token_subclass)),
        ("transfers", format!("{} {}{rounded}", transferred.amount, transferred.unit)),
        ("meter", format!("{} (DRN {})", issued.meter_pan, issued.drn)),
        ("token identifier", format!("{} = {}", tid.value, output::time(tid.time.as_ref()))),
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
