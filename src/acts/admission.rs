//! Who is admitted to a call, and what is noted of those who are refused. Every face asks here
//! before anything else.

use std::{sync::Arc, time::Instant};

use super::{AccessError, Authenticator, Reason, Refusal, Refusals};
use crate::access::{Attempts, Caller, Need, PeerCertificate, Rate};

/// Decides about calls, and goes on deciding about those that hold many requests.
pub struct Admission {
    authenticator: Authenticator,
    /// Requests of clients whose rate is limited.
    requests: Attempts,
    refusals: Arc<Refusals>,
}

impl Admission {
    /// Asks this authenticator and notes what is refused.
    pub fn new(authenticator: Authenticator, refusals: Arc<Refusals>) -> Self {
        Self { authenticator, requests: Attempts::default(), refusals }
    }

    /// Who calls, if they have what the method needs: by the value of an `authorization` header or,
    /// where there is none, by the certificate of the connection.
    ///
    /// # Errors
    /// The refusal, with the caller if it is known.
    pub async fn admit(
        &self,
        header: Option<&[u8]>,
        peer: Option<&PeerCertificate>,
        need: Need,
    ) -> Result<Caller, (Option<Caller>, Refusal)> {
        let found = self.authenticator.authenticate(header, peer).await;
        let caller = found.map_err(|error| (None, error.into()))?;
        match self.count(&caller).and_then(|()| Ok(need.met_by(&caller)?)) {
            Ok(()) => Ok(caller),
            Err(refusal) => Err((Some(caller), refusal)),
        }
    }

    /// Counts a request of a client, or refuses it.
    ///
    /// # Errors
    /// REQUESTS_LIMITED.
    pub fn count(&self, caller: &Caller) -> Result<(), Refusal> {
        let Some(limit) = caller.limits.requests_per_second() else { return Ok(()) };
        self.requests.take(caller.client, Rate::per_second(limit), Instant::now()).map_err(|wait| {
            let text = format!("requests_per_second: this client may send {limit} in a second");
            Refusal::new(Reason::RequestsLimited, text)
                .metadata("limit", "requests_per_second")
                .retry_after(wait)
        })
    }

    /// The caller as it is now: a stream may outlive its rights.
    ///
    /// # Errors
    /// As for a new call.
    pub async fn renewed(&self, caller: &Caller) -> Result<Caller, AccessError> {
        self.authenticator.renewed(caller).await
    }

    /// Notes that a call, or one request of many, was refused.
    pub fn note(&self, caller: Option<&Caller>, method: &str, reason: &str) {
        self.refusals.note(caller, method, reason);
    }
}
