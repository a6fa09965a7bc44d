//! The TIDs that a meter remembers (STS facts §6, step 6).

use crate::sts::tid::Tid;

/// How many TIDs a meter remembers. Common practice, not a figure of the standard known here.
pub const REMEMBERED: usize = 50;

/// The most recent TIDs, ascending. Once full, what is older than all of them is refused as old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TidMemory(Vec<Tid>);

/// What a meter knows about a TID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It may be used.
    New,
    /// It has been.
    Used,
    /// It is older than everything remembered.
    Old,
}

impl TidMemory {
    /// A meter's at birth: full of the minute of its manufacture, so that nothing older is ever
    /// taken.
    pub(super) fn born(manufactured: Tid) -> Self {
        Self(vec![manufactured; REMEMBERED])
    }

    /// After a roll-over: empty.
    pub(super) fn cleared() -> Self {
        Self(Vec::new())
    }

    /// The newest of these TIDs, in any order.
    pub(super) fn of(mut tids: Vec<Tid>) -> Self {
        tids.sort_unstable();
        let excess = tids.len().saturating_sub(REMEMBERED);
        Self(tids.split_off(excess))
    }

    pub(super) fn tids(&self) -> &[Tid] {
        &self.0
    }

    pub(super) fn look_up(&self, tid: Tid) -> Seen {
        match self.0.binary_search(&tid) {
            Ok(_) => Seen::Used,
            Err(0) if self.0.len() >= REMEMBERED => Seen::Old,
            Err(_) => Seen::New,
        }
    }

    pub(super) fn remember(&mut self, tid: Tid) {
        let index = self.0.partition_point(|remembered| *remembered < tid);
        self.0.insert(index, tid);
        if self.0.len() > REMEMBERED {
            self.0.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tid(value: u32) -> Tid {
        Tid::new(value).unwrap()
    }

    #[test]
    fn a_new_meter_takes_nothing_older_than_itself() {
        let memory = TidMemory::born(tid(1000));
        assert_eq!(memory.look_up(tid(999)), Seen::Old);
        assert_eq!(memory.look_up(tid(1000)), Seen::Used);
        assert_eq!(memory.look_up(tid(1001)), Seen::New);
        assert_eq!(TidMemory::cleared().look_up(tid(0)), Seen::New);
    }

    #[test]
    fn only_the_newest_are_remembered() {
        let mut memory = TidMemory::cleared();
        for value in (100..100 + 2 * REMEMBERED as u32).step_by(2) {
            assert_eq!(memory.look_up(tid(value)), Seen::New);
            memory.remember(tid(value));
        }
        assert_eq!(memory.look_up(tid(101)), Seen::New, "between two that were used");
        memory.remember(tid(101));
        assert_eq!(memory.tids().len(), REMEMBERED);
        assert_eq!(memory.look_up(tid(100)), Seen::Old, "dropped for a newer one");
        assert_eq!(memory.look_up(tid(101)), Seen::Used);
        assert_eq!(TidMemory::of(memory.tids().iter().rev().copied().collect()), memory);
    }
}
