//! Issuing a token: the row is durable before the token exists.

use std::time::Instant;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{IssueError, Known, Unusable, Vending};
use crate::{
    access::Caller,
    crash,
    hsm::{Place, VendingKey},
    store::{ConfigurationId, Content, NewToken, Recorded, RowContent, TokenRow},
    sts::{
        derivation::Derivation,
        meter::{Drn, MeterPan},
        token::{Display, Payload, Rnd, Token},
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

/// A token and its row.
#[derive(Debug)]
pub struct IssuedToken {
    /// The 20 digits.
    pub token: Token,
    /// What the ledger holds of it.
    pub row: TokenRow,
    /// The configuration.
    pub known: std::sync::Arc<Known>,
    /// Whether the row was there before.
    pub replay: bool,
}

impl Vending {
    /// Issues a token, or answers the one that this request got before.
    ///
    /// A refusal leaves nothing in the ledger. [`IssueError`] says after a failure whether the ledger may hold the token.
    pub async fn issue(&self, caller: &Caller, order: IssueOrder) -> Result<IssuedToken, IssueError> {
        let known = self.known(order.configuration).await?;
        let meter = order.meter.pan(&known)?;
        let request_hash = request_hash(&order, meter);
        let (row, replay, place) = match self.record(caller, &order, &known, meter, request_hash).await {
            Ok((Recorded::New(row), place)) => (row, false, place),
            Ok((Recorded::Replay(row), place)) => (row, true, place),
            Err(refusal) => {
                // What is refused now may have been issued before: a retry gets its token whatever changed since.
                let row = self.replay(caller, order.request_id, request_hash).await?.ok_or(refusal)?;
                (row, true, self.hsm.try_reserve().map_err(IssueError::after_commit)?)
            }
        };
        crash::point("issue-after-record");
        let token = self.encrypt(place, &row, &known).await?;
        crash::point("issue-before-answer");
        Ok(IssuedToken { token, row, known, replay })
    }

    /// Records a token of class 1, which needs no key: the row and whether it was there before.
    pub async fn issue_display(
        &self,
        caller: &Caller,
        request_id: Uuid,
        display: Display,
        deadline: Option<Instant>,
    ) -> Result<(TokenRow, bool), IssueError> {
        self.self_tested()?;
        let mut hash = Sha256::new();
        hash.update(b"vendkey display request v1\0");
        hash.update(display.block().bits().to_be_bytes());
        let new = NewToken {
            client: caller.client,
            credential: caller.key_id.to_string(),
            request_id,
            request_hash: hash.finalize().into(),
            now_ms: self.clock.now_ms(),
            content: Content::Fixed { configuration: None, meter: None, display },
            deadline,
        };
        Ok(match self.store.record_token(new).await? {
            Recorded::New(row) => (row, false),
            Recorded::Replay(row) => (row, true),
        })
    }

    /// The configuration, from memory after the first time. Every act with a key begins here, so here a failed self-test
    /// stops it.
    pub(super) async fn known(&self, id: ConfigurationId) -> Result<std::sync::Arc<Known>, IssueError> {
        self.self_tested()?;
        Ok(self.configurations.get(self.store.as_ref(), id).await.map_err(IssueError::Store)??)
    }

    /// The configuration's key, if it, the policy and the HSM let it serve.
    pub(super) fn servable_key(&self, known: &Known) -> Result<VendingKey, Unusable> {
        let key = known.usable_key(&self.policy)?;
        self.hsm
            .capabilities()
            .serves(key.class.kind())
            .map_err(|why| Unusable::KeyClass(why.to_string()))?;
        Ok(key)
    }

    /// Checks the rules, takes a place in the HSM's queue and writes the row.
    async fn record(
        &self,
        caller: &Caller,
        order: &IssueOrder,
        known: &Known,
        meter: MeterPan,
        request_hash: [u8; 32],
    ) -> Result<(Recorded, Place), IssueError> {
        self.servable_key(known)?;
        if order.asked.payload.class_subclass().0 == 0 {
            self.policy.allows_credit(known.attributes.kt)?;
        }
        let now_ms = self.clock.now_ms();
        let window = self.policy.window(&known.attributes, now_ms.div_euclid(1000), order.token_time)?;
        let rnd = draw_rnd()?;
        let place = self.hsm.try_reserve().map_err(IssueError::before_commit)?;
        let new = NewToken {
            client: caller.client,
            credential: caller.key_id.to_string(),
            request_id: order.request_id,
            request_hash,
            now_ms,
            content: Content::Sequenced {
                configuration: known.id,
                meter,
                base_date: known.attributes.base_date,
                window,
                payload: order.asked.payload,
                rnd,
            },
            deadline: order.deadline,
        };
        Ok((self.store.record_token(new).await?, place))
    }

    /// The row of this request, if it was recorded before.
    pub(super) async fn replay(
        &self,
        caller: &Caller,
        request_id: Uuid,
        request_hash: [u8; 32],
    ) -> Result<Option<TokenRow>, IssueError> {
        let row = self.store.issued_token_of_request(caller.client, request_id).await;
        match row.map_err(IssueError::Store)? {
            Some(row) if row.request_hash != request_hash => Err(IssueError::RequestIdReused),
            row => Ok(row),
        }
    }

    /// Encrypts the block of a row: the same digits whenever it is done.
    async fn encrypt(&self, place: Place, row: &TokenRow, known: &Known) -> Result<Token, IssueError> {
        let RowContent::Sequenced { meter, block, .. } = &row.content else {
            return Err(IssueError::Fault("the row is of another kind"));
        };
        let key = self.servable_key(known)?;
        let derivation = Derivation::new(&known.attributes, meter)
            .map_err(|_| IssueError::Fault("a configuration that cannot derive has rows"))?;
        let (ea, block) = (known.attributes.ea, block.clone());
        let work = move |keys: &[crate::sts::cipher::DecoderKey<'_>]| {
            keys.first().map(|key| block.encrypt(ea, *key))
        };
        match self.hsm.with_decoder_keys(place, vec![(key, derivation)], work).await {
            Ok(Some(Ok(token))) => Ok(token),
            Ok(_) => Err(IssueError::Fault("the decoder key does not fit the algorithm")),
            Err(error) => Err(IssueError::after_commit(error)),
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

/// SHA-256 over the parsed request: equal for a retry, however it was spelled, and for nothing else.
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
