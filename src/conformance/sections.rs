//! Sections of a key change from bare numbers, which need not be attributes of any key (STS facts
//! §3.8).

use super::fields::KeyBytes;
use crate::sts::attributes::{EncryptionAlgorithm, KeyExpiry, KeyType};
use crate::sts::cipher::{CipherError, DecoderKey};
use crate::sts::token::key_change::{KeyChange, SetShape};
use crate::sts::token::{ClearBlock, Content, Token};

/// What the sections of a set say beside the key, each number no wider than its field.
#[derive(Clone, Copy, Debug)]
pub struct SectionFields {
    /// KEN, both halves.
    pub ken: u8,
    /// KRN, 0..=15.
    pub krn: u8,
    /// RO.
    pub roll_over: bool,
    /// The 3KCT bit.
    pub three_tokens: bool,
    /// Key type.
    pub kt: KeyType,
    /// TI, any 8 bits.
    pub ti: u8,
    /// SGC, any 24 bits.
    pub sgc: u32,
}

impl SectionFields {
    /// The 44 bits of the section of this subclass. The key's length chooses the form of subclass
    /// 8; `None` where the section wants key bytes that are not there.
    pub fn content(&self, subclass: u8, key: &[u8]) -> Option<u64> {
        let part = |from: usize| {
            key.get(from..).and_then(<[u8]>::first_chunk).map(|part| u64::from(u32::from_be_bytes(*part)))
        };
        let sgc = u64::from(self.sgc);
        match (subclass, key.len()) {
            (3, 8 | 16) => Some(
                u64::from(self.ken >> 4) << 40
                    | u64::from(self.krn & 0xF) << 36
                    | u64::from(self.roll_over) << 35
                    | u64::from(self.three_tokens) << 34
                    | u64::from(self.kt.value()) << 32
                    | part(0)?,
            ),
            (4, 8 | 16) => {
                Some(u64::from(self.ken & 0xF) << 40 | u64::from(self.ti) << 32 | part(key.len() - 4)?)
            }
            (8, 8) => Some((sgc & 0xFF_FFFF) << 20),
            (8, 16) => Some((sgc & 0xFFF) << 32 | part(4)?),
            (9, 16) => Some((sgc >> 12 & 0xFFF) << 32 | part(8)?),
            _ => None,
        }
    }

    /// The block of one section: through the code that serves where it can be read there, raw where
    /// it cannot.
    pub fn block(&self, subclass: u8, key: &KeyBytes) -> Option<ClearBlock> {
        let raw = ClearBlock::with_content(2, subclass, self.content(subclass, key.as_bytes())?)?;
        let ea = match key.as_bytes().len() {
            16 => EncryptionAlgorithm::Ea11,
            _ => EncryptionAlgorithm::Ea07,
        };
        match Content::parse(&raw, ea) {
            Ok(Content::KeyChange(section)) => Some(section.block()),
            _ => Some(raw),
        }
    }
}

/// A whole set.
#[derive(Clone, Copy, Debug)]
pub struct SetFields {
    /// The cipher of the current key.
    pub ea: EncryptionAlgorithm,
    /// How many tokens; `None` to go by the new key's length, without the supply group.
    pub shape: Option<SetShape>,
    /// What the sections say; `three_tokens` follows the shape.
    pub fields: SectionFields,
}

impl SetFields {
    /// The tokens, through the code that serves where its types can hold the numbers.
    ///
    /// # Errors
    /// [`CipherError`] when a key's length is not the cipher's, or the new key's not the shape's.
    pub fn tokens(&self, current: DecoderKey<'_>, new: DecoderKey<'_>) -> Result<Vec<Token>, CipherError> {
        let shape = self.shape.unwrap_or(match new.as_bytes().len() {
            16 => SetShape::Quadruple,
            _ => SetShape::Pair,
        });
        if let Some(change) = self.served(shape) {
            return change.tokens_below_policy(current, new);
        }
        let misfit = || CipherError { ea: self.ea, found: new.as_bytes().len() };
        let wanted_bytes = if shape == SetShape::Quadruple { 16 } else { 8 };
        if new.as_bytes().len() != wanted_bytes {
            return Err(misfit());
        }
        let fields = SectionFields { three_tokens: shape == SetShape::Triplet, ..self.fields };
        [3, 4, 8, 9]
            .into_iter()
            .take(shape.tokens())
            .map(|subclass| {
                let content = fields.content(subclass, new.as_bytes()).ok_or_else(misfit)?;
                ClearBlock::with_content(2, subclass, content).ok_or_else(misfit)?.encrypt(self.ea, current)
            })
            .collect()
    }

    fn served(&self, shape: SetShape) -> Option<KeyChange> {
        let SectionFields { ken, krn, roll_over, kt, ti, sgc, .. } = self.fields;
        Some(KeyChange {
            ea: self.ea,
            shape,
            ken: KeyExpiry(ken),
            krn: krn.try_into().ok()?,
            kt,
            ti: ti.try_into().ok()?,
            sgc: sgc.try_into().ok()?,
            roll_over,
        })
    }
}
