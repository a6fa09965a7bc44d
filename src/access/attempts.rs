//! How often a client may try something costly.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::store::ClientId;

/// A bucket of attempts per client, refilled evenly over a minute.
pub struct Attempts {
    per_minute: u32,
    buckets: Mutex<HashMap<ClientId, Bucket>>,
}

struct Bucket {
    left: f64,
    seen: Instant,
}

impl Attempts {
    /// Buckets of this size.
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, buckets: Mutex::new(HashMap::new()) }
    }

    /// Takes one attempt, or says how long to wait for the next.
    pub fn take(&self, client: ClientId, now: Instant) -> Result<(), Duration> {
        let full = f64::from(self.per_minute);
        let per_second = full / 60.0;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        // A bucket that would be full again says nothing: the map holds the recently active alone.
        buckets.retain(|_, bucket| {
            bucket.left + now.saturating_duration_since(bucket.seen).as_secs_f64() * per_second < full
        });
        let bucket = buckets.entry(client).or_insert(Bucket { left: full, seen: now });
        bucket.left += now.saturating_duration_since(bucket.seen).as_secs_f64() * per_second;
        bucket.seen = now;
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - bucket.left) / per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_minute_each() {
        let attempts = Attempts::new(2);
        let (one, other) = (ClientId::generate(), ClientId::generate());
        let start = Instant::now();
        assert_eq!(attempts.take(one, start), Ok(()));
        assert_eq!(attempts.take(one, start), Ok(()));
        assert_eq!(attempts.take(one, start), Err(Duration::from_secs(30)));
        assert_eq!(attempts.take(other, start), Ok(()));
        assert_eq!(attempts.take(one, start + Duration::from_secs(31)), Ok(()));
    }
}
