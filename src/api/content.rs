//! The contents of `IssueTokenRequest`, into payloads of the standard and back into words.

use super::{
    parse::{Fields, timestamp},
    v1::{
        ClearCredit, CurrencyCredit, MeterTest, RawRegister, Rounding as WireRounding, TokenIdentifier,
        UnitCredit, clear_credit, currency_credit, issue_token_request::Content as Wire, meter_test,
        unit_credit,
    },
};
use crate::{
    sts::{
        amount::{
            AmountError, CURRENCY_PLACES, CurrencyAmount, Rounding, UNIT_PLACES, UnitAmount, format_decimal,
            parse_decimal,
        },
        attributes::BaseDate,
        tid::Tid,
        token::{CreditRegister, Display, DisplayForm, ExtendedSet, Management, Payload, Service},
    },
    vending::Asked,
};

/// What a request asks for.
pub(super) enum Requested {
    /// A token of class 0 or 2.
    Sequenced(Asked),
    /// A token of class 1.
    Display(Display),
}

/// Parses the content, or notes its faults.
pub(super) fn parse(fields: &mut Fields, wire: Option<Wire>) -> Option<Requested> {
    let Some(wire) = wire else {
        fields.fault("content", "is missing: say which token, such as electricity_credit");
        return None;
    };
    let asked = match wire {
        Wire::ElectricityCredit(credit) => units(fields, "electricity_credit", Service::Electricity, credit),
        Wire::WaterCredit(credit) => units(fields, "water_credit", Service::Water, credit),
        Wire::GasCredit(credit) => units(fields, "gas_credit", Service::Gas, credit),
        Wire::TimeCredit(credit) => units(fields, "time_credit", Service::Time, credit),
        Wire::ElectricityCurrencyCredit(credit) => {
            currency(fields, "electricity_currency_credit", Service::Electricity, credit)
        }
        Wire::WaterCurrencyCredit(credit) => {
            currency(fields, "water_currency_credit", Service::Water, credit)
        }
        Wire::GasCurrencyCredit(credit) => currency(fields, "gas_currency_credit", Service::Gas, credit),
        Wire::TimeCurrencyCredit(credit) => currency(fields, "time_currency_credit", Service::Time, credit),
        Wire::MeterTest(test) => return display(fields, test).map(Requested::Display),
        Wire::MaximumPowerLimit(power) => {
            watts(fields, "maximum_power_limit.watts", power.watts, Management::MaximumPowerLimit)
        }
        Wire::MaximumPhasePowerUnbalance(power) => watts(
            fields,
            "maximum_phase_power_unbalance.watts",
            power.watts,
            Management::MaximumPhasePowerUnbalance,
        ),
        Wire::ClearCredit(clear) => cleared(fields, &clear).map(Management::ClearCredit).map(register),
        Wire::TariffRate(raw) => {
            raw_register(fields, "tariff_rate.value", raw).map(Management::TariffRate).map(register)
        }
        Wire::ClearTamper(_) => Some(register(Management::ClearTamper)),
        Wire::WaterMeterFactor(raw) => raw_register(fields, "water_meter_factor.value", raw)
            .map(Management::WaterMeterFactor)
            .map(register),
        Wire::Extended(wire) => {
            let index = u8::try_from(wire.index).unwrap_or(u8::MAX);
            let value = u16::try_from(wire.value).unwrap_or(u16::MAX);
            fields.take("extended", ExtendedSet::new(index, value)).map(Management::Extended).map(register)
        }
    };
    asked.map(Requested::Sequenced)
}

fn rounding(fields: &mut Fields, field: &str, wire: i32) -> Rounding {
    match WireRounding::try_from(wire) {
        Ok(WireRounding::Unspecified) => Rounding::Refuse,
        Ok(WireRounding::Up) => Rounding::Up,
        Err(_) => {
            fields.fault(&format!("{field}.rounding"), "is no rounding");
            Rounding::Refuse
        }
    }
}

fn units(fields: &mut Fields, field: &str, service: Service, credit: UnitCredit) -> Option<Asked> {
    let rounding = rounding(fields, field, credit.rounding);
    let (name, parsed) = match &credit.amount {
        Some(unit_credit::Amount::Decimal(text)) => ("decimal", parse_decimal(text, UNIT_PLACES, rounding)),
        Some(unit_credit::Amount::Tenths(tenths)) => ("tenths", Ok(i128::from(*tenths))),
        None => {
            fields.fault(field, "is missing: give decimal or tenths");
            return None;
        }
    };
    let coded = parsed.and_then(|units| {
        let largest = AmountError::TooLarge { largest: u128::from(UnitAmount::LARGEST) };
        match u32::try_from(units) {
            _ if units < 0 => Err(AmountError::Negative),
            Ok(few) => Ok((units, UnitAmount::from_units(few)?)),
            Err(_) => Err(largest),
        }
    });
    let (exact, amount) = fields.take(&format!("{field}.{name}"), coded)?;
    Some(Asked { payload: Payload::Credit { service, amount }, exact })
}

fn currency(fields: &mut Fields, field: &str, service: Service, credit: CurrencyCredit) -> Option<Asked> {
    let rounding = rounding(fields, field, credit.rounding);
    let (name, parsed) = match &credit.amount {
        Some(currency_credit::Amount::Decimal(text)) => {
            ("decimal", parse_decimal(text, CURRENCY_PLACES, rounding))
        }
        Some(currency_credit::Amount::Units(text)) => ("units", parse_decimal(text, 0, Rounding::Refuse)),
        None => {
            fields.fault(field, "is missing: give decimal or units");
            return None;
        }
    };
    let coded = parsed.and_then(|units| Ok((units, CurrencyAmount::from_units(units)?)));
    let (exact, amount) = fields.take(&format!("{field}.{name}"), coded)?;
    Some(Asked { payload: Payload::Currency { service, amount }, exact })
}

fn watts(
    fields: &mut Fields,
    field: &str,
    watts: u64,
    limit: impl Fn(UnitAmount) -> Management,
) -> Option<Asked> {
    let largest = AmountError::TooLarge { largest: u128::from(UnitAmount::LARGEST) };
    let coded = u32::try_from(watts).map_err(|_| largest).and_then(UnitAmount::from_units);
    let amount = fields.take(field, coded)?;
    Some(Asked { payload: Payload::Management(limit(amount)), exact: watts.into() })
}

fn raw_register(fields: &mut Fields, field: &str, raw: RawRegister) -> Option<u16> {
    fields.take(field, u16::try_from(raw.value).map_err(|_| "a register is 0 to 65535"))
}

/// A management token that says exactly what was asked for.
fn register(management: Management) -> Asked {
    Asked { payload: Payload::Management(management), exact: management.register().into() }
}

fn cleared(fields: &mut Fields, clear: &ClearCredit) -> Option<CreditRegister> {
    use clear_credit::Register as Wire;
    match Wire::try_from(clear.register) {
        Ok(Wire::Electricity) => Some(CreditRegister::Electricity),
        Ok(Wire::Water) => Some(CreditRegister::Water),
        Ok(Wire::Gas) => Some(CreditRegister::Gas),
        Ok(Wire::Time) => Some(CreditRegister::Time),
        Ok(Wire::ElectricityCurrency) => Some(CreditRegister::ElectricityCurrency),
        Ok(Wire::WaterCurrency) => Some(CreditRegister::WaterCurrency),
        Ok(Wire::GasCurrency) => Some(CreditRegister::GasCurrency),
        Ok(Wire::TimeCurrency) => Some(CreditRegister::TimeCurrency),
        Ok(Wire::All) => Some(CreditRegister::All),
        Ok(Wire::Unspecified) | Err(_) => {
            fields.fault("clear_credit.register", "is missing: say which, or ALL");
            None
        }
    }
}

fn display(fields: &mut Fields, wire: MeterTest) -> Option<Display> {
    let form = match meter_test::Form::try_from(wire.form) {
        Ok(meter_test::Form::Unspecified | meter_test::Form::TwoDigit) => DisplayForm::TwoDigit,
        Ok(meter_test::Form::FourDigit) => DisplayForm::FourDigit,
        Err(_) => {
            fields.fault("meter_test.form", "is no form");
            return None;
        }
    };
    if matches!(wire.test, Some(meter_test::Test::ExtendedRead(_))) {
        // Its form and manufacturer code are its own: what names others would be forgotten
        // silently.
        for (name, is_given) in [
            ("meter_test.form", wire.form != i32::from(meter_test::Form::Unspecified)),
            ("meter_test.manufacturer_code", wire.manufacturer_code != 0),
        ] {
            if is_given {
                fields.fault(name, "does not go with extended_read, which fits every meter");
            }
        }
    }
    let manufacturer = u16::try_from(wire.manufacturer_code).unwrap_or(u16::MAX);
    let display = match wire.test {
        None => {
            fields.fault("meter_test", "is missing: give all, control or extended_read");
            return None;
        }
        Some(meter_test::Test::All(_)) => Display::new(form, Display::all(form).control(), manufacturer),
        Some(meter_test::Test::Control(control)) => Display::new(form, control, manufacturer),
        Some(meter_test::Test::ExtendedRead(index)) => Display::read(u8::try_from(index).unwrap_or(u8::MAX)),
    };
    fields.take("meter_test", display)
}

/// The kind of a token of class 1 in words.
pub(super) fn display_kind(display: &Display) -> &'static str {
    match display.form() {
        DisplayForm::Extended => "extended read",
        _ if display.is_all() => "meter test: all",
        DisplayForm::TwoDigit | DisplayForm::FourDigit => "meter test",
    }
}

/// A TID with its time.
pub(super) fn identifier(tid: Tid, base_date: BaseDate) -> TokenIdentifier {
    TokenIdentifier {
        value: tid.value(),
        time: Some(timestamp(tid.unix_seconds(base_date).saturating_mul(1000))),
    }
}

/// The kind of a token in words.
pub(super) fn kind(payload: &Payload) -> String {
    match payload {
        Payload::Credit { service, .. } => format!("{service} credit"),
        Payload::Currency { service, .. } => format!("{service} currency credit"),
        Payload::Management(management) => match management {
            Management::MaximumPowerLimit(_) => "maximum power limit".to_owned(),
            Management::ClearCredit(register) => format!("clear credit ({register})"),
            Management::TariffRate(_) => "tariff rate".to_owned(),
            Management::ClearTamper => "clear tamper".to_owned(),
            Management::MaximumPhasePowerUnbalance(_) => "maximum phase power unbalance limit".to_owned(),
            Management::WaterMeterFactor(_) => "water meter factor".to_owned(),
            Management::Extended(set) => format!("extended function {}", set.index()),
        },
    }
}

/// What a meter books: the exact number, its unit, and the integer of least units.
pub(super) fn transferred(payload: &Payload) -> Option<(String, &'static str, i128)> {
    match payload {
        Payload::Credit { service, amount } => {
            let units = i128::from(amount.units());
            Some((format_decimal(units, UNIT_PLACES), service.unit(), units))
        }
        Payload::Currency { amount, .. } => {
            Some((format_decimal(amount.units(), CURRENCY_PLACES), "", amount.units()))
        }
        Payload::Management(
            Management::MaximumPowerLimit(watts) | Management::MaximumPhasePowerUnbalance(watts),
        ) => Some((watts.units().to_string(), "W", watts.units().into())),
        Payload::Management(_) => None,
    }
}
