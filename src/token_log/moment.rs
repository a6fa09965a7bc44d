//! Dates and times of day as gateways write them, with every date that one may be.

use jiff::civil;

use super::lexeme::{Kind, Lexeme};
use super::words::month;

/// The order of a date's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DateOrder {
    /// 3/11/2026 is the third of November.
    Dmy,
    /// 11/3/2026 is.
    Mdy,
    /// 26/11/3 is.
    Ymd,
}

impl DateOrder {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Dmy => "day/month/year",
            Self::Mdy => "month/day/year",
            Self::Ymd => "year/month/day",
        }
    }
}

/// What a date may be, by order; one without an order if it says itself what it is.
type Dates = Vec<(Option<DateOrder>, civil::Date)>;

/// A time as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// The date as it is written.
    pub(super) text: String,
    dates: Dates,
    clock: Option<civil::Time>,
    /// Seconds east of UTC, where it is said.
    offset: Option<i32>,
}

/// A time that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Date and time of day; midnight where no time of day is written.
    pub local: civil::DateTime,
    /// Seconds east of UTC, where it is said.
    pub offset: Option<i32>,
    /// Whether a time of day is written.
    pub has_clock: bool,
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.has_clock {
            return self.local.date().fmt(f);
        }
        write!(f, "{}", self.local)?;
        match self.offset {
            None => Ok(()),
            Some(0) => f.write_str("Z"),
            Some(seconds) => {
                let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
                write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
        }
    }
}

/// What a date says of the order of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    Nothing,
    Order(DateOrder),
    Several,
}

impl Moment {
    pub(super) fn shows(&self) -> Shows {
        match self.dates.as_slice() {
            [(Some(order), _)] => Shows::Order(*order),
            [] | [_] => Shows::Nothing,
            [(_, first), rest @ ..] if rest.iter().all(|(_, date)| date == first) => Shows::Nothing,
            _ => Shows::Several,
        }
    }

    /// The time under an order; without one only where it makes no difference.
    pub(super) fn under(&self, order: Option<DateOrder>) -> Option<Time> {
        let first = self.dates.first()?;
        let date = match self.shows() {
            Shows::Several => self.dates.iter().find(|(known, _)| order.is_some() && *known == order)?.1,
            // A date that is none in the order which was asked for.
            Shows::Order(own) if order.is_some_and(|order| order != own) => return None,
            _ => first.1,
        };
        let clock = self.clock.unwrap_or(civil::Time::midnight());
        Some(Time { local: date.to_datetime(clock), offset: self.offset, has_clock: self.clock.is_some() })
    }

    /// All dates that it may be.
    pub(super) fn dates(&self) -> Vec<civil::Date> {
        self.dates.iter().map(|(_, date)| *date).collect()
    }
}

/// A date and time of day with which the lexemes begin, and how many of them it takes. `is_known`:
/// it must be one, by its label or column, so a bare run of digits is taken too.
pub(super) fn moment(line: &str, lexemes: &[Lexeme<'_>], is_known: bool) -> Option<(Moment, usize)> {
    let reader = Reader { line, lexemes };
    // `10:22 03/11/2026`.
    if let Some((clock, after)) = reader.clock(0, false) {
        let at = reader.skip(after, &["on", "du", "le", "de", "em", "el", "ya"], &[',', '-', '|']);
        let (dates, end) = reader.date(at)?;
        return Some((reader.made(at, end, dates, Some(clock), None), end));
    }
    if let Some((dates, end)) = reader.date(0) {
        let at = reader.skip(
            end,
            &["t", "at", "a", "as", "las", "saa", "kl", "um", "time", "heure", "hora"],
            &[',', '-', '|', ':', '@', ';'],
        );
        if let Some((clock, end)) = reader.clock(at, true) {
            let (offset, end) = reader.offset(end);
            return Some((reader.made(0, end, dates, Some(clock), offset), end));
        }
        return Some((reader.made(0, end, dates, None, None), end));
    }
    let (dates, clock) = compact(lexemes.first()?)?;
    match clock {
        Some(clock) if is_known => Some((reader.made(0, 1, dates, Some(clock), None), 1)),
        Some(_) => None,
        None => {
            // `20261103 10:22`: without a label the time of day must be there.
            let at = reader.skip(1, &["t", "at"], &[',', '-']);
            match reader.clock(at, false) {
                Some((clock, end)) => Some((reader.made(0, end, dates, Some(clock), None), end)),
                None => is_known.then(|| (reader.made(0, 1, dates, None, None), 1)),
            }
        }
    }
}

/// `20261103`, `202611031022`, `20261103102233`.
fn compact(lexeme: &Lexeme<'_>) -> Option<(Dates, Option<civil::Time>)> {
    let text = lexeme.is_digits().then_some(lexeme.text)?;
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<i8>().ok();
    let date = day(text.get(..4)?.parse().ok()?, part(4, 6)?, part(6, 8)?)?;
    let clock = match text.len() {
        8 => None,
        12 => Some(civil::Time::new(part(8, 10)?, part(10, 12)?, 0, 0).ok()?),
        14 => Some(civil::Time::new(part(8, 10)?, part(10, 12)?, part(12, 14)?, 0).ok()?),
        _ => return None,
    };
    Some((vec![(None, date)], clock))
}

/// A date from 1990 on, before 2100: numbers of other kinds are seldom one.
fn day(year: i16, month: i8, day: i8) -> Option<civil::Date> {
    (1990..2100).contains(&year).then(|| civil::Date::new(year, month, day).ok())?
}

struct Reader<'a> {
    line: &'a str,
    lexemes: &'a [Lexeme<'a>],
}

impl Reader<'_> {
    fn made(
        &self,
        from: usize,
        end: usize,
        dates: Dates,
        clock: Option<civil::Time>,
        offset: Option<i32>,
    ) -> Moment {
        let (first, last) = (self.lexemes[from], self.lexemes[end - 1]);
        let text = self.line[first.at..last.at + last.text.len()].to_owned();
        Moment { text, dates, clock, offset }
    }

    /// The number of at most `longest` digits at a place.
    fn digits(&self, at: usize, longest: usize) -> Option<(&str, i16)> {
        let lexeme =
            self.lexemes.get(at).filter(|lexeme| lexeme.is_digits() && lexeme.text.len() <= longest)?;
        Some((lexeme.text, lexeme.text.parse().ok()?))
    }

    fn skip(&self, at: usize, words: &[&str], marks: &[char]) -> usize {
        let passed = |lexeme: &&Lexeme<'_>| lexeme.is_word(words) || lexeme.is_mark(marks);
        at + self.lexemes[at.min(self.lexemes.len())..].iter().take(2).take_while(passed).count()
    }

    fn date(&self, at: usize) -> Option<(Dates, usize)> {
        self.numbers(at).or_else(|| self.day_first(at)).or_else(|| self.month_first(at))
    }

    /// `2026-11-03`, `03/11/2026`, `3.11.26`.
    fn numbers(&self, at: usize) -> Option<(Dates, usize)> {
        let (first, a) = self.digits(at, 4)?;
        let mark = self.lexemes.get(at + 1).filter(|mark| mark.is_mark(&['/', '-', '.']))?;
        let (second, b) = self.digits(at + 2, 2)?;
        self.lexemes.get(at + 3).filter(|again| again.text == mark.text)?;
        let (third, c) = self.digits(at + 4, 4)?;
        // Not the beginning of something longer.
        let goes_on = self.lexemes.get(at + 5).is_some_and(|next| next.text == mark.text && !next.blank)
            && self.lexemes.get(at + 6).is_some_and(|next| next.is_digits() && !next.blank);
        if goes_on || second.is_empty() {
            return None;
        }
        let small = |value: i16| i8::try_from(value).ok();
        let date = |year: i16, month: i16, of_month: i16| day(year, small(month)?, small(of_month)?);
        let dates: Dates = match (first.len(), third.len()) {
            (4, 1 | 2) => vec![(None, date(a, b, c)?)],
            (1 | 2, 4) => ordered([(DateOrder::Dmy, date(c, b, a)), (DateOrder::Mdy, date(c, a, b))]),
            (2, 2) => ordered([
                (DateOrder::Dmy, date(2000 + c, b, a)),
                (DateOrder::Mdy, date(2000 + c, a, b)),
                (DateOrder::Ymd, date(2000 + a, b, c)),
            ]),
            (1, 2) => {
                ordered([(DateOrder::Dmy, date(2000 + c, b, a)), (DateOrder::Mdy, date(2000 + c, a, b))])
            }
            _ => return None,
        };
        (!dates.is_empty()).then_some((dates, at + 5))
    }

    /// `3 Nov 2026`, `03-NOV-26`, `1er novembre 2026`, `3 de novembro de 2026`.
    fn day_first(&self, at: usize) -> Option<(Dates, usize)> {
        let (_, of_month) = self.digits(at, 2)?;
        let mut next =
            self.skip(at + 1, &["st", "nd", "rd", "th", "er", "o", "de"], &['-', '/', '.', 'º', '°']);
        let month = self.month(next)?;
        next = self.skip(next + 1, &["de", "of"], &['-', '/', '.', ',']);
        self.named(next, month, of_month)
    }

    /// `Nov 3, 2026`, `November 3rd 2026`.
    fn month_first(&self, at: usize) -> Option<(Dates, usize)> {
        let month = self.month(at)?;
        let next = self.skip(at + 1, &[], &['-', '.', '/']);
        let (_, of_month) = self.digits(next, 2)?;
        let next = self.skip(next + 1, &["st", "nd", "rd", "th"], &[',', '-', '/']);
        self.named(next, month, of_month)
    }

    fn month(&self, at: usize) -> Option<i8> {
        self.lexemes.get(at).filter(|lexeme| lexeme.kind == Kind::Word).and_then(|lexeme| month(lexeme.text))
    }

    fn named(&self, at: usize, month: i8, of_month: i16) -> Option<(Dates, usize)> {
        let (text, year) = self.digits(at, 4)?;
        let year = match text.len() {
            4 => year,
            2 => 2000 + year,
            _ => return None,
        };
        let date = day(year, month, i8::try_from(of_month).ok()?)?;
        Some((vec![(None, date)], at + 1))
    }

    /// `10:22`, `10:22:33`, `10h22`, `10:22 AM`; `10.22` too where a date stands before it.
    fn clock(&self, at: usize, behind_date: bool) -> Option<(civil::Time, usize)> {
        let (text, mut hour) = self.digits(at, 2)?;
        let mark = self.lexemes.get(at + 1).filter(|mark| !mark.blank)?;
        let is_clock = mark.is_mark(&[':']) || mark.is_word(&["h"]) || (behind_date && mark.is_mark(&['.']));
        let (minutes, minute) = self.digits(at + 2, 2).filter(|_| !self.lexemes[at + 2].blank)?;
        if !is_clock || text.is_empty() || minutes.len() != 2 {
            return None;
        }
        let mut end = at + 3;
        let mut second = 0;
        let more = self.lexemes.get(end).is_some_and(|next| {
            !next.blank
                && (next.text == mark.text || next.is_mark(&[':']) || next.is_word(&["m", "min", "mn"]))
        });
        if more
            && let Some((seconds, value)) = self.digits(end + 1, 2).filter(|_| !self.lexemes[end + 1].blank)
        {
            if seconds.len() == 2 {
                second = value;
                end += 2;
            }
            // Fractions of a second, and the `s` of `10h22m05s`.
            let fraction = self.lexemes.get(end).is_some_and(|dot| dot.is_mark(&['.', ',']) && !dot.blank)
                && self.lexemes.get(end + 1).is_some_and(|next| next.is_digits() && !next.blank);
            end += if fraction { 2 } else { 0 };
        }
        let half = self.lexemes.get(end).and_then(|lexeme| match lexeme.text {
            "am" => Some((false, 1)),
            "pm" => Some((true, 1)),
            "a" | "p" => {
                let dot = |at: usize| self.lexemes.get(at).is_some_and(|mark| mark.is_mark(&['.']));
                let is_half = dot(end + 1) && self.lexemes.get(end + 2).is_some_and(|m| m.text == "m");
                is_half.then(|| (lexeme.text == "p", 3 + usize::from(dot(end + 3))))
            }
            _ => None,
        });
        if let Some((is_late, used)) = half {
            if !(1..=12).contains(&hour) {
                return None;
            }
            hour = hour % 12 + if is_late { 12 } else { 0 };
            end += used;
        }
        let small = |value: i16| i8::try_from(value).ok();
        Some((civil::Time::new(small(hour)?, small(minute)?, small(second)?, 0).ok()?, end))
    }

    /// `Z`, `UTC`, `GMT`, `+03:00`, `+0300` behind a time of day.
    fn offset(&self, at: usize) -> (Option<i32>, usize) {
        let Some(lexeme) = self.lexemes.get(at) else { return (None, at) };
        if lexeme.is_word(&["z", "utc", "gmt"]) {
            return match self.shift(at + 1) {
                Some(shifted) => shifted,
                None => (Some(0), at + 1),
            };
        }
        self.shift(at).unwrap_or((None, at))
    }

    fn shift(&self, at: usize) -> Option<(Option<i32>, usize)> {
        let sign = self.lexemes.get(at).filter(|sign| sign.is_mark(&['+', '-']))?;
        let digits = self.lexemes.get(at + 1).filter(|digits| digits.is_digits() && !digits.blank)?;
        let (hours, minutes, end): (i32, i32, usize) = match digits.text.len() {
            4 => (digits.text[..2].parse().ok()?, digits.text[2..].parse().ok()?, at + 2),
            2 => match (self.lexemes.get(at + 2), self.digits(at + 3, 2)) {
                (Some(colon), Some((_, minutes))) if colon.is_mark(&[':']) && !colon.blank => {
                    (digits.text.parse().ok()?, i32::from(minutes), at + 4)
                }
                _ => (digits.text.parse().ok()?, 0, at + 2),
            },
            _ => return None,
        };
        let seconds = (hours * 60 + minutes) * 60;
        (seconds <= 14 * 3600).then(|| (Some(if sign.text == "-" { -seconds } else { seconds }), end))
    }
}

/// Those orders that give a date.
fn ordered<const N: usize>(dates: [(DateOrder, Option<civil::Date>); N]) -> Dates {
    dates.into_iter().filter_map(|(order, date)| Some((Some(order), date?))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{fold::folded, lexeme::lexemes};
    use super::*;

    fn read(text: &str, order: Option<DateOrder>) -> Option<String> {
        let line = folded(text);
        let (moment, used) = moment(&line, &lexemes(&line), true)?;
        assert_eq!(used, lexemes(&line).len(), "{text}");
        Some(moment.under(order).map_or_else(|| "ambiguous".to_owned(), |time| time.to_string()))
    }

    #[test]
    fn dates_that_say_what_they_are() {
        for (text, time) in [
            ("2026-11-03", "2026-11-03"),
            ("2026/11/03 10:22", "2026-11-03T10:22:00"),
            ("2026-11-03T10:22:33Z", "2026-11-03T10:22:33Z"),
            ("2026-11-03T10:22:33.123+03:00", "2026-11-03T10:22:33+03:00"),
            ("20261103 10:22", "2026-11-03T10:22:00"),
            ("20261103", "2026-11-03"),
            ("20261103102233", "2026-11-03T10:22:33"),
            ("3 Nov 2026", "2026-11-03"),
            ("03-NOV-26 2:05 PM", "2026-11-03T14:05:00"),
            ("1er décembre 2026 à 10h22", "2026-12-01T10:22:00"),
            ("3 de Novembro de 2026, 10:22", "2026-11-03T10:22:00"),
            ("3 Agosti 2026 saa 10:22", "2026-08-03T10:22:00"),
            ("Nov 3, 2026 at 12:15 a.m.", "2026-11-03T00:15:00"),
            ("November 3rd 2026", "2026-11-03"),
            ("13/11/2026", "2026-11-13"),
            ("11/13/2026 10:22", "2026-11-13T10:22:00"),
            ("11/11/2026", "2026-11-11"),
            ("10:22 13/11/2026", "2026-11-13T10:22:00"),
            ("31.12.2026 23.59", "2026-12-31T23:59:00"),
            ("2026-11-03 10:22 GMT+0300", "2026-11-03T10:22:00+03:00"),
        ] {
            assert_eq!(read(text, None).as_deref(), Some(time), "{text}");
        }
    }

    #[test]
    fn dates_that_may_be_two_are_not_guessed() {
        use DateOrder::{Dmy, Mdy, Ymd};
        for (text, order, time) in [
            ("03/11/2026", None, "ambiguous"),
            ("03/11/2026", Some(Dmy), "2026-11-03"),
            ("03/11/2026", Some(Mdy), "2026-03-11"),
            ("03/11/26", None, "ambiguous"),
            ("03/11/26 10:22", Some(Ymd), "2003-11-26T10:22:00"),
            // 26 is no month, so this is not month first, and a file that is says so.
            ("26/11/2026", Some(Mdy), "ambiguous"),
        ] {
            assert_eq!(read(text, order).as_deref(), Some(time), "{text} {order:?}");
        }
    }

    #[test]
    fn other_numbers_are_no_dates() {
        for text in
            ["45.6", "1.2.3.4", "0101234567890", "32/13/2026", "12345678", "2026", "192.168.1.1", "99:99"]
        {
            let line = folded(text);
            assert!(moment(&line, &lexemes(&line), true).is_none(), "{text}");
        }
        let line = folded("20261103 kWh");
        assert!(moment(&line, &lexemes(&line), false).is_none());
    }
}
