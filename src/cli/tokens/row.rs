//! A row of the clean table, for whatever it is written to.

use crate::token_log::{Entry, Log};

/// The columns of a clean table.
pub(super) const COLUMNS: [&str; 12] = [
    "file", "line", "time", "meter", "token", "class", "units", "unit", "amount", "currency", "marks",
    "notes",
];

/// The cells of an entry.
pub(super) fn row(log: &Log, entry: &Entry) -> [String; COLUMNS.len()] {
    let text = |value: Option<String>| value.unwrap_or_default();
    let marks: Vec<&str> = entry.marks.iter().map(|mark| mark.name()).collect();
    [
        log.files.get(entry.file).map(|file| file.name.clone()).unwrap_or_default(),
        entry.line.to_string(),
        text(entry.time.map(|time| time.to_string())),
        text(entry.meter.clone()),
        entry.token.to_string(),
        text(entry.class().map(|class| class.to_string())),
        text(entry.units.map(|units| units.to_string())),
        entry.unit.clone(),
        text(entry.amount.map(|amount| amount.to_string())),
        entry.currency.clone(),
        marks.join(" "),
        entry.notes.join("; "),
    ]
}
