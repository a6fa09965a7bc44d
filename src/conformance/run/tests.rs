//! The runner in software; the HSM is tested in the integration tests.

use serde_json::json;

use super::*;
use crate::conformance::vectors;

const FILE: &str = include_str!("../../../tests/vectors/sts-vectors.json");

/// Every published vector, in software; the HSM is tested in the integration tests.
#[test]
fn every_published_vector_passes() {
    let vectors = vectors::parse(FILE).unwrap();
    let failures: Vec<String> = vectors
        .iter()
        .map(|vector| (vector, run(vector, &SoftwareKeys)))
        .filter(|(_, outcome)| outcome.verdict != Verdict::Passed)
        .map(|(vector, outcome)| {
            format!("{}: {:?}, expected {:?}, {outcome:?}", vector.id, vector.task, vector.expected)
        })
        .collect();
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    assert!(vectors.len() > 300, "the file was read");
}

/// What the published vectors leave out, computed by a program of its own.
#[test]
fn every_vector_below_policy_passes() {
    const BELOW: &str = include_str!("../../../tests/vectors/below-policy.json");
    let vectors = vectors::parse(BELOW).unwrap();
    let failures: Vec<String> = vectors
        .iter()
        .map(|vector| (vector, run(vector, &SoftwareKeys)))
        .filter(|(_, outcome)| outcome.verdict != Verdict::Passed)
        .map(|(vector, outcome)| format!("{}: expected {:?}, {outcome:?}", vector.id, vector.expected))
        .collect();
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    assert!(vectors.len() > 400, "the file was read");
}

#[test]
fn what_is_missing_or_too_wide_is_named() {
    let attributes = json!({"vending_key": "abababababababab949494949494949401234567", "dkga": 4, "ea": 7, "kt": 2,
        "sgc": "123456", "ti": "01", "krn": 1, "base_date": 2014, "pan": "600727000000000009", "rnd": 1, "tid": 5});
    for (type_, fields, fault) in [
        ("set_tariff_rate", json!({}), "inputs.value: missing"),
        ("clear_credit", json!({}), "inputs.value: missing"),
        ("set_max_power_limit", json!({}), "inputs.value: missing"),
        ("extended", json!({"value": 65_536}), "inputs.value: "),
        ("test_display_1", json!({"control": 1, "mfr": 256}), "inputs.mfr: more than 8 bits"),
        ("test_display_2", json!({"control": 1 << 28, "mfr": 0}), "inputs.control: "),
        ("set_key_1", json!({"new_key": "1122334455667788", "new_krn": 16, "new_kt": 2}), "inputs.new_krn: "),
        ("set_key_3", json!({"new_sgc": 1 << 24}), "inputs.new_sgc: more than 24 bits"),
        ("set_key_4", json!({"new_sgc": 1, "new_key": "1122334455667788"}), "inputs.new_key: "),
        ("credit_gas", json!({"amount": "1", "sgc": "1234567"}), "inputs.sgc, ti, krn: "),
        ("credit_gas", json!({"amount": "1", "pan": "60072700000000000"}), "inputs.pan: not 18 digits"),
        ("credit_gas", json!({"amount": "-1"}), "inputs.amount: "),
        ("credit_gas", json!({"amount": "1.2x"}), "inputs.amount: "),
        ("credit_gas", json!({"amount": "1", "tid": null}), "inputs.datetime: missing"),
    ] {
        let mut inputs = attributes.clone();
        inputs.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let outcome = one(json!({"id": "x", "kind": "token", "type": type_, "inputs": inputs,
                                 "expected": {"token": "0"}}));
        let Verdict::Failed(Some(reason)) = outcome.verdict else { panic!("{type_}: {outcome:?}") };
        assert!(reason.contains(fault), "{type_}: {reason}, not {fault}");
    }
}

fn one(vector: Value) -> Outcome {
    let file = json!({"format": "sts-vectors-1", "vectors": [vector]}).to_string();
    run(&vectors::parse(&file).unwrap()[0], &SoftwareKeys)
}

#[test]
fn a_wrong_expectation_fails() {
    let vector = |digit: u8| {
        one(json!({"id": "x", "kind": "luhn", "inputs": {"digits": "1234567890"},
                   "expected": {"check_digit": digit}}))
    };
    assert_eq!(vector(3).verdict, Verdict::Passed);
    assert_eq!(vector(4).verdict, Verdict::Failed(None));
    assert_eq!(vector(4).actual.get("check_digit"), Some(&json!(3)));
}

#[test]
fn faults_name_vector_and_field() {
    let outcome = one(json!({"id": "broken", "kind": "token", "type": "credit_gas",
                             "inputs": {"ea": 8}, "expected": {"token": "0"}}));
    let Verdict::Failed(Some(reason)) = outcome.verdict else { panic!("{outcome:?}") };
    assert!(reason.starts_with("broken: inputs.ea:"), "{reason}");
    let outcome = one(json!({"kind": "token", "expected": {"token": "0"}}));
    assert_eq!(outcome.verdict, Verdict::Failed(Some("#1: inputs: missing, or no object".to_owned())));
}

#[test]
fn keys_that_are_given_or_of_dkga01_are_counted_apart() {
    let token = |key: Value| {
        let mut inputs = json!({"ea": 7, "rnd": 1, "tid": 5, "units": 7, "kt": 2, "sgc": "123456",
            "ti": "01", "krn": 1, "base_date": 1993, "pan": "600727000000000009"});
        inputs.as_object_mut().unwrap().extend(key.as_object().unwrap().clone());
        one(json!({"id": "x", "kind": "token", "type": "credit_gas", "inputs": inputs,
                   "expected": {"token": "0"}}))
    };
    let paths = [
        json!({"decoder_key": "0abc12def3456789"}),
        json!({"dkga": 1, "vending_key": "abababababababab"}),
        json!({"dkga": 2, "vending_key": "abababababababab"}),
    ]
    .map(|key| {
        let outcome = token(key);
        assert!(outcome.actual.contains_key("token"), "{outcome:?}");
        outcome.path
    });
    assert_eq!(paths, [Path::Software, Path::Software, Path::Module]);
}

/// EA09 has no published token: the block in the clear, DES of it, and the digits are tied together
/// here.
#[test]
fn ea09_round_trip_through_the_runner() {
    let key = "133457799bbcdff1";
    let outcome = one(json!({"id": "x", "kind": "token", "type": "currency_water",
        "inputs": {"ea": 9, "decoder_key": key, "tid": 4711, "amount": "-12.345"},
        "expected": {"token": "0"}}));
    let token = outcome.actual.get("token").unwrap();
    let decoded = one(json!({"id": "x", "kind": "decode",
        "inputs": {"ea": 9, "decoder_key": key, "token": token},
        "expected": {"crc_ok": true, "type": "currency_water", "tid": 4711, "units": "-1234424"}}));
    assert_eq!(decoded.verdict, Verdict::Passed, "{decoded:?}");
}

proptest::proptest! {
    /// Whatever the fields hold, a vector has a verdict.
    #[test]
    fn no_vector_panics(
        kind in "token|keychange|derive|decode|block|blocks|pan|luhn|crc|behaviour|other",
        type_ in "credit_gas|currency_time|set_key_[1-4]|extended|test_display_2|clear_credit|keychange|x",
        fields in proptest::collection::btree_map(
            "ea|key|in|decrypt|iin|iain|kt|sgc|ti|krn|pan|digits|data|vending_key|decoder_key|dkga|tid|rnd|units|\
             amount|value|field|control|mfr|new_key|new_sgc|new_krn|new_kt|new_ti|datetime|base_date|token|ken",
            "[0-9]{1,20}|[0-9a-f]{16}|-?[0-9]{1,3}|2014|1993|2|7|11|60072700000000000[0-9]|.{0,3}",
            0..32,
        ),
    ) {
        let outcome = one(json!({"id": "x", "kind": kind, "type": type_, "inputs": fields, "new": fields,
                                 "expected": {"token": "0"}}));
        proptest::prop_assert_ne!(outcome.verdict, Verdict::Passed);
    }
}

#[test]
fn what_is_no_file_of_vectors() {
    assert!(matches!(vectors::parse("{"), Err(vectors::FileError::Json(_))));
    assert!(matches!(vectors::parse("{\"format\": \"other\"}"), Err(vectors::FileError::Format)));
    assert!(matches!(vectors::parse("{\"format\": \"sts-vectors-1\"}"), Err(vectors::FileError::Vectors)));
}
