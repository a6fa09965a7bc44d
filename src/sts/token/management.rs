//! Management tokens of class 2 that carry a TID (STS facts §3.7).

use std::fmt;

use crate::sts::amount::UnitAmount;

/// Why a value fits no management token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// A credit register that the standard does not name.
    #[error("{0} is no credit register: 0 to 7, or 65535 for all")]
    CreditRegister(u16),
    /// An extended function past its six bits of index or ten bits of value.
    #[error("an extended set token has an index of 0 to 63 and a value of 0 to 1023")]
    Extended,
    /// A subclass of class 2 that carries no TID or means nothing here.
    #[error("subclass {0} of class 2 is no management token known here")]
    Subclass(u8),
}

/// Which credit a token clears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CreditRegister {
    /// Electricity, in kWh.
    Electricity,
    /// Water.
    Water,
    /// Gas.
    Gas,
    /// Time.
    Time,
    /// Electricity, in currency.
    ElectricityCurrency,
    /// Water, in currency.
    WaterCurrency,
    /// Gas, in currency.
    GasCurrency,
    /// Time, in currency.
    TimeCurrency,
    /// All of them.
    All,
}

impl CreditRegister {
    /// Every single register, in the order of their numbers 0 to 7.
    const SINGLE: [Self; 8] = [
        Self::Electricity,
        Self::Water,
        Self::Gas,
        Self::Time,
        Self::ElectricityCurrency,
        Self::WaterCurrency,
        Self::GasCurrency,
        Self::TimeCurrency,
    ];

    /// Its number: 0..=7, or 0xFFFF for all.
    pub fn value(self) -> u16 {
        match self {
            Self::All => 0xFFFF,
            single => single as u16,
        }
    }
}

impl fmt::Display for CreditRegister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Electricity => "electricity",
            Self::Water => "water",
            Self::Gas => "gas",
            Self::Time => "time",
            Self::ElectricityCurrency => "electricity currency",
            Self::WaterCurrency => "water currency",
            Self::GasCurrency => "gas currency",
            Self::TimeCurrency => "time currency",
            Self::All => "all",
        })
    }
}

impl TryFrom<u16> for CreditRegister {
    type Error = PayloadError;

    fn try_from(value: u16) -> Result<Self, PayloadError> {
        if value == 0xFFFF {
            return Ok(Self::All);
        }
        Self::SINGLE.get(usize::from(value)).copied().ok_or(PayloadError::CreditRegister(value))
    }
}

/// An extended function of STS 202-5: a value for one of 64 indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExtendedSet {
    index: u8,
    value: u16,
}

impl ExtendedSet {
    /// Of this index (0..=63: 63 is the flag) and value (0..=1023).
    ///
    /// # Errors
    /// [`PayloadError::Extended`].
    pub fn new(index: u8, value: u16) -> Result<Self, PayloadError> {
        if index < 64 && value < 1024 { Ok(Self { index, value }) } else { Err(PayloadError::Extended) }
    }

    /// 0..=63.
    pub fn index(self) -> u8 {
        self.index
    }

    /// 0..=1023.
    pub fn value(self) -> u16 {
        self.value
    }
}

/// A management token of class 2 that carries a TID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Management {
    /// Subclass 0: the largest load, in watts.
    MaximumPowerLimit(UnitAmount),
    /// Subclass 1.
    ClearCredit(CreditRegister),
    /// Subclass 2: a raw register, its meaning the meter's.
    TariffRate(u16),
    /// Subclass 5. Its register is padding: written as 0, not looked at.
    ClearTamper,
    /// Subclass 6: the largest difference between phases, in watts.
    MaximumPhasePowerUnbalance(UnitAmount),
    /// Subclass 7: a raw register, its meaning the meter's.
    WaterMeterFactor(u16),
    /// Subclass 10.
    Extended(ExtendedSet),
}

impl Management {
    /// The subclass of its token.
    pub fn subclass(&self) -> u8 {
        match self {
            Self::MaximumPowerLimit(_) => 0,
            Self::ClearCredit(_) => 1,
            Self::TariffRate(_) => 2,
            Self::ClearTamper => 5,
            Self::MaximumPhasePowerUnbalance(_) => 6,
            Self::WaterMeterFactor(_) => 7,
            Self::Extended(_) => 10,
        }
    }

    /// The 16 bits of its register.
    pub fn register(&self) -> u16 {
        match self {
            Self::MaximumPowerLimit(watts) | Self::MaximumPhasePowerUnbalance(watts) => watts.code(),
            Self::ClearCredit(register) => register.value(),
            Self::TariffRate(raw) | Self::WaterMeterFactor(raw) => *raw,
            Self::ClearTamper => 0,
            Self::Extended(set) => u16::from(set.index) << 10 | set.value,
        }
    }

    /// What this subclass and register say.
    ///
    /// # Errors
    /// [`PayloadError::Subclass`], [`PayloadError::CreditRegister`].
    pub fn from_register(subclass: u8, register: u16) -> Result<Self, PayloadError> {
        match subclass {
            0 => Ok(Self::MaximumPowerLimit(UnitAmount::from_code(register))),
            1 => register.try_into().map(Self::ClearCredit),
            2 => Ok(Self::TariffRate(register)),
            5 => Ok(Self::ClearTamper),
            6 => Ok(Self::MaximumPhasePowerUnbalance(UnitAmount::from_code(register))),
            7 => Ok(Self::WaterMeterFactor(register)),
            10 => ExtendedSet::new((register >> 10) as u8, register & 0x3FF).map(Self::Extended),
            other => Err(PayloadError::Subclass(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_of_published_tokens() {
        let extended =
            |index, value| Management::Extended(ExtendedSet::new(index, value).unwrap()).register();
        assert_eq!(
            [extended(63, 0), extended(63, 1), extended(0, 0), extended(0, 123)],
            [0xFC00, 0xFC01, 0, 0x7B]
        );
        assert_eq!(Management::ClearCredit(CreditRegister::All).register(), 0xFFFF);
    }

    #[test]
    fn values_out_of_range() {
        assert_eq!(ExtendedSet::new(64, 0), Err(PayloadError::Extended));
        assert_eq!(ExtendedSet::new(0, 1024), Err(PayloadError::Extended));
        assert_eq!(CreditRegister::try_from(8), Err(PayloadError::CreditRegister(8)));
        for subclass in [3, 4, 8, 9, 11, 15] {
            assert_eq!(Management::from_register(subclass, 0), Err(PayloadError::Subclass(subclass)));
        }
    }

    #[test]
    fn every_credit_register() {
        for value in (0..8).chain([0xFFFF]) {
            assert_eq!(CreditRegister::try_from(value).unwrap().value(), value);
        }
    }
}
