//! Checkpoints: the heads of all chains at one moment, signed by the audit key in the HSM.
//!
//! A checkpoint is a text of lines, so that it can be kept, mailed and read:
//!
//! ```text
//! vendkey checkpoint v1
//! number 17
//! time 1795298400000
//! chain 018f2b3c7d4e7a109c553b1f0e2d4c6a 4711 9d5e...
//! key 3f0c...
//! signature q83v...
//! ```
//!
//! What is signed is everything up to and without the line `signature`. `key` is the SHA-256 of the
//! audit key as SubjectPublicKeyInfo.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rsa::{
    RsaPublicKey,
    pkcs8::DecodePublicKey as _,
    pss::{Signature, VerifyingKey},
    signature::Verifier as _,
};
use sha2::{Digest as _, Sha256};

use super::record::{ChainId, Hash};

/// How far a chain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which chain.
    pub chain: ChainId,
    /// The position of its last record; 0: it has none.
    pub position: u64,
    /// The hash of that record.
    pub hash: Hash,
}

/// The heads of all chains at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Counts the checkpoints of a database from 1.
    pub number: u64,
    /// When, in milliseconds since 1970, UTC.
    pub at_ms: i64,
    /// One head for each chain, in the order of their names.
    pub heads: Vec<Head>,
}

/// A checkpoint with its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What is signed.
    pub checkpoint: Checkpoint,
    /// SHA-256 of the audit key as SubjectPublicKeyInfo.
    pub key: [u8; 32],
    /// RSASSA-PSS, SHA-256, salt of 32 bytes.
    pub signature: Vec<u8>,
}

/// Why a checkpoint is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// A line is not what it must be.
    #[error("line {0} of the checkpoint is not what it should be")]
    Line(usize),
    /// The key is no RSA key.
    #[error("this is no RSA public key")]
    Key,
    /// It names another key.
    #[error("the checkpoint was signed by another key: {0}")]
    OtherKey(String),
    /// The signature does not fit.
    #[error("the signature of the checkpoint does not hold")]
    Signature,
}

const TITLE: &str = "vendkey checkpoint v1";

impl Checkpoint {
    /// A checkpoint of these heads.
    pub fn new(number: u64, at_ms: i64, mut heads: Vec<Head>) -> Self {
        heads.sort_by_key(|head| head.chain);
        Self { number, at_ms, heads }
    }

    /// What the HSM signs, for the audit key with this SubjectPublicKeyInfo.
    pub fn text(&self, spki: &[u8]) -> String {
        self.text_for(&Sha256::digest(spki).into())
    }

    fn text_for(&self, key: &[u8; 32]) -> String {
        let mut text = format!("{TITLE}\nnumber {}\ntime {}\n", self.number, self.at_ms);
        for head in &self.heads {
            let _ = writeln!(text, "chain {} {} {}", head.chain, head.position, head.hash);
        }
        let _ = writeln!(text, "key {}", hex::encode(key));
        text
    }

    /// Adds the signature that the HSM made over [`Checkpoint::text`].
    pub fn signed(self, spki: &[u8], signature: Vec<u8>) -> SignedCheckpoint {
        SignedCheckpoint { checkpoint: self, key: Sha256::digest(spki).into(), signature }
    }

    /// The head of a chain.
    pub fn head(&self, chain: ChainId) -> Option<&Head> {
        self.heads.iter().find(|head| head.chain == chain)
    }
}

impl SignedCheckpoint {
    /// The whole text, as it is kept in a file.
    pub fn to_text(&self) -> String {
        format!("{}signature {}\n", self.checkpoint.text_for(&self.key), STANDARD.encode(&self.signature))
    }

    /// Reads a text. The signature is not verified.
    ///
    /// # Errors
    /// [`CheckpointError::Line`] with the number of the first line that is wrong. There is one
    /// spelling of each checkpoint.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        let mut next = |word: &str| {
            let (number, line) = lines.next().ok_or(CheckpointError::Line(0))?;
            match line.split_once(' ') {
                Some((first, rest)) if first == word => Ok((number, Some(rest))),
                _ => Ok((number, None)),
            }
        };
        let (number, title) = next("vendkey")?;
        if title != Some("checkpoint v1") {
            return Err(CheckpointError::Line(number));
        }
        let (line, number) = next("number")?;
        let number = number.and_then(|text| text.parse().ok()).ok_or(CheckpointError::Line(line))?;
        let (line, at_ms) = next("time")?;
        let at_ms = at_ms.and_then(|text| text.parse().ok()).ok_or(CheckpointError::Line(line))?;
        let mut parsed = Self {
            checkpoint: Checkpoint { number, at_ms, heads: Vec::new() },
            key: [0; 32],
            signature: Vec::new(),
        };
        for (index, line) in text.lines().enumerate().skip(3) {
            let wrong = CheckpointError::Line(index + 1);
            match line.split_once(' ') {
                Some(("chain", rest)) => parsed.checkpoint.heads.push(head(rest).ok_or(wrong)?),
                Some(("key", rest)) => {
                    hex::decode_to_slice(rest, &mut parsed.key).map_err(|_| wrong)?;
                }
                Some(("signature", rest)) => parsed.signature = STANDARD.decode(rest).map_err(|_| wrong)?,
                _ => return Err(wrong),
            }
        }
        // Spellings, orders and line ends that we do not write are refused: what is compared must
        // be one text.
        if parsed.to_text() == text { Ok(parsed) } else { Err(CheckpointError::Line(text.lines().count())) }
    }

    /// Verifies the signature under the audit key, given as SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// Every variant but [`CheckpointError::Line`].
    pub fn verify(&self, spki: &[u8]) -> Result<(), CheckpointError> {
        if self.key != <[u8; 32]>::from(Sha256::digest(spki)) {
            return Err(CheckpointError::OtherKey(hex::encode(self.key)));
        }
        let key = RsaPublicKey::from_public_key_der(spki).map_err(|_| CheckpointError::Key)?;
        let signature =
            Signature::try_from(self.signature.as_slice()).map_err(|_| CheckpointError::Signature)?;
        VerifyingKey::<rsa::sha2::Sha256>::new(key)
            .verify(self.checkpoint.text_for(&self.key).as_bytes(), &signature)
            .map_err(|_| CheckpointError::Signature)
    }
}

fn head(text: &str) -> Option<Head> {
    let mut parts = text.split(' ');
    let (mut chain, mut hash) = ([0; 16], [0; 32]);
    hex::decode_to_slice(parts.next()?, &mut chain).ok()?;
    let position = parts.next()?.parse().ok()?;
    hex::decode_to_slice(parts.next()?, &mut hash).ok()?;
    parts.next().is_none().then_some(Head { chain: ChainId(chain), position, hash: Hash(hash) })
}

#[cfg(test)]
mod tests {
    use rsa::{
        RsaPrivateKey,
        pkcs8::EncodePublicKey as _,
        pss::SigningKey,
        signature::{RandomizedSigner as _, SignatureEncoding as _},
    };

    use super::*;

    fn checkpoint() -> Checkpoint {
        let head = |name| Head { chain: ChainId([name; 16]), position: 12, hash: Hash([name + 1; 32]) };
        Checkpoint { number: 3, at_ms: 1_795_298_400_000, heads: vec![head(1), head(2)] }
    }

    #[test]
    fn text_and_back() {
        let signed = checkpoint().signed(b"spki", vec![1, 2, 3]);
        assert_eq!(SignedCheckpoint::parse(&signed.to_text()), Ok(signed.clone()));
        for (from, to) in [
            ("number 3", "number 03"),
            ("chain", "chains"),
            ("\n", "\r\n"),
            ("signature", "x"),
            ("time", "Time"),
        ] {
            let text = signed.to_text().replacen(from, to, 1);
            assert!(matches!(SignedCheckpoint::parse(&text), Err(CheckpointError::Line(_))), "{text}");
        }
        assert!(SignedCheckpoint::parse("").is_err());
    }

    #[test]
    fn a_signature_holds_for_its_text_and_key_alone() {
        let mut random = rsa::rand_core::OsRng;
        let private = RsaPrivateKey::new(&mut random, 1024).unwrap();
        let spki = private.to_public_key().to_public_key_der().unwrap().into_vec();
        let signer = SigningKey::<rsa::sha2::Sha256>::new(private);
        let signature = signer.sign_with_rng(&mut random, checkpoint().text(&spki).as_bytes()).to_vec();
        let signed = checkpoint().signed(&spki, signature);
        assert_eq!(signed.verify(&spki), Ok(()));
        let mut later = signed.clone();
        later.checkpoint.number += 1;
        assert_eq!(later.verify(&spki), Err(CheckpointError::Signature));
        let other = RsaPrivateKey::new(&mut random, 1024).unwrap().to_public_key();
        let other = other.to_public_key_der().unwrap().into_vec();
        assert!(matches!(signed.verify(&other), Err(CheckpointError::OtherKey(_))));
    }
}
