//! Offline verification: records in the order of an export, faults with their place.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    checkpoint::Checkpoint,
    line::Line,
    record::{ChainId, Entry, Hash, RESTORE_ACCEPTED},
};

/// What is wrong, and where. Positions count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Records are missing.
    Cut {
        /// The last record before the gap; 0: the chain does not start with its first.
        after: u64,
        /// The first record behind it.
        next: u64,
    },
    /// The record's bytes are not those that its hash and the hash before it say: it or the one
    /// before was changed.
    Changed {
        /// Which.
        position: u64,
    },
    /// A record stands behind one that follows it.
    Reordered {
        /// The record that stands too late.
        position: u64,
        /// Behind this one.
        behind: u64,
    },
    /// A record is there twice.
    Repeated {
        /// Which.
        position: u64,
    },
    /// The meter or request that a record opens to is not the one that it commits to.
    Subject {
        /// Which.
        position: u64,
    },
    /// The chain ends before the record that a checkpoint names.
    Truncated {
        /// Its last record.
        last: u64,
        /// The record that the checkpoint names.
        checkpoint: u64,
    },
    /// The record that a checkpoint names has another hash: the chain was written anew, somewhere
    /// up to here.
    Rewritten {
        /// The record that the checkpoint names.
        position: u64,
    },
    /// The checkpoint does not know the chain.
    Unknown,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { after: 0, next } => write!(f, "cut: it starts with record {next} and not with 1"),
            Self::Cut { after, next } => write!(f, "cut: records {} to {} are missing", after + 1, next - 1),
            Self::Changed { position } => {
                write!(f, "changed: record {position} does not follow from the one before it")
            }
            Self::Reordered { position, behind } => {
                write!(f, "reordered: record {position} stands behind record {behind}")
            }
            Self::Repeated { position } => write!(f, "repeated: record {position} is there twice"),
            Self::Subject { position } => {
                write!(f, "changed: the meter of record {position} is not the one that was recorded")
            }
            Self::Truncated { last, checkpoint } => {
                write!(f, "truncated: it ends with record {last}, the checkpoint names record {checkpoint}")
            }
            Self::Rewritten { position } => {
                write!(f, "written anew: record {position} is not the one of the checkpoint")
            }
            Self::Unknown => f.write_str("the checkpoint does not know this chain"),
        }
    }
}

/// What verification came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For each chain its last position.
    pub chains: BTreeMap<ChainId, u64>,
    /// How many records were read.
    pub records: u64,
    /// What is wrong, by chain; at most [`Verification::MOST_FAULTS`].
    pub faults: Vec<(ChainId, Fault)>,
    /// How many faults there are.
    pub count: u64,
    /// By chain, positions (from, to) that a restored database lost, which an administrator
    /// accepted on record. No fault, but to be known.
    pub lost: Vec<(ChainId, u64, u64)>,
}

/// A verification under way: feed it the records in the order of the export.
#[derive(Debug, Default)]
pub struct Verification {
    checkpoint: Option<Checkpoint>,
    chains: BTreeMap<ChainId, Progress>,
    outcome: Outcome,
}

#[derive(Debug)]
struct Progress {
    /// The furthest record so far.
    position: u64,
    hash: Hash,
    /// Positions that were passed over: cut, or they come later.
    missing: BTreeSet<(u64, u64)>,
    /// The hash at the checkpoint's position.
    at_checkpoint: Option<Hash>,
}

impl Progress {
    fn misses(&self, position: u64) -> bool {
        position == 0 || self.missing.iter().any(|(from, to)| (*from..=*to).contains(&position))
    }
}

impl Verification {
    /// How many faults are kept.
    pub const MOST_FAULTS: usize = 100;

    /// Verifies against a checkpoint whose signature was verified, or the chain's inner order
    /// alone.
    pub fn new(checkpoint: Option<Checkpoint>) -> Self {
        Self { checkpoint, ..Self::default() }
    }

    /// Takes the next record.
    pub fn feed(&mut self, line: &Line) {
        self.outcome.records += 1;
        let chain = line.chain;
        let progress = self.chains.entry(chain).or_insert_with(|| Progress {
            position: 0,
            hash: Hash::START,
            missing: BTreeSet::new(),
            at_checkpoint: None,
        });
        let (position, last) = (line.record.position, progress.position);
        let mut faults = Vec::new();
        if position > last {
            let follows = line.record.hash(chain, progress.hash) == line.hash;
            let restored = matches!(&line.record.entry, Entry::Act(act) if act.kind == RESTORE_ACCEPTED);
            if position > last + 1 && restored && follows {
                self.outcome.lost.push((chain, last + 1, position - 1));
            } else if position > last + 1 {
                progress.missing.insert((last + 1, position - 1));
            } else if !follows {
                faults.push(Fault::Changed { position });
            }
            progress.position = position;
            // Go on from what it says of itself, so that one change is one fault.
            progress.hash = line.hash;
        } else if let Some(gap) =
            progress.missing.iter().copied().find(|(from, to)| (*from..=*to).contains(&position))
        {
            progress.missing.remove(&gap);
            if gap.0 < position {
                progress.missing.insert((gap.0, position - 1));
            }
            if position < gap.1 {
                progress.missing.insert((position + 1, gap.1));
            }
            faults.push(Fault::Reordered { position, behind: last });
        } else {
            faults.push(Fault::Repeated { position });
        }
        if let Some((subject, salt)) = &line.opening
            && let Entry::Token(token) = &line.record.entry
            && subject.commitment(*salt) != token.subject
        {
            faults.push(Fault::Subject { position });
        }
        let named = self.checkpoint.as_ref().and_then(|checkpoint| checkpoint.head(chain));
        if named.is_some_and(|head| head.position == position) {
            progress.at_checkpoint = Some(line.hash);
        }
        for fault in faults {
            self.outcome.note(chain, fault);
        }
    }

    /// What it came to, once all records were fed.
    pub fn finish(mut self) -> Outcome {
        for (chain, progress) in &self.chains {
            for (from, to) in &progress.missing {
                self.outcome.note(*chain, Fault::Cut { after: from - 1, next: to + 1 });
            }
            self.outcome.chains.insert(*chain, progress.position);
            if let Some(checkpoint) = &self.checkpoint
                && checkpoint.head(*chain).is_none()
            {
                self.outcome.note(*chain, Fault::Unknown);
            }
        }
        for head in self.checkpoint.iter().flat_map(|checkpoint| &checkpoint.heads) {
            let progress = self.chains.get(&head.chain);
            let last = progress.map_or(0, |progress| progress.position);
            match progress.and_then(|progress| progress.at_checkpoint) {
                _ if last < head.position => {
                    self.outcome.note(head.chain, Fault::Truncated { last, checkpoint: head.position });
                }
                Some(hash) if hash != head.hash => {
                    self.outcome.note(head.chain, Fault::Rewritten { position: head.position });
                }
                // Where it was cut out, that is the fault.
                None if !progress.is_some_and(|progress| progress.misses(head.position)) => {
                    self.outcome.note(head.chain, Fault::Rewritten { position: head.position });
                }
                Some(_) | None => {}
            }
        }
        self.outcome
    }
}

impl Outcome {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.count == 0
    }

    fn note(&mut self, chain: ChainId, fault: Fault) {
        self.count += 1;
        if self.faults.len() < Verification::MOST_FAULTS {
            self.faults.push((chain, fault));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::{Act, Head, Record, RowKind, SaltSource, Subject, TokenEntry};

    const CHAIN: ChainId = ChainId([1; 16]);

    /// A sound chain of this length; every other record is a token.
    fn chain(length: u64) -> Vec<Line> {
        let mut before = Hash::START;
        (1..=length)
            .map(|position| {
                let (entry, opening) =
                    if position % 2 == 0 { token(position) } else { (act(position), None) };
                let record = Record { position, at_ms: 1_000 + position.cast_signed(), entry };
                let hash = record.hash(CHAIN, before);
                before = hash;
                Line { chain: CHAIN, record, hash, opening }
            })
            .collect()
    }

    fn act(position: u64) -> Entry {
        let details = format!("{{\"n\":{position}}}");
        Entry::Act(Act { kind: "test".into(), actor: None, credential: None, details })
    }

    fn token(position: u64) -> (Entry, Option<(Subject, crate::audit::Salt)>) {
        let salt = SaltSource([5; 32]).salt(position);
        let subject = Subject { pan: Some("600727475001502312".into()), request_hash: [2; 32] };
        let entry = TokenEntry {
            client: [1; 16],
            credential: "till".into(),
            request_id: [3; 16],
            kind: RowKind::Sequenced,
            configuration: Some([4; 16]),
            base_date: Some(2014),
            tid: Some(7),
            rnd: Some(1),
            block: Some((0, 1)),
            key_change: None,
            subject: subject.commitment(salt),
        };
        (Entry::Token(entry), Some((subject, salt)))
    }

    fn checkpoint(lines: &[Line]) -> Checkpoint {
        let heads =
            lines.last().map(|line| Head { chain: CHAIN, position: line.record.position, hash: line.hash });
        Checkpoint { number: 1, at_ms: 0, heads: heads.into_iter().collect() }
    }

    fn verified(lines: &[Line], checkpoint: Option<Checkpoint>) -> Vec<Fault> {
        let mut verification = Verification::new(checkpoint);
        lines.iter().for_each(|line| verification.feed(line));
        verification.finish().faults.into_iter().map(|(_, fault)| fault).collect()
    }

    #[test]
    fn a_sound_chain_has_no_fault_with_and_without_meters() {
        let mut lines = chain(9);
        assert_eq!(verified(&lines, Some(checkpoint(&lines))), []);
        assert_eq!(verified(&lines, Some(checkpoint(&lines[..4]))), [], "it may go on behind the checkpoint");
        lines.iter_mut().for_each(|line| line.opening = None);
        assert_eq!(verified(&lines, Some(checkpoint(&lines))), []);
    }

    #[test]
    fn a_cut_is_found() {
        let whole = chain(9);
        let mut lines = whole.clone();
        lines.drain(3..5);
        assert_eq!(verified(&lines, Some(checkpoint(&whole))), [Fault::Cut { after: 3, next: 6 }]);
        assert_eq!(verified(&whole[2..], None), [Fault::Cut { after: 0, next: 3 }]);
    }

    #[test]
    fn a_change_is_found() {
        let mut lines = chain(9);
        lines[4].record.at_ms += 1;
        assert_eq!(verified(&lines, None), [Fault::Changed { position: 5 }]);
        let mut lines = chain(9);
        lines[4].hash.0[0] ^= 1;
        assert_eq!(verified(&lines, None), [Fault::Changed { position: 5 }, Fault::Changed { position: 6 }]);
    }

    #[test]
    fn another_meter_is_found() {
        let mut lines = chain(9);
        if let Some((subject, _)) = &mut lines[5].opening {
            subject.pan = Some("600727000000000009".into());
        }
        assert_eq!(verified(&lines, None), [Fault::Subject { position: 6 }]);
    }

    #[test]
    fn another_order_is_found() {
        let mut lines = chain(9);
        lines.swap(3, 4);
        assert_eq!(verified(&lines, None), [Fault::Reordered { position: 4, behind: 5 }]);
        let mut lines = chain(3);
        lines.push(lines[1].clone());
        assert_eq!(verified(&lines, None), [Fault::Repeated { position: 2 }]);
    }

    #[test]
    fn a_truncation_needs_a_checkpoint_to_be_found() {
        let lines = chain(9);
        assert_eq!(verified(&lines[..7], None), []);
        let found = verified(&lines[..7], Some(checkpoint(&lines)));
        assert_eq!(found, [Fault::Truncated { last: 7, checkpoint: 9 }]);
        assert_eq!(verified(&[], Some(checkpoint(&lines))), [Fault::Truncated { last: 0, checkpoint: 9 }]);
    }

    #[test]
    fn a_chain_written_anew_does_not_meet_the_checkpoint() {
        let lines = chain(9);
        let mut forged = lines.clone();
        let mut before = forged[2].hash;
        for line in &mut forged[3..] {
            line.record.at_ms += 60_000;
            line.hash = line.record.hash(CHAIN, before);
            before = line.hash;
        }
        assert_eq!(verified(&forged, None), []);
        assert_eq!(verified(&forged, Some(checkpoint(&lines))), [Fault::Rewritten { position: 9 }]);
    }

    #[test]
    fn an_accepted_restore_is_told_and_is_no_fault() {
        let whole = chain(9);
        let mut lines = whole[..4].to_vec();
        let act = Act { kind: RESTORE_ACCEPTED.into(), actor: None, credential: None, details: "{}".into() };
        let record = Record { position: 100, at_ms: 1, entry: Entry::Act(act) };
        let hash = record.hash(CHAIN, lines[3].hash);
        lines.push(Line { chain: CHAIN, record, hash, opening: None });
        let mut verification = Verification::new(Some(checkpoint(&lines)));
        lines.iter().for_each(|line| verification.feed(line));
        let outcome = verification.finish();
        assert_eq!((outcome.is_sound(), outcome.lost), (true, vec![(CHAIN, 5, 99)]));
        let before = verified(&lines, Some(checkpoint(&whole)));
        assert_eq!(before, [Fault::Rewritten { position: 9 }], "a checkpoint of what was lost does not fit");
        lines[4].hash.0[0] ^= 1;
        assert_eq!(verified(&lines, None), [Fault::Cut { after: 4, next: 100 }]);
    }

    #[test]
    fn a_foreign_chain_is_not_taken_for_ours() {
        let lines = chain(2);
        let empty = Checkpoint { number: 1, at_ms: 0, heads: vec![] };
        assert_eq!(verified(&lines, Some(empty)), [Fault::Unknown]);
    }

    proptest! {
        /// Whatever single thing is done to a chain under a checkpoint, it is found.
        #[test]
        fn no_tampering_goes_unseen(length in 2_u64..20, index in 0_usize..20, what in 0..4, other in 0_usize..20) {
            let whole = chain(length);
            let (index, other) = (index % whole.len(), other % whole.len());
            let mut lines = whole.clone();
            match what {
                0 => { lines.remove(index); }
                1 => lines[index].record.at_ms ^= 1,
                2 => lines[index].hash.0[other] ^= 1,
                _ if index == other => { lines.truncate(index); }
                _ => lines.swap(index, other),
            }
            prop_assert!(!verified(&lines, Some(checkpoint(&whole))).is_empty());
        }
    }
}
