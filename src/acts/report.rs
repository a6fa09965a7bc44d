//! What was vended in a span of time.

use std::collections::{BTreeSet, HashMap};

use super::{Acts, Refusal};
use crate::{
    access::{Caller, rights::Scope},
    id::ConfigurationId,
    ledger::{Hours, OfClient, VendingReport},
};

/// Which report is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportQuery {
    /// The span.
    pub hours: Hours,
    /// The hours of its zone east of UTC.
    pub offset: i64,
}

/// A report.
#[derive(Clone, Debug)]
pub struct ReportAnswer {
    /// What was asked for.
    pub query: ReportQuery,
    /// Its sums.
    pub report: VendingReport,
    /// By client, those with most first; none for a caller who must not see all configurations.
    pub clients: Vec<OfClient>,
    /// The first hour of which sums are kept, if tokens were recorded before.
    pub kept_since: Option<i64>,
}

impl Acts {
    /// What was vended and refused in a span. A caller whose rights are about some configurations
    /// sees what was vended under these, and no clients: those are not told apart by configuration.
    ///
    /// # Errors
    /// What the store says.
    pub async fn vending_report(&self, caller: &Caller, query: ReportQuery) -> Result<ReportAnswer, Refusal> {
        let mut vended = self.store.vended(query.hours).await?;
        let ids: BTreeSet<ConfigurationId> =
            vended.hours.iter().filter_map(|hour| hour.configuration).collect();
        let scope = caller.rights.configurations();
        let mut groups: HashMap<ConfigurationId, String> = HashMap::new();
        for id in ids {
            let supply_group = self.vending.known(id).await?.attributes.sgc;
            if scope.admits(id, supply_group) {
                groups.insert(id, supply_group.to_string());
            }
        }
        let sees_all = matches!(scope, Scope::All);
        let report = VendingReport::of(&vended, query.offset, |configuration| match configuration {
            Some(id) => groups.get(&id).cloned(),
            None => Some(String::new()),
        });
        let clients = if sees_all { std::mem::take(&mut vended.clients) } else { Vec::new() };
        Ok(ReportAnswer { query, report, clients, kept_since: vended.kept_since })
    }
}
