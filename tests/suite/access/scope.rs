//! What rights are about: configurations, supply groups, kinds of tokens, and whose rows.

use std::collections::BTreeSet;

use uuid::Uuid;
use vendkey::api::v1::{
    AllowKeyChangeRequest, BatchIssueTokensRequest, Configuration, DisableConfigurationRequest,
    GetConfigurationRequest, GetIssuedTokenRequest, Group, IssueKeyChangeRequest, ListConfigurationsRequest,
    ListIssuedTokensRequest, ListKeyChangePairsRequest, Rights, TokenKind, UnitCredit, VerifyTokenRequest,
    get_issued_token_request::By, issue_token_request::Content, token_result, unit_credit::Amount,
};

use super::{as_client, denied, rights};
use crate::harness::{Api, DKGA04, DRN, Home, Server, reason, ten_kwh};

/// Two configurations of two supply groups.
async fn two(api: &mut Api) -> (Configuration, Configuration) {
    let other = DKGA04.replace("supply_group_code: 123456", "supply_group_code: 123457");
    (api.configuration(DKGA04).await, api.configuration(&other).await)
}

#[tokio::test]
async fn rights_are_about_configurations_supply_groups_and_kinds() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let (mine, theirs) = two(&mut api).await;
    let vends = || rights(&[Group::Vend, Group::Manage, Group::ChangeKeys, Group::Verify, Group::ReadLedger]);
    let by_name = Rights { configurations: vec![mine.name.clone()], ..vends() };
    let by_group = Rights { supply_groups: vec!["123456".to_owned()], ..vends() };
    let foreign = api.issue(ten_kwh(&theirs)).await.unwrap();
    for scope in [by_name, by_group] {
        let mut till = as_client(&server, &mut api, scope).await;
        let issued = till.issue(ten_kwh(&mine)).await.unwrap();
        let text = theirs.name.as_str();
        denied(&till.issue(ten_kwh(&theirs)).await.unwrap_err(), text);
        let batch = BatchIssueTokensRequest { requests: vec![ten_kwh(&theirs), ten_kwh(&mine)] };
        let results = till.tokens.batch_issue_tokens(batch).await.unwrap().into_inner().results;
        let Some(token_result::Result::Refusal(refusal)) = &results[0].result else { panic!("issued") };
        assert_eq!(refusal.reason, "PERMISSION_DENIED");
        assert!(matches!(results[1].result, Some(token_result::Result::Token(_))));

        let change = |source: &Configuration, target: &Configuration| IssueKeyChangeRequest {
            source: source.name.clone(),
            target: target.name.clone(),
            meter: DRN.to_owned(),
            request_id: Uuid::now_v7().to_string(),
            transfer_sgc: false,
        };
        for request in [change(&mine, &theirs), change(&theirs, &mine)] {
            denied(&till.tokens.issue_key_change(request).await.unwrap_err(), text);
        }
        let look = VerifyTokenRequest {
            token: foreign.token.clone(),
            configuration: theirs.name.clone(),
            meter: DRN.to_owned(),
            ..VerifyTokenRequest::default()
        };
        denied(&till.tokens.verify_token(look).await.unwrap_err(), text);
        let get = GetConfigurationRequest { name: theirs.name.clone() };
        denied(&till.configurations.get_configuration(get).await.unwrap_err(), text);
        let listed = till.configurations.list_configurations(ListConfigurationsRequest::default()).await;
        let names: Vec<String> =
            listed.unwrap().into_inner().configurations.into_iter().map(|one| one.name).collect();
        assert_eq!(names, [mine.name.as_str()]);
        let by = Some(By::Name(foreign.name.clone()));
        let status = till.tokens.get_issued_token(GetIssuedTokenRequest { by }).await.unwrap_err();
        assert_eq!(reason(&status), "TOKEN_NOT_FOUND");
        let listed = till.tokens.list_issued_tokens(ListIssuedTokensRequest::default()).await.unwrap();
        let listed: BTreeSet<String> = listed.into_inner().tokens.into_iter().map(|one| one.name).collect();
        assert!(listed.contains(&issued.name) && !listed.contains(&foreign.name), "{listed:?}");
    }

    let kinds = Rights { token_kinds: vec![TokenKind::ElectricityCredit.into()], ..rights(&[Group::Vend]) };
    let mut till = as_client(&server, &mut api, kinds).await;
    till.issue(ten_kwh(&mine)).await.unwrap();
    let water = UnitCredit { amount: Some(Amount::Tenths(1)), rounding: 0 };
    let mut request = ten_kwh(&mine);
    request.content = Some(Content::WaterCredit(water));
    denied(&till.issue(request.clone()).await.unwrap_err(), "water_credit");
    request.content = Some(Content::ClearTamper(vendkey::api::v1::ClearTamper {}));
    denied(&till.issue(request).await.unwrap_err(), "manage");

    // Administrators have a scope too.
    let local = Rights { supply_groups: vec!["123456".to_owned()], ..rights(&[Group::Configurations]) };
    let mut local = as_client(&server, &mut api, local).await;
    let disable = |one: &Configuration| DisableConfigurationRequest { name: one.name.clone() };
    local.configurations.disable_configuration(disable(&mine)).await.unwrap();
    denied(&local.configurations.disable_configuration(disable(&theirs)).await.unwrap_err(), &theirs.name);
    let pair = AllowKeyChangeRequest { source: mine.name.clone(), target: theirs.name.clone() };
    denied(&local.configurations.allow_key_change(pair).await.unwrap_err(), &theirs.name);
}

/// The pairs that a client sees, page by page.
async fn pairs(api: &mut Api) -> Vec<(String, String)> {
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListKeyChangePairsRequest { page_size: 1, page_token };
        let page = api.configurations.list_key_change_pairs(request).await.unwrap().into_inner();
        seen.extend(page.pairs.into_iter().map(|pair| (pair.source, pair.target)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return seen;
        }
    }
}

#[tokio::test]
async fn pairs_are_seen_where_both_configurations_are_in_the_scope() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let (mine, theirs) = two(&mut api).await;
    let next = api.configuration(&DKGA04.replace("key_revision_no: 1", "key_revision_no: 2")).await;
    let pair = |source: &Configuration, target: &Configuration| (source.name.clone(), target.name.clone());
    let (inside, out, into) = (pair(&mine, &next), pair(&mine, &theirs), pair(&theirs, &mine));
    for (source, target) in [&out, &inside, &into] {
        let allow = AllowKeyChangeRequest { source: source.clone(), target: target.clone() };
        api.configurations.allow_key_change(allow).await.unwrap();
    }
    let changes = || rights(&[Group::ChangeKeys]);
    let by_names = Rights { configurations: vec![mine.name.clone(), next.name.clone()], ..changes() };
    let by_group = Rights { supply_groups: vec!["123456".to_owned()], ..changes() };
    let by_both = Rights { configurations: vec![theirs.name.clone()], ..by_group.clone() };
    let one = Rights { configurations: vec![mine.name.clone()], ..changes() };
    let administers = Rights { may_do: vec![Group::Configurations.into()], ..by_group.clone() };
    let all = vec![out, inside.clone(), into];
    for (scope, seen) in [
        (changes(), all.clone()),
        (by_names, vec![inside.clone()]),
        (by_group, vec![inside.clone()]),
        (by_both, all),
        (one, Vec::new()),
        (administers, vec![inside]),
    ] {
        let mut client = as_client(&server, &mut api, scope.clone()).await;
        assert_eq!(pairs(&mut client).await, seen, "{scope:?}");
    }
}

#[tokio::test]
async fn rows_of_others_need_a_permission() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let theirs = api.issue(ten_kwh(&configuration)).await.unwrap();
    let mut till = as_client(&server, &mut api, rights(&[Group::Vend])).await;
    let own = till.issue(ten_kwh(&configuration)).await.unwrap();
    let mut reader = as_client(&server, &mut api, rights(&[Group::ReadLedger])).await;
    let get = |name: &str| GetIssuedTokenRequest { by: Some(By::Name(name.to_owned())) };
    let found = till.tokens.get_issued_token(get(&own.name)).await.unwrap().into_inner();
    assert_eq!(found.token, own.token);
    let status = till.tokens.get_issued_token(get(&theirs.name)).await.unwrap_err();
    assert_eq!(reason(&status), "TOKEN_NOT_FOUND");
    let found = reader.tokens.get_issued_token(get(&theirs.name)).await.unwrap().into_inner();
    assert_eq!(
        (found.name.as_str(), found.token.as_str()),
        (theirs.name.as_str(), ""),
        "digits are the till's own"
    );
    let listed = till.tokens.list_issued_tokens(ListIssuedTokensRequest::default()).await.unwrap();
    let names: Vec<String> = listed.into_inner().tokens.into_iter().map(|one| one.name).collect();
    assert_eq!(names, [own.name]);
}
