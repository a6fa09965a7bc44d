//! A row of the ledger in plain values: the one place where it is transcribed.
//!
//! Every engine keeps [`RowFields`], column by column. They become a [`TokenRow`], which is
//! checked, or the entry of the chain, which says what is there so that its verification finds what
//! was changed.

use thiserror::Error;
use uuid::Uuid;

use super::{RowContent, Sequence, TokenRow};
use crate::audit::{
    ChainEnd, Entry, Hash, KeyChangeBits, Line, Record, RowKind, Subject, TokenEntry, commitment,
};
use crate::id::{ClientId, ConfigurationId};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;
use crate::sts::token::{ClearBlock, Rnd};

/// A value that this program never writes, by the name of its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a value of issued_tokens.{0}")]
pub struct Foreign(pub &'static str);

/// What is recorded of a token, in plain values. What a kind of row has not is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentFields {
    /// Which kind of row.
    pub kind: RowKind,
    /// The configuration whose key encrypts it.
    pub configuration: Option<ConfigurationId>,
    /// The 18 digits of the meter as a number.
    pub pan: Option<i64>,
    /// The year of the base date from which `tid` counts.
    pub base_date: Option<u16>,
    /// The TID.
    pub tid: Option<u32>,
    /// The RND, 0 to 15.
    pub rnd: Option<u8>,
    /// The class of the clear block, 0 to 2.
    pub class: Option<u8>,
    /// The 64 bits of the clear block.
    pub block: Option<u64>,
    /// The configuration to which a key change carries the meter.
    pub target: Option<ConfigurationId>,
    /// The RO bit of a key change.
    pub roll_over: Option<bool>,
    /// Whether a key change carries the new supply group code.
    pub transfer_sgc: Option<bool>,
}

impl From<&RowContent> for ContentFields {
    fn from(content: &RowContent) -> Self {
        let mut fields = Self {
            kind: content.kind(),
            configuration: content.configuration(),
            pan: content.meter().map(|meter| meter.number()),
            base_date: None,
            tid: None,
            rnd: None,
            class: None,
            block: None,
            target: None,
            roll_over: None,
            transfer_sgc: None,
        };
        match content {
            RowContent::Sequenced { base_date, tid, rnd, block, .. } => {
                fields.base_date = Some(base_date.year());
                fields.tid = Some(tid.value());
                fields.rnd = rnd.map(Rnd::value);
                fields.set_block(block);
            }
            RowContent::Fixed { block, .. } => fields.set_block(block),
            RowContent::KeyChange { target, roll_over, transfer_sgc, .. } => {
                fields.target = Some(*target);
                fields.roll_over = Some(*roll_over);
                fields.transfer_sgc = Some(*transfer_sgc);
            }
        }
        fields
    }
}

impl ContentFields {
    fn set_block(&mut self, block: &ClearBlock) {
        self.class = Some(block.class());
        self.block = Some(block.bits());
    }

    /// The clear block; a block whose CRC does not hold is none of ours.
    fn clear_block(&self) -> Result<ClearBlock, Foreign> {
        let (class, bits) = self.class.zip(self.block).ok_or(Foreign("block"))?;
        ClearBlock::from_parts(class, bits).map_err(|_| Foreign("block"))
    }

    /// The row as its record says it.
    fn entry(&self, client: ClientId, credential: &str, request_id: Uuid, subject: [u8; 32]) -> TokenEntry {
        let key_change = self.target.map(|target| KeyChangeBits {
            target: target.to_bytes(),
            roll_over: self.roll_over.unwrap_or_default(),
            transfer_sgc: self.transfer_sgc.unwrap_or_default(),
        });
        TokenEntry {
            client: client.to_bytes(),
            credential: credential.to_owned(),
            request_id: request_id.into_bytes(),
            kind: self.kind,
            configuration: self.configuration.map(ConfigurationId::to_bytes),
            base_date: self.base_date,
            tid: self.tid,
            rnd: self.rnd,
            block: self.class.zip(self.block),
            key_change,
            subject,
        }
    }
}

impl TryFrom<ContentFields> for RowContent {
    type Error = Foreign;

    fn try_from(fields: ContentFields) -> Result<Self, Foreign> {
        let meter = fields.pan.map(MeterPan::from_number).transpose().map_err(|_| Foreign("pan"))?;
        match (fields.kind, fields.configuration, meter) {
            (RowKind::Sequenced, Some(configuration), Some(meter)) => {
                let year = fields.base_date.ok_or(Foreign("base_date"))?;
                let base_date = BaseDate::try_from(year).map_err(|_| Foreign("base_date"))?;
                let tid = Tid::new(fields.tid.ok_or(Foreign("tid"))?).map_err(|_| Foreign("tid"))?;
                let rnd = fields.rnd.map(Rnd::try_from).transpose().map_err(|_| Foreign("rnd"))?;
                let block = fields.clear_block()?;
                // The columns repeat the block's TID (bits 55..32, STS facts §3.3). A block of key
                // bits is never stored.
                let in_block = block.bits() >> 32 & 0xFF_FFFF;
                if block.class() == 1 || block.is_key_change() || in_block != u64::from(tid.value()) {
                    return Err(Foreign("block"));
                }
                Ok(Self::Sequenced { configuration, meter, base_date, tid, rnd, block })
            }
            (RowKind::Fixed, configuration, meter) => {
                let block = fields.clear_block()?;
                if block.class() != 1 {
                    return Err(Foreign("block"));
                }
                Ok(Self::Fixed { configuration, meter, block })
            }
            (RowKind::KeyChange, Some(configuration), Some(meter)) => Ok(Self::KeyChange {
                configuration,
                meter,
                target: fields.target.ok_or(Foreign("target"))?,
                roll_over: fields.roll_over.ok_or(Foreign("roll_over"))?,
                transfer_sgc: fields.transfer_sgc.ok_or(Foreign("transfer_sgc"))?,
            }),
            _ => Err(Foreign("kind")),
        }
    }
}

/// A row of the ledger as a database keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFields {
    /// Its number: which chain, and the position of its record there.
    pub sequence: i64,
    /// Who asked.
    pub client: ClientId,
    /// With which credential (the key id).
    pub credential: String,
    /// The caller's name of the request.
    pub request_id: Uuid,
    /// SHA-256 over the canonical request.
    pub request_hash: [u8; 32],
    /// When it was issued.
    pub issued_ms: i64,
    /// What it is.
    pub content: ContentFields,
    /// The hash of its record.
    pub hash: Hash,
}

impl TryFrom<RowFields> for TokenRow {
    type Error = Foreign;

    fn try_from(fields: RowFields) -> Result<Self, Foreign> {
        Ok(Self {
            sequence: Sequence::new(fields.sequence).ok_or(Foreign("sequence"))?,
            client: fields.client,
            credential: fields.credential,
            request_id: fields.request_id,
            request_hash: fields.request_hash,
            issued_ms: fields.issued_ms,
            content: fields.content.try_into()?,
        })
    }
}

impl RowFields {
    /// The record of the row, as it stands now, in a chain; with what its commitment opens to if
    /// that is wanted.
    ///
    /// # Errors
    /// [`Foreign`] for a number that no row has.
    pub fn line(self, end: &ChainEnd, opening: bool) -> Result<Line, Foreign> {
        let position = Sequence::new(self.sequence).ok_or(Foreign("sequence"))?.position();
        let pan = self.content.pan.map(|pan| format!("{pan:018}"));
        let subject = Subject { pan, request_hash: self.request_hash };
        let salt = end.salts.salt(position);
        let entry =
            self.content.entry(self.client, &self.credential, self.request_id, subject.commitment(salt));
        Ok(Line {
            chain: end.head.chain,
            record: Record { position, at_ms: self.issued_ms, entry: Entry::Token(entry) },
            hash: self.hash,
            opening: opening.then_some((subject, salt)),
        })
    }
}

/// Appends the record of a row that is to be written, and answers its position and its hash.
pub(super) fn append(
    end: &mut ChainEnd,
    client: ClientId,
    credential: &str,
    request_id: Uuid,
    request_hash: &[u8; 32],
    issued_ms: i64,
    content: &RowContent,
) -> (u64, Hash) {
    let meter = content.meter();
    let subject = commitment(meter.as_ref().map(MeterPan::as_str), request_hash, end.next_salt());
    let entry = ContentFields::from(content).entry(client, credential, request_id, subject);
    end.append(issued_ms, Entry::Token(entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{ChainId, ChainNumber, Head, SaltSource};
    use crate::sts::amount::UnitAmount;
    use crate::sts::token::{Display, DisplayForm, Payload, Service};

    fn contents() -> Vec<RowContent> {
        let meter = MeterPan::parse("11111111115", "600727".parse().unwrap()).unwrap();
        let (configuration, target) = (ConfigurationId::generate(), ConfigurationId::generate());
        let (rnd, tid) = (Rnd::from_random(5), Tid::new(100).unwrap());
        let payload = Payload::Credit { service: Service::Electricity, amount: UnitAmount::from_code(25) };
        vec![
            RowContent::Sequenced {
                configuration,
                meter,
                base_date: BaseDate::Y2014,
                tid,
                rnd: Some(rnd),
                block: payload.block(rnd, tid),
            },
            RowContent::Fixed {
                configuration: None,
                meter: None,
                block: Display::all(DisplayForm::TwoDigit).block(),
            },
            RowContent::KeyChange { configuration, meter, target, roll_over: true, transfer_sgc: false },
        ]
    }

    fn end() -> ChainEnd {
        let head = Head { chain: ChainId([1; 16]), position: 6, hash: Hash([2; 32]) };
        ChainEnd { number: ChainNumber::FIRST, head, salts: SaltSource([3; 32]), at_ms: 0 }
    }

    #[test]
    fn a_content_comes_back_as_it_was() {
        for content in contents() {
            let fields = ContentFields::from(&content);
            assert_eq!(RowContent::try_from(fields), Ok(content));
        }
    }

    #[test]
    fn what_is_read_again_has_the_record_that_was_appended() {
        for content in contents() {
            let mut appended = end();
            let (client, id, hash) = (ClientId::generate(), Uuid::from_bytes([4; 16]), [5; 32]);
            let (position, record) = append(&mut appended, client, "till-1", id, &hash, 7, &content);
            let fields = RowFields {
                sequence: i64::try_from(position).unwrap(),
                client,
                credential: "till-1".into(),
                request_id: id,
                request_hash: hash,
                issued_ms: 7,
                content: ContentFields::from(&content),
                hash: record,
            };
            let line = fields.line(&appended, true).unwrap();
            assert_eq!(line.record.hash(end().head.chain, end().head.hash), record);
        }
    }

    #[test]
    fn foreign_values_are_refused_by_name() {
        let fields = ContentFields::from(&contents()[0]);
        for (changed, column) in [
            (ContentFields { pan: Some(7), ..fields }, "pan"),
            (ContentFields { base_date: Some(2000), ..fields }, "base_date"),
            (ContentFields { tid: Some(1 << 24), ..fields }, "tid"),
            (ContentFields { tid: Some(99), ..fields }, "block"),
            (ContentFields { rnd: Some(16), ..fields }, "rnd"),
            (ContentFields { class: Some(1), ..fields }, "block"),
            (ContentFields { block: fields.block.map(|bits| bits ^ 1), ..fields }, "block"),
            (ContentFields { configuration: None, ..fields }, "kind"),
        ] {
            assert_eq!(RowContent::try_from(changed), Err(Foreign(column)), "{changed:?}");
        }
    }
}
