//! The chains: tokens and acts in the order of their positions, batch by batch, each with the end
//! that the chain has come to. So a chain that was cut off says itself where to go on.

use std::collections::HashMap;

use super::{Checked, MigrationError, Progress, Step, Watch};
use crate::audit::{ActRow, ChainEnd, Hash, Head};
use crate::crash;
use crate::id::{ClientId, ConfigurationId};
use crate::ledger::{Issued, RowFields, Sequence, TokenRow};
use crate::store::engine::{Copyable, NewRow, Numbers, Select, Table};
use crate::store::writing::Writing;
use crate::store::{Server, StoreError};

/// Copies the chains.
pub(super) fn copy<S: Copyable, T: Copyable>(
    source: &mut Writing<S>,
    target: &mut Writing<T>,
    checked: &Checked,
    batch: usize,
    watch: Watch<'_>,
) -> Result<(), MigrationError> {
    let named = Named::load(&mut source.view).map_err(MigrationError::source)?;
    let (mut done, mut of) = (0, 0);
    for (_, end) in &checked.chains {
        let (tokens, acts) = source.view.count_records(end.number).map_err(MigrationError::source)?;
        of += tokens + acts;
        let (tokens, acts) = target.view.count_records(end.number).map_err(MigrationError::target)?;
        done += tokens + acts;
    }
    watch(Progress { step: Step::Records, done, of: Some(of) });
    for (server, end) in &checked.chains {
        let mut head = begun(source, target, server, end)?;
        while let Some(part) = part(&mut source.view, end, &head, batch).map_err(MigrationError::source)? {
            let count = part.tokens.len() + part.acts.len();
            let last = part.last;
            write(target, server, end, part, &named)?;
            head = last;
            crash::point("migrate-between-batches");
            done += count as u64;
            watch(Progress { step: Step::Records, done, of: Some(of) });
        }
        // It may lie behind the last record, where numbers were passed over.
        let ended = target.transact(|target| target.view.put_chain(server, end));
        ended.map_err(MigrationError::target)?;
    }
    Ok(())
}

/// Where the copy of a chain stands.
fn begun<S: Copyable, T: Copyable>(
    source: &mut Writing<S>,
    target: &mut Writing<T>,
    server: &Server,
    end: &ChainEnd,
) -> Result<Head, MigrationError> {
    let known = target.view.chains().map_err(MigrationError::target)?;
    let Some(known) = known.into_iter().find(|known| known.number == end.number) else {
        let head = Head { position: 0, hash: Hash::START, ..end.head };
        let start = ChainEnd { head, at_ms: 0, ..*end };
        let made = target.transact(|target| target.view.put_chain(server, &start));
        made.map_err(MigrationError::target)?;
        return Ok(head);
    };
    let same = known.head.chain == end.head.chain && known.salts == end.salts;
    let Head { position, hash, .. } = known.head;
    let found = same
        && (position == 0 || known.head == end.head || {
            let found = source.view.record_hash(end.number, position).map_err(MigrationError::source)?;
            found == Some(hash)
        });
    if found {
        Ok(known.head)
    } else {
        let what = format!("record {position} of chain {} is another", known.head.chain);
        Err(MigrationError::Differs { what })
    }
}

/// Some records of a chain.
struct Part {
    tokens: Vec<RowFields>,
    acts: Vec<ActRow>,
    last: Head,
    at_ms: i64,
}

/// The next records of a chain: none behind its end.
fn part<S: Copyable>(
    source: &mut S,
    end: &ChainEnd,
    after: &Head,
    batch: usize,
) -> Result<Option<Part>, StoreError> {
    let batch = batch.max(1);
    let position = |row: &RowFields| Sequence::new(row.sequence).map_or(0, Sequence::position);
    let mut tokens = source.tokens_after(end.number, after.position, batch)?;
    let mut acts = source.acts(end.number, after.position, batch)?;
    // Both are whole up to here.
    let mut up_to = u64::MAX;
    if tokens.len() == batch {
        up_to = up_to.min(tokens.last().map_or(0, position));
    }
    if acts.len() == batch {
        up_to = up_to.min(acts.last().map_or(0, |act| act.position));
    }
    tokens.retain(|row| position(row) <= up_to);
    acts.retain(|act| act.position <= up_to);
    let last_token = tokens.last().map(|row| (position(row), row.hash, row.issued_ms));
    let last_act = acts.last().map(|act| (act.position, act.hash, act.at_ms));
    let last = last_token.into_iter().chain(last_act).max_by_key(|(position, ..)| *position);
    let Some((position, hash, at_ms)) = last else { return Ok(None) };
    if position > end.head.position {
        let reason = format!("record {position} lies behind the end of its chain");
        return Err(StoreError::Corrupt { reason });
    }
    Ok(Some(Part { tokens, acts, last: Head { position, hash, ..end.head }, at_ms }))
}

/// Writes records with the end of the chain behind them.
fn write<T: Copyable>(
    target: &mut Writing<T>,
    server: &Server,
    end: &ChainEnd,
    part: Part,
    named: &Named,
) -> Result<(), MigrationError> {
    let Part { tokens, acts, last, at_ms } = part;
    let numbers: Vec<Numbers> = tokens.iter().map(|row| named.numbers(row)).collect::<Result<_, _>>()?;
    let foreign = |foreign: crate::ledger::Foreign| StoreError::Corrupt { reason: foreign.to_string() };
    let issued = tokens.into_iter().map(|fields| {
        let hash = fields.hash;
        let row = TokenRow::try_from(fields).map_err(|found| MigrationError::source(foreign(found)))?;
        Ok(Issued { row, hash })
    });
    let issued: Vec<Issued> = issued.collect::<Result<_, MigrationError>>()?;
    let so_far = ChainEnd { head: last, at_ms, ..*end };
    let written = target.transact(|target| {
        target.view.copy_acts(end.number, &acts)?;
        let mut rows =
            issued.iter().zip(&numbers).map(|(issued, numbers)| NewRow { issued, numbers: *numbers });
        target.view.copy_tokens(&mut rows)?;
        target.view.put_chain(server, &so_far)
    });
    written.map_err(MigrationError::target)?;
    target.view.tidy_up();
    Ok(())
}

/// The numbers of the rows that rows of the ledger name.
struct Named {
    clients: HashMap<ClientId, i64>,
    credentials: HashMap<String, i64>,
    configurations: HashMap<ConfigurationId, i64>,
}

impl Named {
    fn load<S: Copyable>(source: &mut S) -> Result<Self, StoreError> {
        let mut named =
            Self { clients: HashMap::new(), credentials: HashMap::new(), configurations: HashMap::new() };
        for row in source.rows(&Select::all(Table::Clients))? {
            named.clients.insert(ClientId::from_bytes(row.bytes("id")?), row.number);
        }
        for row in source.rows(&Select::all(Table::Credentials))? {
            named.credentials.insert(row.text("key_id")?.to_owned(), row.number);
        }
        for row in source.rows(&Select::all(Table::Configurations))? {
            named.configurations.insert(ConfigurationId::from_bytes(row.bytes("id")?), row.number);
        }
        Ok(named)
    }

    fn numbers(&self, row: &RowFields) -> Result<Numbers, MigrationError> {
        let unknown = || {
            let reason = format!("row {} of the ledger names what is not there", row.sequence);
            MigrationError::source(StoreError::Corrupt { reason })
        };
        let configuration = |id: ConfigurationId| self.configurations.get(&id).copied().ok_or_else(unknown);
        Ok(Numbers {
            client: self.clients.get(&row.client).copied().ok_or_else(unknown)?,
            credential: self.credentials.get(&row.credential).copied().ok_or_else(unknown)?,
            configuration: row.content.configuration.map(configuration).transpose()?,
            target: row.content.target.map(configuration).transpose()?,
        })
    }
}
