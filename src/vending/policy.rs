//! What this server issues, beyond what the standard's arithmetic could.

use std::time::Duration;

use super::error::{IssueError, Unusable};
use crate::{
    settings::VendingSettings,
    sts::{
        attributes::{Attributes, BaseDate, Dkga, KeyType},
        tid::{Tid, TidError, TidRefusal, TidWindow},
    },
};

/// How old a token time may be.
const BACK: Duration = Duration::from_secs(24 * 3600);
/// How far ahead of the clock a token time may be.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// The rules that settings can bend.
#[derive(Debug, Clone, Copy)]
pub struct Policy(VendingSettings);

impl Policy {
    /// Under these settings.
    pub fn new(settings: VendingSettings) -> Self {
        Self(settings)
    }

    /// Whether keys with these attributes may be used at all.
    ///
    /// # Errors
    /// [`Unusable::Denied`], [`Unusable::Unverified`]: the settings do not allow it.
    pub fn allows(&self, attributes: &Attributes) -> Result<(), Unusable> {
        self.allows_key_type(attributes.dkga, attributes.kt)
    }

    /// Whether keys of this type may be derived in this way.
    ///
    /// # Errors
    /// As [`Policy::allows`].
    pub fn allows_key_type(&self, dkga: Dkga, kt: KeyType) -> Result<(), Unusable> {
        self.allows_derivation(dkga)?;
        let unverified = dkga == Dkga::Dkga04 && kt == KeyType::Dctk;
        if unverified && !self.0.allow_unverified_algorithms {
            return Err(Unusable::Unverified("key type 3 under DKGA04"));
        }
        Ok(())
    }

    /// Whether keys may be derived in this way.
    ///
    /// # Errors
    /// As [`Policy::allows`].
    pub fn allows_derivation(&self, dkga: Dkga) -> Result<(), Unusable> {
        match dkga {
            Dkga::Dkga01 => Err(Unusable::Denied("DKGA01: it would give the vending key away")),
            Dkga::Dkga02 if !self.0.allow_dkga02 => Err(Unusable::Denied("DKGA02 (vending.dkga02)")),
            Dkga::Dkga03 if !self.0.allow_unverified_algorithms => Err(Unusable::Unverified("DKGA03")),
            Dkga::Dkga02 | Dkga::Dkga03 | Dkga::Dkga04 => Ok(()),
        }
    }

    /// Keys of type 0 (initialisation) and 1 (default) give no credit (STS facts §6, §7).
    ///
    /// # Errors
    /// [`IssueError::CreditUnderDefaultKey`].
    pub fn allows_credit(&self, kt: KeyType) -> Result<(), IssueError> {
        match kt {
            KeyType::Ditk | KeyType::Ddtk => Err(IssueError::CreditUnderDefaultKey(kt.value())),
            KeyType::Dutk | KeyType::Dctk => Ok(()),
        }
    }

    /// Requests from before this instant are not answered any more.
    pub fn requests_from_ms(&self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(i64::from(self.0.request_retention_days) * 86_400_000)
    }

    /// How long a scheduled destruction can be taken back, in milliseconds.
    pub fn destroy_delay_ms(&self) -> i64 {
        i64::try_from(self.0.destroy_delay.as_millis()).unwrap_or(i64::MAX)
    }

    /// How far ahead of the clock a meter may get, in seconds.
    pub fn horizon_seconds(&self) -> i64 {
        i64::from(self.0.horizon_minutes) * 60
    }

    /// The TIDs that a token may get now, or at the time that was asked for (Unix seconds).
    ///
    /// # Errors
    /// [`IssueError`]: the time asked for lies outside the window, or before the base date.
    pub fn window(
        &self,
        attributes: &Attributes,
        now: i64,
        asked: Option<i64>,
    ) -> Result<TidWindow, IssueError> {
        let time = asked.unwrap_or(now);
        // Both lie far below 2^63.
        let (back, ahead) = (BACK.as_secs().cast_signed(), AHEAD.as_secs().cast_signed());
        if time.saturating_add(back) < now || time > now.saturating_add(ahead) {
            return Err(IssueError::TimeOutsideWindow { back: BACK, ahead: AHEAD });
        }
        let base = attributes.base_date;
        Ok(TidWindow {
            earliest: tid_at(base, time)?,
            ken: attributes.ken,
            horizon: self.horizon(base, now)?,
        })
    }

    /// The last TID that may be given now. Near the end of the 24 bits it is their last.
    fn horizon(&self, base: BaseDate, now: i64) -> Result<Tid, IssueError> {
        let ahead = self.horizon_seconds();
        match base.tid_at(now.saturating_add(ahead)) {
            Err(TidError::PastRollover { .. }) => {
                Tid::new(0xFF_FFFF).map_err(|_| IssueError::Tid(TidRefusal::Exhausted))
            }
            other => other.map_err(|error| time_error(base, error)),
        }
    }
}

fn tid_at(base: BaseDate, time: i64) -> Result<Tid, IssueError> {
    base.tid_at(time).map_err(|error| time_error(base, error))
}

fn time_error(base: BaseDate, error: TidError) -> IssueError {
    match error {
        TidError::BeforeBaseDate { .. } => IssueError::TimeBeforeBaseDate(base),
        TidError::PastRollover { .. } | TidError::TooLarge(_) => IssueError::Tid(TidRefusal::Exhausted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: bool) -> Policy {
        Policy(VendingSettings {
            horizon_minutes: 1440,
            allow_dkga02: allow,
            allow_unverified_algorithms: allow,
            uploads_per_minute: 1,
            request_retention_days: 90,
            legacy_uploads: true,
            destroy_delay: Duration::ZERO,
        })
    }

    fn attributes(dkga: Dkga, kt: KeyType, base_date: BaseDate) -> Attributes {
        Attributes { kt, dkga, base_date, ..Attributes::example() }
    }

    /// 2026-11-21T12:00:00Z.
    const NOW: i64 = 1_795_262_400;

    #[test]
    fn dkga01_is_never_allowed() {
        for allow in [false, true] {
            let attributes = attributes(Dkga::Dkga01, KeyType::Dutk, BaseDate::Y2014);
            assert!(matches!(policy(allow).allows(&attributes), Err(Unusable::Denied(_))));
        }
    }

    #[test]
    fn settings_allow_the_rest() {
        for (dkga, kt) in
            [(Dkga::Dkga02, KeyType::Dutk), (Dkga::Dkga03, KeyType::Dutk), (Dkga::Dkga04, KeyType::Dctk)]
        {
            let attributes = attributes(dkga, kt, BaseDate::Y2014);
            assert!(policy(false).allows(&attributes).is_err());
            assert!(policy(true).allows(&attributes).is_ok());
        }
        assert!(policy(false).allows(&attributes(Dkga::Dkga04, KeyType::Dutk, BaseDate::Y2014)).is_ok());
    }

    #[test]
    fn credit_needs_a_unique_or_common_key() {
        for kt in [KeyType::Ditk, KeyType::Ddtk] {
            assert!(matches!(policy(true).allows_credit(kt), Err(IssueError::CreditUnderDefaultKey(_))));
        }
        assert!(policy(true).allows_credit(KeyType::Dutk).is_ok());
    }

    #[test]
    fn the_window_has_both_ends() {
        let attributes = attributes(Dkga::Dkga04, KeyType::Dutk, BaseDate::Y2014);
        let window = |asked| policy(true).window(&attributes, NOW, asked);
        let minutes = |at: i64| u32::try_from((at - BaseDate::Y2014.unix_seconds()) / 60).unwrap();
        assert_eq!(window(None).unwrap().earliest.value(), minutes(NOW));
        assert_eq!(window(None).unwrap().horizon.value(), minutes(NOW) + 1440);
        for good in [NOW - 86_400, NOW + 300] {
            assert_eq!(window(Some(good)).unwrap().earliest.value(), minutes(good));
        }
        for bad in [NOW - 86_401, NOW + 301, i64::MIN, i64::MAX] {
            assert!(matches!(window(Some(bad)), Err(IssueError::TimeOutsideWindow { .. })), "{bad}");
        }
    }

    #[test]
    fn no_tid_before_the_base_date_or_past_24_bits() {
        let of = |base| policy(true).window(&attributes(Dkga::Dkga04, KeyType::Dutk, base), NOW, None);
        assert!(matches!(of(BaseDate::Y2035), Err(IssueError::TimeBeforeBaseDate(BaseDate::Y2035))));
        assert!(matches!(of(BaseDate::Y1993), Err(IssueError::Tid(TidRefusal::Exhausted))));
    }
}
