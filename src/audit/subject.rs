//! The commitment to a meter: what the chain holds in the place of its number.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// What makes a commitment unguessable: meter numbers alone could all be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

/// The secret from which the salts of a chain come, 32 random bytes. It stays in the database: an
/// export that leaves meters out has neither it nor the salts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaltSource(pub [u8; 32]);

impl fmt::Debug for SaltSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaltSource(..)")
    }
}

impl SaltSource {
    /// The salt of the record at this position. Knowing some salts tells nothing of others.
    pub fn salt(&self, position: u64) -> Salt {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(b"vendkey salt v1\0");
        hash.update(position.to_be_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut salt = [0; 16];
        salt.copy_from_slice(&digest[..16]);
        Salt(salt)
    }
}

/// What a token is about: the part of a ledger row that an export may leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The meter's PAN, 18 digits; none for a token that fits every meter.
    pub pan: Option<String>,
    /// SHA-256 over the canonical request, which names the meter too.
    pub request_hash: [u8; 32],
}

impl Subject {
    /// The commitment under this salt: SHA-256 over a domain, the salt, the request's hash and the
    /// digits.
    pub fn commitment(&self, salt: Salt) -> [u8; 32] {
        commitment(self.pan.as_deref(), &self.request_hash, salt)
    }
}

/// The same without owning the digits.
pub(crate) fn commitment(pan: Option<&str>, request_hash: &[u8; 32], salt: Salt) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"vendkey subject v1\0");
    hash.update(salt.0);
    hash.update(request_hash);
    // The last part, so that its length needs no saying.
    hash.update(pan.unwrap_or_default());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts() {
        let subject = Subject { pan: Some("600727475001502312".into()), request_hash: [1; 32] };
        let source = SaltSource([2; 32]);
        let first = subject.commitment(source.salt(1));
        assert_ne!(first, subject.commitment(source.salt(2)));
        assert_ne!(first, subject.commitment(SaltSource([3; 32]).salt(1)));
        assert_ne!(first, Subject { pan: None, ..subject.clone() }.commitment(source.salt(1)));
        assert_ne!(first, Subject { request_hash: [0; 32], ..subject }.commitment(source.salt(1)));
    }

    #[test]
    fn the_source_does_not_print() {
        assert_eq!(format!("{:?}", SaltSource([0xA5; 32])), "SaltSource(..)");
    }
}
