//! Issuing and verifying over keys and a ledger in memory, up to a meter that takes the tokens.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::*;
use crate::{
    access::{
        client::{NewClient, NewCredential, Proof},
        limits::Limits,
        rights::Rights,
    },
    audit::Actor,
    clock::SetClock,
    configuration::{Begun, ImportedFields, KeyState, NewConfiguration, TokenKey},
    hsm::{HsmError, KeyId, KeyKind, VendingKeyMaterial, VendingKeys as _, software::SoftwareHsm},
    id::{ClientId, ConfigurationId, PublicKeyId},
    settings::VendingSettings,
    store::{Outcome, SoftwareSealer, memory::Memory},
    sts::{
        amount::UnitAmount,
        attributes::Attributes,
        derivation::Derivation,
        meter::MeterPan,
        software::derive,
        tid::Tid,
        token::{Payload, Service},
        virtual_meter::{Answer, VirtualMeter},
    },
};

/// 2026-11-21T12:00:00Z, in milliseconds.
const NOW_MS: i64 = 1_795_262_400_000;
const KEY: &[u8; 20] = b"twenty bytes of key!";
const METER: &str = "600727000000000009";
const QUEUE: usize = 2;

/// A till, a configuration that issues, and a meter under its key.
struct Scene {
    hsm: Arc<SoftwareHsm>,
    vending: Vending,
    caller: Caller,
    configuration: ConfigurationId,
    meter: VirtualMeter,
}

impl Scene {
    async fn new() -> Self {
        let store: Arc<dyn Store> =
            Arc::new(Memory::default().open(Arc::new(SoftwareSealer([1; 32]))).unwrap());
        let hsm = Arc::new(SoftwareHsm::new(QUEUE));
        let clock = SetClock::at(NOW_MS, 1_000_000);
        let settings = VendingSettings {
            horizon_minutes: 1_440,
            allow_dkga02: true,
            allow_unverified_algorithms: false,
            request_retention_days: 90,
            uploads_per_minute: 10,
            legacy_uploads: true,
            destroy_delay: Duration::ZERO,
        };
        let guard = Arc::new(IssueGuard::new(clock.clone(), None, None));
        let vending = Vending::new(hsm.clone(), store.clone(), clock, guard, settings);
        let configuration = imported(store.as_ref(), hsm.as_ref()).await;
        let attributes = Attributes::example();
        let pan: MeterPan = METER.parse().unwrap();
        let key = derive(&Derivation::new(&attributes, &pan).unwrap(), KEY).unwrap();
        let meter = VirtualMeter::new(pan, &attributes, key.borrow(), Tid::new(1).unwrap()).unwrap();
        Self { caller: till(store.as_ref()).await, hsm, vending, configuration, meter }
    }

    /// 2.5 kWh for the meter.
    fn order(&self) -> IssueOrder {
        let amount = UnitAmount::from_units(25).unwrap();
        IssueOrder {
            configuration: self.configuration,
            meter: MeterNumber::Pan(METER.parse().unwrap()),
            request_id: Uuid::now_v7(),
            token_time: None,
            asked: Asked { payload: Payload::Credit { service: Service::Electricity, amount }, exact: 25 },
            deadline: None,
        }
    }

    async fn rows(&self) -> usize {
        let filter = crate::ledger::TokenFilter::default();
        self.vending
            .store()
            .list_issued_tokens(filter, crate::ledger::Cursor::default(), 100)
            .await
            .unwrap()
            .rows
            .len()
    }
}

/// A client that vends, as the caller behind its credential.
async fn till(store: &dyn Store) -> Caller {
    let key_id: crate::access::KeyId = "0123456789abcdef".parse().unwrap();
    let id = ClientId::generate();
    let new = NewClient {
        id,
        display_name: "till".to_owned(),
        rights: Rights::till(),
        limits: Limits::default(),
        actor: Actor::Local,
        now_ms: NOW_MS,
    };
    let client = store.create_client(new).await.unwrap();
    let credential = NewCredential {
        key_id: key_id.to_string(),
        client: id,
        proof: Proof::Secret([7; 32]),
        expires_ms: None,
        actor: Actor::Local,
        now_ms: NOW_MS,
    };
    store.create_credential(credential).await.unwrap();
    Caller::new(&client, key_id)
}

/// A configuration whose key lies in the HSM.
async fn imported(store: &dyn Store, hsm: &SoftwareHsm) -> ConfigurationId {
    let new = NewConfiguration {
        id: ConfigurationId::generate(),
        fingerprint: [1; 32],
        nonce: None,
        display_name: "test".to_owned(),
        attributes: Attributes::example(),
        key_length: 20,
        unservable: Vec::new(),
        warnings: Vec::new(),
        signer: PublicKeyId::generate(),
        uploaded_by: ClientId::generate(),
        actor: Actor::Local,
        now_ms: NOW_MS,
    };
    let Begun::Started(row) = store.begin_import(new).await.unwrap() else { panic!("not new") };
    let key = VendingKeyMaterial::from_slice(KeyKind::Hmac, KEY).unwrap().unwrap();
    let imported = hsm.import_vending_key(KeyId(row.id.to_bytes()), key).await.unwrap();
    let key =
        TokenKey { token: Some(imported.key.token), kcv: imported.kcv, mask: None, state: KeyState::Held };
    let fields = ImportedFields { key: Some(key), state: FinishedState::Enabled };
    store.finish_import(row.id, fields, Actor::Local, NOW_MS).await.unwrap().id
}

#[tokio::test]
async fn a_meter_takes_what_is_issued_once_and_a_retry_gets_the_same_digits() {
    let mut scene = Scene::new().await;
    let order = scene.order();
    let issued = scene.vending.issue(&scene.caller, order.clone()).await.unwrap();
    let again = scene.vending.issue(&scene.caller, order).await.unwrap();
    assert_eq!((issued.replay, again.replay), (false, true));
    assert_eq!(issued.token.to_string(), again.token.to_string());
    assert_eq!(scene.rows().await, 1);
    let now = NOW_MS / 1_000;
    assert!(matches!(scene.meter.enter(&issued.token, now), Answer::Accepted(_)));
    assert!(matches!(scene.meter.enter(&again.token, now), Answer::Rejected(_)), "it was used");
    assert_eq!(scene.meter.credit(Service::Electricity), 25);
    let look = VerifyOrder {
        token: Ok(issued.token),
        configuration: scene.configuration,
        meter: MeterNumber::Pan(METER.parse().unwrap()),
        examine_foreign: false,
    };
    assert_eq!(scene.vending.verify(&scene.caller, look).await.unwrap().verdict, Verdict::Valid);
}

#[tokio::test]
async fn an_hsm_lost_behind_the_commit_leaves_the_row_and_the_retry_gets_its_token() {
    let mut scene = Scene::new().await;
    let order = scene.order();
    scene.hsm.lose(true);
    let lost = scene.vending.issue(&scene.caller, order.clone()).await.unwrap_err();
    let IssueError::Unsettled(cause) = lost else { panic!("the ledger has it: {lost:?}") };
    assert!(matches!(*cause, IssueError::Hsm { error: HsmError::Unavailable(_), .. }), "{cause:?}");
    assert_eq!(scene.rows().await, 1);
    scene.hsm.lose(false);
    let issued = scene.vending.issue(&scene.caller, order).await.unwrap();
    assert!(issued.replay);
    assert_eq!(scene.rows().await, 1);
    assert!(matches!(scene.meter.enter(&issued.token, NOW_MS / 1_000), Answer::Accepted(_)));
}

#[tokio::test]
async fn a_full_queue_of_the_hsm_refuses_before_anything_is_recorded() {
    let scene = Scene::new().await;
    let taken: Vec<_> = (0..QUEUE).map(|_| scene.hsm.try_reserve().unwrap()).collect();
    let busy = scene.vending.issue(&scene.caller, scene.order()).await.unwrap_err();
    assert!(
        matches!(busy, IssueError::Hsm { error: HsmError::Busy(_), outcome: Outcome::NotDone }),
        "{busy:?}"
    );
    assert_eq!(scene.rows().await, 0);
    drop(taken);
    scene.vending.issue(&scene.caller, scene.order()).await.unwrap();
    assert_eq!(scene.rows().await, 1);
}
