//! Tokens: issued, replayed, refused.

use std::collections::BTreeSet;

use prost_types::Timestamp;
use tonic::Code;
use uuid::Uuid;
use vendkey::api::v1::{
    DisableConfigurationRequest, EnableConfigurationRequest, IssueTokenRequest, ListIssuedTokensRequest,
    RawRegister, Rounding, UnitCredit, issue_token_request::Content, unit_credit::Amount,
};

use crate::harness::{DKGA02, DKGA04, Home, Server, issued, reason, ten_kwh, violations};

fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

#[tokio::test]
async fn a_token_and_its_replay() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    for yaml in [DKGA04, DKGA02] {
        let configuration = api.configuration(yaml).await;
        let request = ten_kwh(&configuration);
        let before = now() / 60;
        let first = api.issue(request.clone()).await.unwrap();
        assert_eq!(first.token.len(), 20);
        assert!(first.token.bytes().all(|b| b.is_ascii_digit()));
        assert_eq!((first.token_class, first.token_subclass), (0, 0));
        assert_eq!(first.meter_pan, "600727475001502312");
        assert_eq!(first.kcv, configuration.kcv);
        assert_eq!(first.transferred.as_ref().unwrap().amount, "10");
        let minute = first.tid.as_ref().unwrap().time.as_ref().unwrap().seconds / 60;
        assert!((before..before + 5).contains(&minute));
        assert!(!first.replay);
        let again = api.issue(request).await.unwrap();
        assert!(again.replay);
        assert_eq!((again.token, again.name, again.tid), (first.token, first.name, first.tid));
    }
}

#[tokio::test]
async fn another_request_under_the_same_id_is_refused() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let request = ten_kwh(&configuration);
    api.issue(request.clone()).await.unwrap();
    let others = [
        IssueTokenRequest { meter: "600727000000000009".to_owned(), ..request.clone() },
        IssueTokenRequest { token_time: Some(Timestamp { seconds: now(), nanos: 0 }), ..request.clone() },
        IssueTokenRequest { content: credit("10.1"), ..request.clone() },
        IssueTokenRequest {
            content: Some(Content::WaterMeterFactor(RawRegister { value: 10 })),
            ..request.clone()
        },
    ];
    for other in others {
        let status = api.issue(other).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    }
    // Another spelling of the same request is a retry.
    let spelled = IssueTokenRequest {
        meter: "600727475001502312".to_owned(),
        content: credit("10.0"),
        request_id: request.request_id.to_uppercase(),
        ..request
    };
    assert!(api.issue(spelled).await.unwrap().replay);
}

fn credit(decimal: &str) -> Option<Content> {
    Some(Content::ElectricityCredit(UnitCredit {
        amount: Some(Amount::Decimal(decimal.to_owned())),
        rounding: 0,
    }))
}

#[tokio::test]
async fn malformed_requests_name_every_field() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let empty = api.issue(IssueTokenRequest::default()).await.unwrap_err();
    assert_eq!(empty.code(), Code::InvalidArgument);
    assert_eq!(
        violations(&empty).into_iter().collect::<BTreeSet<_>>(),
        ["configuration", "content", "meter", "request_id"].map(str::to_owned).into()
    );
    let good = ten_kwh(&configuration);
    let bad = [
        ("meter", IssueTokenRequest { meter: "47500150232".to_owned(), ..good.clone() }),
        ("meter", IssueTokenRequest { meter: "600727475001502313".to_owned(), ..good.clone() }),
        ("meter", IssueTokenRequest { meter: "0100000000008".to_owned(), ..good.clone() }),
        ("meter", IssueTokenRequest { meter: "4750015023a".to_owned(), ..good.clone() }),
        ("request_id", IssueTokenRequest { request_id: "1".to_owned(), ..good.clone() }),
        ("request_id", IssueTokenRequest { request_id: Uuid::nil().to_string(), ..good.clone() }),
        ("configuration", IssueTokenRequest { configuration: "x".to_owned(), ..good.clone() }),
        ("electricity_credit", IssueTokenRequest { content: credit(""), ..good.clone() }),
        ("electricity_credit", IssueTokenRequest { content: credit("-1"), ..good.clone() }),
        ("electricity_credit", IssueTokenRequest { content: credit("1e3"), ..good.clone() }),
        ("electricity_credit", IssueTokenRequest { content: credit("0.05"), ..good.clone() }),
        ("electricity_credit", IssueTokenRequest { content: credit("1820162.5"), ..good.clone() }),
        (
            "water_meter_factor",
            IssueTokenRequest {
                content: Some(Content::WaterMeterFactor(RawRegister { value: 65536 })),
                ..good.clone()
            },
        ),
    ];
    for (field, request) in bad {
        let status = api.issue(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{request:?}: {status:?}");
        let named = violations(&status);
        assert!(named.iter().any(|name| name.starts_with(field)), "{request:?}: {named:?}");
    }
    let unknown = format!("configurations/{}", Uuid::now_v7());
    let status = api.issue(IssueTokenRequest { configuration: unknown, ..good.clone() }).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "CONFIGURATION_NOT_FOUND"));
    assert_eq!(issued(&status), "no", "what has no configuration has no row");
    let elsewhere = IssueTokenRequest { meter: "0100000000008".to_owned(), ..good.clone() };
    assert_eq!(
        issued(&api.issue(elsewhere).await.unwrap_err()),
        "no",
        "a meter of another issuer has no row"
    );
    // Nothing of all this is in the ledger: the first good one is alone.
    let first = api.issue(good).await.unwrap();
    let listed =
        api.tokens.list_issued_tokens(ListIssuedTokensRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.tokens.into_iter().map(|token| token.name).collect::<Vec<_>>(), [first.name]);
}

#[tokio::test]
async fn finer_amounts_are_rounded_up_on_request() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let request = IssueTokenRequest {
        content: Some(Content::GasCredit(UnitCredit {
            amount: Some(Amount::Decimal("1.82".to_owned())),
            rounding: Rounding::Up.into(),
        })),
        ..ten_kwh(&configuration)
    };
    let transferred = api.issue(request).await.unwrap().transferred.unwrap();
    assert_eq!(
        (transferred.amount.as_str(), transferred.unit.as_str(), transferred.rounded_up),
        ("1.9", "m3", true)
    );
}

#[tokio::test]
async fn token_times_outside_the_window_are_refused() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let at = |seconds| IssueTokenRequest {
        token_time: Some(Timestamp { seconds, nanos: 0 }),
        ..ten_kwh(&configuration)
    };
    for seconds in [now() - 86_500, now() + 400, i64::MIN, i64::MAX, 0] {
        let status = api.issue(at(seconds)).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::OutOfRange, "TOKEN_TIME_OUTSIDE_WINDOW")
        );
    }
    let hour_ago = now() - 3600;
    let tid = api.issue(at(hour_ago)).await.unwrap().tid.unwrap();
    assert!((0..180).contains(&(tid.time.unwrap().seconds - hour_ago / 60 * 60)));
}

#[tokio::test]
async fn base_dates_and_expiry_have_reasons_of_their_own() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    for (from, to, expected) in [
        ("base_date: 2014", "base_date: 2035", "TOKEN_TIME_BEFORE_BASE_DATE"),
        ("base_date: 2014", "base_date: 1993", "TID_EXHAUSTED"),
        ("key_expiry_no: 255", "key_expiry_no: 85", "KEY_EXPIRED"),
        ("key_type: 2", "key_type: 1", "CREDIT_UNDER_DEFAULT_KEY"),
        ("key_type: 2", "key_type: 3", "UNVERIFIED_ALGORITHM"),
    ] {
        let configuration = api.configuration(&DKGA04.replace(from, to)).await;
        let status = api.issue(ten_kwh(&configuration)).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, expected), "{to}");
    }
}

#[tokio::test]
async fn a_disabled_configuration_issues_nothing_new() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let name = configuration.name.clone();
    let request = ten_kwh(&configuration);
    let token = api.issue(request.clone()).await.unwrap().token;
    api.configurations
        .disable_configuration(DisableConfigurationRequest { name: name.clone() })
        .await
        .unwrap();
    let status = api.issue(ten_kwh(&configuration)).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "CONFIGURATION_DISABLED")
    );
    let replay = api.issue(request).await.unwrap();
    assert_eq!((replay.token, replay.replay), (token, true));
    api.configurations.enable_configuration(EnableConfigurationRequest { name }).await.unwrap();
    api.issue(ten_kwh(&configuration)).await.unwrap();
}

#[tokio::test]
async fn many_clients_on_one_meter_get_tids_of_their_own() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (mut api, configuration) = (server.api(&home).await, configuration.clone());
        clients.spawn(async move {
            let mut tids = Vec::new();
            for _ in 0..5 {
                let issued = api.issue(ten_kwh(&configuration)).await.unwrap();
                tids.push(issued.tid.unwrap().value);
            }
            assert!(tids.is_sorted_by(|a, b| a < b), "{tids:?}");
            tids
        });
    }
    let tids: Vec<u32> = clients.join_all().await.into_iter().flatten().collect();
    let distinct: BTreeSet<u32> = tids.iter().copied().collect();
    assert_eq!((tids.len(), distinct.len()), (320, 320));
    assert!(distinct.iter().all(|tid| tid % 1440 != 1), "00:01 is reserved");
}
