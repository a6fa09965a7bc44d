//! How often a client may try something.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::id::ClientId;

/// A rate: `count` at once, refilled evenly over a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In how long.
    pub within: Duration,
}

impl Rate {
    /// `count` in a second.
    pub fn per_second(count: u32) -> Self {
        Self { count, within: Duration::from_secs(1) }
    }

    /// `count` in a minute.
    pub fn per_minute(count: u32) -> Self {
        Self { count, within: Duration::from_secs(60) }
    }
}

/// A bucket of attempts for each client.
#[derive(Default)]
pub struct Attempts(Mutex<Buckets>);

#[derive(Default)]
struct Buckets {
    buckets: HashMap<ClientId, Bucket>,
    /// How many buckets are kept before full ones are looked for and dropped.
    most: usize,
}

struct Bucket {
    left: f64,
    seen: Instant,
    rate: Rate,
}

impl Bucket {
    fn refilled(&self, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.seen).as_secs_f64();
        let full = f64::from(self.rate.count);
        (self.left + since * full / self.rate.within.as_secs_f64()).min(full)
    }
}

impl Attempts {
    /// Takes one attempt at this rate.
    ///
    /// # Errors
    /// How long to wait for the next.
    pub fn take(&self, client: ClientId, rate: Rate, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.tidy(now);
        let full = f64::from(rate.count);
        let bucket = buckets.buckets.entry(client).or_insert(Bucket { left: full, seen: now, rate });
        // A rate that was changed meanwhile holds from now on.
        bucket.left = bucket.refilled(now).min(full);
        (bucket.seen, bucket.rate) = (now, rate);
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - bucket.left) * rate.within.as_secs_f64() / full.max(1.0)))
    }
}

impl Buckets {
    /// A bucket that is full again says nothing: the map holds the recently active alone, more or
    /// less.
    fn tidy(&mut self, now: Instant) {
        if self.buckets.len() > self.most {
            self.buckets.retain(|_, bucket| bucket.refilled(now) < f64::from(bucket.rate.count));
            self.most = (self.buckets.len() * 2).max(1_024);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limited_number_a_minute_each() {
        let attempts = Attempts::default();
        let (one, other) = (ClientId::generate(), ClientId::generate());
        let start = Instant::now();
        let take = |client, after| attempts.take(client, Rate::per_minute(2), start + after);
        assert_eq!(take(one, Duration::ZERO), Ok(()));
        assert_eq!(take(one, Duration::ZERO), Ok(()));
        assert_eq!(take(one, Duration::ZERO), Err(Duration::from_secs(30)));
        assert_eq!(take(other, Duration::ZERO), Ok(()));
        assert_eq!(take(one, Duration::from_secs(31)), Ok(()));
    }

    #[test]
    fn a_changed_rate_holds_at_once() {
        let attempts = Attempts::default();
        let (client, now) = (ClientId::generate(), Instant::now());
        assert_eq!(attempts.take(client, Rate::per_second(100), now), Ok(()));
        assert_eq!(attempts.take(client, Rate::per_second(1), now), Ok(()));
        assert_eq!(attempts.take(client, Rate::per_second(1), now), Err(Duration::from_secs(1)));
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for second in 0..3_000 {
            let at = now + Duration::from_secs(second);
            attempts.take(ClientId::generate(), Rate::per_second(2), at).unwrap();
        }
        assert!(attempts.0.lock().unwrap().buckets.len() <= 1_025);
    }
}
