//! When a caller stops waiting, by its `grpc-timeout`.

use std::time::{Duration, Instant};

use tonic::metadata::MetadataMap;

/// When the caller stops waiting, if it says so.
pub(super) fn deadline(metadata: &MetadataMap) -> Option<Instant> {
    Instant::now().checked_add(timeout(metadata.get("grpc-timeout")?.to_str().ok()?)?)
}

/// What a `grpc-timeout` header says: up to 8 digits and a unit.
pub(crate) fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count.checked_mul(3600)?),
        "M" => Duration::from_secs(count.checked_mul(60)?),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_of_all_units() {
        let after = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            deadline(&metadata)
        };
        for (text, seconds) in [("1H", 3600), ("2M", 120), ("3S", 3), ("4000m", 4)] {
            let left = after(text).unwrap().duration_since(Instant::now());
            assert!(
                left <= Duration::from_secs(seconds) && left > Duration::from_secs(seconds - 1),
                "{text}"
            );
        }
        for text in ["", "1", "S", "1x", "99999999999999999999S"] {
            assert!(after(text).is_none(), "{text}");
        }
    }
}
