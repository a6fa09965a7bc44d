use super::*;
use crate::access::client::{Credential, Proof};
use crate::access::limits::Limits;
use crate::access::rights::Rights;
use crate::audit::{ChainId, ChainNumber, Head, SaltSource};
use crate::sts::amount::UnitAmount;
use crate::sts::attributes::KeyExpiry;
use crate::sts::tid::{TidRefusal, TidWindow};
use crate::sts::token::{Display, DisplayForm, Payload, Rnd, Service};

const NOW_MS: i64 = 1_767_225_600_000;
const CLIENT: ClientId = ClientId::from_bytes([1; 16]);
const CONFIGURATION: ConfigurationId = ConfigurationId::from_bytes([2; 16]);
const TARGET: ConfigurationId = ConfigurationId::from_bytes([3; 16]);

fn tid(minute: u32) -> Tid {
    Tid::new(minute).unwrap()
}

fn meter() -> MeterPan {
    MeterPan::parse("11111111115", "600727".parse().unwrap()).unwrap()
}

fn holder(limits: Limits) -> CredentialHolder {
    let client = Client {
        id: CLIENT,
        display_name: "a till".into(),
        rights: Rights::till(),
        limits,
        enabled: true,
        version: 1,
        created_ms: 0,
        updated_ms: 0,
    };
    let credential = Credential {
        key_id: "till-1".into(),
        client: CLIENT,
        proof: Proof::Certificate,
        enabled: true,
        expires_ms: None,
        created_ms: 0,
    };
    CredentialHolder { credential, client }
}

fn batch() -> Batch {
    let head = Head { chain: ChainId([1; 16]), position: 10, hash: Hash([2; 32]) };
    let end = ChainEnd { number: ChainNumber::FIRST, head, salts: SaltSource([3; 32]), at_ms: 0 };
    Batch::new(end, Floors::default(), 5, HashMap::new(), 4)
}

fn window(minute: u32) -> TidWindow {
    TidWindow { earliest: tid(minute), ken: KeyExpiry(255), horizon: tid(minute + 1_440) }
}

fn credit(request: u8, minute: u32) -> NewToken {
    NewToken {
        client: CLIENT,
        credential: "till-1".into(),
        request_id: Uuid::from_bytes([request; 16]),
        request_hash: [request; 32],
        now_ms: NOW_MS,
        content: Content::Sequenced {
            configuration: CONFIGURATION,
            meter: meter(),
            base_date: BaseDate::Y2014,
            window: window(minute),
            payload: Payload::Credit { service: Service::Electricity, amount: UnitAmount::from_code(25) },
            rnd: Rnd::from_random(5),
        },
        requests_from_ms: 0,
        deadline: None,
    }
}

fn key_change(request: u8) -> NewToken {
    let content = Content::KeyChange {
        configuration: CONFIGURATION,
        meter: meter(),
        target: TARGET,
        roll_over: false,
        transfer_sgc: true,
    };
    NewToken { content, ..credit(request, 0) }
}

/// All that is needed for a token.
fn facts(holder: &CredentialHolder) -> Facts<'_> {
    Facts {
        holder: Some(holder),
        earlier: None,
        configuration: Some(ConfigurationState::Enabled),
        target: Some(ConfigurationState::Enabled),
        key_change_allowed: true,
        last_tid: None,
    }
}

fn tids(batch: &Batch) -> Vec<u32> {
    let of_row = |issued: &Issued| match &issued.row.content {
        RowContent::Sequenced { tid, .. } => Some(tid.value()),
        _ => None,
    };
    batch.rows().iter().filter_map(of_row).collect()
}

#[test]
fn tids_follow_one_another_and_what_was_loaded() {
    let holder = holder(Limits::default());
    let mut batch = batch();
    for request in 1..4 {
        let facts = Facts { last_tid: Some(tid(1_438)), ..facts(&holder) };
        assert_eq!(batch.decide(&credit(request, 7), facts), Ok(Decision::New(usize::from(request) - 1)));
    }
    // 1441 would be the reserved minute 00:01.
    assert_eq!(tids(&batch), [1_439, 1_440, 1_442]);
    let sequences: Vec<i64> = batch.rows().iter().map(|issued| issued.row.sequence.value()).collect();
    assert_eq!(sequences, [11, 12, 13]);
    assert_eq!(batch.end().head.position, 13);
}

#[test]
fn a_replay_comes_before_every_other_rule_but_the_credential() {
    let holder = holder(Limits::new([].into(), Some(0), None, None, None).unwrap());
    let order = NewToken { requests_from_ms: 7, ..credit(1, 100) };
    let mut first = batch();
    let generous = self::holder(Limits::default());
    first.decide(&order, facts(&generous)).unwrap();
    let row = first.into_rows().remove(0).row;

    let mut batch = batch();
    let nothing = Facts {
        configuration: None,
        target: None,
        earlier: Some(&row),
        last_tid: Some(Tid::LAST),
        ..facts(&holder)
    };
    assert_eq!(batch.decide(&order, nothing), Ok(Decision::Replay(Box::new(row.clone()))));
    let other = NewToken { request_hash: [9; 32], ..order.clone() };
    assert_eq!(batch.decide(&other, nothing), Err(Refused::RequestIdReused { sequence: row.sequence }));
    let late = NewToken { requests_from_ms: NOW_MS + 1, ..order.clone() };
    assert_eq!(batch.decide(&late, nothing), Err(Refused::RequestIdTooOld));
    for holder in [
        None,
        Some(&CredentialHolder {
            client: Client { enabled: false, ..holder.client.clone() },
            ..holder.clone()
        }),
    ] {
        let refused = batch.decide(&order, Facts { holder, ..nothing });
        assert_eq!(refused, Err(Refused::CredentialNotEnabled));
    }
    assert!(batch.rows().is_empty());
    assert_eq!(batch.end(), self::batch().end(), "what is refused or repeated leaves no trace");
}

#[test]
fn the_same_request_twice_in_a_batch_is_recorded_once() {
    let holder = holder(Limits::default());
    let mut batch = batch();
    assert_eq!(batch.decide(&credit(1, 100), facts(&holder)), Ok(Decision::New(0)));
    assert_eq!(batch.decide(&credit(1, 100), facts(&holder)), Ok(Decision::ReplayInBatch(0)));
    let other = NewToken { request_hash: [9; 32], ..credit(1, 100) };
    let sequence = batch.rows()[0].row.sequence;
    assert_eq!(batch.decide(&other, facts(&holder)), Err(Refused::RequestIdReused { sequence }));
    assert_eq!(batch.rows().len(), 1);
}

#[test]
fn an_old_request_id_is_refused_and_floors_hold_for_all() {
    let holder = holder(Limits::default());
    let made = |made_ms: i64| {
        let mut id = [7_u8; 16];
        id[..6].copy_from_slice(&made_ms.to_be_bytes()[2..]);
        id[6] = 0x70;
        id[8] = 0x80;
        NewToken { request_id: Uuid::from_bytes(id), ..credit(1, 100) }
    };
    let floors = |ms, floor: Option<u32>| {
        let mut floors = Floors::default();
        floors.requests_from_ms = ms;
        floor.into_iter().for_each(|floor| floors.raise_tid(BaseDate::Y2014, tid(floor)));
        Batch::new(batch().end(), floors, 5, HashMap::new(), 1)
    };
    let mut batch = floors(NOW_MS, Some(5_000));
    assert_eq!(batch.decide(&made(NOW_MS - 1), facts(&holder)), Err(Refused::RequestIdTooOld));
    assert_eq!(batch.decide(&made(NOW_MS), facts(&holder)), Ok(Decision::New(0)));
    assert_eq!(tids(&batch), [5_001]);
    let strict = NewToken { requests_from_ms: NOW_MS, ..made(NOW_MS - 1) };
    assert_eq!(floors(0, None).decide(&strict, facts(&holder)), Err(Refused::RequestIdTooOld));
}

#[test]
fn the_first_rule_that_refuses_is_the_one_that_is_told() {
    let full = holder(Limits::new([].into(), Some(0), None, None, None).unwrap());
    let good = holder(Limits::default());
    let disabled = Some(ConfigurationState::Disabled);
    let past = TidWindow { horizon: tid(99), ..window(100) };
    let late = |request| {
        let mut order = credit(request, 100);
        if let Content::Sequenced { window, .. } = &mut order.content {
            *window = past;
        }
        order
    };
    let mut batch = batch();
    let facts =
        |holder| Facts { configuration: disabled, target: None, key_change_allowed: false, ..facts(holder) };
    assert!(matches!(batch.decide(&late(1), facts(&full)), Err(Refused::Limit(_))));
    let refused = batch.decide(&late(1), facts(&good));
    let state = ConfigurationState::Disabled;
    assert_eq!(refused, Err(Refused::ConfigurationNotEnabled { id: CONFIGURATION, state }));
    let enabled = Facts { configuration: Some(ConfigurationState::Enabled), ..facts(&good) };
    assert!(matches!(batch.decide(&late(1), enabled), Err(Refused::Tid(TidRefusal::BeyondHorizon { .. }))));
    let refused = batch.decide(&key_change(2), enabled);
    assert_eq!(refused, Err(Refused::ConfigurationNotFound { id: TARGET }));
    let found = Facts { target: Some(ConfigurationState::Enabled), ..enabled };
    let refused = batch.decide(&key_change(2), found);
    assert_eq!(refused, Err(Refused::KeyChangeNotAllowed { source_id: CONFIGURATION, target: TARGET }));
    let allowed = Facts { key_change_allowed: true, ..found };
    assert_eq!(batch.decide(&key_change(2), allowed), Ok(Decision::New(0)));
    assert!(tids(&batch).is_empty(), "a key change has no TID");
}

#[test]
fn limits_count_what_the_batch_gave_and_alarms_follow_their_row() {
    let holder = holder(Limits::new([].into(), Some(2), None, None, Some(50)).unwrap());
    let mut batch = batch();
    let display =
        Content::Fixed { configuration: None, meter: None, display: Display::all(DisplayForm::TwoDigit) };
    let tests = NewToken { content: display, ..credit(1, 0) };
    assert_eq!(batch.decide(&tests, facts(&holder)), Ok(Decision::New(0)));
    assert_eq!(batch.decide(&credit(2, 100), facts(&holder)), Ok(Decision::New(1)));
    assert!(matches!(batch.decide(&credit(3, 100), facts(&holder)), Err(Refused::Limit(_))));
    let tomorrow = NewToken { now_ms: NOW_MS + 86_400_000, ..credit(3, 100) };
    assert_eq!(batch.decide(&tomorrow, facts(&holder)), Ok(Decision::New(2)));
    let positions: Vec<u64> = batch.acts().iter().map(|act| act.position).collect();
    assert_eq!(positions, [12, 15], "half of two tokens, each day");
    let sequences: Vec<i64> = batch.rows().iter().map(|issued| issued.row.sequence.value()).collect();
    assert_eq!(sequences, [11, 13, 14]);
    assert_eq!(batch.days().count(), 2);
}
