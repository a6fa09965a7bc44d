//! Files of the format `sts-vectors-1`, and their vectors as tasks.

use serde_json::{Map, Value};

use super::fields::{Fault, Fields};
use super::parse;
use super::sources;
use super::task::{Task, Vector};

/// The name of the format.
pub const FORMAT: &str = "sts-vectors-1";

/// Why a file is no file of vectors.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not JSON.
    #[error("the file is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON of another format.
    #[error("the file's \"format\" is not \"{FORMAT}\"")]
    Format,
    /// No list of vectors.
    #[error("the file holds no list \"vectors\"")]
    Vectors,
}

/// Reads a file. A vector with a fault stays in the list, with the fault in place of its task.
///
/// # Errors
/// [`FileError`] when there is no list of vectors to begin with.
pub fn parse(text: &str) -> Result<Vec<Vector>, FileError> {
    let file: Value = serde_json::from_str(text)?;
    if file.get("format").and_then(Value::as_str) != Some(FORMAT) {
        return Err(FileError::Format);
    }
    let vectors = file.get("vectors").and_then(Value::as_array).ok_or(FileError::Vectors)?;
    Ok(vectors.iter().enumerate().map(|(index, value)| vector(index + 1, value)).collect())
}

fn vector(index: usize, value: &Value) -> Vector {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let (kind, type_) = (text("kind"), text("type"));
    let id = match text("id") {
        "" => format!("#{index}"),
        id => id.to_owned(),
    };
    let expected = value.get("expected").and_then(Value::as_object).cloned().unwrap_or_default();
    let task = task(&id, kind, value, &expected);
    Vector {
        group: format!("{kind} {type_}").trim_end().to_owned(),
        source: text("source").to_owned(),
        expected,
        task,
        id,
    }
}

fn task(id: &str, kind: &str, value: &Value, expected: &Map<String, Value>) -> Result<Task, Fault> {
    let fault = |field: &str, problem: &str| Fault {
        id: id.to_owned(),
        field: field.to_owned(),
        problem: problem.to_owned(),
    };
    let object = |field: &str| {
        value.get(field).and_then(Value::as_object).ok_or_else(|| fault(field, "missing, or no object"))
    };
    if expected.is_empty() {
        return Err(fault("expected", "missing, empty, or no object"));
    }
    let inputs = Fields::new(id, "inputs", object("inputs")?);
    let vector = match value.as_object() {
        Some(map) => Fields::new(id, "vector", map),
        None => return Err(fault("vector", "no object")),
    };
    match kind {
        "token" => parse::token(vector, inputs),
        "keychange" => parse::key_change(inputs, Fields::new(id, "new", object("new")?)),
        "derive" => Ok(Task::Derive(sources::key_source(inputs)?)),
        "decode" => parse::decode(inputs),
        "block" => parse::block(inputs),
        "blocks" => parse::blocks(inputs),
        "pan" => {
            let digits = inputs.needed_text("iin")? + &inputs.needed_text("iain")?;
            Ok(Task::Luhn { digits, pan: true })
        }
        "luhn" => Ok(Task::Luhn { digits: inputs.needed_text("digits")?, pan: false }),
        "crc" => Ok(Task::Crc(inputs.needed_bytes("data")?)),
        "behaviour" => {
            let new = value.get("new").and_then(Value::as_object);
            parse::behaviour(vector, inputs, new.map(|map| Fields::new(id, "new", map)))
        }
        _ => Err(fault("kind", "not one of the format")),
    }
}
