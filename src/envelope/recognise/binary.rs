//! What shows in bytes: DER by its shape, key stores by their first bytes.

use rsa::pkcs1::der::asn1::AnyRef;
use rsa::pkcs1::der::{Decode, Reader, SliceReader, Tag, Tagged};

use super::textual::{is_key, same_key, ssh_numbers};
use super::{Holder, Recognised};

/// What a file begins with, and the private key that is in it.
const PRIVATE: [(&[u8], &str); 9] = [
    (b"openssh-key-v1\0", "OpenSSH"),
    (b"\xfe\xed\xfe\xed\0\0\0", "Java key store"),
    (b"\xce\xce\xce\xce\0\0\0", "Java key store, JCEKS"),
    (b"\x1e\xf1\xb5\xb0\0\0\0\0", "Microsoft .pvk"),
    (b"\x07\x02\0\0\0", "Microsoft key blob"),
    (b"RSA2", "Microsoft key blob"),
    (b"RSA3", "Microsoft key blob"),
    // PKCS#12 without lengths, as Java and NSS write it.
    (b"\x30\x80\x02\x01\x03\x30\x80", "PKCS#12"),
    (b"SSH PRIVATE KEY FILE FORMAT 1.1\n\0", "SSH 1"),
];
/// How many bytes a key store has at least: short ciphertext may begin like one by chance.
const LEAST_STORE: usize = 64;

/// Object identifiers, as their bytes stand in DER.
const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const PKCS7: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07";
const SIGNED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
/// Encryption of private keys: PKCS#5, PKCS#12.
const PASSWORD_BASED: [&[u8]; 2] =
    [b"\x2a\x86\x48\x86\xf7\x0d\x01\x05", b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01"];
const ALGORITHMS: [(&[u8], &str); 7] = [
    (b"\x2a\x86\x48\xce\x3d\x02\x01", "EC"),
    (b"\x2b\x65\x70", "Ed25519"),
    (b"\x2b\x65\x71", "Ed448"),
    (b"\x2b\x65\x6e", "X25519"),
    (b"\x2b\x65\x6f", "X448"),
    (b"\x2a\x86\x48\xce\x38\x04\x01", "DSA"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", "RSA-PSS"),
];

/// What bytes show; `None` if nothing.
pub(super) fn recognise(bytes: &[u8]) -> Option<Recognised> {
    if is_configuration(bytes) {
        return Some(Recognised::Configuration);
    }
    if bytes.starts_with(b"Salted__") {
        return Some(Recognised::Salted);
    }
    if bytes.len() >= LEAST_STORE
        && let Some((_, form)) = PRIVATE.iter().find(|(magic, _)| bytes.starts_with(magic))
    {
        return Some(Recognised::PrivateKey(form));
    }
    if let Some(content) = ssh_numbers(bytes) {
        return Some(content);
    }
    der(bytes).or_else(|| openpgp(bytes))
}

/// Whether the configuration itself is in it: no configuration is without this field, and nothing
/// else has it.
fn is_configuration(bytes: &[u8]) -> bool {
    const FIELD: &[u8] = b"vending_key";
    bytes.windows(FIELD.len()).any(|window| window == FIELD)
}

/// What an element of DER that fills the bytes (line ends behind it do not matter) is by its shape.
fn der(bytes: &[u8]) -> Option<Recognised> {
    let mut reader = SliceReader::new(bytes).ok()?;
    let whole = AnyRef::decode(&mut reader).ok()?;
    let rest = usize::try_from(reader.remaining_len()).ok()?;
    let own = bytes.len().checked_sub(rest)?;
    let parts = children(whole.value())?;
    let tags: Vec<Tag> = parts.iter().map(Tagged::tag).collect();
    let is_signed = matches!(tags.as_slice(), [Tag::Sequence, Tag::Sequence, Tag::BitString]);
    // Only a certificate may have more behind it: what openssl trusts it for.
    let is_whole = is_signed || bytes[own..].iter().all(u8::is_ascii_whitespace);
    if whole.tag() != Tag::Sequence || !is_whole {
        return None;
    }
    let first = parts.first()?.value();
    match tags.as_slice() {
        [Tag::Integer, Tag::Integer] => rsa(&bytes[..own], Holder::Key),
        [Tag::Sequence, Tag::BitString] => subject_key(&parts, Holder::Key),
        [Tag::Sequence, Tag::OctetString] => {
            let oid = children(first)?.first()?.value();
            let is_encrypted = PASSWORD_BASED.iter().any(|prefix| oid.starts_with(prefix));
            is_encrypted.then_some(Recognised::PrivateKey("PKCS#8, encrypted"))
        }
        [Tag::Integer, Tag::Sequence, Tag::OctetString, ..] => Some(Recognised::PrivateKey("PKCS#8")),
        [Tag::Integer, Tag::OctetString, ..] if first == [1] => Some(Recognised::PrivateKey("EC")),
        [Tag::Integer, Tag::Sequence, ..] if first == [3] => Some(Recognised::PrivateKey("PKCS#12")),
        [Tag::Integer, rest @ ..] if rest.len() == 5 && all_integers(rest) => {
            Some(Recognised::PrivateKey("DSA"))
        }
        [Tag::Integer, rest @ ..] if rest.len() >= 8 && all_integers(&rest[..8]) => {
            Some(Recognised::PrivateKey("PKCS#1"))
        }
        [Tag::ObjectIdentifier, ..] if first.starts_with(PKCS7) => Some(pkcs7(first, &parts)),
        [Tag::Sequence, Tag::Sequence, Tag::BitString] => signed(first),
        _ => None,
    }
}

fn all_integers(tags: &[Tag]) -> bool {
    tags.iter().all(|tag| *tag == Tag::Integer)
}

fn children(content: &[u8]) -> Option<Vec<AnyRef<'_>>> {
    let mut reader = SliceReader::new(content).ok()?;
    let mut parts = Vec::new();
    while !reader.is_finished() {
        parts.push(AnyRef::decode(&mut reader).ok()?);
    }
    Some(parts)
}

/// RSAPublicKey (RFC 8017 A.1.1).
fn rsa(der: &[u8], holder: Holder) -> Option<Recognised> {
    let key = rsa::pkcs1::RsaPublicKey::from_der(der).ok()?;
    let (modulus, exponent) = (key.modulus.as_bytes().to_vec(), key.public_exponent.as_bytes().to_vec());
    Some(Recognised::RsaPublicKey { modulus, exponent, holder })
}

/// The parts of a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).
fn subject_key(parts: &[AnyRef<'_>], holder: Holder) -> Option<Recognised> {
    let [algorithm, bits] = parts else { return None };
    let algorithm = children(algorithm.value())?;
    let oid = algorithm.first().filter(|oid| oid.tag() == Tag::ObjectIdentifier)?.value();
    if oid == RSA {
        // The first byte counts the unused bits.
        return rsa(bits.value().get(1..)?, holder);
    }
    let name =
        ALGORITHMS.iter().find(|(known, _)| *known == oid).map_or("another algorithm", |(_, name)| name);
    Some(Recognised::OtherPublicKey(name, holder))
}

/// What was signed: a certificate (RFC 5280) has its key as the last of its fixed parts, a request
/// (RFC 2986) as the third.
fn signed(content: &[u8]) -> Option<Recognised> {
    let parts = children(content)?;
    let tags: Vec<Tag> = parts.iter().map(Tagged::tag).collect();
    let (at, holder) = match tags.as_slice() {
        [Tag::Integer, Tag::Sequence, Tag::Sequence, rest @ ..]
            if rest.first().is_none_or(|tag| tag.is_context_specific()) =>
        {
            (2, Holder::Request)
        }
        [version, Tag::Integer, ..] if version.is_context_specific() => (6, Holder::Certificate),
        [Tag::Integer, Tag::Sequence, ..] => (5, Holder::Certificate),
        _ => return Some(Recognised::Other("a list of revoked certificates")),
    };
    subject_key(&children(parts.get(at)?.value())?, holder)
}

/// The certificates of a SignedData (RFC 5652 §5.1), or something else of PKCS#7.
fn pkcs7(oid: &[u8], parts: &[AnyRef<'_>]) -> Recognised {
    let certificates = || {
        let signed = children(parts.get(1)?.value())?;
        let fields = children(signed.first()?.value())?;
        let set = fields.iter().find(|field| field.tag().is_context_specific())?;
        let mut keys = Vec::new();
        for certificate in children(set.value())? {
            let body = children(certificate.value())?;
            let key = signed_key(body.first()?.value())?;
            if is_key(&key) && !keys.iter().any(|known| same_key(known, &key)) {
                keys.push(key);
            }
        }
        Some(keys)
    };
    match certificates().filter(|_| oid == SIGNED_DATA).as_deref() {
        Some([key]) => key.clone(),
        Some([_, more @ ..]) => Recognised::SeveralKeys(more.len() + 1),
        _ => Recognised::Other("a PKCS#7 message"),
    }
}

fn signed_key(content: &[u8]) -> Option<Recognised> {
    Some(match signed(content)? {
        Recognised::RsaPublicKey { modulus, exponent, .. } => {
            Recognised::RsaPublicKey { modulus, exponent, holder: Holder::Pkcs7 }
        }
        Recognised::OtherPublicKey(name, _) => Recognised::OtherPublicKey(name, Holder::Pkcs7),
        other => other,
    })
}

/// OpenPGP without armour: a key packet of version 4 to 6 that a user ID (or nothing) follows (RFC
/// 9580 §4, §5.5).
fn openpgp(bytes: &[u8]) -> Option<Recognised> {
    let (tag, length, header) = match *bytes {
        [tag @ (0x95 | 0x99), high, low, ..] => {
            (tag >> 2 & 0xF, usize::from(u16::from_be_bytes([high, low])), 3)
        }
        [tag @ (0xC5 | 0xC6), first @ 192..=223, second, ..] => {
            (tag & 0x3F, (usize::from(first) - 192) * 256 + usize::from(second) + 192, 3)
        }
        _ => return None,
    };
    let is_version = matches!(bytes.get(header)?, 4..=6);
    let follows = matches!(bytes.get(header + length), None | Some(0xB4 | 0xCD));
    if !is_version || !follows || length < LEAST_STORE || bytes.len() < header + length {
        return None;
    }
    match tag {
        5 => Some(Recognised::PrivateKey("OpenPGP")),
        _ => Some(Recognised::Other("an OpenPGP public key")),
    }
}
