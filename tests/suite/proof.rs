//! The proof: a vending key is nowhere but in the HSM. What `make custody` runs, with more tokens.
//!
//! Keys that nobody has seen before are brought in by both formats, tokens are issued, and then
//! everything that the server has, wrote or said is searched for the keys, for what they travelled
//! under, and for decoder keys of meters. Each search also looks for something that is there.

use std::{collections::BTreeSet, fs};

use uuid::Uuid;
use vendkey::{
    api::v1::{
        BatchIssueTokensRequest, Configuration, GetServerKeyRequest, ImportSealedConfigurationRequest,
        IssueTokenRequest, ListEventsRequest, ListIssuedTokensRequest, SealingKey, token_result,
    },
    envelope,
    sts::{derivation::Derivation, meter::MeterPan, software::derive},
};

use crate::busy::{held_at, reached};
use crate::harness::{
    Administrator, Api, Blobs, DKGA02, DKGA04, Faults, Home, Region, RemoteHsm, Sealer, Secrets, Server,
    base64, memory, openssl, ten_kwh,
};

/// How many tokens are issued under each key.
fn tokens() -> u64 {
    let all =
        std::env::var("VENDKEY_CUSTODY_TOKENS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000);
    all / 4
}

fn random(bytes: usize) -> Vec<u8> {
    openssl(&["rand", &bytes.to_string()], b"")
}

/// A configuration with a key of its own.
struct Key {
    name: &'static str,
    bytes: Vec<u8>,
    yaml: String,
    sealed: bool,
    /// What a legacy upload is encrypted under.
    transport: Vec<u8>,
}

impl Key {
    fn new(name: &'static str, yaml: &str, sealed: bool, krn: u8) -> Self {
        let old =
            if yaml == DKGA04 { "abababababababab949494949494949401234567" } else { "0123456789abcdef" };
        let bytes = random(old.len() / 2);
        let yaml = yaml
            .replace(old, &hex::encode(&bytes))
            .replace("key_revision_no: 1", &format!("key_revision_no: {krn}"));
        Self { name, bytes, yaml, sealed, transport: random(16) }
    }

    fn all() -> [Self; 4] {
        [
            Self::new("legacy DKGA02", DKGA02, false, 1),
            Self::new("legacy DKGA04", DKGA04, false, 2),
            Self::new("sealed DKGA02", DKGA02, true, 3),
            Self::new("sealed DKGA04", DKGA04, true, 4),
        ]
    }

    /// The decoder key of a meter, by software.
    fn decoder_key(&self, meter: &str) -> Vec<u8> {
        let attributes = envelope::read(self.yaml.clone().into_bytes(), 0).unwrap().draft.attributes;
        let meter = MeterPan::parse(meter, attributes.iin).unwrap();
        let derivation = Derivation::new(&attributes, &meter).unwrap();
        derive(&derivation, &self.bytes).unwrap().borrow().as_bytes().to_vec()
    }
}

/// The meter number of this number, with its check digit.
fn meter(number: u64) -> String {
    let digits = format!("{number:010}");
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place, u32::from(digit - b'0')) {
            (place, digit) if place % 2 == 0 => digit * 2 / 10 + digit * 2 % 10,
            (_, digit) => digit,
        })
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

async fn sealing_key(api: &mut Api) -> SealingKey {
    let key = api.configurations.get_server_key(GetServerKeyRequest {}).await.unwrap().into_inner();
    key.sealing.unwrap()
}

/// A legacy upload under a transport key of its own.
fn legacy(administrator: &Administrator, yaml: &str, transport: &[u8]) -> Blobs {
    let iv = random(16);
    let (key_hex, iv_hex) = (hex::encode(transport), hex::encode(&iv));
    let encrypted = openssl(&["enc", "-aes-128-cbc", "-K", &key_hex, "-iv", &iv_hex], yaml.as_bytes());
    Blobs {
        data: base64(&[iv, encrypted].concat()),
        digest: administrator.digest(yaml.as_bytes()),
        key: administrator.key(transport),
    }
}

async fn bring(
    api: &mut Api,
    administrator: &Administrator,
    sealer: &Sealer<'_>,
    key: &Key,
) -> Configuration {
    if key.sealed {
        let request =
            ImportSealedConfigurationRequest { document: sealer.seal(&key.yaml), validate_only: false };
        let imported = api.configurations.import_sealed_configuration(request).await.unwrap();
        imported.into_inner().configuration.unwrap()
    } else {
        api.upload(&legacy(administrator, &key.yaml, &key.transport)).await.unwrap().configuration.unwrap()
    }
}

/// A server's memory; None where only root may look, because the process cannot be dumped.
fn looked_into(server: &Server) -> Option<Vec<Region>> {
    let regions = memory(server.id());
    assert_eq!(regions.is_some(), rustix::process::geteuid().is_root());
    regions
}

fn places(secrets: &Secrets, region: &Region) -> Vec<String> {
    let found = secrets.in_bytes(&region.bytes);
    found.iter().map(|(place, form)| format!("{form} in {} at {place}", region.name)).collect()
}

#[tokio::test]
async fn no_memory_file_or_answer_of_the_server_holds_a_key() {
    // The HSM is another process, so that all of the server's own may be searched.
    let home = Home::on("softhsm");
    let hsm = RemoteHsm::of(&home);
    let mut server = hsm.server(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let sealer = Sealer::new(&administrator, sealing_key(&mut api).await);
    let keys = Key::all();
    // Something of each kind that must be found: a name, which is everywhere, and an id in its raw form.
    let planted = random(20);
    let planted_id = Uuid::now_v7();
    let mut said = String::new();
    let mut decoder_keys = Vec::new();
    let mut repeated = Vec::new();
    for key in &keys {
        let yaml = key.yaml.replace("name: ", &format!("name: {} ", hex::encode(&planted)));
        let key = Key { yaml, bytes: key.bytes.clone(), transport: key.transport.clone(), ..*key };
        let configuration = bring(&mut api, &administrator, &sealer, &key).await;
        said += &format!("{configuration:?}\n");
        for first in (0..tokens()).step_by(500) {
            let request = |number| IssueTokenRequest { meter: meter(number), ..ten_kwh(&configuration) };
            let mut requests: Vec<_> = (first..tokens().min(first + 500)).map(request).collect();
            if first == 0 && key.name == "sealed DKGA04" {
                requests[0].request_id = planted_id.to_string();
            }
            repeated.push(requests[0].clone());
            let batch = BatchIssueTokensRequest { requests };
            let results = api.tokens.batch_issue_tokens(batch).await.unwrap().into_inner().results;
            let issued = |result: &Option<token_result::Result>| {
                matches!(result, Some(token_result::Result::Token(_)))
            };
            assert!(results.iter().all(|result| issued(&result.result)), "{results:?}");
            said += &format!("{results:?}\n");
        }
        decoder_keys.extend((0..20).map(|number| key.decoder_key(&meter(number))));
    }
    let masks = sealer.masks.borrow().clone();
    let mut hidden: Vec<(&str, &[u8])> = keys.iter().map(|key| (key.name, key.bytes.as_slice())).collect();
    hidden.extend(keys.iter().map(|key| ("transport key", key.transport.as_slice())));
    hidden.extend(masks.iter().map(|mask| ("mask key", mask.as_slice())));
    hidden.extend(decoder_keys.iter().map(|key| ("decoder key", key.as_slice())));
    let hidden = Secrets::new(hidden);
    let there = Secrets::new([("planted", planted.as_slice())]);
    let there_raw = Secrets::new([("planted", planted_id.as_bytes().as_slice())]);

    for restarted in [false, true] {
        if restarted {
            assert!(server.stop().success());
            server = hsm.server(&home);
            api = server.api(&home).await;
            for request in &repeated {
                let again = api.issue(request.clone()).await.unwrap();
                assert!(again.replay);
                said += &format!("{again:?}\n");
            }
        }
        for request in [ListIssuedTokensRequest { page_size: 1_000, ..Default::default() }] {
            said += &format!("{:?}\n", api.tokens.list_issued_tokens(request).await.unwrap());
        }
        let events = ListEventsRequest { page_size: 1_000, ..Default::default() };
        said += &format!("{:?}\n", api.audit.list_events(events).await.unwrap());
        if let Some(regions) = looked_into(&server) {
            let found: Vec<String> = regions.iter().flat_map(|region| places(&hidden, region)).collect();
            assert_eq!(found, [""; 0], "restarted: {restarted}");
            assert!(regions.iter().any(|region| !places(&there, region).is_empty()), "nothing is found");
        }
    }
    assert_eq!(hidden.in_bytes(said.as_bytes()), []);
    assert_ne!(there.in_bytes(said.as_bytes()), []);

    RemoteHsm::taken_out(&home);
    fs::create_dir(home.path("written")).unwrap();
    let (chain, rows) = (home.text("written/chain.jsonl"), home.text("written/ledger.csv"));
    for arguments in [
        vec!["backup", "--settings", &home.text("vendkey.toml"), "--out", &home.text("written/backup")],
        vec!["audit", "export", &chain, "--checkpoint", &home.text("written/checkpoint"), "--meters"],
        vec!["inventory", "--settings", &home.text("vendkey.toml")],
        vec!["ledger", "export", "--digits"],
        vec!["configuration", "list", "--json"],
    ] {
        let done = server.vendkey(&home, &arguments);
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        fs::write(&rows, [fs::read(&rows).unwrap_or_default(), done.stdout, done.stderr].concat()).unwrap();
    }
    assert!(server.stop().success());
    // The database, the log, what was written now, and the token's own files, which are encrypted.
    assert_eq!(hidden.in_files(&home.path("")), []);
    let found: BTreeSet<String> =
        there.in_files(&home.path("")).into_iter().map(|found| found.place).collect();
    for file in ["vendkey.db", "written/backup/vendkey.db", "written/ledger.csv"] {
        assert!(found.iter().any(|place| place.ends_with(file)), "{file} of {found:?}");
    }
    // No name is logged; but the log is among the files.
    assert!(home.log().contains("configuration imported") && home.path("log").is_file());
    assert!(there_raw.in_files(&home.path("")).iter().any(|found| found.place.ends_with("vendkey.db")));
}

/// How far a vending key is in memory while its import is under way, in either format.
#[tokio::test]
async fn during_an_import_a_legacy_key_is_in_locked_pages_alone_and_a_sealed_one_nowhere() {
    for key in Key::all() {
        let home = Home::new();
        let server = held_at(&home, "import-after-begin", &[]);
        let mut api = server.api(&home).await;
        let administrator = api.administrator().await;
        let sealer = Sealer::new(&administrator, sealing_key(&mut api).await);
        let import = async { bring(&mut api, &administrator, &sealer, &key).await };
        let look = async {
            let held = reached(&home).await;
            let regions = looked_into(&server);
            drop(held);
            regions
        };
        let (configuration, regions) = tokio::join!(import, look);
        assert!(!configuration.kcv.is_empty());
        let Some(regions) = regions else { return };
        let secrets = Secrets::new([(key.name, key.bytes.as_slice())]);
        let (guarded, open): (Vec<&Region>, Vec<&Region>) = regions.iter().partition(|region| region.guarded);
        let found = |regions: Vec<&Region>| {
            regions.into_iter().flat_map(|region| places(&secrets, region)).collect::<Vec<_>>()
        };
        assert_eq!(found(open), [""; 0], "{}", key.name);
        assert_eq!(found(guarded).is_empty(), key.sealed, "{}", key.name);
    }
}

/// One line of the trace: what went into a call, and what came out.
struct Call {
    name: String,
    given: Vec<u8>,
    answered: Vec<u8>,
}

fn trace(home: &Home) -> Vec<Call> {
    let text = fs::read_to_string(home.path("trace")).unwrap();
    let call = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let bytes = |word: &str| hex::decode(word.trim_start_matches(['<', '>'])).unwrap();
        Call { name: words[0].to_owned(), given: bytes(words[1]), answered: bytes(words[2]) }
    };
    text.lines().map(call).collect()
}

#[tokio::test]
async fn no_call_of_the_hsm_gives_a_sealed_key_or_takes_one() {
    let keys = Key::all();
    let home = Home::new();
    let trace_file = home.text("trace");
    let (server, _faults) = Faults::server(&home, &[("PKCS11_SHIM_TRACE", &trace_file)]);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let sealer = Sealer::new(&administrator, sealing_key(&mut api).await);
    for key in &keys {
        let configuration = bring(&mut api, &administrator, &sealer, key).await;
        api.issue(ten_kwh(&configuration)).await.unwrap();
    }
    assert!(server.stop().success());
    let calls = trace(&home);
    let names = |key: &Key, side: fn(&Call) -> &[u8]| -> BTreeSet<String> {
        let secrets = Secrets::new([(key.name, key.bytes.as_slice())]);
        let held = calls.iter().filter(|call| !secrets.in_bytes(side(call)).is_empty());
        held.map(|call| call.name.clone()).collect()
    };
    for key in &keys {
        let (given, answered) = (names(key, |call| &call.given), names(key, |call| &call.answered));
        let (takes, gives): (&[&str], &[&str]) = match key.name {
            // The text that the upload is, and its key on the way into its object and under its mask.
            "legacy DKGA02" => (&["C_CreateObject", "C_Encrypt"], &["C_Decrypt"]),
            "legacy DKGA04" => (&["C_CreateObject"], &["C_Decrypt"]),
            _ => (&[], &[]),
        };
        assert_eq!(given, takes.iter().map(ToString::to_string).collect(), "{}", key.name);
        assert_eq!(answered, gives.iter().map(ToString::to_string).collect(), "{}", key.name);
        // The trace shows what comes out: the decoder key of a token does.
        let decoder_key = key.decoder_key(crate::harness::DRN);
        let secrets = Secrets::new([("decoder key", decoder_key.as_slice())]);
        assert!(calls.iter().any(|call| !secrets.in_bytes(&call.answered).is_empty()), "{}", key.name);
    }
}
