//! From rows of the ledger to tokens: the blocks are encrypted in jobs that share their calls to
//! the HSM.

use std::{collections::BTreeMap, sync::Arc};

use super::{IssueError, Known, Unusable, Vending, VendingHsm};
use crate::{
    crash,
    hsm::{HsmError, QueuePermit, TokenId, VendingKey, WithDecoderKeys},
    id::ConfigurationId,
    ledger::{RowContent, TokenRow},
    sts::{
        attributes::{Dkga, EncryptionAlgorithm},
        cipher::DecoderKey,
        derivation::Derivation,
        token::{ClearBlock, Token},
    },
};

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
    /// In the order in which they were asked for.
    pub(super) orders: Vec<Result<RecordedOrder, IssueError>>,
    /// What is to be encrypted of them.
    pub(super) jobs: Vec<Job>,
}

/// An order whose row is in the ledger.
#[derive(Debug)]
pub(super) struct RecordedOrder {
    pub(super) row: TokenRow,
    pub(super) known: Arc<Known>,
    /// Whether the row was there before.
    pub(super) replay: bool,
}

/// Orders under one key that share a permit of the HSM's queue.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) permit: QueuePermit,
    /// Which of the orders.
    pub(super) orders: Vec<usize>,
}

/// The permits of the HSM's queue for some orders.
pub(super) struct Reserved {
    pub(super) jobs: Vec<Job>,
    /// Those for which there was no permit.
    pub(super) refused: Vec<(usize, IssueError)>,
}

/// Decoder keys of one job. DKGA04 costs a call for each, and a long job would make others wait.
const JOB_OF_CALLS: usize = 128;
/// DES derivations share two calls, so the more the better; what the HSM layer takes at most.
const JOB_OF_BLOCKS: usize = crate::hsm::MOST_DECODER_KEYS;

impl Vending {
    /// Takes permits of the HSM's queue, one for each job of these orders.
    pub(super) fn reserve<'a>(&self, orders: impl Iterator<Item = (usize, &'a Known)>) -> Reserved {
        let mut by_key: BTreeMap<ConfigurationId, (&Known, Vec<usize>)> = BTreeMap::new();
        for (order, known) in orders {
            by_key.entry(known.id).or_insert_with(|| (known, Vec::new())).1.push(order);
        }
        let mut reserved = Reserved { jobs: Vec::with_capacity(by_key.len()), refused: Vec::new() };
        for (known, orders) in by_key.into_values() {
            let most = match known.attributes.dkga {
                // Shared out among the sessions, which wait for the HSM at the same time.
                Dkga::Dkga04 => orders.len().div_ceil(self.hsm.jobs_at_once()).clamp(1, JOB_OF_CALLS),
                _ => JOB_OF_BLOCKS,
            };
            for orders in orders.chunks(most) {
                match self.permit_for(known) {
                    Ok(permit) => reserved.jobs.push(Job { permit, orders: orders.to_vec() }),
                    Err(error) => {
                        let refused = |order: &usize| (*order, IssueError::before_commit(error.clone()));
                        reserved.refused.extend(orders.iter().map(refused));
                    }
                }
            }
        }
        reserved
    }

    /// The second half of issuing: encrypts the blocks of the rows. Dropping it half-way loses
    /// nothing but answers.
    pub async fn encrypt_many(&self, recorded: RecordedOrders) -> Vec<Result<IssuedToken, IssueError>> {
        let RecordedOrders { orders, jobs } = recorded;
        let mut tokens: BTreeMap<usize, Result<Token, IssueError>> = BTreeMap::new();
        let mut running = tokio::task::JoinSet::new();
        let single = jobs.len() == 1;
        for Job { permit, orders: of_job } in jobs {
            let blocks = of_job.iter().map(|order| self.block_of(orders.get(*order))).collect();
            let hsm = self.hsm.clone();
            let work = async move { of_job.into_iter().zip(encrypt(hsm.as_ref(), permit, blocks).await) };
            if single {
                tokens.extend(work.await);
            } else {
                running.spawn(work);
            }
        }
        while let Some(done) = running.join_next().await {
            if let Ok(encrypted) = done {
                tokens.extend(encrypted);
            }
        }
        crash::point("issue-before-answer");
        let issued = |(order, recorded): (usize, Result<RecordedOrder, IssueError>)| {
            let RecordedOrder { row, known, replay } = recorded?;
            let token = tokens.remove(&order).unwrap_or(Err(IssueError::Fault("a row was not encrypted")));
            // After the row: it is there.
            Ok(IssuedToken { token: token.map_err(IssueError::unsettled)?, row, known, replay })
        };
        orders.into_iter().enumerate().map(issued).collect()
    }

    /// Encrypts the block of a row again: the same digits whenever it is done. For rows with a
    /// block under a key.
    pub async fn reproduce(&self, rows: Vec<TokenRow>) -> Vec<Result<IssuedToken, IssueError>> {
        let mut orders = Vec::with_capacity(rows.len());
        let links = match self.store.check_links(rows.clone()).await {
            Ok(links) => links,
            Err(error) => vec![Err(error); rows.len()],
        };
        for (row, linked) in rows.into_iter().zip(links) {
            let known = match (linked, row.content.configuration()) {
                (Err(error), _) => Err(IssueError::Store(error)),
                (Ok(()), Some(id)) => self.known(id).await,
                (Ok(()), None) => Err(IssueError::Fault("the row names no configuration")),
            };
            orders.push(known.map(|known| RecordedOrder { row, known, replay: true }));
        }
        let known = |(index, order): (usize, &'_ Result<RecordedOrder, IssueError>)| match order {
            Ok(order) => Some((index, order.known.clone())),
            Err(_) => None,
        };
        let of_keys: Vec<(usize, Arc<Known>)> = orders.iter().enumerate().filter_map(known).collect();
        let Reserved { jobs, refused } =
            self.reserve(of_keys.iter().map(|(index, known)| (*index, known.as_ref())));
        for (index, error) in refused {
            orders[index] = Err(error);
        }
        self.encrypt_many(RecordedOrders { orders, jobs }).await
    }

    /// The key of a configuration that has rows, on each token that holds it, those that serve first:
    /// what was issued is answered again, whatever the policy says now.
    pub(super) fn recorded_keys(&self, known: &Known) -> Result<Vec<VendingKey>, Unusable> {
        let mut keys = known.keys()?.to_vec();
        if let Some(key) = keys.first() {
            let served = self.hsm.first().capabilities().serves(key.class.kind());
            served.map_err(|why| Unusable::KeyClass(why.to_string()))?;
        }
        keys.sort_by_key(|key| !self.hsm.serves_key(key));
        Ok(keys)
    }

    /// The same on the best of these tokens.
    pub(super) fn recorded_key(&self, known: &Known) -> Result<VendingKey, Unusable> {
        let best = self.recorded_keys(known)?.into_iter().next();
        best.ok_or_else(|| Unusable::Unservable(Vec::new()))
    }

    /// A permit of the queue of the best token for this key.
    pub(super) fn permit_for(&self, known: &Known) -> Result<QueuePermit, HsmError> {
        match self.recorded_key(known) {
            Ok(key) => self.hsm.try_reserve_on(key.token),
            // What is in the way is told where the key is used.
            Err(_) => self.hsm.try_reserve(),
        }
    }

    /// What a row's token is made of.
    fn block_of(&self, order: Option<&Result<RecordedOrder, IssueError>>) -> Result<Block, IssueError> {
        let Some(Ok(RecordedOrder { row, known, .. })) = order else {
            return Err(IssueError::Fault("a job for an order that was refused"));
        };
        let RowContent::Sequenced { meter, block, .. } = &row.content else {
            return Err(IssueError::Fault("the row is of another kind"));
        };
        let derivation = Derivation::new(&known.attributes, meter)
            .map_err(|_| IssueError::Fault("a configuration that cannot derive has rows"))?;
        Ok(Block {
            keys: self.recorded_keys(known)?,
            derivation,
            ea: known.attributes.ea,
            block: block.clone(),
        })
    }
}

/// What a token is made of.
struct Block {
    /// On each token that holds it, the best first.
    keys: Vec<VendingKey>,
    derivation: Derivation,
    ea: EncryptionAlgorithm,
    block: ClearBlock,
}

/// What lies on one token together.
pub(super) trait OnToken {
    /// The token.
    fn token(&self) -> TokenId;

    /// Whether it serves all of it.
    fn is_served(&self, hsm: &dyn VendingHsm) -> bool;
}

impl OnToken for VendingKey {
    fn token(&self) -> TokenId {
        self.token
    }

    fn is_served(&self, hsm: &dyn VendingHsm) -> bool {
        hsm.serves_key(self)
    }
}

/// Does work with decoder keys by the first token that can: one that fails is followed by the next
/// one that serves. `places` are what it is done by on each token, the best first, and `permit` is of
/// the first one's queue; `wanted` says what is derived there.
pub(super) async fn on_any_token<P, R, F>(
    hsm: &dyn VendingHsm,
    permit: QueuePermit,
    places: &[P],
    wanted: impl Fn(&P) -> Vec<(VendingKey, Derivation)>,
    work: impl Fn() -> F,
) -> Result<R, HsmError>
where
    P: OnToken,
    R: Send + 'static,
    F: FnOnce(&[DecoderKey<'_>]) -> R + Send + 'static,
{
    let mut permit = Ok(permit);
    let mut places = places.iter().peekable();
    while let Some(place) = places.next() {
        let done = match permit {
            Ok(permit) => hsm.with_decoder_keys(permit, wanted(place), work()).await,
            Err(error) => Err(error),
        };
        match (done, places.peek().filter(|next| next.is_served(hsm))) {
            (Err(error), Some(next)) => {
                let (token, next) = (place.token(), next.token());
                tracing::warn!(%token, %next, %error, "another token is asked for a key");
                permit = hsm.try_reserve_on(next);
            }
            (done, _) => return done,
        }
    }
    Err(HsmError::Nonsense("no token to derive on"))
}

/// Encrypts the blocks of one job, which are of one configuration. One that cannot be does not hold
/// up the others. A token that fails is followed by the next one that holds the key.
async fn encrypt(
    hsm: &dyn VendingHsm,
    permit: QueuePermit,
    blocks: Vec<Result<Block, IssueError>>,
) -> Vec<Result<Token, IssueError>> {
    let (mut keys, mut derivations, mut clear) = (Vec::new(), Vec::new(), Vec::new());
    let mut derived = |block: Block| {
        keys = block.keys;
        derivations.push(block.derivation);
        clear.push((block.ea, block.block));
    };
    let blocks: Vec<Result<(), IssueError>> =
        blocks.into_iter().map(|block| block.map(&mut derived)).collect();
    let clear = Arc::new(clear);
    let work = |clear: Arc<Vec<(EncryptionAlgorithm, ClearBlock)>>| {
        move |keys: &[DecoderKey<'_>]| {
            crash::point("issue-after-derivation");
            keys.iter().zip(&*clear).map(|(key, (ea, block))| block.encrypt(*ea, *key)).collect::<Vec<_>>()
        }
    };
    let wanted = |key: &VendingKey| derivations.iter().map(|derivation| (*key, *derivation)).collect();
    let encrypted = if keys.is_empty() {
        Ok(Vec::new())
    } else {
        on_any_token(hsm, permit, &keys, wanted, || work(clear.clone())).await
    };
    let mut encrypted = encrypted.map(Vec::into_iter);
    let token = |block: Result<(), IssueError>| {
        block?;
        match &mut encrypted {
            Ok(tokens) => tokens
                .next()
                .ok_or(IssueError::Fault("a block without its token"))?
                .map_err(|_| IssueError::Fault("the decoder key does not fit the algorithm")),
            Err(error) => Err(IssueError::after_commit(error.clone())),
        }
    };
    blocks.into_iter().map(token).collect()
}
