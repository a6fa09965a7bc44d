//! A refusal on its way to the wire: `google.rpc.Status` with ErrorInfo, BadRequest and RetryInfo.

use std::{collections::HashMap, time::Duration};

use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{reason::Reason, v1};

/// `ErrorInfo.domain` of all our reasons.
pub const DOMAIN: &str = "vendkey";

/// How many bytes of violations fit: they travel as a trailer, in base64, and common clients take 8 KiB of trailers.
const VIOLATIONS_ROOM: usize = 4096;

/// Whether a token may exist in spite of the refusal. After `Maybe` the caller repeats the same `request_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issued {
    /// Nothing was recorded.
    No,
    /// The ledger may hold a row.
    Maybe,
}

/// What the caller is told. The log's text is another.
#[derive(Debug)]
pub struct Refusal {
    reason: Reason,
    message: String,
    violations: Vec<(String, String)>,
    retry_after: Option<Duration>,
    issued: Issued,
    metadata: Vec<(&'static str, String)>,
}

impl Refusal {
    /// A refusal with nothing issued.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            violations: Vec::new(),
            retry_after: None,
            issued: Issued::No,
            metadata: Vec::new(),
        }
    }

    /// A refusal of all the fields that are wrong. The message names them shortly: whoever wants it all reads BadRequest.
    pub fn fields(reason: Reason, mut violations: Vec<(String, String)>) -> Self {
        let count = violations.len();
        let (mut room, mut kept) = (VIOLATIONS_ROOM, 0);
        for (field, description) in &violations {
            match room.checked_sub(field.len() + description.len() + 8) {
                Some(left) => room = left,
                None => break,
            }
            kept += 1;
        }
        if kept < count {
            violations.truncate(kept);
            violations.push(("more".to_owned(), format!("{} further faults", count - kept)));
        }
        let message = match violations.as_slice() {
            [(field, description)] => format!("{field}: {description}"),
            several => {
                let names: Vec<&str> = several.iter().take(10).map(|(field, _)| field.as_str()).collect();
                format!("{count} faults: {}", names.join(", "))
            }
        };
        Self { violations, ..Self::new(reason, message) }
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// Says whether a token may exist.
    #[must_use]
    pub fn issued(self, issued: Issued) -> Self {
        Self { issued, ..self }
    }

    /// Adds a fact that programs may read in ErrorInfo.
    #[must_use]
    pub fn metadata(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.metadata.push((name, value.into()));
        self
    }

    /// The reason.
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

impl From<Refusal> for v1::Refusal {
    fn from(refusal: Refusal) -> Self {
        let violation = |(field, description)| v1::FieldViolation { field, description };
        Self {
            code: refusal.reason.code().into(),
            reason: refusal.reason.text().to_owned(),
            message: refusal.message,
            maybe_issued: refusal.issued == Issued::Maybe,
            field_violations: refusal.violations.into_iter().map(violation).collect(),
            retry_after_ms: refusal
                .retry_after
                .map_or(0, |after| i64::try_from(after.as_millis()).unwrap_or(0)),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let issued = match refusal.issued {
            Issued::No => "no",
            Issued::Maybe => "maybe",
        };
        let facts = refusal.metadata.into_iter().map(|(name, value)| (name.to_owned(), value));
        let metadata: HashMap<String, String> =
            facts.chain([("issued".to_owned(), issued.to_owned())]).collect();
        let mut details = ErrorDetails::with_error_info(refusal.reason.text(), DOMAIN, metadata);

        for (field, description) in refusal.violations {
            details.add_bad_request_violation(field, description);
        }
        if let Some(after) = refusal.retry_after {
            details.set_retry_info(Some(after));
        }
        Self::with_error_details(refusal.reason.code(), refusal.message, details)
    }
}
