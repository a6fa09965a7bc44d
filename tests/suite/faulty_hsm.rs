//! An HSM whose calls fail: whatever fails and however, nobody gets a wrong token, callers are told to
//! come again, and the server heals by itself.

use tonic::{Code, Status};
use vendkey::api::v1::{Configuration, IssueTokenRequest};

use crate::harness::{Api, DKGA02, DKGA04, Faults, Health, Home, Server, reason, ten_kwh};

/// A server with a key of each derivation, and a token of each that was answered before.
struct Bench {
    faults: Faults,
    api: Api,
    known: Vec<(IssueTokenRequest, String)>,
    configurations: Vec<Configuration>,
    /// Dropped before its home.
    server: Server,
    home: Home,
}

impl Bench {
    async fn new() -> Self {
        let home = Home::new();
        let (server, faults) = Faults::server(&home, &[]);
        let mut api = server.api(&home).await;
        let configurations = vec![api.configuration(DKGA04).await, api.configuration(DKGA02).await];
        let mut known = Vec::new();
        for configuration in &configurations {
            let request = ten_kwh(configuration);
            known.push((request.clone(), api.issue(request).await.unwrap().token));
        }
        Self { faults, api, known, configurations, server, home }
    }

    /// Asks for a new token of each derivation and for the old ones again, while the fault is there
    /// and after it, and answers the refusals meanwhile. Every token that anybody gets is right.
    async fn meanwhile(&mut self, fault: &str) -> Vec<Status> {
        self.faults.are(fault);
        let mut refusals = Vec::new();
        let mut new = Vec::new();
        for index in 0..self.configurations.len() {
            let request = ten_kwh(&self.configurations[index]);
            match self.api.issue(request.clone()).await {
                Ok(issued) => new.push((request, Some(issued.token))),
                Err(status) => {
                    refusals.push(status);
                    new.push((request, None));
                }
            }
            let (request, token) = self.known[index].clone();
            match self.api.issue(request).await {
                Ok(issued) => assert_eq!(issued.token, token, "a wrong token: {fault}"),
                Err(status) => refusals.push(status),
            }
        }
        self.faults.end();
        for (request, token) in new {
            let again = self.issued(request, fault).await;
            assert!(token.is_none_or(|token| token == again), "another token than before: {fault}");
        }
        for (request, token) in self.known.clone() {
            assert_eq!(self.issued(request, fault).await, token, "a wrong token: {fault}");
        }
        refusals
    }

    /// Repeats as a client does that is told to come again.
    async fn issued(&mut self, request: IssueTokenRequest, fault: &str) -> String {
        for _ in 0..300 {
            match self.api.issue(request.clone()).await {
                Ok(issued) => return issued.token,
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{fault}: {status:?}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("not healed after {fault}:\n{}", self.home.log());
    }
}

/// The calls on the way of a token and of healing.
const CALLS: [&str; 9] = [
    "C_Sign",
    "C_SignInit",
    "C_Encrypt",
    "C_DecryptInit",
    "C_Decrypt",
    "C_GetSessionInfo",
    "C_OpenSession",
    "C_FindObjects",
    "*",
];

/// CKR_DEVICE_ERROR, CKR_TOKEN_NOT_PRESENT, CKR_GENERAL_ERROR, CKR_HOST_MEMORY,
/// CKR_SESSION_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID, CKR_USER_NOT_LOGGED_IN.
const CODES: [u32; 7] = [0x30, 0xE0, 0x05, 0x02, 0xB3, 0x60, 0x101];

#[tokio::test]
async fn every_call_fails_in_every_way() {
    let mut bench = Bench::new().await;
    for call in CALLS {
        for code in CODES {
            for status in bench.meanwhile(&format!("{call} answer {code}\n")).await {
                let told = (status.code(), reason(&status));
                assert_eq!(told, (Code::Unavailable, "HSM_UNAVAILABLE".to_owned()), "{call} {code:#x}");
            }
        }
    }
}

#[tokio::test]
async fn wrong_bytes_become_no_token() {
    let mut bench = Bench::new().await;
    // Half of what is decrypted must equal the other half.
    for status in bench.meanwhile("C_Decrypt spoil\n").await {
        assert_eq!(reason(&status), "KEY_MISSING", "{status:?}");
    }
    // The monitor asks for the same MAC again and again, and stops what goes on with another one.
    let mut health = Health::of(&bench.server).await;
    health.serving().await;
    bench.faults.are("C_Sign spoil\n");
    health.not_serving().await;
    for configuration in bench.configurations.clone() {
        let status = bench.api.issue(ten_kwh(&configuration)).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "HSM_UNAVAILABLE"));
    }
    bench.faults.end();
    health.serving().await;
    assert!(bench.meanwhile("").await.is_empty());
}

#[tokio::test]
async fn an_object_that_is_another_key_gives_no_token() {
    let mut bench = Bench::new().await;
    // The handles are found anew while the module makes nonsense of every key.
    for (fault, (request, token)) in ["C_Sign", "C_Encrypt"].into_iter().zip(bench.known.clone()) {
        bench.faults.are(&format!("{fault} answer 96\n"));
        assert_eq!(bench.api.issue(request.clone()).await.unwrap_err().code(), Code::Unavailable);
        bench.faults.are(&format!("{fault} spoil\n"));
        for _ in 0..10 {
            assert!(bench.api.issue(request.clone()).await.is_err(), "{fault}: a token by another key");
        }
        bench.faults.end();
        let mut health = Health::of(&bench.server).await;
        health.serving().await;
        assert_eq!(bench.api.issue(request).await.unwrap().token, token);
    }
}

#[tokio::test]
async fn a_call_that_hangs_is_given_up_and_heals() {
    let mut bench = Bench::new().await;
    let mut health = Health::of(&bench.server).await;
    health.serving().await;
    bench.faults.are("C_Sign hang\n");
    let request = bench.known[0].0.clone();
    let status = bench.api.issue(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    health.not_serving().await;
    bench.faults.end();
    health.serving().await;
    assert!(bench.meanwhile("").await.is_empty());
}
