//! The end of a chain, where records are appended.

use super::checkpoint::Head;
use super::record::{ChainNumber, Entry, Hash, Record};
use super::subject::{Salt, SaltSource};

/// The end of a chain: enough to append the next record to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    /// Which chain of its database.
    pub number: ChainNumber,
    /// The last record.
    pub head: Head,
    /// Where the salts of its commitments come from.
    pub salts: SaltSource,
    /// The time of the last record.
    pub at_ms: i64,
}

impl ChainEnd {
    /// The salt of the next record.
    pub fn next_salt(&self) -> Salt {
        self.salts.salt(self.head.position.saturating_add(1))
    }

    /// Appends a record and answers its position and its hash.
    pub fn append(&mut self, at_ms: i64, entry: Entry) -> (u64, Hash) {
        let record = Record { position: self.head.position.saturating_add(1), at_ms, entry };
        let hash = record.hash(self.head.chain, self.head.hash);
        self.head.position = record.position;
        self.head.hash = hash;
        self.at_ms = at_ms;
        (record.position, hash)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::audit::{Actor, ChainId, Line, NewAct, Verification};

    #[test]
    fn what_is_appended_verifies() {
        let chain = ChainId([1; 16]);
        let head = Head { chain, position: 0, hash: Hash::START };
        let mut end = ChainEnd { number: ChainNumber::FIRST, head, salts: SaltSource([2; 32]), at_ms: 0 };
        let mut verification = Verification::new(None);
        for at_ms in 1..4 {
            let act = NewAct { kind: "test", actor: Actor::Local, details: BTreeMap::new(), now_ms: at_ms };
            let entry = Entry::Act(act.entry());
            let (position, hash) = end.append(at_ms, entry.clone());
            let record = Record { position, at_ms, entry };
            verification.feed(&Line { chain, record, hash, opening: None });
        }
        assert_eq!((end.head.position, end.at_ms), (3, 3));
        assert!(verification.finish().is_sound());
    }
}
