//! The walk over the whole ledger: record by record along each chain, then checkpoint by checkpoint,
//! and again from the beginning. Here is what it decides; nothing here reads.
//!
//! How far it has come is kept in the database under a seal ([`Walk`] as JSON), so nobody else can
//! move it on. What it finds is put on record with it. So where the row is gone, or put back as it once
//! was, the chains tell whether anything was found that it does not know: then nobody knows what the
//! walk found ([`Walk::unknown`]) until it has come through the whole ledger once more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::audit::{
    ChainEnd, ChainNumber, CheckpointError, Entry, Fault, Hash, Line, RESTORE_ACCEPTED, SignedCheckpoint,
};

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Damage {
    /// Where: a chain, or a checkpoint.
    pub place: String,
    /// What is wrong.
    pub fault: String,
    /// What was found there, as a hash: whoever accepts a damage accepts nothing else at its place.
    pub found: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.fault)
    }
}

/// How far a chain was walked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Walked {
    chain: String,
    position: u64,
    hash: String,
    /// Whether this pass came to its end.
    done: bool,
}

/// How far the walk has come, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    chains: BTreeMap<u32, Walked>,
    /// The number of the last checkpoint that this pass looked at.
    checkpoint: i64,
    /// What this pass found.
    found: Vec<Damage>,
    /// What the last whole pass found.
    before: Vec<Damage>,
    /// What administrators accepted.
    accepted: Vec<Damage>,
    /// When a pass came to its end last, in milliseconds since 1970.
    whole_ms: Option<i64>,
    /// The last positions of the chains when it was kept.
    #[serde(default)]
    kept_at: BTreeMap<u32, u64>,
}

/// A record as the walk meets it.
#[derive(Clone, Debug)]
pub enum Met {
    /// As it is kept.
    Record(Box<Line>),
    /// One that this program has not written: its position, and the hash that is kept with it.
    Unreadable(u64, Option<Hash>),
}

impl Walk {
    /// How many damages are kept. Where there are so many, the walk stands still.
    pub const MOST: usize = 100;

    /// The kind of the act that tells of a damage.
    pub const DAMAGED: &'static str = "ledger.damaged";

    /// A walk from the beginning, of which nobody knows what it has found before: that is a damage
    /// until the pass is over. `ends` are those of all chains.
    pub fn unknown(ends: &[ChainEnd]) -> Self {
        let heads: Vec<String> = ends.iter().map(|end| end.head.hash.to_string()).collect();
        let damage = Damage {
            place: "table ledger_walk".to_owned(),
            fault:
                "what the walk over the ledger found is not there any more; it walks the whole ledger again"
                    .to_owned(),
            found: Hash::of(heads.join(" ").as_bytes()).to_string(),
        };
        Self { before: vec![damage], ..Self::default() }
    }

    /// Notes that it is kept while the chains end so.
    pub fn keep_at(&mut self, ends: &[ChainEnd]) {
        self.kept_at = ends.iter().map(|end| (end.number.value(), end.head.position)).collect();
    }

    /// The position of the end of a chain when it was kept.
    pub fn kept_at(&self, chain: ChainNumber) -> u64 {
        self.kept_at.get(&chain.value()).copied().unwrap_or_default()
    }

    /// A place in a chain that is not walked to its end: after which position it goes on, and the
    /// hash there.
    pub fn place(&mut self, end: &ChainEnd) -> Option<(u64, Hash)> {
        let walked = self.chains.entry(end.number.value()).or_insert_with(|| Walked::begin(end));
        if walked.chain != end.head.chain.to_string() {
            *walked = Walked::begin(end);
        }
        (!walked.done).then(|| (walked.position, walked.hash()))
    }

    /// Walks a chain from its beginning, because the place to which it was walked is gone: records
    /// were lost, as after a failover. What is missing is found on the way.
    pub fn begin_again(&mut self, end: &ChainEnd) {
        self.chains.insert(end.number.value(), Walked::begin(end));
    }

    /// The record at the place where the walk goes on is another than it was.
    pub fn moved(&mut self, end: &ChainEnd, position: u64, found: Hash) {
        self.note(end, "is another than when it was walked".to_owned(), position, Some(found));
        self.go_to(end, position, found);
    }

    /// Takes the next record of a chain. `true`: it follows from the one before it.
    pub fn meet(&mut self, end: &ChainEnd, met: &Met) -> bool {
        let (last, before) = self.place(end).unwrap_or((0, Hash::START));
        let (position, hash, computed, restored) = match met {
            Met::Unreadable(position, hash) => (*position, hash.unwrap_or(Hash::START), None, false),
            Met::Record(line) => {
                let act = matches!(&line.record.entry, Entry::Act(act) if act.kind == RESTORE_ACCEPTED);
                (line.record.position, line.hash, Some(line.record.hash(line.chain, before)), act)
            }
        };
        let follows = computed == Some(hash);
        let fault = if position <= last {
            Some(Fault::Repeated { position }.to_string())
        } else if position > end.head.position {
            Some(format!("record {position} stands behind the end of the chain"))
        } else if computed.is_none() {
            Some(format!("record {position} holds what no server writes"))
        } else if position > last + 1 && !(restored && follows) {
            Some(Fault::Cut { after: last, next: position }.to_string())
        } else if !follows {
            Some(Fault::Changed { position }.to_string())
        } else {
            None
        };
        let sound = fault.is_none();
        if let Some(fault) = fault {
            self.damage(format!("chain {}", end.head.chain), fault, computed.or(Some(hash)));
        }
        // Goes on from what it says of itself, so that one change is one damage.
        self.go_to(end, position.max(last), hash);
        sound
    }

    /// A row whose meter may get its identifier, or one before it, again.
    pub fn tid_too_low(&mut self, end: &ChainEnd, position: u64, hash: Hash) {
        let what = "has a token identifier above the last one of its meter".to_owned();
        self.note(end, what, position, Some(hash));
    }

    /// The chain has no more records: its end must be the last one.
    pub fn ends(&mut self, end: &ChainEnd) {
        let (last, hash) = self.place(end).unwrap_or((0, Hash::START));
        if (last, hash) != (end.head.position, end.head.hash) && last <= end.head.position {
            let said = end.head.position;
            let fault = if last == said {
                format!("record {last} is not the one at its end")
            } else {
                format!("it ends with record {last}, and its end says {said}")
            };
            self.damage(format!("chain {}", end.head.chain), fault, Some(end.head.hash));
        }
        if let Some(walked) = self.chains.get_mut(&end.number.value()) {
            walked.done = true;
        }
    }

    /// The number of the checkpoint behind which the pass goes on.
    pub fn checkpoint(&self) -> i64 {
        self.checkpoint
    }

    /// Takes the next checkpoint with what its text comes to under the audit key. Answers what is to
    /// be compared, if it can be believed. One by another key than this one is passed over: nobody can
    /// tell what it says.
    pub fn meet_checkpoint(
        &mut self,
        number: i64,
        text: &str,
        verified: Result<SignedCheckpoint, CheckpointError>,
    ) -> Option<SignedCheckpoint> {
        self.checkpoint = self.checkpoint.max(number);
        let fault = match verified {
            Ok(signed) if i64::try_from(signed.checkpoint.number) == Ok(number) => return Some(signed),
            Ok(signed) => format!("it is the one with the number {}", signed.checkpoint.number),
            Err(CheckpointError::OtherKey(_)) => return None,
            Err(error) => error.to_string(),
        };
        self.damage(format!("checkpoint {number}"), fault, Some(Hash::of(text.as_bytes())));
        None
    }

    /// A record that a checkpoint names is another, or is missing.
    pub fn not_of_checkpoint(&mut self, number: i64, chain: &str, position: u64, found: Option<Hash>) {
        let fault = match found {
            Some(_) => format!("record {position} of chain {chain} is not the one that it names"),
            None => format!("record {position} of chain {chain} is missing"),
        };
        self.damage(format!("checkpoint {number}"), fault, found);
    }

    /// The pass is over.
    pub fn whole(&mut self, now_ms: i64) {
        self.chains.clear();
        self.checkpoint = 0;
        self.before = std::mem::take(&mut self.found);
        self.whole_ms = Some(now_ms);
    }

    /// Whether the pass has not begun.
    pub fn is_at_start(&self) -> bool {
        self.chains.is_empty() && self.found.is_empty()
    }

    /// Whether it found so much that it stands still until that is accepted.
    pub fn is_full(&self) -> bool {
        self.found.iter().filter(|damage| !self.accepted.contains(damage)).count() >= Self::MOST
    }

    /// What was found, by this pass or the last one, and not accepted.
    pub fn damages(&self) -> Vec<Damage> {
        let all = self.found.iter().chain(self.before.iter().filter(|damage| !self.found.contains(damage)));
        all.filter(|damage| !self.accepted.contains(damage)).cloned().collect()
    }

    /// Accepts what was found, as far as it is one of these.
    pub fn accept(&mut self, seen: &[Damage]) {
        let found = self.damages();
        self.accepted.extend(found.into_iter().filter(|damage| seen.contains(damage)));
    }

    /// Takes over what was accepted elsewhere since.
    pub fn accept_as(&mut self, kept: &Self) {
        for damage in &kept.accepted {
            if !self.accepted.contains(damage) {
                self.accepted.push(damage.clone());
            }
        }
    }

    /// The last positions of the chains in this pass, together.
    pub fn records(&self) -> u64 {
        self.chains.values().fold(0, |all, walked| all.saturating_add(walked.position))
    }

    /// When a pass came to its end last.
    pub fn whole_ms(&self) -> Option<i64> {
        self.whole_ms
    }

    fn go_to(&mut self, end: &ChainEnd, position: u64, hash: Hash) {
        if let Some(walked) = self.chains.get_mut(&end.number.value()) {
            (walked.position, walked.hash) = (position, hash.to_string());
        }
    }

    fn note(&mut self, end: &ChainEnd, what: String, position: u64, found: Option<Hash>) {
        self.damage(format!("chain {}", end.head.chain), format!("record {position} {what}"), found);
    }

    fn damage(&mut self, place: String, fault: String, found: Option<Hash>) {
        let damage = Damage { place, fault, found: found.map(|hash| hash.to_string()).unwrap_or_default() };
        if !self.found.contains(&damage) {
            self.found.push(damage);
        }
    }
}

impl Walked {
    fn begin(end: &ChainEnd) -> Self {
        let chain = end.head.chain.to_string();
        Self { chain, position: 0, hash: Hash::START.to_string(), done: false }
    }

    /// What is kept bears a seal, so this is the hash that was written.
    fn hash(&self) -> Hash {
        let mut hash = [0; 32];
        let read = hex::decode_to_slice(&self.hash, &mut hash);
        read.map_or(Hash::START, |()| Hash(hash))
    }
}
