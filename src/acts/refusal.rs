//! A refusal: what every face tells a caller whose call was not done.

use std::time::Duration;

use super::reason::Reason;

/// Whether a token may exist in spite of the refusal. After `Maybe` the caller repeats the same
/// `request_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issued {
    /// Nothing was recorded.
    No,
    /// The ledger may hold a row.
    Maybe,
}

impl Issued {
    /// The word for programs.
    pub fn text(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
        }
    }
}

/// What the caller is told. The log's text is another.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
    /// The fields that are wrong, each with what is wrong with it.
    pub violations: Vec<(String, String)>,
    /// How long to wait before the same call is worth a try.
    pub retry_after: Option<Duration>,
    /// Whether a token may exist.
    pub issued: Issued,
    /// Further facts for programs, by name.
    pub metadata: Vec<(&'static str, String)>,
}

impl Refusal {
    /// A refusal with nothing issued.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            violations: Vec::new(),
            retry_after: None,
            issued: Issued::No,
            metadata: Vec::new(),
        }
    }

    /// A refusal of all the fields that are wrong. The message names them shortly.
    pub fn fields(reason: Reason, violations: Vec<(String, String)>) -> Self {
        let message = match violations.as_slice() {
            [(field, description)] => format!("{field}: {description}"),
            several => {
                let names: Vec<&str> = several.iter().take(10).map(|(field, _)| field.as_str()).collect();
                format!("{} faults: {}", several.len(), names.join(", "))
            }
        };
        Self { violations, ..Self::new(reason, message) }
    }

    /// A refusal of one field of the request.
    pub fn field(field: &str, description: impl Into<String>) -> Self {
        Self::fields(Reason::InvalidFields, vec![(field.to_owned(), description.into())])
    }

    /// What is told of a fault of ours.
    pub fn internal() -> Self {
        Self::new(Reason::Internal, "a fault of the server; its log says more")
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// Says whether a token may exist.
    #[must_use]
    pub fn issued(self, issued: Issued) -> Self {
        Self { issued, ..self }
    }

    /// Adds a fact that programs may read.
    #[must_use]
    pub fn metadata(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.metadata.push((name, value.into()));
        self
    }

    /// Reason and message, as an approval keeps them.
    pub fn in_words(&self) -> String {
        format!("{}: {}", self.reason.text(), self.message)
    }
}
