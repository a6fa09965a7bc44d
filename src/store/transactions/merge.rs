//! Pages over several chains: each gives what it has after the cursor, and what is first by its
//! time comes first. What is written later stands behind the cursor, in its chain.

use std::iter::Peekable;
use std::vec::IntoIter;

use crate::audit::{ChainNumber, Line};
use crate::ledger::{Cursor, RowFields, Sequence};

/// What has a time and a place in its chain.
pub(super) trait Placed {
    /// In milliseconds since 1970.
    fn at_ms(&self) -> i64;

    /// Its position.
    fn position(&self) -> u64;
}

impl Placed for RowFields {
    fn at_ms(&self) -> i64 {
        self.issued_ms
    }

    fn position(&self) -> u64 {
        Sequence::new(self.sequence).map_or(0, Sequence::position)
    }
}

impl Placed for Line {
    fn at_ms(&self) -> i64 {
        self.record.at_ms
    }

    fn position(&self) -> u64 {
        self.record.position
    }
}

/// What a chain has.
pub(super) struct OfChain<T> {
    pub(super) chain: ChainNumber,
    /// In the order of the chain.
    pub(super) items: Vec<T>,
    /// The position up to which was looked, where there may be more behind it.
    pub(super) next: Option<u64>,
}

/// A page of all chains.
pub(super) struct Merged<T> {
    pub(super) items: Vec<T>,
    /// Where the next page starts.
    pub(super) next: Cursor,
    /// Whether there may be more.
    pub(super) more: bool,
}

/// A page of at most `most`, from where a cursor stands. The order of each chain is kept.
pub(super) fn merge<T: Placed>(after: &Cursor, chains: Vec<OfChain<T>>, most: usize) -> Merged<T> {
    let mut next = after.clone();
    let mut waiting: Vec<(ChainNumber, Option<u64>, Peekable<IntoIter<T>>)> =
        chains.into_iter().map(|of| (of.chain, of.next, of.items.into_iter().peekable())).collect();
    let mut items = Vec::new();
    while items.len() < most {
        let firsts = waiting.iter_mut().filter_map(|(chain, _, of_chain)| {
            let at_ms = of_chain.peek()?.at_ms();
            Some((at_ms, *chain, of_chain))
        });
        let Some((_, chain, of_chain)) = firsts.min_by_key(|(at_ms, chain, _)| (*at_ms, *chain)) else {
            break;
        };
        if let Some(item) = of_chain.next() {
            next.advance(chain, item.position());
            items.push(item);
        }
    }
    let mut more = false;
    for (chain, looked, mut of_chain) in waiting {
        match (of_chain.peek(), looked) {
            (Some(_), _) => more = true,
            (None, Some(position)) => {
                next.advance(chain, position);
                more = true;
            }
            (None, None) => {}
        }
    }
    Merged { items, next, more }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time and a position.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct At(i64, u64);

    impl Placed for At {
        fn at_ms(&self) -> i64 {
            self.0
        }

        fn position(&self) -> u64 {
            self.1
        }
    }

    fn chain(number: u32) -> ChainNumber {
        ChainNumber::new(number).unwrap()
    }

    /// A page of two chains, of which each gives at most three.
    fn page(after: &Cursor, chains: &[Vec<At>]) -> Merged<At> {
        let of_chains = (0..).zip(chains).map(|(number, all)| {
            let behind = all.iter().filter(|at| at.1 > after.position(chain(number)));
            let items: Vec<At> = behind.copied().take(3).collect();
            let last = all.last().map_or(0, |at| at.1);
            let next = items.last().map(|at| at.1).filter(|at| *at < last);
            OfChain { chain: chain(number), items, next }
        });
        merge(after, of_chains.collect(), 3)
    }

    #[test]
    fn all_come_once_by_their_times_whatever_is_written_meanwhile() {
        let mut chains = vec![
            vec![At(10, 1), At(30, 4), At(20, 5), At(50, 6), At(60, 9)],
            vec![At(5, 1), At(31, 2), At(32, 3)],
        ];
        let (mut found, mut cursor) = (Vec::new(), Cursor::default());
        loop {
            let page = page(&cursor, &chains);
            found.extend(page.items);
            cursor = page.next;
            if !page.more {
                break;
            }
            if found.len() == 3 {
                // Earlier by its time than what was listed, and a chain that is new.
                chains[1].push(At(1, 4));
                chains.push(vec![At(2, 1)]);
            }
        }
        let order: Vec<i64> = found.iter().map(|at| at.0).collect();
        assert_eq!(order, [5, 10, 30, 2, 20, 31, 32, 1, 50, 60]);
        assert!(page(&cursor, &chains).items.is_empty());
        chains[0].push(At(61, 10));
        assert_eq!(page(&cursor, &chains).items, [At(61, 10)], "a walk that ended goes on");
    }

    #[test]
    fn what_was_looked_at_in_vain_is_passed() {
        let empty = OfChain::<At> { chain: chain(1), items: Vec::new(), next: Some(50) };
        let page = merge(&Cursor::default(), vec![empty], 10);
        assert_eq!((page.items.len(), page.more, page.next.position(chain(1))), (0, true, 50));
    }
}
