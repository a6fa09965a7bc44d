//! `vendkey.v1.LedgerService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    authentication::caller,
    parse::Fields,
    reason::Reason,
    refusal::Refusal,
    v1::{self, ledger_service_server::LedgerService},
};
use crate::{
    store::Seed,
    sts::{attributes::BaseDate, tid::Tid},
    vending::{RestoreError, Vending},
};

/// The service.
pub struct Ledger {
    vending: Arc<Vending>,
}

/// The most meters of one call.
const MOST_SEEDS: usize = 10_000;

impl Ledger {
    /// Over the acts.
    pub fn new(vending: Arc<Vending>) -> Self {
        Self { vending }
    }

    async fn state(&self) -> Result<Response<v1::LedgerState>, Status> {
        let head = self.vending.store().chain_head().await.map_err(Refusal::from)?;
        let stopped = self.vending.stopped();
        Ok(Response::new(v1::LedgerState {
            issuing: stopped.is_none(),
            reason: stopped.map(|stop| stop.to_string()).unwrap_or_default(),
            chain: head.chain.to_string(),
            position: head.position,
        }))
    }
}

#[tonic::async_trait]
impl LedgerService for Ledger {
    async fn get_ledger_state(
        &self,
        _: Request<v1::GetLedgerStateRequest>,
    ) -> Result<Response<v1::LedgerState>, Status> {
        self.state().await
    }

    async fn seed_meters(
        &self,
        request: Request<v1::SeedMetersRequest>,
    ) -> Result<Response<v1::SeedMetersResponse>, Status> {
        let caller = caller(&request)?;
        let wire = request.into_inner().seeds;
        let mut fields = Fields::default();
        if wire.is_empty() || wire.len() > MOST_SEEDS {
            fields.fault("seeds", format!("1 to {MOST_SEEDS} are expected"));
            return Err(fields.refusal().into());
        }
        let seeds: Vec<Option<Seed>> =
            wire.iter().enumerate().map(|(index, wire)| seed(&mut fields, index, wire)).collect();
        let seeds = fields.finish(seeds.into_iter().collect::<Option<Vec<Seed>>>())?;
        let raised = self.vending.seed(&caller, seeds).await.map_err(Refusal::from)?;
        Ok(Response::new(v1::SeedMetersResponse { raised }))
    }

    async fn accept_clock(
        &self,
        request: Request<v1::AcceptClockRequest>,
    ) -> Result<Response<v1::LedgerState>, Status> {
        let caller = caller(&request)?;
        self.vending.accept_clock(&caller).await.map_err(Refusal::from)?;
        self.state().await
    }

    async fn accept_restore(
        &self,
        request: Request<v1::AcceptRestoreRequest>,
    ) -> Result<Response<v1::LedgerState>, Status> {
        let caller = caller(&request)?;
        self.vending.accept_restore(&caller).await.map_err(|error| match error {
            RestoreError::NothingToAccept => Refusal::new(Reason::NothingToAccept, error.to_string()),
            RestoreError::Store(error) => error.into(),
        })?;
        self.state().await
    }
}

fn seed(fields: &mut Fields, index: usize, wire: &v1::MeterSeed) -> Option<Seed> {
    let at = |field: &str| format!("seeds[{index}].{field}");
    let meter = fields.take(&at("meter_pan"), wire.meter_pan.parse());
    let year = u16::try_from(wire.base_date).ok().and_then(|year| BaseDate::try_from(year).ok());
    let base_date = fields.take(&at("base_date"), year.ok_or("is 1993, 2014 or 2035"));
    let tid = fields.take(&at("last_tid"), Tid::new(wire.last_tid));
    Some(Seed { meter: meter?, base_date: base_date?, tid: tid? })
}
