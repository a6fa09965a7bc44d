//! Records and their canonical bytes.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The number of a chain in its database, which is that of the server that writes it: 0 for the
/// first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainNumber(u32);

impl ChainNumber {
    /// The first server's, and the only one in an embedded database.
    pub const FIRST: Self = Self(0);

    /// The highest: numbers of chains have 19 bits.
    pub const LAST: Self = Self((1 << 19) - 1);

    /// A number as it came from outside. `None` above [`ChainNumber::LAST`].
    pub fn new(number: u32) -> Option<Self> {
        (number <= Self::LAST.0).then_some(Self(number))
    }

    /// The number.
    pub fn value(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ChainNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The name of a chain: random, one for each server that writes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainId(pub [u8; 16]);

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainId({self})")
    }
}

/// The hash of a record, which names it and all before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What stands before the first record.
    pub const START: Self = Self([0; 32]);

    /// The SHA-256 of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// One record of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place: the first is 1, none is left out.
    pub position: u64,
    /// When, in milliseconds since 1970, UTC.
    pub at_ms: i64,
    /// What happened.
    pub entry: Entry,
}

/// What a record tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A row of the ledger.
    Token(TokenEntry),
    /// An administrative act, a refusal, or anything else that is said in words.
    Act(Act),
}

/// Which kind of row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// Credit or management: it has a TID.
    Sequenced = 1,
    /// Class 1.
    Fixed = 2,
    /// A set of key-change tokens.
    KeyChange = 3,
}

impl TryFrom<i64> for RowKind {
    type Error = UnknownRowKind;

    fn try_from(code: i64) -> Result<Self, UnknownRowKind> {
        [Self::Sequenced, Self::Fixed, Self::KeyChange]
            .into_iter()
            .find(|kind| *kind as i64 == code)
            .ok_or(UnknownRowKind)
    }
}

/// A number that is the code of no kind of row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a kind is 1, 2 or 3")]
pub struct UnknownRowKind;

/// What a key-change row has beyond the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyChangeBits {
    /// The configuration to which the meter goes.
    pub target: [u8; 16],
    /// The RO bit.
    pub roll_over: bool,
    /// Whether the supply group code travels with the set.
    pub transfer_sgc: bool,
}

/// A row of the ledger, without the meter: `subject` commits to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEntry {
    /// Who asked.
    pub client: [u8; 16],
    /// With which credential (the key id).
    pub credential: String,
    /// The caller's name of the request.
    pub request_id: [u8; 16],
    /// Which kind of row.
    pub kind: RowKind,
    /// The configuration, where one was named.
    pub configuration: Option<[u8; 16]>,
    /// Year of the base date from which `tid` counts.
    pub base_date: Option<u16>,
    /// The token identifier.
    pub tid: Option<u32>,
    /// The four random bits.
    pub rnd: Option<u8>,
    /// Class and clear block.
    pub block: Option<(u8, u64)>,
    /// For a key change alone.
    pub key_change: Option<KeyChangeBits>,
    /// Commitment to the meter and to the canonical request, see [`Subject`](super::Subject).
    pub subject: [u8; 32],
}

/// The act with which a restored database goes on: the positions before it are those that were
/// lost.
pub const RESTORE_ACCEPTED: &str = "restore.accepted";

/// An act in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Which act, such as `configuration.enabled`.
    pub kind: String,
    /// The client whose act it is; none for what the server or a local command did.
    pub actor: Option<[u8; 16]>,
    /// With which credential.
    pub credential: Option<String>,
    /// A JSON object; its text, byte for byte, is what is hashed.
    pub details: String,
}

impl Record {
    /// The hash of this record of `chain` after the record with the hash `before`.
    ///
    /// SHA-256 over: `vendkey record v1` and a zero byte, the chain (16 bytes), `before` (32),
    /// position (8), time (8), then the entry. Integers are big endian; texts have their length in
    /// 4 bytes before them; what may be absent has 0 or 1 before it.
    pub fn hash(&self, chain: ChainId, before: Hash) -> Hash {
        let mut bytes = Bytes::new(b"vendkey record v1\0");
        bytes.fixed(&chain.0);
        bytes.fixed(&before.0);
        bytes.fixed(&self.position.to_be_bytes());
        bytes.fixed(&self.at_ms.to_be_bytes());
        match &self.entry {
            Entry::Token(token) => {
                bytes.fixed(&[1, token.kind as u8]);
                bytes.fixed(&token.client);
                bytes.text(&token.credential);
                bytes.fixed(&token.request_id);
                bytes.optional(token.configuration.as_ref().map(<[u8; 16]>::as_slice));
                bytes.optional(token.base_date.map(u16::to_be_bytes).as_ref().map(<[u8; 2]>::as_slice));
                bytes.optional(token.tid.map(u32::to_be_bytes).as_ref().map(<[u8; 4]>::as_slice));
                bytes.optional(token.rnd.map(|rnd| [rnd]).as_ref().map(<[u8; 1]>::as_slice));
                bytes.optional(token.block.map(block_bytes).as_ref().map(<[u8; 9]>::as_slice));
                bytes.optional(token.key_change.map(key_change_bytes).as_ref().map(<[u8; 18]>::as_slice));
                bytes.fixed(&token.subject);
            }
            Entry::Act(act) => {
                bytes.fixed(&[2]);
                bytes.text(&act.kind);
                bytes.optional(act.actor.as_ref().map(<[u8; 16]>::as_slice));
                bytes.fixed(&[u8::from(act.credential.is_some())]);
                bytes.text(act.credential.as_deref().unwrap_or_default());
                bytes.text(&act.details);
            }
        }
        bytes.hash()
    }
}

fn block_bytes((class, block): (u8, u64)) -> [u8; 9] {
    let mut bytes = [class; 9];
    bytes[1..].copy_from_slice(&block.to_be_bytes());
    bytes
}

fn key_change_bytes(bits: KeyChangeBits) -> [u8; 18] {
    let mut bytes = [0; 18];
    bytes[..16].copy_from_slice(&bits.target);
    bytes[16] = bits.roll_over.into();
    bytes[17] = bits.transfer_sgc.into();
    bytes
}

/// Canonical bytes, gathered first because one long update is cheaper than twenty short ones.
struct Bytes(Vec<u8>);

impl Bytes {
    fn new(domain: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(domain);
        Self(bytes)
    }

    fn fixed(&mut self, part: &[u8]) {
        self.0.extend_from_slice(part);
    }

    fn text(&mut self, text: &str) {
        // No text of a record comes near 4 GiB.
        self.fixed(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.fixed(text.as_bytes());
    }

    /// Each field has one length, so that 1 is enough to say that it is there.
    fn optional(&mut self, part: Option<&[u8]>) {
        match part {
            None => self.fixed(&[0]),
            Some(part) => {
                self.fixed(&[1]);
                self.fixed(part);
            }
        }
    }

    fn hash(self) -> Hash {
        Hash(Sha256::digest(&self.0).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: ChainId = ChainId([7; 16]);

    fn token() -> TokenEntry {
        TokenEntry {
            client: [1; 16],
            credential: "till-1".into(),
            request_id: [2; 16],
            kind: RowKind::Sequenced,
            configuration: Some([3; 16]),
            base_date: Some(2014),
            tid: Some(100),
            rnd: Some(5),
            block: Some((0, 42)),
            key_change: None,
            subject: [4; 32],
        }
    }

    fn hash(entry: Entry) -> Hash {
        Record { position: 1, at_ms: 2, entry }.hash(CHAIN, Hash::START)
    }

    #[test]
    fn every_field_counts() {
        let change = |change: fn(&mut TokenEntry)| {
            let mut token = token();
            change(&mut token);
            hash(Entry::Token(token))
        };
        let bits = KeyChangeBits { target: [0; 16], roll_over: false, transfer_sgc: false };
        let mut seen = vec![
            hash(Entry::Token(token())),
            change(|t| t.client[0] ^= 1),
            change(|t| t.credential.push('x')),
            change(|t| t.request_id[15] ^= 1),
            change(|t| t.kind = RowKind::KeyChange),
            change(|t| t.configuration = None),
            change(|t| t.base_date = Some(1993)),
            change(|t| t.tid = Some(101)),
            change(|t| t.tid = None),
            change(|t| t.rnd = Some(6)),
            change(|t| t.block = Some((2, 42))),
            change(|t| t.block = Some((0, 43))),
            change(|t| t.subject[0] ^= 1),
        ];
        for flags in 0..4 {
            let mut token = token();
            token.key_change =
                Some(KeyChangeBits { roll_over: flags & 1 != 0, transfer_sgc: flags & 2 != 0, ..bits });
            seen.push(hash(Entry::Token(token)));
        }
        let record = Record { position: 1, at_ms: 2, entry: Entry::Token(token()) };
        seen.push(record.hash(ChainId([8; 16]), Hash::START));
        seen.push(record.hash(CHAIN, Hash([1; 32])));
        seen.push(Record { position: 2, ..record.clone() }.hash(CHAIN, Hash::START));
        seen.push(Record { at_ms: 3, ..record }.hash(CHAIN, Hash::START));
        let count = seen.len();
        seen.sort_by_key(|hash| hash.0);
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn texts_cannot_flow_into_each_other() {
        let act = |kind: &str, details: &str| {
            hash(Entry::Act(Act {
                kind: kind.into(),
                actor: None,
                credential: None,
                details: details.into(),
            }))
        };
        assert_ne!(act("ab", "c"), act("a", "bc"));
    }

    /// The bytes of version 1 stay what they are: chains of released servers must verify for ever.
    #[test]
    fn the_bytes_of_version_1() {
        let act = Act {
            kind: "a".into(),
            actor: Some([9; 16]),
            credential: Some("c".into()),
            details: "{}".into(),
        };
        let mut expected = b"vendkey record v1\0".to_vec();
        expected.extend([7; 16]);
        expected.extend([0; 32]);
        expected.extend(1_u64.to_be_bytes());
        expected.extend(2_i64.to_be_bytes());
        expected.extend([2, 0, 0, 0, 1, b'a', 1]);
        expected.extend([9; 16]);
        expected.extend([1, 0, 0, 0, 1, b'c', 0, 0, 0, 2, b'{', b'}']);
        assert_eq!(hash(Entry::Act(act)).0, <[u8; 32]>::from(Sha256::digest(expected)));
    }
}
