//! The newest rows of the ledger by meter, in memory until they are merged.
//!
//! Customers come scattered: an index of meters on the disk would be written in a place of its own
//! for every token, and cost more the longer the ledger is. So the newest rows are kept here, and
//! once there are enough of them they are merged into the tables of the disk in the order of meters
//! (`meters.rs`, `runs.rs`), bit by bit, beside the rows that come meanwhile. Nothing is lost with
//! the memory: the rows themselves are on the disk, and tell it again at the next start.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::sts::attributes::BaseDate;
use crate::sts::tid::Tid;

/// A row of a meter. Ordered as the runs on the disk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) pan: i64,
    /// None: a token without a TID.
    pub(super) tid: Option<(BaseDate, Tid)>,
    pub(super) sequence: i64,
}

/// What is merged next.
#[derive(Debug)]
pub(super) struct Part {
    /// The run's number.
    pub(super) number: i64,
    /// Whether it is the first of its run.
    pub(super) first: bool,
    /// In order, behind those of the part before.
    pub(super) rows: Vec<Entry>,
    /// Whether it is the last of its run, which then holds all rows up to this one.
    pub(super) ends: Option<Run>,
}

/// What is written down of a whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// It holds all rows up to this one that no run before it holds.
    pub(super) up_to: i64,
    /// The first and the last minute (since 1970) of its TIDs.
    pub(super) minutes: Option<(i64, i64)>,
}

/// The first and the last minute of the TIDs of rows.
fn minutes(rows: &BTreeSet<Entry>) -> Option<(i64, i64)> {
    let minutes = rows.iter().filter_map(|row| row.tid).map(|(base_date, tid)| minute(base_date, tid));
    minutes.fold(None, |found, minute| {
        let (first, last) = found.unwrap_or((minute, minute));
        Some((minute.min(first), minute.max(last)))
    })
}

/// Minutes since 1970, which TIDs of different base dates have in common.
pub(super) fn minute(base_date: BaseDate, tid: Tid) -> i64 {
    tid.unix_seconds(base_date) / 60
}

/// A run that is being written.
#[derive(Debug)]
struct Merging {
    rows: Rows,
    run: Run,
    /// The last row of it that is on the disk.
    after: Option<Entry>,
}

/// Rows in the order of meters, and the last TID of each meter among them, which every token asks
/// for.
#[derive(Debug, Default)]
struct Rows {
    ordered: BTreeSet<Entry>,
    last: HashMap<(i64, BaseDate), Tid>,
}

impl Rows {
    fn add(&mut self, row: Entry) {
        if let Some((base_date, tid)) = row.tid {
            let last = self.last.entry((row.pan, base_date)).or_insert(tid);
            *last = tid.max(*last);
        }
        self.ordered.insert(row);
    }
}

#[derive(Debug, Default)]
struct Memory {
    /// Rows that are in no run and not being merged.
    growing: Rows,
    merging: Option<Merging>,
    /// Rows that came since the last commit.
    added: usize,
    /// How far the transaction has merged: the last row of its part, and whether that ends the run.
    progress: Option<(Entry, bool)>,
    /// Whether it is what the database says.
    known: bool,
    /// Rows of the database that are none of ours, by sequence: their TID cannot be one.
    foreign: Vec<i64>,
    /// The number of the run that is being written, or of the next.
    next_run: i64,
}

impl Memory {
    fn rows(&self) -> impl Iterator<Item = &Rows> {
        std::iter::once(&self.growing).chain(self.merging.as_ref().map(|merging| &merging.rows))
    }

    fn last_tid(&self, pan: i64, base_date: BaseDate) -> Option<Tid> {
        self.rows().filter_map(|rows| rows.last.get(&(pan, base_date))).max().copied()
    }
}

/// The rows that are not merged yet: written by the committer, read by everybody.
#[derive(Debug, Default)]
pub(super) struct UnmergedRows(RwLock<Memory>);

impl UnmergedRows {
    fn read(&self) -> RwLockReadGuard<'_, Memory> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Memory> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is what the database says. If not, it may hold rows that were taken back, and
    /// readers must not believe it blindly.
    pub(super) fn is_known(&self) -> bool {
        self.read().known
    }

    /// A transaction was taken back, or nobody knows its end: the database must be asked.
    pub(super) fn doubt(&self) {
        self.write().known = false;
    }

    /// What the database says: the rows behind its last whole run, those among them that are none
    /// of ours, and the number of the next run.
    pub(super) fn know(&self, rows: impl IntoIterator<Item = Entry>, foreign: Vec<i64>, next_run: i64) {
        let mut growing = Rows::default();
        rows.into_iter().for_each(|row| growing.add(row));
        *self.write() = Memory { growing, known: true, foreign, next_run, ..Memory::default() };
    }

    /// The rows that were left out because somebody else wrote them, by sequence.
    pub(super) fn foreign(&self) -> Vec<i64> {
        self.read().foreign.clone()
    }

    /// Adds a row that the transaction writes. `false`: its meter has this TID or a later one.
    #[must_use]
    pub(super) fn add(&self, row: Entry) -> bool {
        let mut memory = self.write();
        if row.tid.is_some_and(|(base_date, tid)| memory.last_tid(row.pan, base_date) >= Some(tid)) {
            return false;
        }
        memory.added += 1;
        memory.growing.add(row);
        true
    }

    /// The highest TID of a meter's rows here.
    pub(super) fn last_tid(&self, pan: i64, base_date: BaseDate) -> Option<Tid> {
        self.read().last_tid(pan, base_date)
    }

    /// The highest TIDs of the meters after one, in their order: of so many meters.
    pub(super) fn last_tids_after(
        &self,
        after: Option<(i64, BaseDate)>,
        most: usize,
    ) -> Vec<((i64, BaseDate), Tid)> {
        let behind = after.map_or(Unbounded, |(pan, base_date)| {
            Excluded(Entry { pan, tid: Some((base_date, Tid::LAST)), sequence: i64::MAX })
        });
        let mut found: BTreeMap<(i64, BaseDate), Tid> = BTreeMap::new();
        for rows in self.read().rows() {
            let mut meters = 0;
            let mut last = None;
            for row in rows.ordered.range((behind, Unbounded)) {
                let Some((base_date, tid)) = row.tid else { continue };
                let key = (row.pan, base_date);
                if last != Some(key) {
                    if meters == most {
                        break;
                    }
                    (meters, last) = (meters + 1, Some(key));
                }
                let highest = found.entry(key).or_insert(tid);
                *highest = tid.max(*highest);
            }
        }
        found.into_iter().take(most).collect()
    }

    /// The rows of a meter here.
    pub(super) fn of_meter(&self, pan: i64) -> Vec<Entry> {
        let all = Entry { pan, tid: None, sequence: i64::MIN }..=Entry {
            pan,
            tid: Some((BaseDate::Y2035, Tid::LAST)),
            sequence: i64::MAX,
        };
        let memory = self.read();
        memory.rows().flat_map(|rows| rows.ordered.range(all.clone())).copied().collect()
    }

    /// What the transaction should merge: about as many rows as it has added, so that a run is
    /// whole before the next begins. `None` while there are fewer than `enough`.
    pub(super) fn part(&self, enough: usize) -> Option<Part> {
        let mut memory = self.write();
        if memory.merging.is_none() && memory.growing.ordered.len() >= enough.max(1) {
            let rows = std::mem::take(&mut memory.growing);
            let run = Run {
                up_to: rows.ordered.iter().map(|row| row.sequence).max()?,
                minutes: minutes(&rows.ordered),
            };
            memory.merging = Some(Merging { rows, run, after: None });
        }
        let most = memory.added + memory.added / 4 + 1;
        let merging = memory.merging.as_ref()?;
        let behind = merging.after.map_or(Unbounded, Excluded);
        let mut rest = merging.rows.ordered.range((behind, Unbounded)).copied();
        let rows: Vec<Entry> = rest.by_ref().take(most).collect();
        let first = merging.after.is_none();
        let ends = rest.next().is_none().then_some(merging.run);
        let last = *rows.last()?;
        let number = memory.next_run;
        memory.progress = Some((last, ends.is_some()));
        Some(Part { number, first, rows, ends })
    }

    /// The transaction is committed.
    pub(super) fn committed(&self) {
        let mut memory = self.write();
        memory.added = 0;
        match memory.progress.take() {
            Some((_, true)) => {
                memory.merging = None;
                memory.next_run += 1;
            }
            Some((last, false)) => {
                if let Some(merging) = &mut memory.merging {
                    merging.after = Some(last);
                }
            }
            None => {}
        }
    }
}
