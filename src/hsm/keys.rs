//! The names of key objects, and vending keys on their way in.

use std::fmt;

use cryptoki::object::ObjectClass;
use zeroize::Zeroize;

use crate::secret::{MemoryError, SecretBytes};

/// What a key goes by: 16 bytes. A configuration's key and mask share the configuration's id; in the
/// token each object has a CKA_ID of its own (`Role::cka_id`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

impl KeyId {
    /// The bytes, as the HSM holds them.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Which HSM token: 8 bytes that its fingerprint key makes. So a token is known by what it holds,
/// whatever its label, slot or serial number, and a vendor's replicas of one token are one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub [u8; 8]);

/// Which row-seal key made a seal: 8 bytes that the key itself makes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealKeyId(pub [u8; 8]);

macro_rules! shown_as_hex {
    ($($id:ident),*) => {$(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($id), "({})"), self)
            }
        }
    )*};
}

shown_as_hex!(KeyId, TokenId, SealKeyId);

/// What an object in the token is for. Its label says the same to a person with `pkcs11-tool`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A vending key.
    VendingKey,
    /// The mask key of a DKGA02 configuration.
    Mask,
    /// The RSA key that opens legacy uploads.
    Legacy,
    /// The RSA key that opens sealed uploads. Apart from the legacy one, because an oracle of
    /// PKCS#1 v1.5 padding on a shared key would open OAEP too.
    Sealed,
    /// The RSA key that signs audit checkpoints.
    Audit,
    /// The HMAC key that seals rows.
    RowSeal,
    /// The HMAC key that makes fingerprints of uploads. Apart from the row-seal key, so that an
    /// upload is known for as long as the token lives, whatever is rotated.
    Fingerprint,
}

impl Role {
    /// CKA_LABEL of the object.
    pub fn label(self) -> &'static str {
        match self {
            Role::VendingKey => "vendkey vending key",
            Role::Mask => "vendkey mask key",
            Role::Legacy => "vendkey legacy server key",
            Role::Sealed => "vendkey sealed server key",
            Role::Audit => "vendkey audit key",
            Role::RowSeal => "vendkey row-seal key",
            Role::Fingerprint => "vendkey fingerprint key",
        }
    }

    /// CKA_ID of an object. That of a mask has its first bit flipped, which is 0 in the ids of
    /// configurations: to NSS softokn two secret keys of one CKA_ID are one, and the later takes the
    /// place of the earlier.
    pub(super) fn cka_id(self, id: KeyId) -> KeyId {
        match self {
            Role::Mask => flipped(id),
            _ => id,
        }
    }

    /// Every CKA_ID that an object may have: masks that were made before have that of their key.
    pub(super) fn cka_ids(self, id: KeyId) -> impl Iterator<Item = KeyId> {
        [self.cka_id(id)].into_iter().chain((self == Role::Mask).then_some(id))
    }

    /// What an object of this CKA_ID goes by.
    pub(super) fn id_of(self, cka_id: KeyId) -> KeyId {
        if self == Role::Mask && cka_id.0[0] & FIRST_BIT != 0 { flipped(cka_id) } else { cka_id }
    }

    /// CKA_CLASS of the object. Public halves of RSA keys have the same label and id, and no role:
    /// they are never used.
    pub(super) fn class(self) -> ObjectClass {
        match self {
            Role::VendingKey | Role::Mask | Role::RowSeal | Role::Fingerprint => ObjectClass::SECRET_KEY,
            Role::Legacy | Role::Sealed | Role::Audit => ObjectClass::PRIVATE_KEY,
        }
    }
}

const FIRST_BIT: u8 = 0x80;

fn flipped(mut id: KeyId) -> KeyId {
    id.0[0] ^= FIRST_BIT;
    id
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::VendingKey => "vending key",
            Role::Mask => "mask key",
            Role::Legacy => "legacy server",
            Role::Sealed => "sealed server",
            Role::Audit => "audit",
            Role::RowSeal => "row-seal",
            Role::Fingerprint => "fingerprint",
        })
    }
}

impl Role {
    /// CKA_ID of the first generation of one of the server's own keys: text, so that a person
    /// recognises it. Each later generation has one more in the last byte.
    fn first_id(self) -> Option<[u8; 16]> {
        match self {
            Role::Legacy => Some(*b"vendkey:legacy\0\0"),
            Role::Sealed => Some(*b"vendkey:sealed\0\0"),
            Role::Audit => Some(*b"vendkey:audit\0\0\0"),
            Role::RowSeal => Some(*b"vendkey:row-seal"),
            Role::Fingerprint => Some(*b"vendkey:finger\0\0"),
            Role::VendingKey | Role::Mask => None,
        }
    }

    /// CKA_ID of a generation of one of the server's own keys; keys of configurations have none.
    pub(super) fn own_id(self, generation: u8) -> Option<KeyId> {
        let mut id = self.first_id()?;
        id[15] = id[15].wrapping_add(generation);
        Some(KeyId(id))
    }

    /// Which generation of an own key this is; None: no id of ours.
    pub(super) fn generation(self, id: KeyId) -> Option<u8> {
        let first = self.first_id()?;
        (id.0[..15] == first[..15]).then(|| id.0[15].wrapping_sub(first[15]))
    }
}

/// A generation of a server key that is used beside the one that followed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldKey {
    /// Which key.
    pub role: Role,
    /// The old generation's CKA_ID.
    pub id: KeyId,
    /// Until when it opens uploads, in milliseconds since 1970.
    pub until_ms: i64,
}

impl OldKey {
    /// Whether it opens uploads in the place of this key at a time in milliseconds since 1970, though
    /// it may be in the token longer.
    pub(super) fn opens(&self, role: Role, now_ms: i64) -> bool {
        self.role == role && now_ms < self.until_ms
    }
}

/// The public half of the DKGA02 trick: the vending key's ciphertext under the configuration's mask
/// key.
///
/// `ciphertext` = AES-256-CBC(mask key, `iv`, VK | VK). Kept in the configuration's row; worthless
/// without the HSM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mask {
    /// The initialisation vector, random.
    pub iv: [u8; 16],
    /// One block.
    pub ciphertext: [u8; 16],
}

/// What a configuration's row knows of its key on one token: enough to derive, nothing secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VendingKey {
    /// The token that holds it.
    pub token: TokenId,
    /// CKA_ID.
    pub id: KeyId,
    /// Its kind, with what deriving needs.
    pub class: VendingKeyClass,
    /// Its check value, by which an object that was found is known to be this key.
    pub kcv: [u8; 3],
}

/// The kinds of vending key, by the mechanism that serves them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// Single DES (DKGA02).
    Des,
    /// Two-key triple DES (DKGA03).
    Des2,
    /// HMAC-SHA-256 (DKGA04).
    Hmac,
}

impl KeyKind {
    /// Length of the clear key in bytes: 8, 16 or 20 (STS facts §2).
    #[allow(clippy::len_without_is_empty)] // a length, not a container's
    pub fn len(self) -> usize {
        match self {
            KeyKind::Des => 8,
            KeyKind::Des2 => 16,
            KeyKind::Hmac => 20,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyKind::Des => "DKGA02 (DES)",
            KeyKind::Des2 => "DKGA03 (triple DES)",
            KeyKind::Hmac => "DKGA04 (HMAC-SHA-256)",
        })
    }
}

/// A kind of vending key with what deriving by it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VendingKeyClass {
    /// Single DES, for DKGA02.
    Des {
        /// The last xor of DKGA02.
        mask: Mask,
    },
    /// Two-key triple DES, for DKGA03.
    Des2,
    /// HMAC-SHA-256, for DKGA04.
    Hmac,
}

impl VendingKeyClass {
    /// The kind without its data.
    pub fn kind(&self) -> KeyKind {
        match self {
            VendingKeyClass::Des { .. } => KeyKind::Des,
            VendingKeyClass::Des2 => KeyKind::Des2,
            VendingKeyClass::Hmac => KeyKind::Hmac,
        }
    }
}

/// A vending key in clear, on its way into the HSM: bytes in natural order, most significant first,
/// in locked memory.
///
/// Neither prints nor clones, and is wiped when dropped.
pub struct VendingKeyMaterial {
    kind: KeyKind,
    bytes: SecretBytes,
}

impl VendingKeyMaterial {
    /// A DKGA02 key, 8 bytes, parity as given (STS facts §2.2).
    ///
    /// # Errors
    /// [`MemoryError`] when the system has no memory.
    pub fn des(key: &[u8; 8]) -> Result<VendingKeyMaterial, MemoryError> {
        Ok(VendingKeyMaterial { kind: KeyKind::Des, bytes: SecretBytes::copy_of(key)? })
    }

    /// A DKGA03 key, K1 | K2, 16 bytes (STS facts §2.4).
    ///
    /// # Errors
    /// [`MemoryError`] when the system has no memory.
    pub fn des2(key: &[u8; 16]) -> Result<VendingKeyMaterial, MemoryError> {
        Ok(VendingKeyMaterial { kind: KeyKind::Des2, bytes: SecretBytes::copy_of(key)? })
    }

    /// A DKGA04 key, 20 bytes (STS facts §2.5).
    ///
    /// # Errors
    /// [`MemoryError`] when the system has no memory.
    pub fn hmac(key: &[u8; 20]) -> Result<VendingKeyMaterial, MemoryError> {
        Ok(VendingKeyMaterial { kind: KeyKind::Hmac, bytes: SecretBytes::copy_of(key)? })
    }

    /// A key of this kind, or None where the length is not the kind's.
    ///
    /// # Errors
    /// [`MemoryError`] when the system has no memory.
    pub fn from_slice(kind: KeyKind, key: &[u8]) -> Result<Option<VendingKeyMaterial>, MemoryError> {
        if key.len() != kind.len() {
            return Ok(None);
        }
        Ok(Some(VendingKeyMaterial { kind, bytes: SecretBytes::copy_of(key)? }))
    }

    /// Its kind.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The same once more, for one more token.
    ///
    /// # Errors
    /// [`MemoryError`] when the system has no memory.
    pub fn copied(&self) -> Result<VendingKeyMaterial, MemoryError> {
        Ok(VendingKeyMaterial { kind: self.kind, bytes: SecretBytes::copy_of(&self.bytes)? })
    }

    /// The clear key; as long as its kind says.
    pub(super) fn expose(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for VendingKeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VendingKeyMaterial").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Drop for VendingKeyMaterial {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn material_has_the_length_of_its_kind_and_does_not_print() {
        assert!(VendingKeyMaterial::from_slice(KeyKind::Hmac, &[1; 21]).unwrap().is_none());
        assert!(VendingKeyMaterial::from_slice(KeyKind::Des, &[1; 7]).unwrap().is_none());
        let key = VendingKeyMaterial::from_slice(KeyKind::Des2, &[0xab; 16]).unwrap().unwrap();
        assert_eq!(key.expose(), [0xab; 16]);
        assert_eq!(format!("{key:?}"), "VendingKeyMaterial { kind: Des2, .. }");
    }

    #[test]
    fn own_keys_have_an_id_for_each_generation() {
        let own = [Role::Legacy, Role::Sealed, Role::Audit, Role::RowSeal, Role::Fingerprint];
        let mut ids = std::collections::BTreeSet::new();
        for role in own {
            for generation in 0..=255 {
                let id = role.own_id(generation).unwrap();
                assert_eq!(role.generation(id), Some(generation));
                assert!(ids.insert(id));
            }
        }
        assert_eq!(Role::Legacy.own_id(0).unwrap().to_string(), "76656e646b65793a6c65676163790000");
        assert_eq!(Role::Audit.generation(Role::Legacy.own_id(0).unwrap()), None);
        assert_eq!(Role::VendingKey.own_id(0), None);
    }
}
