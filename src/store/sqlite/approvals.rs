//! The tables of approvals and of votes on them.
//!
//! Who may vote and how many persons it takes is not decided here. What is: a state follows from the one that was looked at, and each
//! change is on record with the hash of the content, never with the content.

use std::collections::BTreeMap;

use rusqlite::{Params, Row, named_params};

use super::chain::Writing;
use super::column::parsed;
use super::sealed::{Reading, Table};
use crate::store::{
    Actor, Approval, ApprovalId, ApprovalRequested, ApprovalState, ApprovalStep, ClientId, Listing,
    NewApproval, PENDING_PER_CLIENT, Page, PageRequest, StoreError, Vote,
};

/// A row whose clients are numbers still.
struct Stored {
    number: i64,
    requester: i64,
    approval: Approval,
}

pub(super) fn request(writing: &Writing, new: &NewApproval) -> Result<ApprovalRequested, StoreError> {
    let same = one(
        writing,
        "state = 'PENDING' AND requester = (SELECT number FROM clients WHERE id = ?1) AND method = ?2 AND request = ?3",
        (new.requester.to_bytes(), &new.method, &new.request),
    )?;
    if let Some((_, same)) = same {
        return Ok(ApprovalRequested::Existing(same));
    }
    let waiting: u32 = writing
        .prepare_cached(
            "SELECT count(*) FROM approvals
             WHERE state = 'PENDING' AND requester = (SELECT number FROM clients WHERE id = ?1)",
        )?
        .query_row([new.requester.to_bytes()], |row| row.get(0))?;
    if waiting >= PENDING_PER_CLIENT {
        return Ok(ApprovalRequested::TooMany);
    }
    writing
        .prepare_cached(
            "INSERT INTO approvals (
                 id, requester, credential, method, request, summary, salt, content_sha256, state, outcome,
                 created_ms, expires_ms, updated_ms)
             SELECT :id, number, :credential, :method, :request, :summary, :salt, :content, 'PENDING', '',
                    :now, :expires, :now
             FROM clients WHERE id = :requester",
        )?
        .execute(named_params! {
            ":id": new.id.to_bytes(),
            ":requester": new.requester.to_bytes(),
            ":credential": new.credential,
            ":method": new.method,
            ":request": new.request,
            ":summary": new.summary,
            ":salt": new.salt,
            ":content": new.content_sha256,
            ":expires": new.expires_ms,
            ":now": new.now_ms,
        })?;
    writing.seal(Table::Approvals, writing.last_insert_rowid())?;
    let approval = written(writing, new.id)?;
    let actor = Actor::Client { client: new.requester, credential: new.credential.clone() };
    tell(writing, ApprovalState::Pending.record(), &approval, &actor, new.now_ms)?;
    Ok(ApprovalRequested::New(approval))
}

pub(super) fn get(connection: &Reading, id: ApprovalId) -> Result<Option<Approval>, StoreError> {
    Ok(one(connection, "id = ?1", [id.to_bytes()])?.map(|(_, approval)| approval))
}

pub(super) fn list(
    connection: &Reading,
    page: PageRequest,
    pending: bool,
) -> Result<Page<Approval>, StoreError> {
    let condition = "number > ?1 AND (NOT ?2 OR state = 'PENDING') ORDER BY number LIMIT ?3";
    let rows = all(connection, condition, (page.row(), pending, page.size() + 1))?;
    Ok(Page::from_rows(Listing::Approvals, page, rows))
}

pub(super) fn granted(connection: &Reading) -> Result<Vec<Approval>, StoreError> {
    let found = all(connection, "state = 'APPROVED' ORDER BY number", ())?;
    Ok(found.into_iter().map(|(_, approval)| approval).collect())
}

pub(super) fn vote(writing: &Writing, id: ApprovalId, vote: &Vote) -> Result<Option<Approval>, StoreError> {
    let Some((number, approval)) = one(writing, "id = ?1", [id.to_bytes()])? else { return Ok(None) };
    let earlier = approval.votes.iter().find(|earlier| earlier.client == vote.client);
    let stays = earlier.is_some_and(|earlier| vote.approves || !earlier.approves);
    if approval.state != ApprovalState::Pending || stays {
        return Ok(Some(approval));
    }
    writing
        .prepare_cached(
            "INSERT INTO approval_votes (approval, client, credential, approves, content_sha256, at_ms)
             SELECT :approval, number, :credential, :approves, :content, :now FROM clients WHERE id = :client
             ON CONFLICT (approval, client) DO UPDATE SET
                 credential = excluded.credential, approves = excluded.approves, at_ms = excluded.at_ms",
        )?
        .execute(named_params! {
            ":approval": number,
            ":client": vote.client.to_bytes(),
            ":credential": vote.credential,
            ":approves": vote.approves,
            ":content": vote.content_sha256,
            ":now": vote.at_ms,
        })?;
    let row: i64 = writing
        .prepare_cached(
            "SELECT number FROM approval_votes
             WHERE approval = ?1 AND client = (SELECT number FROM clients WHERE id = ?2)",
        )?
        .query_row((number, vote.client.to_bytes()), |row| row.get(0))?;
    writing.seal(Table::ApprovalVotes, row)?;
    let actor = Actor::Client { client: vote.client, credential: vote.credential.clone() };
    if vote.approves {
        tell(writing, "approval.approved", &approval, &actor, vote.at_ms)?;
    } else {
        put(writing, (number, &approval), ApprovalState::Rejected, "", &actor, vote.at_ms)?;
    }
    written(writing, id).map(Some)
}

pub(super) fn step(
    writing: &Writing,
    id: ApprovalId,
    step: &ApprovalStep,
) -> Result<Option<Approval>, StoreError> {
    let found = one(writing, "id = ?1", [id.to_bytes()])?;
    let Some((number, approval)) = found.filter(|(_, approval)| approval.state == step.from) else {
        return Ok(None);
    };
    put(writing, (number, &approval), step.to, &step.outcome, &step.actor, step.now_ms)?;
    written(writing, id).map(Some)
}

/// Ends what waits past its time.
pub(super) fn expire(writing: &Writing, now_ms: i64) -> Result<(), StoreError> {
    end_pending(writing, now_ms, "", now_ms)
}

/// Ends all that waits: a restored database may have forgotten that it was decided.
pub(super) fn forget_pending(writing: &Writing, now_ms: i64) -> Result<(), StoreError> {
    end_pending(writing, i64::MAX, "the database was restored", now_ms)
}

fn end_pending(writing: &Writing, until_ms: i64, outcome: &str, now_ms: i64) -> Result<(), StoreError> {
    let numbers: Vec<i64> = writing
        .prepare_cached("SELECT number FROM approvals WHERE state = 'PENDING' AND expires_ms <= ?1")?
        .query_map([until_ms], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for number in numbers {
        match one(writing, "number = ?1", [number]) {
            Ok(Some((number, approval))) => {
                let state = ApprovalState::Expired;
                put(writing, (number, &approval), state, outcome, &Actor::Local, now_ms)?;
            }
            // A forged one is refused wherever it is loaded; it must not be in the way of the others.
            Ok(None) | Err(StoreError::Forged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes a state, on record.
fn put(
    writing: &Writing,
    (number, approval): (i64, &Approval),
    state: ApprovalState,
    outcome: &str,
    actor: &Actor,
    now_ms: i64,
) -> Result<(), StoreError> {
    writing
        .prepare_cached("UPDATE approvals SET state = ?1, outcome = ?2, updated_ms = ?3 WHERE number = ?4")?
        .execute((state.as_str(), outcome, now_ms, number))?;
    writing.seal(Table::Approvals, number)?;
    tell(writing, state.record(), approval, actor, now_ms)
}

/// Puts on record what happened to an approval: neither its request nor its summary, which may name a meter.
fn tell(
    writing: &Writing,
    kind: &'static str,
    approval: &Approval,
    actor: &Actor,
    now_ms: i64,
) -> Result<(), StoreError> {
    let details = BTreeMap::from([
        ("approval", approval.id.to_string()),
        ("content_sha256", hex::encode(approval.content_sha256)),
        ("method", approval.method.clone()),
        ("requester", approval.requester.to_string()),
    ]);
    writing.append_act(kind, actor, now_ms, &details)
}

/// The row that was just written.
fn written(connection: &Reading, id: ApprovalId) -> Result<Approval, StoreError> {
    get(connection, id)?
        .ok_or_else(|| StoreError::Defect { reason: "an approval just written is gone".into() })
}

fn one(
    connection: &Reading,
    condition: &str,
    params: impl Params,
) -> Result<Option<(i64, Approval)>, StoreError> {
    let found = connection.one(Table::Approvals, condition, params, read)?;
    found.map(|found| completed(connection, found)).transpose()
}

fn all(
    connection: &Reading,
    condition: &str,
    params: impl Params,
) -> Result<Vec<(i64, Approval)>, StoreError> {
    let found = connection.all(Table::Approvals, condition, params, read)?;
    found.into_iter().map(|found| completed(connection, found)).collect()
}

/// The row with its requester and its votes.
fn completed(connection: &Reading, stored: Stored) -> Result<(i64, Approval), StoreError> {
    let Stored { number, requester, mut approval } = stored;
    approval.requester = client(connection, requester)?;
    let condition = "approval = ?1 ORDER BY number";
    let votes = connection.all(Table::ApprovalVotes, condition, [number], read_vote)?;
    for (voter, vote) in votes {
        approval.votes.push(Vote { client: client(connection, voter)?, ..vote });
    }
    Ok((number, approval))
}

/// The client of this number: the database holds references to existing rows.
fn client(connection: &Reading, number: i64) -> Result<ClientId, StoreError> {
    connection
        .one(Table::Clients, "number = ?1", [number], |row| row.get("id").map(ClientId::from_bytes))?
        .ok_or_else(|| StoreError::Corrupt { reason: "an approval names a client that is gone".into() })
}

/// The requester's id and the votes are filled in by [`completed`].
fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let approval = Approval {
        id: ApprovalId::from_bytes(row.get("id")?),
        requester: ClientId::from_bytes([0; 16]),
        credential: row.get("credential")?,
        method: row.get("method")?,
        request: row.get("request")?,
        summary: row.get("summary")?,
        salt: row.get("salt")?,
        content_sha256: row.get("content_sha256")?,
        state: parsed(row, "state", "approvals.state")?,
        outcome: row.get("outcome")?,
        created_ms: row.get("created_ms")?,
        expires_ms: row.get("expires_ms")?,
        updated_ms: row.get("updated_ms")?,
        votes: Vec::new(),
    };
    Ok(Stored { number: row.get("number")?, requester: row.get("requester")?, approval })
}

/// With the number of the voter, whose id is filled in by [`completed`].
fn read_vote(row: &Row<'_>) -> rusqlite::Result<(i64, Vote)> {
    let vote = Vote {
        client: ClientId::from_bytes([0; 16]),
        credential: row.get("credential")?,
        approves: row.get("approves")?,
        content_sha256: row.get("content_sha256")?,
        at_ms: row.get("at_ms")?,
    };
    Ok((row.get("client")?, vote))
}
