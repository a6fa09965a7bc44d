//! Numbers as gateways write them, read both ways where a mark may stand for thousands or decimals.

use super::lexeme::Lexeme;
use crate::{
    sts::amount::{Rounding, format_decimal, parse_decimal},
    table::DecimalMark,
};

/// Decimal places that are kept.
const PLACES: u32 = 6;

/// A quantity or an amount, exact to six places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Decimal(i128);

impl Decimal {
    /// The number of a text such as `1234.5`.
    fn read(text: &str) -> Option<Self> {
        parse_decimal(text, PLACES, Rounding::Refuse).ok().map(Self)
    }

    /// For charts and averages, which need no last digit.
    #[expect(clippy::cast_precision_loss, reason = "charts need no last digit")]
    pub fn approximate(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The sum; the largest there is if it is larger.
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Whether it is above zero.
    pub fn is_positive(self) -> bool {
        self.0 > 0
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&format_decimal(self.0, PLACES))
    }
}

/// A number with what it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// As it is written.
    pub(super) text: String,
    /// Where points are decimal.
    with_point: Option<Decimal>,
    /// Where commas are.
    with_comma: Option<Decimal>,
}

/// What a number says of the decimal mark of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    Nothing,
    Mark(DecimalMark),
    /// It is one number with a decimal point and another with a decimal comma.
    Both,
}

impl Number {
    fn new(text: &str) -> Option<Self> {
        let with = |mark, thousands| grouped(text, mark, thousands).and_then(|plain| Decimal::read(&plain));
        let (with_point, with_comma) = (with('.', ','), with(',', '.'));
        let known = with_point.is_some() || with_comma.is_some();
        known.then(|| Self { text: text.to_owned(), with_point, with_comma })
    }

    pub(super) fn shows(&self) -> Shows {
        match (self.with_point, self.with_comma) {
            (Some(point), Some(comma)) if point == comma => Shows::Nothing,
            (Some(_), Some(_)) => Shows::Both,
            (Some(_), None) => Shows::Mark(DecimalMark::Point),
            (None, _) => Shows::Mark(DecimalMark::Comma),
        }
    }

    /// The number under a mark; without one only where it makes no difference.
    pub(super) fn under(&self, mark: Option<DecimalMark>) -> Option<Decimal> {
        match (mark, self.shows()) {
            (Some(DecimalMark::Point), _) => self.with_point,
            (Some(DecimalMark::Comma), _) => self.with_comma,
            (None, Shows::Both) => None,
            (None, _) => self.with_point.or(self.with_comma),
        }
    }

    /// Both numbers that it may be.
    pub(super) fn readings(&self) -> (Option<Decimal>, Option<Decimal>) {
        (self.with_point, self.with_comma)
    }
}

/// The text with a decimal point and without thousands marks, if it can be read under `mark`.
fn grouped(text: &str, mark: char, thousands: char) -> Option<String> {
    let (whole, places) = match text.rsplit_once(mark) {
        Some((whole, places)) => (whole, Some(places)),
        None => (text, None),
    };
    let between = |character: char| character == thousands || matches!(character, ' ' | '\'');
    if places.is_some_and(|places| places.is_empty() || !places.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let groups: Vec<&str> = whole.split(between).collect();
    let is_digits = |group: &&str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
    let (first, rest) = groups.split_first()?;
    let sound = is_digits(first)
        && rest.iter().all(|group| is_digits(group) && group.len() == 3)
        && (rest.is_empty() || first.len() <= 3);
    sound.then(|| match places {
        Some(places) => format!("{}.{places}", groups.concat()),
        None => groups.concat(),
    })
}

/// The number with which the lexemes begin, and how many of them it takes.
pub(super) fn number(line: &str, lexemes: &[Lexeme<'_>]) -> Option<(Number, usize)> {
    let first = lexemes.first().filter(|lexeme| lexeme.is_digits())?;
    let mut used = 1;
    loop {
        let (mark, next) = (lexemes.get(used), lexemes.get(used + 1));
        let joined =
            |lexeme: Option<&Lexeme<'_>>| lexeme.is_some_and(|lexeme| lexeme.is_digits() && !lexeme.blank);
        if mark.is_some_and(|mark| mark.is_mark(&['.', ',', '\'']) && !mark.blank) && joined(next) {
            used += 2;
        } else if mark.is_some_and(|group| group.is_digits() && group.blank && group.text.len() == 3)
            && lexemes[used - 1].text.len() <= 3
            && first.text.len() <= 3
        {
            // `5 000`: one blank alone, and it ends there or goes on as a number does.
            used += 1;
        } else {
            break;
        }
    }
    // The longest beginning that is a number.
    while used > 0 {
        let last = lexemes[used - 1];
        if last.is_digits()
            && let Some(number) = Number::new(&line[first.at..last.at + last.text.len()])
        {
            return Some((number, used));
        }
        used -= 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::lexeme::lexemes;
    use super::*;

    #[test]
    fn numbers_are_read_both_ways() {
        use DecimalMark::{Comma, Point};
        for (text, shows, point, comma) in [
            ("45", Shows::Nothing, "45", "45"),
            ("45.6", Shows::Mark(Point), "45.6", ""),
            ("45,6", Shows::Mark(Comma), "", "45.6"),
            ("10,000", Shows::Both, "10000", "10"),
            ("45.678", Shows::Both, "45.678", "45678"),
            ("5,000.00", Shows::Mark(Point), "5000", ""),
            ("5.000,50", Shows::Mark(Comma), "", "5000.5"),
            ("1,234,567", Shows::Mark(Point), "1234567", ""),
            ("5 000", Shows::Nothing, "5000", "5000"),
            ("5 000,50", Shows::Mark(Comma), "", "5000.5"),
            ("1'234.50", Shows::Mark(Point), "1234.5", ""),
            ("1000,000", Shows::Mark(Comma), "", "1000"),
        ] {
            let (number, used) = number(text, &lexemes(text)).unwrap();
            assert_eq!(used, lexemes(text).len(), "{text}");
            assert_eq!(number.shows(), shows, "{text}");
            let shown = |number: Option<Decimal>| number.map(|number| number.to_string()).unwrap_or_default();
            let (with_point, with_comma) = number.readings();
            assert_eq!((shown(with_point).as_str(), shown(with_comma).as_str()), (point, comma), "{text}");
        }
    }

    #[test]
    fn a_number_ends_where_the_sentence_does() {
        for (text, read) in
            [("45.6. Thank", "45.6"), ("100, and", "100"), ("12 3456", "12"), ("1.2.3", "1.2")]
        {
            let (number, _) = number(text, &lexemes(text)).unwrap();
            assert_eq!(number.text, read, "{text}");
        }
        assert!(number("x", &lexemes("x")).is_none());
    }
}
