//! Kinds of tokens.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Group;
use super::named::{UnknownName, named};
use crate::sts::token::{Management, Payload, Service};

named! {
    /// A kind of token, by what a request asks for.
    TokenKind, "a kind of token" {
        /// Units of electricity.
        ElectricityCredit = "electricity_credit",
        /// Units of water.
        WaterCredit = "water_credit",
        /// Units of gas.
        GasCredit = "gas_credit",
        /// Units of time.
        TimeCredit = "time_credit",
        /// Currency for electricity.
        ElectricityCurrencyCredit = "electricity_currency_credit",
        /// Currency for water.
        WaterCurrencyCredit = "water_currency_credit",
        /// Currency for gas.
        GasCurrencyCredit = "gas_currency_credit",
        /// Currency for time.
        TimeCurrencyCredit = "time_currency_credit",
        /// Class 1.
        MeterTest = "meter_test",
        /// Set the largest load.
        MaximumPowerLimit = "maximum_power_limit",
        /// Clear a credit register.
        ClearCredit = "clear_credit",
        /// Set the tariff rate.
        TariffRate = "tariff_rate",
        /// Clear a tamper condition.
        ClearTamper = "clear_tamper",
        /// Set the largest difference between phases.
        MaximumPhasePowerUnbalance = "maximum_phase_power_unbalance",
        /// Set the water meter's factor.
        WaterMeterFactor = "water_meter_factor",
        /// The extended functions of STS 202-5.
        Extended = "extended",
    }
}

impl TokenKind {
    /// The kind of a token of class 0 or 2.
    pub fn of(payload: &Payload) -> Self {
        match payload {
            Payload::Credit { service, .. } => match service {
                Service::Electricity => Self::ElectricityCredit,
                Service::Water => Self::WaterCredit,
                Service::Gas => Self::GasCredit,
                Service::Time => Self::TimeCredit,
            },
            Payload::Currency { service, .. } => match service {
                Service::Electricity => Self::ElectricityCurrencyCredit,
                Service::Water => Self::WaterCurrencyCredit,
                Service::Gas => Self::GasCurrencyCredit,
                Service::Time => Self::TimeCurrencyCredit,
            },
            Payload::Management(management) => match management {
                Management::MaximumPowerLimit(_) => Self::MaximumPowerLimit,
                Management::ClearCredit(_) => Self::ClearCredit,
                Management::TariffRate(_) => Self::TariffRate,
                Management::ClearTamper => Self::ClearTamper,
                Management::MaximumPhasePowerUnbalance(_) => Self::MaximumPhasePowerUnbalance,
                Management::WaterMeterFactor(_) => Self::WaterMeterFactor,
                Management::Extended(_) => Self::Extended,
            },
        }
    }

    /// Whether it transfers credit, which amounts limit.
    pub fn is_credit(self) -> bool {
        self < Self::MeterTest
    }

    /// What one must be permitted to do to issue it.
    pub fn group(self) -> Group {
        if self <= Self::MeterTest { Group::Vend } else { Group::Manage }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_know_their_groups() {
        for kind in TokenKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
            assert_eq!(
                kind.is_credit(),
                kind.as_str().ends_with("_credit") && *kind != TokenKind::ClearCredit
            );
        }
        assert_eq!(TokenKind::MeterTest.group(), Group::Vend);
        assert_eq!(TokenKind::MaximumPowerLimit.group(), Group::Manage);
    }
}
