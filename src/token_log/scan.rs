//! What stands on a line of free text: labels with their values, and values that show by themselves
//! what they are.

use super::{
    found::TokenDigits,
    lexeme::{Kind, Lexeme, lexemes},
    moment::{Moment, moment},
    number::{Number, number},
    words::{Field, Words, behind_label, currency, unit},
};
use crate::sts::{
    meter::{Drn, MeterPan},
    typed,
};

/// Digits of a token.
const TOKEN: usize = 20;
/// Digits of a meter's number, with and without the issuer.
pub(super) const METERS: [usize; 3] = [11, 13, 18];

/// A value on a line.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Token(TokenDigits),
    /// Said to be a token, and none: why.
    NoToken(String),
    Meter(String),
    Units(Number, &'static str),
    Amount(Number, &'static str),
    Time(Moment),
    /// Of no use here: taxes, receipts.
    Other,
}

impl Value {
    /// What it is, to tell where a record begins.
    pub(super) fn field(&self) -> Field {
        match self {
            Self::Token(_) | Self::NoToken(_) => Field::Token,
            Self::Meter(_) => Field::Meter,
            Self::Units(..) => Field::Units,
            Self::Amount(..) => Field::Amount,
            Self::Time(_) => Field::Time,
            Self::Other => Field::Other,
        }
    }
}

/// A value, and whether a label said what it is.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) value: Value,
    pub(super) labelled: bool,
}

/// All values of a folded line, in their order.
pub(super) fn items(line: &str, words: &Words) -> Vec<Item> {
    let lexemes = lexemes(line);
    let scan = Scan { line, lexemes: &lexemes, words };
    let (mut at, mut items) = (0, Vec::new());
    while at < lexemes.len() {
        let found = scan.labelled(at).or_else(|| scan.unlabelled(at));
        match found {
            Some((item, end)) => {
                items.extend(item);
                at = end.max(at + 1);
            }
            None => at += 1,
        }
    }
    items
}

struct Scan<'a> {
    line: &'a str,
    lexemes: &'a [Lexeme<'a>],
    words: &'a Words,
}

/// An item, if there is one, and the lexeme behind what was read.
type Step = Option<(Option<Item>, usize)>;

impl Scan<'_> {
    fn rest(&self, at: usize) -> &[Lexeme<'_>] {
        &self.lexemes[at.min(self.lexemes.len())..]
    }

    fn labelled(&self, at: usize) -> Step {
        let (field, used) = self.words.label(self.rest(at))?;
        let label_end = at + used;
        let start = behind_label(self.lexemes, label_end);
        let item = |value| Some(Item { value, labelled: true });
        let read = match field {
            Field::Meter => self.meter(start).map(|(meter, end)| (item(Value::Meter(meter)), end)),
            Field::Token => self.token(self.ordinal(label_end)).map(|(value, end)| (item(value), end)),
            Field::Units => self.quantity(start).map(|(value, end)| (item(value), end)),
            Field::Amount => self.money(start).map(|(value, end)| (item(value), end)),
            Field::Time => moment(self.line, self.rest(start), true)
                .map(|(moment, used)| (item(Value::Time(moment)), start + used)),
            Field::Other => Some((item(Value::Other), self.other(start))),
            Field::Message => None,
        };
        // A label without its value is passed over: prose.
        Some(read.unwrap_or((None, label_end)))
    }

    fn unlabelled(&self, at: usize) -> Step {
        let item = |value| Some(Item { value, labelled: false });
        // A number that goes on from the one before is a part of it.
        let is_part = at > 0 && {
            let before = self.lexemes[at - 1];
            !self.lexemes[at].blank
                && (before.is_digits()
                    || before.is_mark(&['.', ',']) && at > 1 && self.lexemes[at - 2].is_digits())
        };
        if is_part && self.lexemes[at].is_digits() {
            return None;
        }
        if let Some((moment, used)) = moment(self.line, self.rest(at), false) {
            return Some((item(Value::Time(moment)), at + used));
        }
        if let Some((digits, end)) = self.grouped_token(at) {
            return Some((item(Value::Token(digits)), end));
        }
        // Money: its sign before or behind the number.
        if currency(self.lexemes, at, true).is_some() {
            if let Some((value, end)) = self.money(at) {
                return Some((item(value), end));
            }
            return None;
        }
        if !self.lexemes[at].is_digits() {
            return None;
        }
        if let Some((number, used)) = number(self.line, self.rest(at)) {
            let end = at + used;
            if let Some((unit, used)) = unit(self.lexemes, end) {
                return Some((item(Value::Units(number, unit)), end + used));
            }
            if let Some(code) = currency(self.lexemes, end, false) {
                return Some((item(Value::Amount(number, code)), end + 1));
            }
        }
        let digits = self.lexemes[at].text;
        let is_telephone = at > 0 && self.lexemes[at - 1].is_mark(&['+']);
        if METERS.contains(&digits.len()) && !is_telephone && is_meter(digits) {
            return Some((item(Value::Meter(digits.to_owned())), at + 1));
        }
        // A run of digits is read whole or not at all.
        Some((None, at + 1))
    }

    /// Behind a label of a token and `1:`, `1 of 3:`, `2/3:`.
    fn ordinal(&self, label_end: usize) -> usize {
        let start = behind_label(self.lexemes, label_end);
        let small = |at: usize| {
            self.lexemes.get(at).is_some_and(|lexeme| lexeme.is_digits() && lexeme.text.len() <= 2)
        };
        if !small(start) {
            return start;
        }
        let next = self.lexemes.get(start + 1);
        if next.is_some_and(|next| next.is_word(&["of", "de", "sur", "ya"]) || next.is_mark(&['/']))
            && small(start + 2)
        {
            return behind_label(self.lexemes, start + 3);
        }
        if next.is_some_and(|next| next.is_mark(&[':', '=', ')'])) {
            return behind_label(self.lexemes, start + 1);
        }
        start
    }

    /// Digits behind a label of a token, in whatever groups.
    fn token(&self, start: usize) -> Option<(Value, usize)> {
        self.lexemes.get(start).filter(|lexeme| lexeme.is_digits())?;
        if let Some((digits, end)) = self.grouped_token(start) {
            return Some((Value::Token(digits), end));
        }
        // Any groups that come to 20, as long as nothing but one kind of mark stands between.
        let (mut digits, mut end, mut between) = (String::new(), start, None);
        while let Some(lexeme) = self.lexemes.get(end) {
            let mark = match lexeme.kind {
                Kind::Digits if end > start && lexeme.blank && self.is_other_number(end) => break,
                Kind::Digits => {
                    let blank =
                        (lexeme.blank && end > start && self.lexemes[end - 1].is_digits()).then_some(" ");
                    digits.push_str(lexeme.text);
                    blank
                }
                Kind::Mark if lexeme.is_mark(&['-', '.', '_', '/', '~', '*', ',']) => Some(lexeme.text),
                // Letters that are taken for digits belong to the token, so that they are told.
                Kind::Word
                    if lexeme.text.len() <= 2
                        && !lexeme.blank
                        && lexeme.is_word(&["o", "l", "i", "s", "b", "z", "oo", "ol", "lo", "io"]) =>
                {
                    digits.push_str(lexeme.text);
                    None
                }
                _ => break,
            };
            if mark.is_some() && between.is_some() && mark != between {
                break;
            }
            between = mark.or(between);
            end += 1;
            let is_whole = digits.len() == TOKEN && lexeme.kind != Kind::Mark;
            if is_whole || digits.len() > 2 * TOKEN {
                break;
            }
        }
        while end > start && self.lexemes[end - 1].kind == Kind::Mark {
            end -= 1;
        }
        let goes_on = self.lexemes.get(end).is_some_and(|next| next.is_digits() && !next.blank);
        // A few digits behind such a word are no token: `code 5`.
        if digits.len() < TOKEN / 2 {
            return None;
        }
        Some((
            match typed::digits(&digits) {
                Ok(digits) if digits.len() == TOKEN && !goes_on => Value::Token(TokenDigits::new(digits)),
                Ok(digits) => {
                    Value::NoToken(format!("a token of {} digits, and a token has {TOKEN}", digits.len()))
                }
                Err(error) => Value::NoToken(format!("the token is no number: {error}")),
            },
            end,
        ))
    }

    /// Whether a number that is no part of a token begins here: with a unit, a currency, decimals.
    fn is_other_number(&self, at: usize) -> bool {
        let next = self.lexemes.get(at + 1);
        let has_decimals = next.is_some_and(|next| next.is_mark(&['.', ',']) && !next.blank)
            && self.lexemes.get(at + 2).is_some_and(|next| next.is_digits() && !next.blank)
            && self.lexemes[at].text.len() != 4;
        has_decimals
            || unit(self.lexemes, at + 1).is_some()
            || currency(self.lexemes, at + 1, false).is_some()
    }

    /// 20 digits in one piece, or in equal groups with one kind of mark between.
    fn grouped_token(&self, start: usize) -> Option<(TokenDigits, usize)> {
        let first = self.lexemes.get(start).filter(|lexeme| lexeme.is_digits())?;
        let size = first.text.len();
        if !matches!(size, TOKEN | 10 | 5 | 4) {
            return None;
        }
        // Nor the end of more of the same.
        let before = start.checked_sub(1).and_then(|before| self.lexemes.get(before));
        if size < TOKEN && before.is_some_and(|before| before.is_digits() && before.text.len() == size) {
            return None;
        }
        let (mut digits, mut at, mut between) = (first.text.to_owned(), start + 1, None);
        while digits.len() < TOKEN {
            let mut next = self.lexemes.get(at)?;
            let mark = if next.is_mark(&['-', '.', '_', '/', '~']) {
                let mark = next.text;
                at += 1;
                next = self.lexemes.get(at)?;
                mark
            } else {
                " "
            };
            if between.is_some_and(|between| between != mark) || !next.is_digits() || next.text.len() != size
            {
                return None;
            }
            if mark == " " && !next.blank {
                return None;
            }
            between = Some(mark);
            digits.push_str(next.text);
            at += 1;
        }
        // Not the beginning of more of the same.
        let more = self.lexemes.get(at).is_some_and(|next| {
            next.is_digits() && (!next.blank || (between == Some(" ") && next.text.len() == size))
        });
        (!more && digits.len() == TOKEN).then(|| (TokenDigits::new(digits), at))
    }

    /// Digits behind a label of a meter. Whether they are a meter's number is marked later.
    fn meter(&self, start: usize) -> Option<(String, usize)> {
        let first = self.lexemes.get(start).filter(|lexeme| lexeme.is_digits())?;
        let mut digits = first.text.to_owned();
        let mut end = start + 1;
        // Groups, as far as they come to a meter's number: `0412 3456 789`.
        let mut longer = digits.clone();
        for at in start + 1..self.lexemes.len() {
            if METERS.contains(&digits.len()) {
                break;
            }
            let lexeme = self.lexemes[at];
            match lexeme.kind {
                Kind::Digits => longer.push_str(lexeme.text),
                Kind::Mark if lexeme.is_mark(&['-']) => continue,
                _ => break,
            }
            if METERS.contains(&longer.len()) {
                (digits, end) = (longer.clone(), at + 1);
            } else if longer.len() > 18 {
                break;
            }
        }
        // Shorter ones are no numbers of meters in any standard: `meter 2`.
        (digits.len() >= 5 && digits.len() < TOKEN).then_some((digits, end))
    }

    fn quantity(&self, start: usize) -> Option<(Value, usize)> {
        // `Units (kWh): 45.6`.
        let (before, start) = match unit(self.lexemes, start) {
            Some((unit, used)) => (unit, behind_label(self.lexemes, start + used)),
            None => ("", start),
        };
        let (number, used) = number(self.line, self.rest(start))?;
        let end = start + used;
        // `Energy 500 KES` is no quantity.
        if currency(self.lexemes, end, false).is_some() {
            return None;
        }
        Some(match unit(self.lexemes, end) {
            Some((unit, used)) => (Value::Units(number, unit), end + used),
            None => {
                // The label itself may be the unit: `kWh: 45.6`.
                let label = start.checked_sub(1).and_then(|_| self.label_unit(start));
                (Value::Units(number, if before.is_empty() { label.unwrap_or("") } else { before }), end)
            }
        })
    }

    /// The unit that a label just before `start` is.
    fn label_unit(&self, start: usize) -> Option<&'static str> {
        let word = self.lexemes[..start].iter().rev().find(|lexeme| lexeme.kind == Kind::Word)?;
        match word.text {
            "kwh" | "kwhs" => Some("kWh"),
            "kl" => Some("kl"),
            _ => None,
        }
    }

    fn money(&self, start: usize) -> Option<(Value, usize)> {
        let mut at = start;
        let mut code = "";
        // `GH¢`, `Amount (KES):`.
        for _ in 0..2 {
            if let Some(found) = currency(self.lexemes, at, true) {
                code = found;
                at = behind_label(self.lexemes, at + 1);
            } else if self.lexemes.get(at).is_some_and(|word| word.text == "gh") {
                at += 1;
            }
        }
        let (number, used) = number(self.line, self.rest(at))?;
        let mut end = at + used;
        // `25 units` behind such a label are none.
        if unit(self.lexemes, end).is_some() {
            return None;
        }
        // `5,000/=`, `100.00.`
        while self.lexemes.get(end).is_some_and(|mark| mark.is_mark(&['/', '=', '-']) && !mark.blank) {
            end += 1;
        }
        if code.is_empty()
            && let Some(found) = currency(self.lexemes, end, false)
        {
            (code, end) = (found, end + 1);
        }
        Some((Value::Amount(number, code), end))
    }

    /// What stands behind a label of no use: a number with its sign, or one piece of letters and
    /// digits.
    fn other(&self, start: usize) -> usize {
        if let Some((_, end)) = self.money(start) {
            let goes_on = self.lexemes.get(end).is_some_and(|next| !next.blank && next.kind == Kind::Word);
            if !goes_on {
                return end;
            }
        }
        // A word alone is prose.
        let mut end = start;
        while self.lexemes.get(end).is_some_and(|lexeme| {
            (end == start || !lexeme.blank) && (lexeme.kind != Kind::Mark || lexeme.is_mark(&['-', '/', '_']))
        }) {
            end += 1;
        }
        if self.lexemes[start..end].iter().any(Lexeme::is_digits) { end } else { start }
    }
}

/// Whether the check digits of a meter's number are right.
pub(super) fn is_meter(digits: &str) -> bool {
    match digits.len() {
        11 | 13 => digits.parse::<Drn>().is_ok(),
        18 => digits.parse::<MeterPan>().is_ok(),
        _ => false,
    }
}
