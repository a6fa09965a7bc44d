//! What a token transfers: a kind and an amount, as people write them.

use crate::{
    api::v1::{
        ClearCredit, ClearTamper, CurrencyCredit, Power, RawRegister, Rounding as Wire, UnitCredit,
        clear_credit::Register, currency_credit, issue_token_request::Content, unit_credit,
    },
    sts::amount::{
        AmountError, CURRENCY_PLACES, CurrencyAmount, Rounding, UNIT_PLACES, UnitAmount, parse_decimal,
    },
    table::{DecimalMark, decimal, whole},
};

/// The kinds, as the input names them.
pub(super) const KINDS: [&str; 14] = [
    "electricity",
    "water",
    "gas",
    "time",
    "electricity_currency",
    "water_currency",
    "gas_currency",
    "time_currency",
    "maximum_power_limit",
    "phase_unbalance",
    "tariff_rate",
    "water_meter_factor",
    "clear_tamper",
    "clear_credit",
];

/// The content with its amount, and the amount as it is counted.
pub(super) fn content(
    kind: &str,
    amount: &str,
    mark: DecimalMark,
    round_up: bool,
) -> Result<(Content, String), String> {
    let (rounding, wire) =
        if round_up { (Rounding::Up, Wire::Up) } else { (Rounding::Refuse, Wire::Unspecified) };
    let number = || {
        decimal(amount, mark).map_err(|error| match error {
            crate::table::NumberError::Missing => format!("is missing; {kind} needs it"),
            other => other.to_string(),
        })
    };
    let units = |content: fn(UnitCredit) -> Content| {
        let text = number()?;
        UnitAmount::parse(&text, rounding).map_err(|error| out_of_range(&text, error))?;
        let exact = parse_decimal(&text, UNIT_PLACES, rounding).map_err(|error| error.to_string())?;
        let credit = UnitCredit { amount: Some(unit_credit::Amount::Decimal(text)), rounding: wire.into() };
        Ok((content(credit), exact.to_string()))
    };
    let money = |content: fn(CurrencyCredit) -> Content| {
        let text = number()?;
        CurrencyAmount::parse(&text, rounding).map_err(|error| out_of_range(&text, error))?;
        let exact = parse_decimal(&text, CURRENCY_PLACES, rounding).map_err(|error| error.to_string())?;
        let credit =
            CurrencyCredit { amount: Some(currency_credit::Amount::Decimal(text)), rounding: wire.into() };
        Ok((content(credit), exact.to_string()))
    };
    let counted = || {
        number()?;
        whole(amount).map_err(|_| "a whole number is wanted".to_owned())
    };
    let watts = |content: fn(Power) -> Content| {
        let watts = counted()?;
        let largest = || format!("{} W is the most", UnitAmount::LARGEST);
        let few = u32::try_from(watts).map_err(|_| largest())?;
        UnitAmount::from_units(few).map_err(|_| largest())?;
        Ok((content(Power { watts }), watts.to_string()))
    };
    let register = |content: fn(RawRegister) -> Content| {
        let value = counted()?;
        let value = u16::try_from(value).map_err(|_| "a register is 0 to 65535".to_owned())?;
        Ok((content(RawRegister { value: value.into() }), value.to_string()))
    };
    match kind {
        "electricity" => units(Content::ElectricityCredit),
        "water" => units(Content::WaterCredit),
        "gas" => units(Content::GasCredit),
        "time" => units(Content::TimeCredit),
        "electricity_currency" => money(Content::ElectricityCurrencyCredit),
        "water_currency" => money(Content::WaterCurrencyCredit),
        "gas_currency" => money(Content::GasCurrencyCredit),
        "time_currency" => money(Content::TimeCurrencyCredit),
        "maximum_power_limit" => watts(Content::MaximumPowerLimit),
        "phase_unbalance" => watts(Content::MaximumPhasePowerUnbalance),
        "tariff_rate" => register(Content::TariffRate),
        "water_meter_factor" => register(Content::WaterMeterFactor),
        "clear_credit" => {
            let name = amount.to_ascii_uppercase();
            let register = Register::from_str_name(&name)
                .filter(|register| *register != Register::Unspecified)
                .ok_or("expected electricity, water, gas, time, the same with _currency, or all")?;
            Ok((Content::ClearCredit(ClearCredit { register: register.into() }), name))
        }
        "clear_tamper" if matches!(amount, "" | "0") => {
            Ok((Content::ClearTamper(ClearTamper {}), String::new()))
        }
        "clear_tamper" => Err("clear_tamper takes none".to_owned()),
        other => Err(unknown_kind(other)),
    }
}

fn out_of_range(text: &str, error: AmountError) -> String {
    match error {
        AmountError::TooFine { .. } if text.rsplit('.').next().is_some_and(|places| places.len() == 3) => {
            format!("{error}; say --round-up to round up, unless the point separates thousands")
        }
        AmountError::TooFine { .. } => format!("{error}; say --round-up to round up"),
        AmountError::TooLarge { .. } => format!(
            "more than a token transfers ({} units of the least kind)",
            match error {
                AmountError::TooLarge { largest } => largest,
                _ => 0,
            }
        ),
        other => other.to_string(),
    }
}

/// What to say of a kind that there is not.
pub(super) fn unknown_kind(kind: &str) -> String {
    let near = KINDS
        .iter()
        .map(|known| (strsim::osa_distance(kind, known), known))
        .min()
        .filter(|(slips, known)| *slips <= known.len() / 3);
    match near {
        _ if kind.is_empty() => format!("is missing; one of {}", KINDS.join(", ")),
        Some((_, near)) => format!("not known: is {near} meant?"),
        None => format!("not known; one of {}", KINDS.join(", ")),
    }
}
