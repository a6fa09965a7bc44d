//! Columns by their names.

use super::{
    fault::{Fault, Problem},
    rows::Row,
    trimmed,
};

/// A column that a command knows.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name; `also` are other ones. All in lower case, words joined by `_`.
    pub name: &'static str,
    /// Other names.
    pub also: &'static [&'static str],
    /// Whether it must be there.
    pub presence: Presence,
}

/// Whether a column must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Always.
    Needed,
    /// It may be missing, but nothing that may be it is passed over.
    Wanted,
    /// It may be missing.
    Optional,
}

/// Where the known columns stand, in their order.
#[derive(Clone, Debug)]
pub struct Columns(Vec<Option<usize>>);

impl Columns {
    /// Finds the columns in a header.
    ///
    /// # Errors
    /// All that are missing, there twice, or nearly there, as faults of the header's line.
    pub fn find(header: &Row, known: &[Column]) -> Result<Self, Vec<Fault>> {
        let names: Vec<String> = header.cells.iter().map(normal).collect();
        let is_one = |name: &str, column: &Column| name == column.name || column.also.contains(&name);
        let indexes = |column: &Column| -> Vec<usize> {
            (0..names.len()).filter(|index| is_one(&names[*index], column)).collect()
        };
        let (mut found, mut missing, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for column in known {
            let indexes = indexes(column);
            found.push(indexes.first().copied());
            if indexes.len() > 1 {
                problems.push(Problem::ColumnTwice { name: column.name.to_owned() });
            }
            if !indexes.is_empty() {
                continue;
            }
            let near = names
                .iter()
                .position(|name| !known.iter().any(|column| is_one(name, column)) && is_near(name, column));
            if let Some(near) = near {
                let found = format!("{:?}", trimmed(header.cells.get(near).unwrap_or_default()));
                problems.push(Problem::ColumnNear { found, meant: column.name });
            } else if column.presence == Presence::Needed {
                missing.push(column.name);
            }
        }
        if !missing.is_empty() {
            let shown: Vec<String> =
                header.cells.iter().take(20).map(|name| format!("{:?}", trimmed(name))).collect();
            problems.push(Problem::MissingColumns { missing: missing.join(", "), found: shown.join(", ") });
        }
        if problems.is_empty() {
            return Ok(Self(found));
        }
        Err(problems.into_iter().map(|problem| Fault { line: header.line, problem }).collect())
    }

    /// Whether a row names any of the columns.
    pub fn are_in(row: &Row, known: &[Column]) -> bool {
        row.cells.iter().map(normal).any(|name| {
            known.iter().any(|column| name == column.name || column.also.contains(&name.as_str()))
        })
    }

    /// Where the column stands that is the `index`th of those that were looked for.
    pub fn position(&self, index: usize) -> Option<usize> {
        self.0.get(index).copied().flatten()
    }
}

/// A name in lower case, words joined by `_`.
pub(super) fn normal(name: &str) -> String {
    trimmed(name).to_lowercase().replace([' ', '-', '\u{a0}'], "_")
}

/// Whether a name is likely a slip for the column's: a letter or two, or its word among others.
fn is_near(name: &str, column: &Column) -> bool {
    let slips = if column.name.len() > 4 { 2 } else { 1 };
    strsim::osa_distance(name, column.name) <= slips
        || (column.presence != Presence::Optional
            && name.split(|c: char| !c.is_alphanumeric()).any(|word| word == column.name))
}
