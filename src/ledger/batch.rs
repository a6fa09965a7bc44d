//! The rules of the ledger: what becomes of the orders of a batch, one after another.
//!
//! A batch knows what was loaded for it, and what it has decided itself so far. Nothing here reads
//! or writes.

use std::collections::HashMap;

use uuid::Uuid;

use super::floors::above;
use super::sum::day_of;
use super::usage::{Alarm, Charge, Day};
use super::{Content, Floors, NewToken, Refused, RowContent, Sequence, TokenRow, fields, request_made_ms};
use crate::access::client::{Client, CredentialHolder};
use crate::access::limits::Amount;
use crate::audit::{ActRow, Actor, ChainEnd, Entry, Hash, NewAct};
use crate::configuration::ConfigurationState;
use crate::id::{ClientId, ConfigurationId};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

/// What was loaded for one order.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The credential that the order names, with its client; none if there is no such credential.
    pub holder: Option<&'a CredentialHolder>,
    /// The row that this client's request made before this batch.
    pub earlier: Option<&'a TokenRow>,
    /// The state of the configuration that the order names; none if there is no such configuration.
    pub configuration: Option<ConfigurationState>,
    /// The same of the target of a key change.
    pub target: Option<ConfigurationState>,
    /// Whether an administrator allowed this key change.
    pub key_change_allowed: bool,
    /// The last TID of the order's meter under its base date before this batch.
    pub last_tid: Option<Tid>,
}

/// What becomes of an order that is not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is recorded, as this row of [`Batch::rows`].
    New(usize),
    /// The same request was recorded before this batch.
    Replay(Box<TokenRow>),
    /// The same request was recorded by this batch, as this row of [`Batch::rows`].
    ReplayInBatch(usize),
}

/// A row that is to be written, and the hash of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The row.
    pub row: TokenRow,
    /// The hash of its record.
    pub hash: Hash,
}

/// The ledger as a batch leaves it: what is to be written after its last order.
#[derive(Debug)]
pub struct Batch {
    end: ChainEnd,
    floors: Floors,
    /// Which multiple of the usual tokens of a day raises an alarm.
    alarm_pace: u32,
    rows: Vec<Issued>,
    /// What each row counts as: the name of its kind, and what it transfers.
    counts: Vec<(&'static str, Amount)>,
    acts: Vec<ActRow>,
    alarms: Vec<(ClientId, Alarm)>,
    requests: HashMap<(ClientId, Uuid), usize>,
    tids: HashMap<(MeterPan, BaseDate), Tid>,
    days: HashMap<(ClientId, i64), Day>,
}

impl Batch {
    /// A batch of about `orders` orders, at the end of a chain, over what clients were given today.
    pub fn new(
        end: ChainEnd,
        floors: Floors,
        alarm_pace: u32,
        days: HashMap<(ClientId, i64), Day>,
        orders: usize,
    ) -> Self {
        Self {
            end,
            floors,
            alarm_pace,
            rows: Vec::with_capacity(orders),
            counts: Vec::with_capacity(orders),
            acts: Vec::new(),
            alarms: Vec::new(),
            requests: HashMap::with_capacity(orders),
            tids: HashMap::with_capacity(orders),
            days,
        }
    }

    /// Decides an order. The order of the rules:
    ///
    /// 1. The credential is one of this client, and both count now.
    /// 2. A request that was recorded is answered with its row, whatever changed since; unless the
    ///    id now names another request, or the row is older than the ledger answers for.
    /// 3. The request id is not older than the ledger answers for.
    /// 4. The limits of the client leave room for the token.
    /// 5. The configurations that it names are ENABLED, and the key change between them is allowed.
    /// 6. The meter has a next TID.
    ///
    /// # Errors
    /// [`Refused`]; a refusal leaves no trace.
    pub fn decide(&mut self, order: &NewToken, facts: Facts<'_>) -> Result<Decision, Refused> {
        let holder = facts.holder.filter(|holder| holder.counts(order.client, order.now_ms));
        let client = &holder.ok_or(Refused::CredentialNotEnabled)?.client;

        if let Some(row) = facts.earlier {
            repeats(order, row)?;
            return Ok(Decision::Replay(Box::new(row.clone())));
        }
        let request = (order.client, order.request_id);
        if let Some(index) = self.requests.get(&request).copied() {
            if let Some(issued) = self.rows.get(index) {
                repeats(order, &issued.row)?;
            }
            return Ok(Decision::ReplayInBatch(index));
        }

        let from_ms = order.requests_from_ms.max(self.floors.requests_from_ms);
        if request_made_ms(order.request_id).is_some_and(|made_ms| made_ms < from_ms) {
            return Err(Refused::RequestIdTooOld);
        }

        let charge = Charge::of(&order.content);
        let day = (order.client, day_of(order.now_ms));
        match self.days.get(&day) {
            Some(known) => known.admit(&client.limits, charge, order.now_ms)?,
            None => Day::default().admit(&client.limits, charge, order.now_ms)?,
        }
        let content = self.finish(order, facts)?;

        let row = self.append(order, content);
        let index = self.rows.len();
        self.rows.push(row);
        self.counts.push(charge.counts());
        self.requests.insert(request, index);
        let raised = self.days.entry(day).or_default().add(&client.limits, charge, self.alarm_pace);
        for alarm in raised {
            self.tell(client, alarm, order.now_ms);
        }
        Ok(Decision::New(index))
    }

    /// Checks the configurations and picks the TID: what the ledger adds to the content of an
    /// order.
    fn finish(&mut self, order: &NewToken, facts: Facts<'_>) -> Result<RowContent, Refused> {
        match &order.content {
            Content::Sequenced { configuration, meter, base_date, window, payload, rnd } => {
                enabled(*configuration, facts.configuration)?;
                let floor = self.floors.tid(*base_date);
                let given = self.tids.get(&(*meter, *base_date)).copied();
                let tid = above(*window, floor).next(given.max(facts.last_tid).max(floor))?;
                self.tids.insert((*meter, *base_date), tid);
                Ok(RowContent::Sequenced {
                    configuration: *configuration,
                    meter: *meter,
                    base_date: *base_date,
                    tid,
                    rnd: payload.carries_rnd().then_some(*rnd),
                    block: payload.block(*rnd, tid),
                })
            }
            Content::Fixed { configuration, meter, display } => {
                if let Some(configuration) = configuration {
                    enabled(*configuration, facts.configuration)?;
                }
                Ok(RowContent::Fixed { configuration: *configuration, meter: *meter, block: display.block() })
            }
            Content::KeyChange { configuration, meter, target, roll_over, transfer_sgc } => {
                enabled(*configuration, facts.configuration)?;
                enabled(*target, facts.target)?;
                if !facts.key_change_allowed {
                    return Err(Refused::KeyChangeNotAllowed { source_id: *configuration, target: *target });
                }
                Ok(RowContent::KeyChange {
                    configuration: *configuration,
                    meter: *meter,
                    target: *target,
                    roll_over: *roll_over,
                    transfer_sgc: *transfer_sgc,
                })
            }
        }
    }

    /// The row of an order, whose record is appended to the chain.
    fn append(&mut self, order: &NewToken, content: RowContent) -> Issued {
        let NewToken { client, credential, request_id, request_hash, now_ms, .. } = order;
        let (position, hash) =
            fields::append(&mut self.end, *client, credential, *request_id, request_hash, *now_ms, &content);
        let row = TokenRow {
            sequence: Sequence::of(self.end.number, position),
            client: *client,
            credential: credential.clone(),
            request_id: *request_id,
            request_hash: *request_hash,
            issued_ms: *now_ms,
            content,
        };
        Issued { row, hash }
    }

    /// Puts an alarm on record.
    fn tell(&mut self, client: &Client, alarm: Alarm, now_ms: i64) {
        let details =
            [("client", client.id.to_string()), ("limit", alarm.limit.clone()), ("text", alarm.text.clone())];
        let act =
            NewAct { kind: "limit.alarm", actor: Actor::Local, details: details.into(), now_ms }.entry();
        let (position, hash) = self.end.append(now_ms, Entry::Act(act.clone()));
        self.acts.push(ActRow { position, at_ms: now_ms, act, hash });
        self.alarms.push((client.id, alarm));
    }

    /// The rows that are to be written, in the order of the chain.
    pub fn rows(&self) -> &[Issued] {
        &self.rows
    }

    /// What each of the rows counts as: the name of its kind, and what it transfers.
    pub fn counts(&self) -> &[(&'static str, Amount)] {
        &self.counts
    }

    /// The acts that are to be written, in the order of the chain.
    pub fn acts(&self) -> &[ActRow] {
        &self.acts
    }

    /// The alarms that were raised, for the log.
    pub fn alarms(&self) -> &[(ClientId, Alarm)] {
        &self.alarms
    }

    /// What clients were given, by client and day.
    pub fn days(&self) -> impl Iterator<Item = (ClientId, i64, &Day)> {
        self.days.iter().map(|((client, day), sums)| (*client, *day, sums))
    }

    /// The end of the chain after the last record.
    pub fn end(&self) -> ChainEnd {
        self.end
    }

    /// The rows, when all is written.
    pub fn into_rows(self) -> Vec<Issued> {
        self.rows
    }
}

/// Whether an order asks for what its request was recorded for.
fn repeats(order: &NewToken, row: &TokenRow) -> Result<(), Refused> {
    if row.request_hash != order.request_hash {
        Err(Refused::RequestIdReused { sequence: row.sequence })
    } else if row.issued_ms < order.requests_from_ms {
        Err(Refused::RequestIdTooOld)
    } else {
        Ok(())
    }
}

fn enabled(id: ConfigurationId, state: Option<ConfigurationState>) -> Result<(), Refused> {
    match state {
        None => Err(Refused::ConfigurationNotFound { id }),
        Some(ConfigurationState::Enabled) => Ok(()),
        Some(state) => Err(Refused::ConfigurationNotEnabled { id, state }),
    }
}

#[cfg(test)]
mod tests;
