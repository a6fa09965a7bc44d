//! Refused calls on record: the first of a kind at once, and as one record for all that follow
//! within ten seconds. A flood of them costs the ledger nothing.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    access::Caller,
    audit::{Actor, NewAct},
    clock::Clock,
    id::ClientId,
    ledger::{RefusedCalls, hour_of},
    metrics,
    store::{Store, StoreError},
};

/// What kinds of refusals are told apart between two writes; further ones are counted as `other`.
const MOST_KINDS: usize = 256;

/// How long refusals of a kind are counted after one was put on record.
const TOGETHER: Duration = Duration::from_secs(10);

/// The counts of refusals that are not on record yet.
pub struct Refusals {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    counts: Mutex<HashMap<Kind, Count>>,
    /// Up to when a kind is counted, by the monotonic clock.
    until: Mutex<HashMap<Kind, Duration>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Kind {
    /// The client and its credential, if the call had one that counts.
    caller: Option<(ClientId, String)>,
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
        Self { store, clock, counts: Mutex::default(), until: Mutex::default() }
    }

    /// Notes a refusal: of whom, of which method (`/package.Service/Method`), and why.
    pub fn note(&self, caller: Option<&Caller>, method: &str, reason: &str) {
        metrics::refusal(reason);
        let now_ms = self.clock.now_ms();
        // Whoever has no credential must not write texts of their own into the record.
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

    /// Puts on record what is due: kinds of refusals of which none was put on record within the
    /// last ten seconds. To be called every second.
    ///
    /// # Errors
    /// What the store says; what could not be written is counted on.
    pub async fn write_due(&self) -> Result<(), StoreError> {
        let now = self.clock.monotonic();
        let counting: HashSet<Kind> = {
            let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
            until.retain(|_, until| *until > now);
            until.keys().cloned().collect()
        };
        let due = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.extract_if(|kind, _| !counting.contains(kind)).collect()
        };
        self.write(due, now).await
    }

    /// Puts all that was counted on record.
    ///
    /// # Errors
    /// What the store says; what could not be written is counted on.
    pub async fn write_all(&self) -> Result<(), StoreError> {
        let counted = std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        self.write(counted, self.clock.monotonic()).await
    }

    async fn write(&self, counted: HashMap<Kind, Count>, now: Duration) -> Result<(), StoreError> {
        let mut failure = None;
        for (kind, count) in counted {
            let written = match failure {
                None => {
                    let refused = RefusedCalls {
                        hour: hour_of(self.clock.now_ms()),
                        reason: kind.reason.clone(),
                        calls: count.count,
                    };
                    self.store.record_refused(self.act(&kind, count), refused).await
                }
                Some(_) => failure.clone().map_or(Ok(()), Err),
            };
            match written {
                Ok(()) => {
                    let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
                    until.insert(kind, now.saturating_add(TOGETHER));
                }
                Err(error) => {
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
        }
        failure.map_or(Ok(()), Err)
    }

    fn act(&self, kind: &Kind, count: Count) -> NewAct {
        let actor = match &kind.caller {
            None => Actor::Local,
            Some((client, credential)) => {
                Actor::Client { client: *client, credential: credential.clone(), approval: None }
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Entry;
    use crate::clock::SetClock;
    use crate::ledger::Cursor;
    use crate::store::{SoftwareSealer, memory::Memory};

    /// The counts of the refusals on record, in the order of the chain.
    async fn recorded(store: &dyn Store) -> Vec<String> {
        let records = store.records(Cursor::default(), 100, false).await.unwrap();
        let details = |entry| match entry {
            Entry::Act(act) => serde_json::from_str::<BTreeMap<String, String>>(&act.details).unwrap(),
            Entry::Token(_) => panic!("no token was asked for"),
        };
        let counts = records.lines.into_iter().map(|line| details(line.record.entry));
        counts.map(|details| format!("{} {}", details["reason"], details["count"])).collect()
    }

    #[tokio::test]
    async fn the_first_of_a_kind_is_on_record_at_once_and_a_flood_costs_little() {
        let store: Arc<dyn Store> =
            Arc::new(Memory::default().open(Arc::new(SoftwareSealer([1; 32]))).unwrap());
        let clock = SetClock::at(0, 100_000);
        let refusals = Refusals::new(store.clone(), clock.clone());
        for second in 0..20 {
            for _ in 0..1_000 {
                refusals.note(None, "/x", "A");
            }
            if second == 5 {
                refusals.note(None, "/x", "B");
            }
            refusals.write_due().await.unwrap();
            clock.step(0, 1_000);
        }
        assert_eq!(recorded(store.as_ref()).await, ["A 1000", "B 1", "A 10000"]);
        refusals.write_all().await.unwrap();
        assert_eq!(recorded(store.as_ref()).await[3..], ["A 9000"]);
    }
}
