//! A record as a line of an export: JSON, one record a line.

use serde::{Deserialize, Serialize};

use super::{
    record::{Act, ChainId, Entry, Hash, KeyChangeBits, Record, RowKind, TokenEntry},
    subject::{Salt, Subject},
};

/// A record with what the export says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The chain that it is said to be of.
    pub chain: ChainId,
    /// The record.
    pub record: Record,
    /// The hash that it is said to have.
    pub hash: Hash,
    /// What its commitment opens to, unless the export leaves meters out.
    pub opening: Option<(Subject, Salt)>,
}

/// A line that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a record of an audit export: {0}")]
pub struct LineError(String);

/// The line's fields. Bytes are hex; the clear block is hex too, because JSON's numbers end at
/// 2^53.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    chain: String,
    position: u64,
    time_ms: i64,
    hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<TokenWire>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<ActWire>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenWire {
    kind: u8,
    client: String,
    credential: String,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_date: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rnd: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roll_over: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transfer_sgc: Option<bool>,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pan: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActWire {
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
    details: String,
}

impl Line {
    /// One line of JSON without its end.
    pub fn to_json(&self) -> String {
        let (mut token, mut act) = (None, None);
        match &self.record.entry {
            Entry::Token(entry) => token = Some(token_wire(entry, self.opening.as_ref())),
            Entry::Act(entry) => {
                act = Some(ActWire {
                    kind: entry.kind.clone(),
                    actor: entry.actor.map(hex::encode),
                    credential: entry.credential.clone(),
                    details: entry.details.clone(),
                });
            }
        }
        let wire = Wire {
            chain: self.chain.to_string(),
            position: self.record.position,
            time_ms: self.record.at_ms,
            hash: self.hash.to_string(),
            token,
            act,
        };
        // Texts and numbers always have a JSON form.
        serde_json::to_string(&wire).unwrap_or_default()
    }

    /// Reads a line.
    ///
    /// # Errors
    /// [`LineError`] for whatever [`Line::to_json`] does not write.
    pub fn from_json(text: &str) -> Result<Self, LineError> {
        let wire: Wire = serde_json::from_str(text).map_err(|error| LineError(error.to_string()))?;
        let (entry, opening) = match (wire.token, wire.act) {
            (Some(token), None) => {
                let opening = opening(&token)?;
                (Entry::Token(token_entry(token)?), opening)
            }
            (None, Some(act)) => {
                let act = Act {
                    kind: act.kind,
                    actor: act.actor.map(|text| bytes(&text, "actor")).transpose()?,
                    credential: act.credential,
                    details: act.details,
                };
                (Entry::Act(act), None)
            }
            _ => return Err(LineError("either a token or an act is expected".into())),
        };
        Ok(Self {
            chain: ChainId(bytes(&wire.chain, "chain")?),
            record: Record { position: wire.position, at_ms: wire.time_ms, entry },
            hash: Hash(bytes(&wire.hash, "hash")?),
            opening,
        })
    }
}

fn token_wire(entry: &TokenEntry, opening: Option<&(Subject, Salt)>) -> TokenWire {
    TokenWire {
        kind: entry.kind as u8,
        client: hex::encode(entry.client),
        credential: entry.credential.clone(),
        request_id: hex::encode(entry.request_id),
        configuration: entry.configuration.map(hex::encode),
        base_date: entry.base_date,
        tid: entry.tid,
        rnd: entry.rnd,
        class: entry.block.map(|(class, _)| class),
        block: entry.block.map(|(_, block)| hex::encode(block.to_be_bytes())),
        target: entry.key_change.map(|bits| hex::encode(bits.target)),
        roll_over: entry.key_change.map(|bits| bits.roll_over),
        transfer_sgc: entry.key_change.map(|bits| bits.transfer_sgc),
        subject: hex::encode(entry.subject),
        salt: opening.map(|(_, salt)| hex::encode(salt.0)),
        request_hash: opening.map(|(subject, _)| hex::encode(subject.request_hash)),
        pan: opening.and_then(|(subject, _)| subject.pan.clone()),
    }
}

fn token_entry(wire: TokenWire) -> Result<TokenEntry, LineError> {
    let block = match (wire.class, wire.block) {
        (Some(class), Some(block)) => Some((class, u64::from_be_bytes(bytes(&block, "block")?))),
        (None, None) => None,
        _ => return Err(LineError("class and block belong together".into())),
    };
    let key_change = match (wire.target, wire.roll_over, wire.transfer_sgc) {
        (Some(target), Some(roll_over), Some(transfer_sgc)) => {
            Some(KeyChangeBits { target: bytes(&target, "target")?, roll_over, transfer_sgc })
        }
        (None, None, None) => None,
        _ => return Err(LineError("target, roll_over and transfer_sgc belong together".into())),
    };
    Ok(TokenEntry {
        client: bytes(&wire.client, "client")?,
        credential: wire.credential,
        request_id: bytes(&wire.request_id, "request_id")?,
        kind: RowKind::try_from(i64::from(wire.kind)).map_err(|error| LineError(format!("kind: {error}")))?,
        configuration: wire.configuration.map(|text| bytes(&text, "configuration")).transpose()?,
        base_date: wire.base_date,
        tid: wire.tid,
        rnd: wire.rnd,
        block,
        key_change,
        subject: bytes(&wire.subject, "subject")?,
    })
}

fn opening(wire: &TokenWire) -> Result<Option<(Subject, Salt)>, LineError> {
    match (&wire.salt, &wire.request_hash) {
        (Some(salt), Some(request_hash)) => {
            let subject =
                Subject { pan: wire.pan.clone(), request_hash: bytes(request_hash, "request_hash")? };
            Ok(Some((subject, Salt(bytes(salt, "salt")?))))
        }
        (None, None) if wire.pan.is_none() => Ok(None),
        _ => Err(LineError("salt, request_hash and pan belong together".into())),
    }
}

fn bytes<const N: usize>(text: &str, field: &str) -> Result<[u8; N], LineError> {
    let mut bytes = [0; N];
    let fault = || LineError(format!("{field}: {} lower-case hex digits are expected", N * 2));
    hex::decode_to_slice(text, &mut bytes).map_err(|_| fault())?;
    // One spelling of each record.
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) { Err(fault()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_back() {
        let subject = Subject { pan: Some("600727475001502312".into()), request_hash: [6; 32] };
        let token = TokenEntry {
            client: [1; 16],
            credential: "till".into(),
            request_id: [2; 16],
            kind: RowKind::KeyChange,
            configuration: Some([3; 16]),
            base_date: Some(2014),
            tid: Some(9),
            rnd: Some(1),
            block: Some((2, u64::MAX)),
            key_change: Some(KeyChangeBits { target: [5; 16], roll_over: true, transfer_sgc: false }),
            subject: [4; 32],
        };
        let act = Act {
            kind: "a".into(),
            actor: Some([1; 16]),
            credential: None,
            details: "{\"a\":\"\u{e9}\n\"}".into(),
        };
        for (entry, opening) in [
            (Entry::Token(token.clone()), Some((subject, Salt([7; 16])))),
            (Entry::Token(token), None),
            (Entry::Act(act), None),
        ] {
            let line = Line {
                chain: ChainId([8; 16]),
                record: Record { position: 3, at_ms: 4, entry },
                hash: Hash([9; 32]),
                opening,
            };
            let text = line.to_json();
            assert!(!text.contains('\n'));
            assert_eq!(Line::from_json(&text), Ok(line));
        }
    }

    #[test]
    fn other_text_is_no_line() {
        for text in ["", "{}", "[]", "{\"chain\":\"00\",\"position\":1,\"time_ms\":1,\"hash\":\"00\"}"] {
            assert!(Line::from_json(text).is_err(), "{text}");
        }
    }
}
