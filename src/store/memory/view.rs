//! Reading.

use uuid::Uuid;

use super::{Connection, defect};
use crate::audit::{Act, ActRow, ChainEnd, ChainNumber, Hash, RowKind};
use crate::clock::SignOfLife;
use crate::id::{ApprovalId, ConfigurationId};
use crate::ledger::{Hours, LastTids, RefusedCalls, RowFields, Sequence, TokenFilter};
use crate::store::engine::{
    Chain, DaySum, FoundRow, HourSum, Kept, NumberedSeal, Row, RowPage, Select, Table, View,
};
use crate::store::{Server, StoreError};
use crate::sts::attributes::BaseDate;
use crate::sts::meter::MeterPan;
use crate::sts::tid::Tid;

impl View for Connection {
    fn begin_snapshot(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn end_snapshot(&mut self) {}

    fn rows(&mut self, select: &Select) -> Result<Vec<Row>, StoreError> {
        self.read(|tables| tables.select(select))
    }

    fn seals(&mut self, table: Table) -> Result<Vec<NumberedSeal>, StoreError> {
        let rows = self.read(|tables| tables.select(&Select::all(table)))?;
        Ok(rows.into_iter().map(|row| (row.number, row.seal)).collect())
    }

    fn chain(&mut self) -> Result<Chain, StoreError> {
        let (end, floors) = self.read(|tables| (tables.chains.get(&self.server).copied(), tables.floors))?;
        end.map_or_else(|| defect("there is no chain"), |end| Ok(Chain { end, floors }))
    }

    fn chains(&mut self) -> Result<Vec<ChainEnd>, StoreError> {
        self.read(|tables| tables.chains.values().copied().collect())
    }

    fn acts(&mut self, chain: ChainNumber, after: u64, most: usize) -> Result<Vec<ActRow>, StoreError> {
        self.read(|tables| tables.acts_after(chain, after).take(most).cloned().collect())
    }

    fn has_act_after(
        &mut self,
        chain: ChainNumber,
        position: u64,
        kinds: &[&str],
    ) -> Result<bool, StoreError> {
        let decides = |row: &ActRow| kinds.iter().any(|begin| row.act.kind.starts_with(begin));
        self.read(|tables| tables.acts_after(chain, position).any(decides))
    }

    fn has_act(&mut self, kind: &str, details: &str) -> Result<bool, StoreError> {
        let same = |row: &ActRow| row.act.kind == kind && row.act.details == details;
        self.read(|tables| tables.acts.values().any(same))
    }

    fn act_of_approval(&mut self, approval: ApprovalId) -> Result<Option<Act>, StoreError> {
        self.read(|tables| {
            let mut acts = tables.acts.values().map(|row| &row.act);
            acts.find(|act| act.done_with() == Some(approval)).cloned()
        })
    }

    fn record_hash(&mut self, chain: ChainNumber, position: u64) -> Result<Option<Hash>, StoreError> {
        self.read(|tables| tables.hash_at(chain, position))
    }

    fn tokens_after(
        &mut self,
        chain: ChainNumber,
        position: u64,
        most: usize,
    ) -> Result<Vec<RowFields>, StoreError> {
        self.read(|tables| tables.tokens_after(chain, position).take(most).cloned().collect())
    }

    fn kept_tokens(
        &mut self,
        chain: ChainNumber,
        position: u64,
        most: usize,
    ) -> Result<Vec<Kept<RowFields>>, StoreError> {
        let kept =
            |row: &RowFields| (Sequence::new(row.sequence).map_or(0, Sequence::position), Ok(row.clone()));
        self.read(|tables| tables.tokens_after(chain, position).take(most).map(kept).collect())
    }

    fn kept_acts(
        &mut self,
        chain: ChainNumber,
        position: u64,
        most: usize,
    ) -> Result<Vec<Kept<ActRow>>, StoreError> {
        let kept = |row: &ActRow| (row.position, Ok(row.clone()));
        self.read(|tables| tables.acts_after(chain, position).take(most).map(kept).collect())
    }

    fn token(&mut self, sequence: Sequence) -> Result<Option<RowFields>, StoreError> {
        self.read(|tables| tables.tokens.get(&sequence.value()).map(|(_, row)| row.clone()))
    }

    fn tokens_of_requests(&mut self, requests: &[(i64, Uuid)]) -> Result<Vec<FoundRow>, StoreError> {
        self.read(|tables| {
            let found = |(place, request): (usize, &(i64, Uuid))| {
                let (_, row) = tables.tokens.get(tables.requests.get(request)?)?;
                Some((place, Ok(row.clone())))
            };
            requests.iter().enumerate().filter_map(found).collect()
        })
    }

    fn token_of_tid(
        &mut self,
        meter: MeterPan,
        base_date: BaseDate,
        tid: Tid,
    ) -> Result<Option<RowFields>, StoreError> {
        let wanted = (Some(meter.number()), Some(base_date.year()), Some(tid.value()));
        self.read(|tables| {
            let same = |row: &&RowFields| (row.content.pan, row.content.base_date, row.content.tid) == wanted;
            tables.rows_of_ledger().find(same).cloned()
        })
    }

    fn key_changes(
        &mut self,
        meter: MeterPan,
        configuration: ConfigurationId,
        most: usize,
    ) -> Result<Vec<RowFields>, StoreError> {
        let wanted = (RowKind::KeyChange, Some(meter.number()), Some(configuration));
        self.read(|tables| {
            let same =
                |row: &&RowFields| (row.content.kind, row.content.pan, row.content.configuration) == wanted;
            let mut found: Vec<RowFields> = tables.rows_of_ledger().filter(same).cloned().collect();
            found.sort_by_key(|row| std::cmp::Reverse((row.issued_ms, row.sequence)));
            found.truncate(most);
            found
        })
    }

    fn list_tokens(
        &mut self,
        chain: ChainNumber,
        filter: &TokenFilter,
        after: u64,
        size: u32,
    ) -> Result<RowPage, StoreError> {
        self.read(|tables| {
            let wanted = |row: &&RowFields| fits(filter, row);
            let mut rows: Vec<RowFields> =
                tables.tokens_after(chain, after).filter(wanted).take(size as usize + 1).cloned().collect();
            let more = rows.len() > size as usize;
            rows.truncate(size as usize);
            let last = rows.last().filter(|_| more).and_then(|row| Sequence::new(row.sequence));
            RowPage { rows, next: last.map(Sequence::position) }
        })
    }

    fn last_tids(&mut self, meters: &[(MeterPan, BaseDate)]) -> Result<Vec<LastTids>, StoreError> {
        self.read(|tables| {
            meters.iter().map(|meter| tables.tids.get(meter).copied().unwrap_or_default()).collect()
        })
    }

    fn sums(&mut self, clients: &[i64], first: i64, last: i64) -> Result<Vec<DaySum>, StoreError> {
        let wanted = |sum: &&DaySum| clients.contains(&sum.client) && (first..=last).contains(&sum.day);
        self.read(|tables| tables.sums.values().filter(wanted).cloned().collect())
    }

    fn failures_at_meter(
        &mut self,
        meter: MeterPan,
        after_ms: i64,
        most: u32,
    ) -> Result<Vec<i64>, StoreError> {
        self.read(|tables| tables.failures(after_ms, most, |_, at| at == meter))
    }

    fn failures_of_client(&mut self, client: i64, after_ms: i64, most: u32) -> Result<Vec<i64>, StoreError> {
        self.read(|tables| tables.failures(after_ms, most, |of, _| of == client))
    }

    fn sums_of_day(&mut self, day: i64) -> Result<Vec<DaySum>, StoreError> {
        self.read(|tables| tables.sums.values().filter(|sum| sum.day == day).cloned().collect())
    }

    fn sums_of_days(&mut self, first: i64, last: i64) -> Result<Vec<DaySum>, StoreError> {
        let wanted = |sum: &&DaySum| (first..=last).contains(&sum.day);
        self.read(|tables| tables.sums.values().filter(wanted).cloned().collect())
    }

    fn vended_hours(&mut self, hours: Hours) -> Result<Vec<HourSum>, StoreError> {
        self.read(|tables| {
            let of_hours =
                tables.vended.iter().filter(|((hour, ..), _)| (hours.first..=hours.last).contains(hour));
            of_hours
                .map(|((hour, configuration, kind), sum)| HourSum {
                    hour: *hour,
                    configuration: *configuration,
                    kind: kind.clone().into(),
                    sum: *sum,
                })
                .collect()
        })
    }

    fn first_sums(&mut self) -> Result<(Option<i64>, Option<i64>), StoreError> {
        self.read(|tables| {
            let hour = tables.vended.keys().next().map(|(hour, ..)| *hour);
            (hour, tables.sums.values().map(|sum| sum.day).min())
        })
    }

    fn refused_hours(&mut self, hours: Hours) -> Result<Vec<RefusedCalls>, StoreError> {
        self.read(|tables| {
            let of_hours =
                tables.refused.iter().filter(|((hour, _), _)| (hours.first..=hours.last).contains(hour));
            let shown = |((hour, reason), calls): (&(i64, String), &u64)| RefusedCalls {
                hour: *hour,
                reason: reason.clone(),
                calls: *calls,
            };
            of_hours.map(shown).collect()
        })
    }

    fn foreign_tokens(&mut self) -> Vec<i64> {
        Vec::new()
    }

    fn sign_of_life(&mut self) -> Result<Option<SignOfLife>, StoreError> {
        self.read(|tables| tables.signs.get(&self.server).copied())
    }

    fn servers(&mut self) -> Result<Vec<Server>, StoreError> {
        self.read(|tables| {
            let with_head = |server: &Server| {
                let head = tables.chains.get(&server.number).map_or(server.head, |end| end.head);
                Server { head, ..server.clone() }
            };
            tables.servers.values().map(with_head).collect()
        })
    }

    fn now_ms(&mut self) -> Result<Option<i64>, StoreError> {
        Ok(self.shared.now_ms())
    }

    fn last_checkpoint(&mut self) -> Result<Option<String>, StoreError> {
        self.read(|tables| tables.checkpoints.values().next_back().cloned())
    }

    fn checkpoints(&mut self, after: i64, most: usize) -> Result<Vec<(i64, String)>, StoreError> {
        let behind = after.saturating_add(1)..;
        self.read(|tables| {
            tables
                .checkpoints
                .range(behind)
                .take(most)
                .map(|(number, text)| (*number, text.clone()))
                .collect()
        })
    }
}

fn fits(filter: &TokenFilter, row: &RowFields) -> bool {
    let content = &row.content;
    let subclass = content.block.map(|block| (block >> 60) as u8);
    filter.meter.is_none_or(|meter| content.pan == Some(meter.number()))
        && filter.configuration.is_none_or(|id| content.configuration == Some(id))
        && filter.client.is_none_or(|client| row.client == client)
        && filter.class.is_none_or(|(class, wanted)| {
            content.class == Some(class) && (wanted.is_none() || subclass == wanted)
        })
        && filter.from_ms.is_none_or(|from_ms| row.issued_ms >= from_ms)
        && filter.until_ms.is_none_or(|until_ms| row.issued_ms < until_ms)
}
