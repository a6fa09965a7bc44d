//! Issuing tokens: the row is durable before the token exists.
//!
//! One path for one token and for many: orders are checked one by one, recorded with one commit, and encrypted in jobs that share
//! their calls to the HSM. Orders of one meter get their identifiers in the order in which they stand.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{IssueError, Known, Unusable, Vending, VendingHsm};
use crate::{
    access::Caller,
    crash,
    hsm::{Place, VendingKey, WithDecoderKeys},
    store::{ConfigurationId, Content, LedgerError, NewToken, Recorded, RowContent, TokenKind, TokenRow},
    sts::{
        attributes::{Dkga, EncryptionAlgorithm},
        cipher::DecoderKey,
        derivation::Derivation,
        meter::{Drn, MeterPan},
        token::{ClearBlock, Display, Payload, Rnd, Token},
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
    pub known: Arc<Known>,
    /// Whether the row was there before.
    pub replay: bool,
}

/// Orders that are on record, or refused, and whose tokens do not exist yet.
#[derive(Debug)]
#[must_use = "tokens on record wait to be encrypted"]
pub struct RecordedOrders {
    slots: Vec<Result<Slot, IssueError>>,
    jobs: Vec<Job>,
}

/// What becomes an [`IssuedToken`].
#[derive(Debug)]
struct Slot {
    row: TokenRow,
    known: Arc<Known>,
    replay: bool,
    /// Present once encrypted.
    token: Option<Token>,
}

/// Orders under one key that share a place in the HSM's queue.
#[derive(Debug)]
struct Job {
    place: Place,
    orders: Vec<usize>,
}

/// Decoder keys of one job. DKGA04 costs a call for each, and a long job would make others wait.
const JOB_OF_CALLS: usize = 128;
/// DES derivations share two calls, so the more the better; what the HSM layer takes at most.
const JOB_OF_BLOCKS: usize = crate::hsm::MOST_DECODER_KEYS;

/// An order that passed the rules.
struct Ready {
    known: Arc<Known>,
    new: NewToken,
}

impl Vending {
    /// Issues a token, or answers the one that this request got before.
    ///
    /// A refusal leaves nothing in the ledger. [`IssueError`] says after a failure whether the ledger may hold the token.
    pub async fn issue(&self, caller: &Caller, order: IssueOrder) -> Result<IssuedToken, IssueError> {
        let mut issued = self.issue_many(caller, vec![order]).await;
        issued.pop().unwrap_or(Err(IssueError::Fault("an order without an answer")))
    }

    /// Issues tokens, each as [`Vending::issue`] does, with one commit for all. The answers are in the order of the orders.
    pub async fn issue_many(
        &self,
        caller: &Caller,
        orders: Vec<IssueOrder>,
    ) -> Vec<Result<IssuedToken, IssueError>> {
        let recorded = self.record_many(caller, &orders).await;
        self.encrypt_many(recorded).await
    }

    /// The first half: checks the rules, takes places in the HSM's queue and writes the rows.
    pub async fn record_many(&self, caller: &Caller, orders: &[IssueOrder]) -> RecordedOrders {
        let mut slots: Vec<Result<Slot, IssueError>> = Vec::with_capacity(orders.len());
        let mut ready: Vec<Option<Ready>> = Vec::with_capacity(orders.len());
        for order in orders {
            let (slot, order) = match self.check(caller, order).await {
                Ok(order) => (Err(IssueError::Fault("an order was not recorded")), Some(order)),
                Err(refusal) => (Err(refusal), None),
            };
            slots.push(slot);
            ready.push(order);
        }
        let mut jobs = self.reserve(&mut slots, &mut ready);

        let (mut places, mut new) = (Vec::new(), Vec::new());
        for (place, order) in ready.iter_mut().enumerate() {
            if let Some(Ready { known, new: token }) = order.take() {
                places.push((place, known));
                new.push(token);
            }
        }
        let mut answered = vec![false; orders.len()];
        let recorded = if new.is_empty() { Vec::new() } else { self.store.record_tokens(new).await };
        for ((place, known), recorded) in places.into_iter().zip(recorded) {
            // The ledger looked for an earlier row before it refused.
            answered[place] = !matches!(recorded, Err(LedgerError::Store(_)));
            slots[place] = match recorded {
                Ok(Recorded::New(row)) => Ok(Slot { row, known, replay: false, token: None }),
                Ok(Recorded::Replay(row)) => Ok(Slot { row, known, replay: true, token: None }),
                Err(error) => Err(error.into()),
            };
        }
        for job in &mut jobs {
            job.orders.retain(|order| slots[*order].is_ok());
        }
        jobs.retain(|job| !job.orders.is_empty());

        // What is refused now may have been issued before: a retry gets its token whatever changed since.
        for (place, order) in orders.iter().enumerate() {
            if answered[place] || slots[place].is_ok() {
                continue;
            }
            match self.recorded_before(caller, order).await {
                Ok(None) => {}
                Ok(Some(slot)) => {
                    slots[place] = match self.hsm.try_reserve() {
                        Ok(reserved) => {
                            jobs.push(Job { place: reserved, orders: vec![place] });
                            Ok(slot)
                        }
                        Err(error) => Err(IssueError::after_commit(error)),
                    };
                }
                Err(error) => {
                    let refused = std::mem::replace(&mut slots[place], Err(IssueError::Fault("replaced")));
                    slots[place] = refused.map_err(|refused| refused.after_look(error));
                }
            }
        }
        crash::point("issue-after-record");
        RecordedOrders { slots, jobs }
    }

    /// The second half: encrypts the blocks of the rows. Dropping it half-way loses nothing but answers.
    pub async fn encrypt_many(&self, recorded: RecordedOrders) -> Vec<Result<IssuedToken, IssueError>> {
        let RecordedOrders { mut slots, jobs } = recorded;
        let mut running = tokio::task::JoinSet::new();
        let one = jobs.len() == 1;
        for Job { place, orders } in jobs {
            let blocks = orders.iter().map(|order| self.block_of(slots.get(*order))).collect();
            let hsm = self.hsm.clone();
            let work = async move { (orders, encrypt(hsm.as_ref(), place, blocks).await) };
            if one {
                let (orders, tokens) = work.await;
                settle(&mut slots, &orders, tokens);
            } else {
                running.spawn(work);
            }
        }
        while let Some(done) = running.join_next().await {
            if let Ok((orders, tokens)) = done {
                settle(&mut slots, &orders, tokens);
            }
        }
        crash::point("issue-before-answer");
        let issued = |slot: Slot| match slot {
            Slot { row, known, replay, token: Some(token) } => Ok(IssuedToken { token, row, known, replay }),
            Slot { token: None, .. } => Err(IssueError::Fault("a row was not encrypted").unsettled()),
        };
        slots.into_iter().map(|slot| slot.and_then(issued)).collect()
    }

    /// Records a token of class 1, which needs no key: the row and whether it was there before.
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

    /// Encrypts the block of a row again: the same digits whenever it is done. For rows with a block under a key.
    pub async fn reproduce(&self, rows: Vec<TokenRow>) -> Vec<Result<IssuedToken, IssueError>> {
        let (mut slots, mut ready) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for row in rows {
            let known = match row.content.configuration() {
                Some(id) => self.known(id).await,
                None => Err(IssueError::Fault("the row names no configuration")),
            };
            match known {
                Ok(known) => {
                    ready.push(Some(known.clone()));
                    slots.push(Ok(Slot { row, known, replay: true, token: None }));
                }
                Err(error) => {
                    ready.push(None);
                    slots.push(Err(error));
                }
            }
        }
        let jobs = self.reserve(&mut slots, &mut ready);
        self.encrypt_many(RecordedOrders { slots, jobs }).await
    }

    /// The configuration, from memory after the first time. Every act with a key begins here, so here a failed self-test
    /// stops it.
    ///
    /// # Errors
    /// It is unknown or was not imported whole; what the store says.
    pub async fn known(&self, id: ConfigurationId) -> Result<Arc<Known>, IssueError> {
        self.self_tested()?;
        Ok(self
            .configurations
            .get(self.store.as_ref(), self.hsm.tokens(), id)
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
    async fn check(&self, caller: &Caller, order: &IssueOrder) -> Result<Ready, IssueError> {
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
        Ok(Ready { known, new })
    }

    /// Takes places in the HSM's queue, one for each job. Orders that get none are refused before anything is written.
    fn reserve<R: UnderKey>(
        &self,
        slots: &mut [Result<Slot, IssueError>],
        ready: &mut [Option<R>],
    ) -> Vec<Job> {
        let mut by_key: BTreeMap<ConfigurationId, (Dkga, Vec<usize>)> = BTreeMap::new();
        for (place, order) in ready.iter().enumerate() {
            if let Some(known) = order.as_ref().map(UnderKey::known) {
                let of_key = by_key.entry(known.id).or_insert_with(|| (known.attributes.dkga, Vec::new()));
                of_key.1.push(place);
            }
        }
        let mut jobs = Vec::with_capacity(by_key.len());
        for (dkga, orders) in by_key.into_values() {
            let most = if dkga == Dkga::Dkga04 { JOB_OF_CALLS } else { JOB_OF_BLOCKS };
            for orders in orders.chunks(most) {
                match self.hsm.try_reserve() {
                    Ok(place) => jobs.push(Job { place, orders: orders.to_vec() }),
                    Err(error) => {
                        for order in orders {
                            slots[*order] = Err(IssueError::before_commit(error.clone()));
                            ready[*order] = None;
                        }
                    }
                }
            }
        }
        jobs
    }

    /// The order's earlier row, if it was recorded before.
    async fn recorded_before(&self, caller: &Caller, order: &IssueOrder) -> Result<Option<Slot>, IssueError> {
        let known = self.known(order.configuration).await?;
        let meter = order.meter.pan(&known)?;
        let row = self.replay(caller, order.request_id, request_hash(order, meter)).await?;
        Ok(row.map(|row| Slot { row, known, replay: true, token: None }))
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

    /// The key of a configuration that has rows: what was issued is answered again, whatever the policy says now.
    pub(super) fn recorded_key(&self, known: &Known) -> Result<VendingKey, Unusable> {
        let key = known.key()?;
        self.hsm
            .capabilities()
            .serves(key.class.kind())
            .map_err(|why| Unusable::KeyClass(why.to_string()))?;
        Ok(key)
    }

    /// What a row's token is made of.
    fn block_of(&self, slot: Option<&Result<Slot, IssueError>>) -> Result<Block, IssueError> {
        let Some(Ok(Slot { row, known, .. })) = slot else {
            return Err(IssueError::Fault("a job for an order that was refused"));
        };
        let RowContent::Sequenced { meter, block, .. } = &row.content else {
            return Err(IssueError::Fault("the row is of another kind"));
        };
        let derivation = Derivation::new(&known.attributes, meter)
            .map_err(|_| IssueError::Fault("a configuration that cannot derive has rows"))?;
        Ok(Block {
            key: self.recorded_key(known)?,
            derivation,
            ea: known.attributes.ea,
            block: block.clone(),
        })
    }
}

/// Whatever waits for work under the key of a configuration.
trait UnderKey {
    fn known(&self) -> &Known;
}

impl UnderKey for Ready {
    fn known(&self) -> &Known {
        &self.known
    }
}

impl UnderKey for Arc<Known> {
    fn known(&self) -> &Known {
        self
    }
}

/// What a token is made of.
struct Block {
    key: VendingKey,
    derivation: Derivation,
    ea: EncryptionAlgorithm,
    block: ClearBlock,
}

/// Encrypts the blocks of one job. One that cannot be does not hold up the others.
async fn encrypt(
    hsm: &dyn VendingHsm,
    place: Place,
    blocks: Vec<Result<Block, IssueError>>,
) -> Vec<Result<Token, IssueError>> {
    let mut tokens: Vec<Result<Token, IssueError>> = Vec::with_capacity(blocks.len());
    let (mut wanted, mut clear, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for block in blocks {
        match block {
            Ok(Block { key, derivation, ea, block }) => {
                places.push(tokens.len());
                wanted.push((key, derivation));
                clear.push((ea, block));
                tokens.push(Err(IssueError::Fault("a block without its token")));
            }
            Err(error) => tokens.push(Err(error)),
        }
    }
    let work = move |keys: &[DecoderKey<'_>]| {
        crash::point("issue-after-derivation");
        keys.iter().zip(&clear).map(|(key, (ea, block))| block.encrypt(*ea, *key)).collect::<Vec<_>>()
    };
    match hsm.with_decoder_keys(place, wanted, work).await {
        Ok(encrypted) => {
            for (place, token) in places.into_iter().zip(encrypted) {
                tokens[place] =
                    token.map_err(|_| IssueError::Fault("the decoder key does not fit the algorithm"));
            }
        }
        Err(error) => {
            for place in places {
                tokens[place] = Err(IssueError::after_commit(error.clone()));
            }
        }
    }
    tokens
}

/// Puts the tokens of a job into their slots.
fn settle(slots: &mut [Result<Slot, IssueError>], orders: &[usize], tokens: Vec<Result<Token, IssueError>>) {
    for (order, token) in orders.iter().zip(tokens) {
        match (token, &mut slots[*order]) {
            (Ok(token), Ok(slot)) => slot.token = Some(token),
            // After the row: it is there.
            (Err(error), slot) => *slot = Err(error.unsettled()),
            (Ok(_), Err(_)) => {}
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
