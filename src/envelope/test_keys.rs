//! RSA keys for tests, made once per run, and the opening that a server's HSM does.
//!
//! The keys have 2,048 bits, because generating larger ones takes seconds.

use std::sync::LazyLock;

use aes::Aes128;
use cbc::Decryptor;
use cipher::block_padding::Pkcs7;
use cipher::{BlockModeDecrypt, KeyIvInit};
use rsa::rand_core::OsRng;
use rsa::{Pkcs1v15Encrypt, RsaPrivateKey};

use super::legacy::LegacyEnvelope;
use super::public_key::PublicKey;

static ADMINISTRATOR: LazyLock<RsaPrivateKey> =
    LazyLock::new(|| RsaPrivateKey::new(&mut OsRng, 2048).unwrap());
static SERVER: LazyLock<RsaPrivateKey> = LazyLock::new(|| RsaPrivateKey::new(&mut OsRng, 2048).unwrap());

pub(super) fn administrator() -> &'static RsaPrivateKey {
    &ADMINISTRATOR
}

pub(super) fn server() -> &'static RsaPrivateKey {
    &SERVER
}

pub(super) fn public(key: &RsaPrivateKey) -> PublicKey {
    PublicKey::of(key).unwrap()
}

/// What the HSM does with an envelope, in software; `None` where it would fail.
pub(super) fn decrypt(envelope: &LegacyEnvelope) -> Option<Box<[u8]>> {
    let aes_key = server().decrypt(Pkcs1v15Encrypt, envelope.wrapped_key()).ok()?;
    let decryptor = Decryptor::<Aes128>::new_from_slices(&aes_key, envelope.iv()).ok()?;
    let mut plain = envelope.ciphertext().to_vec();
    let length = decryptor.decrypt_padded::<Pkcs7>(&mut plain).ok()?.len();
    plain.truncate(length);
    Some(plain.into_boxed_slice())
}
