//! Carrying a meter from one stored configuration to another.
//!
//! The set holds the new decoder key, so its row holds none of its blocks: every answer derives it
//! again, digit for digit.

use std::{sync::Arc, time::Instant};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::{IssueError, KeyChangeRefused, Known, MeterNumber, Unusable, Vending};
use crate::{
    access::Caller,
    crash,
    hsm::{QueuePermit, VendingKey, WithDecoderKeys},
    id::ConfigurationId,
    ledger::{Content, NewToken, Recorded, RowContent, TokenRow},
    sts::{
        derivation::Derivation,
        meter::MeterPan,
        token::{
            Token,
            key_change::{KeyChange, KeyChangeError},
        },
    },
};

/// A parsed request for a key-change set.
#[derive(Debug, Clone)]
pub struct KeyChangeOrder {
    /// Under whose key the meter is.
    pub source: ConfigurationId,
    /// Under whose key it comes.
    pub target: ConfigurationId,
    /// For which meter.
    pub meter: MeterNumber,
    /// The caller's name of the request.
    pub request_id: Uuid,
    /// Whether a set for a 64-bit key transfers the supply group code by a third token.
    pub transfer_sgc: bool,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
}

/// A set and its row.
#[derive(Debug)]
pub struct IssuedKeyChange {
    /// The tokens, in the order in which they are printed.
    pub tokens: Vec<Token>,
    /// What they carry.
    pub plan: KeyChange,
    /// The meter.
    pub meter: MeterPan,
    /// What the ledger holds.
    pub row: TokenRow,
    /// Under whose key the meter is.
    pub source: Arc<Known>,
    /// Under whose key it comes.
    pub target: Arc<Known>,
    /// Whether the row was there before.
    pub replay: bool,
}

/// The two keys of a change, ready to be derived.
type Wanted = Vec<(VendingKey, Derivation)>;

impl Vending {
    /// Issues a key-change set, or answers the one that this request got before.
    ///
    /// A refusal leaves nothing in the ledger.
    ///
    /// # Errors
    /// [`IssueError`], which says after a failure whether the ledger may hold the set.
    pub async fn change_key(
        &self,
        caller: &Caller,
        order: KeyChangeOrder,
    ) -> Result<IssuedKeyChange, IssueError> {
        self.self_tested()?;
        let (source, target) = (self.known(order.source).await?, self.known(order.target).await?);
        let meter = order.meter.pan(&source)?;
        let request_hash = request_hash(&order, meter);
        let (row, replay, permit) =
            match self.record_change(caller, &order, &source, &target, meter, request_hash).await {
                Ok((Recorded::New(row), permit)) => (row, false, permit),
                Ok((Recorded::Replay(row), permit)) => (row, true, permit),
                Err(refusal) => {
                    let row = self.replayed(caller, order.request_id, request_hash, refusal).await?;
                    (row, true, self.permit_for(&source).map_err(IssueError::after_commit)?)
                }
            };
        crash::point("key-change-after-record");
        let RowContent::KeyChange { roll_over, transfer_sgc, .. } = row.content else {
            return Err(IssueError::Fault("the row is of another kind"));
        };
        // From the row, so that a retry carries what the first answer carried.
        let plan = KeyChange::carrying(&target.attributes, transfer_sgc, roll_over);
        let tokens =
            self.tokens_of(permit, &source, &target, meter, plan).await.map_err(IssueError::unsettled)?;
        Ok(IssuedKeyChange { tokens, plan, meter, row, source, target, replay })
    }

    async fn record_change(
        &self,
        caller: &Caller,
        order: &KeyChangeOrder,
        source: &Known,
        target: &Known,
        meter: MeterPan,
        request_hash: [u8; 32],
    ) -> Result<(Recorded, QueuePermit), IssueError> {
        for known in [source, target] {
            caller.may_use(known.id, known.attributes.sgc)?;
        }
        let now_ms = self.guard.pass()?;
        let plan = KeyChange::plan(
            &source.attributes,
            &target.attributes,
            order.transfer_sgc,
            now_ms.div_euclid(1000),
        )
        .map_err(KeyChangeRefused::from)?;
        self.servable_key(source)?;
        self.servable_key(target)?;
        let wanted = self.wanted(source, target, meter)?;
        if plan.roll_over {
            // What only the keys can tell is asked before anything is recorded.
            let permit = self.permit_for(source).map_err(IssueError::before_commit)?;
            let equal = self.hsm.with_decoder_keys(permit, wanted, |keys| match keys {
                [current, new] => Some(bool::from(current.as_bytes().ct_eq(new.as_bytes()))),
                _ => None,
            });
            match equal.await.map_err(IssueError::before_commit)? {
                Some(false) => {}
                Some(true) => return Err(KeyChangeRefused::RevivesOldTokens.into()),
                None => return Err(IssueError::Fault("two decoder keys were asked for, others came")),
            }
        }
        let permit = self.permit_for(source).map_err(IssueError::before_commit)?;
        let new = NewToken {
            client: caller.client,
            credential: caller.key_id.to_string(),
            request_id: order.request_id,
            request_hash,
            now_ms,
            content: Content::KeyChange {
                configuration: source.id,
                meter,
                target: target.id,
                roll_over: plan.roll_over,
                transfer_sgc: order.transfer_sgc,
            },
            requests_from_ms: self.policy.requests_from_ms(now_ms),
            deadline: order.deadline,
        };
        Ok((self.store.record_token(new).await?, permit))
    }

    /// Derives both keys and makes the tokens of a plan.
    pub(super) async fn tokens_of(
        &self,
        permit: QueuePermit,
        source: &Known,
        target: &Known,
        meter: MeterPan,
        plan: KeyChange,
    ) -> Result<Vec<Token>, IssueError> {
        let wanted = self.wanted(source, target, meter)?;
        let made = self.hsm.with_decoder_keys(permit, wanted, move |keys| match keys {
            [current, new] => Some(plan.tokens(*current, *new)),
            _ => None,
        });
        match made.await.map_err(IssueError::after_commit)? {
            Some(Ok(tokens)) => Ok(tokens),
            Some(Err(KeyChangeError::RevivesOldTokens)) => Err(KeyChangeRefused::RevivesOldTokens.into()),
            Some(Err(KeyChangeError::Cipher(_))) | None => {
                Err(IssueError::Fault("the decoder keys do not fit the algorithm"))
            }
        }
    }

    /// Both keys, on the best token that holds both: they are used together.
    fn wanted(&self, source: &Known, target: &Known, meter: MeterPan) -> Result<Wanted, IssueError> {
        let (sources, targets) = (self.recorded_keys(source)?, self.recorded_keys(target)?);
        let pairs = sources.iter().filter_map(|source| {
            targets.iter().find(|target| target.token == source.token).map(|target| [*source, *target])
        });
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_by_key(|pair| !pair.iter().all(|key| self.hsm.serves_key(key)));
        let pair = pairs.first().ok_or_else(|| {
            Unusable::OtherTokens(sources.iter().chain(&targets).map(|key| key.token).collect())
        })?;
        [source, target]
            .into_iter()
            .zip(pair)
            .map(|(known, key)| {
                let derivation = Derivation::new(&known.attributes, &meter)
                    .map_err(|_| IssueError::Fault("a configuration that cannot derive is in use"))?;
                Ok((*key, derivation))
            })
            .collect()
    }
}

/// SHA-256 over the parsed request: equal for a retry, however it was spelled, and for nothing
/// else.
fn request_hash(order: &KeyChangeOrder, meter: MeterPan) -> [u8; 32] {
    let mut hash = Sha256::new();
    // Each part is of a fixed length.
    hash.update(b"vendkey key change request v1\0");
    hash.update(order.source.to_bytes());
    hash.update(order.target.to_bytes());
    hash.update(meter.as_str());
    hash.update([u8::from(order.transfer_sgc)]);
    hash.finalize().into()
}
