//! A clean line: a token with what is known of it, and what is strange about it.

use std::collections::HashMap;

use super::{Decimal, found::TokenDigits, moment::Time};
use crate::sts::{
    meter::{Drn, MeterError, MeterPan},
    token::Token,
};

/// What is strange about a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mark {
    /// The same token stands before, for the same meter.
    Double,
    /// The same token stands before, for another meter.
    OtherMeter,
    /// No number names the meter.
    NoMeter,
    /// A number that no meter has: not 11, 13 or 18 digits.
    NoMeterNumber,
    /// The check digit of the meter's number is wrong.
    CheckDigit,
    /// 20 digits that no token has.
    Impossible,
    /// It ends in zeros as what a spreadsheet has rounded does.
    LooksRounded,
    /// Of class 1 or 2, and units are told.
    NoCredit,
    /// The date may be two.
    AmbiguousDate,
    /// A number may be two.
    AmbiguousNumber,
    /// The ledger has it.
    InLedger,
    /// The ledger was asked about the meter and does not have it.
    NotInLedger,
}

impl Mark {
    /// All of them, in the order in which reports show them.
    pub const ALL: [Self; 12] = [
        Self::Double,
        Self::OtherMeter,
        Self::Impossible,
        Self::LooksRounded,
        Self::NoCredit,
        Self::CheckDigit,
        Self::NoMeterNumber,
        Self::NoMeter,
        Self::AmbiguousDate,
        Self::AmbiguousNumber,
        Self::InLedger,
        Self::NotInLedger,
    ];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Double => "double",
            Self::OtherMeter => "other_meter",
            Self::NoMeter => "no_meter",
            Self::NoMeterNumber => "no_meter_number",
            Self::CheckDigit => "check_digit",
            Self::Impossible => "impossible",
            Self::LooksRounded => "looks_rounded",
            Self::NoCredit => "no_credit",
            Self::AmbiguousDate => "ambiguous_date",
            Self::AmbiguousNumber => "ambiguous_number",
            Self::InLedger => "in_ledger",
            Self::NotInLedger => "not_in_ledger",
        }
    }

    /// What it says, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Double => "the same token stands before, for the same meter",
            Self::OtherMeter => "the same token stands before, for another meter",
            Self::NoMeter => "no number of a meter stands beside it",
            Self::NoMeterNumber => "the meter's number does not have 11, 13 or 18 digits",
            Self::CheckDigit => "the check digit of the meter's number is wrong",
            Self::Impossible => "no token has these digits",
            Self::LooksRounded => "the token ends in zeros, as a spreadsheet leaves a rounded one",
            Self::NoCredit => "the token is no credit by its class, and a quantity is told",
            Self::AmbiguousDate => "the date may be read in two ways, and is left out",
            Self::AmbiguousNumber => "a number may be read in two ways, and is left out",
            Self::InLedger => "the ledger of the server has it",
            Self::NotInLedger => "the ledger of the server has no such token of this meter",
        }
    }
}

/// A clean line.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Of which file, from 0.
    pub file: usize,
    /// On which line its record begins, from 1.
    pub line: u64,
    /// The meter's number, digits alone.
    pub meter: Option<String>,
    /// The token.
    pub token: TokenDigits,
    /// What it transfers.
    pub units: Option<Decimal>,
    /// kWh, m3 …; empty where nothing says it.
    pub unit: String,
    /// What was paid.
    pub amount: Option<Decimal>,
    /// Of which currency; empty where nothing says it.
    pub currency: String,
    /// When.
    pub time: Option<Time>,
    /// What is strange.
    pub marks: Vec<Mark>,
    /// The same and more, in words.
    pub notes: Vec<String>,
}

impl Entry {
    pub(super) fn new(line: u64, token: TokenDigits) -> Self {
        Self {
            file: 0,
            line,
            meter: None,
            token,
            units: None,
            unit: String::new(),
            amount: None,
            currency: String::new(),
            time: None,
            marks: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The class of the token, 0 to 3; it is readable without a key. `None`: no token has these
    /// digits.
    pub fn class(&self) -> Option<u8> {
        self.token.as_str().parse::<Token>().ok().map(|token| token.class())
    }

    /// What the digits and the meter's number say by themselves.
    fn mark_alone(&mut self) {
        match self.token.as_str().parse::<Token>() {
            Err(error) => {
                self.marks.push(Mark::Impossible);
                self.notes.push(error.to_string());
            }
            Ok(token) => {
                if token.class() == 3 {
                    self.marks.push(Mark::Impossible);
                    self.notes.push("class 3 is reserved".to_owned());
                }
                if token.looks_rounded() {
                    self.marks.push(Mark::LooksRounded);
                }
                if matches!(token.class(), 1 | 2) && self.units.is_some_and(Decimal::is_positive) {
                    self.marks.push(Mark::NoCredit);
                    self.notes.push(format!("a token of class {}", token.class()));
                }
            }
        }
        let Some(meter) = &self.meter else {
            self.marks.push(Mark::NoMeter);
            return;
        };
        let checked = match meter.len() {
            18 => meter.parse::<MeterPan>().map(drop),
            _ => meter.parse::<Drn>().map(drop),
        };
        if let Err(error) = checked {
            let mark = match error {
                MeterError::DrnShape | MeterError::PanShape | MeterError::Shape => Mark::NoMeterNumber,
                _ => Mark::CheckDigit,
            };
            self.marks.push(mark);
            self.notes.push(match mark {
                Mark::NoMeterNumber => format!("the meter's number has {} digits", meter.len()),
                _ => error.to_string(),
            });
        }
    }
}

/// Marks what is strange about each, and which are doubles of one before.
pub(super) fn mark(entries: &mut [Entry], files: &[String]) {
    let mut seen: HashMap<TokenDigits, usize> = HashMap::new();
    for index in 0..entries.len() {
        entries[index].mark_alone();
        let Some(&first) = seen.get(&entries[index].token) else {
            seen.insert(entries[index].token.clone(), index);
            continue;
        };
        let (before, own) = (&entries[first], &entries[index]);
        let is_other =
            matches!((&before.meter, &own.meter), (Some(one), Some(other)) if !same_meter(one, other));
        let place = if before.file == own.file {
            format!("line {}", before.line)
        } else {
            format!("{}, line {}", files.get(before.file).map_or("", String::as_str), before.line)
        };
        entries[index].marks.push(if is_other { Mark::OtherMeter } else { Mark::Double });
        entries[index].notes.push(format!("the same token stands on {place}"));
    }
}

/// Whether two numbers name one meter: a DRN is a part of its PAN.
fn same_meter(one: &str, other: &str) -> bool {
    let drn = |text: &str| match text.parse::<MeterPan>() {
        Ok(pan) => pan.drn().to_string(),
        Err(_) => text.to_owned(),
    };
    drn(one) == drn(other)
}
