//! Columns to types that cannot hold a wrong value: a row that somebody else has written is refused
//! here, not believed.

use std::str::FromStr;

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::store::StoreError;

/// The failure for a column whose value is none of ours. It says the column's meaning and not the
/// value.
pub(super) fn foreign(what: &'static str) -> StoreError {
    StoreError::Corrupt { reason: format!("not a value of {what}") }
}

/// A column.
pub(super) fn get<'a, T: FromSql<'a>>(
    row: &'a Row,
    index: usize,
    what: &'static str,
) -> Result<T, StoreError> {
    row.try_get(index).map_err(|_| foreign(what))
}

/// A text column, parsed.
pub(super) fn parsed<T: FromStr>(row: &Row, index: usize, what: &'static str) -> Result<T, StoreError> {
    get::<&str>(row, index, what)?.parse().map_err(|_| foreign(what))
}

/// So many bytes.
pub(super) fn bytes<const N: usize>(
    row: &Row,
    index: usize,
    what: &'static str,
) -> Result<[u8; N], StoreError> {
    get::<&[u8]>(row, index, what)?.try_into().map_err(|_| foreign(what))
}

/// So many bytes, or nothing where the column is NULL.
pub(super) fn bytes_or_null<const N: usize>(
    row: &Row,
    index: usize,
    what: &'static str,
) -> Result<Option<[u8; N]>, StoreError> {
    let found = get::<Option<&[u8]>>(row, index, what)?;
    found.map(|bytes| bytes.try_into().map_err(|_| foreign(what))).transpose()
}

/// An integer column, converted.
pub(super) fn coded<N, T>(row: &Row, index: usize, what: &'static str) -> Result<T, StoreError>
where
    N: for<'a> FromSql<'a>,
    T: TryFrom<N>,
{
    get::<N>(row, index, what)?.try_into().map_err(|_| foreign(what))
}

/// The same, or nothing where the column is NULL.
pub(super) fn coded_or_null<N, T>(
    row: &Row,
    index: usize,
    what: &'static str,
) -> Result<Option<T>, StoreError>
where
    N: for<'a> FromSql<'a>,
    T: TryFrom<N>,
{
    let found = get::<Option<N>>(row, index, what)?;
    found.map(|number| number.try_into().map_err(|_| foreign(what))).transpose()
}

/// A number as the database keeps it.
pub(super) fn number<N: TryInto<i64>>(number: N) -> Result<i64, StoreError> {
    number
        .try_into()
        .map_err(|_| StoreError::Defect { reason: "a number is too large for the database".into() })
}

/// A limit as the database takes it.
pub(super) fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}
