//! Load: closed loops of clients, a paced one, batches and streams.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http_body_util::BodyExt as _;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tower::{Service as _, ServiceExt as _};
use uuid::Uuid;

use super::{
    BenchError, Plan,
    meters::Meters,
    processor::Spent,
    report::{Latency, Sample},
};
use crate::{
    api::{
        health::{HealthCheckRequest, health_client::HealthClient},
        v1::{
            BatchIssueTokensRequest, IssueTokenRequest, TokenResult, UnitCredit,
            issue_token_request::Content, token_result, token_service_client::TokenServiceClient,
            unit_credit::Amount,
        },
    },
    connection::Authorized,
};

/// Requests of a batch, and batches at once; of several servers, two for each.
const BATCH: usize = 500;
const BATCHES: usize = 4;
/// Streams at once, as with batches, and what each has under way.
const STREAMS: usize = 4;
const UNDER_WAY: usize = 1_024;

fn order(meters: &Meters, configuration: &str) -> IssueTokenRequest {
    IssueTokenRequest {
        configuration: configuration.to_owned(),
        meter: meters.next(),
        request_id: Uuid::now_v7().to_string(),
        token_time: None,
        content: Some(Content::ElectricityCredit(UnitCredit {
            amount: Some(Amount::Tenths(125)),
            rounding: 0,
        })),
    }
}

/// Something that a client does again and again; answers how much it did.
trait Call: Send + 'static {
    fn call(&mut self) -> impl Future<Output = Result<u64, Status>> + Send;
}

struct Nothing(HealthClient<Authorized>);

impl Call for Nothing {
    async fn call(&mut self) -> Result<u64, Status> {
        self.0.check(HealthCheckRequest::default()).await.map(|_| 1)
    }
}

struct Vendor {
    tokens: TokenServiceClient<Authorized>,
    meters: Arc<Meters>,
    configuration: String,
}

impl Vendor {
    fn new(plan: &Plan, client: usize, meters: &Arc<Meters>, configuration: &str) -> Self {
        let tokens = TokenServiceClient::new(plan.channels[client % plan.channels.len()].clone());
        Self { tokens, meters: meters.clone(), configuration: configuration.to_owned() }
    }
}

struct One(Vendor);

impl Call for One {
    async fn call(&mut self) -> Result<u64, Status> {
        let Vendor { tokens, meters, configuration } = &mut self.0;
        tokens.issue_token(order(meters, configuration)).await.map(|_| 1)
    }
}

/// The same over HTTP with JSON, on the same connections.
struct OneInJson(Vendor, Authorized);

impl Call for OneInJson {
    async fn call(&mut self) -> Result<u64, Status> {
        let Self(Vendor { meters, configuration, .. }, channel) = self;
        let body = serde_json::json!({
            "configuration": configuration,
            "meter": meters.next(),
            "requestId": Uuid::now_v7(),
            "electricityCredit": {"tenths": 125},
        });
        let request = http::Request::post("/v1/tokens:issue")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(tonic::body::Body::new(http_body_util::Full::from(body.to_string())))
            .map_err(broken)?;
        let answer = channel.ready().await.map_err(broken)?.call(request).await.map_err(broken)?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(broken)?.to_bytes();
        let answer: serde_json::Value = serde_json::from_slice(&body).map_err(broken)?;
        match answer["token"].as_str() {
            Some(_) => Ok(1),
            None => Err(Status::internal(format!("{status}: {answer}"))),
        }
    }
}

fn broken(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

struct Many(Vendor);

impl Call for Many {
    async fn call(&mut self) -> Result<u64, Status> {
        let Vendor { tokens, meters, configuration } = &mut self.0;
        let requests = (0..BATCH).map(|_| order(meters, configuration)).collect();
        let results =
            tokens.batch_issue_tokens(BatchIssueTokensRequest { requests }).await?.into_inner().results;
        results.iter().try_for_each(issued).map(|()| results.len() as u64)
    }
}

/// The key check value of a configuration, as a token under it tells.
pub(super) async fn key_check_value(plan: &Plan, configuration: &str) -> Result<[u8; 3], BenchError> {
    let call = |status| BenchError::Call { work: "one token".to_owned(), status: Box::new(status) };
    let mut tokens = TokenServiceClient::new(plan.channels[0].clone());
    let issued = tokens.issue_token(order(&Meters::new(), configuration)).await.map_err(call)?.into_inner();
    let mut kcv = [0; 3];
    hex::decode_to_slice(issued.kcv, &mut kcv).map_err(|error| call(Status::internal(error.to_string())))?;
    Ok(kcv)
}

/// Calls that do nothing: health checks.
pub(super) async fn nothing(plan: &Plan) -> Result<Sample, BenchError> {
    paced_nothing(plan, None).await
}

/// The same, at most at this rate, if one is given.
pub(super) async fn paced_nothing(plan: &Plan, rate: Option<f64>) -> Result<Sample, BenchError> {
    let client =
        |client: usize| Nothing(HealthClient::new(plan.channels[client % plan.channels.len()].clone()));
    loops(plan, "an RPC that does nothing", (0..plan.clients).map(client), rate).await
}

/// One token a call; at most at this rate, if one is given.
pub(super) async fn unary(plan: &Plan, configuration: &str, rate: Option<f64>) -> Result<Sample, BenchError> {
    let meters = Arc::new(Meters::new());
    let client = |client| One(Vendor::new(plan, client, &meters, configuration));
    loops(plan, "unary", (0..plan.clients).map(client), rate).await
}

/// One token a call, over HTTP with JSON.
pub(super) async fn unary_in_json(plan: &Plan, configuration: &str) -> Result<Sample, BenchError> {
    let meters = Arc::new(Meters::new());
    let client = |client: usize| {
        let channel = plan.channels[client % plan.channels.len()].clone();
        OneInJson(Vendor::new(plan, client, &meters, configuration), channel)
    };
    loops(plan, "unary over HTTP with JSON", (0..plan.clients).map(client), None).await
}

/// Batches.
pub(super) async fn batch(plan: &Plan, configuration: &str) -> Result<Sample, BenchError> {
    let meters = Arc::new(Meters::new());
    let client = |client| Many(Vendor::new(plan, client, &meters, configuration));
    loops(plan, "batch", (0..BATCHES.max(2 * plan.servers)).map(client), None).await
}

/// Streams, each kept full, until there are at least `least` tokens.
pub(super) async fn stream(plan: &Plan, configuration: &str, least: u64) -> Result<Sample, BenchError> {
    let spent = Spent::now(plan.server_pid);
    let sent = Arc::new(AtomicU64::new(0));
    let meters = Arc::new(Meters::new());
    let start = Instant::now();
    let end = start + plan.window;
    let mut streams = JoinSet::new();
    for client in 0..STREAMS.max(2 * plan.servers) {
        let mut tokens = TokenServiceClient::new(plan.channels[client % plan.channels.len()].clone());
        let (sender, receiver) = tokio::sync::mpsc::channel(UNDER_WAY);
        let (meters, configuration, sent) = (meters.clone(), configuration.to_owned(), sent.clone());
        tokio::spawn(async move {
            let go_on = || sent.fetch_add(1, Ordering::Relaxed) < least || Instant::now() < end;
            while go_on() && sender.send(order(&meters, &configuration)).await.is_ok() {}
        });
        streams.spawn(async move {
            let mut results = tokens.stream_tokens(ReceiverStream::new(receiver)).await?.into_inner();
            let mut count = 0_u64;
            while let Some(result) = results.message().await? {
                issued(&result)?;
                count += 1;
            }
            Ok::<u64, Status>(count)
        });
    }
    let mut count = 0;
    while let Some(ended) = streams.join_next().await {
        count += settled("stream", ended)?;
    }
    let cost = Some(spent.each(plan.server_pid, count as f64));
    Ok(Sample { rate: count as f64 / start.elapsed().as_secs_f64(), latency: None, cost })
}

fn issued(result: &TokenResult) -> Result<(), Status> {
    match &result.result {
        Some(token_result::Result::Token(_)) => Ok(()),
        Some(token_result::Result::Refusal(refusal)) => {
            Err(Status::new(refusal.code.into(), refusal.message.clone()))
        }
        None => Err(Status::internal("no result")),
    }
}

/// Clients that each call again when they were answered, or when the pace says. A paced call that
/// the one before held up is timed from when it was due, so that a slow answer is not hidden; any
/// other from when it is sent, since timers wake a millisecond late.
async fn loops<C: Call>(
    plan: &Plan,
    work: &str,
    clients: impl ExactSizeIterator<Item = C>,
    rate: Option<f64>,
) -> Result<Sample, BenchError> {
    let pause = rate.map(|rate| Duration::from_secs_f64(clients.len() as f64 / rate.max(1.0)));
    let share = pause.map(|pause| pause / u32::try_from(clients.len()).unwrap_or(u32::MAX).max(1));
    let (spent, start) = (Spent::now(plan.server_pid), Instant::now());
    let end = start + plan.window;
    let mut running = JoinSet::new();
    for (index, mut client) in clients.enumerate() {
        let mut due = start + share.unwrap_or_default() * u32::try_from(index).unwrap_or(0);
        running.spawn(async move {
            let (mut count, mut times) = (0, Vec::new());
            loop {
                let began = if pause.is_some() && Instant::now() >= due {
                    due
                } else {
                    if pause.is_some() {
                        tokio::time::sleep_until(due.into()).await;
                    }
                    Instant::now()
                };
                if began >= end {
                    return Ok::<_, Status>((count, times));
                }
                count += client.call().await?;
                times.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
                due += pause.unwrap_or_default();
            }
        });
    }
    let (mut count, mut times) = (0, Vec::new());
    while let Some(ended) = running.join_next().await {
        let (more, of_one) = settled(work, ended)?;
        count += more;
        times.extend(of_one);
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    let cost = Some(spent.each(plan.server_pid, count as f64));
    Ok(Sample { rate, latency: Some(Latency::of(times)), cost })
}

fn settled<T>(work: &str, ended: Result<Result<T, Status>, tokio::task::JoinError>) -> Result<T, BenchError> {
    let call = |status| BenchError::Call { work: work.to_owned(), status: Box::new(status) };
    match ended {
        Ok(done) => done.map_err(call),
        Err(error) => Err(call(Status::internal(error.to_string()))),
    }
}
