//! The tables of rows under seal: columns in, columns out, whatever they mean.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use crate::store::StoreError;
use crate::store::engine::{NumberedSeal, Row, Select, Table, Value};

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// The rows that are wanted, in the order of their numbers.
pub(super) fn select(connection: &Connection, select: &Select) -> Result<Vec<Row>, StoreError> {
    let Some((column, values)) = &select.any else { return select_equal(connection, select) };
    let mut found = Vec::new();
    for value in values {
        let one = Select { any: None, ..select.clone() }.with(column, value.clone());
        found.extend(select_equal(connection, &one)?);
    }
    found.sort_by_key(|row| row.number);
    found.truncate(select.most.map_or(usize::MAX, |most| most as usize));
    Ok(found)
}

fn select_equal(connection: &Connection, select: &Select) -> Result<Vec<Row>, StoreError> {
    let table = select.table;
    let mut sql = format!("SELECT number, seal, {} FROM {}", table.columns().join(", "), table.name());
    let mut values: Vec<&Value> = Vec::new();
    let after = Value::from(select.after);
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
                values.push(value);
                conditions.push(format!("{column} = ?{}", values.len()));
            }
        }
    }
    if select.after > 0 {
        values.push(&after);
        conditions.push(format!("number > ?{}", values.len()));
    }
    if !conditions.is_empty() {
        sql.push_str(" WHERE ");
        sql.push_str(&conditions.join(" AND "));
    }
    sql.push_str(" ORDER BY number");
    let most = select.most.map(Value::from);
    if let Some(most) = &most {
        values.push(most);
        sql.push_str(&format!(" LIMIT ?{}", values.len()));
    }
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let values = (0..table.columns().len()).map(|place| value(row.get_ref(place + 2)?));
        found.push(Row {
            table,
            number: row.get(0)?,
            seal: row.get(1)?,
            values: values.collect::<rusqlite::Result<_>>()?,
        });
    }
    Ok(found)
}

fn value(found: ValueRef<'_>) -> rusqlite::Result<Value> {
    Ok(match found {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Text(_) => Value::Text(found.as_str()?.to_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        ValueRef::Real(_) => return Err(super::column::foreign("a table under seal")),
    })
}

/// The number and the seal of every row, in the order of the numbers.
pub(super) fn seals(connection: &Connection, table: Table) -> Result<Vec<NumberedSeal>, StoreError> {
    let sql = format!("SELECT number, seal FROM {} ORDER BY number", table.name());
    let mut statement = connection.prepare_cached(&sql)?;
    let seals = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(seals.collect::<Result<_, _>>()?)
}

pub(super) fn insert(
    connection: &Connection,
    table: Table,
    columns: &[(&'static str, Value)],
) -> Result<i64, StoreError> {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let places: Vec<String> = (1..=columns.len()).map(|place| format!("?{place}")).collect();
    let sql = format!("INSERT INTO {} ({}) VALUES ({})", table.name(), names.join(", "), places.join(", "));
    let values = columns.iter().map(|(_, value)| value);
    connection.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    Ok(connection.last_insert_rowid())
}

pub(super) fn update(
    connection: &Connection,
    table: Table,
    number: i64,
    columns: &[(&'static str, Value)],
) -> Result<(), StoreError> {
    let changes: Vec<String> =
        columns.iter().enumerate().map(|(place, (name, _))| format!("{name} = ?{}", place + 2)).collect();
    let sql = format!("UPDATE {} SET {} WHERE number = ?1", table.name(), changes.join(", "));
    let number = Value::from(number);
    let values = std::iter::once(&number).chain(columns.iter().map(|(_, value)| value));
    connection.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    Ok(())
}

pub(super) fn put_seal(
    connection: &Connection,
    table: Table,
    number: i64,
    seal: [u8; 32],
) -> Result<(), StoreError> {
    connection
        .prepare_cached(&format!("UPDATE {} SET seal = ?1 WHERE number = ?2", table.name()))?
        .execute((seal, number))?;
    Ok(())
}

pub(super) fn delete(connection: &Connection, table: Table, number: i64) -> Result<(), StoreError> {
    connection
        .prepare_cached(&format!("DELETE FROM {} WHERE number = ?1", table.name()))?
        .execute([number])?;
    Ok(())
}
