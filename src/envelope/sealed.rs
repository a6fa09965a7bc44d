//! A sealed upload from outside: one JSON document whose signature is checked before anything that
//! it says is looked at.
//!
//! ```text
//! {
//!   "format": "vendkey sealed upload 1",
//!   "content": "<base64 of the bytes of another JSON text>",
//!   "signer": "<fingerprint of the key that signed>",
//!   "signature": "<base64 of RSASSA-PSS over the bytes of the content>"
//! }
//! ```
//!
//! What is signed is carried as it was signed, so nobody has to write JSON in a canonical form.

use serde::Deserialize;

use super::blob;
use super::document::{DocumentFault, DocumentReason, json};
use super::opening::Invalid;
use super::public_key::{Fingerprint, PublicKey};

/// What `format` must say.
pub(super) const FORMAT: &str = "vendkey sealed upload 1";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: Option<String>,
    content: Option<String>,
    signer: Option<String>,
    signature: Option<String>,
}

/// A document of the right shape. Nothing in it is believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedEnvelope {
    content: Vec<u8>,
    signer: Fingerprint,
    signature: Vec<u8>,
}

/// The content of a document whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub(super) content: Vec<u8>,
    signer: Fingerprint,
}

impl SealedEnvelope {
    /// Takes a document apart.
    ///
    /// # Errors
    /// Every fault that can be seen.
    pub fn parse(document: &[u8]) -> Result<SealedEnvelope, Vec<DocumentFault>> {
        let Document { format, content, signer, signature } = json("document", document)?;
        let mut faults = Vec::new();
        let mut required = |name: &'static str, value: Option<String>| {
            if value.is_none() {
                faults.push(DocumentFault::new(name, DocumentReason::Missing));
            }
            value
        };
        let format = required("format", format);
        let content = required("content", content);
        let signer = required("signer", signer);
        let signature = required("signature", signature);
        if format.is_some_and(|format| format != FORMAT) {
            faults.push(DocumentFault::new("format", DocumentReason::Value(FORMAT)));
        }
        let mut bytes = |name: &'static str, text: Option<String>| match blob::decode(text?.as_bytes()) {
            Ok(bytes) => Some(bytes),
            Err(fault) => {
                faults.push(DocumentFault::new(name, fault.into()));
                None
            }
        };
        let content = bytes("content", content);
        let signature = bytes("signature", signature);
        let signer = signer.and_then(|text| match text.parse() {
            Ok(fingerprint) => Some(fingerprint),
            Err(_) => {
                faults.push(DocumentFault::new("signer", DocumentReason::Value("64 hex digits")));
                None
            }
        });
        match (content, signer, signature) {
            (Some(content), Some(signer), Some(signature)) if faults.is_empty() => {
                Ok(SealedEnvelope { content, signer, signature })
            }
            _ => Err(faults),
        }
    }

    /// The key that is said to have signed.
    pub fn signer(&self) -> Fingerprint {
        self.signer
    }

    /// Finds out whether the signer is one of `signers`, and the signature is theirs.
    ///
    /// # Errors
    /// [`Invalid`], whatever the cause.
    pub fn verify(self, signers: &[PublicKey]) -> Result<Sealed, Invalid> {
        let SealedEnvelope { content, signer, signature } = self;
        let key = signers.iter().find(|key| key.fingerprint() == signer).ok_or(Invalid)?;
        if key.verifies_pss(&content, &signature) { Ok(Sealed { content, signer }) } else { Err(Invalid) }
    }
}

impl Sealed {
    /// The key that signed.
    pub fn signer(&self) -> Fingerprint {
        self.signer
    }

    /// The signed bytes. Holds no secret.
    pub fn content(&self) -> &[u8] {
        &self.content
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_keys;
    use super::*;

    fn faults(document: &str) -> Vec<String> {
        SealedEnvelope::parse(document.as_bytes()).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_fault_is_told_at_once() {
        assert_eq!(
            faults(r#"{"format": "other", "content": "a b", "signer": "ab"}"#),
            [
                "signature: is missing",
                "format: must be vendkey sealed upload 1",
                "content: the base64 text has blanks inside its lines and is too short: perhaps a form has made blanks of its +",
                "signer: must be 64 hex digits",
            ]
        );
        assert_eq!(faults("{}").len(), 4);
    }

    #[test]
    fn what_is_no_such_document_is_told_without_quoting_it() {
        for document in [
            "",
            "not JSON, vending_key: 0123456789abcdef",
            "[]",
            r#"{"format": 0123456789abcdef}"#,
            r#"{"0123456789abcdef": ""}"#,
            r#"{"format": "a", "format": "b"}"#,
            r#"{"format": {"vending_key": "0123456789abcdef"}}"#,
        ] {
            let told = faults(document).concat();
            assert!(told.starts_with("document: "), "{told}");
            assert!(!told.contains("89ab"), "{told}");
        }
    }

    #[test]
    fn the_signature_is_the_signer_s_over_the_very_bytes() {
        let key = test_keys::administrator();
        let public = test_keys::public(key);
        let content = br#"{"a": 1}"#.to_vec();
        let digest = <rsa::sha2::Sha256 as rsa::sha2::Digest>::digest(&content);
        let sign = |pss| key.sign_with_rng(&mut rsa::rand_core::OsRng, pss, &digest).unwrap();
        let envelope = |signature, signer: &PublicKey| SealedEnvelope {
            content: content.clone(),
            signature,
            signer: signer.fingerprint(),
        };
        let good = sign(super::super::signature::pss());
        let keys = [public.clone(), test_keys::public(test_keys::server())];
        assert_eq!(envelope(good.clone(), &public).verify(&keys).unwrap().content(), content);
        assert_eq!(envelope(good.clone(), &public).verify(&keys[1..]), Err(Invalid));
        assert_eq!(envelope(good.clone(), &keys[1]).verify(&keys), Err(Invalid));
        let mut changed = envelope(good, &public);
        changed.content.push(b' ');
        assert_eq!(changed.verify(&keys), Err(Invalid));
        // Other lengths of the salt are another signature's.
        let other = sign(rsa::Pss::new_with_salt::<rsa::sha2::Sha256>(20));
        assert_eq!(envelope(other, &public).verify(&keys), Err(Invalid));
        let old = key.sign(super::super::signature::prefixed(), &digest).unwrap();
        assert_eq!(envelope(old, &public).verify(&keys), Err(Invalid));
        assert_eq!(envelope(Vec::new(), &public).verify(&keys), Err(Invalid));
    }
}
