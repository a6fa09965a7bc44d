//! Columns to types that cannot hold a wrong value: a row that somebody else has written is refused
//! here, not believed.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use rusqlite::types::Type;
use rusqlite::{Row, RowIndex};

/// A value that this program never writes.
#[derive(Debug)]
struct Foreign(&'static str);

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a value of {}", self.0)
    }
}

impl Error for Foreign {}

/// The failure for a column whose value is foreign. It says the column's meaning and not the value.
pub(super) fn foreign(what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Null, Box::new(Foreign(what)))
}

/// A text column, parsed.
pub(super) fn parsed<T: FromStr>(
    row: &Row<'_>,
    index: impl RowIndex,
    what: &'static str,
) -> rusqlite::Result<T> {
    row.get_ref(index)?.as_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| foreign(what))
}

/// An integer column of a small type, converted.
pub(super) fn coded<N, T>(row: &Row<'_>, index: impl RowIndex, what: &'static str) -> rusqlite::Result<T>
where
    N: TryFrom<i64>,
    T: TryFrom<N>,
{
    let number: i64 = row.get(index)?;
    N::try_from(number).ok().and_then(|number| T::try_from(number).ok()).ok_or_else(|| foreign(what))
}

/// The same, or nothing where the column is NULL.
pub(super) fn coded_or_null<N, T>(
    row: &Row<'_>,
    index: impl RowIndex,
    what: &'static str,
) -> rusqlite::Result<Option<T>>
where
    N: TryFrom<i64>,
    T: TryFrom<N>,
{
    let number: Option<i64> = row.get(index)?;
    number
        .map(|number| {
            N::try_from(number).ok().and_then(|number| T::try_from(number).ok()).ok_or_else(|| foreign(what))
        })
        .transpose()
}
