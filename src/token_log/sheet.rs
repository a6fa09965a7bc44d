//! Tables: which column is what, and what their rows say.

use super::{
    fold::folded,
    found::{Found, NotUnderstood, TokenDigits},
    lexeme::lexemes,
    message,
    moment::moment,
    number::number,
    profile::{Layout, Profile},
    scan::{METERS, Value, items},
    words::{Field, Words, currency, unit},
};
use crate::{
    sts::typed,
    table::{Row, Table},
};

/// Rows that are looked at to tell what columns are.
const LOOKED_AT: usize = 50;
/// Digits of a token.
const TOKEN: usize = 20;

/// Names of columns that say of what unit and of what currency their rows are.
const UNIT_COLUMNS: [&str; 4] = ["unit", "unite", "unidade", "uom"];
const CURRENCY_COLUMNS: [&str; 5] = ["currency", "devise", "moeda", "moneda", "sarafu"];

/// The columns of a table.
#[derive(Debug)]
pub(super) struct Sheet {
    /// Where each field stands; of two that may be one, the one that holds more of it.
    columns: Vec<(Field, usize)>,
    /// The unit and the currency that the header names.
    unit: String,
    currency: String,
    /// Columns of units and of currencies, as our own tables have them.
    unit_column: Option<usize>,
    currency_column: Option<usize>,
    has_header: bool,
    /// What the first row names and what was decided about it, for people.
    pub(super) notes: Vec<String>,
}

/// What a table says.
pub(super) enum Line {
    Found(Box<Found>),
    Messages(Box<message::Messages>),
    NotUnderstood(NotUnderstood),
}

impl Sheet {
    /// The columns, if this is a table of tokens: by a profile, by its header, or by what stands in
    /// its cells.
    pub(super) fn of(table: &Table, words: &Words, profile: &Profile) -> Option<Self> {
        let own = profile.own_columns();
        if !own.is_empty() {
            let columns = own.into_iter().enumerate().map(|(index, field)| (field, index)).collect();
            // A header may stand there all the same.
            let has_header = table.rows().next().is_some_and(|row| names(&row, words).len() > 1);
            return Some(Self { has_header, ..Self::new(columns) });
        }
        let rows: Vec<Row> = table.rows().take(LOOKED_AT).collect();
        let first = rows.first()?;
        let by_header = Self::by_header(first, &rows, words);
        if by_header.is_some() || profile.layout == Some(Layout::Text) {
            return by_header.filter(|_| profile.layout != Some(Layout::Text));
        }
        Self::by_cells(&rows)
    }

    fn new(columns: Vec<(Field, usize)>) -> Self {
        Self {
            columns,
            unit: String::new(),
            currency: String::new(),
            unit_column: None,
            currency_column: None,
            has_header: false,
            notes: Vec::new(),
        }
    }

    fn by_header(header: &Row, rows: &[Row], words: &Words) -> Option<Self> {
        let exactly = |names: &[&str]| {
            (0..header.cells.len()).find(|index| names.contains(&folded(header.cell(*index)).as_str()))
        };
        let mut names = names(header, words);
        let units = names.iter().filter(|(field, ..)| *field == Field::Units).count();
        let unit_column = exactly(&UNIT_COLUMNS).filter(|_| units > 1);
        let currency_column = exactly(&CURRENCY_COLUMNS);
        names.retain(|(_, index, _)| Some(*index) != unit_column && Some(*index) != currency_column);
        let has = |field| names.iter().any(|(known, ..)| *known == field);
        if !(has(Field::Token) || has(Field::Message)) || header.cells.len() < 2 {
            return None;
        }
        let (mut columns, mut notes): (Vec<(Field, usize)>, _) = (Vec::new(), Vec::new());
        for (field, index, _) in names.iter().filter(|(field, ..)| *field != Field::Other) {
            if columns.iter().any(|(known, _)| known == field) {
                continue;
            }
            let score =
                |index: usize| rows.iter().skip(1).filter(|row| holds(*field, row.cell(index))).count();
            let mut best = *index;
            for (_, other, _) in names.iter().filter(|(other, ..)| other == field) {
                if score(*other) > score(best) {
                    best = *other;
                }
            }
            let others: Vec<&str> = names
                .iter()
                .filter(|(other, index, _)| other == field && *index != best)
                .map(|(_, index, _)| header.cell(*index))
                .collect();
            if !others.is_empty() {
                notes.push(format!(
                    "the column {:?} is taken for the {}, not {:?}",
                    header.cell(best),
                    message::name(*field),
                    others.join(", ")
                ));
            }
            columns.push((*field, best));
        }
        let said = |field: Field| {
            let index = columns.iter().find(|(known, _)| *known == field).map(|(_, index)| *index);
            index.map(|index| folded(header.cell(index))).unwrap_or_default()
        };
        let (units, amount) = (said(Field::Units), said(Field::Amount));
        let (units, amount) = (lexemes(&units), lexemes(&amount));
        let unit = (0..units.len()).filter_map(|at| unit(&units, at)).find(|(unit, _)| !unit.is_empty());
        let code = (0..amount.len()).find_map(|at| currency(&amount, at, false));
        Some(Self {
            unit: unit.map(|(unit, _)| unit.to_owned()).unwrap_or_default(),
            currency: code.unwrap_or_default().to_owned(),
            unit_column,
            currency_column,
            has_header: true,
            notes,
            ..Self::new(columns)
        })
    }

    /// Without a header: tokens, meters and times show what they are; numbers do not.
    fn by_cells(rows: &[Row]) -> Option<Self> {
        let width = rows.first()?.cells.len();
        let is_even = rows.iter().all(|row| row.cells.len() == width);
        if width < 2 || !is_even {
            return None;
        }
        let mostly = |field: Field| {
            let score = |index: usize| rows.iter().filter(|row| holds(field, row.cell(index))).count();
            (0..width).find(|index| score(*index) * 2 > rows.len())
        };
        let columns: Vec<(Field, usize)> = [Field::Token, Field::Meter, Field::Time]
            .into_iter()
            .filter_map(|field| Some((field, mostly(field)?)))
            .collect();
        let has_token = columns.iter().any(|(field, _)| *field == Field::Token);
        let note = "the table has no header: a profile with columns = […] says which are units and amounts";
        has_token.then(|| Self { notes: vec![note.to_owned()], ..Self::new(columns) })
    }

    /// What each row says.
    pub(super) fn lines<'a>(&'a self, table: &'a Table, words: &'a Words) -> impl Iterator<Item = Line> + 'a {
        let header = if self.has_header { table.rows().next() } else { None };
        table.rows().skip(usize::from(self.has_header)).map(move |row| match &header {
            Some(header) if self.cell(&row, Field::Message).is_empty() => match row.fits(header) {
                Ok(()) => self.line(&row, words),
                Err(problem) => {
                    Line::NotUnderstood(NotUnderstood { line: row.line, why: problem.to_string() })
                }
            },
            _ => self.line(&row, words),
        })
    }

    fn cell<'a>(&self, row: &'a Row, field: Field) -> &'a str {
        let index = self.columns.iter().find(|(known, _)| *known == field).map(|(_, index)| *index);
        index.map(|index| row.cell(index)).unwrap_or_default()
    }

    fn line(&self, row: &Row, words: &Words) -> Line {
        let not_understood = |why: String| Line::NotUnderstood(NotUnderstood { line: row.line, why });
        let time = folded(self.cell(row, Field::Time));
        let time_read = moment(&time, &lexemes(&time), true);
        let text = self.cell(row, Field::Message);
        if !text.is_empty() {
            let mut messages = message::message(row.line, &folded(text), words);
            for found in &mut messages.found {
                // The message knows better than the telephone that received it.
                found.time = found.time.take().or_else(|| time_read.clone().map(|(moment, _)| moment));
            }
            return Line::Messages(Box::new(messages));
        }
        let or = |column: Option<usize>, other: &str| {
            let own = column.map(|index| row.cell(index)).unwrap_or_default();
            if own.is_empty() { other.to_owned() } else { own.to_owned() }
        };
        let mut found = Found {
            line: row.line,
            unit: or(self.unit_column, &self.unit),
            currency: or(self.currency_column, &self.currency),
            ..Found::default()
        };
        let token = self.cell(row, Field::Token);
        if token.is_empty() {
            return not_understood("no token stands in its column".to_owned());
        }
        found.token = match token_digits(token) {
            Ok(digits) => Some(digits),
            Err(why) => return not_understood(why),
        };
        let meter = self.cell(row, Field::Meter);
        match typed::digits(meter) {
            Ok(digits) => found.meter = Some(digits),
            Err(_) if meter.is_empty() => {}
            Err(error) => found.notes.push(format!("meter: {error}")),
        }
        match time_read {
            Some((moment, _)) => found.time = Some(moment),
            None if time.is_empty() => {}
            None => found.notes.push("the time is not understood".to_owned()),
        }
        self.numbers(row, words, &mut found);
        Line::Found(Box::new(found))
    }

    fn numbers(&self, row: &Row, words: &Words, found: &mut Found) {
        for field in [Field::Units, Field::Amount] {
            let cell = folded(self.cell(row, field));
            if cell.is_empty() {
                continue;
            }
            let lexemes = lexemes(&cell);
            let plain = number(&cell, &lexemes).filter(|(_, used)| *used == lexemes.len());
            match (field, plain) {
                (Field::Units, Some((number, _))) => found.units = Some(number),
                (_, Some((number, _))) => found.amount = Some(number),
                // `45.6 kWh`, `KES 500.00`.
                _ => match items(&cell, words).into_iter().next().map(|item| item.value) {
                    Some(Value::Units(number, unit)) if field == Field::Units => {
                        found.units = Some(number);
                        if !unit.is_empty() {
                            found.unit = unit.to_owned();
                        }
                    }
                    Some(Value::Amount(number, code)) if field == Field::Amount => {
                        (found.amount, found.currency) = (Some(number), code.to_owned());
                    }
                    _ => found.notes.push(format!("the {} is not understood", message::name(field))),
                },
            }
        }
    }
}

/// The cells of a header that are known: what each is, where, and its text.
fn names(header: &Row, words: &Words) -> Vec<(Field, usize, String)> {
    let mut found = Vec::new();
    for index in 0..header.cells.len() {
        let text = folded(header.cell(index)).replace('_', " ");
        let lexemes = lexemes(&text);
        // `Transaction Date` is a date: what stands last says what it is, and long names go first.
        let (mut at, mut field) = (0, None);
        while at < lexemes.len() {
            match words.label(&lexemes[at..]) {
                Some((known, used)) => {
                    let is_first_of_others = field.is_none() || known != Field::Other;
                    if is_first_of_others {
                        field = Some(known);
                    }
                    at += used;
                }
                None => at += 1,
            }
        }
        // A cell with digits is no name, but for m3.
        let is_name = !text.bytes().any(|byte| byte.is_ascii_digit()) || text.contains("m3");
        if let Some(field) = field.filter(|_| is_name) {
            found.push((field, index, text));
        }
    }
    found
}

/// Whether a cell holds what its column is for.
fn holds(field: Field, cell: &str) -> bool {
    let text = folded(cell);
    let lexemes = lexemes(&text);
    let begins_with_digit =
        lexemes.first().is_some_and(|first| first.is_digits() || first.is_mark(&['\'', '"', '#', '=']));
    match field {
        Field::Token => begins_with_digit && token_digits(cell).is_ok(),
        Field::Meter => {
            begins_with_digit && typed::digits(cell).is_ok_and(|digits| METERS.contains(&digits.len()))
        }
        Field::Time => moment(&text, &lexemes, true).is_some(),
        Field::Units | Field::Amount => {
            number(&text, &lexemes).is_some() || text.bytes().any(|byte| byte.is_ascii_digit())
        }
        Field::Message => cell.len() > TOKEN,
        Field::Other => false,
    }
}

fn token_digits(cell: &str) -> Result<TokenDigits, String> {
    match typed::digits(cell) {
        Ok(digits) if digits.len() == TOKEN => Ok(TokenDigits::new(digits)),
        Ok(digits) if digits.len() < TOKEN => Err(format!(
            "a token of {} digits, and a token has {TOKEN} (a spreadsheet drops zeros in front and rounds what is long)",
            digits.len()
        )),
        Ok(digits) => Err(format!("a token of {} digits, and a token has {TOKEN}", digits.len())),
        Err(error) => Err(format!("the token is no number: {error}")),
    }
}
