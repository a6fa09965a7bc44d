//! Numbers as people type them and spreadsheets write them: plain ones are read, others refused
//! with the likely cause.

use super::trimmed;

/// What stands before the places of a decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalMark {
    /// `12.5`.
    Point,
    /// `12,5`, and `1.234,5` with points between thousands.
    Comma,
}

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Nothing.
    #[error("is missing")]
    Missing,
    /// `=A1*2`, `="047"`.
    #[error("a formula; the file must hold its value")]
    Formula,
    /// `'12`.
    #[error("an apostrophe stands before it (a spreadsheet's mark of a text); take it away")]
    Apostrophe,
    /// `#N/A`.
    #[error("a spreadsheet wrote an error in its place")]
    SheetError,
    /// A value over more than one line.
    #[error("it goes over a line end: a quote may be missing where it should close")]
    LineEnd,
    /// `1.23E+10`.
    #[error("an exponent, as spreadsheets write long numbers: digits may be lost; write all of them")]
    Exponent,
    /// Arabic-Indic, full-width and other digits.
    #[error("other digits than 0 to 9")]
    OtherDigits,
    /// `−5`.
    #[error("a dash that is no minus sign; write -")]
    OtherMinus,
    /// `(5)`.
    #[error("parentheses; a negative amount is written with - before it")]
    Parentheses,
    /// `5-`.
    #[error("the minus sign stands behind the number")]
    TrailingMinus,
    /// `+5`.
    #[error("a plus sign before it; take it away")]
    Plus,
    /// `1 000`.
    #[error("blanks inside (a thousands separator?); take them away")]
    Blanks,
    /// `1'000`, `1_000`.
    #[error("thousands separators; take them away")]
    Thousands,
    /// `1,000`.
    #[error(
        "a comma that is a thousands separator or a decimal comma: take it away, or say --decimal-comma if commas are decimal"
    )]
    ThousandsOrDecimal,
    /// `12,5`.
    #[error("a decimal comma: say --decimal-comma if the whole file is written so, or write a point")]
    DecimalComma,
    /// `1.234,5`.
    #[error(
        "ambiguous, a point and a comma: say --decimal-comma if points separate thousands and commas are decimal, or write 1234.5"
    )]
    Ambiguous,
    /// `12.5` where commas are decimal.
    #[error(
        "a point, though --decimal-comma was said: with a decimal comma alone, or points between thousands before one"
    )]
    PointWithComma,
    /// `.5`, `5.`.
    #[error("digits must stand on both sides of the point")]
    HalfPoint,
    /// `12-May`, `2026-11-21`.
    #[error("a date: did a spreadsheet make it of a number?")]
    Date,
    /// `1O`.
    #[error("a letter that looks like a digit (O, l or I)")]
    Letters,
    /// `5 kWh`, `$5`.
    #[error("the number alone: without unit, currency sign or other text")]
    Unit,
    /// Anything else.
    #[error("not a number")]
    NotANumber,
}

/// A decimal number as `-12.5`, whichever mark it was written with.
///
/// # Errors
/// [`NumberError`].
pub fn decimal(text: &str, mark: DecimalMark) -> Result<String, NumberError> {
    let text = trimmed(text);
    let (sign, magnitude) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let plain = match mark {
        DecimalMark::Point => {
            let (whole, places) = magnitude.split_once('.').unwrap_or((magnitude, "0"));
            (digits(whole) && digits(places)).then(|| magnitude.to_owned())
        }
        DecimalMark::Comma => match magnitude.split_once(',') {
            None => digits(magnitude).then(|| magnitude.to_owned()),
            Some((whole, places)) if digits(places) => (digits(whole) || are_groups(whole, '.'))
                .then(|| format!("{}.{places}", whole.replace('.', ""))),
            Some(_) => None,
        },
    };
    plain.map(|plain| format!("{sign}{plain}")).ok_or_else(|| cause(text, mark))
}

/// A whole number that is not negative.
///
/// # Errors
/// [`NumberError`].
pub fn whole(text: &str) -> Result<u64, NumberError> {
    let text = trimmed(text);
    if !digits(text) {
        return Err(cause(text, DecimalMark::Point));
    }
    text.parse().map_err(|_| NumberError::NotANumber)
}

/// Whether a text is one or more of the digits 0 to 9.
pub fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `1.234.567`: one to three digits, then groups of three.
fn are_groups(text: &str, between: char) -> bool {
    let mut groups = text.split(between);
    let first = groups.next().unwrap_or_default();
    let mut rest = groups.peekable();
    digits(first)
        && first.len() <= 3
        && rest.peek().is_some()
        && rest.all(|group| digits(group) && group.len() == 3)
}

/// What a text that is not plain likely is.
fn cause(text: &str, mark: DecimalMark) -> NumberError {
    use NumberError as E;
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let only = |allowed: &str| unsigned.chars().all(|c| c.is_ascii_digit() || allowed.contains(c));
    let has_digit = text.chars().any(|c| c.is_ascii_digit());
    if text.is_empty() {
        return E::Missing;
    }
    if text.starts_with('=') {
        return E::Formula;
    }
    if text.starts_with('#') {
        return E::SheetError;
    }
    if text.contains(['\r', '\n']) {
        return E::LineEnd;
    }
    if is_exponent(unsigned) {
        return E::Exponent;
    }
    if text.chars().any(|c| c.is_numeric() && !c.is_ascii()) {
        return E::OtherDigits;
    }
    if text.starts_with([
        '\u{2212}', '\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{2014}', '\u{fe63}', '\u{ff0d}',
    ]) {
        return E::OtherMinus;
    }
    if text.starts_with('\'') {
        return E::Apostrophe;
    }
    if text.starts_with('(') && text.ends_with(')') {
        return E::Parentheses;
    }
    if !has_digit {
        return E::NotANumber;
    }
    if text.starts_with('+') && only(".,") {
        return E::Plus;
    }
    if is_date(text) {
        return E::Date;
    }
    if text.ends_with('-')
        && text.trim_end_matches('-').chars().all(|c| c.is_ascii_digit() || ".,".contains(c))
    {
        return E::TrailingMinus;
    }
    if unsigned.chars().all(|c| c.is_ascii_digit() || ".,".contains(c) || c.is_whitespace()) && !only(".,") {
        return E::Blanks;
    }
    if only(".,'\u{2019}_") && !only(".,") {
        return E::Thousands;
    }
    if only(".,") {
        return marks(unsigned, mark);
    }
    if unsigned.chars().all(|c| c.is_ascii_digit() || ".,OolI".contains(c)) {
        return E::Letters;
    }
    E::Unit
}

/// Digits, points and commas that are no plain number.
fn marks(text: &str, mark: DecimalMark) -> NumberError {
    use NumberError as E;
    let (points, commas) = (text.matches('.').count(), text.matches(',').count());
    match (points, commas) {
        _ if text.starts_with(['.', ',']) || text.ends_with(['.', ',']) => E::HalfPoint,
        (1.., _) if mark == DecimalMark::Comma => E::PointWithComma,
        (1.., 1) if text.rfind(',') > text.rfind('.') => E::Ambiguous,
        (0, 1) if text.rsplit(',').next().is_some_and(|places| places.len() == 3) => E::ThousandsOrDecimal,
        (0, 1) => E::DecimalComma,
        _ => E::Thousands,
    }
}

/// `4.75002E+10`.
fn is_exponent(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return false };
    let mantissa = mantissa.replacen(['.', ','], "", 1);
    digits(&mantissa) && digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
}

fn is_date(text: &str) -> bool {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let parts: Vec<&str> = text.split(['-', '/', '.', ' ', ':']).filter(|part| !part.is_empty()).collect();
    let is_month = |part: &str| {
        let start: String = part.chars().take(3).flat_map(char::to_lowercase).collect();
        MONTHS.contains(&start.as_str())
    };
    let numbers = |parts: &[&str]| parts.iter().all(|part| digits(part));
    match parts.as_slice() {
        [a, b] if is_month(a) || is_month(b) => digits(a) || digits(b),
        [a, b] => numbers(&[a, b]) && text.contains('/'),
        [a, b, c] => {
            [a, b, c].iter().any(|part| is_month(part))
                || (numbers(&[a, b, c])
                    && b.len() <= 2
                    && !text.starts_with('-')
                    && (text.contains(['/', '-'])
                        || (a.len() <= 2 && matches!(c.len(), 2 | 4))
                        || a.len() == 4))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_numbers_are_read() {
        for (text, mark, read) in [
            ("12", DecimalMark::Point, "12"),
            (" 12.5\u{a0}", DecimalMark::Point, "12.5"),
            ("-0.5", DecimalMark::Point, "-0.5"),
            ("12", DecimalMark::Comma, "12"),
            ("12,5", DecimalMark::Comma, "12.5"),
            ("-12,50", DecimalMark::Comma, "-12.50"),
            ("1.234,5", DecimalMark::Comma, "1234.5"),
            ("1.234.567,25", DecimalMark::Comma, "1234567.25"),
        ] {
            assert_eq!(decimal(text, mark).as_deref(), Ok(read), "{text}");
        }
        assert_eq!(whole(" 5000 "), Ok(5000));
    }

    #[test]
    fn others_are_refused_with_the_cause() {
        use NumberError as E;
        for (text, cause) in [
            ("", E::Missing),
            ("  ", E::Missing),
            ("12,5", E::DecimalComma),
            ("-12,50", E::DecimalComma),
            ("1,000", E::ThousandsOrDecimal),
            ("1.234,5", E::Ambiguous),
            ("1.234.567,5", E::Ambiguous),
            ("1,234.5", E::Thousands),
            ("1,234,567", E::Thousands),
            ("1.234.567", E::Thousands),
            ("1'000", E::Thousands),
            ("1’000.5", E::Thousands),
            ("1_000", E::Thousands),
            ("1 000", E::Blanks),
            ("1\u{a0}000", E::Blanks),
            ("1\u{202f}000,5", E::Blanks),
            ("1\u{2009}000", E::Blanks),
            ("١٢", E::OtherDigits),
            ("۱۲", E::OtherDigits),
            ("१२", E::OtherDigits),
            ("１２", E::OtherDigits),
            ("½", E::OtherDigits),
            ("1.23E+10", E::Exponent),
            ("1,23E+10", E::Exponent),
            ("1e3", E::Exponent),
            ("=5", E::Formula),
            ("=\"5\"", E::Formula),
            ("'5", E::Apostrophe),
            ("#N/A", E::SheetError),
            ("######", E::SheetError),
            ("−5", E::OtherMinus),
            ("(5)", E::Parentheses),
            ("5-", E::TrailingMinus),
            ("+5", E::Plus),
            (".5", E::HalfPoint),
            ("5.", E::HalfPoint),
            ("12-May", E::Date),
            ("May-12", E::Date),
            ("2026-11-21", E::Date),
            ("21.11.2026", E::Date),
            ("5/12", E::Date),
            ("1O", E::Letters),
            ("l0", E::Letters),
            ("5 kWh", E::Unit),
            ("$5", E::Unit),
            ("5%", E::Unit),
            ("R 12.50", E::Unit),
            ("five", E::NotANumber),
            ("NaN", E::NotANumber),
            ("1\n2", E::LineEnd),
        ] {
            assert_eq!(decimal(text, DecimalMark::Point), Err(cause), "{text:?}");
        }
        for text in ["12.5", "1.234", "1,234.5", "1.2,5"] {
            assert_eq!(decimal(text, DecimalMark::Comma), Err(E::PointWithComma), "{text:?}");
        }
        assert_eq!(decimal("1,234,567", DecimalMark::Comma), Err(E::Thousands));
        for text in ["-5", "5.0", "1e3", "18446744073709551616"] {
            assert!(whole(text).is_err(), "{text}");
        }
    }
}
