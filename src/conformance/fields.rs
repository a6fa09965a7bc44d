//! The fields of a vector, read with a fault that names what is wrong.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// What is wrong with a vector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id}: {field}: {problem}")]
pub struct Fault {
    /// The vector.
    pub id: String,
    /// The field, as a path.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The bytes of a key in a vector, most significant first. Wiped when dropped and not shown, though
/// it is public.
#[derive(Clone, PartialEq, Eq, Hash, Zeroize, ZeroizeOnDrop)]
pub struct KeyBytes(Vec<u8>);

impl KeyBytes {
    /// Zeros, for what carries no bit of its key.
    pub(super) fn zeros(len: usize) -> Self {
        Self(vec![0; len])
    }

    /// The bytes, most significant first.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyBytes({} bytes)", self.0.len())
    }
}

/// An object of a vector: its `inputs`, its `new`.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    id: &'a str,
    path: &'a str,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(id: &'a str, path: &'a str, map: &'a Map<String, Value>) -> Self {
        Self { id, path, map }
    }

    /// The same object with other fields.
    pub(super) fn of_map(&self, map: &'a Map<String, Value>) -> Self {
        Self { map, ..*self }
    }

    /// The fields of this object, and of `under` those that are not here, but for `except`. A meter
    /// is taken as a whole.
    pub(super) fn over(&self, under: Fields<'_>, except: &[&str]) -> Map<String, Value> {
        const METER: [&str; 3] = ["pan", "iin", "iain"];
        let has_meter = METER.iter().any(|name| self.has(name));
        let mut merged = self.map.clone();
        for (name, value) in under.map {
            let is_taken = has_meter && METER.contains(&name.as_str());
            if !self.has(name) && !is_taken && !except.contains(&name.as_str()) {
                merged.insert(name.clone(), value.clone());
            }
        }
        merged
    }

    /// A fault of this field.
    pub(super) fn fault(&self, field: &str, problem: impl fmt::Display) -> Fault {
        Fault {
            id: self.id.to_owned(),
            field: format!("{}.{field}", self.path),
            problem: problem.to_string(),
        }
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.map.get(field).is_some_and(|value| !value.is_null())
    }

    /// A text, or a number as text; integers beyond 64 bits must be written as text.
    pub(super) fn text(&self, field: &str) -> Result<Option<String>, Fault> {
        match self.map.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(self.fault(field, "neither a text nor a number")),
        }
    }

    pub(super) fn needed_text(&self, field: &str) -> Result<String, Fault> {
        self.text(field)?.ok_or_else(|| self.fault(field, "missing"))
    }

    /// Anything that can be read from text.
    pub(super) fn get<T: FromStr<Err: fmt::Display>>(&self, field: &str) -> Result<Option<T>, Fault> {
        self.text(field)?.map(|text| text.parse().map_err(|error| self.fault(field, error))).transpose()
    }

    pub(super) fn needed<T: FromStr<Err: fmt::Display>>(&self, field: &str) -> Result<T, Fault> {
        self.get(field)?.ok_or_else(|| self.fault(field, "missing"))
    }

    /// A number with a type of its own.
    pub(super) fn coded<N, T>(&self, field: &str) -> Result<Option<T>, Fault>
    where
        N: FromStr<Err: fmt::Display>,
        T: TryFrom<N, Error: fmt::Display>,
    {
        self.get::<N>(field)?
            .map(|number| number.try_into().map_err(|error| self.fault(field, error)))
            .transpose()
    }

    pub(super) fn needed_coded<N, T>(&self, field: &str) -> Result<T, Fault>
    where
        N: FromStr<Err: fmt::Display>,
        T: TryFrom<N, Error: fmt::Display>,
    {
        self.coded::<N, T>(field)?.ok_or_else(|| self.fault(field, "missing"))
    }

    /// True, false, 1 or 0, as text too; false when missing.
    pub(super) fn flag(&self, field: &str) -> Result<bool, Fault> {
        if let Some(Value::Bool(flag)) = self.map.get(field) {
            return Ok(*flag);
        }
        match self.text(field)?.as_deref() {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(_) => Err(self.fault(field, "neither true, false, 1 nor 0")),
        }
    }

    /// Bytes written as hex digits of any case, in groups or not.
    pub(super) fn bytes(&self, field: &str) -> Result<Option<KeyBytes>, Fault> {
        self.text(field)?
            .map(|text| {
                hex::decode(text.split_whitespace().collect::<String>())
                    .map(KeyBytes)
                    .map_err(|error| self.fault(field, error))
            })
            .transpose()
    }

    pub(super) fn needed_bytes(&self, field: &str) -> Result<KeyBytes, Fault> {
        self.bytes(field)?.ok_or_else(|| self.fault(field, "missing"))
    }
}
