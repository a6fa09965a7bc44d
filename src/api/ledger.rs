//! `vendkey.v1.LedgerService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    authentication::caller,
    four_eyes::{FourEyes, method},
    parse::Fields,
    v1::{self, ledger_service_server::LedgerService},
};
use crate::{
    acts::{Reason, Refusal},
    store::Seed,
    sts::{attributes::BaseDate, tid::Tid},
    vending::{RestoreError, Stop, Vending},
};

/// The service.
pub struct Ledger {
    vending: Arc<Vending>,
    four_eyes: Arc<FourEyes>,
}

/// The most meters of one call.
const MOST_SEEDS: usize = 10_000;

impl Ledger {
    /// Over the acts.
    pub fn new(vending: Arc<Vending>, four_eyes: Arc<FourEyes>) -> Self {
        Self { vending, four_eyes }
    }

    /// What accepting a restore would do.
    fn restoring(&self) -> Result<Option<String>, Refusal> {
        let Some(Stop::BehindCheckpoint { reason, .. }) = self.vending.database_stop() else {
            return Err(Refusal::new(Reason::NothingToAccept, RestoreError::NothingToAccept.to_string()));
        };
        Ok(Some(format!("go on with a database that has forgotten records: {reason}")))
    }

    /// What lowering the last TID of a meter would do. The rules are looked at again when it is done.
    async fn lowering(&self, to: Seed) -> Result<Option<String>, Refusal> {
        let last = self.vending.store().may_lower_last_tid(to).await?;
        let Seed { meter, base_date, tid } = to;
        let minute = |tid: Tid| {
            let time = jiff::Timestamp::from_second(tid.unix_seconds(base_date));
            format!("{} ({})", tid.value(), time.map(|time| time.to_string()).unwrap_or_default())
        };
        Ok((last != tid).then(|| {
            let year = base_date.year();
            format!(
                "lower the last token identifier of meter {meter} under base date {year} from {} to {}",
                minute(last),
                minute(tid)
            )
        }))
    }

    async fn state(&self) -> Result<Response<v1::LedgerState>, Status> {
        let head = self.vending.store().chain_head().await.map_err(Refusal::from)?;
        let stopped = self.vending.stopped();
        Ok(Response::new(v1::LedgerState {
            issuing: stopped.is_none(),
            reason: stopped.unwrap_or_default(),
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
        let seeds: Vec<Option<Seed>> = wire
            .iter()
            .zip(0..)
            .map(|(wire, index)| seed(&mut fields, &format!("seeds[{index}]."), wire))
            .collect();
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
        self.four_eyes.pass(&request, method::ACCEPT_RESTORE, async { self.restoring() }).await?;
        self.vending.accept_restore(&caller).await.map_err(|error| match error {
            RestoreError::NothingToAccept => Refusal::new(Reason::NothingToAccept, error.to_string()),
            RestoreError::Store(error) => error.into(),
        })?;
        self.state().await
    }

    async fn lower_last_tid(
        &self,
        request: Request<v1::LowerLastTidRequest>,
    ) -> Result<Response<v1::LowerLastTidResponse>, Status> {
        let caller = caller(&request)?;
        let v1::LowerLastTidRequest { meter_pan, base_date, last_tid } = request.get_ref();
        let mut fields = Fields::default();
        let wire = v1::MeterSeed { meter_pan: meter_pan.clone(), base_date: *base_date, last_tid: *last_tid };
        let to = seed(&mut fields, "", &wire);
        let to = fields.finish(to)?;
        self.four_eyes.pass(&request, method::LOWER_LAST_TID, self.lowering(to)).await?;
        let was = self.vending.lower(&caller, to).await.map_err(Refusal::from)?;
        Ok(Response::new(v1::LowerLastTidResponse { previous_tid: was.value(), last_tid: to.tid.value() }))
    }
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
