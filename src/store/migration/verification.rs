//! The target read again, and compared with the source.

use super::{Checked, Migrated, MigratedChain, MigrationError, Progress, Request, Step, Watch};
use crate::audit::{Entry, SignedCheckpoint, Verification};
use crate::ledger::{Cursor, Hours, RefusedCalls};
use crate::store::StoreError;
use crate::store::engine::{Copyable, DaySum, FailedLook, HourSum, MeterTids, Select, Table};
use crate::store::transactions::audit;
use crate::store::writing::Writing;

/// Reads all of the target, and answers what both hold.
pub(super) fn verified<S: Copyable, T: Copyable>(
    source: &mut Writing<S>,
    target: &mut Writing<T>,
    checked: &Checked,
    request: &Request,
    watch: Watch<'_>,
) -> Result<Migrated, MigrationError> {
    let mut counts = Vec::new();
    let seals = rows(source, target, &mut counts)?;
    let chains = chains(source, target, checked, request.batch, &mut counts, watch)?;
    counts.push(("meters", meters(source, target, request.batch)?));
    counts.push(("sums of days", sums(source, target)?));
    reports(source, target)?;
    counts.push(("failed verifications", failures(source, target)?));
    let floors = source.view.chain().map_err(MigrationError::source)?.floors;
    if target.view.chain().map_err(MigrationError::target)?.floors != floors {
        return Err(differs("the floors of identifiers and requests"));
    }
    let known = target.view.last_checkpoint().map_err(MigrationError::target)?;
    let known = known.and_then(|text| SignedCheckpoint::parse(&text).ok());
    let newest = known.iter().chain(&request.kept).max_by_key(|signed| signed.checkpoint.number);
    let checkpoint = newest.map(SignedCheckpoint::to_text);
    Ok(Migrated { counts, chains, seals, checkpoint })
}

fn differs(what: impl Into<String>) -> MigrationError {
    MigrationError::Differs { what: what.into() }
}

/// Compares rows under seal, checks that they bear their seals, and answers how many do.
fn rows<S: Copyable, T: Copyable>(
    source: &mut Writing<S>,
    target: &mut Writing<T>,
    counts: &mut Vec<(&'static str, u64)>,
) -> Result<u64, MigrationError> {
    let mut seals = 0;
    for table in Table::INDEXED.into_iter().chain([Table::SealIndex]) {
        let wanted = source.view.rows(&Select::all(table)).map_err(MigrationError::source)?;
        let found = target.view.rows(&Select::all(table)).map_err(MigrationError::target)?;
        if found != wanted {
            return Err(differs(format!("rows of {}", table.name())));
        }
        seals += found.len() as u64;
        let what = match table {
            Table::Clients => "clients",
            Table::Credentials => "credentials",
            Table::PublicKeys => "signing keys",
            Table::Configurations => "configurations",
            Table::KeyChangePairs => "key-change pairs",
            Table::Approvals => "approvals",
            Table::ApprovalVotes => "votes",
            Table::SealIndex | Table::LedgerWalk => continue,
        };
        counts.push((what, found.len() as u64));
    }
    let report = target.verify_seals().map_err(MigrationError::target)?;
    if report.is_sound() { Ok(seals) } else { Err(differs(format!("seals: {}", report.forged.join(", ")))) }
}

/// Reads all records of the target: each must follow from the one before it, and the last one be the
/// source's.
fn chains<S: Copyable, T: Copyable>(
    source: &mut Writing<S>,
    target: &mut Writing<T>,
    checked: &Checked,
    batch: usize,
    counts: &mut Vec<(&'static str, u64)>,
    watch: Watch<'_>,
) -> Result<Vec<MigratedChain>, MigrationError> {
    let (mut tokens, mut acts) = (0, 0);
    for (_, end) in &checked.chains {
        let of_chain = source.view.count_records(end.number).map_err(MigrationError::source)?;
        (tokens, acts) = (tokens + of_chain.0, acts + of_chain.1);
    }
    let of = Some(tokens + acts);
    let (mut verification, mut after) = (Verification::new(None), Cursor::default());
    let (mut tokens_found, mut acts_found) = (0, 0);
    loop {
        let page = audit::records(target, &after, batch, true).map_err(MigrationError::target)?;
        for line in &page.lines {
            verification.feed(line);
            match line.record.entry {
                Entry::Token(_) => tokens_found += 1,
                Entry::Act(_) => acts_found += 1,
            }
        }
        watch(Progress { step: Step::Verification, done: tokens_found + acts_found, of });
        after = page.next;
        if !page.more {
            break;
        }
    }
    let outcome = verification.finish();
    if !outcome.is_sound() {
        let faults: Vec<String> =
            outcome.faults.iter().take(10).map(|(chain, fault)| format!("chain {chain}: {fault}")).collect();
        return Err(MigrationError::Chains { faults: faults.join("; ") });
    }
    if (tokens_found, acts_found) != (tokens, acts) {
        return Err(differs(format!("{tokens_found} tokens of {tokens}, {acts_found} acts of {acts}")));
    }
    let ends = target.view.chains().map_err(MigrationError::target)?;
    let mut chains = Vec::new();
    for (server, end) in &checked.chains {
        let chain = end.head.chain;
        let last = outcome.chains.get(&chain).copied().unwrap_or_default();
        let found = target.view.record_hash(end.number, last).map_err(MigrationError::target)?;
        let wanted = source.view.record_hash(end.number, last).map_err(MigrationError::source)?;
        if found != wanted || !ends.contains(end) {
            return Err(differs(format!("the end of chain {chain}")));
        }
        let lost = outcome.lost.iter().filter(|(of, ..)| *of == chain).map(|(_, from, to)| (*from, *to));
        let Some(hash) = found.or((last == 0).then_some(end.head.hash)) else {
            return Err(differs(format!("the last record of chain {chain}")));
        };
        let server = server.name.clone();
        chains.push(MigratedChain { server, chain, position: last, hash, lost: lost.collect() });
    }
    counts.extend([("tokens", tokens), ("acts", acts)]);
    Ok(chains)
}

/// Compares what is known of meters, and answers of how many.
fn meters<S: Copyable, T: Copyable>(
    source: &mut Writing<S>,
    target: &mut Writing<T>,
    batch: usize,
) -> Result<u64, MigrationError> {
    let (mut after, mut count) = (None, 0);
    loop {
        let wanted = source.view.meters_after(after, batch).map_err(MigrationError::source)?;
        let found = target.view.meters_after(after, batch).map_err(MigrationError::target)?;
        // One that was lowered between two runs is higher still, which gives nothing twice.
        let holds = |(found, wanted): (&MeterTids, &MeterTids)| {
            (found.meter, found.base_date, found.tids.issued)
                == (wanted.meter, wanted.base_date, wanted.tids.issued)
                && found.tids.last >= wanted.tids.last
        };
        if found.len() != wanted.len() || !found.iter().zip(&wanted).all(holds) {
            return Err(differs("what is known of meters"));
        }
        count += found.len() as u64;
        let Some(last) = found.last() else { return Ok(count) };
        after = Some((last.meter, last.base_date));
    }
}

/// Compares what clients were given, and answers of how many there is a sum.
fn sums<S: Copyable, T: Copyable>(
    source: &mut Writing<S>,
    target: &mut Writing<T>,
) -> Result<u64, MigrationError> {
    let days = source.view.days_of_sums().map_err(MigrationError::source)?;
    if target.view.days_of_sums().map_err(MigrationError::target)? != days {
        return Err(differs("the days of sums"));
    }
    let mut count = 0;
    for day in days {
        let sorted = |mut sums: Vec<DaySum>| {
            sums.sort_by(|one, other| (one.client, &one.kind).cmp(&(other.client, &other.kind)));
            sums
        };
        let wanted = sorted(source.view.sums_of_day(day).map_err(MigrationError::source)?);
        let found = sorted(target.view.sums_of_day(day).map_err(MigrationError::target)?);
        if found != wanted {
            return Err(differs("what clients were given"));
        }
        count += found.len() as u64;
    }
    Ok(count)
}

/// Compares what reports are made of.
fn reports<S: Copyable, T: Copyable>(
    source: &mut Writing<S>,
    target: &mut Writing<T>,
) -> Result<(), MigrationError> {
    fn sorted<V: Copyable>(view: &mut V) -> Result<(Vec<HourSum>, Vec<RefusedCalls>), StoreError> {
        let (mut vended, mut refused) = (view.vended_hours(Hours::ALL)?, view.refused_hours(Hours::ALL)?);
        let key = |sum: &HourSum| (sum.hour, sum.configuration, sum.kind.clone());
        vended.sort_by_key(key);
        refused.sort_by(|one, other| (one.hour, &one.reason).cmp(&(other.hour, &other.reason)));
        Ok((vended, refused))
    }
    let wanted = sorted(&mut source.view).map_err(MigrationError::source)?;
    let found = sorted(&mut target.view).map_err(MigrationError::target)?;
    if found == wanted { Ok(()) } else { Err(differs("the sums of reports")) }
}

/// Compares failed looks into foreign tokens, and answers how many there are.
fn failures<S: Copyable, T: Copyable>(
    source: &mut Writing<S>,
    target: &mut Writing<T>,
) -> Result<u64, MigrationError> {
    let sorted = |failures: Vec<FailedLook>| {
        let plain = |look: FailedLook| (look.client, look.meter.number(), look.at_ms);
        let mut plain: Vec<(i64, i64, i64)> = failures.into_iter().map(plain).collect();
        plain.sort_unstable();
        plain
    };
    let wanted = sorted(source.view.failures().map_err(MigrationError::source)?);
    let found = sorted(target.view.failures().map_err(MigrationError::target)?);
    if found == wanted { Ok(found.len() as u64) } else { Err(differs("failed verifications")) }
}
