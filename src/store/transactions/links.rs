//! Rows of the ledger against their links of the chains, before a token is made from them again.
//!
//! A row's hash is that of its record, which names the record before it. So a row that was changed
//! no longer gives its hash; and where its hash was changed with it, the record behind it no longer
//! follows. Whoever goes on changing what follows comes to the head, which the server knows and a
//! checkpoint names; what they leave on the way there the walk over the whole chain finds.

use crate::audit::{ChainEnd, Entry, Hash, Line, Record};
use crate::ledger::{ContentFields, RowFields, Sequence, TokenRow};
use crate::metrics;
use crate::store::StoreError;
use crate::store::engine::{Behind, View};
use crate::store::reading::Reading;

/// What a row comes to: nothing, or [`StoreError::Unlinked`].
type Linked = Result<(), StoreError>;

/// Checks one row.
pub(super) fn check_one<V: View>(reading: &mut Reading<V>, row: &RowFields) -> Linked {
    let ends = reading.view.chains()?;
    check(&mut reading.view, std::slice::from_ref(row), &ends)?
        .pop()
        .unwrap_or_else(|| Err(unlinked(row.sequence)))
}

/// Checks rows that were read before, in their order.
pub(in crate::store) fn check_again<V: View>(
    reading: &mut Reading<V>,
    rows: &[TokenRow],
) -> Result<Vec<Linked>, StoreError> {
    let sequences: Vec<Sequence> = rows.iter().map(|row| row.sequence).collect();
    let hashes = reading.view.record_hashes(&sequences)?;
    let fields: Vec<RowFields> = rows.iter().zip(hashes).map(|(row, hash)| fields(row, hash)).collect();
    let ends = reading.view.chains()?;
    check(&mut reading.view, &fields, &ends)
}

/// The row as it is kept, with the hash that is kept; one that is gone has none.
fn fields(row: &TokenRow, hash: Option<Hash>) -> RowFields {
    RowFields {
        sequence: row.sequence.value(),
        client: row.client,
        credential: row.credential.clone(),
        request_id: row.request_id,
        request_hash: row.request_hash,
        issued_ms: row.issued_ms,
        content: ContentFields::from(&row.content),
        hash: hash.unwrap_or(Hash::START),
    }
}

/// Checks rows, each for itself, in their order. `ends` are those of all chains, read after the rows.
pub(super) fn check<V: View>(
    view: &mut V,
    rows: &[RowFields],
    ends: &[ChainEnd],
) -> Result<Vec<Linked>, StoreError> {
    let numbered: Vec<Option<Sequence>> = rows.iter().map(|row| Sequence::new(row.sequence)).collect();
    let known: Vec<Sequence> = numbered.iter().flatten().copied().collect();
    let before: Vec<Sequence> = known.iter().filter_map(|sequence| sequence.before()).collect();
    let mut hashes = view.record_hashes(&before)?.into_iter();
    let mut behind = view.records_behind(&known)?.into_iter();
    let mut answers = Vec::with_capacity(rows.len());
    for (row, sequence) in rows.iter().zip(numbered) {
        let holds = match sequence {
            None => false,
            Some(sequence) => {
                let before = match sequence.before() {
                    Some(_) => hashes.next().flatten(),
                    None => Some(Hash::START),
                };
                let behind = behind.next().flatten();
                let end = ends.iter().find(|end| end.number == sequence.chain());
                end.is_some_and(|end| is_linked(row, sequence, before, behind, end))
            }
        };
        answers.push(if holds { Ok(()) } else { Err(unlinked(row.sequence)) });
    }
    Ok(answers)
}

fn is_linked(
    row: &RowFields,
    sequence: Sequence,
    before: Option<Hash>,
    behind: Option<Behind>,
    end: &ChainEnd,
) -> bool {
    let follows = |line: Line, before| line.record.hash(line.chain, before) == line.hash;
    let own = row.clone().line(end, false);
    if !own.is_ok_and(|line| before.is_some_and(|before| follows(line, before))) {
        return false;
    }
    if end.head.position <= sequence.position() {
        return end.head.position == sequence.position() && end.head.hash == row.hash;
    }
    match behind {
        Some(Behind::Token(next)) => next.line(end, false).is_ok_and(|line| follows(line, row.hash)),
        Some(Behind::Act(next)) => {
            let record = Record { position: next.position, at_ms: next.at_ms, entry: Entry::Act(next.act) };
            record.hash(end.head.chain, row.hash) == next.hash
        }
        Some(Behind::Unreadable) | None => false,
    }
}

/// Tells of a row.
pub(super) fn unlinked(sequence: i64) -> StoreError {
    let row = format!("issued_tokens {sequence}");
    metrics::alarm("ledger_damaged", "");
    tracing::error!(
        row,
        "a row of the ledger is not what its link of the chain says: no token is made from it"
    );
    StoreError::Unlinked { row }
}
