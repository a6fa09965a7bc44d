//! `vendkey meter`: what the server issues, a meter takes once.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Output};

use uuid::Uuid;
use vendkey::api::v1::{
    AllowKeyChangeRequest, IssueKeyChangeRequest, IssueTokenRequest, RawRegister,
    issue_token_request::Content,
};

use crate::harness::{DKGA02, DKGA04, DRN, Home, Server, ten_kwh};

/// A home with a key file for meters.
fn home() -> Home {
    let home = Home::new();
    fs::write(home.path("meter.key"), [7; 32]).unwrap();
    fs::set_permissions(home.path("meter.key"), fs::Permissions::from_mode(0o600)).unwrap();
    home
}

fn meter(home: &Home, arguments: &[&str]) -> Output {
    home.vendkey(&[&["meter"], arguments, &["--key-file", &home.text("meter.key")]].concat())
}

/// What the command printed; its success must be as expected.
fn told(output: &Output, success: bool) -> String {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.success(), success, "{text}");
    text
}

#[tokio::test]
async fn issued_tokens_are_accepted_once() {
    let home = home();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    for (name, yaml) in [("four", DKGA04), ("two", DKGA02)] {
        let configuration = api.configuration(yaml).await;
        fs::write(home.path("c.yaml"), yaml).unwrap();
        let file = home.text(name);
        told(&meter(&home, &["new", &file, "--configuration", &home.text("c.yaml"), "--meter", DRN]), true);

        let credit = api.issue(ten_kwh(&configuration)).await.unwrap().token;
        let factor = IssueTokenRequest {
            request_id: Uuid::now_v7().to_string(),
            content: Some(Content::WaterMeterFactor(RawRegister { value: 10 })),
            ..ten_kwh(&configuration)
        };
        let factor = api.issue(factor).await.unwrap().token;
        let other = IssueTokenRequest { meter: "600727000000000009".to_owned(), ..ten_kwh(&configuration) };
        let other = api.issue(other).await.unwrap().token;

        let grouped = format!("{}-{} {}", &credit[..4], &credit[4..8], &credit[8..]);
        let text = told(&meter(&home, &["enter", &file, &grouped]), true);
        assert_eq!(text, "accepted: 10 kWh of electricity, 10 kWh now\n");
        let text = told(&meter(&home, &["enter", &file, &credit]), false);
        assert!(text.contains("rejected: used error") && text.contains("tokens rejected: 1"), "{text}");
        let text = told(&meter(&home, &["enter", &file, &factor, &other, "123"]), false);
        assert!(text.contains("rejected: format error"), "three that are not twenty digits each: {text}");
        let text = told(&meter(&home, &["enter", &file, &factor, &other]), false);
        assert!(text.contains("accepted: water meter factor 10\nrejected: CRC error"), "{text}");

        let text = told(&meter(&home, &["show", &file]), true);
        for part in ["600727475001502312", "10 kWh", "EA07", "123456"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        // Neither the display nor the file shows a key.
        let bytes = fs::read(&file).unwrap();
        for secret in [&b"decoder_key"[..], b"600727475001502312", &hex::decode("0123456789abcdef").unwrap()]
        {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

/// The meter goes over to another configuration by the tokens of a set, entered in any order, and
/// from then on takes only what is issued under the new key.
#[tokio::test]
async fn a_key_change_carries_the_meter_over() {
    let home = home();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    for (name, ea) in [("sta", "sta"), ("misty", "misty1")] {
        let old = DKGA04.replace("encryption_algorithm: sta", &format!("encryption_algorithm: {ea}"));
        let new = old
            .replace("key_revision_no: 1", "key_revision_no: 2")
            .replace("tariff_index: 01", "tariff_index: 07");
        fs::write(home.path("c.yaml"), &old).unwrap();
        let file = home.text(name);
        told(&meter(&home, &["new", &file, "--configuration", &home.text("c.yaml"), "--meter", DRN]), true);
        let (old, new) = (api.configuration(&old).await, api.configuration(&new).await);
        let before = api.issue(ten_kwh(&old)).await.unwrap().token;
        let allow = AllowKeyChangeRequest { source: old.name.clone(), target: new.name.clone() };
        api.configurations.allow_key_change(allow).await.unwrap();
        let change = IssueKeyChangeRequest {
            source: old.name.clone(),
            target: new.name.clone(),
            meter: DRN.to_owned(),
            request_id: Uuid::now_v7().to_string(),
            transfer_sgc: true,
        };
        let set = api.tokens.issue_key_change(change).await.unwrap().into_inner();
        let after = api.issue(ten_kwh(&new)).await.unwrap().token;

        told(&meter(&home, &["enter", &file, &before]), true);
        let mut sections: Vec<&str> = set.tokens.iter().map(|token| token.token.as_str()).collect();
        sections.reverse();
        let text = told(&meter(&home, &[&["enter", &file], &sections[..]].concat()), true);
        assert!(
            text.ends_with(
                "accepted: key changed: key type 2, revision 2, tariff 07, expiry 255, supply group 123456\n"
            ),
            "{text}"
        );
        assert_eq!(
            told(&meter(&home, &["enter", &file, &after]), true),
            "accepted: 10 kWh of electricity, 20 kWh now\n"
        );
        assert!(told(&meter(&home, &["enter", &file, &before]), false).contains("CRC error"));
        let text = told(&meter(&home, &["show", &file]), true);
        assert!(text.contains("key revision  2") && text.contains("supply group  123456"), "{text}");
    }
}

/// Published figures, with the vending key and its attributes as options: no server takes part.
#[test]
fn the_published_tokens_of_two_suites() {
    let home = home();
    fs::write(home.path("key.hex"), "ABABABABABABABAB949494949494949401234567\n").unwrap();
    let key = home.text("key.hex");
    let common =
        ["--vending-key-file", &key, "--sgc", "201457", "--krn", "1", "--made", "2014-01-01T00:00:00Z"];
    for (file, meter_number, more, token) in [
        ("a", "600727000000000009", &["--ea", "07"][..], "70630503470028726114"),
        ("b", "0100000000008", &["--ea", "11", "--iin", "0000"], "13165821006407279478"),
    ] {
        let file = home.text(file);
        let made = meter(&home, &[&["new", &file, "--meter", meter_number], &common[..], more].concat());
        assert!(!told(&made, true).contains("ABAB"));
        let text = told(&meter(&home, &["enter", &file, token]), true);
        assert_eq!(text, "accepted: 0.1 kWh of electricity, 0.1 kWh now\n");
    }
    // Test 0 of class 1 is for every meter of its form, and may be entered as often as one likes.
    for _ in 0..2 {
        told(&meter(&home, &["enter", &home.text("a"), "56493153725450313471"]), true);
        told(&meter(&home, &["enter", &home.text("b"), "56493153725450313471"]), false);
    }
}

#[test]
fn what_cannot_be_made_or_opened_is_said() {
    let home = home();
    fs::write(home.path("c.yaml"), DKGA04).unwrap();
    let (file, yaml) = (home.text("m"), home.text("c.yaml"));
    let new = |more: &[&str]| meter(&home, &[&["new", &file], more].concat());
    let wrong = new(&["--configuration", &yaml, "--meter", "47500150232"]);
    assert!(told(&wrong, false).contains("--meter 47500150232"));
    told(&new(&["--meter", DRN]), false);
    told(&new(&["--configuration", &yaml, "--vending-key-file", &yaml, "--meter", DRN]), false);
    told(&new(&["--configuration", &yaml, "--kt", "1", "--meter", DRN]), false);
    fs::write(home.path("bad.yaml"), DKGA04.replace("key_type: 2", "key_type: 7")).unwrap();
    let bad = told(&new(&["--configuration", &home.text("bad.yaml"), "--meter", DRN]), false);
    assert!(bad.contains("key_type") && !bad.contains("abab"), "{bad}");
    assert!(!home.path("m").exists());

    told(&new(&["--configuration", &yaml, "--meter", DRN]), true);
    assert!(told(&new(&["--configuration", &yaml, "--meter", DRN]), false).contains("never overwritten"));
    fs::write(home.path("other.key"), [8; 32]).unwrap();
    fs::set_permissions(home.path("other.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let other = home.vendkey(&["meter", "show", &file, "--key-file", &home.text("other.key")]);
    assert!(told(&other, false).contains("does not open"));
    // Nobody is there to type a passphrase.
    assert!(told(&home.vendkey(&["meter", "show", &file]), false).contains("--key-file"));
    assert!(told(&meter(&home, &["show", &home.text("none")]), false).contains("none"));
    assert!(told(&meter(&home, &["show", &yaml]), false).contains("no file of a meter"));
}
