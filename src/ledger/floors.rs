//! Below what the ledger answers for nothing: since a restored database was accepted.

use crate::sts::attributes::BaseDate;
use crate::sts::tid::{Tid, TidWindow};

/// What a restored database may have forgotten. Floors only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    /// Request ids from before are refused unless they are on record, in milliseconds since 1970.
    pub requests_from_ms: i64,
    tids: [Option<Tid>; BaseDate::ALL.len()],
}

impl Floors {
    /// Under this base date no TID at or below it is given.
    pub fn tid(&self, base_date: BaseDate) -> Option<Tid> {
        self.tids[base_date as usize]
    }

    /// Raises the floor of a base date.
    pub fn raise_tid(&mut self, base_date: BaseDate, tid: Tid) {
        let floor = &mut self.tids[base_date as usize];
        *floor = (*floor).max(Some(tid));
    }

    /// The floors that there are.
    pub fn tids(&self) -> impl Iterator<Item = (BaseDate, Tid)> + '_ {
        BaseDate::ALL.into_iter().filter_map(|base_date| Some((base_date, self.tid(base_date)?)))
    }
}

/// The window above a floor. Its horizon counts from the floor, where that lies ahead of the clock.
pub(super) fn above(window: TidWindow, floor: Option<Tid>) -> TidWindow {
    let Some(floor) = floor.filter(|floor| *floor > window.earliest) else { return window };
    let ahead = window.horizon.value().saturating_sub(window.earliest.value());
    let horizon = Tid::new(floor.value().saturating_add(ahead)).unwrap_or(window.horizon);
    TidWindow { horizon: horizon.max(window.horizon), ..window }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sts::attributes::KeyExpiry;

    fn tid(value: u32) -> Tid {
        Tid::new(value).unwrap()
    }

    #[test]
    fn floors_only_rise_and_each_base_date_has_its_own() {
        let mut floors = Floors::default();
        floors.raise_tid(BaseDate::Y2014, tid(7));
        floors.raise_tid(BaseDate::Y2014, tid(5));
        assert_eq!(floors.tids().collect::<Vec<_>>(), [(BaseDate::Y2014, tid(7))]);
        for (index, base_date) in BaseDate::ALL.into_iter().enumerate() {
            assert_eq!(base_date as usize, index);
        }
    }

    #[test]
    fn the_horizon_counts_from_the_floor() {
        let window = TidWindow { earliest: tid(100), ken: KeyExpiry(255), horizon: tid(150) };
        assert_eq!(above(window, None), window);
        assert_eq!(above(window, Some(tid(100))), window);
        assert_eq!(above(window, Some(tid(500))).horizon, tid(550));
        assert_eq!(above(window, Some(Tid::LAST)).horizon, tid(150), "there is nothing behind the last");
    }
}
