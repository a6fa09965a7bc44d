//! The administrator's side of a sealed upload, offline: a text in, one JSON document out.
//!
//! It reads the text by the server's own rules first, so that faults are found before anything
//! leaves the machine. A page in a browser does the same with WebCrypto: docs/uploads.md.

use aes::Aes256;
use cbc::Encryptor;
use cipher::block_padding::NoPadding;
use cipher::{BlockModeEncrypt, KeyIvInit};
use jiff::Timestamp;
use rsa::rand_core::CryptoRngCore;
use serde_json::{Value, json};
use thiserror::Error;
use zeroize::Zeroizing;

use super::blob;
use super::configuration::ConfigurationDraft;
use super::encrypt::{AdministratorKey, WipedCopy};
use super::fault::FieldFault;
use super::opening::{self, Upload};
use super::public_key::PublicKey;
use super::sealed::FORMAT;
use super::sealed_content::{LONGEST_VALIDITY, PURPOSE};
use super::signature;
use super::{conformity::Unservable, text};
use crate::hsm::{
    HsmError, KeyKind, SealSuite, VendingKeyMaterial, key_check_value, sealed_form, sealed_mask,
};
use crate::sts::attributes::Dkga;

/// One server that may open an upload.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// Its sealed server key.
    pub server: PublicKey,
    /// What it opens.
    pub suite: SealSuite,
}

/// From when until when an upload is meant, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Validity {
    /// From when.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
}

/// A sealed upload.
#[derive(Debug, Clone)]
pub struct SealedDocument {
    /// The JSON.
    pub text: String,
    /// What the server will read, with its warnings.
    pub draft: ConfigurationDraft,
    /// The key check value that the HSM must make.
    pub kcv: [u8; 3],
}

/// Why no document was made.
#[derive(Debug, Error)]
pub enum SealError {
    /// The server would refuse the text.
    #[error("the configuration has {} faults", .0.len())]
    Faults(Vec<FieldFault>),
    /// No token can ever be issued with it, so there is nothing to seal.
    #[error("no token can be issued under this configuration: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unservable(Vec<Unservable>),
    /// A time that is no time, or more than 31 days.
    #[error("an upload is meant for 31 days at most")]
    Validity,
    /// RSA failed: the keys' numbers do not fit together, or no randomness.
    #[error("the {0} cannot be made with this key")]
    Rsa(&'static str),
    /// No memory.
    #[error(transparent)]
    Memory(#[from] HsmError),
}

/// Seals the configuration of `text` to each of `recipients`, signed by `administrator`; `now` is in
/// seconds since 1970.
///
/// # Errors
/// Every fault of the text, or a key that does not work.
pub fn seal(
    text: &[u8],
    recipients: &[Recipient],
    administrator: &AdministratorKey,
    validity: Validity,
    now: i64,
    random: &mut impl CryptoRngCore,
) -> Result<SealedDocument, SealError> {
    let Upload { draft, vending_key } =
        opening::read(WipedCopy(text.into()), now).map_err(SealError::Faults)?;
    let kind = match (&draft.servable, draft.attributes.dkga) {
        (Err(reasons), _) if reasons.iter().any(|reason| !reason.is_unverified()) => {
            return Err(SealError::Unservable(reasons.clone()));
        }
        (_, Dkga::Dkga01) => return Err(SealError::Unservable(vec![Unservable::NeverIssued])),
        (_, Dkga::Dkga02) => KeyKind::Des,
        (_, Dkga::Dkga03) => KeyKind::Des2,
        (_, Dkga::Dkga04) => KeyKind::Hmac,
    };
    let key = VendingKeyMaterial::from_slice(kind, vending_key.bytes()).map_err(HsmError::from)?;
    let key = key.ok_or(SealError::Rsa("key"))?;
    let kcv = key_check_value(&key)?;
    let time = |second| Timestamp::from_second(second).map_err(|_| SealError::Validity);
    let (not_before, not_after) = (time(validity.not_before)?, time(validity.not_after)?);
    if !(0..=LONGEST_VALIDITY).contains(&validity.not_after.saturating_sub(validity.not_before)) {
        return Err(SealError::Validity);
    }
    let sealed: Vec<Value> = recipients
        .iter()
        .map(|recipient| sealed_to(recipient, &key, random))
        .collect::<Result<_, SealError>>()?;
    let mut nonce = [0; 16];
    random.try_fill_bytes(&mut nonce).map_err(|_| SealError::Rsa("nonce"))?;
    let attributes: serde_json::Map<String, Value> =
        text::clear_pairs(text).into_iter().map(|(name, value)| (name, value.into())).collect();
    let content = json!({
        "purpose": PURPOSE,
        "nonce": flat(&nonce),
        "not_before": not_before.to_string(),
        "not_after": not_after.to_string(),
        "attributes": attributes,
        "kcv": hex::encode(kcv),
        "recipients": sealed,
    });
    let content = format!("{content:#}");
    let digest = <rsa::sha2::Sha256 as rsa::sha2::Digest>::digest(content.as_bytes());
    let signature = administrator
        .private
        .sign_with_rng(random, signature::pss(), &digest)
        .map_err(|_| SealError::Rsa("signature"))?;
    let document = json!({
        "format": FORMAT,
        "content": flat(content.as_bytes()),
        "signer": administrator.public_key().fingerprint().to_string(),
        "signature": flat(&signature),
    });
    Ok(SealedDocument { text: format!("{document:#}\n"), draft, kcv })
}

/// What one recipient gets.
fn sealed_to(
    Recipient { server, suite }: &Recipient,
    key: &VendingKeyMaterial,
    random: &mut impl CryptoRngCore,
) -> Result<Value, SealError> {
    let encrypted = |random: &mut _, secret: &[u8]| {
        suite.encrypt(server.rsa(), random, secret).map_err(|_| SealError::Rsa("sealed key"))
    };
    let mut recipient = json!({
        "server_key": server.fingerprint().to_string(),
        "suite": suite.id(),
        "vending_key": flat(&encrypted(random, &sealed_form(key)?)?),
    });
    if let Some(hidden) = sealed_mask(key)? {
        let mut mask_key = Zeroizing::new([0; 32]);
        let mut iv = [0; 16];
        random.try_fill_bytes(&mut mask_key[..]).map_err(|_| SealError::Rsa("mask key"))?;
        random.try_fill_bytes(&mut iv).map_err(|_| SealError::Rsa("mask key"))?;
        let mut ciphertext = [0; 32];
        Encryptor::<Aes256>::new((&*mask_key).into(), (&iv).into())
            .encrypt_padded_b2b::<NoPadding>(&hidden, &mut ciphertext)
            .map_err(|_| SealError::Rsa("mask"))?;
        let mask = json!({
            "key": flat(&encrypted(random, &mask_key[..])?),
            "iv": flat(&iv),
            "ciphertext": flat(&ciphertext),
        });
        if let Some(fields) = recipient.as_object_mut() {
            fields.insert("mask".to_owned(), mask);
        }
    }
    Ok(recipient)
}

/// base64 in one line.
fn flat(bytes: &[u8]) -> String {
    blob::encode(bytes, usize::MAX).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::sealed::SealedEnvelope;
    use super::super::sealed_content::{SealedRefusal, SealedUpload, SealingServer};
    use super::super::test_keys;
    use super::*;
    use crate::hsm::{SealedClass, SealedKey};
    use cbc::Decryptor;
    use cipher::BlockModeDecrypt;
    use rsa::Oaep;
    use rsa::pkcs8::{EncodePrivateKey, LineEnding};
    use rsa::rand_core::OsRng;

    /// 2026-01-01T00:00Z.
    const NOW: i64 = 1_767_225_600;
    const VALID: Validity = Validity { not_before: NOW, not_after: NOW + 3_600 };

    const DKGA04: &str = "---\nname: 'a: b' # c\nkey_expiry_no: 255\nencryption_algorithm: sta\n\
        token_carrier_type: numeric\ndecoder_key_generation_algorithm: 04\ntariff_index: 01\nkey_revision_no: 1\n\
        vending_key: abababababababab949494949494949401234567\nsupply_group_code: 000046\nkey_type: 2\n\
        base_date: 2014\nissuer_identification_no: 0000\n";

    fn dkga02() -> String {
        DKGA04
            .replace("algorithm: 04", "algorithm: 02")
            .replace("abababababababab949494949494949401234567", "0123456789abcdef")
    }

    fn administrator() -> AdministratorKey {
        let pem = test_keys::administrator().to_pkcs8_pem(LineEnding::LF).unwrap();
        AdministratorKey::read(pem.as_bytes()).unwrap()
    }

    fn recipient(suite: SealSuite) -> Recipient {
        Recipient { server: test_keys::public(test_keys::server()), suite }
    }

    fn sealed(text: &str, suite: SealSuite) -> SealedDocument {
        seal(text.as_bytes(), &[recipient(suite)], &administrator(), VALID, NOW, &mut OsRng).unwrap()
    }

    fn server() -> SealingServer {
        let key = test_keys::public(test_keys::server());
        SealingServer { fingerprint: key.fingerprint(), modulus_bytes: key.modulus_bytes() }
    }

    fn read(document: &SealedDocument, server: SealingServer) -> Result<SealedUpload, SealedRefusal> {
        let signers = [test_keys::public(test_keys::administrator())];
        let sealed = SealedEnvelope::parse(document.text.as_bytes()).unwrap().verify(&signers).unwrap();
        sealed.read(&[server], NOW)
    }

    /// What the HSM makes of a ciphertext.
    fn decrypt(suite: SealSuite, ciphertext: &[u8]) -> Vec<u8> {
        let padding = match suite {
            SealSuite::OaepSha256 => Oaep::new::<rsa::sha2::Sha256>(),
            SealSuite::OaepSha1 => Oaep::new::<sha1::Sha1>(),
        };
        test_keys::server().decrypt(padding, ciphertext).unwrap()
    }

    #[test]
    fn what_was_sealed_is_read_and_opens_to_the_value_of_the_key_object() {
        for suite in SealSuite::ALL {
            let document = sealed(DKGA04, suite);
            assert!(!document.text.contains("abababab"), "{}", document.text);
            let upload = read(&document, server()).unwrap();
            assert_eq!(upload.draft, document.draft);
            assert_eq!((upload.draft.display_name.as_str(), upload.key_bytes), ("a: b", 20));
            let SealedKey { suite: named, vending_key, kcv, class, .. } = upload.keys[0].1.clone();
            assert_eq!((named, kcv, class), (suite, document.kcv, SealedClass::Hmac));
            let clear = decrypt(suite, &vending_key);
            assert_eq!(hex::encode(&clear[..20]), "abababababababab949494949494949401234567");
            assert_eq!(clear[20..], [0; 44]);
        }
    }

    #[test]
    fn a_mask_hides_the_key_and_the_decoder_key_that_proves_it() {
        let document = sealed(&dkga02(), SealSuite::OaepSha1);
        let key = read(&document, server()).unwrap().keys.remove(0).1;
        let vending_key = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        // FIPS 81's key; the first bytes of DES of zeros under it.
        assert_eq!(hex::encode(key.kcv), "d5d44f");
        assert_eq!(decrypt(SealSuite::OaepSha1, &key.vending_key), vending_key.repeat(3));
        let SealedClass::Des { mask } = key.class else { panic!("no mask") };
        let mask_key = decrypt(SealSuite::OaepSha1, &mask.key);
        let mut clear = [0; 32];
        Decryptor::<Aes256>::new_from_slices(&mask_key, &mask.iv)
            .unwrap()
            .decrypt_padded_b2b::<NoPadding>(&mask.ciphertext, &mut clear)
            .unwrap();
        assert_eq!(clear[..16], vending_key.repeat(2));
        assert_eq!(clear[16..24], clear[24..]);
        // openssl: DES of "vendkey1" under the key, xor both.
        assert_eq!(hex::encode(&clear[16..24]), "039792d50d1b3233");
    }

    #[test]
    fn it_is_meant_for_its_time_and_its_servers() {
        let upload = read(&sealed(DKGA04, SealSuite::OaepSha1), server()).unwrap();
        for (now, meant) in [(-301, false), (-300, true), (0, true), (3_600, true), (3_601, false)] {
            assert_eq!(upload.meant_for(NOW + now).is_ok(), meant, "{now}");
        }
        let other = SealingServer { fingerprint: [7; 32].into(), ..server() };
        let refusal = read(&sealed(DKGA04, SealSuite::OaepSha1), other).unwrap_err();
        assert!(matches!(refusal, SealedRefusal::OtherServer { .. }), "{refusal:?}");
        // One of several servers that are asked for is enough.
        let signers = [test_keys::public(test_keys::administrator())];
        let document = sealed(DKGA04, SealSuite::OaepSha1);
        let sealed = SealedEnvelope::parse(document.text.as_bytes()).unwrap().verify(&signers).unwrap();
        let keys = sealed.read(&[other, server()], NOW).unwrap().keys;
        assert_eq!(keys.iter().map(|(server, _)| *server).collect::<Vec<_>>(), [server().fingerprint]);
    }

    #[test]
    fn what_the_server_would_refuse_is_not_sealed() {
        let attempt = |text: &str, validity| {
            seal(
                text.as_bytes(),
                &[recipient(SealSuite::OaepSha1)],
                &administrator(),
                validity,
                NOW,
                &mut OsRng,
            )
            .unwrap_err()
        };
        let faulty = attempt(&DKGA04.replace("key_type: 2", "key_type: 9"), VALID);
        assert!(matches!(faulty, SealError::Faults(faults) if faults.len() == 1));
        let short = DKGA04.replace("abababababababab949494949494949401234567", "0123456789abcdef");
        assert!(matches!(attempt(&short, VALID), SealError::Unservable(_)));
        let long = Validity { not_after: NOW + LONGEST_VALIDITY + 1, ..VALID };
        assert!(matches!(attempt(DKGA04, long), SealError::Validity));
    }
}
