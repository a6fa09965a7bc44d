//! Refused calls on record: counted, and written as one record for each kind of refusal and caller every few seconds. A flood of them
//! costs the ledger nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    clock::Clock,
    metrics,
    store::{Actor, NewAct, Store, StoreError},
};

/// What kinds of refusals are told apart between two writes; further ones are counted as `other`.
const MOST_KINDS: usize = 256;

/// The counts of refusals that are not on record yet.
pub struct Refusals {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    counts: Mutex<HashMap<Kind, Count>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Kind {
    /// The client and its credential, if the call had one that counts.
    caller: Option<(crate::store::ClientId, String)>,
    method: String,
    reason: String,
}

#[derive(Clone, Copy)]
struct Count {
    count: u64,
    first_ms: i64,
    last_ms: i64,
}

impl Refusals {
    /// Over a store.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, counts: Mutex::default() }
    }

    /// Notes a refusal: of whom, of which method (`/package.Service/Method`), and why.
    pub fn note(&self, caller: Option<&super::Caller>, method: &str, reason: &str) {
        metrics::refusal(reason);
        let now_ms = self.clock.now_ms();
        // Whoever has no credential must not write texts of his own into the record.
        let caller = caller.map(|caller| (caller.client, caller.key_id.to_string()));
        let method = if caller.is_some() { method } else { "" };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kind = Kind { caller, method: method.to_owned(), reason: reason.to_owned() };
        if counts.len() >= MOST_KINDS && !counts.contains_key(&kind) {
            kind = Kind { caller: None, method: String::new(), reason: "other".to_owned() };
        }
        let count = counts.entry(kind).or_insert(Count { count: 0, first_ms: now_ms, last_ms: now_ms });
        count.count += 1;
        count.last_ms = now_ms;
    }

    /// Puts what was counted on record.
    ///
    /// # Errors
    /// What the store says; what could not be written is counted on.
    pub async fn write(&self) -> Result<(), StoreError> {
        let counted = std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        let mut failure = None;
        for (kind, count) in counted {
            let written = match failure {
                None => self.store.record_act(self.act(&kind, count)).await,
                Some(_) => failure.clone().map_or(Ok(()), Err),
            };
            if let Err(error) = written {
                failure = Some(error);
                let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
                counts
                    .entry(kind)
                    .and_modify(|newer| {
                        newer.count += count.count;
                        newer.first_ms = count.first_ms;
                    })
                    .or_insert(count);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn act(&self, kind: &Kind, count: Count) -> NewAct {
        let actor = match &kind.caller {
            None => Actor::Local,
            Some((client, credential)) => Actor::Client { client: *client, credential: credential.clone() },
        };
        let details = BTreeMap::from([
            ("count", count.count.to_string()),
            ("first_ms", count.first_ms.to_string()),
            ("last_ms", count.last_ms.to_string()),
            ("method", kind.method.clone()),
            ("reason", kind.reason.clone()),
        ]);
        NewAct { kind: "call.refused", actor, details, now_ms: self.clock.now_ms() }
    }
}
