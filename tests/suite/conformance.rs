//! `vendkey conformance`: published vectors through SoftHSM, by the program.

use std::{fs, process::Output};

use serde_json::{Value, json};

use crate::harness::Home;

const PUBLISHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/sts-vectors.json");

fn conformance(home: &Home, arguments: &[&str]) -> Output {
    let settings = home.text("vendkey.toml");
    home.vendkey(&[&["conformance", "--settings", &settings], arguments].concat())
}

fn said(output: &Output) -> (String, String) {
    (String::from_utf8(output.stdout.clone()).unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

#[test]
fn every_published_vector_passes_through_the_hsm() {
    let home = Home::new();
    let (html, json, csv) = (home.text("report.html"), home.text("report.json"), home.text("report.csv"));
    let output = conformance(
        &home,
        &["--vectors", PUBLISHED, PUBLISHED, "--report", &html, "--report", &json, "--report", &csv],
    );
    let (out, err) = said(&output);
    assert!(output.status.success(), "{out}{err}");
    let published: Value = serde_json::from_slice(&fs::read(PUBLISHED).unwrap()).unwrap();
    let vectors = 2 * published["vectors"].as_array().unwrap().len();
    assert_eq!(out.lines().last(), Some(format!("{vectors} passed, 0 failed, 0 skipped").as_str()));
    assert!(err.is_empty(), "no progress bar where nobody looks: {err}");

    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let total = &report["total"];
    assert_eq!(total["passed"], vectors);
    // Of the types that derive keys, only those that give a decoder key are done in software.
    let count = |keys: &str| {
        let all = report["vectors"].as_array().unwrap();
        all.iter().filter(|vector| vector["keys"] == keys).count()
    };
    assert_eq!([&total["passed_hsm"], &total["passed_software"]], [&count("HSM"), &count("software")]);
    assert!(count("HSM") > 500, "{total}");
    assert_eq!(report["files"][0]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(report["token"]["label"], "vendkey");
    assert_eq!(fs::read_to_string(&csv).unwrap().lines().count(), vectors + 1);
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains(&format!("{vectors} passed, 0 failed, 0 skipped")) && page.contains("SoftHSM"));

    // The session objects are gone with the process.
    assert_eq!(crate::harness::key_objects(&home), 2, "the row-seal key and the fingerprint key alone");
}

#[test]
fn a_wrong_digit_is_named_and_exits_1() {
    let home = Home::new();
    let mut file: Value = serde_json::from_slice(&fs::read(PUBLISHED).unwrap()).unwrap();
    let vectors = file["vectors"].as_array_mut().unwrap();
    let vector = vectors
        .iter_mut()
        .find(|vector| vector["type"] == "credit_water" && vector["inputs"]["dkga"] == 4)
        .unwrap();
    let id = vector["id"].as_str().unwrap().to_owned();
    let right = vector["expected"]["token"].as_str().unwrap().to_owned();
    let last = if right.ends_with('0') { '1' } else { '0' };
    let wrong = format!("{}{last}", &right[..19]);
    vector["expected"]["token"] = json!(wrong);
    let path = home.text("wrong.json");
    fs::write(&path, file.to_string()).unwrap();
    let output = conformance(&home, &["--vectors", &path]);
    let (out, err) = said(&output);
    assert_eq!(output.status.code(), Some(1));
    for part in [&format!("wrong.json: {id} (token credit_water)"), &wrong, &right] {
        assert!(out.contains(part.as_str()), "{part} is not in {out}");
    }
    assert!(out.trim_end().ends_with("342 passed, 1 failed, 0 skipped"), "{out}");
    assert!(err.contains("not as published: 1"), "{err}");
}

/// The runner works below policy, and below what vectors exist for: key types 0 to 3, every DKGA,
/// EA09.
#[test]
fn what_no_service_would_issue_is_computed_as_in_software() {
    use vendkey::conformance::{SoftwareKeys, run::run, vectors};
    let home = Home::new();
    let mut made = Vec::new();
    for (dkga, key, eas) in [
        (1, "0123456789abcdef", &[7][..]),
        (2, "0abc12def3456789", &[7, 9]),
        (3, "0123456789abcdeffedcba9876543210", &[7, 9]),
        (4, "abababababababab949494949494949401234567", &[7, 11]),
    ] {
        for (ea, kt) in eas.iter().flat_map(|ea| [0, 1, 2, 3].map(|kt| (*ea, kt))) {
            made.push(json!({"id": format!("DKGA0{dkga} EA{ea} KT{kt}"), "kind": "token", "type": "credit_gas",
                "inputs": {"vending_key": key, "dkga": dkga, "ea": ea, "kt": kt, "sgc": "123456", "ti": "07", "krn": 1,
                    "base_date": 2035, "pan": "600727000000000009", "rnd": 3, "tid": 70000, "amount": "12.3"},
                "expected": {"token": "00000000000000000000"}}));
        }
    }
    // First what software says, then that the HSM says the same.
    let file = |vectors: &[Value]| json!({"format": "sts-vectors-1", "vectors": vectors}).to_string();
    for (vector, parsed) in made.clone().iter().zip(vectors::parse(&file(&made)).unwrap()) {
        let token = run(&parsed, &SoftwareKeys).actual["token"].clone();
        let index = made.iter().position(|made| made["id"] == vector["id"]).unwrap();
        made[index]["expected"]["token"] = token;
    }
    let path = home.text("made.json");
    fs::write(&path, file(&made)).unwrap();
    let output = conformance(&home, &["--vectors", &path]);
    let (out, err) = said(&output);
    assert!(output.status.success(), "{out}{err}");
    assert!(
        out.contains("of those that passed: 24 with keys derived in the HSM, 4 in software, 0 without a key"),
        "{out}"
    );
}

/// Fields and attributes at and past their limits, and the algorithms without published figures,
/// against the arithmetic of a program of its own (`tests/vectors/below-policy.json`).
#[test]
fn what_the_published_vectors_leave_out_passes_through_the_hsm() {
    let home = Home::new();
    let report = home.text("report.json");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/below-policy.json");
    let output = conformance(&home, &["--vectors", file, "--report", &report]);
    let (out, err) = said(&output);
    assert!(output.status.success(), "{out}{err}");
    assert!(out.trim_end().ends_with("passed, 0 failed, 0 skipped"), "{out}");
    let report: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    let keys_of = |id: &str| {
        let vectors = report["vectors"].as_array().unwrap();
        vectors.iter().find(|vector| vector["id"] == id).unwrap()["keys"].clone()
    };
    for (id, keys) in [
        ("policy/dkga2-ea9-kt2", "HSM"),
        ("policy/dkga3-ea7-kt2", "HSM"),
        ("policy/dkga4-ea11-kt3", "HSM"),
        ("policy/dkga1-ea7-kt2", "software"),
        ("attributes/krn-0-dkga2-ea7-kt2", "HSM"),
        ("attributes/drn-digit-dkga4-ea7-kt3", "HSM"),
        ("change/triplet", "HSM"),
        ("change/krn-0", "HSM"),
        ("change/given-both", "software"),
        ("change/given-new", "software"),
        ("decode/derived", "HSM"),
        ("decode/credit_gas-21845", "software"),
    ] {
        assert_eq!(keys_of(id), keys, "{id}");
    }
}

#[test]
fn files_that_are_none_are_named_with_the_reason() {
    let home = Home::new();
    let cases = [
        ("{", "not JSON", 65),
        ("{\"format\": \"other\"}", "not \"sts-vectors-1\"", 65),
        ("{\"format\": \"sts-vectors-1\"}", "no list \"vectors\"", 65),
        ("{\"format\": \"sts-vectors-1\", \"vectors\": []}", "no vector", 65),
        // A vector that cannot be read is a failed vector, with the field that is wrong.
        (
            "{\"format\": \"sts-vectors-1\", \"vectors\": [{\"id\": \"x\", \"kind\": \"crc\", \"inputs\": {}, \
          \"expected\": {\"crc\": \"0000\"}}]}",
            "inputs.data: missing",
            1,
        ),
    ];
    for (content, reason, exit) in cases {
        let path = home.text("bad.json");
        fs::write(&path, content).unwrap();
        let output = conformance(&home, &["--vectors", &path]);
        let (out, err) = said(&output);
        assert_eq!(output.status.code(), Some(exit), "{out}{err}");
        let told = if exit == 1 { &out } else { &err };
        assert!(told.contains(reason) && told.contains("bad.json"), "{out}{err}");
    }
    let missing = conformance(&home, &["--vectors", &home.text("none.json")]);
    assert!(said(&missing).1.contains("none.json"));
    let no_form = conformance(&home, &["--vectors", PUBLISHED, "--report", "report.doc"]);
    assert_eq!(no_form.status.code(), Some(64));
    assert!(said(&no_form).1.contains("report.doc"));
}

/// A token without the server's own keys is enough.
#[test]
fn a_token_that_is_not_set_up_is_enough() {
    let home = Home::new();
    let made = std::process::Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/softhsm/make-token.sh"))
        .args([&home.text("bare"), "vendkey"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let output = home
        .command(&["conformance", "--settings", &home.text("vendkey.toml"), "--vectors", PUBLISHED])
        .env("SOFTHSM2_CONF", home.path("bare/softhsm2.conf"))
        .env("VENDKEY_HSM__PIN_FILE", home.path("bare/pin"))
        .output()
        .unwrap();
    let (out, err) = said(&output);
    assert!(output.status.success(), "{out}{err}");
    assert!(out.ends_with("343 passed, 0 failed, 0 skipped\n"), "{out}");
}
