//! Carrying a meter from one stored configuration to another.
//!
//! The set holds the new decoder key, so its row holds none of its blocks: every answer derives it
//! again, digit for digit.

use std::{sync::Arc, time::Instant};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::encryption::{OnToken, on_any_token};
use super::{IssueError, KeyChangeRefused, Known, MeterNumber, Unusable, Vending, VendingHsm};
use crate::{
    access::Caller,
    crash,
    hsm::{HsmError, QueuePermit, TokenId, VendingKey},
    id::ConfigurationId,
    ledger::{Content, NewToken, Recorded, RowContent, TokenRow},
    sts::{
        cipher::DecoderKey,
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
        let (row, replay, keys) =
            match self.record_change(caller, &order, &source, &target, meter, request_hash).await {
                Ok((Recorded::New(row), keys)) => (row, false, keys),
                Ok((Recorded::Replay(row), keys)) => (row, true, keys),
                Err(refusal) => {
                    let row = self.replayed(caller, order.request_id, request_hash, refusal).await?;
                    let keys = self.both_keys(&source, &target, meter).map_err(IssueError::unsettled)?;
                    (row, true, keys.reserved(self.hsm.as_ref()).map_err(IssueError::after_commit)?)
                }
            };
        crash::point("key-change-after-record");
        let RowContent::KeyChange { roll_over, transfer_sgc, .. } = row.content else {
            return Err(IssueError::Fault("the row is of another kind"));
        };
        // From the row, so that a retry carries what the first answer carried.
        let plan = KeyChange::carrying(&target.attributes, transfer_sgc, roll_over);
        let tokens = self.tokens_of(keys, plan).await.map_err(IssueError::unsettled)?;
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
    ) -> Result<(Recorded, ReservedKeys), IssueError> {
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
        let keys = self.both_keys(source, target, meter)?;
        let reserved = || keys.clone().reserved(self.hsm.as_ref()).map_err(IssueError::before_commit);
        if plan.roll_over {
            // What only the keys can tell is asked before anything is recorded.
            let equal = || {
                |keys: &[DecoderKey<'_>]| match keys {
                    [current, new] => Some(bool::from(current.as_bytes().ct_eq(new.as_bytes()))),
                    _ => None,
                }
            };
            let equal = reserved()?.derived(self.hsm.as_ref(), equal).await;
            match equal.map_err(IssueError::before_commit)? {
                Some(false) => {}
                Some(true) => return Err(KeyChangeRefused::RevivesOldTokens.into()),
                None => return Err(IssueError::Fault("two decoder keys were asked for, others came")),
            }
        }
        let reserved = reserved()?;
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
        Ok((self.store.record_token(new).await?, reserved))
    }

    /// Derives both keys and makes the tokens of a plan.
    pub(super) async fn tokens_of(
        &self,
        keys: ReservedKeys,
        plan: KeyChange,
    ) -> Result<Vec<Token>, IssueError> {
        let work = || {
            move |keys: &[DecoderKey<'_>]| match keys {
                [current, new] => Some(plan.tokens(*current, *new)),
                _ => None,
            }
        };
        match keys.derived(self.hsm.as_ref(), work).await.map_err(IssueError::after_commit)? {
            Some(Ok(tokens)) => Ok(tokens),
            Some(Err(KeyChangeError::RevivesOldTokens)) => Err(KeyChangeRefused::RevivesOldTokens.into()),
            Some(Err(KeyChangeError::Cipher(_))) | None => {
                Err(IssueError::Fault("the decoder keys do not fit the algorithm"))
            }
        }
    }

    /// Both keys on each token that holds both, those that serve first: they are used together.
    pub(super) fn both_keys(
        &self,
        source: &Known,
        target: &Known,
        meter: MeterPan,
    ) -> Result<BothKeys, IssueError> {
        let (sources, targets) = (self.recorded_keys(source)?, self.recorded_keys(target)?);
        let derivation = |known: &Known| {
            Derivation::new(&known.attributes, &meter)
                .map_err(|_| IssueError::Fault("a configuration that cannot derive is in use"))
        };
        let derivations = [derivation(source)?, derivation(target)?];
        let pairs = sources.iter().filter_map(|source| {
            let target = targets.iter().find(|target| target.token == source.token)?;
            Some(KeysOnToken([*source, *target]))
        });
        let mut pairs: Vec<KeysOnToken> = pairs.collect();
        pairs.sort_by_key(|pair| !pair.is_served(self.hsm.as_ref()));
        let Some(first) = pairs.first() else {
            let tokens = sources.iter().chain(&targets).map(|key| key.token).collect();
            return Err(Unusable::OtherTokens(tokens).into());
        };
        Ok(BothKeys { token: first.token(), pairs, derivations })
    }
}

/// The keys of a change on one token.
#[derive(Clone, Copy, Debug)]
struct KeysOnToken([VendingKey; 2]);

impl OnToken for KeysOnToken {
    fn token(&self) -> TokenId {
        let [source, _] = self.0;
        source.token
    }

    fn is_served(&self, hsm: &dyn VendingHsm) -> bool {
        self.0.iter().all(|key| hsm.serves_key(key))
    }
}

/// The two keys of a change, on each token that holds both.
#[derive(Clone, Debug)]
pub(super) struct BothKeys {
    /// The best token.
    token: TokenId,
    pairs: Vec<KeysOnToken>,
    derivations: [Derivation; 2],
}

impl BothKeys {
    /// With a permit of the best token's queue.
    pub(super) fn reserved(self, hsm: &dyn VendingHsm) -> Result<ReservedKeys, HsmError> {
        Ok(ReservedKeys { permit: hsm.try_reserve_on(self.token)?, keys: self })
    }
}

/// The same with a permit to derive them.
#[derive(Debug)]
pub(super) struct ReservedKeys {
    permit: QueuePermit,
    keys: BothKeys,
}

impl ReservedKeys {
    async fn derived<R, F>(self, hsm: &dyn VendingHsm, work: impl Fn() -> F) -> Result<R, HsmError>
    where
        R: Send + 'static,
        F: FnOnce(&[DecoderKey<'_>]) -> R + Send + 'static,
    {
        let Self { permit, keys: BothKeys { pairs, derivations, .. } } = self;
        let wanted = |KeysOnToken(keys): &KeysOnToken| keys.iter().copied().zip(derivations).collect();
        on_any_token(hsm, permit, &pairs, wanted, work).await
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
