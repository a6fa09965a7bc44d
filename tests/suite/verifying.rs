//! Looking at tokens, and carrying meters from one key to another.

use tonic::{Code, Status};
use uuid::Uuid;
use vendkey::api::v1::{
    AllTests, AllowKeyChangeRequest, ClearCredit, ClearTamper, Configuration, CurrencyCredit, Extended,
    ForbidKeyChangeRequest, GetCapabilitiesRequest, IssueKeyChangeRequest, IssueTokenRequest, KeyChangeSet,
    MeterTest, Power, RawRegister, UnitCredit, VerifyTokenRequest, VerifyTokenResponse,
    clear_credit::Register, currency_credit, issue_token_request::Content, meter_test::Test, unit_credit,
    verify_token_response::Result as Verdict,
};

use crate::harness::{Api, DKGA02, DKGA04, DRN, Home, Server, reason, ten_kwh};

async fn verify(api: &mut Api, request: VerifyTokenRequest) -> VerifyTokenResponse {
    api.tokens.verify_token(request).await.unwrap().into_inner()
}

fn looking_at(token: &str, configuration: &Configuration) -> VerifyTokenRequest {
    VerifyTokenRequest {
        token: token.to_owned(),
        configuration: configuration.name.clone(),
        meter: DRN.to_owned(),
        bit_layout: true,
        examine_foreign: false,
    }
}

/// CTSA01 step 1 of the published figures: 0.1 kWh for meter 00000000000, SGC 201457.
const PUBLISHED: &str = "70630503470028726114";

/// Digits of class 0 that nobody issued: the class bits 28 and 27 are zero.
fn stray(number: u64) -> String {
    format!("{:020}", (number * 12_345 + 1) << 29)
}

fn contents() -> Vec<(Content, (u32, u32), &'static str)> {
    let units = || UnitCredit { amount: Some(unit_credit::Amount::Tenths(125)), rounding: 0 };
    let money = |text: &str| CurrencyCredit {
        amount: Some(currency_credit::Amount::Decimal(text.to_owned())),
        rounding: 0,
    };
    let watts = |watts| Power { watts };
    let raw = || RawRegister { value: 77 };
    vec![
        (Content::ElectricityCredit(units()), (0, 0), "12.5"),
        (Content::WaterCredit(units()), (0, 1), "12.5"),
        (Content::GasCredit(units()), (0, 2), "12.5"),
        (Content::TimeCredit(units()), (0, 3), "12.5"),
        (Content::ElectricityCurrencyCredit(money("1")), (0, 4), "1.00004"),
        (Content::WaterCurrencyCredit(money("-1")), (0, 5), "-0.99994"),
        (Content::GasCurrencyCredit(money("0.1")), (0, 6), "0.1"),
        (Content::TimeCurrencyCredit(money("0.00001")), (0, 7), "0.00001"),
        (Content::MaximumPowerLimit(watts(180_223)), (2, 0), "180224"),
        (Content::ClearCredit(ClearCredit { register: Register::All.into() }), (2, 1), ""),
        (Content::TariffRate(raw()), (2, 2), ""),
        (Content::ClearTamper(ClearTamper {}), (2, 5), ""),
        (Content::MaximumPhasePowerUnbalance(watts(10)), (2, 6), "10"),
        (Content::WaterMeterFactor(raw()), (2, 7), ""),
        (Content::Extended(Extended { index: 63, value: 1 }), (2, 10), ""),
    ]
}

#[tokio::test]
async fn every_kind_is_issued_and_found_again() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let ea11 =
        DKGA04.replace(": sta", ": misty1").replace("supply_group_code: 123456", "supply_group_code: 123457");
    let dea =
        DKGA02.replace(": sta", ": dea").replace("supply_group_code: 123456", "supply_group_code: 123458");
    for yaml in [DKGA04, DKGA02, &ea11, &dea] {
        let configuration = api.configuration(yaml).await;
        for (content, class_subclass, amount) in contents() {
            let request = IssueTokenRequest { content: Some(content), ..ten_kwh(&configuration) };
            let issued = api.issue(request.clone()).await.unwrap();
            assert_eq!((issued.token_class, issued.token_subclass), class_subclass);
            let transferred = issued.transferred.clone().unwrap_or_default().amount;
            assert_eq!(transferred, amount);
            assert_eq!(api.issue(request).await.unwrap().token, issued.token);
            let found = verify(&mut api, looking_at(&issued.token, &configuration)).await;
            assert_eq!(found.result(), Verdict::Valid, "{issued:?}");
            assert_eq!(
                (found.token_class, found.token_subclass),
                (Some(class_subclass.0), Some(class_subclass.1))
            );
            assert_eq!((&found.kind, &found.tid), (&issued.kind, &issued.tid));
            assert_eq!(found.transferred.clone().unwrap_or_default().amount, amount);
            assert_eq!((found.register, &found.issued_token), (issued.register, &issued.name));
            assert_eq!(found.bit_layout.iter().map(|field| field.bits.len()).sum::<usize>(), 66);
        }
    }
}

#[tokio::test]
async fn meter_tests_need_neither_meter_nor_configuration() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let request = |test, form| IssueTokenRequest {
        request_id: Uuid::now_v7().to_string(),
        content: Some(Content::MeterTest(MeterTest { form, test: Some(test), manufacturer_code: 0 })),
        ..IssueTokenRequest::default()
    };
    for (test, form, token) in [
        (Test::All(AllTests {}), 1, "56493153725450313471"),
        (Test::All(AllTests {}), 2, "02305843005052951967"),
        (Test::ExtendedRead(63), 0, "03440750115445279822"),
    ] {
        let issued = api.issue(request(test, form)).await.unwrap();
        assert_eq!((issued.token.as_str(), issued.token_class), (token, 1));
        let configuration = api.configuration(DKGA04).await;
        let found = verify(&mut api, looking_at(token, &configuration)).await;
        assert_eq!(found.result(), Verdict::MeterTest);
        assert_eq!((issued.manufacturer_code, found.manufacturer_code), (Some(0), Some(0)));
    }
    // The manufacturer code of a test is told.
    let mut own = request(Test::Control(1), 1);
    if let Some(Content::MeterTest(test)) = &mut own.content {
        test.manufacturer_code = 42;
    }
    let issued = api.issue(own).await.unwrap();
    let configuration = api.configuration(DKGA04).await;
    let found = verify(&mut api, looking_at(&issued.token, &configuration)).await;
    assert_eq!((issued.manufacturer_code, found.manufacturer_code), (Some(42), Some(42)));
    // An extended read has no form and no manufacturer code to choose.
    for (form, manufacturer_code) in [(1, 0), (2, 0), (0, 42)] {
        let mut read = request(Test::ExtendedRead(1), form);
        if let Some(Content::MeterTest(test)) = &mut read.content {
            test.manufacturer_code = manufacturer_code;
        }
        assert_eq!(api.issue(read).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let status = api.issue(request(Test::Control(1 << 36), 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let named = IssueTokenRequest { meter: DRN.to_owned(), ..request(Test::Control(1), 1) };
    assert_eq!(api.issue(named).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn tokens_are_read_as_people_type_them() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let mut lines: Vec<&str> = include_str!("../cases/token-spellings/tokens.txt").lines().collect();
    let no_tokens = lines.split_off(10);
    for line in lines {
        let found = verify(&mut api, looking_at(line, &configuration)).await;
        assert_eq!((found.result(), found.crc_holds), (Verdict::MeterTest, Some(true)), "{line}");
    }
    for (line, why) in no_tokens.into_iter().zip(["the letter I", "18 digits"]).chain([
        ("5649 3153 7254 5031 34715", "21 digits"),
        ("5.64931537254503E+19", "rounded"),
        ("O6493153725450313471", "the letter O"),
        ("", "no digit"),
        ("99999999999999999999", "larger than any token"),
    ]) {
        let found = verify(&mut api, looking_at(line, &configuration)).await;
        assert_eq!(found.result(), Verdict::NotAToken, "{line}");
        assert!(found.explanation.contains(why), "{line}: {}", found.explanation);
    }
    // A spreadsheet has kept 15 digits of these: said only where nothing else explains them.
    for rounded in ["56493153725450300000", "12345678901234500000"] {
        let found = verify(&mut api, looking_at(rounded, &configuration)).await;
        assert!(found.explanation.contains("spreadsheet"), "{found:?}");
    }
    let name = &configuration.name;
    let asked = |token: &[&str]| {
        let arguments =
            [&["token", "verify", "--configuration", name, "--meter", "4750 0150-231"], token].concat();
        server.vendkey(&home, &arguments)
    };
    let output = asked(&["Token:", "5649", "3153", "7254", "5031", "3471"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("a meter test"), "{output:?}");
    let output = asked(&["5649 3153 7254 5031 347l"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("not a token: character 24, where digit 20 should be, is the letter l"), "{text}");
    let output = asked(&["--json", "123"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("it has 3 digits"), "{output:?}");
    let output =
        server.vendkey(&home, &["token", "verify", "--configuration", name, "--meter", "4750O150231", "1"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("the letter O"), "{output:?}");
}

#[tokio::test]
async fn manufacturers_tokens_and_reserved_ones_are_told() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let own = |subclass, control, code| (Verdict::Proprietary, 1, subclass, Some(control), Some(code));
    let expected = [
        own(11, 0x1_0000_0001, 4),
        own(7, 1, 1234),
        own(10, 0x20, 9999),
        own(13, 1, 37),
        own(15, 0x400, 99),
        (Verdict::Reserved, 1, 4, None, None),
        (Verdict::Reserved, 3, 1, None, None),
    ];
    let lines: Vec<&str> = include_str!("../cases/tokens-class1/tokens.txt").lines().collect();
    assert_eq!(lines.len(), expected.len());
    for (line, expected) in lines.into_iter().zip(expected) {
        let found = verify(&mut api, looking_at(line, &configuration)).await;
        let (class, subclass) = (found.token_class.unwrap(), found.token_subclass.unwrap());
        let told = (found.result(), class, subclass, found.control, found.manufacturer_code);
        assert_eq!(told, expected, "{line}");
        assert_eq!(found.crc_holds, Some(true));
        assert!(!found.explanation.is_empty() && !found.kind.is_empty(), "{found:?}");
        if class == 1 {
            let bits: usize = found.bit_layout.iter().map(|field| field.bits.len()).sum();
            assert_eq!(bits, 66);
        }
    }
    // One bit of the CRC changed: the class and subclass are in the clear nevertheless.
    for (digits, class, subclass) in [("08070450536758039468", 1, 7), ("01152921505009887890", 3, 1)] {
        let found = verify(&mut api, looking_at(digits, &configuration)).await;
        assert_eq!((found.result(), found.crc_holds), (Verdict::CrcMismatch, Some(false)));
        assert_eq!((found.token_class, found.token_subclass), (Some(class), Some(subclass)));
    }
    let arguments =
        ["token", "verify", "--configuration", &configuration.name, "--meter", DRN, "08070450536758039469"];
    let text = String::from_utf8_lossy(&server.vendkey(&home, &arguments).stdout).into_owned();
    for part in ["manufacturer's own", "class 1, subclass 7", "1234", "0x1", "CRC", "holds"] {
        assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn verification_is_no_forging_oracle() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let other = api.configuration(&DKGA04.replace("key_revision_no: 1", "key_revision_no: 2")).await;
    let token = api.issue(ten_kwh(&configuration)).await.unwrap().token;
    for text in ["", "x", "1", "99999999999999999999", "1234567890123456789", "73786976294838206464"] {
        assert_eq!(
            verify(&mut api, looking_at(text, &configuration)).await.result(),
            Verdict::NotAToken,
            "{text}"
        );
    }
    // A published token of this very key and meter, whose CRC holds, and digits whose CRC does not:
    // alike.
    let published =
        api.configuration(&DKGA04.replace("supply_group_code: 123456", "supply_group_code: 201457")).await;
    let mut answers = Vec::new();
    for digits in [PUBLISHED.to_owned(), stray(1), stray(2)] {
        let looked =
            VerifyTokenRequest { meter: "00000000000".to_owned(), ..looking_at(&digits, &published) };
        answers.push(verify(&mut api, looked).await);
    }
    assert_eq!(answers[0].result(), Verdict::NotIssuedHere);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    // The right token under another key, for another meter.
    assert_eq!(verify(&mut api, looking_at(&token, &other)).await.result(), Verdict::NotIssuedHere);
    let elsewhere =
        VerifyTokenRequest { meter: "00000000000".to_owned(), ..looking_at(&token, &configuration) };
    assert_eq!(verify(&mut api, elsewhere).await.result(), Verdict::NotIssuedHere);
    let examined = VerifyTokenRequest { examine_foreign: true, ..looking_at(&stray(1), &configuration) };
    let status = api.tokens.verify_token(examined).await.unwrap_err();
    assert_eq!(reason(&status), "PERMISSION_DENIED");
    assert!(status.message().contains("verify_foreign"), "{status}");
    let spaced =
        verify(&mut api, looking_at(&format!(" {} {} ", &token[..4], &token[4..]), &configuration)).await;
    assert_eq!(spaced.result(), Verdict::Valid);
}

#[tokio::test]
async fn looks_into_foreign_tokens_are_limited_across_restarts() {
    let home = Home::new();
    let server = Server::start(&home);
    let till = String::from_utf8(server.vendkey(&home, &["client", "list", "--json"]).stdout).unwrap();
    let till: serde_json::Value = serde_json::from_str(&till).unwrap();
    let till = till["clients"][1]["name"].as_str().unwrap();
    assert!(server.vendkey(&home, &["client", "update", till, "--allow", "verify_foreign"]).status.success());
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let token = api.issue(ten_kwh(&configuration)).await.unwrap().token;
    let look =
        |token: &str| VerifyTokenRequest { examine_foreign: true, ..looking_at(token, &configuration) };
    assert_eq!(verify(&mut api, look(&token)).await.result(), Verdict::Valid);
    let published =
        api.configuration(&DKGA04.replace("supply_group_code: 123456", "supply_group_code: 201457")).await;
    let foreign = VerifyTokenRequest {
        meter: "00000000000".to_owned(),
        examine_foreign: true,
        ..looking_at(PUBLISHED, &published)
    };
    let found = verify(&mut api, foreign).await;
    assert_eq!((found.result(), found.transferred.unwrap().amount.as_str()), (Verdict::ValidForeign, "0.1"));
    for number in 0..15 {
        assert_eq!(verify(&mut api, look(&stray(number))).await.result(), Verdict::CrcMismatch);
    }
    drop(server);
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let mut limited: Option<Status> = None;
    let mut looks = 0;
    while limited.is_none() {
        looks += 1;
        limited = api.tokens.verify_token(look(&stray(100 + looks))).await.err();
    }
    assert_eq!(looks, 16, "15 failed before the restart, and 30 may in an hour");
    let limited = limited.expect("no limit was met");
    assert_eq!(
        (limited.code(), reason(&limited).as_str()),
        (Code::ResourceExhausted, "VERIFICATIONS_LIMITED")
    );
    assert_eq!(verify(&mut api, look(&token)).await.result(), Verdict::Valid, "its own tokens are no look");
}

fn change(source: &Configuration, target: &Configuration) -> IssueKeyChangeRequest {
    IssueKeyChangeRequest {
        source: source.name.clone(),
        target: target.name.clone(),
        meter: DRN.to_owned(),
        request_id: Uuid::now_v7().to_string(),
        transfer_sgc: false,
    }
}

async fn allow(api: &mut Api, source: &Configuration, target: &Configuration) {
    let request = AllowKeyChangeRequest { source: source.name.clone(), target: target.name.clone() };
    api.configurations.allow_key_change(request).await.unwrap();
}

async fn issue(api: &mut Api, request: IssueKeyChangeRequest) -> Result<KeyChangeSet, Status> {
    api.tokens.issue_key_change(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_key_change_is_allowed_issued_and_found_again() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    for (ea, transfer_sgc, subclasses) in
        [("sta", false, vec![3, 4]), ("sta", true, vec![3, 4, 8]), ("misty1", false, vec![3, 4, 8, 9])]
    {
        let yaml = DKGA04.replace(": sta", &format!(": {ea}"));
        let source = api.configuration(&yaml).await;
        let target = api.configuration(&yaml.replace("key_revision_no: 1", "key_revision_no: 2")).await;
        let forbid = ForbidKeyChangeRequest { source: source.name.clone(), target: target.name.clone() };
        api.configurations.forbid_key_change(forbid).await.unwrap();
        let request = IssueKeyChangeRequest { transfer_sgc, ..change(&source, &target) };
        let status = issue(&mut api, request.clone()).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::FailedPrecondition, "KEY_CHANGE_NOT_ALLOWED")
        );
        allow(&mut api, &source, &target).await;
        let set = issue(&mut api, request.clone()).await.unwrap();
        assert_eq!(set.tokens.iter().map(|token| token.token_subclass).collect::<Vec<_>>(), subclasses);
        assert!(!set.roll_over && !set.replay);
        let replay = issue(&mut api, request.clone()).await.unwrap();
        assert_eq!((&replay.tokens, replay.replay), (&set.tokens, true));
        // The same change under another id: the same digits.
        let again = IssueKeyChangeRequest { request_id: Uuid::now_v7().to_string(), ..request };
        assert_eq!(issue(&mut api, again).await.unwrap().tokens, set.tokens);
        for token in &set.tokens {
            let found = verify(&mut api, looking_at(&token.token, &source)).await;
            assert_eq!((found.result(), found.kind.as_str()), (Verdict::Valid, "key change"));
            if token.token_subclass == 3 {
                let bit = found.key_change.iter().find(|value| value.name == "3-token set").unwrap();
                assert_eq!(bit.value, (subclasses.len() == 3).to_string());
            }
            let bits: String = found.bit_layout.iter().map(|field| field.bits.as_str()).collect();
            assert_eq!(
                bits.contains('*'),
                !(transfer_sgc && token.token_subclass == 8),
                "key bits are hidden"
            );
        }
    }
}

#[tokio::test]
async fn key_changes_that_the_standard_forbids_have_reasons_of_their_own() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let source = api.configuration(DKGA04).await;
    let with = |from: &str, to: &str| DKGA04.replace(from, to);
    for (yaml, expected) in [
        (
            with("issuer_identification_no: 600727", "issuer_identification_no: 0000"),
            "KEY_CHANGE_OTHER_ISSUER",
        ),
        (with(": sta", ": misty1"), "KEY_CHANGE_OTHER_CIPHER"),
        (DKGA02.to_owned(), "KEY_CHANGE_OTHER_DERIVATION"),
        (with("base_date: 2014", "base_date: 1993"), "KEY_CHANGE_EARLIER_BASE_DATE"),
        (with("key_type: 2", "key_type: 1"), "KEY_CHANGE_KEY_TYPE"),
    ] {
        let target = api.configuration(&yaml).await;
        allow(&mut api, &source, &target).await;
        let status = issue(&mut api, change(&source, &target)).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, expected));
    }
    let expired = |krn: u8| {
        let yaml = with("key_expiry_no: 255", "key_expiry_no: 1");
        yaml.replace("key_revision_no: 1", &format!("key_revision_no: {krn}"))
    };
    let (old, new) = (api.configuration(&expired(3)).await, api.configuration(&expired(4)).await);
    allow(&mut api, &old, &new).await;
    let status = issue(&mut api, change(&old, &new)).await.unwrap_err();
    assert_eq!(reason(&status), "KEY_CHANGE_BOTH_EXPIRED");
    allow(&mut api, &old, &source).await;
    issue(&mut api, change(&old, &source)).await.expect("away from an expired key is allowed");
    // DKGA02 keys do not depend on the base date: rolling over between equal keys would revive old
    // tokens.
    let des = api.configuration(DKGA02).await;
    let later = api.configuration(&DKGA02.replace("base_date: 2014", "base_date: 2035")).await;
    allow(&mut api, &des, &later).await;
    let status = issue(&mut api, change(&des, &later)).await.unwrap_err();
    assert_eq!(reason(&status), "KEY_CHANGE_REVIVES_TOKENS");
    let rolled = api.configuration(&with("base_date: 2014", "base_date: 2035")).await;
    allow(&mut api, &source, &rolled).await;
    assert!(issue(&mut api, change(&source, &rolled)).await.unwrap().roll_over);
    let same = issue(&mut api, change(&source, &source)).await.unwrap_err();
    assert_eq!(same.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn capabilities_say_what_and_why_not() {
    let home = Home::new();
    home.write_settings("[vending]\ndkga02 = 'deny'\n");
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let found = api.configurations.get_capabilities(GetCapabilitiesRequest {}).await.unwrap().into_inner();
    let algorithm = |name: &str| found.algorithms.iter().find(|algorithm| algorithm.name == name).unwrap();
    assert!(algorithm("DKGA04 with EA07").served && algorithm("DKGA04 with EA11").served);
    for (name, why) in
        [("DKGA02 with EA07", "dkga02"), ("DKGA01 with EA07", "vending key"), ("DKGA03 with EA07", "DKGA03")]
    {
        assert!(!algorithm(name).served && algorithm(name).detail.contains(why), "{:?}", algorithm(name));
    }
    for (name, served, says) in [
        ("DKGA02 with EA09", false, "withdrawn in 2018"),
        ("DKGA03 with EA07", false, "withdrawn in 2018"),
        ("key type 3 (common) under DKGA04", false, "key type 3 under DKGA04"),
        ("key type 0 (initialisation)", true, "no credit"),
        ("key type 1 (default)", true, "no credit"),
    ] {
        let row = algorithm(name);
        assert!(row.served == served && row.detail.contains(says), "{row:?}");
    }
    assert!(found.hsm.iter().any(|capability| capability.served));
    let configuration = api.configuration(DKGA02).await;
    let status = api.issue(ten_kwh(&configuration)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "POLICY_DENIES"));
}

#[tokio::test]
async fn what_was_issued_is_answered_again_whatever_the_policy_says_now() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let (source, target) = (
        api.configuration(DKGA02).await,
        api.configuration(&DKGA02.replace("key_revision_no: 1", "key_revision_no: 2")).await,
    );
    allow(&mut api, &source, &target).await;
    let (credit, change) = (ten_kwh(&source), change(&source, &target));
    let token = api.issue(credit.clone()).await.unwrap().token;
    let set = issue(&mut api, change.clone()).await.unwrap().tokens;
    drop(server);
    home.write_settings("[vending]\ndkga02 = 'deny'\n");
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    assert_eq!(api.issue(credit).await.unwrap().token, token);
    assert_eq!(issue(&mut api, change).await.unwrap().tokens, set);
    let status = api.issue(ten_kwh(&source)).await.unwrap_err();
    assert_eq!((reason(&status).as_str(), crate::harness::issued(&status).as_str()), ("POLICY_DENIES", "no"));
}
