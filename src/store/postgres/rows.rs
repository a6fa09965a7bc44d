//! The tables of rows under seal: columns in, columns out, whatever they mean.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::Row as Found;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::column::{bytes_or_null, foreign, get};
use super::connection::Connection;
use crate::store::StoreError;
use crate::store::engine::{NumberedSeal, Row, Select, Table, Value};

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) => number.to_sql_checked(ty, out),
            Self::Text(text) => text.to_sql_checked(ty, out),
            Self::Blob(bytes) => bytes.as_slice().to_sql_checked(ty, out),
        }
    }

    // The value itself is looked at when it is written.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The rows that are wanted, in the order of their numbers.
pub(super) fn select(connection: &mut Connection, select: &Select) -> Result<Vec<Row>, StoreError> {
    let table = select.table;
    let mut sql = format!("SELECT number, seal, {} FROM {}", table.columns().join(", "), table.name());
    let mut params: Vec<&(dyn ToSql + Sync)> = Vec::new();
    let mut conditions: Vec<String> = Vec::new();
    for (column, value) in &select.equal {
        match value {
            // A state is part of the statement: indexes of some states alone serve it so.
            Value::Text(text)
                if *column == "state" && text.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'_')) =>
            {
                conditions.push(format!("{column} = '{text}'"));
            }
            value => {
                params.push(value);
                conditions.push(format!("{column} = ${}", params.len()));
            }
        }
    }
    if let Some((column, values)) = &select.any {
        params.push(values);
        conditions.push(format!("{column} = ANY(${})", params.len()));
    }
    if select.after > 0 {
        params.push(&select.after);
        conditions.push(format!("number > ${}", params.len()));
    }
    if !conditions.is_empty() {
        sql.push_str(" WHERE ");
        sql.push_str(&conditions.join(" AND "));
    }
    sql.push_str(" ORDER BY number");
    let most = select.most.map(i64::from);
    if let Some(most) = &most {
        params.push(most);
        sql.push_str(&format!(" LIMIT ${}", params.len()));
    }
    connection.query(&sql, &params)?.iter().map(|found| read(table, found)).collect()
}

fn read(table: Table, found: &Found) -> Result<Row, StoreError> {
    let values = (0..table.columns().len()).map(|place| value(found, place + 2));
    Ok(Row {
        table,
        number: get(found, 0, "number")?,
        seal: bytes_or_null(found, 1, "seal")?,
        values: values.collect::<Result<_, _>>()?,
    })
}

fn value(found: &Found, place: usize) -> Result<Value, StoreError> {
    const WHAT: &str = "a table under seal";
    let of_type = found.columns().get(place).map(tokio_postgres::Column::type_);
    Ok(match of_type {
        Some(&Type::INT8) => get::<Option<i64>>(found, place, WHAT)?.into(),
        Some(&Type::TEXT) => get::<Option<String>>(found, place, WHAT)?.into(),
        Some(&Type::BYTEA) => get::<Option<Vec<u8>>>(found, place, WHAT)?.into(),
        _ => return Err(foreign(WHAT)),
    })
}

/// The number and the seal of every row, in the order of the numbers.
pub(super) fn seals(connection: &mut Connection, table: Table) -> Result<Vec<NumberedSeal>, StoreError> {
    let found =
        connection.query(&format!("SELECT number, seal FROM {} ORDER BY number", table.name()), &[])?;
    found.iter().map(|row| Ok((get(row, 0, "number")?, bytes_or_null(row, 1, "seal")?))).collect()
}

/// The values of columns as parameters.
fn params<'a>(columns: &'a [(&'static str, Value)]) -> Vec<&'a (dyn ToSql + Sync)> {
    columns.iter().map(|(_, value)| value as &(dyn ToSql + Sync)).collect()
}

pub(super) fn insert(
    connection: &mut Connection,
    table: Table,
    columns: &[(&'static str, Value)],
) -> Result<i64, StoreError> {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let places: Vec<String> = (1..=columns.len()).map(|place| format!("${place}")).collect();
    let sql = format!(
        "INSERT INTO {} ({}) VALUES ({}) RETURNING number",
        table.name(),
        names.join(", "),
        places.join(", ")
    );
    let written = connection.query_opt(&sql, &params(columns))?;
    get(&written.ok_or_else(|| foreign("number"))?, 0, "number")
}

pub(super) fn update(
    connection: &mut Connection,
    table: Table,
    number: i64,
    columns: &[(&'static str, Value)],
) -> Result<(), StoreError> {
    let changes: Vec<String> =
        columns.iter().enumerate().map(|(place, (name, _))| format!("{name} = ${}", place + 1)).collect();
    let sql =
        format!("UPDATE {} SET {} WHERE number = ${}", table.name(), changes.join(", "), columns.len() + 1);
    let mut params = params(columns);
    params.push(&number);
    connection.execute(&sql, &params).map(drop)
}

pub(super) fn put_seal(
    connection: &mut Connection,
    table: Table,
    number: i64,
    seal: [u8; 32],
) -> Result<(), StoreError> {
    let sql = format!("UPDATE {} SET seal = $1 WHERE number = $2", table.name());
    connection.execute(&sql, &[&seal.as_slice(), &number]).map(drop)
}

pub(super) fn delete(connection: &mut Connection, table: Table, number: i64) -> Result<(), StoreError> {
    connection.execute(&format!("DELETE FROM {} WHERE number = $1", table.name()), &[&number]).map(drop)
}
