//! The JSON of a sealed upload: how it is read, and every reason to refuse it.

use std::fmt;

use serde::de::DeserializeOwned;
use thiserror::Error;

use super::blob::Base64Fault;

/// The most bytes of a document; sixteen recipients with keys of 8,192 bits fit.
const MAX_DOCUMENT: usize = 128 * 1024;

/// One fault of a sealed document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentFault {
    /// The field, as a path such as `recipients[0].suite`.
    pub field: String,
    /// What is wrong.
    pub reason: DocumentReason,
}

impl DocumentFault {
    pub(super) fn new(field: impl Into<String>, reason: DocumentReason) -> Self {
        Self { field: field.into(), reason }
    }
}

impl fmt::Display for DocumentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

/// What is wrong with a field of a sealed document.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DocumentReason {
    /// Longer than any document can be.
    #[error("has {0} bytes, more than a sealed upload needs")]
    TooLong(usize),
    /// No JSON, or not of this form.
    #[error("is not the JSON of a sealed upload (line {line}, column {column}): {why}")]
    Json {
        /// The line, counted from 1.
        line: usize,
        /// The column of the line, counted from 1.
        column: usize,
        /// What kind of fault.
        why: &'static str,
    },
    /// A required field that is not there.
    #[error("is missing")]
    Missing,
    /// A field that must not be there.
    #[error("belongs to DKGA02 alone")]
    OnlyDkga02,
    /// A value that it cannot have: what it takes.
    #[error("must be {0}")]
    Value(&'static str),
    /// Not base64.
    #[error(transparent)]
    Base64(Base64Fault),
    /// A number of bytes that it cannot have.
    #[error("has {bytes} bytes, not {expected}")]
    Length {
        /// Its length.
        bytes: usize,
        /// What it must have.
        expected: usize,
    },
    /// A recipient that stands there twice.
    #[error("stands there more than once")]
    Repeated,
}

impl From<Base64Fault> for DocumentReason {
    fn from(fault: Base64Fault) -> Self {
        DocumentReason::Base64(fault)
    }
}

/// Reads JSON. A fault is told by its place: a parser's own message may quote the text.
pub(super) fn json<T: DeserializeOwned>(field: &str, text: &[u8]) -> Result<T, Vec<DocumentFault>> {
    if text.len() > MAX_DOCUMENT {
        return Err(vec![DocumentFault::new(field, DocumentReason::TooLong(text.len()))]);
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    serde_json::from_slice(text).map_err(|error| {
        let why = match error.classify() {
            serde_json::error::Category::Data => "a field is unknown, stands there twice or is no text",
            _ => "it cannot be parsed",
        };
        let reason = DocumentReason::Json { line: error.line(), column: error.column(), why };
        vec![DocumentFault::new(field, reason)]
    })
}
