//! What a meter answers to a token.

use std::fmt;

use crate::sts::amount::{CURRENCY_PLACES, UNIT_PLACES, format_decimal};
use crate::sts::attributes::{KeyExpiry, KeyRevision, KeyType, SupplyGroupCode, TariffIndex};
use crate::sts::tid::Tid;
use crate::sts::token::{ContentError, CreditRegister, Display, ExtendedSet, Service, TokenError};

/// The meter's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The token did what it says.
    Accepted(Effect),
    /// The token did nothing.
    Rejected(Rejection),
}

/// What a token did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Units were credited.
    Credited {
        /// Which register.
        service: Service,
        /// How many tenths of its unit.
        units: u32,
        /// What it holds now, in tenths.
        balance: u64,
    },
    /// Currency was credited, or debited.
    CreditedCurrency {
        /// Which register.
        service: Service,
        /// How much, in 10^-5 of the base currency.
        units: i128,
        /// What it holds now.
        balance: i128,
    },
    /// Credit was cleared.
    Cleared(CreditRegister),
    /// The largest load is this now, in watts.
    PowerLimit(u32),
    /// The largest difference between phases is this now, in watts.
    PhaseUnbalanceLimit(u32),
    /// The tariff rate is this raw register now.
    TariffRate(u16),
    /// The water meter factor is this raw register now.
    WaterMeterFactor(u16),
    /// The tamper condition is cleared.
    TamperCleared,
    /// An extended function was set.
    Extended(ExtendedSet),
    /// The meter shows or tests something.
    Displayed(Display),
    /// A section of a key change was kept; more are to come.
    SectionKept {
        /// How many, as far as can be told.
        missing: usize,
    },
    /// The key was changed.
    KeyChanged(NewKey),
}

/// The attributes that a key change brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Key type.
    pub kt: KeyType,
    /// Key revision number.
    pub krn: KeyRevision,
    /// Tariff index.
    pub ti: TariffIndex,
    /// Key expiry number.
    pub ken: KeyExpiry,
    /// Supply group code, unless a pair left it out.
    pub sgc: Option<SupplyGroupCode>,
    /// Whether the meter forgot the TIDs that it had seen.
    pub roll_over: bool,
}

/// Why a token did nothing. In the order in which a meter looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// What was typed is no token.
    #[error("format error: {0}")]
    Format(#[from] TokenError),
    /// Class 3.
    #[error("token error: class 3 is reserved")]
    Class,
    /// Mistyped, for another meter, or under another key.
    #[error("CRC error: mistyped, for another meter, or under another key")]
    Crc,
    /// Reserved, or without meaning.
    #[error("function error: {0}")]
    Function(#[from] ContentError),
    /// The token is newer than the key may serve.
    #[error("key expired error: TID {}", .0.value())]
    KeyExpired(Tid),
    /// Credit under an initialisation or default key.
    #[error("DDTK error: no credit under a key of type {0}")]
    DefaultKey(KeyType),
    /// Entered before.
    #[error("used error: TID {} was entered before", .0.value())]
    Used(Tid),
    /// Older than every token that the meter remembers.
    #[error("old error: TID {} is older than all that are remembered", .0.value())]
    Old(Tid),
    /// A display token for another manufacturer's meters.
    #[error("manufacturer code error")]
    Manufacturer,
    /// The credit register would not hold it.
    #[error("overflow error: the credit register cannot hold it")]
    Overflow,
    /// A key change that the current key's type does not allow.
    #[error("key type error: {current} does not become {new}")]
    KeyType {
        /// Of the current key.
        current: KeyType,
        /// Of the new key.
        new: KeyType,
    },
    /// The sections of a key change do not make up a supply group code.
    #[error("key change error: the sections do not fit together")]
    Sections,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(effect) => write!(f, "accepted: {effect}"),
            Self::Rejected(rejection) => write!(f, "rejected: {rejection}"),
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credited { service, units, balance } => {
                let (units, balance) = (i128::from(*units), i128::from(*balance));
                let (units, balance) =
                    (format_decimal(units, UNIT_PLACES), format_decimal(balance, UNIT_PLACES));
                let unit = service.unit();
                write!(f, "{units} {unit} of {service}, {balance} {unit} now")
            }
            Self::CreditedCurrency { service, units, balance } => {
                let units = format_decimal(*units, CURRENCY_PLACES);
                let balance = format_decimal(*balance, CURRENCY_PLACES);
                write!(f, "{units} in currency for {service}, {balance} now")
            }
            Self::Cleared(register) => write!(f, "credit cleared: {register}"),
            Self::PowerLimit(watts) => write!(f, "power limit {watts} W"),
            Self::PhaseUnbalanceLimit(watts) => write!(f, "phase power unbalance limit {watts} W"),
            Self::TariffRate(rate) => write!(f, "tariff rate {rate}"),
            Self::WaterMeterFactor(factor) => write!(f, "water meter factor {factor}"),
            Self::TamperCleared => f.write_str("tamper condition cleared"),
            Self::Extended(set) => write!(f, "extended function {} set to {}", set.index(), set.value()),
            Self::Displayed(display) if display.is_all() => f.write_str("test 0: every test"),
            Self::Displayed(display) => write!(f, "display, control bits {:#x}", display.control()),
            Self::SectionKept { missing: 1 } => f.write_str("key change: 1 more token"),
            Self::SectionKept { missing } => write!(f, "key change: {missing} more tokens"),
            Self::KeyChanged(NewKey { kt, krn, ti, ken, sgc, roll_over }) => {
                write!(f, "key changed: key type {kt}, revision {krn}, tariff {ti}, expiry {ken}")?;
                match sgc {
                    Some(sgc) => write!(f, ", supply group {sgc}")?,
                    // A set of two does not carry it.
                    None => f.write_str(", supply group unknown")?,
                }
                if *roll_over { f.write_str(", roll-over: earlier TIDs forgotten") } else { Ok(()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_meter_shows() {
        assert_eq!(Effect::Cleared(CreditRegister::GasCurrency).to_string(), "credit cleared: gas currency");
        let mut key = NewKey {
            kt: KeyType::Dutk,
            krn: "2".parse().unwrap(),
            ti: "07".parse().unwrap(),
            ken: KeyExpiry(255),
            sgc: None,
            roll_over: false,
        };
        let shown = "key changed: key type 2, revision 2, tariff 07, expiry 255";
        assert_eq!(Effect::KeyChanged(key).to_string(), format!("{shown}, supply group unknown"));
        key.sgc = Some("201457".parse().unwrap());
        key.roll_over = true;
        assert_eq!(
            Effect::KeyChanged(key).to_string(),
            format!("{shown}, supply group 201457, roll-over: earlier TIDs forgotten")
        );
    }
}
