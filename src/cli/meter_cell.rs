//! Meter numbers in tables, with the likely causes of wrong ones.

use crate::{
    sts::meter::{Drn, MeterError, MeterPan},
    table::{DecimalMark, NumberError, decimal, digits},
};

/// Why a field holds no meter number.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MeterCellError {
    #[error(
        "a spreadsheet wrote it with an exponent: its last digits are lost; take the number from its source"
    )]
    Exponent,
    #[error(
        "a spreadsheet keeps 15 digits and made zeros of the last three: take the number from its source"
    )]
    FifteenDigits,
    #[error("has {0} digits, not {wanted}: a leading zero may be lost", wanted = if *.1 { "18" } else { "11, 13 or 18" })]
    LeadingZero(usize, bool),
    #[error("has {0} digits, not {wanted}", wanted = if *.1 { "18" } else { "11, 13 or 18" })]
    Length(usize, bool),
    #[error("a PAN without its issuer: 18 digits are wanted, which begin with the issuer, such as 600727")]
    NoIssuer,
    #[error("a number with a decimal point: write its digits alone")]
    Places,
    #[error("blanks or marks between the digits; take them away")]
    Grouped,
    #[error("a letter that looks like a digit (O, l or I)")]
    Letters,
    #[error("{0}")]
    Odd(NumberError),
    #[error("not a meter number: 0 to 9 alone")]
    NotDigits,
    #[error("{0}; a digit is wrong")]
    Meter(MeterError),
}

/// The DRN that a text of 11, 13 or 18 digits names; what the text says of the issuer, the
/// configuration decides.
pub(super) fn drn(text: &str) -> Result<Drn, MeterCellError> {
    if !digits(text) {
        return Err(odd(text));
    }
    match text.len() {
        11 | 13 => text.parse().map_err(MeterCellError::Meter),
        18 => pan_of(text).map(|pan| pan.drn()),
        count => Err(length(count, false)),
    }
}

/// The MeterPAN that a text of 18 digits is.
pub(super) fn pan(text: &str) -> Result<MeterPan, MeterCellError> {
    if !digits(text) {
        return Err(odd(text));
    }
    match text.len() {
        18 => pan_of(text),
        11..=14 => Err(MeterCellError::NoIssuer),
        count => Err(length(count, true)),
    }
}

fn pan_of(text: &str) -> Result<MeterPan, MeterCellError> {
    text.parse().map_err(|error| {
        if text.ends_with("000") { MeterCellError::FifteenDigits } else { MeterCellError::Meter(error) }
    })
}

fn length(count: usize, pan: bool) -> MeterCellError {
    if count < 18 { MeterCellError::LeadingZero(count, pan) } else { MeterCellError::Length(count, pan) }
}

/// What a text with anything but digits likely is.
fn odd(text: &str) -> MeterCellError {
    use MeterCellError as E;
    let is_digit_or = |marks: &str| text.chars().all(|c| c.is_ascii_digit() || marks.contains(c));
    match decimal(text, DecimalMark::Point) {
        Err(NumberError::Exponent) => E::Exponent,
        Ok(_) => E::Places,
        Err(NumberError::Letters) => E::Letters,
        Err(
            error @ (NumberError::Missing
            | NumberError::Formula
            | NumberError::Apostrophe
            | NumberError::SheetError
            | NumberError::LineEnd
            | NumberError::OtherDigits),
        ) => E::Odd(error),
        Err(_) if is_digit_or("-.,'/\u{2019}_\u{2010}\u{2011}\u{2013}") => E::Grouped,
        Err(_) if text.chars().all(|c| c.is_ascii_digit() || c.is_whitespace() || c == '-') => E::Grouped,
        Err(_) => E::NotDigits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meters_are_read_or_refused_with_the_cause() {
        assert_eq!(drn("47500150231").unwrap().as_str(), "47500150231");
        assert_eq!(drn("600727475001502312").unwrap().as_str(), "47500150231");
        for (text, said) in [
            ("4.75002E+10", "its last digits are lost"),
            ("4,75002E+10", "its last digits are lost"),
            ("7500150231", "has 10 digits, not 11, 13 or 18: a leading zero may be lost"),
            ("100000000008", "a leading zero may be lost"),
            ("600727475001502000", "15 digits"),
            ("47500150232", "check digit"),
            ("600727475001502313", "check digit"),
            ("4750015023112345678", "has 19 digits, not 11, 13 or 18"),
            ("47500150231.0", "decimal point"),
            ("4750 0150 231", "between the digits"),
            ("47500-150231", "between the digits"),
            ("4750\u{a0}0150231", "between the digits"),
            ("475OO150231", "looks like a digit"),
            ("٤٧٥٠٠١٥٠٢٣١", "other digits"),
            ("４７５００１５０２３１", "other digits"),
            ("='47500150231'", "formula"),
            ("'47500150231", "apostrophe"),
            ("#REF!", "spreadsheet"),
            ("", "is missing"),
            ("meter", "0 to 9 alone"),
            ("47500150231\n1,2", "line end"),
        ] {
            let error = drn(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text:?}: {error}");
        }
    }

    #[test]
    fn pans_need_their_issuer() {
        assert!(pan("600727475001502312").is_ok());
        for (text, said) in [
            ("475001502312", "without its issuer"),
            ("47500150231", "without its issuer"),
            ("00727475001502312", "has 17 digits, not 18: a leading zero may be lost"),
            ("6.00727E+17", "exponent"),
            ("600727475001502000", "15 digits"),
        ] {
            let error = pan(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text:?}: {error}");
        }
    }
}
