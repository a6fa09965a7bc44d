//! A database copied as a whole into one of another engine, while no server runs on either.
//!
//! The target is marked before anything is written and open to servers when all of it was read again
//! and found to be what the source holds; the source is closed to servers just before. Each step is
//! a transaction that finds by itself what is there already. So whatever ends it, the same again goes
//! on, and at no moment two databases can be served that would give one TID twice.
//!
//! `rows` copies what is under seal, as it is; `records` the chains with the ledger; `rest` what is
//! known of meters, sums and the like; `verification` reads the target.

mod error;
mod records;
mod rest;
mod rows;
#[cfg(test)]
mod tests;
mod verification;

use std::{fmt, io};

pub use error::MigrationError;

use super::engine::{Copyable, Mark, Select, Table};
use super::writing::Writing;
use super::{SealReport, Server};
use crate::audit::{ChainEnd, ChainId, Hash, SignedCheckpoint};
use crate::crash;

/// How many records or meters share a transaction.
const BATCH: usize = 10_000;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Rows under seal are copied.
    Rows,
    /// Tokens and acts are copied.
    Records,
    /// What is known of meters is copied. Nobody knows how many there are.
    Meters,
    /// All tokens and acts are read from the target.
    Verification,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rows => "rows under seal",
            Self::Records => "records",
            Self::Meters => "meters",
            Self::Verification => "records verified",
        })
    }
}

/// How far a migration has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub step: Step,
    /// How much of it is done.
    pub done: u64,
    /// Of how much; none where nobody knows.
    pub of: Option<u64>,
}

/// Is told how far it has come.
pub type Watch<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// Is called when all was read again, before the ledger is handed over.
pub type Verified<'a> = &'a mut (dyn FnMut(&Migrated) -> io::Result<()> + Send);

/// What a migration came to: all of it was read from the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// How many rows of each kind both databases hold.
    pub counts: Vec<(&'static str, u64)>,
    /// Its chains.
    pub chains: Vec<MigratedChain>,
    /// How many rows bear their seals.
    pub seals: u64,
    /// The text of the newest checkpoint that is known of the ledger.
    pub checkpoint: Option<String>,
}

/// A chain that was verified in the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigratedChain {
    /// The name of its server.
    pub server: String,
    /// Its name.
    pub chain: ChainId,
    /// The position of its last record.
    pub position: u64,
    /// The hash of that record.
    pub hash: Hash,
    /// Positions (from, to) that a restored database lost, which an administrator accepted.
    pub lost: Vec<(u64, u64)>,
}

/// What is asked for, for people.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The source's URL.
    pub(super) from: String,
    /// The target's URL.
    pub(super) to: String,
    /// The name that the first server gets in the target where there is one alone.
    pub(super) server: Option<String>,
    /// Checkpoints that are kept outside the databases: the source must hold what they name.
    pub(super) kept: Vec<SignedCheckpoint>,
    /// How many records or meters share a transaction.
    pub(super) batch: usize,
}

impl Request {
    pub(super) fn new(from: String, to: String, server: Option<String>, kept: Vec<SignedCheckpoint>) -> Self {
        Self { from, to, server, kept, batch: BATCH }
    }
}

/// A source that may be migrated.
#[derive(Debug)]
pub(super) struct Checked {
    /// Its chains, each with its server, in the order of their numbers.
    chains: Vec<(Server, ChainEnd)>,
    /// Whether it is closed to servers already.
    closed: bool,
}

impl Checked {
    /// The name of the first server in the target.
    pub(super) fn first_name(&self, request: &Request) -> String {
        match (&*self.chains, &request.server) {
            ([_], Some(name)) => name.clone(),
            _ => self.chains.first().map(|(server, _)| server.name.clone()).unwrap_or_default(),
        }
    }
}

/// Looks whether a source may be migrated into a database of several servers or of one, and changes
/// nothing.
pub(super) fn check<S: Copyable>(
    source: &mut Writing<S>,
    several: bool,
    request: &Request,
) -> Result<Checked, MigrationError> {
    let of_source = MigrationError::source;
    let closed = match source.view.mark().map_err(of_source)? {
        None => false,
        Some(Mark::Moved { to }) if to == request.to => true,
        Some(mark) => return Err(MigrationError::Source(mark.refusal())),
    };
    let ends = source.view.chains().map_err(of_source)?;
    let servers = source.view.servers().map_err(of_source)?;
    if ends.is_empty() {
        return Err(MigrationError::NoLedger);
    }
    let mut chains = Vec::with_capacity(ends.len());
    for end in ends {
        let server = servers.iter().find(|server| server.number == end.number).cloned();
        chains.push((server.ok_or(MigrationError::NoServer { chain: end.head.chain })?, end));
    }
    if !several {
        // A chain without records is nobody's loss.
        chains.retain(|(_, end)| end.number == crate::audit::ChainNumber::FIRST || end.head.position > 0);
        if chains.len() > 1 {
            return Err(MigrationError::SeveralChains { chains: chains.len() });
        }
    }
    for checkpoint in &request.kept {
        lacks(source, &chains, checkpoint)?;
    }
    let SealReport { forged, rows_missing } = source.verify_seals().map_err(of_source)?;
    if !forged.is_empty() || rows_missing {
        return Err(MigrationError::Forged { rows: forged, rows_missing });
    }
    Ok(Checked { chains, closed })
}

/// Refuses a source that lacks what a checkpoint names.
fn lacks<S: Copyable>(
    source: &mut Writing<S>,
    chains: &[(Server, ChainEnd)],
    checkpoint: &SignedCheckpoint,
) -> Result<(), MigrationError> {
    for named in &checkpoint.checkpoint.heads {
        let lacking = || MigrationError::BehindCheckpoint { chain: named.chain, position: named.position };
        if named.position == 0 {
            continue;
        }
        let (_, end) = chains.iter().find(|(_, end)| end.head.chain == named.chain).ok_or_else(lacking)?;
        let hash = source.view.record_hash(end.number, named.position).map_err(MigrationError::source)?;
        if hash != Some(named.hash) {
            return Err(lacking());
        }
    }
    Ok(())
}

/// Copies a source that was checked into a target, and opens that to servers.
pub(super) fn run<S: Copyable, T: Copyable>(
    source: &mut Writing<S>,
    checked: &Checked,
    target: &mut Writing<T>,
    request: &Request,
    watch: Watch<'_>,
    verified: Verified<'_>,
) -> Result<Migrated, MigrationError> {
    let (of_source, of_target) = (MigrationError::source, MigrationError::target);
    let Some((_, first)) = checked.chains.first() else { return Err(MigrationError::NoLedger) };
    begin(target, first, checked.closed, request)?;
    crash::point("migrate-after-mark");
    rows::copy(source, target, watch)?;
    records::copy(source, target, checked, request.batch, watch)?;
    rest::copy(source, target, checked, request.batch, watch)?;
    let migrated = verification::verified(source, target, checked, request, watch)?;
    verified(&migrated).map_err(MigrationError::Checkpoint)?;
    crash::point("migrate-before-close");
    let moved = Mark::Moved { to: request.to.clone() };
    source.transact(|source| source.view.put_mark(Some(&moved))).map_err(of_source)?;
    crash::point("migrate-before-open");
    target.transact(|target| target.view.put_mark(None)).map_err(of_target)?;
    Ok(migrated)
}

/// Marks the target, unless it is so already. Refuses one that holds anything else.
fn begin<T: Copyable>(
    target: &mut Writing<T>,
    first: &ChainEnd,
    closed: bool,
    request: &Request,
) -> Result<(), MigrationError> {
    let of_target = MigrationError::target;
    match target.view.mark().map_err(of_target)? {
        Some(Mark::Filling { chain, .. }) if chain == first.head.chain => return Ok(()),
        Some(Mark::Filling { from, .. }) => return Err(MigrationError::OfAnother { from }),
        Some(mark @ Mark::Moved { .. }) => return Err(MigrationError::Target(mark.refusal())),
        None => {}
    }
    let chains = target.view.chains().map_err(of_target)?;
    if closed && chains.iter().any(|end| end.head.chain == first.head.chain) {
        return Err(MigrationError::Done);
    }
    let mut empty = chains.is_empty();
    for table in Table::INDEXED {
        empty &= target.view.rows(&Select::all(table).page(0, 1)).map_err(of_target)?.is_empty();
    }
    if !empty {
        return Err(MigrationError::NotEmpty);
    }
    if closed {
        // It was whole once: another database stands in its place.
        return Err(MigrationError::Source(Mark::Moved { to: request.to.clone() }.refusal()));
    }
    let mark = Mark::Filling { chain: first.head.chain, from: request.from.clone() };
    target.transact(|target| target.view.put_mark(Some(&mark))).map_err(of_target)
}
