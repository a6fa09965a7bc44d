//! Amounts (STS facts §3.5): exact integers of the least unit, coded as exponent and mantissa.
//!
//! value(e, m) = m * 10^e + 16384 * (1 + 10 + ... + 10^(e-1)). An amount between two codes goes to
//! the one above, in the customer's favour; for a negative currency amount that is the smaller
//! magnitude.
//!
//! ```
//! use vendkey::sts::amount::{AmountError, CurrencyAmount, Rounding, UnitAmount};
//!
//! // Tenths of a kWh, exact up to 1638.3 kWh.
//! assert_eq!(UnitAmount::parse("25.5", Rounding::Refuse)?.units(), 255);
//! // A finer amount is refused, or rounded up if that is asked for.
//! assert_eq!(UnitAmount::parse("25.55", Rounding::Refuse), Err(AmountError::TooFine { places: 1 }));
//! assert_eq!(UnitAmount::parse("25.55", Rounding::Up)?.units(), 256);
//! // Above 1638.3 kWh the codes are 1 kWh apart: the amount is the one above.
//! assert_eq!(UnitAmount::parse("2000.1", Rounding::Refuse)?.units(), 20_004);
//! // Hundred thousandths of the currency; debts are negative.
//! assert_eq!(CurrencyAmount::parse("-0.05", Rounding::Refuse)?.units(), -5_000);
//! # Ok::<(), AmountError>(())
//! ```

/// Values of the mantissa, 14 bits.
const MANTISSAS: u128 = 1 << 14;
/// The largest exponent of 16-bit amounts.
const UNIT_EXPONENT: u8 = 3;
/// The largest exponent of currency amounts.
const CURRENCY_EXPONENT: u8 = 31;
/// Decimal places of unit credits: kWh, kl, m3 and minutes count in tenths.
pub const UNIT_PLACES: u32 = 1;
/// Decimal places of currency credits: hundred thousandths of the base currency.
pub const CURRENCY_PLACES: u32 = 5;

/// Why an amount cannot be transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not of the form `12`, `12.3` or `-12.3`.
    #[error("an amount is decimal digits with at most one point, a minus sign before them at most")]
    NotDecimal,
    /// Below zero where only currency may be.
    #[error("the amount is negative")]
    Negative,
    /// More decimal places than the unit has, and rounding was not asked for.
    #[error("the amount is finer than the unit, which has {places} decimal places")]
    TooFine {
        /// Decimal places of the unit.
        places: u32,
    },
    /// More than the code can hold.
    #[error("the amount is larger than {largest} units, the most that a token transfers")]
    TooLarge {
        /// The largest magnitude, in units.
        largest: u128,
    },
}

/// What to do with an amount that is finer than the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Refuse it.
    Refuse,
    /// Round up, that is towards plus infinity.
    Up,
}

/// Reads a decimal amount exactly, in units of 10^-`places`.
///
/// # Errors
/// [`AmountError`]: `NotDecimal`; `TooFine` unless `rounding` is [`Rounding::Up`]; `TooLarge` past
/// what i128 holds.
pub fn parse_decimal(text: &str, places: u32, rounding: Rounding) -> Result<i128, AmountError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return Err(AmountError::NotDecimal);
    }
    let kept = fraction.len().min(places as usize);
    let padding = places as usize - kept;
    let magnitude = whole
        .bytes()
        .chain(fraction.bytes().take(kept))
        .chain(std::iter::repeat_n(b'0', padding))
        .try_fold(0_i128, |value, digit| value.checked_mul(10)?.checked_add(i128::from(digit - b'0')))
        .ok_or(AmountError::TooLarge { largest: i128::MAX.unsigned_abs() })?;
    let is_finer = fraction.bytes().skip(kept).any(|digit| digit != b'0');
    match (is_finer, rounding, negative) {
        (true, Rounding::Refuse, _) => Err(AmountError::TooFine { places }),
        // Up is away from zero for what is positive, towards it for what is negative.
        (true, Rounding::Up, false) => {
            magnitude.checked_add(1).ok_or(AmountError::TooLarge { largest: i128::MAX.unsigned_abs() })
        }
        (_, _, negative) => Ok(if negative { -magnitude } else { magnitude }),
    }
}

/// Writes an amount of units of 10^-`places` as a decimal, without trailing zeros behind the point.
pub fn format_decimal(units: i128, places: u32) -> String {
    let digits = format!("{:0width$}", units.unsigned_abs(), width = places as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places as usize);
    let fraction = fraction.trim_end_matches('0');
    let sign = if units < 0 { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

/// A non-negative amount in the 16 bits of a unit credit or a power limit. Every 16 bits are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnitAmount(u16);

impl UnitAmount {
    /// The largest amount, in units: 1820162.4 kWh.
    pub const LARGEST: u32 = 18_201_624;

    /// The smallest code that is not below `units`; [`UnitAmount::units`] says what it transfers.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`].
    pub fn from_units(units: u32) -> Result<Self, AmountError> {
        let (exponent, mantissa) = encode(u128::from(units), Direction::Up, UNIT_EXPONENT)?;
        Ok(Self(u16::from(exponent) << 14 | mantissa))
    }

    /// The same for a decimal in kWh, kl, m3 or minutes.
    ///
    /// # Errors
    /// Every [`AmountError`].
    pub fn parse(text: &str, rounding: Rounding) -> Result<Self, AmountError> {
        let units = parse_decimal(text, UNIT_PLACES, rounding)?;
        if units < 0 {
            return Err(AmountError::Negative);
        }
        let too_large = AmountError::TooLarge { largest: u128::from(Self::LARGEST) };
        Self::from_units(u32::try_from(units).map_err(|_| too_large)?)
    }

    /// The amount of this code: two bits of exponent, fourteen of mantissa.
    pub fn from_code(code: u16) -> Self {
        Self(code)
    }

    /// Its code: two bits of exponent, fourteen of mantissa.
    pub fn code(self) -> u16 {
        self.0
    }

    /// What it transfers, in units: tenths for a credit, watts for a power limit.
    pub fn units(self) -> u32 {
        // At most LARGEST.
        decode((self.0 >> 14) as u8, self.0 & 0x3FFF) as u32
    }
}

/// A signed amount in the 20 bits of a currency credit: sign, 5 bits of exponent, 14 of mantissa.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CurrencyAmount {
    negative: bool,
    exponent: u8,
    mantissa: u16,
}

impl CurrencyAmount {
    /// The largest magnitude, in units of 10^-5: about 1.8e30 of the base currency.
    pub const LARGEST: u128 = decode(CURRENCY_EXPONENT, 0x3FFF);

    /// The smallest amount that is not below `units` (of 10^-5); [`CurrencyAmount::units`] says
    /// what it transfers.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`].
    pub fn from_units(units: i128) -> Result<Self, AmountError> {
        let direction = if units < 0 { Direction::Down } else { Direction::Up };
        let (exponent, mantissa) = encode(units.unsigned_abs(), direction, CURRENCY_EXPONENT)?;
        Ok(Self { negative: units < 0, exponent, mantissa })
    }

    /// The same for a decimal in the base currency.
    ///
    /// # Errors
    /// Every [`AmountError`] but `Negative`.
    pub fn parse(text: &str, rounding: Rounding) -> Result<Self, AmountError> {
        Self::from_units(parse_decimal(text, CURRENCY_PLACES, rounding)?)
    }

    /// The amount of these fields: `exponent` 0..=31, `mantissa` 0..=16383; higher bits are
    /// dropped.
    pub fn from_fields(negative: bool, exponent: u8, mantissa: u16) -> Self {
        Self { negative, exponent: exponent & 0x1F, mantissa: mantissa & 0x3FFF }
    }

    /// The sign bit. A token made elsewhere may carry a negative zero.
    pub fn is_negative(self) -> bool {
        self.negative
    }

    /// 0..=31.
    pub fn exponent(self) -> u8 {
        self.exponent
    }

    /// 0..=16383.
    pub fn mantissa(self) -> u16 {
        self.mantissa
    }

    /// What it transfers, in units of 10^-5 of the base currency.
    pub fn units(self) -> i128 {
        // Below 2^118, so it fits with its sign.
        let magnitude = decode(self.exponent, self.mantissa) as i128;
        if self.negative { -magnitude } else { magnitude }
    }
}

/// Where an amount between two codes goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// Exponent and mantissa of an amount.
fn encode(value: u128, direction: Direction, largest_exponent: u8) -> Result<(u8, u16), AmountError> {
    let largest = decode(largest_exponent, 0x3FFF);
    let (mut offset, mut step) = (0, 1);
    for exponent in 0..=largest_exponent {
        if value > largest {
            break;
        }
        // Not below zero: the band before this one held everything up to one step below the offset.
        let above = value.saturating_sub(offset);
        let mantissa = match direction {
            Direction::Up => above.div_ceil(step),
            Direction::Down => above / step,
        };
        if mantissa < MANTISSAS {
            return Ok((exponent, mantissa as u16));
        }
        offset += MANTISSAS * step;
        step *= 10;
    }
    Err(AmountError::TooLarge { largest })
}

/// The value of exponent and mantissa.
const fn decode(exponent: u8, mantissa: u16) -> u128 {
    let (mut offset, mut step) = (0, 1);
    let mut band = 0;
    while band < exponent {
        offset += MANTISSAS * step;
        step *= 10;
        band += 1;
    }
    offset + mantissa as u128 * step
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// STS facts §3.5: the four bands and their edges.
    #[test]
    fn bands_of_unit_amounts() {
        for (units, exponent, mantissa) in [
            (0, 0, 0),
            (16_383, 0, 16_383),
            (16_384, 1, 0),
            (16_385, 1, 1),
            (180_214, 1, 16_383),
            (180_215, 2, 0),
            (180_223, 2, 0),
            (180_224, 2, 0),
            (180_225, 2, 1),
            (1_818_524, 2, 16_383),
            (1_818_525, 3, 0),
            (1_818_624, 3, 0),
            (18_201_624, 3, 16_383),
        ] {
            let amount = UnitAmount::from_units(units).unwrap();
            assert_eq!(amount.code(), exponent << 14 | mantissa, "{units}");
        }
    }

    /// Defect 7 of the public peer (STS facts §8): it checks the limit against kWh and codes a
    /// corrupt exponent.
    #[test]
    fn peer_defect_7_the_limit_is_in_tenths() {
        assert_eq!(UnitAmount::parse("1820162.4", Rounding::Refuse).unwrap().units(), 18_201_624);
        let too_large = Err(AmountError::TooLarge { largest: 18_201_624 });
        assert_eq!(UnitAmount::parse("1820162.5", Rounding::Refuse), too_large);
        assert_eq!(UnitAmount::from_units(u32::MAX), too_large);
        assert_eq!(UnitAmount::parse("99999999999", Rounding::Refuse), too_large);
    }

    /// Defect 7 again: the peer truncates above 1 and rounds up below. Here finer amounts are
    /// refused, or rounded up on request.
    #[test]
    fn peer_defect_7_finer_amounts_are_refused_or_rounded_up() {
        for (text, rounded) in [("1.82", 19), ("0.4712", 5), ("0.01", 1), ("16383.99", 163_840)] {
            assert_eq!(parse_decimal(text, 1, Rounding::Refuse), Err(AmountError::TooFine { places: 1 }));
            assert_eq!(parse_decimal(text, 1, Rounding::Up), Ok(rounded), "{text}");
        }
        assert_eq!(parse_decimal("25.6000", 1, Rounding::Refuse), Ok(256));
        assert_eq!(parse_decimal("-1.000019", 5, Rounding::Up), Ok(-100_001));
    }

    /// STS facts §3.5: -1 codes as -99994 units, +1 as 100004.
    #[test]
    fn currency_rounds_towards_plus_infinity() {
        assert_eq!(CurrencyAmount::parse("-1", Rounding::Refuse).unwrap().units(), -99_994);
        assert_eq!(CurrencyAmount::parse("1", Rounding::Refuse).unwrap().units(), 100_004);
        assert_eq!(CurrencyAmount::from_units(-180_220).unwrap().units(), -180_214);
    }

    #[test]
    fn limits_of_currency() {
        let largest = CurrencyAmount::LARGEST as i128;
        for sign in [1, -1] {
            assert_eq!(CurrencyAmount::from_units(sign * largest).unwrap().units(), sign * largest);
            assert_eq!(
                CurrencyAmount::from_units(sign * (largest + 1)),
                Err(AmountError::TooLarge { largest: CurrencyAmount::LARGEST })
            );
        }
        const { assert!(CurrencyAmount::LARGEST < 1 << 118) };
        assert!(CurrencyAmount::from_units(i128::MIN).is_err());
    }

    #[test]
    fn what_is_no_decimal() {
        for text in ["", "-", ".", "1.", ".5", "+1", "1e3", "1,5", " 1", "1 ", "--1", "1.2.3", "0x10", "١"] {
            assert_eq!(parse_decimal(text, 1, Rounding::Up), Err(AmountError::NotDecimal), "{text}");
        }
        assert!(matches!(parse_decimal(&"9".repeat(60), 5, Rounding::Up), Err(AmountError::TooLarge { .. })));
        assert_eq!(UnitAmount::parse("-0.1", Rounding::Refuse), Err(AmountError::Negative));
    }

    #[test]
    fn decimals_out() {
        for (units, places, text) in
            [(0, 1, "0"), (5, 1, "0.5"), (-99_994, 5, "-0.99994"), (100_000, 5, "1"), (256, 1, "25.6")]
        {
            assert_eq!(format_decimal(units, places), text);
        }
    }

    proptest! {
        /// Against the definition in exact arithmetic: the code is the least one not below the
        /// amount.
        #[test]
        fn unit_amounts_round_up_to_the_next_code(units in 0..=UnitAmount::LARGEST) {
            let code = UnitAmount::from_units(units).unwrap();
            prop_assert!(code.units() >= units);
            if let Some(below) = code.code().checked_sub(1) {
                prop_assert!(UnitAmount::from_code(below).units() < units);
            }
        }

        #[test]
        fn every_unit_code_is_its_own_amount(code: u16) {
            let amount = UnitAmount::from_code(code);
            prop_assert_eq!(UnitAmount::from_units(amount.units()), Ok(amount));
        }

        #[test]
        fn currency_amounts_move_less_than_a_step_and_never_down(
            digits in 1..37_u32, raw: i128, negative: bool
        ) {
            let magnitude = raw.unsigned_abs() % 10_u128.pow(digits);
            prop_assume!(magnitude <= CurrencyAmount::LARGEST);
            let units = if negative { -(magnitude as i128) } else { magnitude as i128 };
            let coded = CurrencyAmount::from_units(units).unwrap();
            prop_assert!(coded.units() >= units);
            prop_assert!((coded.units() - units) < 10_i128.pow(u32::from(coded.exponent()).max(1)));
        }

        #[test]
        fn every_currency_code_is_its_own_amount(negative: bool, exponent in 0..32_u8, mantissa in 0..16384_u16) {
            let amount = CurrencyAmount::from_fields(negative, exponent, mantissa);
            let zero = amount.units() == 0;
            let expected = CurrencyAmount::from_fields(negative && !zero, exponent, mantissa);
            prop_assert_eq!(CurrencyAmount::from_units(amount.units()), Ok(expected));
        }

        #[test]
        fn decimals_read_back(units: i64, places in 0..6_u32) {
            let text = format_decimal(i128::from(units), places);
            prop_assert_eq!(parse_decimal(&text, places, Rounding::Refuse), Ok(i128::from(units)));
        }
    }
}
