//! The tables of approvals and of votes on them.
//!
//! Who may vote and how many persons it takes is not decided here. What is: a state follows from the one that was looked at, and each
//! change is on record with the hash of the content, never with the content.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::chain::Writing;
use super::column::parsed;
use crate::store::{
    Actor, Approval, ApprovalId, ApprovalRequested, ApprovalState, ApprovalStep, ClientId, Listing,
    NewApproval, PENDING_PER_CLIENT, Page, PageRequest, StoreError, Vote,
};

const SELECT: &str =
    "SELECT a.*, c.id AS requester_id FROM approvals a JOIN clients c ON c.number = a.requester";

pub(super) fn request(writing: &Writing, new: &NewApproval) -> Result<ApprovalRequested, StoreError> {
    let same = writing
        .prepare_cached(&format!(
            "{SELECT} WHERE a.state = 'PENDING' AND c.id = ?1 AND a.method = ?2 AND a.request = ?3"
        ))?
        .query_row((new.requester.to_bytes(), &new.method, &new.request), read)
        .optional()?;
    if let Some(same) = same {
        return Ok(ApprovalRequested::Existing(with_votes(writing, same)?));
    }
    let waiting: u32 = writing
        .prepare_cached(
            "SELECT count(*) FROM approvals a JOIN clients c ON c.number = a.requester
             WHERE a.state = 'PENDING' AND c.id = ?1",
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
    let approval = written(writing, new.id)?;
    let actor = Actor::Client { client: new.requester, credential: new.credential.clone() };
    tell(writing, ApprovalState::Pending.record(), &approval, &actor, new.now_ms)?;
    Ok(ApprovalRequested::New(approval))
}

pub(super) fn get(connection: &Connection, id: ApprovalId) -> Result<Option<Approval>, StoreError> {
    let found = connection
        .prepare_cached(&format!("{SELECT} WHERE a.id = ?1"))?
        .query_row([id.to_bytes()], read)
        .optional()?;
    found.map(|found| with_votes(connection, found)).transpose()
}

pub(super) fn list(
    connection: &Connection,
    page: PageRequest,
    pending: bool,
) -> Result<Page<Approval>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "{SELECT} WHERE a.number > ?1 AND (NOT ?2 OR a.state = 'PENDING') ORDER BY a.number LIMIT ?3"
    ))?;
    let found: Vec<_> =
        statement.query_map((page.row(), pending, page.size() + 1), read)?.collect::<Result<_, _>>()?;
    let rows = found
        .into_iter()
        .map(|found| Ok((found.0, with_votes(connection, found)?)))
        .collect::<Result<_, StoreError>>()?;
    Ok(Page::from_rows(Listing::Approvals, page, rows))
}

pub(super) fn granted(connection: &Connection) -> Result<Vec<Approval>, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("{SELECT} WHERE a.state = 'APPROVED' ORDER BY a.number"))?;
    let found: Vec<_> = statement.query_map([], read)?.collect::<Result<_, _>>()?;
    found.into_iter().map(|found| with_votes(connection, found)).collect()
}

pub(super) fn vote(writing: &Writing, id: ApprovalId, vote: &Vote) -> Result<Option<Approval>, StoreError> {
    let Some(approval) = get(writing, id)? else { return Ok(None) };
    let stays = |earlier: &Vote| earlier.client == vote.client && (vote.approves || !earlier.approves);
    if approval.state != ApprovalState::Pending || approval.votes.iter().any(stays) {
        return Ok(Some(approval));
    }
    writing
        .prepare_cached(
            "INSERT INTO approval_votes (approval, client, credential, approves, content_sha256, at_ms)
             SELECT a.number, c.number, :credential, :approves, :content, :now
             FROM approvals a, clients c WHERE a.id = :approval AND c.id = :client
             ON CONFLICT (approval, client) DO UPDATE SET
                 credential = excluded.credential, approves = excluded.approves, at_ms = excluded.at_ms",
        )?
        .execute(named_params! {
            ":approval": id.to_bytes(),
            ":client": vote.client.to_bytes(),
            ":credential": vote.credential,
            ":approves": vote.approves,
            ":content": vote.content_sha256,
            ":now": vote.at_ms,
        })?;
    let actor = Actor::Client { client: vote.client, credential: vote.credential.clone() };
    if vote.approves {
        tell(writing, "approval.approved", &approval, &actor, vote.at_ms)?;
    } else {
        put(writing, &approval, ApprovalState::Rejected, "", &actor, vote.at_ms)?;
    }
    written(writing, id).map(Some)
}

pub(super) fn step(
    writing: &Writing,
    id: ApprovalId,
    step: &ApprovalStep,
) -> Result<Option<Approval>, StoreError> {
    let Some(approval) = get(writing, id)?.filter(|approval| approval.state == step.from) else {
        return Ok(None);
    };
    put(writing, &approval, step.to, &step.outcome, &step.actor, step.now_ms)?;
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
    let mut statement = writing.prepare_cached(&format!(
        "{SELECT} WHERE a.state = 'PENDING' AND a.expires_ms <= ?1 ORDER BY a.number"
    ))?;
    let found: Vec<_> = statement.query_map([until_ms], read)?.collect::<Result<_, _>>()?;
    for (_, approval) in found {
        put(writing, &approval, ApprovalState::Expired, outcome, &Actor::Local, now_ms)?;
    }
    Ok(())
}

/// Writes a state, on record.
fn put(
    writing: &Writing,
    approval: &Approval,
    state: ApprovalState,
    outcome: &str,
    actor: &Actor,
    now_ms: i64,
) -> Result<(), StoreError> {
    writing
        .prepare_cached("UPDATE approvals SET state = ?1, outcome = ?2, updated_ms = ?3 WHERE id = ?4")?
        .execute((state.as_str(), outcome, now_ms, approval.id.to_bytes()))?;
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
fn written(connection: &Connection, id: ApprovalId) -> Result<Approval, StoreError> {
    get(connection, id)?
        .ok_or_else(|| StoreError::Defect { reason: "an approval just written is gone".into() })
}

fn with_votes(
    connection: &Connection,
    (number, mut approval): (i64, Approval),
) -> Result<Approval, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT v.*, c.id AS client_id FROM approval_votes v JOIN clients c ON c.number = v.client
         WHERE v.approval = ?1 ORDER BY v.number",
    )?;
    approval.votes = statement.query_map([number], read_vote)?.collect::<Result<_, _>>()?;
    Ok(approval)
}

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, Approval)> {
    let approval = Approval {
        id: ApprovalId::from_bytes(row.get("id")?),
        requester: ClientId::from_bytes(row.get("requester_id")?),
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
    Ok((row.get("number")?, approval))
}

fn read_vote(row: &Row<'_>) -> rusqlite::Result<Vote> {
    Ok(Vote {
        client: ClientId::from_bytes(row.get("client_id")?),
        credential: row.get("credential")?,
        approves: row.get("approves")?,
        content_sha256: row.get("content_sha256")?,
        at_ms: row.get("at_ms")?,
    })
}
