//! Signatures of uploads. Of a legacy one there are two forms, both PKCS#1 v1.5 type 1 over the
//! SHA-256 of the text:
//!
//! * raw: the 32 bytes alone, as `openssl rsautl -sign` (and `pkeyutl -sign` without a digest
//!   option) makes it, and as the legacy format wants it;
//! * prefixed: with the DigestInfo of RFC 8017 §9.2, as `openssl dgst -sign` makes it.
//!
//! A sealed one is signed by RSASSA-PSS with SHA-256, MGF1-SHA-256 and a salt of 32 bytes.

use rsa::sha2::{Digest as _, Sha256};
use rsa::{Pkcs1v15Sign, Pss, RsaPublicKey};

/// DER of the DigestInfo for SHA-256, up to the digest (RFC 8017 §9.2, note 1).
const SHA256_DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// The raw form.
pub(super) fn raw() -> Pkcs1v15Sign {
    Pkcs1v15Sign { hash_len: Some(32), prefix: Box::new([]) }
}

/// The form with DigestInfo.
pub(super) fn prefixed() -> Pkcs1v15Sign {
    Pkcs1v15Sign { hash_len: Some(32), prefix: Box::new(SHA256_DIGEST_INFO) }
}

/// Whether `signature` is by `key` over `digest`, in either form. Both are always tried: the time
/// tells nothing.
pub(super) fn verify(key: &RsaPublicKey, digest: &[u8; 32], signature: &[u8]) -> bool {
    let is_raw = key.verify(raw(), digest, signature).is_ok();
    let is_prefixed = key.verify(prefixed(), digest, signature).is_ok();
    is_raw | is_prefixed
}

/// The one form of a sealed upload's signature.
pub(super) fn pss() -> Pss {
    Pss::new_with_salt::<Sha256>(32)
}

/// Whether `signature` is by `key` over `message`.
pub(super) fn verify_pss(key: &RsaPublicKey, message: &[u8], signature: &[u8]) -> bool {
    key.verify(pss(), &Sha256::digest(message), signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::test_keys;
    use super::*;

    const DIGEST: [u8; 32] = [0x5a; 32];

    #[test]
    fn the_raw_form() {
        let private = test_keys::administrator();
        let signature = private.sign(raw(), &DIGEST).unwrap();
        assert!(verify(&private.to_public_key(), &DIGEST, &signature));
        assert!(private.to_public_key().verify(prefixed(), &DIGEST, &signature).is_err());
    }

    #[test]
    fn the_form_with_digest_info() {
        let private = test_keys::administrator();
        let signature = private.sign(prefixed(), &DIGEST).unwrap();
        assert!(verify(&private.to_public_key(), &DIGEST, &signature));
        assert!(private.to_public_key().verify(raw(), &DIGEST, &signature).is_err());
    }

    #[test]
    fn nothing_else() {
        let private = test_keys::administrator();
        let key = private.to_public_key();
        let signature = private.sign(raw(), &DIGEST).unwrap();
        let other_length = private.sign(Pkcs1v15Sign::new_unprefixed(), &DIGEST[..31]).unwrap();
        // The hex text of the digest, which `openssl dgst` without -binary gives.
        let hex_text = private.sign(Pkcs1v15Sign::new_unprefixed(), hex::encode(DIGEST).as_bytes()).unwrap();
        assert!(!verify(&key, &[0; 32], &signature));
        assert!(!verify(&test_keys::server().to_public_key(), &DIGEST, &signature));
        for wrong in [&other_length[..], &hex_text, &signature[1..], &[], &[0; 256], &[0xff; 256]] {
            assert!(!verify(&key, &DIGEST, wrong));
        }
    }
}
