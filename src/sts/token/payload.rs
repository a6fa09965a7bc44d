//! Credits, and the common form of all tokens that carry a TID (STS facts §3.3, §3.4).

use std::fmt;

use super::block::{ClearBlock, RegisterClass};
use super::management::Management;
use super::rnd::Rnd;
use crate::sts::amount::{CurrencyAmount, UnitAmount};
use crate::sts::tid::Tid;

/// What a credit pays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// In kWh.
    Electricity = 0,
    /// In kl (m3).
    Water = 1,
    /// In m3.
    Gas = 2,
    /// In minutes.
    Time = 3,
}

impl Service {
    /// All four, in the order of their subclasses.
    pub const ALL: [Self; 4] = [Self::Electricity, Self::Water, Self::Gas, Self::Time];

    /// The service whose number (0..=3) is the lower half of the subclass.
    pub(super) fn of_subclass(subclass: u8) -> Self {
        Self::ALL[usize::from(subclass & 0b11)]
    }

    /// The unit of its credits; a token counts them in tenths.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Electricity => "kWh",
            Self::Water => "kl",
            Self::Gas => "m3",
            Self::Time => "min",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Electricity => "electricity",
            Self::Water => "water",
            Self::Gas => "gas",
            Self::Time => "time",
        })
    }
}

/// The valid content of a token that carries a TID (classes 0 and 2, but for key changes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Class 0, subclasses 0 to 3: units of a service.
    Credit {
        /// What of.
        service: Service,
        /// How much, in tenths of the service's unit.
        amount: UnitAmount,
    },
    /// Class 0, subclasses 4 to 7: currency for a service.
    Currency {
        /// What for.
        service: Service,
        /// How much, in 10^-5 of the base currency; may be negative.
        amount: CurrencyAmount,
    },
    /// Class 2.
    Management(Management),
}

impl Payload {
    /// Class and subclass of its token.
    pub fn class_subclass(&self) -> (u8, u8) {
        match self {
            Self::Credit { service, .. } => (0, *service as u8),
            Self::Currency { service, .. } => (0, 4 + *service as u8),
            Self::Management(management) => (2, management.subclass()),
        }
    }

    /// Whether its block holds an RND; currency credits have their sign and exponent there.
    pub fn carries_rnd(&self) -> bool {
        !matches!(self, Self::Currency { .. })
    }

    /// The block of its token; `rnd` is left out where [`Payload::carries_rnd`] is false.
    pub fn block(&self, rnd: Rnd, tid: Tid) -> ClearBlock {
        let (_, subclass) = self.class_subclass();
        match self {
            Self::Credit { amount, .. } => {
                ClearBlock::with_register(RegisterClass::Credit, subclass, rnd, tid, amount.code())
            }
            Self::Currency { amount, .. } => ClearBlock::seal(0, subclass, currency_content(*amount, tid)),
            Self::Management(management) => ClearBlock::with_register(
                RegisterClass::Management,
                subclass,
                rnd,
                tid,
                management.register(),
            ),
        }
    }
}

/// The 44 bits of a currency credit: sign (bit 59 of the block), the exponent's three high bits
/// (58..56), TID (55..32), the exponent's two low bits (31..30), mantissa (29..16).
fn currency_content(amount: CurrencyAmount, tid: Tid) -> u64 {
    let exponent = u64::from(amount.exponent());
    u64::from(amount.is_negative()) << 43
        | (exponent >> 2) << 40
        | u64::from(tid.value()) << 16
        | (exponent & 0b11) << 14
        | u64::from(amount.mantissa())
}

/// The amount of a block of class 0, subclasses 4 to 7.
pub(super) fn currency_amount(block: &ClearBlock) -> CurrencyAmount {
    let exponent = block.field(56, 3) << 2 | block.field(30, 2);
    CurrencyAmount::from_fields(block.field(59, 1) == 1, exponent as u8, block.field(16, 14) as u16)
}
