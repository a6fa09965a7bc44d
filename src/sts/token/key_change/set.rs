//! A whole key-change set.

use subtle::ConstantTimeEq;

use super::section::{KeyPart, Section};
use crate::sts::attributes::{
    EncryptionAlgorithm, KeyExpiry, KeyRevision, KeyType, SupplyGroupCode, TariffIndex,
};
use crate::sts::cipher::{CipherError, DecoderKey};
use crate::sts::token::Token;

/// How many tokens a set has, and with them what it transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetShape {
    /// Two, for a 64-bit key: the supply group code is not transferred.
    Pair,
    /// Three, for a 64-bit key and the supply group code.
    Triplet,
    /// Four, for a 128-bit key and the supply group code.
    Quadruple,
}

impl SetShape {
    /// The shape for a cipher; a 128-bit key always takes four tokens.
    pub fn new(ea: EncryptionAlgorithm, transfer_sgc: bool) -> Self {
        match (ea.key_bytes(), transfer_sgc) {
            (16, _) => Self::Quadruple,
            (_, true) => Self::Triplet,
            (_, false) => Self::Pair,
        }
    }

    /// 2, 3 or 4.
    pub fn tokens(self) -> usize {
        match self {
            Self::Pair => 2,
            Self::Triplet => 3,
            Self::Quadruple => 4,
        }
    }
}

/// Why a set could not be made although its plan stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyChangeError {
    /// A key of the wrong length.
    #[error(transparent)]
    Cipher(#[from] CipherError),
    /// The meter would forget its TIDs and keep its key, so every old token would work once more.
    #[error("roll-over with equal decoder keys would revive old tokens")]
    RevivesOldTokens,
}

/// What a key-change set carries: all attributes are the new key's. Free of policy;
/// [`KeyChange::plan`] holds that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// The cipher of both keys.
    pub ea: EncryptionAlgorithm,
    /// How many tokens.
    pub shape: SetShape,
    /// The new key's expiry number.
    pub ken: KeyExpiry,
    /// The new key's revision number.
    pub krn: KeyRevision,
    /// The new key's type.
    pub kt: KeyType,
    /// The new tariff index.
    pub ti: TariffIndex,
    /// The new supply group; a pair does not transfer it.
    pub sgc: SupplyGroupCode,
    /// RO: the meter forgets the TIDs that it has seen.
    pub roll_over: bool,
}

impl KeyChange {
    /// The tokens, in the order in which they are printed; a meter takes them in any. Equal input
    /// gives equal digits.
    ///
    /// # Errors
    /// [`KeyChangeError::RevivesOldTokens`] when RO is set and the keys are equal; a key whose
    /// length is not the cipher's.
    pub fn tokens(
        &self,
        current_key: DecoderKey<'_>,
        new_key: DecoderKey<'_>,
    ) -> Result<Vec<Token>, KeyChangeError> {
        // `ct_eq` of slices of different lengths is false, and those are refused below.
        if self.roll_over && bool::from(current_key.as_bytes().ct_eq(new_key.as_bytes())) {
            return Err(KeyChangeError::RevivesOldTokens);
        }
        Ok(self.tokens_below_policy(current_key, new_key)?)
    }

    /// The same without a look at whether the keys are equal: what the arithmetic of the standard
    /// gives.
    ///
    /// # Errors
    /// [`CipherError`] when a key's length is not the cipher's.
    pub fn tokens_below_policy(
        &self,
        current_key: DecoderKey<'_>,
        new_key: DecoderKey<'_>,
    ) -> Result<Vec<Token>, CipherError> {
        self.sections(new_key)?.iter().map(|section| section.block().encrypt(self.ea, current_key)).collect()
    }

    /// The sections, in the order of their subclasses 3, 4, 8, 9.
    ///
    /// # Errors
    /// [`CipherError`] when the key's length is not the cipher's.
    pub fn sections(&self, new_key: DecoderKey<'_>) -> Result<Vec<Section>, CipherError> {
        let parts: Vec<KeyPart> = new_key
            .as_bytes()
            .chunks_exact(4)
            .map(|part| KeyPart::new([part[0], part[1], part[2], part[3]]))
            .collect();
        let sgc = self.sgc.value();
        let (sgc_low, sgc_high) = ((sgc & 0xFFF) as u16, (sgc >> 12) as u16);
        match (self.shape, parts.as_slice()) {
            (SetShape::Pair, [high, low]) => Ok(vec![self.first(high), self.second(low)]),
            (SetShape::Triplet, [high, low]) => {
                Ok(vec![self.first(high), self.second(low), Section::ThirdOfThree { sgc: self.sgc }])
            }
            (SetShape::Quadruple, [first, third, fourth, second]) => Ok(vec![
                self.first(first),
                self.second(second),
                Section::ThirdOfFour { sgc_low, key: third.clone() },
                Section::Fourth { sgc_high, key: fourth.clone() },
            ]),
            _ => Err(CipherError { ea: self.ea, found: new_key.as_bytes().len() }),
        }
    }

    fn first(&self, key: &KeyPart) -> Section {
        Section::First {
            ken_high: self.ken.0 >> 4,
            krn: self.krn,
            roll_over: self.roll_over,
            three_tokens: self.shape == SetShape::Triplet,
            kt: self.kt,
            key: key.clone(),
        }
    }

    fn second(&self, key: &KeyPart) -> Section {
        Section::Second { ken_low: self.ken.0 & 0xF, ti: self.ti, key: key.clone() }
    }
}
