//! Fields of requests into types, all faults gathered.

use std::{fmt::Display, str::FromStr};

use prost_types::Timestamp;
use uuid::Uuid;

use crate::{
    acts::{Listing, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, PageRequest, Reason, Refusal},
    sts::meter::{Drn, MeterError, MeterPan},
    vending::MeterNumber,
};

/// The most characters of a display name.
pub(super) const NAME_LENGTH: usize = 200;

/// The faults of a request so far.
#[derive(Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Notes a fault.
    pub(super) fn fault(&mut self, field: &str, description: impl Display) {
        self.0.push((field.to_owned(), description.to_string()));
    }

    /// Keeps the value, or notes the fault.
    pub(super) fn take<T, E: Display>(&mut self, field: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.fault(field, error)).ok()
    }

    /// An identifier after its collection, such as `configurations/{uuid}`.
    pub(super) fn name<T: FromStr>(&mut self, field: &str, collection: &str, text: &str) -> Option<T> {
        let id = text.strip_prefix(collection).and_then(|rest| rest.strip_prefix('/'));
        let parsed = id.and_then(|id| id.parse().ok());
        if parsed.is_none() {
            self.fault(field, format!("expected {collection}/ and a UUID in lower case"));
        }
        parsed
    }

    /// The refusal of everything noted, if anything was.
    pub(super) fn refusal(self) -> Refusal {
        Refusal::fields(Reason::InvalidFields, self.0)
    }

    /// The value if it and all else was well.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Refusal> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self.refusal()),
        }
    }
}

/// The one field of a request: an identifier after its collection.
pub(super) fn name<T: FromStr>(field: &str, collection: &str, text: &str) -> Result<T, Refusal> {
    let mut fields = Fields::default();
    let id = fields.name(field, collection, text);
    fields.finish(id)
}

/// The page that a list request asks for.
pub(super) fn page(listing: Listing, size: i32, token: &str) -> Result<PageRequest, Refusal> {
    Ok(PageRequest::new(listing, size, token)?)
}

/// The size of a page whose lists have tokens of their own.
pub(super) fn page_size(fields: &mut Fields, size: i32) -> Option<u32> {
    match u32::try_from(size) {
        Ok(0) => Some(PAGE_SIZE_DEFAULT),
        Ok(size) => Some(size.min(PAGE_SIZE_MAX)),
        Err(_) => {
            fields.fault("page_size", "must not be negative");
            None
        }
    }
}

/// The caller's name of a request.
pub(super) fn request_id(text: &str) -> Result<Uuid, &'static str> {
    match Uuid::try_parse(text) {
        Ok(id) if !id.is_nil() && !id.is_max() => Ok(id),
        _ => Err("expected a UUID that you choose, such as 018f2b3c-7d4e-7a10-9c55-3b1f0e2d4c6a"),
    }
}

/// A meter by its DRN or its whole number.
pub(super) fn meter_number(text: &str) -> Result<MeterNumber, MeterError> {
    match text.len() {
        18 => text.parse::<MeterPan>().map(MeterNumber::Pan),
        _ => text.parse::<Drn>().map(MeterNumber::Drn),
    }
}

/// Protobuf's time as milliseconds since 1970.
pub(super) fn milliseconds(time: Timestamp) -> i64 {
    time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000)
}

/// Milliseconds since 1970 as protobuf's time.
pub(super) fn timestamp(ms: i64) -> Timestamp {
    Timestamp {
        seconds: ms.div_euclid(1000),
        // Below 10^9: the remainder is under 1000.
        nanos: i32::try_from(ms.rem_euclid(1000) * 1_000_000).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ConfigurationId;

    #[test]
    fn names_are_exact() {
        let id = ConfigurationId::generate();
        let mut fields = Fields::default();
        let good = format!("configurations/{id}");
        assert_eq!(fields.name::<ConfigurationId>("name", "configurations", &good), Some(id));
        for bad in ["", "configurations", "configurations/", "keys/1", &format!("configurations/{id} ")] {
            assert_eq!(fields.name::<ConfigurationId>("name", "configurations", bad), None, "{bad:?}");
        }
        assert_eq!(fields.0.len(), 5);
    }

    #[test]
    fn times_before_1970_keep_their_sign() {
        assert_eq!(timestamp(-1), Timestamp { seconds: -1, nanos: 999_000_000 });
    }

    #[test]
    fn nil_is_no_request_id() {
        assert!(request_id(&Uuid::nil().to_string()).is_err());
        assert!(request_id(&Uuid::now_v7().to_string()).is_ok());
    }
}
