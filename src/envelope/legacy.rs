//! The legacy upload: three base64 texts (upload formats §1), checked as far as their public bytes
//! go.
//!
//! | blob | bytes |
//! | --- | --- |
//! | data | IV (16) ‖ AES-128-CBC-PKCS7 of the text |
//! | digest | the administrator's signature over the SHA-256 of the text, as long as the modulus of their key |
//! | key | the 16 bytes of the AES key, encrypted to the server: as long as the server's modulus |
//!
//! Mistakes that show here are named, with what probably went wrong. What fails later, once
//! anything is decrypted, has one answer only (`opening`).

use std::fmt;

use thiserror::Error;

use super::blob::{self, Base64Fault};
use super::public_key::PublicKey;
use super::recognise::{Recognised, recognise};

/// Bytes of an AES block and of the IV.
const BLOCK: usize = 16;
/// The most bytes of data: an IV, 64 KiB of text, the padding.
const MAX_DATA: usize = BLOCK + 64 * 1024 + BLOCK;

/// The three files of an upload, verbatim.
#[derive(Debug, Clone, Copy)]
pub struct Blobs<'a> {
    /// The encrypted text.
    pub data: &'a [u8],
    /// The signature.
    pub digest: &'a [u8],
    /// The wrapped AES key.
    pub key: &'a [u8],
}

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blob {
    /// The encrypted text.
    Data,
    /// The signature.
    Digest,
    /// The wrapped AES key.
    Key,
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Blob::Data => "data",
            Blob::Digest => "digest",
            Blob::Key => "key",
        })
    }
}

/// What is wrong with a blob, by its public bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobFault {
    /// Which blob.
    pub blob: Blob,
    /// What is wrong.
    pub reason: BlobReason,
    /// What probably went wrong when it was made.
    pub hint: Option<BlobHint>,
}

impl fmt::Display for BlobFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.blob, self.reason)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Why a blob cannot be what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlobReason {
    /// Not base64.
    #[error(transparent)]
    Base64(#[from] Base64Fault),
    /// The configuration itself, not encrypted.
    #[error("this is the configuration in clear: encrypt it, and consider its vending key known to others")]
    InClear,
    /// A file of `openssl enc` with a password: it begins with `Salted__`.
    #[error("the data was encrypted with a password (it begins with Salted__): use -K and -iv, not -pass")]
    Salted,
    /// A private key, and its form.
    #[error(
        "this is a private key ({0}), which no upload holds: replace its pair if it has gone over a network"
    )]
    PrivateKey(&'static str),
    /// Something else that is known.
    #[error("this is {0}")]
    Other(String),
    /// Too few bytes for an IV and one block.
    #[error("has {bytes} bytes; an IV and one block are 32")]
    TooShort {
        /// Its length.
        bytes: usize,
    },
    /// More bytes than a text of 64 KiB gives.
    #[error("has {bytes} bytes; a configuration has at most 64 KiB")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not whole AES blocks.
    #[error("has {bytes} bytes, not a multiple of 16")]
    NotAligned {
        /// Its length.
        bytes: usize,
    },
    /// Not as long as the modulus of the RSA key that should have made it.
    #[error("has {bytes} bytes, not {}", lengths(.expected))]
    Length {
        /// Its length.
        bytes: usize,
        /// The lengths that it could have, ascending; none where any RSA key of 2048 bits or more
        /// will do.
        expected: Vec<usize>,
    },
}

fn lengths(expected: &[usize]) -> String {
    match expected {
        [] => "256 or more".to_owned(),
        some => some.iter().map(usize::to_string).collect::<Vec<_>>().join(" or "),
    }
}

/// Mistakes that administrators are known to make (upload formats §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BlobHint {
    /// An empty signature file.
    #[error("openssl leaves an empty file when it cannot read the signing key: look at its message")]
    SigningFailed,
    /// Three bytes too many: `-e ` from the echo of sh.
    #[error("the echo of sh wrote \"-e \" into the IV file: use bash, or printf")]
    EchoOfSh,
    /// One byte too many.
    #[error("does the IV file end in a line feed? Use echo -n, or printf")]
    LineFeedInIv,
    /// The lengths fit the other way round.
    #[error("was it swapped with {0}?")]
    SwappedWith(Blob),
    /// An RSA block of another size.
    #[error(
        "it was made with an RSA key of another size: encrypt to the server's public key, sign with your registered one"
    )]
    OtherRsaKey,
    /// 16 bytes where the wrapped key should be.
    #[error("this may be the AES key itself, not encrypted: make a new one")]
    KeyNotEncrypted,
    /// A SHA-256 where its signature should be.
    #[error("this may be the SHA-256 itself, not signed")]
    DigestNotSigned,
}

/// Three blobs of the right shape, not yet opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyEnvelope {
    data: Vec<u8>,
    signature: Vec<u8>,
    wrapped_key: Vec<u8>,
}

impl LegacyEnvelope {
    /// The AES key, RSA-encrypted to the server: as long as the server's modulus.
    pub fn wrapped_key(&self) -> &[u8] {
        &self.wrapped_key
    }

    /// IV (16 bytes) and ciphertext (one block or more) together.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The IV, 16 bytes.
    pub fn iv(&self) -> &[u8] {
        &self.data[..BLOCK]
    }

    /// The ciphertext, a multiple of 16 bytes and at least 16.
    pub fn ciphertext(&self) -> &[u8] {
        &self.data[BLOCK..]
    }

    /// The signature. It gives an offline test of the vending key: never store, log or record it.
    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// Reads the three blobs of an upload to a server whose modulus has `server_modulus_bytes`, by one
/// of the `signers`.
///
/// # Errors
/// Every fault that can be seen, in the order data, digest, key.
pub fn parse(
    blobs: &Blobs<'_>,
    server_modulus_bytes: usize,
    signers: &[PublicKey],
) -> Result<LegacyEnvelope, Vec<BlobFault>> {
    let mut signature_lengths: Vec<usize> = signers.iter().map(PublicKey::modulus_bytes).collect();
    signature_lengths.sort_unstable();
    signature_lengths.dedup();
    let shapes = Shapes { server: server_modulus_bytes, signatures: signature_lengths };

    let decoded = [(Blob::Data, blobs.data), (Blob::Digest, blobs.digest), (Blob::Key, blobs.key)]
        .map(|(blob, text)| (blob, bytes(text)));
    let lengths = decoded.each_ref().map(|(blob, bytes)| (*blob, bytes.as_ref().map_or(0, Vec::len)));
    let mut faults = Vec::new();
    let [data, signature, wrapped_key] =
        decoded.map(|(blob, bytes)| match bytes.and_then(|bytes| shapes.check(blob, bytes)) {
            Ok(bytes) => bytes,
            Err(reason) => {
                let hint = shapes.hint(blob, &reason, &lengths);
                faults.push(BlobFault { blob, reason, hint });
                Vec::new()
            }
        });
    if faults.is_empty() { Ok(LegacyEnvelope { data, signature, wrapped_key }) } else { Err(faults) }
}

/// What to send of the file of a blob: its base64, whatever spelling the file has.
///
/// # Errors
/// What it is instead, of which nothing should be sent.
pub fn text_of(blob: Blob, file: &[u8]) -> Result<String, BlobFault> {
    let shapes = Shapes { server: 0, signatures: Vec::new() };
    bytes(file).map(|bytes| blob::encode(&bytes, 76)).map_err(|reason| {
        let hint = shapes.hint(blob, &reason, &[]);
        BlobFault { blob, reason, hint }
    })
}

/// The bytes of a blob, whatever spelling its text has.
fn bytes(text: &[u8]) -> Result<Vec<u8>, BlobReason> {
    match recognise(text) {
        Recognised::Bytes(bytes) => Ok(bytes),
        Recognised::Empty => Err(Base64Fault::Empty.into()),
        Recognised::Text(fault) => Err(fault.into()),
        Recognised::Configuration => Err(BlobReason::InClear),
        Recognised::Salted => Err(BlobReason::Salted),
        Recognised::PrivateKey(form) => Err(BlobReason::PrivateKey(form)),
        known => Err(BlobReason::Other(known.phrase())),
    }
}

/// The lengths that RSA blobs can have.
struct Shapes {
    server: usize,
    signatures: Vec<usize>,
}

impl Shapes {
    fn check(&self, blob: Blob, bytes: Vec<u8>) -> Result<Vec<u8>, BlobReason> {
        let length = bytes.len();
        match blob {
            Blob::Data => match length {
                0..32 => return Err(BlobReason::TooShort { bytes: length }),
                _ if length > MAX_DATA => return Err(BlobReason::TooLong { bytes: length }),
                _ if !length.is_multiple_of(BLOCK) => {
                    return Err(BlobReason::NotAligned { bytes: length });
                }
                _ => {}
            },
            Blob::Digest if !self.fits(Blob::Digest, length) => {
                return Err(BlobReason::Length { bytes: length, expected: self.signatures.clone() });
            }
            Blob::Key if length != self.server => {
                return Err(BlobReason::Length { bytes: length, expected: vec![self.server] });
            }
            Blob::Digest | Blob::Key => {}
        }
        Ok(bytes)
    }

    /// Whether a blob of this length could be that one. Without known signers a signature may have
    /// any usual length.
    fn fits(&self, blob: Blob, length: usize) -> bool {
        match blob {
            Blob::Data => (32..=MAX_DATA).contains(&length) && length.is_multiple_of(BLOCK),
            Blob::Digest if self.signatures.is_empty() => (256..=1024).contains(&length),
            Blob::Digest => self.signatures.contains(&length),
            Blob::Key => length == self.server,
        }
    }

    fn hint(&self, blob: Blob, reason: &BlobReason, lengths: &[(Blob, usize)]) -> Option<BlobHint> {
        let length = match reason {
            BlobReason::Base64(Base64Fault::Empty) if blob == Blob::Digest => {
                return Some(BlobHint::SigningFailed);
            }
            BlobReason::TooShort { bytes }
            | BlobReason::NotAligned { bytes }
            | BlobReason::Length { bytes, .. } => *bytes,
            _ => return None,
        };
        let swapped = lengths
            .iter()
            .find(|(other, theirs)| *other != blob && self.fits(*other, length) && self.fits(blob, *theirs));
        if let Some((other, _)) = swapped {
            return Some(BlobHint::SwappedWith(*other));
        }
        match (blob, length) {
            (Blob::Data, _) if length % BLOCK == 3 => Some(BlobHint::EchoOfSh),
            (Blob::Data, _) if length % BLOCK == 1 => Some(BlobHint::LineFeedInIv),
            // With a line feed or the "-e " of sh; a SHA-256 also as hex text.
            (Blob::Key, 16 | 17 | 19 | 20) => Some(BlobHint::KeyNotEncrypted),
            (Blob::Digest, 32 | 33 | 64 | 65) => Some(BlobHint::DigestNotSigned),
            (Blob::Digest | Blob::Key, 128 | 256 | 384 | 512 | 768 | 1024) => Some(BlobHint::OtherRsaKey),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_keys;
    use super::*;
    use proptest::prelude::*;

    const SERVER: usize = 512;

    fn refused(data: &[u8], digest: &[u8], key: &[u8]) -> Vec<BlobFault> {
        let texts = [data, digest, key].map(|bytes| blob::encode(bytes, 76));
        let blobs =
            Blobs { data: texts[0].as_bytes(), digest: texts[1].as_bytes(), key: texts[2].as_bytes() };
        // The signer's key has 2,048 bits: 256 bytes.
        parse(&blobs, SERVER, &[test_keys::public(test_keys::administrator())]).err().unwrap_or_default()
    }

    #[test]
    fn a_good_envelope_is_taken_apart() {
        let signer = test_keys::public(test_keys::administrator());
        let data = blob::encode(&[[1; 16], [2; 16], [3; 16]].concat(), 76);
        let digest = blob::encode(&[4; 256], 64);
        let key = blob::encode(&[5; SERVER], 76).replace('\n', "\r\n");
        let blobs = Blobs { data: data.as_bytes(), digest: digest.as_bytes(), key: key.as_bytes() };
        let envelope = parse(&blobs, SERVER, &[signer]).unwrap();
        assert_eq!((envelope.iv(), envelope.ciphertext()), (&[1; 16][..], &[[2; 16], [3; 16]].concat()[..]));
        assert_eq!((envelope.signature(), envelope.wrapped_key()), (&[4; 256][..], &[5; SERVER][..]));
    }

    #[test]
    fn known_mistakes_get_their_hint() {
        use BlobHint::*;
        let data = &[1; 320][..];
        let digest = &[2; 256][..];
        let key = &[3; SERVER][..];
        let length = |bytes, expected| BlobReason::Length { bytes, expected: vec![expected] };
        type Case<'a> = (&'a [u8], &'a [u8], &'a [u8], Blob, BlobReason, Option<BlobHint>);
        let cases: Vec<Case<'_>> = vec![
            (data, b"", key, Blob::Digest, Base64Fault::Empty.into(), Some(SigningFailed)),
            (b"", digest, key, Blob::Data, Base64Fault::Empty.into(), None),
            (&[1; 323], digest, key, Blob::Data, BlobReason::NotAligned { bytes: 323 }, Some(EchoOfSh)),
            (&[1; 321], digest, key, Blob::Data, BlobReason::NotAligned { bytes: 321 }, Some(LineFeedInIv)),
            (&[1; 328], digest, key, Blob::Data, BlobReason::NotAligned { bytes: 328 }, None),
            (&[1; 16], digest, key, Blob::Data, BlobReason::TooShort { bytes: 16 }, None),
            (&[1; 70_000], digest, key, Blob::Data, BlobReason::TooLong { bytes: 70_000 }, None),
            (
                b"Salted__12345678 and so on, aligned or not",
                digest,
                key,
                Blob::Data,
                BlobReason::Salted,
                None,
            ),
            (b"---\nvending_key: 0123456789abcdef\n", digest, key, Blob::Data, BlobReason::InClear, None),
            (data, digest, &[3; 256], Blob::Key, length(256, SERVER), Some(OtherRsaKey)),
            (data, digest, &[3; 16], Blob::Key, length(16, SERVER), Some(KeyNotEncrypted)),
            (data, digest, &[3; 17], Blob::Key, length(17, SERVER), Some(KeyNotEncrypted)),
            (data, digest, &[3; 100], Blob::Key, length(100, SERVER), None),
            (data, &[2; 512], key, Blob::Digest, length(512, 256), Some(OtherRsaKey)),
            (data, &[2; 32], key, Blob::Digest, length(32, 256), Some(DigestNotSigned)),
            (data, &[2; 65], key, Blob::Digest, length(65, 256), Some(DigestNotSigned)),
            // Swapped, where one of the two lengths fits by chance.
            (key, digest, data, Blob::Key, length(320, SERVER), Some(SwappedWith(Blob::Data))),
            (digest, data, key, Blob::Digest, length(320, 256), Some(SwappedWith(Blob::Data))),
        ];
        for (data, digest, key, blob, reason, hint) in cases {
            assert_eq!(refused(data, digest, key), [BlobFault { blob, reason, hint }]);
        }
        let both = refused(data, key, digest);
        let hints: Vec<_> = both.iter().map(|fault| (fault.blob, fault.hint)).collect();
        assert_eq!(
            hints,
            [(Blob::Digest, Some(SwappedWith(Blob::Key))), (Blob::Key, Some(SwappedWith(Blob::Digest)))]
        );
    }

    #[test]
    fn all_faults_are_told_at_once_and_in_words() {
        let blobs = Blobs { data: b"---\nvending_key: 0123456789abcdef", digest: b"", key: b"Q*" };
        let faults = parse(&blobs, SERVER, &[]).unwrap_err();
        let texts: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 3);
        assert!(
            texts[0].starts_with("data: this is the configuration in clear") && !texts[0].contains("0123"),
            "{texts:?}"
        );
        assert!(texts[1].starts_with("digest: the file is empty (openssl leaves"), "{texts:?}");
        assert_eq!(texts[2], "key: line 1 holds `*` at column 2, which is not base64");
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(data: Vec<u8>, digest: Vec<u8>, key: Vec<u8>, server in 0usize..1100) {
            let _ = parse(&Blobs { data: &data, digest: &digest, key: &key }, server, &[]);
        }
    }
}
