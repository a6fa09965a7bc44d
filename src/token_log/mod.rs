//! Files and logs of tokens as people keep them: short messages, exports of telephones, tables of
//! utilities' gateways. Meter, token, quantity, amount and time are found by the words before them,
//! in several languages, and by their forms.
//!
//! Nothing is guessed silently. A date or number that can be read in two ways is read as the others
//! of its file show, or it stays open and is marked; what was not understood is told line by line.
//!
//! The way of a file: `fold` and `lexeme` make text comparable; `scan` finds values on a line with
//! `words`, `number` and `moment`; `message` and `sheet` tell which values belong together;
//! `settle` decides what dates and numbers mean; `entry` marks what is strange.

mod entry;
mod fold;
mod found;
mod lexeme;
mod message;
mod moment;
mod number;
mod profile;
mod scan;
mod settle;
mod sheet;
mod summary;
mod words;

pub use entry::{Entry, Mark};
pub use found::{NotUnderstood, TokenDigits};
pub use moment::{DateOrder, Time};
pub use number::Decimal;
pub use profile::{Labels, Layout, Profile, ProfileError};
pub use summary::{Meter, Prices, Summary, Sums};
pub use words::Field;

use crate::table::{Format, Problem, Table};
use sheet::{Line, Sheet};
use words::Words;

/// What files say.
#[derive(Debug, Default)]
pub struct Log {
    /// Their names.
    pub files: Vec<File>,
    /// Every token that was found, in the order of the files.
    pub entries: Vec<Entry>,
}

/// What is told of one file.
#[derive(Debug, Default)]
pub struct File {
    /// Its name.
    pub name: String,
    /// How many tokens it has.
    pub tokens: usize,
    /// What was not understood, by line.
    pub not_understood: Vec<NotUnderstood>,
    /// Lines without any value: greetings.
    pub prose: u64,
    /// How it was read, for people.
    pub decisions: Vec<String>,
}

impl Log {
    /// Reads one more file. `progress` is told every line.
    pub fn read(&mut self, name: &str, bytes: Vec<u8>, profile: &Profile, mut progress: impl FnMut()) {
        let words = Words::new(profile.own_labels());
        // Names under which gateways write the two columns that every table has.
        const NAMES: [&str; 12] = [
            "token",
            "tokens",
            "token_number",
            "jeton",
            "tokeni",
            "ficha",
            "recarga",
            "meter",
            "meter_number",
            "compteur",
            "contador",
            "mita",
        ];
        let table =
            Table::new(bytes, Format { encoding: profile.encoding, separator: profile.separator }, &NAMES);
        let mut file = File { name: name.to_owned(), ..File::default() };
        let sheet = Sheet::of(&table, &words, profile);
        let is_table = sheet.is_some();
        for fault in table.faults() {
            // Quotes mean nothing in messages.
            let is_quote = matches!(
                fault.problem,
                Problem::OpenQuote | Problem::TextBehindQuote { .. } | Problem::BlankBeforeQuote
            );
            if is_table || !is_quote {
                let why = fault.problem.to_string();
                file.not_understood.push(NotUnderstood { line: fault.line, why });
            }
        }
        let mut found = Vec::new();
        match (sheet, profile.layout) {
            (None, Some(Layout::Table)) => {
                let why = "no column of tokens is known in the first line: a profile with columns = […] or labels names it";
                file.not_understood.push(NotUnderstood { line: 1, why: why.to_owned() });
            }
            (Some(sheet), _) => {
                file.decisions.extend(sheet.notes.iter().cloned());
                for line in sheet.lines(&table, &words) {
                    progress();
                    match line {
                        Line::Found(one) => found.push(*one),
                        Line::NotUnderstood(one) => file.not_understood.push(one),
                        Line::Messages(messages) => {
                            found.extend(messages.found);
                            file.not_understood.extend(messages.not_understood);
                            file.prose += messages.prose;
                        }
                    }
                }
            }
            (None, _) => {
                let text = fold::folded(table.text());
                let lines = text.lines().enumerate().map(|(index, line)| (index as u64 + 1, line));
                let messages = message::read(lines, &words, progress);
                found.extend(messages.found);
                file.not_understood.extend(messages.not_understood);
                file.prose += messages.prose;
            }
        }
        let said = settle::Said {
            order: profile.date_order,
            mark: profile.decimal_mark,
            unit: profile.unit.clone(),
            currency: profile.currency.clone(),
        };
        let (mut entries, decisions) = settle::settle(found, &said);
        file.decisions.extend(decisions);
        file.tokens = entries.len();
        file.not_understood.sort_by_key(|one| one.line);
        for entry in &mut entries {
            entry.file = self.files.len();
        }
        self.entries.extend(entries);
        self.files.push(file);
    }

    /// Marks what is strange, over all files: to be called once, behind the last one.
    pub fn mark(&mut self) {
        let names: Vec<String> = self.files.iter().map(|file| file.name.clone()).collect();
        entry::mark(&mut self.entries, &names);
    }
}

#[cfg(test)]
mod tests;
