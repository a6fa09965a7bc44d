//! The numbers of rows: which chain, and where in it.

use std::fmt;

use crate::audit::ChainNumber;

/// How many bits of a number are the position.
const POSITION_BITS: u32 = 44;

/// The last position that a chain may have: 17 million million records.
pub const LAST_POSITION: u64 = (1 << POSITION_BITS) - 1;

/// The number of a ledger row: positive, never given twice. The upper bits are the number of its
/// chain, the lower 44 the position of its record there, which grows in the order of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequence(i64);

impl Sequence {
    /// A number as it came from outside. `None` unless it is of a row that can be.
    pub fn new(number: i64) -> Option<Self> {
        (number > 0 && number.cast_unsigned() & LAST_POSITION > 0).then_some(Self(number))
    }

    /// The number of the row of a chain whose record has this position, which is positive and no
    /// later than [`LAST_POSITION`].
    pub(crate) fn of(chain: ChainNumber, position: u64) -> Self {
        let position = position.clamp(1, LAST_POSITION);
        Self((u64::from(chain.value()) << POSITION_BITS | position).cast_signed())
    }

    /// The number that the record before it in its chain would have as a row; none of the first.
    pub(crate) fn before(self) -> Option<Self> {
        (self.position() > 1).then_some(Self(self.0 - 1))
    }

    /// The number.
    pub fn value(self) -> i64 {
        self.0
    }

    /// The number of its chain.
    pub fn chain(self) -> ChainNumber {
        // 63 bits less 44 are 19.
        u32::try_from(self.0 >> POSITION_BITS).ok().and_then(ChainNumber::new).unwrap_or(ChainNumber::LAST)
    }

    /// The position of its record in its chain.
    pub fn position(self) -> u64 {
        self.0.cast_unsigned() & LAST_POSITION
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_chain_and_a_position() {
        let one = ChainNumber::new(1).unwrap();
        for (chain, position, number) in [
            (ChainNumber::FIRST, 1, 1),
            (ChainNumber::FIRST, LAST_POSITION, (1 << 44) - 1),
            (one, 7, (1 << 44) + 7),
            (ChainNumber::LAST, LAST_POSITION, i64::MAX),
        ] {
            let sequence = Sequence::of(chain, position);
            assert_eq!(sequence.value(), number);
            assert_eq!((sequence.chain(), sequence.position()), (chain, position));
            assert_eq!(Sequence::new(number), Some(sequence));
        }
        for none in [i64::MIN, -1, 0, 1 << 44] {
            assert_eq!(Sequence::new(none), None, "{none}");
        }
        assert_eq!(ChainNumber::new(1 << 19), None);
    }
}
