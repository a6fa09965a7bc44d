//! Where a walk over all chains goes on: a position for each.
//!
//! Each chain is written by one server, in its order. So whatever is written later stands behind
//! the position of its chain: a walk misses nothing and meets nothing twice, however many servers
//! write meanwhile.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::Sequence;
use crate::audit::ChainNumber;

/// How far each chain was walked. The default is the beginning of all.
///
/// Its text is the numbers of the last rows, joined by `-`; that of the first chain alone is the
/// number of its row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor(BTreeMap<ChainNumber, u64>);

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("numbers of rows are expected, one for each chain")]
pub struct CursorError;

impl Cursor {
    /// The position in a chain after which the walk goes on; 0 where it has not begun.
    pub fn position(&self, chain: ChainNumber) -> u64 {
        self.0.get(&chain).copied().unwrap_or_default()
    }

    /// Goes on to a position in a chain, never back.
    pub fn advance(&mut self, chain: ChainNumber, position: u64) {
        if position > 0 {
            let known = self.0.entry(chain).or_default();
            *known = position.max(*known);
        }
    }

    /// Goes on to a row.
    pub fn pass(&mut self, row: Sequence) {
        self.advance(row.chain(), row.position());
    }

    /// Whether it is the beginning of all chains.
    pub fn is_start(&self) -> bool {
        self.0.is_empty()
    }

    /// The same without the first chain.
    #[must_use]
    pub fn without_first(&self) -> Self {
        Self(
            self.0.iter().filter(|(chain, _)| **chain != ChainNumber::FIRST).map(|(a, b)| (*a, *b)).collect(),
        )
    }
}

impl FromIterator<(ChainNumber, u64)> for Cursor {
    fn from_iter<I: IntoIterator<Item = (ChainNumber, u64)>>(positions: I) -> Self {
        let mut cursor = Self::default();
        positions.into_iter().for_each(|(chain, position)| cursor.advance(chain, position));
        cursor
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (chain, position)) in self.0.iter().enumerate() {
            let mark = if place == 0 { "" } else { "-" };
            write!(f, "{mark}{}", Sequence::of(*chain, *position))?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut positions = BTreeMap::new();
        for number in text.split('-') {
            // One spelling of each number.
            let digits = !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
            let row = number.parse().ok().filter(|_| digits).and_then(Sequence::new).ok_or(CursorError)?;
            if positions.last_key_value().is_some_and(|(before, _)| *before >= row.chain()) {
                return Err(CursorError);
            }
            positions.insert(row.chain(), row.position());
        }
        Ok(Self(positions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(number: u32) -> ChainNumber {
        ChainNumber::new(number).unwrap()
    }

    #[test]
    fn text_and_back() {
        for positions in [vec![(0, 17)], vec![(3, 1)], vec![(0, 4), (1, 9), (7, 1 << 40)]] {
            let cursor: Cursor = positions.iter().map(|(number, at)| (chain(*number), *at)).collect();
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        assert_eq!("17".parse(), Ok(Cursor::from_iter([(ChainNumber::FIRST, 17)])), "of a server alone");
    }

    #[test]
    fn other_text_is_no_cursor() {
        let (first, second) = (Sequence::of(chain(0), 4), Sequence::of(chain(1), 4));
        let twice = format!("{first}-{first}");
        let back = format!("{second}-{first}");
        let open = format!("{first}-");
        for text in ["", "0", "017", "+17", "-17", "17-x", &twice, &back, &open, "99999999999999999999"] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
    }

    #[test]
    fn it_never_goes_back() {
        let mut cursor = Cursor::default();
        assert!(cursor.is_start());
        cursor.advance(chain(2), 0);
        assert!(cursor.is_start());
        cursor.pass(Sequence::of(chain(2), 9));
        cursor.advance(chain(2), 4);
        assert_eq!((cursor.position(chain(2)), cursor.position(chain(0))), (9, 0));
        assert_eq!(cursor.without_first(), cursor);
    }
}
