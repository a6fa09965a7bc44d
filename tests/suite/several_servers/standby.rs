//! A standby that is promoted without the last commits: every server finds out, nothing is issued
//! until one administrator accepts it, and no identifier is given again.

use std::collections::BTreeMap;

use vendkey::{
    api::v1::{GetLedgerStateRequest, ListEventsRequest, ListIssuedTokensRequest},
    audit::{Line, Verification},
};

use super::*;
use crate::harness::{Cluster, DKGA04, DRN, Health, reason, ten_kwh};

/// The last identifier of each meter.
type Last = BTreeMap<String, u32>;

fn note(last: &mut Last, token: &IssuedToken) {
    let before = last.insert(token.meter_pan.clone(), tid(token));
    assert!(before.is_none_or(|before| before < tid(token)), "{before:?}, then {token:?}");
}

#[tokio::test]
async fn a_standby_that_lost_commits_is_found_by_all_and_accepted_once() {
    let mut primary = Cluster::start();
    let mut standby = primary.standby();
    let home = postgresql::home(&primary.url_of_either(&standby, "postgres"));
    let servers: Vec<Server> = NAMES.map(|name| start(&home, name, &[])).into();
    let mut apis = Vec::new();
    for server in &servers {
        apis.push(server.api(&home).await);
    }
    let configuration = apis[0].configuration(DKGA04).await;
    let mut last = Last::new();
    let mut kept = Vec::new();
    for api in &mut apis {
        let request = ten_kwh(&configuration);
        let token = api.issue(request.clone()).await.unwrap();
        note(&mut last, &token);
        kept.push((request, token.token));
    }
    standby.catch_up(&primary);
    // What comes now is on the primary alone.
    standby.kill();
    let mut lost = Vec::new();
    for _ in 0..5 {
        for (api, meter) in apis.iter_mut().zip([DRN, "11111111115", DRN]) {
            let request = for_meter(&configuration, meter);
            note(&mut last, &api.issue(request.clone()).await.unwrap());
            lost.push(request);
        }
    }
    let seen = apis[2].ledger.get_ledger_state(GetLedgerStateRequest {}).await.unwrap().into_inner().records;
    primary.kill();
    standby.run();
    standby.promote();
    // All of them stop, and answer what they know.
    for (server, api) in servers.iter().zip(&mut apis) {
        Health::of(server).await.not_serving().await;
        let refused = loop {
            let refused = api.issue(ten_kwh(&configuration)).await.unwrap_err();
            // While the database was away.
            if reason(&refused) != "STORE_UNAVAILABLE" {
                break refused;
            }
        };
        assert_eq!(reason(&refused), "LEDGER_BEHIND_CHECKPOINT", "{}", home.log());
        let (request, token) = &kept[0];
        assert_eq!(api.issue(request.clone()).await.unwrap().token, *token);
        let state = api.ledger.get_ledger_state(GetLedgerStateRequest {}).await.unwrap().into_inner();
        assert!(!state.issuing && state.records < seen, "{state:?}");
    }
    // An administrator accepts it, at one of them.
    let accepted = servers[1].vendkey(&home, &["ledger", "accept-restore"]);
    assert!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
    for server in &servers {
        Health::of(server).await.serving().await;
    }
    for (api, meter) in apis.iter_mut().zip([DRN, "11111111115", DRN]) {
        // Those that were lost are not known, and are not issued again.
        let refused = api.issue(lost[0].clone()).await.unwrap_err();
        assert_eq!(reason(&refused), "REQUEST_ID_TOO_OLD");
        note(&mut last, &api.issue(for_meter(&configuration, meter)).await.unwrap());
        let (request, token) = &kept[1];
        assert_eq!(api.issue(request.clone()).await.unwrap().token, *token);
    }
    // No name is given twice, and the chains verify with their gaps.
    let listed = apis[0].tokens.list_issued_tokens(ListIssuedTokensRequest::default()).await.unwrap();
    assert_eq!(listed.get_ref().tokens.len(), 6);
    let mut verification = Verification::new(None);
    let all = ListEventsRequest { page_size: 1_000, ..Default::default() };
    for event in &apis[2].audit.list_events(all).await.unwrap().get_ref().events {
        verification.feed(&Line::from_json(&event.record).unwrap());
    }
    let outcome = verification.finish();
    assert!(outcome.is_sound(), "{:?}", outcome.faults);
    assert_eq!(outcome.lost.len(), 3, "each chain goes on behind what may be lost");
    // Whoever starts again has nothing to accept.
    drop(servers);
    for name in NAMES {
        let server = start(&home, name, &[]);
        Health::of(&server).await.serving().await;
        let mut api = server.api(&home).await;
        note(&mut last, &api.issue(ten_kwh(&configuration)).await.unwrap());
    }
}
