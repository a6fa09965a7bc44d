//! The 64-bit data block of a token, in the clear (STS facts §3).

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::digits::Token;
use super::rnd::Rnd;
use crate::sts::attributes::EncryptionAlgorithm;
use crate::sts::cipher::{CipherError, DecoderKey, decrypt_block, encrypt_block};
use crate::sts::crc::block_crc;
use crate::sts::tid::Tid;

/// Bits of the content, between subclass and CRC.
const CONTENT_BITS: u32 = 44;

/// Why a block is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Class 3, which the standard reserves.
    #[error("class 3 is reserved by the standard")]
    Class,
    /// The CRC does not belong to the block: a typing error, another meter, or another key.
    #[error("the CRC does not match")]
    Crc,
}

/// A data block whose CRC holds: subclass (bits 63..60), content (59..16), CRC (15..0), and the
/// class that goes with it.
///
/// The block of a key-change token holds part of a decoder key: it is wiped when dropped and not
/// shown by [`fmt::Debug`].
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ClearBlock {
    class: u8,
    bits: u64,
}

impl ClearBlock {
    /// Lays subclass (4 bits) and content (44 bits) into a block and adds the CRC. Callers keep to
    /// those widths.
    pub(super) fn seal(class: u8, subclass: u8, content: u64) -> Self {
        let front = u64::from(subclass) << CONTENT_BITS | content;
        Self { class, bits: front << 16 | u64::from(block_crc(class, front)) }
    }

    /// The shape of all tokens with RND, TID and a register of 16 bits: class 0 subclasses 0 to 3
    /// and class 2 but for key changes. No rule about the register is applied here;
    /// [`super::Payload`] holds those.
    pub fn with_register(class: RegisterClass, subclass: u8, rnd: Rnd, tid: Tid, register: u16) -> Self {
        let content = u64::from(rnd.value()) << 40 | u64::from(tid.value()) << 16 | u64::from(register);
        Self::seal(class as u8, subclass & 0xF, content)
    }

    /// Any content under any class and subclass, for the conformance runner; `None` when one is too
    /// wide: classes 0 to 2, 4 bits, 44 bits.
    pub fn with_content(class: u8, subclass: u8, content: u64) -> Option<Self> {
        let fits = class < 3 && subclass < 16 && content >> CONTENT_BITS == 0;
        fits.then(|| Self::seal(class, subclass, content))
    }

    /// A block that was stored: its class and its 64 bits.
    ///
    /// # Errors
    /// [`BlockError`].
    pub fn from_parts(class: u8, bits: u64) -> Result<Self, BlockError> {
        Unverified::new(class, bits).verify()
    }

    /// 0, 1 or 2.
    pub fn class(&self) -> u8 {
        self.class
    }

    /// 0..=15.
    pub fn subclass(&self) -> u8 {
        (self.bits >> 60) as u8
    }

    /// All 64 bits, CRC included.
    pub fn bits(&self) -> u64 {
        self.bits
    }

    /// A field: `width` bits (below 64) from bit `lowest` up.
    pub(super) fn field(&self, lowest: u32, width: u32) -> u64 {
        self.bits >> lowest & ((1 << width) - 1)
    }

    /// Whether it is a section of a key change, of which all but the third of three hold key bits.
    pub fn is_key_change(&self) -> bool {
        self.class == 2 && matches!(self.subclass(), 3 | 4 | 8 | 9)
    }

    /// The token of this block. Class 1 is never encrypted, its key is not looked at.
    ///
    /// # Errors
    /// [`CipherError`] when the key's length is not the cipher's.
    pub fn encrypt(&self, ea: EncryptionAlgorithm, key: DecoderKey<'_>) -> Result<Token, CipherError> {
        let block = match self.class {
            1 => self.bits,
            _ => encrypt_block(ea, key, self.bits)?,
        };
        Ok(Token::transpose(self.class, block))
    }

    /// The token of a block of class 1, which no key enters; `None` for the others.
    pub fn unencrypted(&self) -> Option<Token> {
        (self.class == 1).then(|| Token::transpose(1, self.bits))
    }
}

/// The way back.
impl Token {
    /// Takes the cipher off, where the class has one; whether that made sense is for
    /// [`Unverified::verify`] to say.
    ///
    /// # Errors
    /// [`CipherError`] when the key's length is not the cipher's.
    pub fn decrypt(&self, ea: EncryptionAlgorithm, key: DecoderKey<'_>) -> Result<Unverified, CipherError> {
        let bits = match self.class() {
            0 | 2 => decrypt_block(ea, key, self.block())?,
            _ => self.block(),
        };
        Ok(Unverified::new(self.class(), bits))
    }

    /// The block of a token of class 1, which needs no key, or of class 3, as its bits stand;
    /// `None` for the others.
    pub fn unencrypted(&self) -> Option<Unverified> {
        matches!(self.class(), 1 | 3).then(|| Unverified::new(self.class(), self.block()))
    }
}

impl fmt::Debug for ClearBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_key_change() {
            write!(f, "ClearBlock(class 2, subclass {}, key bits hidden)", self.subclass())
        } else {
            write!(f, "ClearBlock(class {}, {:016x})", self.class, self.bits)
        }
    }
}

/// The classes whose blocks carry a TID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterClass {
    /// Class 0.
    Credit = 0,
    /// Class 2.
    Management = 2,
}

/// A block as a decrypted token gives it, before anything about it is known to be true.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Unverified {
    class: u8,
    bits: u64,
}

impl Unverified {
    pub(super) fn new(class: u8, bits: u64) -> Self {
        Self { class, bits }
    }

    /// 0..=3.
    pub fn class(&self) -> u8 {
        self.class
    }

    /// All 64 bits. They may hold key bits.
    pub fn bits(&self) -> u64 {
        self.bits
    }

    /// 0..=15.
    pub fn subclass(&self) -> u8 {
        (self.bits >> 60) as u8
    }

    /// Whether its CRC holds. Of class 3, whose layout nobody knows, whether it would be sound in
    /// the other classes.
    pub fn crc_holds(&self) -> bool {
        block_crc(self.class, self.bits >> 16) == self.bits as u16
    }

    /// The block, if its class exists and its CRC holds.
    ///
    /// # Errors
    /// [`BlockError`].
    pub fn verify(&self) -> Result<ClearBlock, BlockError> {
        if self.class > 2 {
            return Err(BlockError::Class);
        }
        if !self.crc_holds() {
            return Err(BlockError::Crc);
        }
        Ok(ClearBlock { class: self.class, bits: self.bits })
    }
}

impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unverified(class {}, bits hidden)", self.class)
    }
}
