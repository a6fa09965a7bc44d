//! EA09: DES-ECB of the block under the 64-bit decoder key, parity bits ignored (STS facts §5.2).
//! Withdrawn in 2018; no published token uses it.

use ::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use des::Des;

/// The encrypted block.
pub(super) fn encrypt(key: &[u8; 8], block: u64) -> u64 {
    let mut bytes = block.to_be_bytes().into();
    Des::new(key.into()).encrypt_block(&mut bytes);
    u64::from_be_bytes(bytes.into())
}

/// The decrypted block.
pub(super) fn decrypt(key: &[u8; 8], block: u64) -> u64 {
    let mut bytes = block.to_be_bytes().into();
    Des::new(key.into()).decrypt_block(&mut bytes);
    u64::from_be_bytes(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Widely published worked example of DES, and NBS validation with the zero-parity key.
    #[test]
    fn published_blocks() {
        for (key, block, encrypted) in [
            (0x1334_5779_9BBC_DFF1_u64, 0x0123_4567_89AB_CDEF, 0x85E8_1354_0F0A_B405),
            (0x0101_0101_0101_0101, 0x8000_0000_0000_0000, 0x95F8_A5E5_DD31_D900),
        ] {
            assert_eq!(encrypt(&key.to_be_bytes(), block), encrypted);
            assert_eq!(decrypt(&key.to_be_bytes(), encrypted), block);
        }
    }
}
