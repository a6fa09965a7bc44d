//! Raw messages: which lines belong together, and what they say of which token.

use super::{
    found::{Found, NotUnderstood},
    scan::{Item, Value, items},
    words::{Field, Words},
};

/// What messages say.
#[derive(Debug, Default)]
pub(super) struct Messages {
    pub(super) found: Vec<Found>,
    pub(super) not_understood: Vec<NotUnderstood>,
    /// Lines with no value in them: greetings, advertisements.
    pub(super) prose: u64,
}

/// Reads lines with their numbers, already folded. `read` is told each.
pub(super) fn read<'a>(
    lines: impl Iterator<Item = (u64, &'a str)>,
    words: &Words,
    mut read: impl FnMut(),
) -> Messages {
    let mut reader = Reader { all: Messages::default(), open: None };
    for (number, line) in lines {
        read();
        reader.line(number, line, words);
    }
    reader.close();
    reader.all
}

/// One message in a cell of a table.
pub(super) fn message(number: u64, text: &str, words: &Words) -> Messages {
    read(text.lines().map(|line| (number, line)), words, || {})
}

/// A record that is being read.
struct Open {
    line: u64,
    /// With what its block begins: the next such line begins the next record.
    opener: (Field, bool),
    items: Vec<Item>,
}

impl Open {
    fn has_token(&self) -> bool {
        self.items.iter().any(|item| item.value.field() == Field::Token)
    }
}

struct Reader {
    all: Messages,
    open: Option<Open>,
}

impl Reader {
    fn line(&mut self, number: u64, line: &str, words: &Words) {
        if line.trim().is_empty() {
            // A blank line ends a message that has its token.
            if self.open.as_ref().is_some_and(Open::has_token) {
                self.close();
            }
            return;
        }
        let mut items = items(line, words);
        if items.is_empty() {
            self.nothing(number, line);
        }
        items.retain(|item| !matches!(item.value, Value::Other));
        let Some(first) = items.first() else { return };
        let opener = (first.value.field(), first.labelled);
        let has = |field| items.iter().any(|item: &Item| item.value.field() == field);
        let is_whole = has(Field::Token) && items.len() > 1;
        let begins = self.open.as_ref().is_some_and(|open| {
            // Several tokens below one another belong to one message.
            let only_tokens = open.opener.0 == Field::Token
                && open.items.iter().all(|item| item.value.field() == Field::Token);
            let again = opener == open.opener && !only_tokens;
            again || (open.has_token() && is_whole)
        });
        if begins {
            self.close();
        }
        let open = self.open.get_or_insert_with(|| Open { line: number, opener, items: Vec::new() });
        open.items.extend(items);
    }

    /// A line without a value.
    fn nothing(&mut self, line: u64, text: &str) {
        // As many as a meter's number has in one piece, or about as many as a token in several.
        const ONE: usize = 11;
        const ALL: usize = 16;
        let longest = text.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
        if longest >= ONE || text.bytes().filter(u8::is_ascii_digit).count() >= ALL {
            let why = "it has digits, and nothing that is known to be a token".to_owned();
            self.all.not_understood.push(NotUnderstood { line, why });
        } else {
            self.all.prose += 1;
        }
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let mut not_understood = |why: String| {
            self.all.not_understood.push(NotUnderstood { line: open.line, why });
        };
        let mut beside = Found { line: open.line, ..Found::default() };
        let (mut tokens, mut labelled, mut is_told) = (Vec::new(), Vec::new(), false);
        for Item { value, labelled: is_labelled } in open.items {
            let field = value.field();
            match value {
                Value::Token(digits) => {
                    if !tokens.contains(&digits) {
                        tokens.push(digits);
                    }
                    continue;
                }
                Value::NoToken(why) => {
                    not_understood(why);
                    is_told = true;
                    continue;
                }
                _ => {}
            }
            // What a label names goes before what only looks so; of two that say the same, the first.
            let before = labelled.iter().find(|(known, _)| *known == field).map(|(_, labelled)| *labelled);
            let differs =
                take(&mut beside, value, before.is_none() || (is_labelled && before == Some(false)));
            if differs && before == Some(is_labelled) && field != Field::Time {
                beside.notes.push(format!("a second {} stands there too", name(field)));
            }
            if before.is_none() {
                labelled.push((field, is_labelled));
            } else if is_labelled {
                labelled.iter_mut().filter(|(known, _)| *known == field).for_each(|known| known.1 = true);
            }
        }
        if labelled.iter().any(|(field, labelled)| *field == Field::Meter && !labelled) {
            beside.notes.push("the meter's number stands without a label".to_owned());
        }
        if tokens.is_empty() {
            if is_told {
                return;
            }
            if labelled.iter().any(|(field, _)| *field != Field::Time) {
                let fields: Vec<&str> = labelled.iter().map(|(field, _)| name(*field)).collect();
                not_understood(format!("{}, and no token", fields.join(", ")));
            } else {
                self.all.prose += 1;
            }
            return;
        }
        let several = tokens.len() > 1;
        for (index, token) in tokens.into_iter().enumerate() {
            let mut found = Found { token: Some(token), ..beside.clone() };
            if several {
                found.notes.push("one message has several tokens".to_owned());
            }
            if index > 0 {
                // Paid once, and transferred by one of them: which one is not said.
                (found.units, found.amount) = (None, None);
            }
            self.all.found.push(found);
        }
    }
}

/// Puts a value at its place if it is to stand there; whether it is another one than stands there.
fn take(found: &mut Found, value: Value, takes: bool) -> bool {
    fn put<T: PartialEq>(place: &mut Option<T>, value: T, takes: bool) -> bool {
        let differs = place.as_ref().is_some_and(|before| *before != value);
        if takes {
            *place = Some(value);
        }
        differs
    }
    match value {
        Value::Meter(meter) => put(&mut found.meter, meter, takes),
        Value::Units(number, unit) => {
            if takes {
                found.unit = unit.to_owned();
            }
            put(&mut found.units, number, takes)
        }
        Value::Amount(number, code) => {
            if takes {
                found.currency = code.to_owned();
            }
            put(&mut found.amount, number, takes)
        }
        Value::Time(moment) => put(&mut found.time, moment, takes),
        Value::Token(_) | Value::NoToken(_) | Value::Other => false,
    }
}

/// A field's name for people.
pub(super) fn name(field: Field) -> &'static str {
    match field {
        Field::Meter => "meter",
        Field::Token => "token",
        Field::Units => "quantity",
        Field::Amount => "amount",
        Field::Time => "time",
        Field::Message => "message",
        Field::Other => "other",
    }
}
