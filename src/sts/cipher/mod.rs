//! The ciphers of tokens: EA07, EA09 and EA11, all on blocks of 64 bits, under a decoder key that
//! is only ever borrowed.

mod ea07;
mod ea07_tables;
mod ea09;
mod ea11;
mod misty1_tables;

use std::fmt;

use ::cipher::KeyInit;

pub use ea07::Ea07;
pub use ea11::Ea11;

use super::attributes::EncryptionAlgorithm;

/// A decoder key, borrowed: whoever derived it owns the bytes and wipes them. Most significant byte
/// first.
#[derive(Clone, Copy)]
pub enum DecoderKey<'a> {
    /// For EA07 and EA09.
    Bits64(&'a [u8; 8]),
    /// For EA11.
    Bits128(&'a [u8; 16]),
}

impl<'a> DecoderKey<'a> {
    /// A key of 8 or 16 bytes; `None` for any other length.
    pub fn from_slice(bytes: &'a [u8]) -> Option<Self> {
        match bytes.len() {
            8 => bytes.try_into().ok().map(Self::Bits64),
            16 => bytes.try_into().ok().map(Self::Bits128),
            _ => None,
        }
    }

    /// The key's bytes, 8 or 16.
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Bits64(bytes) => bytes.as_slice(),
            Self::Bits128(bytes) => bytes.as_slice(),
        }
    }
}

impl fmt::Debug for DecoderKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bits64(_) => "DecoderKey(64 bits)",
            Self::Bits128(_) => "DecoderKey(128 bits)",
        })
    }
}

/// A key that does not fit the cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ea} wants a key of {wanted} bytes, this one has {found}", wanted = ea.key_bytes())]
pub struct CipherError {
    /// The cipher.
    pub ea: EncryptionAlgorithm,
    /// Bytes of the key given.
    pub found: usize,
}

/// Encrypts a block (a big-endian number of 64 bits).
///
/// # Errors
/// [`CipherError`] when the key's length is not the cipher's.
pub fn encrypt_block(ea: EncryptionAlgorithm, key: DecoderKey<'_>, block: u64) -> Result<u64, CipherError> {
    match (ea, key) {
        (EncryptionAlgorithm::Ea07, DecoderKey::Bits64(key)) => Ok(Ea07::new(key.into()).encrypt(block)),
        (EncryptionAlgorithm::Ea09, DecoderKey::Bits64(key)) => Ok(ea09::encrypt(key, block)),
        (EncryptionAlgorithm::Ea11, DecoderKey::Bits128(key)) => Ok(Ea11::new(key.into()).encrypt(block)),
        _ => Err(CipherError { ea, found: key.as_bytes().len() }),
    }
}

/// Decrypts a block (a big-endian number of 64 bits).
///
/// # Errors
/// [`CipherError`] when the key's length is not the cipher's.
pub fn decrypt_block(ea: EncryptionAlgorithm, key: DecoderKey<'_>, block: u64) -> Result<u64, CipherError> {
    match (ea, key) {
        (EncryptionAlgorithm::Ea07, DecoderKey::Bits64(key)) => Ok(Ea07::new(key.into()).decrypt(block)),
        (EncryptionAlgorithm::Ea09, DecoderKey::Bits64(key)) => Ok(ea09::decrypt(key, block)),
        (EncryptionAlgorithm::Ea11, DecoderKey::Bits128(key)) => Ok(Ea11::new(key.into()).decrypt(block)),
        _ => Err(CipherError { ea, found: key.as_bytes().len() }),
    }
}

/// Implements the traits of the `cipher` crate for a type with `encrypt` and `decrypt` on 64-bit
/// numbers; blocks are big endian.
macro_rules! impl_block_cipher {
    ($cipher:ty) => {
        impl ::cipher::BlockSizeUser for $cipher {
            type BlockSize = ::cipher::consts::U8;
        }

        impl ::cipher::ParBlocksSizeUser for $cipher {
            type ParBlocksSize = ::cipher::consts::U1;
        }

        impl ::cipher::BlockCipherEncrypt for $cipher {
            fn encrypt_with_backend(
                &self,
                f: impl ::cipher::BlockCipherEncClosure<BlockSize = Self::BlockSize>,
            ) {
                f.call(self)
            }
        }

        impl ::cipher::BlockCipherEncBackend for $cipher {
            fn encrypt_block(&self, mut block: ::cipher::InOut<'_, '_, ::cipher::Block<Self>>) {
                let data = u64::from_be_bytes(block.clone_in().into());
                block.get_out().copy_from_slice(&self.encrypt(data).to_be_bytes());
            }
        }

        impl ::cipher::BlockCipherDecrypt for $cipher {
            fn decrypt_with_backend(
                &self,
                f: impl ::cipher::BlockCipherDecClosure<BlockSize = Self::BlockSize>,
            ) {
                f.call(self)
            }
        }

        impl ::cipher::BlockCipherDecBackend for $cipher {
            fn decrypt_block(&self, mut block: ::cipher::InOut<'_, '_, ::cipher::Block<Self>>) {
                let data = u64::from_be_bytes(block.clone_in().into());
                block.get_out().copy_from_slice(&self.decrypt(data).to_be_bytes());
            }
        }
    };
}
use impl_block_cipher;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_wrong_length_are_refused() {
        use EncryptionAlgorithm::{Ea07, Ea09, Ea11};
        let (short, long) = ([0; 8], [0; 16]);
        for (ea, key, found) in [
            (Ea07, DecoderKey::Bits128(&long), 16),
            (Ea09, DecoderKey::Bits128(&long), 16),
            (Ea11, DecoderKey::Bits64(&short), 8),
        ] {
            assert_eq!(encrypt_block(ea, key, 0), Err(CipherError { ea, found }));
            assert_eq!(decrypt_block(ea, key, 0), Err(CipherError { ea, found }));
        }
        assert!(DecoderKey::from_slice(&[0; 9]).is_none());
        assert_eq!(format!("{:?}", DecoderKey::Bits64(&short)), "DecoderKey(64 bits)");
    }

    /// The traits of the `cipher` crate see the same cipher, on big-endian bytes.
    #[test]
    fn the_traits_agree_with_the_numbers() {
        use ::cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _};
        let key = [7; 16];
        let mut block = 0x0123_4567_89AB_CDEF_u64.to_be_bytes().into();
        let cipher = Ea11::new(&key.into());
        cipher.encrypt_block(&mut block);
        let number =
            encrypt_block(EncryptionAlgorithm::Ea11, DecoderKey::Bits128(&key), 0x0123_4567_89AB_CDEF);
        assert_eq!(number, Ok(u64::from_be_bytes(block.into())));
        cipher.decrypt_block(&mut block);
        assert_eq!(u64::from_be_bytes(block.into()), 0x0123_4567_89AB_CDEF);
    }
}
