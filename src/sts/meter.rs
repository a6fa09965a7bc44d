//! Meter numbers (STS facts §1): IIN, DRN and MeterPAN, each checked down to its check digits.
//!
//! ```
//! use vendkey::sts::meter::{Drn, Iin, MeterError, MeterPan};
//!
//! let issuer: Iin = "600727".parse()?;
//! // A DRN gets its issuer; a MeterPAN has it.
//! let meter = MeterPan::parse("47500150231", issuer)?;
//! assert_eq!(meter.as_str(), "600727475001502312");
//! assert_eq!(MeterPan::parse("600727475001502312", issuer)?, meter);
//! assert_eq!(meter.drn().manufacturer_code(), 47);
//! // A typing error shows in the check digit.
//! let mistyped = "47500150213".parse::<Drn>();
//! assert_eq!(mistyped, Err(MeterError::DrnCheckDigit { expected: 5, found: 3 }));
//! # Ok::<(), MeterError>(())
//! ```

use std::str::FromStr;

use super::digits::{Digits, digit_text, luhn};

/// Why a text is no meter number. Meter numbers are public: the errors quote what they found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeterError {
    /// Neither `0000` nor six digits that begin otherwise.
    #[error("an IIN is 0000 or 6 digits that do not begin with 0000")]
    Iin,
    /// Not 11 or 13 decimal digits.
    #[error("a DRN is 11 or 13 decimal digits")]
    DrnShape,
    /// The last digit of the DRN is not the Luhn digit of those before it.
    #[error("the DRN ends in {found}, its check digit is {expected}")]
    DrnCheckDigit {
        /// What it should end in, 0..=9.
        expected: u8,
        /// What it ends in, 0..=9.
        found: u8,
    },
    /// Not 18 decimal digits.
    #[error("a MeterPAN is 18 decimal digits")]
    PanShape,
    /// The last digit of the MeterPAN is not the Luhn digit of the 17 before it.
    #[error("the MeterPAN ends in {found}, its check digit is {expected}")]
    PanCheckDigit {
        /// What it should end in, 0..=9.
        expected: u8,
        /// What it ends in, 0..=9.
        found: u8,
    },
    /// A DRN of 11 digits belongs to an IIN of six, one of 13 to the IIN 0000; nothing is padded.
    #[error("a DRN of {drn} digits does not go with an IIN of {iin} digits")]
    Pairing {
        /// Digits of the IIN, 4 or 6.
        iin: usize,
        /// Digits of the DRN, 11 or 13.
        drn: usize,
    },
    /// The MeterPAN names another issuer than the configuration.
    #[error("the MeterPAN belongs to IIN {found}, not to {expected}")]
    OtherIin {
        /// The IIN of the configuration.
        expected: Iin,
        /// The IIN of the number given.
        found: Iin,
    },
    /// Neither a DRN nor a MeterPAN.
    #[error("a meter is given as a DRN of 11 or 13 digits or a MeterPAN of 18")]
    Shape,
}

/// Issuer identification number: `0000` (4-digit manufacturer codes) or six digits such as `600727`
/// (2-digit ones).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Iin(Digits<6>);

/// Decoder reference number, also called meter number: manufacturer code (2 or 4 digits), serial
/// number (8), Luhn digit.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Drn(Digits<13>);

/// Meter primary account number, 18 digits: IIN, DRN, Luhn digit over those 17. Ordered as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterPan(Digits<18>);

digit_text!(Iin);
digit_text!(Drn);
digit_text!(MeterPan);

/// The IIN whose manufacturer codes have four digits.
const SHORT_IIN: &str = "0000";

impl FromStr for Iin {
    type Err = MeterError;

    fn from_str(text: &str) -> Result<Self, MeterError> {
        // Six digits that begin with 0000 could not be told from the short IIN at the front of a
        // MeterPAN.
        let well_formed = text == SHORT_IIN || (text.len() == 6 && !text.starts_with(SHORT_IIN));
        Digits::parse(text).filter(|_| well_formed).map(Self).ok_or(MeterError::Iin)
    }
}

impl FromStr for Drn {
    type Err = MeterError;

    fn from_str(text: &str) -> Result<Self, MeterError> {
        let digits =
            Digits::parse(text).filter(|_| matches!(text.len(), 11 | 13)).ok_or(MeterError::DrnShape)?;
        let (expected, found) = check_digits(digits.as_bytes());
        if expected != found {
            return Err(MeterError::DrnCheckDigit { expected, found });
        }
        Ok(Self(digits))
    }
}

impl Drn {
    /// The manufacturer code as a number: 0..=99 of a DRN of 11 digits, 0..=9999 of one of 13.
    pub fn manufacturer_code(&self) -> u16 {
        self.0.as_bytes()[..self.as_str().len() - 9]
            .iter()
            .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'))
    }

    /// True for a DRN of 13 digits, whose manufacturer code has four.
    pub fn has_four_digit_manufacturer(&self) -> bool {
        self.as_str().len() == 13
    }
}

impl FromStr for MeterPan {
    type Err = MeterError;

    fn from_str(text: &str) -> Result<Self, MeterError> {
        let digits = Digits::parse(text).filter(|_| text.len() == 18).ok_or(MeterError::PanShape)?;
        let (expected, found) = check_digits(digits.as_bytes());
        if expected != found {
            return Err(MeterError::PanCheckDigit { expected, found });
        }
        let (iin, drn) = split(text);
        iin.parse::<Iin>()?;
        drn.parse::<Drn>()?;
        Ok(Self(digits))
    }
}

impl MeterPan {
    /// The MeterPAN of a meter.
    ///
    /// # Errors
    /// [`MeterError::Pairing`] when the lengths do not go together.
    pub fn new(iin: Iin, drn: Drn) -> Result<Self, MeterError> {
        let text = format!("{iin}{drn}");
        if text.len() != 17 {
            return Err(MeterError::Pairing { iin: iin.as_str().len(), drn: drn.as_str().len() });
        }
        let check = luhn(text.as_bytes());
        Digits::parse(&format!("{text}{check}")).map(Self).ok_or(MeterError::PanShape)
    }

    /// The meter that `text` names under a configuration of this IIN: a DRN of 11 or 13 digits, or
    /// a MeterPAN of 18.
    ///
    /// # Errors
    /// Every [`MeterError`] but `Iin`.
    pub fn parse(text: &str, iin: Iin) -> Result<Self, MeterError> {
        match text.len() {
            11 | 13 => Self::new(iin, text.parse()?),
            18 => {
                let pan: Self = text.parse()?;
                if pan.iin() != iin {
                    return Err(MeterError::OtherIin { expected: iin, found: pan.iin() });
                }
                Ok(pan)
            }
            _ => Err(MeterError::Shape),
        }
    }

    /// The 18 digits as a number: ordered as the text is.
    pub fn number(&self) -> i64 {
        // 18 digits are less than 2^60.
        self.as_str().bytes().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
    }

    /// The MeterPAN of a number of at most 18 digits.
    ///
    /// # Errors
    /// Every [`MeterError`] of a text that is no MeterPAN.
    pub fn from_number(number: i64) -> Result<Self, MeterError> {
        format!("{number:018}").parse()
    }

    /// The issuer.
    pub fn iin(&self) -> Iin {
        Iin(part(split(self.as_str()).0))
    }

    /// The meter number.
    pub fn drn(&self) -> Drn {
        Drn(part(split(self.as_str()).1))
    }
}

/// Cuts the 18 digits of a MeterPAN into IIN and DRN, leaving out its check digit.
fn split(pan: &str) -> (&str, &str) {
    let iin = if pan.starts_with(SHORT_IIN) { 4 } else { 6 };
    (&pan[..iin], &pan[iin..17])
}

/// Digits cut from a checked MeterPAN; those always parse.
fn part<const N: usize>(text: &str) -> Digits<N> {
    Digits::parse(text).unwrap_or(Digits::zeros(text.len()))
}

/// The Luhn digit that should end `digits`, and the one that does.
fn check_digits(digits: &[u8]) -> (u8, u8) {
    match digits.split_last() {
        Some((last, rest)) => (luhn(rest), last - b'0'),
        None => (0, 0),
    }
}

/// The Luhn check digit over any string of decimal digits, for the conformance runner; `None` if it
/// is not one.
pub fn luhn_digit(digits: &str) -> Option<u8> {
    Digits::<255>::parse(digits).map(|digits| luhn(digits.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drn(text: &str) -> Result<Drn, MeterError> {
        text.parse()
    }

    #[test]
    fn published_meter_pans() {
        for (iin, number, pan) in [
            ("600727", "00000000000", "600727000000000009"),
            ("600727", "11111111115", "600727111111111153"),
            ("0000", "0100000000008", "000001000000000082"),
        ] {
            let made = MeterPan::new(iin.parse().unwrap(), drn(number).unwrap()).unwrap();
            assert_eq!(made.as_str(), pan);
            let parsed: MeterPan = pan.parse().unwrap();
            assert_eq!((parsed.iin().as_str(), parsed.drn().as_str()), (iin, number));
            assert_eq!(MeterPan::parse(number, made.iin()), Ok(made));
            assert_eq!(MeterPan::parse(pan, made.iin()), Ok(made));
        }
    }

    /// STS 531 CTSA17, and defect 10 of the public peer (STS facts §8): its service takes any check
    /// digit.
    #[test]
    fn peer_defect_10_wrong_check_digits_are_refused() {
        assert_eq!(drn("12345678904"), Err(MeterError::DrnCheckDigit { expected: 3, found: 4 }));
        assert_eq!(drn("11111111113"), Err(MeterError::DrnCheckDigit { expected: 5, found: 3 }));
        // The outer digit of this one is right, the inner one is not.
        assert_eq!(
            "600727123456789042".parse::<MeterPan>().map_err(|error| matches!(
                error,
                MeterError::DrnCheckDigit { .. } | MeterError::PanCheckDigit { .. }
            )),
            Err(true)
        );
        assert_eq!(
            "600727000000000008".parse::<MeterPan>(),
            Err(MeterError::PanCheckDigit { expected: 9, found: 8 })
        );
    }

    #[test]
    fn nothing_is_padded_and_issuers_are_not_mixed() {
        let short: Iin = "0000".parse().unwrap();
        let long: Iin = "600727".parse().unwrap();
        assert_eq!(MeterPan::parse("11111111115", short), Err(MeterError::Pairing { iin: 4, drn: 11 }));
        assert_eq!(MeterPan::parse("0100000000008", long), Err(MeterError::Pairing { iin: 6, drn: 13 }));
        assert_eq!(
            MeterPan::parse("600727000000000009", short),
            Err(MeterError::OtherIin { expected: short, found: long })
        );
    }

    #[test]
    fn malformed_numbers() {
        for text in ["", "0", "00000", "000012", "60072", "6007270", "60072a", "６００７２７", " 600727"]
        {
            assert_eq!(text.parse::<Iin>(), Err(MeterError::Iin), "{text}");
        }
        for text in ["", "1111111111", "111111111155", "1111111111x", "+1111111115"] {
            assert_eq!(drn(text), Err(MeterError::DrnShape), "{text}");
        }
        assert_eq!("60072700000000000".parse::<MeterPan>(), Err(MeterError::PanShape));
        assert_eq!(MeterPan::parse("123", "0000".parse().unwrap()), Err(MeterError::Shape));
    }

    #[test]
    fn manufacturer_codes() {
        assert_eq!(drn("11111111115").unwrap().manufacturer_code(), 11);
        assert_eq!(drn("0100000000008").unwrap().manufacturer_code(), 100);
    }

    #[test]
    fn luhn_of_any_digits() {
        for (digits, check) in [("1234567890", 3), ("1111111111", 5), ("43135625623", 7)] {
            assert_eq!(luhn_digit(digits), Some(check));
        }
        assert_eq!(luhn_digit("12a"), None);
        assert_eq!(luhn_digit(""), None);
    }
}
