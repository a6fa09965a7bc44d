//! Runs one vector.

use serde_json::{Map, Value};

use super::compare::same;
use super::decode::decode;
use super::fields::KeyBytes;
use super::keys::{Keys, KeysError, SoftwareKeys, Wanted};
use super::task::{ControlDigits, KeySource, Request, Task, Vector};
use crate::sts::attributes::{Attributes, EncryptionAlgorithm};
use crate::sts::cipher::{DecoderKey, Ea07, decrypt_block, encrypt_block};
use crate::sts::crc::crc;
use crate::sts::derivation::{control_block_of_digits, pan_block_of_digits};
use crate::sts::meter::luhn_digit;
use crate::sts::software::{OwnedDecoderKey, derive, derive_dkga01};
use crate::sts::tid::TidError;
use crate::sts::token::key_change::{KeyChange, KeyChangeRefusal};

/// What a vending system answers when the key has expired (STS 531 CTSA16).
const KEY_EXPIRED: &str = "KEY EXPIRY ERROR";

/// Who made the decoder keys of a vector; the three are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// The module under test.
    Module,
    /// Software, because the vector gives a decoder key or asks for DKGA01.
    Software,
    /// Nobody: no key enters.
    NoKey,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every expected field came out.
    Passed,
    /// Some did not; the reason where nothing came out at all.
    Failed(Option<String>),
    /// The module under test does not serve this.
    Skipped(String),
}

/// The result of one vector.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Who made its keys.
    pub path: Path,
    /// What came out; empty where nothing did.
    pub actual: Map<String, Value>,
    /// Whether that was right.
    pub verdict: Verdict,
}

/// Computes a vector and compares it with what was published.
pub fn run(vector: &Vector, keys: &impl Keys) -> Outcome {
    let task = match &vector.task {
        Ok(task) => task,
        Err(fault) => {
            let verdict = Verdict::Failed(Some(fault.to_string()));
            return Outcome { path: Path::NoKey, actual: Map::new(), verdict };
        }
    };
    let path = path(task);
    let computed = match path {
        Path::Module => compute(task, keys),
        Path::Software | Path::NoKey => compute(task, &SoftwareKeys),
    };
    match computed {
        Ok(actual) => {
            let all = vector.expected.iter().all(|(field, expected)| {
                actual.get(field).is_some_and(|actual| same(field, expected, actual))
            });
            let verdict = if all { Verdict::Passed } else { Verdict::Failed(None) };
            Outcome { path, actual, verdict }
        }
        Err(KeysError::Unsupported(reason)) => {
            Outcome { path, actual: Map::new(), verdict: Verdict::Skipped(reason) }
        }
        Err(KeysError::Failed(reason)) => {
            Outcome { path, actual: Map::new(), verdict: Verdict::Failed(Some(reason)) }
        }
    }
}

/// Who makes the keys of this task. The module does where all of them are derived as it would
/// derive them.
fn path(task: &Task) -> Path {
    let by = |sources: &[&KeySource]| {
        let derived = sources.iter().all(|source| matches!(source, KeySource::Derived { .. }));
        if derived { Path::Module } else { Path::Software }
    };
    match task {
        Task::Token { key: Some(key), .. } | Task::Derive(key) => by(&[key]),
        Task::KeyChange { current, new, .. } => by(&[current, new]),
        Task::Decode { key: Some(key), .. } => by(&[key]),
        Task::Decode { key: None, .. } | Task::Block { .. } => Path::Software,
        Task::Token { key: None, .. }
        | Task::Blocks { .. }
        | Task::Luhn { .. }
        | Task::Crc(_)
        | Task::Behaviour { .. } => Path::NoKey,
    }
}

fn compute(task: &Task, keys: &impl Keys) -> Result<Map<String, Value>, KeysError> {
    match task.clone() {
        Task::Token { key: None, content, .. } => {
            let token = content.block().unencrypted().ok_or_else(|| failed("no decoder key"))?;
            Ok(field("token", token.to_string()))
        }
        Task::Token { key: Some(key), ea, content } => {
            let token = with_key(keys, key, move |key| content.block().encrypt(ea, key))?;
            Ok(field("token", token.map_err(failed)?.to_string()))
        }
        Task::KeyChange { current, new, set } => {
            let tokens = with_keys(keys, &[current, new], move |keys| match keys {
                [current, new] => Some(set.tokens(*current, *new)),
                _ => None,
            })?
            .ok_or_else(no_key)?;
            let digits: Vec<String> = tokens.map_err(failed)?.iter().map(ToString::to_string).collect();
            Ok(field("tokens", digits))
        }
        Task::Derive(key) => {
            let key = with_key(keys, key, |key| hex::encode(key.as_bytes()))?;
            Ok(field("decoder_key", key))
        }
        Task::Decode { token, ea, key: None, base_date } => {
            decode(&token, ea, None, base_date).map_err(failed)
        }
        Task::Decode { token, ea, key: Some(key), base_date } => {
            with_key(keys, key, move |key| decode(&token, ea, Some(key), base_date))?.map_err(failed)
        }
        Task::Block { ea, key, block, decrypt, sample_tables } => {
            let out = through_cipher(ea, &key, block, decrypt, sample_tables)?;
            Ok(field("out", format!("{out:016x}")))
        }
        Task::Blocks { kt, meter, control } => {
            let mut blocks = Map::new();
            if let Some((iin, iain)) = meter {
                let block = pan_block_of_digits(&iin, &iain, kt)
                    .ok_or_else(|| failed("iin and iain are not 17 digits together"))?;
                blocks.extend(field("pan_block", hex::encode(block)));
            }
            if let Some(ControlDigits { sgc, ti, krn }) = control {
                let block = control_block_of_digits(kt, sgc, ti, krn)
                    .ok_or_else(|| failed("sgc, ti or krn have more than 6, 2 and 1 digits"))?;
                blocks.extend(field("control_block", hex::encode(block)));
            }
            Ok(blocks)
        }
        Task::Luhn { digits, pan } => {
            let digit = luhn_digit(&digits).ok_or_else(|| failed("not decimal digits"))?;
            Ok(if pan { field("pan", format!("{digits}{digit}")) } else { field("check_digit", digit) })
        }
        Task::Crc(data) => Ok(field("crc", format!("{:04x}", crc(data.as_bytes())))),
        Task::Behaviour { attributes, time, request } => {
            let refusal = match request {
                Request::Token => token_refusal(&attributes, time),
                Request::KeyChange(new) => key_change_refusal(&attributes, &new, time),
            };
            Ok(field("error", refusal))
        }
    }
}

/// [`with_keys`] of one key.
fn with_key<R: Send + 'static>(
    keys: &impl Keys,
    source: KeySource,
    finish: impl FnOnce(DecoderKey<'_>) -> R + Send + 'static,
) -> Result<R, KeysError> {
    with_keys(keys, &[source], move |keys| keys.first().map(|key| finish(*key)))?.ok_or_else(no_key)
}

/// Lets `finish` use the keys of these sources, from `keys` where all are derived and else in
/// software.
fn with_keys<R: Send + 'static>(
    keys: &impl Keys,
    sources: &[KeySource],
    finish: impl FnOnce(&[DecoderKey<'_>]) -> R + Send + 'static,
) -> Result<R, KeysError> {
    let wanted: Option<Vec<Wanted>> = sources
        .iter()
        .map(|source| match source {
            KeySource::Derived { vending_key, derivation } => {
                Some(Wanted { vending_key: vending_key.clone(), derivation: *derivation })
            }
            KeySource::Given(_) | KeySource::Dkga01 { .. } => None,
        })
        .collect();
    if let Some(wanted) = wanted {
        return keys.with(wanted, finish);
    }
    let owned: Vec<OwnedDecoderKey> = sources.iter().map(in_software).collect::<Result<_, _>>()?;
    let borrowed: Vec<DecoderKey<'_>> = owned.iter().map(OwnedDecoderKey::borrow).collect();
    Ok(finish(&borrowed))
}

fn in_software(source: &KeySource) -> Result<OwnedDecoderKey, KeysError> {
    match source {
        KeySource::Given(key) => decoder_key(key).map(OwnedDecoderKey::new),
        KeySource::Derived { vending_key, derivation } => {
            derive(derivation, vending_key.as_bytes()).map_err(failed)
        }
        KeySource::Dkga01 { vending_key, block } => {
            derive_dkga01(*block, vending_key.as_bytes()).map_err(failed)
        }
    }
}

fn decoder_key(key: &KeyBytes) -> Result<DecoderKey<'_>, KeysError> {
    DecoderKey::from_slice(key.as_bytes()).ok_or_else(|| failed("a decoder key has 8 or 16 bytes"))
}

fn through_cipher(
    ea: EncryptionAlgorithm,
    key: &KeyBytes,
    block: u64,
    decrypt: bool,
    sample_tables: bool,
) -> Result<u64, KeysError> {
    let key = decoder_key(key)?;
    if !sample_tables {
        let out = if decrypt { decrypt_block(ea, key, block) } else { encrypt_block(ea, key, block) };
        return out.map_err(failed);
    }
    match (ea, key) {
        (EncryptionAlgorithm::Ea07, DecoderKey::Bits64(key)) => {
            let cipher = Ea07::with_sample_tables(key);
            Ok(if decrypt { cipher.decrypt(block) } else { cipher.encrypt(block) })
        }
        _ => Err(failed("sample tables exist for EA07 alone")),
    }
}

/// What keeps a vending system from issuing a token at this time.
fn token_refusal(attributes: &Attributes, time: i64) -> String {
    match attributes.base_date.tid_at(time) {
        Ok(tid) if tid.is_past(attributes.ken) => KEY_EXPIRED.to_owned(),
        Ok(_) => "none".to_owned(),
        Err(TidError::PastRollover { .. }) => KEY_EXPIRED.to_owned(),
        Err(error) => error.to_string(),
    }
}

/// What keeps a vending system from changing keys at this time.
fn key_change_refusal(current: &Attributes, new: &Attributes, time: i64) -> String {
    match KeyChange::plan(current, new, false, time) {
        Ok(_) => "none".to_owned(),
        Err(KeyChangeRefusal::BothExpired) => KEY_EXPIRED.to_owned(),
        Err(refusal) => refusal.to_string(),
    }
}

fn field(name: &str, value: impl Into<Value>) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value.into())])
}

fn no_key() -> KeysError {
    failed("fewer keys came back than were asked for")
}

fn failed(reason: impl ToString) -> KeysError {
    KeysError::Failed(reason.to_string())
}

#[cfg(test)]
mod tests;
