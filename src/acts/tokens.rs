//! Tokens: one, key changes, and the look at a token.

use std::time::Instant;

use uuid::Uuid;

use super::{Acts, Refusal};
use crate::{
    access::Caller,
    ledger::TokenRow,
    sts::token::Display,
    vending::{IssueOrder, IssuedKeyChange, IssuedToken, KeyChangeOrder, Verified, VerifyOrder},
};

/// A token to issue.
#[derive(Debug, Clone)]
pub enum TokenOrder {
    /// Of class 0 or 2, under the key of a meter.
    Encrypted(IssueOrder),
    /// Of class 1, which needs no key and fits every meter.
    MeterTest(MeterTestOrder),
}

/// A token of class 1 to issue.
#[derive(Debug, Clone, Copy)]
pub struct MeterTestOrder {
    /// The caller's name of the request.
    pub request_id: Uuid,
    /// What the meter shows.
    pub display: Display,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
}

/// A token that was issued.
#[derive(Debug)]
pub enum TokenAnswer {
    /// Of class 0 or 2.
    Encrypted(IssuedToken),
    /// Of class 1.
    MeterTest {
        /// What the ledger holds of it.
        row: TokenRow,
        /// What the meter shows.
        display: Display,
        /// Whether the row was there before.
        replay: bool,
    },
}

impl Acts {
    /// Issues a token, or answers the one that this request got before.
    ///
    /// # Errors
    /// Whatever forbids it; the refusal says whether the ledger may hold the token.
    pub async fn issue_token(&self, caller: &Caller, order: TokenOrder) -> Result<TokenAnswer, Refusal> {
        match order {
            TokenOrder::Encrypted(order) => {
                Ok(TokenAnswer::Encrypted(self.vending.issue(caller, order).await?))
            }
            TokenOrder::MeterTest(order) => self.issue_meter_test(caller, order).await,
        }
    }

    pub(super) async fn issue_meter_test(
        &self,
        caller: &Caller,
        MeterTestOrder { request_id, display, deadline }: MeterTestOrder,
    ) -> Result<TokenAnswer, Refusal> {
        let (row, replay) = self.vending.issue_display(caller, request_id, display, deadline).await?;
        Ok(TokenAnswer::MeterTest { row, display, replay })
    }

    /// Issues a key-change set, or answers the one that this request got before.
    ///
    /// # Errors
    /// Whatever forbids it; the refusal says whether the ledger may hold the set.
    pub async fn issue_key_change(
        &self,
        caller: &Caller,
        order: KeyChangeOrder,
    ) -> Result<IssuedKeyChange, Refusal> {
        Ok(self.vending.change_key(caller, order).await?)
    }

    /// Looks at a token. What the token is never makes this fail.
    ///
    /// # Errors
    /// Whatever forbids the look; what the HSM and the store say.
    pub async fn verify_token(&self, caller: &Caller, order: VerifyOrder) -> Result<Verified, Refusal> {
        Ok(self.vending.verify(caller, order).await?)
    }
}
