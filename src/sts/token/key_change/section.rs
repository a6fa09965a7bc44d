//! One section of a key-change set: class 2, subclasses 3, 4, 8 and 9.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::sts::attributes::{
    AttributeError, EncryptionAlgorithm, KeyRevision, KeyType, SupplyGroupCode, TariffIndex,
};
use crate::sts::token::ClearBlock;

/// Why a section carries nothing that a meter could take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SectionError {
    /// An attribute out of its range.
    #[error("the key-change section is out of range: {0}")]
    Attribute(#[from] AttributeError),
    /// Not a section at all.
    #[error("subclass {0} of class 2 is no key-change section")]
    Subclass(u8),
}

/// Four bytes of a decoder key. Wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct KeyPart([u8; 4]);

impl KeyPart {
    /// Of these bytes, most significant first.
    pub fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The bytes, most significant first.
    pub fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    fn from_block(block: &ClearBlock) -> Self {
        Self((block.field(16, 32) as u32).to_be_bytes())
    }

    /// As the lower 32 bits of a content.
    fn bits(&self) -> u64 {
        u64::from(u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPart(hidden)")
    }
}

/// A section. The key's bytes in their order are those of `First`, `ThirdOfFour`, `Fourth`,
/// `Second`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Section {
    /// Subclass 3.
    First {
        /// KEN >> 4, 0..=15.
        ken_high: u8,
        /// The new key revision number.
        krn: KeyRevision,
        /// RO: the meter forgets the TIDs that it has seen.
        roll_over: bool,
        /// 3KCT: a third section with the SGC follows a 64-bit key; 0 in sets of two and of four.
        three_tokens: bool,
        /// The new key type.
        kt: KeyType,
        /// Bytes 0 to 3.
        key: KeyPart,
    },
    /// Subclass 4.
    Second {
        /// KEN & 15, 0..=15.
        ken_low: u8,
        /// The new tariff index, binary here.
        ti: TariffIndex,
        /// The last four bytes.
        key: KeyPart,
    },
    /// Subclass 8 of a 64-bit key: the new supply group alone.
    ThirdOfThree {
        /// The new supply group code, as a binary number of 24 bits.
        sgc: SupplyGroupCode,
    },
    /// Subclass 8 of a 128-bit key.
    ThirdOfFour {
        /// The lower 12 bits of the supply group code as a number.
        sgc_low: u16,
        /// Bytes 4 to 7.
        key: KeyPart,
    },
    /// Subclass 9, of a 128-bit key only.
    Fourth {
        /// The upper 12 bits of the supply group code as a number.
        sgc_high: u16,
        /// Bytes 8 to 11.
        key: KeyPart,
    },
}

impl Section {
    /// 3, 4, 8 or 9.
    pub fn subclass(&self) -> u8 {
        match self {
            Self::First { .. } => 3,
            Self::Second { .. } => 4,
            Self::ThirdOfThree { .. } | Self::ThirdOfFour { .. } => 8,
            Self::Fourth { .. } => 9,
        }
    }

    /// The block of its token. It holds key bits: encrypt it and let it go.
    pub fn block(&self) -> ClearBlock {
        let content = Zeroizing::new(match self {
            Self::First { ken_high, krn, roll_over, three_tokens, kt, key } => {
                u64::from(ken_high & 0xF) << 40
                    | u64::from(krn.value()) << 36
                    | u64::from(*roll_over) << 35
                    | u64::from(*three_tokens) << 34
                    | u64::from(kt.value()) << 32
                    | key.bits()
            }
            Self::Second { ken_low, ti, key } => {
                u64::from(ken_low & 0xF) << 40 | u64::from(ti.value()) << 32 | key.bits()
            }
            Self::ThirdOfThree { sgc } => u64::from(sgc.value()) << 20,
            Self::ThirdOfFour { sgc_low: sgc, key } | Self::Fourth { sgc_high: sgc, key } => {
                u64::from(sgc & 0xFFF) << 32 | key.bits()
            }
        });
        ClearBlock::seal(2, self.subclass(), *content)
    }

    /// Reads a block of class 2; `ea` says how long the key is.
    ///
    /// # Errors
    /// [`SectionError`].
    pub fn parse(block: &ClearBlock, ea: EncryptionAlgorithm) -> Result<Self, SectionError> {
        let key = KeyPart::from_block(block);
        match (block.subclass(), ea.key_bytes()) {
            (3, _) => Ok(Self::First {
                ken_high: block.field(56, 4) as u8,
                krn: (block.field(52, 4) as u8).try_into()?,
                roll_over: block.field(51, 1) == 1,
                three_tokens: block.field(50, 1) == 1,
                kt: (block.field(48, 2) as u8).try_into()?,
                key,
            }),
            (4, _) => Ok(Self::Second {
                ken_low: block.field(56, 4) as u8,
                ti: (block.field(48, 8) as u8).try_into()?,
                key,
            }),
            (8, 8) => Ok(Self::ThirdOfThree { sgc: (block.field(36, 24) as u32).try_into()? }),
            (8, _) => Ok(Self::ThirdOfFour { sgc_low: block.field(48, 12) as u16, key }),
            (9, 16) => Ok(Self::Fourth { sgc_high: block.field(48, 12) as u16, key }),
            (subclass, _) => Err(SectionError::Subclass(subclass)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_do_not_exist() {
        let parse = |subclass, content| {
            Section::parse(&ClearBlock::seal(2, subclass, content), EncryptionAlgorithm::Ea07)
        };
        assert_eq!(parse(3, 0), Err(SectionError::Attribute(AttributeError::KeyRevision)));
        assert_eq!(parse(4, 100 << 32), Err(SectionError::Attribute(AttributeError::TariffIndex)));
        assert_eq!(parse(8, 1_000_000 << 20), Err(SectionError::Attribute(AttributeError::SupplyGroupCode)));
        assert_eq!(parse(9, 0), Err(SectionError::Subclass(9)));
    }

    #[test]
    fn debug_shows_no_key_bits() {
        let section = Section::Fourth { sgc_high: 1, key: KeyPart::new([0xAB; 4]) };
        let shown = format!("{section:?} {:?}", section.block());
        assert!(!shown.to_lowercase().contains("ab, ") && !shown.contains("171") && !shown.contains("abab"));
    }
}
