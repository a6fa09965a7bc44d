//! A vector as a task: what to compute, and what must come out.

use serde_json::{Map, Value};

use super::fields::{Fault, KeyBytes};
use super::sections::SetFields;
use crate::sts::attributes::{Attributes, BaseDate, EncryptionAlgorithm, KeyType};
use crate::sts::derivation::Derivation;
use crate::sts::tid::Tid;
use crate::sts::token::{ClearBlock, Display, Payload, RegisterClass, Rnd, Token};

/// One vector.
#[derive(Debug)]
pub struct Vector {
    /// Its name; `#n` (its place in the file, from 1) where it has none.
    pub id: String,
    /// Its kind and type, `token credit_water`: what reports group by.
    pub group: String,
    /// Where it was published.
    pub source: String,
    /// What was published: every field of it must come out.
    pub expected: Map<String, Value>,
    /// What to compute, or what is wrong with it.
    pub task: Result<Task, Fault>,
}

/// Where a decoder key comes from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// It is given.
    Given(KeyBytes),
    /// It is derived, in the HSM where there is one.
    Derived {
        /// The vending key.
        vending_key: KeyBytes,
        /// What to derive.
        derivation: Derivation,
    },
    /// It is derived by DKGA01, which happens in software alone.
    Dkga01 {
        /// The vending key.
        vending_key: KeyBytes,
        /// B = PANBLOCK xor CONTROLBLOCK.
        block: [u8; 8],
    },
}

/// What a token holds.
#[derive(Clone, Debug)]
pub enum TokenContent {
    /// A valid content, through the code that serves.
    Payload {
        /// The content.
        payload: Payload,
        /// Given, not random.
        rnd: Rnd,
        /// Its TID.
        tid: Tid,
    },
    /// A raw register, which no service would take.
    Register {
        /// Class 0 or 2.
        class: RegisterClass,
        /// 0..=15.
        subclass: u8,
        /// Given, not random.
        rnd: Rnd,
        /// Its TID.
        tid: Tid,
        /// The raw register.
        register: u16,
    },
    /// Class 1.
    Display(Display),
    /// A single section of a key change, or a content that nothing here has a type for.
    Block(ClearBlock),
}

impl TokenContent {
    /// Its block.
    pub fn block(&self) -> ClearBlock {
        match self {
            Self::Payload { payload, rnd, tid } => payload.block(*rnd, *tid),
            Self::Register { class, subclass, rnd, tid, register } => {
                ClearBlock::with_register(*class, *subclass, *rnd, *tid, *register)
            }
            Self::Display(display) => display.block(),
            Self::Block(block) => block.clone(),
        }
    }
}

/// What a behaviour vector asks for.
#[derive(Clone, Debug)]
pub enum Request {
    /// A credit or management token.
    Token,
    /// A key change, to this key.
    KeyChange(Attributes),
}

/// The numbers of a CONTROLBLOCK beside the key type.
#[derive(Clone, Copy, Debug)]
pub struct ControlDigits {
    /// Supply group.
    pub sgc: u32,
    /// Tariff.
    pub ti: u8,
    /// Key revision, 0 too.
    pub krn: u8,
}

/// What to compute.
#[derive(Clone, Debug)]
pub enum Task {
    /// The digits of a token; class 1 needs no key.
    Token {
        /// The key.
        key: Option<KeySource>,
        /// The cipher.
        ea: EncryptionAlgorithm,
        /// What it holds.
        content: TokenContent,
    },
    /// The digits of a key-change set.
    KeyChange {
        /// The key that encrypts.
        current: KeySource,
        /// The key that is carried.
        new: KeySource,
        /// The rest of the set.
        set: SetFields,
    },
    /// A decoder key.
    Derive(KeySource),
    /// The fields of a token.
    Decode {
        /// The token.
        token: Token,
        /// The cipher.
        ea: EncryptionAlgorithm,
        /// The key; class 1 needs none.
        key: Option<KeySource>,
        /// Where its TID counts from.
        base_date: Option<BaseDate>,
    },
    /// A block through a cipher.
    Block {
        /// The cipher.
        ea: EncryptionAlgorithm,
        /// The key.
        key: KeyBytes,
        /// The block.
        block: u64,
        /// Backwards.
        decrypt: bool,
        /// EA07 with the standard's sample tables.
        sample_tables: bool,
    },
    /// PANBLOCK of IIN and IAIN that may be no meter number, CONTROLBLOCK, or both.
    Blocks {
        /// Key type.
        kt: KeyType,
        /// Issuer and meter.
        meter: Option<(String, String)>,
        /// The rest of a CONTROLBLOCK.
        control: Option<ControlDigits>,
    },
    /// The check digit that follows these digits. A MeterPAN is its digits and their check digit.
    Luhn {
        /// The digits.
        digits: String,
        /// Whether the MeterPAN is wanted rather than the digit.
        pan: bool,
    },
    /// A CRC.
    Crc(KeyBytes),
    /// What a vending system refuses.
    Behaviour {
        /// The (current) key.
        attributes: Attributes,
        /// Seconds since 1970-01-01T00:00Z.
        time: i64,
        /// What is asked for.
        request: Request,
    },
}
