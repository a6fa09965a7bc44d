//! What administrators decide about the ledger: last TIDs, the clock, a restored database.

use super::{AcceptRestore, Act, Acts, LowerLastTid, Reason, Refusal};
use crate::{
    access::Caller,
    ledger::Seed,
    sts::tid::Tid,
    vending::{LedgerDoubt, RestoreError},
};

fn not_accepted(error: RestoreError) -> Refusal {
    match error {
        RestoreError::NothingToAccept => Refusal::new(Reason::NothingToAccept, error.to_string()),
        RestoreError::AnotherDoubt => Refusal::new(Reason::ApprovalContentChanged, error.to_string()),
        RestoreError::Store(error) => error.into(),
    }
}

/// How the ledger stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerState {
    /// Why nothing is issued, if so.
    pub stopped: Option<String>,
    /// The chain of this server.
    pub chain: String,
    /// The position of its last record.
    pub position: u64,
    /// The last positions of all chains together.
    pub records: u64,
}

impl Acts {
    /// How the ledger stands.
    ///
    /// # Errors
    /// What the store says.
    pub async fn ledger_state(&self) -> Result<LedgerState, Refusal> {
        let head = self.store.chain_head().await?;
        let stopped = self.vending.stopped();
        let heads = self.store.chain_heads().await?;
        let records = heads.iter().fold(0_u64, |all, head| all.saturating_add(head.position));
        Ok(LedgerState { stopped, chain: head.chain.to_string(), position: head.position, records })
    }

    /// Raises the last TIDs of meters that another system served; answers how many rose.
    ///
    /// # Errors
    /// What the store says; nothing is raised then.
    pub async fn seed_meters(&self, caller: &Caller, seeds: Vec<Seed>) -> Result<u64, Refusal> {
        Ok(self.vending.seed(caller, seeds).await?)
    }

    /// Believes the clock as it is.
    ///
    /// # Errors
    /// What the store says.
    pub async fn accept_clock(&self, caller: &Caller) -> Result<LedgerState, Refusal> {
        self.vending.accept_clock(caller).await?;
        self.ledger_state().await
    }

    /// Goes on with a database that is behind its checkpoint, or whose ledger does not hold.
    ///
    /// # Errors
    /// APPROVAL_PENDING; NOTHING_TO_ACCEPT; what the store says.
    pub async fn accept_restore(&self, caller: &Caller) -> Result<LedgerState, Refusal> {
        let doubt = self.vending.ledger_doubt().await.map_err(not_accepted)?;
        let order = AcceptRestore { seen: Some(doubt.digest()) };
        let summary = match &doubt {
            LedgerDoubt::Behind { .. } => {
                format!("go on with a database that has forgotten records: {doubt}")
            }
            LedgerDoubt::Damaged(_) => format!("go on with a ledger that does not hold: {doubt}"),
        };
        self.agreed(caller, async { Ok(Some(summary)) }, || Act::AcceptRestore(order.clone())).await?;
        self.restore_accepted(caller, &order).await?;
        self.ledger_state().await
    }

    /// Accepts a restored database without asking anybody.
    pub(super) async fn restore_accepted(
        &self,
        caller: &Caller,
        order: &AcceptRestore,
    ) -> Result<(), Refusal> {
        self.vending.accept_restore(caller, order.seen.as_deref()).await.map_err(not_accepted)
    }

    /// Lowers the last TID of one meter, and answers what it was.
    ///
    /// # Errors
    /// APPROVAL_PENDING; METER_NOT_FOUND; TID_ISSUED; what the store says.
    pub async fn lower_last_tid(&self, caller: &Caller, order: LowerLastTid) -> Result<Tid, Refusal> {
        self.agreed(caller, self.lowering(order), || Act::LowerLastTid(order)).await?;
        self.last_tid_lowered(caller, order).await
    }

    /// Lowers a last TID without asking anybody.
    pub(super) async fn last_tid_lowered(
        &self,
        caller: &Caller,
        order: LowerLastTid,
    ) -> Result<Tid, Refusal> {
        Ok(self.vending.lower(caller, order.seed()).await?)
    }

    /// What lowering would do. The rules are looked at again when it is done.
    async fn lowering(&self, order: LowerLastTid) -> Result<Option<String>, Refusal> {
        let last = self.store.may_lower_last_tid(order.seed()).await?;
        let LowerLastTid { meter, base_date, last_tid } = order;
        let minute = |tid: Tid| {
            let time = jiff::Timestamp::from_second(tid.unix_seconds(base_date));
            format!("{} ({})", tid.value(), time.map(|time| time.to_string()).unwrap_or_default())
        };
        Ok((last != last_tid).then(|| {
            let year = base_date.year();
            format!(
                "lower the last token identifier of meter {meter} under base date {year} from {} to {}",
                minute(last),
                minute(last_tid)
            )
        }))
    }
}
