//! Rows under seal as every engine keeps them: named columns with plain values.

use std::str::FromStr;

use serde::de::DeserializeOwned;

use crate::store::StoreError;

/// The tables under seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Table {
    Clients,
    Credentials,
    PublicKeys,
    Configurations,
    KeyChangePairs,
    Approvals,
    ApprovalVotes,
    /// The one row over the seals of all others.
    SealIndex,
    /// The one row that says how far the ledger was walked. It is in no seal index: one that was put
    /// back or taken out makes the walk begin there.
    LedgerWalk,
}

impl Table {
    /// Those whose seals are in the seal index, in its order.
    pub(crate) const INDEXED: [Self; 7] = [
        Self::Clients,
        Self::Credentials,
        Self::PublicKeys,
        Self::Configurations,
        Self::KeyChangePairs,
        Self::Approvals,
        Self::ApprovalVotes,
    ];

    /// Its name, in the database and in the seals of its rows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Credentials => "credentials",
            Self::PublicKeys => "public_keys",
            Self::Configurations => "configurations",
            Self::KeyChangePairs => "key_change_pairs",
            Self::Approvals => "approvals",
            Self::ApprovalVotes => "approval_votes",
            // Seals of the first version bear this name.
            Self::SealIndex => "roll",
            Self::LedgerWalk => "ledger_walk",
        }
    }

    /// The columns beside `number` and `seal`, which every table has. `version` counts the changes
    /// of a row; `seal_key` says which key sealed it last.
    pub(crate) fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Clients => &[
                "id",
                "display_name",
                "rights",
                "limits",
                "enabled",
                "created_ms",
                "updated_ms",
                "version",
                "seal_key",
            ],
            Self::Credentials => &[
                "key_id",
                "client",
                "kind",
                "secret_sha256",
                "enabled",
                "expires_ms",
                "created_ms",
                "version",
                "seal_key",
            ],
            Self::PublicKeys => &[
                "id",
                "owner",
                "display_name",
                "spki",
                "fingerprint",
                "bits",
                "enabled",
                "created_ms",
                "updated_ms",
                "version",
                "seal_key",
            ],
            Self::Configurations => &[
                "id",
                "fingerprint",
                "state",
                "display_name",
                "iin",
                "sgc",
                "ti",
                "krn",
                "kt",
                "ken",
                "ea",
                "dkga",
                "base_date",
                "key_length",
                "servable",
                "unservable",
                "warnings",
                "token",
                "kcv",
                "mask_iv",
                "mask_ciphertext",
                "signer",
                "uploaded_by",
                "created_ms",
                "updated_ms",
                "destroy_ms",
                "destroy_begun_ms",
                "nonce",
                "other_keys",
                "version",
                "seal_key",
            ],
            Self::KeyChangePairs => &["source", "target", "allowed_by", "created_ms", "version", "seal_key"],
            Self::Approvals => &[
                "id",
                "requester",
                "credential",
                "method",
                "request",
                "summary",
                "salt",
                "content_sha256",
                "state",
                "outcome",
                "created_ms",
                "expires_ms",
                "updated_ms",
                "version",
                "seal_key",
            ],
            Self::ApprovalVotes => &[
                "approval",
                "client",
                "credential",
                "approves",
                "content_sha256",
                "at_ms",
                "version",
                "seal_key",
            ],
            Self::SealIndex => &["digest", "position", "other_positions", "version", "seal_key"],
            Self::LedgerWalk => &["state", "version", "seal_key"],
        }
    }
}

/// A plain value. Truth values are 0 and 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u8> for Value {
    fn from(number: u8) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Integer(truth.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Blob(bytes)
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Self {
        Self::Blob(bytes.to_vec())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its table.
    pub(crate) table: Table,
    /// Its number.
    pub(crate) number: i64,
    /// Its seal, whatever that is worth.
    pub(crate) seal: Option<[u8; 32]>,
    /// The values of [`Table::columns`], in their order.
    pub(crate) values: Vec<Value>,
}

impl Row {
    /// The value of a column, which is one of the table's.
    pub(crate) fn get(&self, column: &'static str) -> &Value {
        let place = self.table.columns().iter().position(|known| *known == column);
        place.and_then(|place| self.values.get(place)).unwrap_or(&Value::Null)
    }

    fn foreign(&self, column: &'static str) -> StoreError {
        StoreError::Corrupt { reason: format!("not a value of {}.{column}", self.table.name()) }
    }

    /// A number.
    pub(crate) fn integer(&self, column: &'static str) -> Result<i64, StoreError> {
        self.integer_or_null(column)?.ok_or_else(|| self.foreign(column))
    }

    /// The same, where there may be none.
    pub(crate) fn integer_or_null(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        match self.get(column) {
            Value::Null => Ok(None),
            Value::Integer(number) => Ok(Some(*number)),
            Value::Text(_) | Value::Blob(_) => Err(self.foreign(column)),
        }
    }

    /// A number of a small type, converted.
    pub(crate) fn coded<N: TryFrom<i64>, T: TryFrom<N>>(
        &self,
        column: &'static str,
    ) -> Result<T, StoreError> {
        let number = N::try_from(self.integer(column)?).ok();
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| self.foreign(column))
    }

    /// 0 or 1.
    pub(crate) fn truth(&self, column: &'static str) -> Result<bool, StoreError> {
        match self.integer(column)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.foreign(column)),
        }
    }

    /// A text.
    pub(crate) fn text(&self, column: &'static str) -> Result<&str, StoreError> {
        match self.get(column) {
            Value::Text(text) => Ok(text),
            Value::Null | Value::Integer(_) | Value::Blob(_) => Err(self.foreign(column)),
        }
    }

    /// A text, parsed.
    pub(crate) fn parsed<T: FromStr>(&self, column: &'static str) -> Result<T, StoreError> {
        self.text(column)?.parse().map_err(|_| self.foreign(column))
    }

    /// A text of JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        serde_json::from_str(self.text(column)?).map_err(|_| self.foreign(column))
    }

    /// Bytes.
    pub(crate) fn blob(&self, column: &'static str) -> Result<&[u8], StoreError> {
        match self.get(column) {
            Value::Blob(bytes) => Ok(bytes),
            Value::Null | Value::Integer(_) | Value::Text(_) => Err(self.foreign(column)),
        }
    }

    /// `N` bytes.
    pub(crate) fn bytes<const N: usize>(&self, column: &'static str) -> Result<[u8; N], StoreError> {
        self.blob(column)?.try_into().map_err(|_| self.foreign(column))
    }

    /// `N` bytes, or none.
    pub(crate) fn bytes_or_null<const N: usize>(
        &self,
        column: &'static str,
    ) -> Result<Option<[u8; N]>, StoreError> {
        match self.get(column) {
            Value::Null => Ok(None),
            _ => self.bytes(column).map(Some),
        }
    }
}

/// Which rows of a table are wanted: those that have all these values, in the order of their
/// numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Select {
    /// The table.
    pub(crate) table: Table,
    /// Columns, `number` among them, and what they must hold.
    pub(crate) equal: Vec<(&'static str, Value)>,
    /// A column that must hold one of several values.
    pub(crate) any: Option<(&'static str, Vec<Value>)>,
    /// Only rows with a greater number.
    pub(crate) after: i64,
    /// How many at most.
    pub(crate) most: Option<u32>,
}

impl Select {
    /// All rows of a table.
    pub(crate) fn all(table: Table) -> Self {
        Self { table, equal: Vec::new(), any: None, after: 0, most: None }
    }

    /// Those of them that hold a value.
    pub(crate) fn with(mut self, column: &'static str, value: impl Into<Value>) -> Self {
        self.equal.push((column, value.into()));
        self
    }

    /// Those of them that hold one of several values.
    pub(crate) fn with_any(mut self, column: &'static str, values: Vec<Value>) -> Self {
        self.any = Some((column, values));
        self
    }

    /// Those of them with a greater number than this, at most `most`.
    pub(crate) fn page(mut self, after: i64, most: u32) -> Self {
        self.after = after;
        self.most = Some(most);
        self
    }
}
