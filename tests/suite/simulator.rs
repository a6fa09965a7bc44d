//! The meter in software over the API.

use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use vendkey::api::v1::{
    EnterTokenRequest, EnterTokenResponse, IssueTokenRequest, KeyAttributes, MakeKeyChangeRequest,
    MakeMeterRequest, MakeTokenRequest, SimulatedMeter, TestKey, UnitCredit, issue_token_request::Content,
    simulator_service_client::SimulatorServiceClient, unit_credit::Amount,
};

use crate::harness::{Api, DRN, Home, Server, meter_test, violations};

fn key(krn: u32, vending_key: &str) -> Option<TestKey> {
    let attributes = KeyAttributes {
        iin: "600727".to_owned(),
        sgc: "123456".to_owned(),
        ti: "01".to_owned(),
        krn,
        kt: 2,
        ken: 255,
        ea: 7,
        dkga: 4,
        base_date: 2014,
    };
    Some(TestKey { attributes: Some(attributes), vending_key: vending_key.to_owned() })
}

fn credit(decimal: &str) -> Option<IssueTokenRequest> {
    let amount = Some(Amount::Decimal(decimal.to_owned()));
    let content = Some(Content::ElectricityCredit(UnitCredit { amount, rounding: 0 }));
    Some(IssueTokenRequest { content, ..Default::default() })
}

fn register(meter: &SimulatedMeter, name: &str) -> String {
    let found = meter.registers.iter().find(|register| register.name == name);
    found.map(|register| register.value.clone()).unwrap_or_default()
}

/// The service as the holder of this credential sees it.
pub fn simulator_of(
    channel: Channel,
    credential: &str,
) -> SimulatorServiceClient<InterceptedService<Channel, impl Interceptor + Clone + use<>>> {
    let bearer: MetadataValue<Ascii> = format!("Bearer {credential}").parse().unwrap();
    SimulatorServiceClient::with_interceptor(channel, move |mut request: Request<()>| {
        request.metadata_mut().insert("authorization", bearer.clone());
        Ok(request)
    })
}

#[tokio::test]
async fn a_meter_takes_tokens_of_its_test_key_and_of_the_next() {
    let home = Home::new();
    let server = Server::start(&home);
    let channel = Endpoint::from_shared(server.endpoint.clone()).unwrap().connect().await.unwrap();
    let mut simulator = simulator_of(channel, &home.credential());
    let first = "abababababababab949494949494949401234567";
    let made = MakeMeterRequest { key: key(1, first), meter: DRN.to_owned() };
    let mut meter = simulator.make_meter(made).await.unwrap().into_inner();
    assert_eq!(register(&meter, "electricity"), "0 kWh");
    let enter = async |meter: &mut SimulatedMeter, token: &str| {
        let request = EnterTokenRequest { state: meter.state.clone(), token: token.to_owned() };
        let mut simulator = simulator.clone();
        let EnterTokenResponse { accepted, answer, meter: after } =
            simulator.enter_token(request).await.unwrap().into_inner();
        *meter = after.unwrap();
        (accepted, answer)
    };

    let order = |key, after_tid, decimal| MakeTokenRequest {
        key,
        meter: DRN.to_owned(),
        after_tid,
        content: credit(decimal),
        token_time: None,
    };
    let mut makes = simulator.clone();
    let token = makes.make_token(order(key(1, first), 0, "25.5")).await.unwrap().into_inner();
    assert_eq!((token.token.len(), token.kind.as_str()), (20, "electricity credit"));
    let tid = token.tid.unwrap().value;
    assert_eq!(
        enter(&mut meter, &token.token).await,
        (true, "25.5 kWh of electricity, 25.5 kWh now".to_owned())
    );
    let (accepted, answer) = enter(&mut meter, &token.token).await;
    assert!(!accepted && answer.starts_with("used error"), "{answer}");
    assert!(!enter(&mut meter, "12345").await.0);
    let next = makes.make_token(order(key(1, first), tid, "4.5")).await.unwrap().into_inner();
    assert!(next.tid.unwrap().value > tid);
    assert!(enter(&mut meter, &next.token).await.0);
    assert_eq!(register(&meter, "electricity"), "30 kWh");
    let test = MakeTokenRequest { content: Some(meter_test()), ..Default::default() };
    let test = makes.make_token(test).await.unwrap().into_inner();
    assert!(enter(&mut meter, &test.token).await.0, "class 1 needs no key");

    let second = "cdcdcdcdcdcdcdcd949494949494949401234567";
    let change = MakeKeyChangeRequest {
        source: key(1, first),
        target: key(2, second),
        meter: DRN.to_owned(),
        transfer_sgc: true,
    };
    let tokens = makes.make_key_change(change).await.unwrap().into_inner().tokens;
    assert_eq!(tokens.len(), 3);
    for token in &tokens {
        assert!(enter(&mut meter, token).await.0);
    }
    assert_eq!(register(&meter, "key revision"), "2");
    let old = makes.make_token(order(key(1, first), tid + 5, "1")).await.unwrap().into_inner();
    assert!(!enter(&mut meter, &old.token).await.0, "the old key is gone");
    let new = makes.make_token(order(key(2, second), tid + 5, "1")).await.unwrap().into_inner();
    assert!(enter(&mut meter, &new.token).await.0);

    // All that is wrong is told at once, and a state that is none does not come back in words.
    let wrong = MakeTokenRequest { key: key(10, "x"), meter: "1".to_owned(), ..Default::default() };
    let refused = makes.make_token(wrong).await.unwrap_err();
    assert_eq!(violations(&refused), ["content", "key.attributes.krn", "key.vending_key"]);
    let short = makes.make_token(order(key(1, "ab"), 0, "1")).await.unwrap_err();
    assert_eq!(violations(&short), ["key.vending_key"]);
    let state = EnterTokenRequest { state: "{\"decoder_key\":\"abab\"}".to_owned(), token: String::new() };
    let refused = makes.enter_token(state).await.unwrap_err();
    assert_eq!((violations(&refused), refused.message().contains("abab")), (vec!["state".to_owned()], false));

    // Nothing of it is on record.
    let mut api = Api::connect(&server.endpoint, &home.credential()).await;
    let events =
        api.audit.list_events(vendkey::api::v1::ListEventsRequest { page_size: 1_000, ..Default::default() });
    assert!(events.await.unwrap().into_inner().events.iter().all(|event| event.kind != "token"));
}
