//! What the HSM's answers are compared with: the same operations in software, on keys that are
//! known anyway.

use des::cipher::{Array, BlockCipherEncrypt, KeyInit};
use des::{Des, TdesEde2};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::error::HsmError;
use super::keys::KeyKind;

/// The HMAC keys' check value is made over this (docs/architecture.md, KCV).
pub(super) const KCV_MESSAGE: &[u8] = b"vendkey kcv v1";

const LENGTH: HsmError = HsmError::Nonsense("a key of the wrong length");

/// DES or two-key triple DES of one block; `key` has 8 or 16 bytes.
pub(super) fn des(key: &[u8], block: [u8; 8]) -> Result<Zeroizing<[u8; 8]>, HsmError> {
    let mut block = Array::from(block);
    match key.len() {
        8 => Des::new_from_slice(key).map_err(|_| LENGTH)?.encrypt_block(&mut block),
        _ => TdesEde2::new_from_slice(key).map_err(|_| LENGTH)?.encrypt_block(&mut block),
    }
    Ok(Zeroizing::new(block.into()))
}

/// HMAC-SHA-256.
pub(super) fn hmac(key: &[u8], message: &[u8]) -> Result<Zeroizing<[u8; 32]>, HsmError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| LENGTH)?;
    mac.update(message);
    Ok(Zeroizing::new(mac.finalize().into_bytes().into()))
}

/// DKGA02: `DES_VK(B) xor B xor VK` (STS facts §2.2).
pub(super) fn dkga02(key: &[u8], block: [u8; 8]) -> Result<Zeroizing<[u8; 8]>, HsmError> {
    let mut derived = des(key, block)?;
    for ((byte, b), k) in derived.iter_mut().zip(block).zip(key) {
        *byte ^= b ^ k;
    }
    Ok(derived)
}

/// DKGA03: `E(K1, D(K2, E(K1, B))) xor B` (STS facts §2.4).
pub(super) fn dkga03(key: &[u8], block: [u8; 8]) -> Result<Zeroizing<[u8; 8]>, HsmError> {
    let mut derived = des(key, block)?;
    for (byte, b) in derived.iter_mut().zip(block) {
        *byte ^= b;
    }
    Ok(derived)
}

/// The key check value: the first 3 bytes of `DES_VK(0^8)`, or of the HMAC of [`KCV_MESSAGE`].
/// Three bytes say nothing that helps to find a key; more would.
pub(super) fn kcv(kind: KeyKind, key: &[u8]) -> Result<[u8; 3], HsmError> {
    Ok(match kind {
        KeyKind::Des | KeyKind::Des2 => first_three(&*des(key, [0; 8])?),
        KeyKind::Hmac => first_three(&*hmac(key, KCV_MESSAGE)?),
    })
}

/// The first 3 of at least 3 bytes.
fn first_three(bytes: &[u8]) -> [u8; 3] {
    [bytes[0], bytes[1], bytes[2]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn des_of_fips_81() {
        let key = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        assert_eq!(hex::encode(*des(&key, *b"Now is t").unwrap()), "3fa40e8a984d4815");
        let twice = [key, key].concat();
        assert_eq!(hex::encode(*des(&twice, *b"Now is t").unwrap()), "3fa40e8a984d4815");
    }

    #[test]
    fn hmac_of_rfc_4231() {
        let mac = hmac(&[0x0b; 20], b"Hi There").unwrap();
        assert_eq!(hex::encode(*mac), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }

    #[test]
    fn keys_of_the_wrong_length_are_refused() {
        assert!(des(&[0; 7], [0; 8]).is_err());
        assert!(kcv(KeyKind::Des2, &[0; 17]).is_err());
    }
}
