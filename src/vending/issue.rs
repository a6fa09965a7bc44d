//! Issuing tokens: the row is durable before the token exists.
//!
//! One path for one token and for a batch: orders are checked one by one and recorded with one
//! commit. Orders of one meter get their identifiers in the order in which they stand.

use std::{sync::Arc, time::Instant};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    IssueError, Known, Unusable, Vending,
    encryption::{IssuedToken, Job, RecordedOrder, RecordedOrders, Reserved},
};
use crate::{
    access::{Caller, rights::TokenKind},
    crash,
    hsm::VendingKey,
    id::ConfigurationId,
    ledger::{Content, NewToken, Recorded, TokenRow},
    store::LedgerError,
    sts::{
        meter::{Drn, MeterPan},
        token::{Display, Payload, Rnd},
    },
};

/// The meter's number as the caller gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeterNumber {
    /// 11 or 13 digits; the configuration's IIN completes it.
    Drn(Drn),
    /// 18 digits.
    Pan(MeterPan),
}

/// A payload with what was asked for before the coding rounded it: a retry must ask for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// What the token says.
    pub payload: Payload,
    /// The amount in least units, or the register.
    pub exact: i128,
}

/// A parsed request for a token of class 0 or 2.
#[derive(Debug, Clone)]
pub struct IssueOrder {
    /// The configuration whose key encrypts it.
    pub configuration: ConfigurationId,
    /// For which meter.
    pub meter: MeterNumber,
    /// The caller's name of the request.
    pub request_id: Uuid,
    /// The time that the token should carry, Unix seconds; now, if absent.
    pub token_time: Option<i64>,
    /// What it says.
    pub asked: Asked,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
}

/// How far an order has come.
enum OrderState {
    /// It passed every rule that needs no ledger.
    Checked(Box<CheckedOrder>),
    /// The ledger has it and has not answered.
    Sent(Arc<Known>),
    /// Its row is in the ledger.
    Recorded(RecordedOrder),
    /// It is refused, and nobody looked for an earlier row of its request.
    Refused(IssueError),
    /// The ledger refused it after it looked for an earlier row.
    Settled(IssueError),
}

/// An order that passed the rules.
struct CheckedOrder {
    known: Arc<Known>,
    new: NewToken,
}

impl Vending {
    /// Issues a token, or answers the one that this request got before.
    ///
    /// A refusal leaves nothing in the ledger. [`IssueError`] says after a failure whether the
    /// ledger may hold the token.
    ///
    /// # Errors
    /// [`IssueError`].
    pub async fn issue(&self, caller: &Caller, order: IssueOrder) -> Result<IssuedToken, IssueError> {
        let mut issued = self.issue_many(caller, vec![order]).await;
        issued.pop().unwrap_or(Err(IssueError::Fault("an order without an answer")))
    }

    /// Issues tokens, each as [`Vending::issue`] does, with one commit for all. The answers are in
    /// the order of the orders.
    pub async fn issue_many(
        &self,
        caller: &Caller,
        orders: Vec<IssueOrder>,
    ) -> Vec<Result<IssuedToken, IssueError>> {
        let recorded = self.record_many(caller, &orders).await;
        self.encrypt_many(recorded).await
    }

    /// The first half: checks the rules, takes permits of the HSM's queue and writes the rows.
    pub async fn record_many(&self, caller: &Caller, orders: &[IssueOrder]) -> RecordedOrders {
        let mut states = Vec::with_capacity(orders.len());
        for order in orders {
            states.push(match self.check(caller, order).await {
                Ok(checked) => OrderState::Checked(Box::new(checked)),
                Err(refusal) => OrderState::Refused(refusal),
            });
        }
        let mut jobs = self.reserve_checked(&mut states);
        let mut states = self.write(states).await;
        for job in &mut jobs {
            job.orders.retain(|order| matches!(states[*order], OrderState::Recorded(_)));
        }
        jobs.retain(|job| !job.orders.is_empty());

        let mut recorded = Vec::with_capacity(orders.len());
        for (index, (state, order)) in states.drain(..).zip(orders).enumerate() {
            recorded.push(match state {
                OrderState::Recorded(order) => Ok(order),
                OrderState::Settled(refusal) => Err(refusal),
                // What is refused now may have been issued before: a retry gets its token whatever
                // changed since.
                OrderState::Refused(refusal) => match self.recorded_before(caller, order).await {
                    Ok(None) => Err(refusal),
                    Err(error) => Err(refusal.after_look(error)),
                    Ok(Some(order)) => match self.permit_for(&order.known) {
                        Ok(reserved) => {
                            jobs.push(Job { permit: reserved, orders: vec![index] });
                            Ok(order)
                        }
                        Err(error) => Err(IssueError::after_commit(error)),
                    },
                },
                OrderState::Checked(_) | OrderState::Sent(_) => {
                    Err(IssueError::Fault("an order was not recorded"))
                }
            });
        }
        crash::point("issue-after-record");
        RecordedOrders { orders: recorded, jobs }
    }

    /// Takes permits of the HSM's queue. Orders that get none are refused before anything is
    /// written.
    fn reserve_checked(&self, states: &mut [OrderState]) -> Vec<Job> {
        let checked = states.iter().enumerate().filter_map(|(index, state)| match state {
            OrderState::Checked(order) => Some((index, order.known.as_ref())),
            _ => None,
        });
        let Reserved { jobs, refused } = self.reserve(checked);
        for (index, error) in refused {
            states[index] = OrderState::Refused(error);
        }
        jobs
    }

    /// Writes the rows of the orders that passed the rules, with one commit for all.
    async fn write(&self, states: Vec<OrderState>) -> Vec<OrderState> {
        let mut new = Vec::with_capacity(states.len());
        let mut sent = |state| match state {
            OrderState::Checked(order) => {
                new.push(order.new);
                OrderState::Sent(order.known)
            }
            other => other,
        };
        let states: Vec<OrderState> = states.into_iter().map(&mut sent).collect();
        let written = if new.is_empty() { Vec::new() } else { self.store.record_tokens(new).await };
        let mut written = written.into_iter();
        let mut answered = |state| match state {
            OrderState::Sent(known) => match written.next() {
                Some(Ok(Recorded::New(row))) => {
                    OrderState::Recorded(RecordedOrder { row, known, replay: false })
                }
                Some(Ok(Recorded::Replay(row))) => {
                    OrderState::Recorded(RecordedOrder { row, known, replay: true })
                }
                Some(Err(LedgerError::Store(error))) => OrderState::Refused(IssueError::Store(error)),
                Some(Err(refused)) => OrderState::Settled(refused.into()),
                None => OrderState::Refused(IssueError::Fault("an order without an answer")),
            },
            other => other,
        };
        states.into_iter().map(&mut answered).collect()
    }

    /// Records a token of class 1, which needs no key: the row and whether it was there before.
    ///
    /// # Errors
    /// [`IssueError`], which says whether the ledger may hold the row.
    pub async fn issue_display(
        &self,
        caller: &Caller,
        request_id: Uuid,
        display: Display,
        deadline: Option<Instant>,
    ) -> Result<(TokenRow, bool), IssueError> {
        let mut hash = Sha256::new();
        hash.update(b"vendkey display request v1\0");
        hash.update(display.block().bits().to_be_bytes());
        let request_hash = hash.finalize().into();
        match self.record_display(caller, request_id, request_hash, display, deadline).await {
            Ok(Recorded::New(row)) => Ok((row, false)),
            Ok(Recorded::Replay(row)) => Ok((row, true)),
            Err(refused) => Ok((self.replayed(caller, request_id, request_hash, refused).await?, true)),
        }
    }

    async fn record_display(
        &self,
        caller: &Caller,
        request_id: Uuid,
        request_hash: [u8; 32],
        display: Display,
        deadline: Option<Instant>,
    ) -> Result<Recorded, IssueError> {
        self.self_tested()?;
        caller.may_issue(TokenKind::MeterTest)?;
        let now_ms = self.guard.pass()?;
        let new = NewToken {
            client: caller.client,
            credential: caller.key_id.to_string(),
            request_id,
            request_hash,
            now_ms,
            content: Content::Fixed { configuration: None, meter: None, display },
            requests_from_ms: self.policy.requests_from_ms(now_ms),
            deadline,
        };
        Ok(self.store.record_token(new).await?)
    }

    /// The configuration, from memory after the first time. Every act with a key begins here, so
    /// here a failed self-test stops it.
    ///
    /// # Errors
    /// It is unknown or was not imported whole; what the store says.
    pub async fn known(&self, id: ConfigurationId) -> Result<Arc<Known>, IssueError> {
        self.self_tested()?;
        Ok(self
            .configurations
            .get(self.store.as_ref(), self.hsm.as_ref(), id)
            .await
            .map_err(IssueError::Store)??)
    }

    /// The configuration's key, if it, the policy and the HSM let it serve.
    pub(super) fn servable_key(&self, known: &Known) -> Result<VendingKey, Unusable> {
        let key = self.recorded_key(known)?;
        self.policy.allows(&known.attributes)?;
        Ok(key)
    }

    /// Checks every rule that needs no ledger.
    async fn check(&self, caller: &Caller, order: &IssueOrder) -> Result<CheckedOrder, IssueError> {
        let known = self.known(order.configuration).await?;
        let meter = order.meter.pan(&known)?;
        caller.may_issue(TokenKind::of(&order.asked.payload))?;
        caller.may_use(known.id, known.attributes.sgc)?;
        self.servable_key(&known)?;
        if order.asked.payload.class_subclass().0 == 0 {
            self.policy.allows_credit(known.attributes.kt)?;
        }
        let now_ms = self.guard.pass()?;
        let window = self.policy.window(&known.attributes, now_ms.div_euclid(1000), order.token_time)?;
        let new = NewToken {
            client: caller.client,
            credential: caller.key_id.to_string(),
            request_id: order.request_id,
            request_hash: request_hash(order, meter),
            now_ms,
            content: Content::Sequenced {
                configuration: known.id,
                meter,
                base_date: known.attributes.base_date,
                window,
                payload: order.asked.payload,
                rnd: draw_rnd()?,
            },
            requests_from_ms: self.policy.requests_from_ms(now_ms),
            deadline: order.deadline,
        };
        Ok(CheckedOrder { known, new })
    }

    /// The order's earlier row, if it was recorded before.
    async fn recorded_before(
        &self,
        caller: &Caller,
        order: &IssueOrder,
    ) -> Result<Option<RecordedOrder>, IssueError> {
        let known = self.known(order.configuration).await?;
        let meter = order.meter.pan(&known)?;
        let row = self.replay(caller, order.request_id, request_hash(order, meter)).await?;
        Ok(row.map(|row| RecordedOrder { row, known, replay: true }))
    }

    /// The row that a refused request got before, or the refusal.
    pub(super) async fn replayed(
        &self,
        caller: &Caller,
        request_id: Uuid,
        request_hash: [u8; 32],
        refused: IssueError,
    ) -> Result<TokenRow, IssueError> {
        match self.replay(caller, request_id, request_hash).await {
            Ok(row) => row.ok_or(refused),
            Err(error) => Err(refused.after_look(error)),
        }
    }

    /// The row of this request, if it was recorded before.
    async fn replay(
        &self,
        caller: &Caller,
        request_id: Uuid,
        request_hash: [u8; 32],
    ) -> Result<Option<TokenRow>, IssueError> {
        let row = self.store.issued_token_of_request(caller.client, request_id).await;
        match row.map_err(IssueError::Store)? {
            Some(row) if row.request_hash != request_hash => Err(IssueError::RequestIdReused),
            Some(row) if row.issued_ms < self.policy.requests_from_ms(self.guard.now_ms()) => {
                Err(IssueError::RequestIdTooOld)
            }
            row => Ok(row),
        }
    }
}

impl MeterNumber {
    pub(super) fn pan(self, known: &Known) -> Result<MeterPan, IssueError> {
        let text = match self {
            Self::Drn(drn) => drn.to_string(),
            Self::Pan(pan) => pan.to_string(),
        };
        Ok(MeterPan::parse(&text, known.attributes.iin)?)
    }
}

/// Four random bits; they only keep two otherwise equal blocks apart (STS facts §4).
fn draw_rnd() -> Result<Rnd, IssueError> {
    let mut byte = [0];
    getrandom::fill(&mut byte).map_err(|_| IssueError::Fault("the system gives no randomness"))?;
    Ok(Rnd::from_random(byte[0]))
}

/// SHA-256 over the parsed request: equal for a retry, however it was spelled, and for nothing
/// else.
fn request_hash(order: &IssueOrder, meter: MeterPan) -> [u8; 32] {
    let mut hash = Sha256::new();
    // Each part is of a fixed length.
    hash.update(b"vendkey request v1\0");
    hash.update(order.configuration.to_bytes());
    hash.update(meter.as_str());
    match order.token_time {
        None => hash.update([0]),
        Some(time) => {
            hash.update([1]);
            hash.update(time.to_be_bytes());
        }
    }
    let (class, subclass) = order.asked.payload.class_subclass();
    hash.update([class, subclass]);
    hash.update(order.asked.exact.to_be_bytes());
    hash.finalize().into()
}
