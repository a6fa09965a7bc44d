//! What a clear block says.

use super::block::ClearBlock;
use super::display::{Display, Proprietary};
use super::key_change::{Section, SectionError};
use super::management::{Management, PayloadError};
use super::payload::{Payload, Service, currency_amount};
use super::rnd::Rnd;
use crate::sts::amount::UnitAmount;
use crate::sts::attributes::EncryptionAlgorithm;
use crate::sts::tid::Tid;

/// Why a block whose CRC holds means nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Reserved by the standard, or (class 2) a manufacturer's own.
    #[error("subclass {subclass} of class {class} is reserved by the standard")]
    UnknownSubclass {
        /// 0, 1 or 2.
        class: u8,
        /// 0..=15.
        subclass: u8,
    },
    /// A management register that does not exist.
    #[error(transparent)]
    Register(PayloadError),
    /// A key-change section with an attribute that does not exist.
    #[error(transparent)]
    Section(#[from] SectionError),
    /// A display token for a manufacturer code that does not exist.
    #[error("the manufacturer code of the display token does not exist")]
    Manufacturer,
}

/// The content of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Credits and management: classes 0 and 2 with a TID.
    Vending {
        /// What it does.
        payload: Payload,
        /// Its RND; currency credits have none.
        rnd: Option<Rnd>,
        /// Its TID.
        tid: Tid,
    },
    /// Class 1, subclasses 0 to 2.
    Display(Display),
    /// Class 1, subclasses 6 to 15: a manufacturer's own.
    Proprietary(Proprietary),
    /// A section of a key change: class 2, subclasses 3, 4, 8 and 9.
    KeyChange(Section),
}

impl Content {
    /// Reads a block. The cipher is asked for because the third key-change section is laid out by
    /// the key's length.
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn parse(block: &ClearBlock, ea: EncryptionAlgorithm) -> Result<Self, ContentError> {
        let (class, subclass) = (block.class(), block.subclass());
        let payload = match (class, subclass) {
            (0, 0..=3) => Payload::Credit {
                service: Service::of_subclass(subclass),
                amount: UnitAmount::from_code(block.field(16, 16) as u16),
            },
            (0, 4..=7) => {
                Payload::Currency { service: Service::of_subclass(subclass), amount: currency_amount(block) }
            }
            (1, 0..=2) => return Display::parse(block).map(Self::Display).ok_or(ContentError::Manufacturer),
            (1, 6..) => {
                let own = Proprietary::parse(block).map(Self::Proprietary);
                return own.ok_or(ContentError::UnknownSubclass { class, subclass });
            }
            (2, 3 | 4 | 8 | 9) => return Ok(Self::KeyChange(Section::parse(block, ea)?)),
            (2, _) => match Management::from_register(subclass, block.field(16, 16) as u16) {
                Ok(management) => Payload::Management(management),
                Err(PayloadError::Subclass(_)) => {
                    return Err(ContentError::UnknownSubclass { class, subclass });
                }
                Err(error) => return Err(ContentError::Register(error)),
            },
            _ => return Err(ContentError::UnknownSubclass { class, subclass }),
        };
        let rnd = payload.carries_rnd().then(|| Rnd::from_random(block.field(56, 4) as u8));
        Ok(Self::Vending { payload, rnd, tid: tid(block) })
    }
}

/// Bits 55..32, so never more than 24.
fn tid(block: &ClearBlock) -> Tid {
    Tid::from_bits(block.field(32, 24) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subclasses_without_meaning() {
        for (class, subclasses) in [(0, 8..16), (1, 3..6), (2, 11..16)] {
            for subclass in subclasses {
                let block = ClearBlock::seal(class, subclass, 0);
                assert_eq!(
                    Content::parse(&block, EncryptionAlgorithm::Ea07),
                    Err(ContentError::UnknownSubclass { class, subclass })
                );
            }
        }
        let block = ClearBlock::seal(2, 1, 8);
        assert_eq!(
            Content::parse(&block, EncryptionAlgorithm::Ea07),
            Err(ContentError::Register(PayloadError::CreditRegister(8)))
        );
        let block = ClearBlock::seal(1, 0, 100);
        assert_eq!(Content::parse(&block, EncryptionAlgorithm::Ea07), Err(ContentError::Manufacturer));
    }
}
