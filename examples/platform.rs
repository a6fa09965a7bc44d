//! A vending platform in Rust, to start from: it sells one token, then a batch, then a stream, and
//! repeats what was not answered until it is.
//!
//! ```text
//! cargo run --example platform -- https://vendkey.example.org:7443 till.credential \
//!     configurations/01a219ff-f2b6-7295-a266-5d096e01835b 47500150231 25.5 ca.pem
//! ```
//!
//! The arguments are the server, the file of a credential that may vend, the configuration of the
//! meter's key, the meter's number, kWh, and the certificate of the authority that signed the
//! server's (without it, the authorities that this machine trusts). For a server of `make run` the
//! address is `http://127.0.0.1:7443`, which needs no authority.
//!
//! A platform of its own takes `tonic`, `tonic-prost`, `tonic-types`, `prost`, `tokio`,
//! `tokio-stream` and `uuid`, and makes what is imported here from `vendkey::api::v1` of the proto
//! files, in its build.rs: `tonic_prost_build::compile_protos("proto/vendkey/v1/token.proto")`.

use std::{error::Error, time::Duration};

use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_types::StatusExt as _;
use uuid::Uuid;
use vendkey::api::v1::{
    BatchIssueTokensRequest, IssueTokenRequest, IssuedToken, TokenResult, UnitCredit,
    issue_token_request::Content, token_result, token_service_client::TokenServiceClient,
    unit_credit::Amount,
};

/// How long a call may take. The server gets to know it and does not begin what it cannot end.
const CALL: Duration = Duration::from_secs(10);
/// How often a call is tried before a person has to look: with the waits below, half a minute.
const ATTEMPTS: u32 = 9;

#[tokio::main]
#[allow(clippy::print_stdout, reason = "it shows what it sells")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, credential, configuration, meter, kwh, authority @ ..] = arguments.as_slice() else {
        return Err("usage: platform ENDPOINT CREDENTIAL-FILE CONFIGURATION METER KWH [CA-FILE]".into());
    };
    let credential = std::fs::read_to_string(credential)?;
    let authority = authority.first().map(std::fs::read).transpose()?;
    let mut platform = Platform::connect(endpoint, credential.trim(), authority.as_deref()).await?;

    let token = platform.vend(&sale(configuration, meter, kwh)).await?;
    println!("one: {} for meter {}", token.token, token.drn);

    let sales: Vec<IssueTokenRequest> = (0..3).map(|_| sale(configuration, meter, kwh)).collect();
    for result in platform.vend_batch(&sales).await? {
        println!("batch: {}", shown(&result));
    }
    let sales: Vec<IssueTokenRequest> = (0..10).map(|_| sale(configuration, meter, kwh)).collect();
    platform.vend_stream(&sales, |result| println!("stream: {}", shown(&result))).await?;
    Ok(())
}

/// A sale of electricity.
///
/// Its `request_id` is made once. A platform writes the whole request to its own database before the
/// first call: whatever happens then, to it or to the server, the same request gets the same token.
pub fn sale(configuration: &str, meter: &str, kwh: &str) -> IssueTokenRequest {
    IssueTokenRequest {
        configuration: configuration.to_owned(),
        meter: meter.to_owned(),
        request_id: Uuid::now_v7().to_string(),
        content: Some(Content::ElectricityCredit(UnitCredit {
            // A text, as it was typed: amounts are never floats.
            amount: Some(Amount::Decimal(kwh.to_owned())),
            ..UnitCredit::default()
        })),
        ..IssueTokenRequest::default()
    }
}

/// What became of a sale, for people.
fn shown(result: &TokenResult) -> String {
    match &result.result {
        Some(token_result::Result::Token(token)) => token.token.clone(),
        Some(token_result::Result::Refusal(refusal)) => format!("{}: {}", refusal.reason, refusal.message),
        None => "no answer".to_owned(),
    }
}

/// A client of the server, over one connection that is made again when it breaks.
#[derive(Clone)]
pub struct Platform {
    tokens: TokenServiceClient<InterceptedService<Channel, Bearer>>,
}

/// Adds the credential to every call.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl Platform {
    /// Connects. `https://` means TLS: the server's certificate must be of `authority` (PEM), or of
    /// one that this machine trusts.
    ///
    /// # Errors
    /// A malformed argument, or no connection.
    pub async fn connect(
        endpoint: &str,
        credential: &str,
        authority: Option<&[u8]>,
    ) -> Result<Self, Box<dyn Error>> {
        let mut bearer: MetadataValue<Ascii> = format!("Bearer {credential}").parse()?;
        // Keeps it out of logs.
        bearer.set_sensitive(true);
        let mut channel = Endpoint::from_shared(endpoint.to_owned())?
            .connect_timeout(Duration::from_secs(5))
            // A stream whose other end is gone without a word ends too.
            .http2_keep_alive_interval(Duration::from_secs(20));
        if endpoint.starts_with("https://") {
            let tls = match authority {
                Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
                None => ClientTlsConfig::new().with_enabled_roots(),
            };
            channel = channel.tls_config(tls)?;
        }
        let service = InterceptedService::new(channel.connect().await?, Bearer(bearer));
        Ok(Self { tokens: TokenServiceClient::new(service) })
    }

    /// Sells one token.
    ///
    /// # Errors
    /// A refusal that stays one, or the last failure: then there may be a token, and the same
    /// request is made again later.
    pub async fn vend(&mut self, sale: &IssueTokenRequest) -> Result<IssuedToken, Status> {
        let mut attempt = 1;
        loop {
            match self.tokens.issue_token(within(sale.clone(), CALL)).await {
                Ok(token) => return Ok(token.into_inner()),
                Err(status) => pause(status, attempt).await?,
            }
            attempt += 1;
        }
    }

    /// Sells up to 1,000 tokens with one call; the results are in the order of the sales.
    ///
    /// # Errors
    /// As of [`Platform::vend`].
    pub async fn vend_batch(&mut self, sales: &[IssueTokenRequest]) -> Result<Vec<TokenResult>, Status> {
        let mut attempt = 1;
        let mut results = loop {
            let batch = BatchIssueTokensRequest { requests: sales.to_vec() };
            match self.tokens.batch_issue_tokens(within(batch, CALL)).await {
                Ok(answer) => break answer.into_inner().results,
                Err(status) => pause(status, attempt).await?,
            }
            attempt += 1;
        };
        for (sale, result) in sales.iter().zip(&mut results) {
            self.settle(sale, result).await?;
        }
        Ok(results)
    }

    /// Sells any number of tokens over a stream; `done` gets the results as they come, in the order
    /// of the sales. After a broken stream, what was not answered is asked for again.
    ///
    /// # Errors
    /// As of [`Platform::vend`], for the first sale that `done` did not get.
    pub async fn vend_stream(
        &mut self,
        sales: &[IssueTokenRequest],
        mut done: impl FnMut(TokenResult),
    ) -> Result<(), Status> {
        let (mut answered, mut attempt) = (0, 1);
        loop {
            let open: Vec<IssueTokenRequest> = sales[answered..].to_vec();
            // The time for a stream grows with its length.
            let time = CALL + Duration::from_millis(10) * open.len() as u32;
            let broken = match self.tokens.stream_tokens(within(tokio_stream::iter(open), time)).await {
                Err(status) => status,
                Ok(mut answer) => loop {
                    let Some(sale) = sales.get(answered) else { return Ok(()) };
                    match answer.get_mut().message().await {
                        Ok(Some(mut result)) => {
                            self.settle(sale, &mut result).await?;
                            done(result);
                            // It goes on: what breaks next is tried as often again.
                            (answered, attempt) = (answered + 1, 1);
                        }
                        Ok(None) => break Status::unavailable("the stream ended early"),
                        Err(status) => break status,
                    }
                },
            };
            pause(broken, attempt).await?;
            attempt += 1;
        }
    }

    /// Asks alone for a sale of a batch or a stream that was refused only for the moment, or behind
    /// whose refusal a token may be.
    async fn settle(&mut self, sale: &IssueTokenRequest, result: &mut TokenResult) -> Result<(), Status> {
        if let Some(token_result::Result::Refusal(refusal)) = &result.result
            && (refusal.maybe_issued || refusal.retry_after_ms > 0)
        {
            let wait = Duration::from_millis(refusal.retry_after_ms.unsigned_abs());
            tokio::time::sleep(wait).await;
            result.result = Some(token_result::Result::Token(self.vend(sale).await?));
        }
        Ok(())
    }
}

/// A request with its deadline.
fn within<T>(message: T, time: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(time);
    request
}

/// Waits before a further attempt; gives the status back if there should be none.
///
/// The same request may be made again after any failure, since its `request_id` keeps it from being
/// sold twice. It is no use after a refusal that stays one, such as a wrong meter number.
async fn pause(status: Status, attempt: u32) -> Result<(), Status> {
    let details = status.get_error_details();
    let retry = details.retry_info().and_then(|info| info.retry_delay);
    // A status without ErrorInfo is not of the server: a connection broke, or a deadline passed.
    let maybe_issued = match details.error_info() {
        Some(info) => info.metadata.get("issued").is_some_and(|issued| issued == "maybe"),
        None => true,
    };
    let passing = matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded);
    if attempt >= ATTEMPTS || !(passing || maybe_issued || retry.is_some()) {
        return Err(status);
    }
    // From 100 ms on twice as long each time, at least as long as the server says, and a random part
    // more, so that not all clients come back at the same instant.
    let wait = Duration::from_millis(50 << attempt).max(retry.unwrap_or_default());
    let random = f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
    tokio::time::sleep(wait.mul_f64(1.0 + random / 2.0)).await;
    Ok(())
}
