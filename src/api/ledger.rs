//! `vendkey.v1.LedgerService`.

use tonic::{Request, Response, Status};

use super::{
    authentication::caller,
    parse::Fields,
    report,
    services::Services,
    v1::{self, ledger_service_server::LedgerService},
};
use crate::{
    acts::{LedgerState, LowerLastTid, Refusal},
    ledger::Seed,
    sts::{attributes::BaseDate, tid::Tid},
};

/// The most meters of one call.
const MOST_SEEDS: usize = 10_000;

#[tonic::async_trait]
impl LedgerService for Services {
    async fn get_ledger_state(
        &self,
        _: Request<v1::GetLedgerStateRequest>,
    ) -> Result<Response<v1::LedgerState>, Status> {
        Ok(Response::new(shown(self.acts.ledger_state().await?)))
    }

    async fn get_vending_report(
        &self,
        request: Request<v1::GetVendingReportRequest>,
    ) -> Result<Response<v1::VendingReport>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let answer = self.acts.vending_report(&caller, report::query(&request)?).await?;
        Ok(Response::new(report::shown(answer, request.charts)?))
    }

    async fn seed_meters(
        &self,
        request: Request<v1::SeedMetersRequest>,
    ) -> Result<Response<v1::SeedMetersResponse>, Status> {
        let caller = caller(&request)?;
        let raised = self.acts.seed_meters(&caller, seeds(&request.get_ref().seeds)?).await?;
        Ok(Response::new(v1::SeedMetersResponse { raised }))
    }

    async fn accept_clock(
        &self,
        request: Request<v1::AcceptClockRequest>,
    ) -> Result<Response<v1::LedgerState>, Status> {
        Ok(Response::new(shown(self.acts.accept_clock(&caller(&request)?).await?)))
    }

    async fn accept_restore(
        &self,
        request: Request<v1::AcceptRestoreRequest>,
    ) -> Result<Response<v1::LedgerState>, Status> {
        Ok(Response::new(shown(self.acts.accept_restore(&caller(&request)?).await?)))
    }

    async fn lower_last_tid(
        &self,
        request: Request<v1::LowerLastTidRequest>,
    ) -> Result<Response<v1::LowerLastTidResponse>, Status> {
        let caller = caller(&request)?;
        let v1::LowerLastTidRequest { meter_pan, base_date, last_tid } = request.into_inner();
        let mut fields = Fields::default();
        let to = seed(&mut fields, "", &v1::MeterSeed { meter_pan, base_date, last_tid });
        let Seed { meter, base_date, tid } = fields.finish(to)?;
        let was = self.acts.lower_last_tid(&caller, LowerLastTid { meter, base_date, last_tid: tid }).await?;
        Ok(Response::new(v1::LowerLastTidResponse { previous_tid: was.value(), last_tid: tid.value() }))
    }
}

fn shown(state: LedgerState) -> v1::LedgerState {
    v1::LedgerState {
        issuing: state.stopped.is_none(),
        reason: state.stopped.unwrap_or_default(),
        chain: state.chain,
        position: state.position,
        records: state.records,
    }
}

fn seeds(wire: &[v1::MeterSeed]) -> Result<Vec<Seed>, Refusal> {
    let mut fields = Fields::default();
    if wire.is_empty() || wire.len() > MOST_SEEDS {
        fields.fault("seeds", format!("1 to {MOST_SEEDS} are expected"));
        return Err(fields.refusal());
    }
    let seeds: Vec<Option<Seed>> = wire
        .iter()
        .zip(0..)
        .map(|(wire, index)| seed(&mut fields, &format!("seeds[{index}]."), wire))
        .collect();
    fields.finish(seeds.into_iter().collect())
}

/// Parses a meter with its last TID; `path` stands before the names of the fields.
fn seed(fields: &mut Fields, path: &str, wire: &v1::MeterSeed) -> Option<Seed> {
    let at = |field: &str| format!("{path}{field}");
    let meter = fields.take(&at("meter_pan"), wire.meter_pan.parse());
    let year = u16::try_from(wire.base_date).ok().and_then(|year| BaseDate::try_from(year).ok());
    let base_date = fields.take(&at("base_date"), year.ok_or("is 1993, 2014 or 2035"));
    let tid = fields.take(&at("last_tid"), Tid::new(wire.last_tid));
    Some(Seed { meter: meter?, base_date: base_date?, tid: tid? })
}
