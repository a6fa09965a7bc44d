//! What a sealed upload says once its signature holds: the attributes in clear, the keys encrypted
//! to one or several servers, what they must prove to be, and for how long that is meant.

use jiff::Timestamp;
use serde::Deserialize;
use thiserror::Error;

use super::blob;
use super::configuration::{self, ConfigurationDraft, KeyPlace};
use super::conformity::KeyFacts;
use super::document::{DocumentFault, DocumentReason, json};
use super::fault::{FieldFault, FieldReason, quotable_name};
use super::field::Field;
use super::public_key::Fingerprint;
use super::sealed::Sealed;
use super::text::{Entry, Fields};
use super::yaml::Pairs;
use crate::hsm::{SealSuite, SealedClass, SealedKey, SealedMask};
use crate::sts::attributes::Dkga;

/// What `purpose` must say.
pub(super) const PURPOSE: &str = "vendkey sealed configuration 1";
/// The most recipients of one upload.
const MAX_RECIPIENTS: usize = 16;
/// The longest time for which an upload may be meant, in seconds: 31 days.
pub(super) const LONGEST_VALIDITY: i64 = 31 * 86_400;
/// How far the clock of whoever seals may be ahead of the server's, in seconds.
const CLOCKS_APART: i64 = 300;

/// Makes an upload one: 16 random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce(pub [u8; 16]);

/// Why a sealed upload whose signature holds is not taken. All of it is about what everybody can
/// read in it; what the HSM says of its keys is another matter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealedRefusal {
    /// It is not well formed.
    #[error("the sealed upload is malformed")]
    Malformed(Vec<DocumentFault>),
    /// Its attributes are those of no configuration.
    #[error("the configuration is not valid")]
    Configuration(Vec<FieldFault>),
    /// It is not meant for this server's keys.
    #[error("it is sealed to other servers' keys ({}), not to {}", .named.join(", "), .ours.join(", "))]
    OtherServer {
        /// This server's keys.
        ours: Vec<String>,
        /// Those that it names.
        named: Vec<String>,
    },
    /// It is not meant for now.
    #[error("it is meant for the time from {not_before} to {not_after}: seal it anew, or look at the clocks")]
    NotNow {
        /// From when.
        not_before: Timestamp,
        /// Until when.
        not_after: Timestamp,
    },
}

/// The sealed server key that opens uploads here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealingServer {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Bytes of its modulus.
    pub modulus_bytes: usize,
}

/// A sealed upload that may be imported here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedUpload {
    /// The attributes.
    pub draft: ConfigurationDraft,
    /// Bytes of the vending key, by its algorithm.
    pub key_bytes: usize,
    /// The key for each of the sealed server keys that are recipients, in the order of the servers;
    /// none where no key serves the algorithm.
    pub keys: Vec<(Fingerprint, SealedKey)>,
    /// What makes it one.
    pub nonce: Nonce,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl SealedUpload {
    /// Refuses one that is not meant for the time `now`, in seconds since 1970.
    ///
    /// # Errors
    /// [`SealedRefusal::NotNow`].
    pub fn meant_for(&self, now: i64) -> Result<(), SealedRefusal> {
        let (from, to) = (self.not_before.as_second() - CLOCKS_APART, self.not_after.as_second());
        if (from..=to).contains(&now) {
            return Ok(());
        }
        Err(SealedRefusal::NotNow { not_before: self.not_before, not_after: self.not_after })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    purpose: Option<String>,
    nonce: Option<String>,
    not_before: Option<String>,
    not_after: Option<String>,
    attributes: Option<Pairs>,
    kcv: Option<String>,
    recipients: Option<Vec<Recipient>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipient {
    server_key: Option<String>,
    suite: Option<String>,
    vending_key: Option<String>,
    mask: Option<Mask>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mask {
    key: Option<String>,
    iv: Option<String>,
    ciphertext: Option<String>,
}

impl Sealed {
    /// Reads the content for the servers of these keys, at the time `now` (seconds since 1970), which
    /// only warnings depend on.
    ///
    /// # Errors
    /// Every fault of the document, else every fault of the attributes; that it is for none of these
    /// servers.
    pub fn read(&self, servers: &[SealingServer], now: i64) -> Result<SealedUpload, SealedRefusal> {
        read_content(self.content(), servers, now)
    }
}

/// Reads the content of a sealed upload; for one from a network use [`Sealed::read`].
///
/// # Errors
/// As [`Sealed::read`].
pub fn read_content(
    content: &[u8],
    servers: &[SealingServer],
    now: i64,
) -> Result<SealedUpload, SealedRefusal> {
    let content: Content = json("content", content).map_err(SealedRefusal::Malformed)?;
    let mut reader = Reader::default();
    let nonce = reader.sized("nonce", content.nonce).map(Nonce);
    let purpose = reader.required("purpose", content.purpose);
    reader.check("purpose", purpose, PURPOSE, |text| (text == PURPOSE).then_some(()));
    let times = [("not_before", content.not_before), ("not_after", content.not_after)];
    let [not_before, not_after] = times.map(|(name, text)| {
        let text = reader.required(name, text);
        reader.check(name, text, "a time such as 2026-11-27T08:00:00Z", |text| text.parse::<Timestamp>().ok())
    });
    if let (Some(from), Some(to)) = (not_before, not_after)
        && !(0..=LONGEST_VALIDITY).contains(&to.as_second().saturating_sub(from.as_second()))
    {
        reader.fault("not_after", DocumentReason::Value("after not_before, by 31 days at most"));
    }
    let kcv = reader.required("kcv", content.kcv);
    let kcv = reader.check("kcv", kcv, "6 hex digits", |text| {
        let mut bytes = [0; 3];
        hex::decode_to_slice(text, &mut bytes).ok().map(|()| bytes)
    });
    let attributes = reader.required("attributes", content.attributes);
    let recipients = reader.required("recipients", content.recipients).unwrap_or_default();
    if !(1..=MAX_RECIPIENTS).contains(&recipients.len()) {
        reader.fault("recipients", DocumentReason::Value("a list of 1 to 16"));
    }
    let recipients: Vec<Addressed> = recipients
        .into_iter()
        .enumerate()
        .filter_map(|(place, recipient)| reader.recipient(place, recipient))
        .collect();
    reader.unrepeated(&recipients);
    let (Some(nonce), Some(not_before), Some(not_after), Some(kcv), Some(attributes), true) =
        (nonce, not_before, not_after, kcv, attributes, reader.faults.is_empty())
    else {
        return Err(SealedRefusal::Malformed(reader.faults));
    };
    let parsed =
        configuration::read(fields(attributes), KeyPlace::Sealed).map_err(SealedRefusal::Configuration)?;
    let dkga = parsed.attributes.dkga;
    let named: Vec<String> = recipients.iter().map(|one| one.server_key.to_string()).collect();
    let mut ours = Vec::new();
    for server in servers {
        if let Some(one) = recipients.iter().find(|one| one.server_key == server.fingerprint) {
            ours.push((server.fingerprint, one.key(dkga, kcv, server.modulus_bytes)));
        }
    }
    if ours.is_empty() {
        let ours = servers.iter().map(|server| server.fingerprint.to_string()).collect();
        return Err(SealedRefusal::OtherServer { ours, named });
    }
    let (mut keys, mut faults) = (Vec::new(), Vec::new());
    for (server, key) in ours {
        match key {
            Ok(key) => keys.extend(key.map(|key| (server, key))),
            Err(more) => faults.extend(more),
        }
    }
    if !faults.is_empty() {
        return Err(SealedRefusal::Malformed(faults));
    }
    let key_bytes = dkga.vending_key_bytes();
    // Whoever sealed it knows the parity; nobody else does.
    let facts = KeyFacts { bytes: key_bytes, odd_parity: true };
    Ok(SealedUpload { draft: parsed.judge(facts, now), key_bytes, keys, nonce, not_before, not_after })
}

/// The attributes as the reader of configurations takes them.
fn fields(Pairs(pairs): Pairs) -> Fields {
    let mut fields = Fields { entries: Vec::new(), vending_key: None, faults: Vec::new() };
    for (name, value) in pairs {
        let Some(field) = Field::of(name.as_bytes()) else {
            let name = quotable_name(name.as_bytes()).unwrap_or("attributes");
            fields.faults.push(FieldFault::new(name, None, FieldReason::Unknown));
            continue;
        };
        let fault = match field {
            Field::VendingKey => Some(FieldReason::KeyInClear),
            _ if fields.entries.iter().any(|entry| entry.field == field) => Some(FieldReason::Duplicate),
            _ if value.trim().is_empty() => Some(FieldReason::Empty),
            _ => None,
        };
        match fault {
            Some(reason) => fields.faults.push(FieldFault::new(field.name(), None, reason)),
            None => fields.entries.push(Entry { field, line: None, value }),
        }
    }
    fields
}

/// A recipient whose form is right.
struct Addressed {
    place: usize,
    server_key: Fingerprint,
    suite: SealSuite,
    vending_key: Vec<u8>,
    mask: Option<SealedMask>,
}

impl Addressed {
    /// The key for the HSM of this recipient.
    fn key(
        &self,
        dkga: Dkga,
        kcv: [u8; 3],
        modulus_bytes: usize,
    ) -> Result<Option<SealedKey>, Vec<DocumentFault>> {
        let Addressed { place, suite, vending_key, mask, .. } = self;
        let (suite, vending_key, mask) = (*suite, vending_key.clone(), mask.clone());
        let mut faults = Vec::new();
        let mut fault = |field: &str, reason| {
            faults.push(DocumentFault::new(format!("recipients[{place}].{field}"), reason));
        };
        let blobs = [("vending_key", Some(&vending_key)), ("mask.key", mask.as_ref().map(|mask| &mask.key))];
        for (field, blob) in blobs {
            if let Some(blob) = blob
                && blob.len() != modulus_bytes
            {
                fault(field, DocumentReason::Length { bytes: blob.len(), expected: modulus_bytes });
            }
        }
        let class = match (dkga, mask) {
            (Dkga::Dkga02, Some(mask)) => Some(SealedClass::Des { mask }),
            (Dkga::Dkga02, None) => {
                fault("mask", DocumentReason::Missing);
                None
            }
            (_, Some(_)) => {
                fault("mask", DocumentReason::OnlyDkga02);
                None
            }
            (Dkga::Dkga01, None) => None,
            (Dkga::Dkga03, None) => Some(SealedClass::Des2),
            (Dkga::Dkga04, None) => Some(SealedClass::Hmac),
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(class.map(|class| SealedKey { server_key: None, suite, vending_key, kcv, class }))
    }
}

/// Takes fields out one by one and gathers what is wrong.
#[derive(Default)]
struct Reader {
    faults: Vec<DocumentFault>,
}

impl Reader {
    fn fault(&mut self, field: &str, reason: DocumentReason) {
        self.faults.push(DocumentFault::new(field, reason));
    }

    fn required<T>(&mut self, field: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.fault(field, DocumentReason::Missing);
        }
        value
    }

    fn check<T>(
        &mut self,
        field: &str,
        text: Option<String>,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = parse(&text?);
        if parsed.is_none() {
            self.fault(field, DocumentReason::Value(expected));
        }
        parsed
    }

    fn bytes(&mut self, field: &str, text: Option<String>) -> Option<Vec<u8>> {
        match blob::decode(self.required(field, text)?.as_bytes()) {
            Ok(bytes) => Some(bytes),
            Err(fault) => {
                self.fault(field, fault.into());
                None
            }
        }
    }

    fn sized<const N: usize>(&mut self, field: &str, text: Option<String>) -> Option<[u8; N]> {
        let bytes = self.bytes(field, text)?;
        let length = bytes.len();
        let sized = bytes.try_into().ok();
        if sized.is_none() {
            self.fault(field, DocumentReason::Length { bytes: length, expected: N });
        }
        sized
    }

    fn recipient(&mut self, place: usize, recipient: Recipient) -> Option<Addressed> {
        let path = |field: &str| format!("recipients[{place}].{field}");
        let Recipient { server_key, suite, vending_key, mask } = recipient;
        let server_key = self.required(&path("server_key"), server_key);
        let server_key =
            self.check(&path("server_key"), server_key, "64 hex digits", |text| text.parse().ok());
        let suite = self.required(&path("suite"), suite);
        let suite =
            self.check(&path("suite"), suite, "RSA-OAEP-SHA-256 or RSA-OAEP-SHA-1", |text| text.parse().ok());
        let vending_key = self.bytes(&path("vending_key"), vending_key);
        let mask = match mask {
            None => Some(None),
            Some(Mask { key, iv, ciphertext }) => {
                let key = self.bytes(&path("mask.key"), key);
                let iv = self.sized(&path("mask.iv"), iv);
                let ciphertext = self.sized(&path("mask.ciphertext"), ciphertext);
                match (key, iv, ciphertext) {
                    (Some(key), Some(iv), Some(ciphertext)) => Some(Some(SealedMask { key, iv, ciphertext })),
                    _ => None,
                }
            }
        };
        Some(Addressed {
            place,
            server_key: server_key?,
            suite: suite?,
            vending_key: vending_key?,
            mask: mask?,
        })
    }

    fn unrepeated(&mut self, recipients: &[Addressed]) {
        for (place, one) in recipients.iter().enumerate() {
            if recipients[..place].iter().any(|other| other.server_key == one.server_key) {
                let field = format!("recipients[{}].server_key", one.place);
                self.fault(&field, DocumentReason::Repeated);
            }
        }
    }
}
