//! Approvals and the votes on them.

use super::{Columns, clients};
use crate::access::approval::{
    self, Approval, ApprovalRequested, ApprovalState, ApprovalStep, Requested, Vote,
};
use crate::audit::Change;
use crate::id::ApprovalId;
use crate::store::engine::{Row, Select, Table, Transaction, View};
use crate::store::reading::Reading;
use crate::store::seals::CheckedRow;
use crate::store::writing::Writing;
use crate::store::{Listing, Page, PageRequest, StoreError};

const TABLE: Table = Table::Approvals;

pub(in crate::store) fn request<T: Transaction>(
    writing: &mut Writing<T>,
    new: &Approval,
) -> Result<ApprovalRequested, StoreError> {
    let nobody = || StoreError::Defect { reason: "nobody asks for an approval".into() };
    let requester = clients::load(writing, new.requester)?.ok_or_else(nobody)?.number;
    let pending = of_state(ApprovalState::Pending).with("requester", requester);
    match approval::request(new, &load_all(writing, &pending)?) {
        Requested::Existing(same) => Ok(ApprovalRequested::Existing(same)),
        Requested::TooMany => Ok(ApprovalRequested::TooMany),
        Requested::New(change) => {
            writing.insert(TABLE, &columns(&change.row, requester))?;
            writing.append_act(&change.act)?;
            Ok(ApprovalRequested::New(change.row))
        }
    }
}

pub(in crate::store) fn vote<T: Transaction>(
    writing: &mut Writing<T>,
    id: ApprovalId,
    vote: &Vote,
) -> Result<Option<Approval>, StoreError> {
    let Some(row) = load(writing, id)? else { return Ok(None) };
    let known = read(writing, &row)?;
    let Some(voted) = approval::vote(&known, vote) else { return Ok(Some(known)) };
    let nobody = || StoreError::Defect { reason: "nobody votes".into() };
    let voter = clients::load(writing, vote.client)?.ok_or_else(nobody)?.number;
    let columns = vote_columns(&voted.vote, row.number, voter);
    let earlier = votes_of(row.number).with("client", voter);
    match writing.load_one(earlier)? {
        Some(earlier) => writing.change(&earlier, &columns)?,
        None => writing.insert(Table::ApprovalVotes, &columns).map(drop)?,
    }
    if voted.change.row.state == known.state {
        writing.append_act(&voted.change.act)?;
    } else {
        put(writing, &row, &voted.change)?;
    }
    Ok(Some(voted.change.row))
}

pub(in crate::store) fn step<T: Transaction>(
    writing: &mut Writing<T>,
    id: ApprovalId,
    step: &ApprovalStep,
) -> Result<Option<Approval>, StoreError> {
    let Some(row) = load(writing, id)? else { return Ok(None) };
    let Some(change) = approval::step(&read(writing, &row)?, step) else { return Ok(None) };
    put(writing, &row, &change)?;
    Ok(Some(change.row))
}

/// Ends the approvals that wait, as a decision over each says.
pub(in crate::store) fn end_pending<T: Transaction>(
    writing: &mut Writing<T>,
    decide: impl Fn(&Approval) -> Option<Change<Approval>>,
) -> Result<(), StoreError> {
    // A forged one is refused wherever it is loaded; it must not be in the way of the others.
    for row in writing.load_unforged(&of_state(ApprovalState::Pending))? {
        let known = match read(writing, &row) {
            Ok(known) => known,
            Err(StoreError::Forged { .. }) => continue,
            Err(error) => return Err(error),
        };
        if let Some(change) = decide(&known) {
            put(writing, &row, &change)?;
        }
    }
    Ok(())
}

pub(in crate::store) fn get<V: View>(
    reading: &mut Reading<V>,
    id: ApprovalId,
) -> Result<Option<Approval>, StoreError> {
    let Some(row) = load(reading, id)? else { return Ok(None) };
    read(reading, &row).map(Some)
}

pub(in crate::store) fn list<V: View>(
    reading: &mut Reading<V>,
    page: PageRequest,
    pending: bool,
) -> Result<Page<Approval>, StoreError> {
    let select = if pending { of_state(ApprovalState::Pending) } else { Select::all(TABLE) };
    reading.load_page(Listing::Approvals, select, page, read)
}

pub(in crate::store) fn granted<V: View>(reading: &mut Reading<V>) -> Result<Vec<Approval>, StoreError> {
    load_all(reading, &of_state(ApprovalState::Approved))
}

fn of_state(state: ApprovalState) -> Select {
    Select::all(TABLE).with("state", state.as_str())
}

fn votes_of(approval: i64) -> Select {
    Select::all(Table::ApprovalVotes).with("approval", approval)
}

/// Writes a state, on record.
fn put<T: Transaction>(
    writing: &mut Writing<T>,
    row: &CheckedRow,
    change: &Change<Approval>,
) -> Result<(), StoreError> {
    let Approval { state, outcome, updated_ms, .. } = &change.row;
    let columns: Columns = vec![
        ("state", state.as_str().into()),
        ("outcome", outcome.as_str().into()),
        ("updated_ms", (*updated_ms).into()),
    ];
    writing.change(row, &columns)?;
    writing.append_act(&change.act)
}

fn load<V: View>(reading: &mut Reading<V>, id: ApprovalId) -> Result<Option<CheckedRow>, StoreError> {
    reading.load_one(Select::all(TABLE).with("id", id.to_bytes()))
}

fn load_all<V: View>(reading: &mut Reading<V>, select: &Select) -> Result<Vec<Approval>, StoreError> {
    let rows = reading.load_all(select)?;
    rows.iter().map(|row| read(reading, row)).collect()
}

fn columns(approval: &Approval, requester: i64) -> Columns {
    vec![
        ("id", approval.id.to_bytes().into()),
        ("requester", requester.into()),
        ("credential", approval.credential.as_str().into()),
        ("method", approval.method.as_str().into()),
        ("request", approval.act.clone().into()),
        ("summary", approval.summary.as_str().into()),
        ("salt", approval.salt.into()),
        ("content_sha256", approval.content_sha256.into()),
        ("state", approval.state.as_str().into()),
        ("outcome", approval.outcome.as_str().into()),
        ("created_ms", approval.created_ms.into()),
        ("expires_ms", approval.expires_ms.into()),
        ("updated_ms", approval.updated_ms.into()),
    ]
}

fn vote_columns(vote: &Vote, approval: i64, client: i64) -> Columns {
    vec![
        ("approval", approval.into()),
        ("client", client.into()),
        ("credential", vote.credential.as_str().into()),
        ("approves", vote.approves.into()),
        ("content_sha256", vote.content_sha256.into()),
        ("at_ms", vote.at_ms.into()),
    ]
}

/// The approval of a row, with its requester and its votes.
fn read<V: View>(reading: &mut Reading<V>, row: &Row) -> Result<Approval, StoreError> {
    let requester = clients::id(&*reading.load_reference(row, "requester", Table::Clients)?)?;
    let mut votes = Vec::new();
    for vote in reading.load_all(&votes_of(row.number))? {
        votes.push(Vote {
            client: clients::id(&*reading.load_reference(&vote, "client", Table::Clients)?)?,
            credential: vote.text("credential")?.to_owned(),
            approves: vote.truth("approves")?,
            content_sha256: vote.bytes("content_sha256")?,
            at_ms: vote.integer("at_ms")?,
        });
    }
    Ok(Approval {
        id: ApprovalId::from_bytes(row.bytes("id")?),
        requester,
        credential: row.text("credential")?.to_owned(),
        method: row.text("method")?.to_owned(),
        act: row.blob("request")?.to_vec(),
        summary: row.text("summary")?.to_owned(),
        salt: row.bytes("salt")?,
        content_sha256: row.bytes("content_sha256")?,
        state: row.parsed("state")?,
        outcome: row.text("outcome")?.to_owned(),
        created_ms: row.integer("created_ms")?,
        expires_ms: row.integer("expires_ms")?,
        updated_ms: row.integer("updated_ms")?,
        votes,
    })
}
