//! From vending keys to decoder keys, inside the HSM.
//!
//! DKGA02 is `DES_VK(B) xor B xor VK`, and the last xor needs the key itself. It is done by a
//! second key (hsm-facts §0): the configuration's row holds `C = AES-CBC(mask, iv, VK|VK)`. With `X
//! = DES_VK(B) xor B`, made in the HSM, decrypting C with the initialisation vector `iv xor (X|X)`
//! gives `(VK|VK) xor (X|X)`: the decoder key, twice. Many meters cost two calls: the blocks `V1,
//! C, V2, C, …` under a zero vector decrypt to the same results at each place of C.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use zeroize::Zeroizing;

use super::capabilities::{Capabilities, DesForm};
use super::error::{Cure, HsmError, Mismatch};
use super::keys::{KeyKind, Mask, Role, VendingKey, VendingKeyClass};
use super::reference;
use super::session::SessionGuard;
use crate::sts::derivation::Derivation;

/// Bytes reserved for each decoder key; one of 8 bytes leaves the rest zero.
pub(super) const CELL: usize = 16;

/// Blocks in one call; SoftHSM gains nothing beyond (hsm-facts §3), and modules have limits of
/// their own.
const BLOCKS_PER_CALL: usize = 1024;

/// The outcome of each derivation: done, or why this one failed. The same key fails alike for all.
pub(super) type Outcomes = Vec<Result<(), HsmError>>;

/// Derives all of `wanted`, the n-th into the n-th cell of `cells`.
///
/// # Errors
/// What calls for a cure (a lost session, handle or token): nothing is done then. Anything else is
/// an outcome.
pub(super) fn derive(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    wanted: &[(VendingKey, Derivation)],
    cells: &mut [u8],
) -> Result<Outcomes, HsmError> {
    let mut outcomes: Outcomes = vec![Ok(()); wanted.len()];
    let mut batches: Vec<Batch> = Vec::new();
    for (index, (key, derivation)) in wanted.iter().enumerate() {
        if key.token != guard.token_id() {
            outcomes[index] = Err(HsmError::OtherToken { id: key.id, token: key.token });
            continue;
        }
        match (derivation, key.class) {
            (Derivation::Dkga02 { block }, VendingKeyClass::Des { .. })
            | (Derivation::Dkga03 { block }, VendingKeyClass::Des2) => {
                Batch::add(&mut batches, key, index, *block);
            }
            (Derivation::Dkga04 { message, bits }, VendingKeyClass::Hmac) => {
                let outcome = dkga04(guard, capabilities, key, message).map(|mac| {
                    let len = bits.bytes();
                    cells[index * CELL..][..len].copy_from_slice(&mac[..len]);
                });
                outcomes[index] = unless_lost(outcome)?;
            }
            _ => {
                outcomes[index] = Err(HsmError::WrongKind {
                    id: key.id,
                    held: key.class.kind(),
                    needed: kind_for(derivation),
                });
            }
        }
    }
    for batch in &batches {
        let outcome = unless_lost(batch.derive(guard, capabilities, cells))?;
        for (index, _) in &batch.blocks {
            outcomes[*index] = outcome.clone();
        }
    }
    Ok(outcomes)
}

fn kind_for(derivation: &Derivation) -> KeyKind {
    match derivation {
        Derivation::Dkga02 { .. } => KeyKind::Des,
        Derivation::Dkga03 { .. } => KeyKind::Des2,
        Derivation::Dkga04 { .. } => KeyKind::Hmac,
    }
}

/// Splits failures: those of one key inside, those that call for a cure outside.
fn unless_lost<T>(outcome: Result<T, HsmError>) -> Result<Result<T, HsmError>, HsmError> {
    match outcome {
        Err(error) if error.cure() != Cure::Refusal => Err(error),
        outcome => Ok(outcome),
    }
}

/// DKGA04: HMAC-SHA-256 of the message by the vending key (STS facts §2.5).
fn dkga04(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    key: &VendingKey,
    message: &[u8],
) -> Result<Zeroizing<Vec<u8>>, HsmError> {
    let object = proved(guard, capabilities, key)?;
    guard.secret_hmac(object, message)
}

/// The object of a vending key, proved to be that key.
fn proved(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    key: &VendingKey,
) -> Result<ObjectHandle, HsmError> {
    guard.proved_handle(key, |guard, object| check_value(guard, capabilities, key.class.kind(), object))
}

/// The key check value, by the HSM.
pub(super) fn check_value(
    guard: &SessionGuard<'_>,
    capabilities: &Capabilities,
    kind: KeyKind,
    key: ObjectHandle,
) -> Result<[u8; 3], HsmError> {
    let first_three = |bytes: &[u8]| [bytes[0], bytes[1], bytes[2]];
    Ok(match kind {
        KeyKind::Des => first_three(&guard.des(capabilities.des_form()?, key, &[0; 8])?),
        KeyKind::Des2 => first_three(&guard.des(capabilities.des2_form()?, key, &[0; 8])?),
        KeyKind::Hmac => first_three(&*guard.hmac(key, reference::KCV_MESSAGE)?),
    })
}

/// DES work of one key: the blocks of many meters, each with its place among the results.
struct Batch {
    key: VendingKey,
    blocks: Vec<(usize, [u8; 8])>,
}

impl Batch {
    fn add(batches: &mut Vec<Batch>, key: &VendingKey, index: usize, block: [u8; 8]) {
        match batches.iter_mut().find(|batch| batch.key == *key) {
            Some(batch) => batch.blocks.push((index, block)),
            None => batches.push(Batch { key: *key, blocks: vec![(index, block)] }),
        }
    }

    fn derive(
        &self,
        guard: &mut SessionGuard<'_>,
        capabilities: &Capabilities,
        cells: &mut [u8],
    ) -> Result<(), HsmError> {
        // The last xor of DKGA03 is public.
        let (form, mask) = match self.key.class {
            VendingKeyClass::Des { mask } => (capabilities.des_form()?, Some(mask)),
            _ => (capabilities.des2_form()?, None),
        };
        let id = self.key.id;
        let key = proved(guard, capabilities, &self.key)?;
        for blocks in self.blocks.chunks(BLOCKS_PER_CALL) {
            let clear: Vec<u8> = blocks.iter().flat_map(|(_, block)| *block).collect();
            let mut x = guard.des(form, key, &clear)?;
            for (byte, b) in x.iter_mut().zip(&clear) {
                *byte ^= b;
            }
            match mask {
                Some(mask) => {
                    let mask_key = guard.handle(Role::Mask, id)?;
                    let twice = unmask(guard, mask_key, &mask, &x)?;
                    for ((index, _), pair) in blocks.iter().zip(twice.chunks_exact(32)) {
                        // The two halves are equal unless the row's mask was tampered with or
                        // belongs to another key.
                        let (left, right) = (&pair[16..24], &pair[24..32]);
                        if left != right {
                            return Err(HsmError::KeyUntrusted {
                                role: Role::Mask,
                                id,
                                mismatch: Mismatch::Derivation,
                            });
                        }
                        cells[index * CELL..][..8].copy_from_slice(left);
                    }
                }
                None => {
                    for ((index, _), key) in blocks.iter().zip(x.chunks_exact(8)) {
                        cells[index * CELL..][..8].copy_from_slice(key);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Decrypts `V1, C, V2, C, …` with `Vi = iv xor (Xi|Xi)`: 32 bytes for each X, of which the last 16
/// are the decoder key twice.
fn unmask(
    guard: &SessionGuard<'_>,
    mask_key: ObjectHandle,
    mask: &Mask,
    x: &[u8],
) -> Result<Zeroizing<Vec<u8>>, HsmError> {
    let mut blocks = Zeroizing::new(Vec::with_capacity(x.len() / 8 * 32));
    for x in x.chunks_exact(8) {
        blocks.extend(mask.iv.iter().zip(x.iter().cycle()).map(|(iv, x)| iv ^ x));
        blocks.extend_from_slice(&mask.ciphertext);
    }
    guard.cbc_decrypt(mask_key, [0; 16], &blocks)
}

impl SessionGuard<'_> {
    /// DES of each block of 8 bytes, however the key is held.
    pub(super) fn des(
        &self,
        form: DesForm,
        key: ObjectHandle,
        blocks: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        let encrypted = Zeroizing::new(self.session.encrypt(&form.mechanism(), key, blocks)?);
        if encrypted.len() != blocks.len() {
            return Err(HsmError::Nonsense("a ciphertext of the wrong length"));
        }
        Ok(encrypted)
    }

    /// CKM_AES_CBC.
    pub(super) fn cbc_decrypt(
        &self,
        key: ObjectHandle,
        iv: [u8; 16],
        blocks: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        let decrypted = Zeroizing::new(self.session.decrypt(&Mechanism::AesCbc(iv), key, blocks)?);
        if decrypted.len() != blocks.len() {
            return Err(HsmError::Nonsense("a plaintext of the wrong length"));
        }
        Ok(decrypted)
    }
}
