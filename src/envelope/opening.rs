//! From decrypted candidates to a configuration: first the signature, then, and only then, the
//! text.
//!
//! PKCS#1 v1.5 unwrapping is an oracle for whoever learns why an envelope was refused
//! (Bleichenbacher, CRYPTO '98), and CBC padding is another. So every failure up to the signature
//! is one value, [`Invalid`], and the same work is done whichever step failed: as many hashes as
//! there are ways of wrapping, and every signer's key tried on each, always.

use std::fmt;
use std::ops::{DerefMut, Range};

use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use super::configuration::{self, ConfigurationDraft, KeyPlace};
use super::conformity::KeyFacts;
use super::fault::{FieldFault, FieldReason};
use super::legacy::LegacyEnvelope;
use super::public_key::{Fingerprint, PublicKey};
use super::text;
use super::vending_key::VendingKeyBytes;

/// How many candidates are worked on at least: one for each way of wrapping (PKCS#1 v1.5, OAEP with
/// SHA-1 and SHA-256). A missing one is stood in for by the ciphertext, whose hash takes as long.
const ROUNDS: usize = 3;

/// The envelope does not open: wrong key, wrong IV, wrong padding, wrong signer, changed bytes.
/// Nobody is told which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the envelope cannot be opened, or its signature is not by a registered key of the caller")]
pub struct Invalid;

/// A decrypted text whose signature holds. It contains the vending key, and prints as its signer
/// only.
pub struct Verified<B> {
    text: B,
    digest: Zeroizing<[u8; 32]>,
    signer: Fingerprint,
}

impl LegacyEnvelope {
    /// Finds the candidate that one of the `signers` signed.
    ///
    /// `candidates` are what the data decrypts to under each AES key that the wrapped key may stand
    /// for (unwrapped by PKCS#1 v1.5, by OAEP), in buffers as long as the plaintext. Attempts that
    /// failed are left out, or empty: an empty buffer is never accepted. Three candidates are
    /// worked on however many there are. Those that are not accepted are wiped.
    ///
    /// # Errors
    /// [`Invalid`], whatever the cause.
    pub fn verify<B: DerefMut<Target = [u8]>>(
        &self,
        candidates: impl IntoIterator<Item = B>,
        signers: &[PublicKey],
    ) -> Result<Verified<B>, Invalid> {
        let mut candidates = candidates.into_iter();
        let mut found = None;
        for round in 0.. {
            let candidate = candidates.next();
            if candidate.is_none() && round >= ROUNDS {
                break;
            }
            let candidate = candidate.filter(|text| !text.is_empty());
            let hashed = candidate.as_deref().unwrap_or_else(|| self.ciphertext());
            let digest: Zeroizing<[u8; 32]> = Zeroizing::new(Sha256::digest(hashed).into());
            let mut signer = None;
            for key in signers {
                if key.verifies(&digest, self.signature()) {
                    signer = signer.or(Some(key.fingerprint()));
                }
            }
            match (candidate, signer) {
                (Some(text), Some(signer)) if found.is_none() => {
                    found = Some(Verified { text, digest, signer })
                }
                (Some(mut text), _) => text.zeroize(),
                (None, _) => {}
            }
        }
        found.ok_or(Invalid)
    }
}

impl<B: DerefMut<Target = [u8]>> Verified<B> {
    /// The key that signed.
    pub fn signer(&self) -> Fingerprint {
        self.signer
    }

    /// SHA-256 of the text, to make the upload's fingerprint from *inside the HSM* (an HMAC). By
    /// itself it is an offline test of the vending key: never store, log or record it.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Reads the text at the time `now` (seconds since 1970), which only warnings depend on.
    ///
    /// # Errors
    /// Every bad field at once; then the text is wiped.
    pub fn read(self, now: i64) -> Result<Upload<B>, Vec<FieldFault>> {
        read(self.text, now)
    }
}

impl<B> fmt::Debug for Verified<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("signer", &self.signer).finish_non_exhaustive()
    }
}

/// A configuration as it was uploaded, and its vending key.
pub struct Upload<B: DerefMut<Target = [u8]>> {
    /// All but the vending key.
    pub draft: ConfigurationDraft,
    /// The vending key, in the buffer that the text was decrypted into.
    pub vending_key: VendingKeyBytes<B>,
}

impl<B: DerefMut<Target = [u8]>> fmt::Debug for Upload<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Upload { draft, vending_key } = self;
        f.debug_struct("Upload").field("draft", draft).field("vending_key", vending_key).finish()
    }
}

/// Reads the text of a configuration; for a text from a network use [`Verified::read`].
///
/// # Errors
/// Every bad field at once; then the text is wiped.
pub fn read<B: DerefMut<Target = [u8]>>(mut text: B, now: i64) -> Result<Upload<B>, Vec<FieldFault>> {
    match fields(&text) {
        Ok((parsed, digits)) => {
            let vending_key = VendingKeyBytes::cut(text, digits).map_err(key_fault)?;
            let key = KeyFacts { bytes: vending_key.bytes().len(), odd_parity: vending_key.has_odd_parity() };
            Ok(Upload { draft: parsed.judge(key, now), vending_key })
        }
        Err(faults) => {
            text.zeroize();
            Err(faults)
        }
    }
}

type Fields = (configuration::Parsed, Range<usize>);

/// All fields, and where the digits of the vending key are.
fn fields(text: &[u8]) -> Result<Fields, Vec<FieldFault>> {
    let fields = text::read(text).map_err(|fault| vec![fault])?;
    let digits = fields.vending_key.clone();
    let parsed = configuration::read(fields, KeyPlace::InText(digits.as_ref().map(ExactSizeIterator::len)))?;
    // A text without a vending key has that fault already.
    let digits = digits.ok_or_else(|| key_fault(FieldReason::Missing))?;
    if holds(parsed.display_name.as_bytes(), &text[digits.clone()]) {
        return Err(vec![FieldFault::new("name", None, FieldReason::NameHoldsKey)]);
    }
    Ok((parsed, digits))
}

fn key_fault(reason: FieldReason) -> Vec<FieldFault> {
    vec![FieldFault::new("vending_key", None, reason)]
}

/// Whether the name contains the key's digits: an easy slip with the clipboard, and names are shown
/// and stored.
fn holds(name: &[u8], digits: &[u8]) -> bool {
    name.windows(digits.len()).any(|window| window.eq_ignore_ascii_case(digits))
}

#[cfg(test)]
mod tests {
    use super::super::conformity::{Unservable, Warning};
    use super::super::{legacy, signature, test_keys};
    use super::*;
    use crate::sts::attributes::{BaseDate, Dkga};
    use proptest::prelude::*;

    /// 2026-01-01T00:00Z.
    const NOW: i64 = 1_767_225_600;

    /// The published example, with the trailing blank after its name.
    const EXAMPLE: &str = "---\nname: example_config \nkey_expiry_no: 255\nencryption_algorithm: sta\n\
        token_carrier_type: numeric\ndecoder_key_generation_algorithm: 04\ntariff_index: 01\nkey_revision_no: 1\n\
        vending_key: 0123456789abcdef\nsupply_group_code: 123456\nkey_type: 3\nbase_date: 2035\n\
        issuer_identification_no: 600727\n";

    fn buffer(text: impl AsRef<[u8]>) -> Box<[u8]> {
        text.as_ref().into()
    }

    #[test]
    fn the_published_example_is_accepted_with_its_two_warnings() {
        let upload = read(buffer(EXAMPLE), NOW).unwrap();
        assert_eq!(upload.draft.display_name, "example_config");
        let warnings = [Warning::KeyLength { bits: 64 }, Warning::BaseDateInFuture(BaseDate::Y2035)];
        assert_eq!(upload.draft.warnings, warnings);
        let reasons = vec![
            Unservable::KeyLength { dkga: Dkga::Dkga04, expected: 20, actual: 8 },
            Unservable::UnverifiedCommonKey,
        ];
        assert_eq!(upload.draft.servable, Err(reasons));
        assert_eq!(upload.vending_key.bytes(), [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        assert!(!format!("{upload:?}").contains("89ab"));
    }

    #[test]
    fn all_ways_of_writing_give_the_same_upload() {
        let draft = read(buffer(EXAMPLE), NOW).unwrap().draft;
        let reversed =
            EXAMPLE.lines().skip(1).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
        for text in [
            EXAMPLE.replace('\n', "\r\n"),
            format!("\u{feff}{EXAMPLE}"),
            EXAMPLE.strip_prefix("---\n").unwrap().to_owned(),
            EXAMPLE.trim_end().to_owned(),
            EXAMPLE.replace('\n', "   \n\n# comment: with a colon\n"),
            EXAMPLE.replace(": 0123456789abcdef", ": \"0123456789ABCDEF\" # 0123456789abcdef"),
            EXAMPLE.replace(": 04", ": '04'").replace("name: example_config ", "name: 'example_config'"),
            reversed,
        ] {
            let upload = read(buffer(&text), NOW).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
            assert_eq!(upload.draft, draft, "{text}");
            assert_eq!(upload.vending_key.bytes()[..2], [0x01, 0x23]);
        }
    }

    #[test]
    fn a_name_that_holds_the_key_is_refused() {
        let text = EXAMPLE.replace("example_config", "old-0123456789ABCDEF");
        let faults = read(buffer(&text), NOW).unwrap_err();
        assert_eq!(faults, [FieldFault::new("name", None, FieldReason::NameHoldsKey)]);
        let other = EXAMPLE.replace("example_config", "0123456789abcdee");
        assert_eq!(read(buffer(&other), NOW).unwrap().draft.display_name, "0123456789abcdee");
    }

    fn envelope(text: &[u8], scheme: rsa::Pkcs1v15Sign) -> LegacyEnvelope {
        let digest = Sha256::digest(text);
        let signed = test_keys::administrator().sign(scheme, &digest).unwrap();
        let [data, digest, key] =
            [&[0; 64][..], &signed, &[0; 512]].map(|bytes| super::super::blob::encode(bytes, 64));
        let blobs = legacy::Blobs { data: data.as_bytes(), digest: digest.as_bytes(), key: key.as_bytes() };
        legacy::parse(&blobs, 512, &[]).unwrap()
    }

    #[test]
    fn any_signer_and_either_form_will_do() {
        let signers = [test_keys::server(), test_keys::administrator()].map(test_keys::public);
        for scheme in [signature::raw(), signature::prefixed()] {
            let envelope = envelope(EXAMPLE.as_bytes(), scheme);
            let candidates = [buffer(""), buffer("garbage"), buffer(EXAMPLE), buffer("more")];
            let verified = envelope.verify(candidates, &signers).unwrap();
            assert_eq!(verified.signer(), signers[1].fingerprint());
            assert_eq!(verified.digest()[..], Sha256::digest(EXAMPLE)[..]);
            assert!(verified.read(NOW).is_ok());
        }
    }

    #[test]
    fn every_failure_is_the_same() {
        let signers = [test_keys::public(test_keys::administrator())];
        let stranger = [test_keys::public(test_keys::server())];
        let good = envelope(EXAMPLE.as_bytes(), signature::raw());
        let changed = EXAMPLE.replace("key_type: 3", "key_type: 2");
        assert_eq!(good.verify([buffer(""), buffer("")], &signers).err(), Some(Invalid));
        assert_eq!(good.verify([buffer(&changed)], &signers).err(), Some(Invalid));
        assert_eq!(good.verify([buffer(EXAMPLE)], &stranger).err(), Some(Invalid));
        assert_eq!(good.verify([buffer(EXAMPLE)], &[]).err(), Some(Invalid));
        assert_eq!(good.verify(Vec::<Box<[u8]>>::new(), &signers).err(), Some(Invalid));
        // A signed empty file must not make a failed decryption look like a success.
        let of_nothing = envelope(b"", signature::raw());
        assert_eq!(of_nothing.verify([buffer("")], &signers).err(), Some(Invalid));
        // Nor may a signature over the ciphertext, which stands in for the hash of a failed
        // candidate.
        let of_ciphertext = envelope(&[0; 48], signature::raw());
        assert_eq!(of_ciphertext.verify([buffer("")], &signers).err(), Some(Invalid));
        assert_eq!(of_ciphertext.verify(Vec::<Box<[u8]>>::new(), &signers).err(), Some(Invalid));
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>) {
            let _ = read(buffer(&bytes), NOW);
        }

        /// Whatever is done to one place of a good text, no fault and no draft shows a piece of the
        /// key.
        #[test]
        fn no_damage_leaks_the_key(index in 0..EXAMPLE.len(), patch in "[ -~\\n\\t]{0,3}", cut in 0usize..3) {
            let secret = "31f0a9c4e27b58d6";
            let text = EXAMPLE.replace("0123456789abcdef", secret);
            let mut damaged = text.clone();
            damaged.replace_range(index..(index + cut).min(text.len()), &patch);
            let answer = match read(buffer(&damaged), NOW) {
                Ok(upload) => format!("{upload:?}"),
                Err(faults) => faults.iter().map(|fault| format!("{fault} {fault:?}")).collect(),
            };
            for piece in secret.as_bytes().windows(7) {
                prop_assert!(!answer.contains(std::str::from_utf8(piece).unwrap()), "{answer}");
            }
        }
    }
}
