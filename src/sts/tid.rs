//! Token identifiers (STS facts §4): whole minutes from a base date, 24 bits.

use super::attributes::{BaseDate, KeyExpiry};

/// The largest TID.
const LAST: u32 = 0xFF_FFFF;
/// Minutes of a day.
const DAY: u32 = 1440;

/// Why there is no TID for a time or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TidError {
    /// The time lies before the base date.
    #[error("the time lies before the base date {base}")]
    BeforeBaseDate {
        /// The base date counted from.
        base: BaseDate,
    },
    /// The 24 bits have run out: the key's base date is too old for this time.
    #[error("the time lies past the last TID of base date {base}")]
    PastRollover {
        /// The base date counted from.
        base: BaseDate,
    },
    /// Not a 24-bit number.
    #[error("{0} is no TID: it has more than 24 bits")]
    TooLarge(u32),
}

/// Token identifier: minutes since the base date, 24 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(u32);

impl Tid {
    /// The highest.
    pub const LAST: Self = Self(LAST);

    /// The TID of this value.
    ///
    /// # Errors
    /// [`TidError::TooLarge`] past 24 bits.
    pub fn new(value: u32) -> Result<Self, TidError> {
        if value <= LAST { Ok(Self(value)) } else { Err(TidError::TooLarge(value)) }
    }

    /// The lower 24 bits of a field that has no more.
    pub(super) fn from_bits(bits: u32) -> Self {
        Self(bits & LAST)
    }

    /// 0..=0xFFFFFF.
    pub fn value(self) -> u32 {
        self.0
    }

    /// Whether it is the special reserved one: the minute 00:01 of a day, which ordinary tokens
    /// skip.
    pub fn is_reserved(self) -> bool {
        self.0 % DAY == 1
    }

    /// Whether a key of this expiry number no longer serves it: its upper 8 bits are above the KEN.
    pub fn is_past(self, ken: KeyExpiry) -> bool {
        self.0 >> 16 > u32::from(ken.0)
    }

    /// The first second of its minute, in seconds since 1970-01-01T00:00Z.
    pub fn unix_seconds(self, base: BaseDate) -> i64 {
        base.unix_seconds() + i64::from(self.0) * 60
    }
}

impl BaseDate {
    /// The TID of the minute that holds this second (since 1970-01-01T00:00Z); the reserved minute
    /// 00:01 gives 00:02.
    ///
    /// # Errors
    /// [`TidError::BeforeBaseDate`] or [`TidError::PastRollover`].
    pub fn tid_at(self, unix_seconds: i64) -> Result<Tid, TidError> {
        // Saturating: both ends of i64 are refused anyway.
        let seconds = unix_seconds.saturating_sub(self.unix_seconds());
        if seconds < 0 {
            return Err(TidError::BeforeBaseDate { base: self });
        }
        let minute = u32::try_from(seconds / 60)
            .ok()
            .filter(|minute| *minute <= LAST)
            .ok_or(TidError::PastRollover { base: self })?;
        Ok(Tid(skip_reserved(minute)))
    }
}

/// Where the next TID of a meter may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TidWindow {
    /// The TID of the time asked for; the next one is not below it.
    pub earliest: Tid,
    /// The key's expiry number.
    pub ken: KeyExpiry,
    /// The last TID that may be given out: how far a busy meter may run ahead of the clock.
    pub horizon: Tid,
}

/// Why there is no next TID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TidRefusal {
    /// The key does not serve the TID any more.
    #[error("TID {tid} is past the key's expiry number {ken}", tid = tid.value())]
    KeyExpired {
        /// The TID that would be next.
        tid: Tid,
        /// The key's expiry number.
        ken: KeyExpiry,
    },
    /// The meter has used the last TID of 24 bits.
    #[error("the meter's token identifiers have run out")]
    Exhausted,
    /// The meter's sequence is too far ahead of the clock.
    #[error("the meter's next TID {tid} lies past {horizon}", tid = tid.value(), horizon = horizon.value())]
    BeyondHorizon {
        /// The TID that would be next.
        tid: Tid,
        /// The last one allowed.
        horizon: Tid,
    },
}

impl TidWindow {
    /// The next TID of a meter whose last one was `last`: max(earliest, last + 1), the minute 00:01
    /// skipped.
    ///
    /// # Errors
    /// In this order: [`TidRefusal::Exhausted`], [`TidRefusal::KeyExpired`],
    /// [`TidRefusal::BeyondHorizon`].
    pub fn next(&self, last: Option<Tid>) -> Result<Tid, TidRefusal> {
        let after_last = last.map_or(0, |last| last.0 + 1);
        let tid =
            Tid::new(skip_reserved(after_last.max(self.earliest.0))).map_err(|_| TidRefusal::Exhausted)?;
        if tid.is_past(self.ken) {
            return Err(TidRefusal::KeyExpired { tid, ken: self.ken });
        }
        if tid > self.horizon {
            return Err(TidRefusal::BeyondHorizon { tid, horizon: self.horizon });
        }
        Ok(tid)
    }
}

/// The minute itself, or 00:02 for the reserved 00:01. Stays within 24 bits: 0xFFFFFF is 20:15.
fn skip_reserved(minute: u32) -> u32 {
    if minute % DAY == 1 { minute + 1 } else { minute }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-11-24T20:15:00Z, the last minute of base date 1993.
    const ROLLOVER_1993: i64 = 1_732_479_300;

    fn tid(value: u32) -> Tid {
        Tid::new(value).unwrap()
    }

    #[test]
    fn minutes_from_the_base_date() {
        let base = BaseDate::Y1993;
        assert_eq!(base.tid_at(base.unix_seconds()), Ok(tid(0)));
        assert_eq!(base.tid_at(base.unix_seconds() + 179), Ok(tid(2)));
        assert_eq!(base.tid_at(base.unix_seconds() - 1), Err(TidError::BeforeBaseDate { base }));
        assert_eq!(base.tid_at(i64::MIN), Err(TidError::BeforeBaseDate { base }));
        assert_eq!(base.tid_at(i64::MAX), Err(TidError::PastRollover { base }));
        assert_eq!(base.tid_at(ROLLOVER_1993 + 59), Ok(tid(LAST)));
        assert_eq!(base.tid_at(ROLLOVER_1993 + 60), Err(TidError::PastRollover { base }));
        assert_eq!(tid(LAST).unix_seconds(base), ROLLOVER_1993);
    }

    #[test]
    fn the_minute_00_01_is_skipped() {
        let base = BaseDate::Y2014;
        let midnight = base.unix_seconds() + 30 * 86_400;
        assert_eq!(base.tid_at(midnight + 60), base.tid_at(midnight + 120));
        assert!(tid(30 * 1440 + 1).is_reserved());
        let window = TidWindow { earliest: tid(0), ken: KeyExpiry(255), horizon: tid(LAST) };
        assert_eq!(window.next(Some(tid(1440))), Ok(tid(1442)));
    }

    /// Defect 1 of the public peer (STS facts §8): two requests of one minute get one TID there.
    #[test]
    fn peer_defect_1_tokens_of_one_minute_get_tids_of_their_own() {
        let window = TidWindow { earliest: tid(3), ken: KeyExpiry(255), horizon: tid(100) };
        let first = window.next(None).unwrap();
        let second = window.next(Some(first)).unwrap();
        let third = window.next(Some(second)).unwrap();
        assert_eq!([first, second, third], [tid(3), tid(4), tid(5)]);
    }

    /// Defect 2 of the public peer (STS facts §8): its TIDs move with the zone of the machine. Here
    /// a second since 1970 is a second since 1970: the minute of CTSA09, 2026-07-29T00:00Z, is the
    /// published 6612480 whatever the zone.
    #[test]
    fn peer_defect_2_no_time_zone_enters_a_tid() {
        assert_eq!(BaseDate::Y2014.tid_at(1_785_283_200), Ok(tid(6_612_480)));
    }

    /// Defect 6 of the public peer (STS facts §8): its expiry is one step off. CTSA16: KEN 85 at
    /// 2032-10-27T08:00Z.
    #[test]
    fn peer_defect_6_the_expiry_number_is_compared_with_the_upper_bits() {
        assert!(BaseDate::Y2014.tid_at(1_982_476_800).unwrap().is_past(KeyExpiry(85)));
        assert!(!tid(0x55_FFFF).is_past(KeyExpiry(0x55)));
        assert!(tid(0x56_0000).is_past(KeyExpiry(0x55)));
        assert!(!tid(LAST).is_past(KeyExpiry(255)));
    }

    #[test]
    fn refusals_carry_what_they_refused() {
        let window = TidWindow { earliest: tid(10), ken: KeyExpiry(0), horizon: tid(20) };
        assert_eq!(
            window.next(Some(tid(20))),
            Err(TidRefusal::BeyondHorizon { tid: tid(21), horizon: tid(20) })
        );
        assert_eq!(
            window.next(Some(tid(0xFFFF))),
            Err(TidRefusal::KeyExpired { tid: tid(0x1_0000), ken: KeyExpiry(0) })
        );
        assert_eq!(window.next(Some(tid(LAST))), Err(TidRefusal::Exhausted));
        assert_eq!(Tid::new(LAST + 1), Err(TidError::TooLarge(LAST + 1)));
    }
}
