//! The meter against the other end: what the standard's vending side makes, it takes, once.

use super::*;
use crate::sts::amount::{CurrencyAmount, UnitAmount};
use crate::sts::attributes::BaseDate;
use crate::sts::derivation::Derivation;
use crate::sts::software::derive;
use crate::sts::token::key_change::KeyChange;
use crate::sts::token::{ContentError, ExtendedSet, Rnd};

/// 2026-04-01T00:00Z.
const NOW: i64 = 1_775_001_600;
const METER: &str = "600727000000000009";
const MANUFACTURED: u32 = 1_000_000;

fn attributes(ea: EncryptionAlgorithm) -> Attributes {
    Attributes { ea, ..Attributes::example() }
}

fn decoder_key(attributes: &Attributes, meter: &str) -> OwnedDecoderKey {
    let derivation = Derivation::new(attributes, &meter.parse().unwrap()).unwrap();
    derive(&derivation, b"twenty bytes of key!").unwrap()
}

fn meter(attributes: &Attributes) -> VirtualMeter {
    let key = decoder_key(attributes, METER);
    VirtualMeter::new(METER.parse().unwrap(), attributes, key.borrow(), tid(MANUFACTURED)).unwrap()
}

fn tid(value: u32) -> Tid {
    Tid::new(value).unwrap()
}

fn token(attributes: &Attributes, payload: Payload, at: u32) -> Token {
    let key = decoder_key(attributes, METER);
    payload.block(Rnd::from_random(9), tid(at)).encrypt(attributes.ea, key.borrow()).unwrap()
}

fn kwh(units: u32) -> Payload {
    Payload::Credit { service: Service::Electricity, amount: UnitAmount::from_units(units).unwrap() }
}

fn key_change(current: &Attributes, new: &Attributes, transfer_sgc: bool) -> Vec<Token> {
    let (from, to) = (decoder_key(current, METER), decoder_key(new, METER));
    KeyChange::plan(current, new, transfer_sgc, NOW).unwrap().tokens(from.borrow(), to.borrow()).unwrap()
}

#[test]
fn credit_once_and_in_its_register() {
    let attributes = attributes(EncryptionAlgorithm::Ea07);
    let mut meter = meter(&attributes);
    let bought = token(&attributes, kwh(256), MANUFACTURED + 10);
    let credited = Effect::Credited { service: Service::Electricity, units: 256, balance: 256 };
    assert_eq!(meter.enter(&bought, NOW), Answer::Accepted(credited));
    assert_eq!(meter.enter(&bought, NOW), Answer::Rejected(Rejection::Used(tid(MANUFACTURED + 10))));
    let debit =
        Payload::Currency { service: Service::Water, amount: CurrencyAmount::from_units(-500).unwrap() };
    meter.enter(&token(&attributes, debit, MANUFACTURED + 11), NOW);
    assert_eq!((meter.credit(Service::Electricity), meter.currency(Service::Water)), (256, -500));
    let older = token(&attributes, kwh(1), MANUFACTURED - 1);
    assert_eq!(meter.enter(&older, NOW), Answer::Rejected(Rejection::Old(tid(MANUFACTURED - 1))));
    let clear = Payload::Management(Management::ClearCredit(CreditRegister::All));
    meter.enter(&token(&attributes, clear, MANUFACTURED + 12), NOW);
    assert_eq!((meter.credit(Service::Electricity), meter.currency(Service::Water)), (0, 0));
}

#[test]
fn what_a_meter_rejects() {
    let attributes = Attributes { ken: KeyExpiry(0x20), ..attributes(EncryptionAlgorithm::Ea11) };
    let mut meter = meter(&attributes);
    let late = token(&attributes, kwh(1), 0x21_0000);
    assert_eq!(meter.enter(&late, NOW), Answer::Rejected(Rejection::KeyExpired(tid(0x21_0000))));
    let other = decoder_key(&attributes, "600727111111111153");
    let foreign = kwh(1).block(Rnd::from_random(1), tid(MANUFACTURED + 1));
    let foreign = foreign.encrypt(attributes.ea, other.borrow()).unwrap();
    assert_eq!(meter.enter(&foreign, NOW), Answer::Rejected(Rejection::Crc));
    assert_eq!(
        meter.enter_digits("1234", NOW),
        Answer::Rejected(Rejection::Format(crate::sts::token::TokenError::Shape))
    );
    // The two class bits at 28 and 27 set: class 3.
    assert_eq!(meter.enter_digits("0000 0000 0004 0265 3184", NOW), Answer::Rejected(Rejection::Class));
    assert!(matches!(
        meter.enter_digits("00000000000134217728", NOW),
        Answer::Rejected(Rejection::Crc | Rejection::Function(ContentError::UnknownSubclass { .. }))
    ));
}

#[test]
fn no_credit_under_a_default_key() {
    for kt in [KeyType::Ditk, KeyType::Ddtk] {
        let attributes = Attributes { kt, ..attributes(EncryptionAlgorithm::Ea07) };
        let bought = token(&attributes, kwh(1), MANUFACTURED + 1);
        assert_eq!(meter(&attributes).enter(&bought, NOW), Answer::Rejected(Rejection::DefaultKey(kt)));
    }
}

#[test]
fn a_full_register_leaves_the_token_unused() {
    let attributes = attributes(EncryptionAlgorithm::Ea07);
    let mut state = meter(&attributes).state();
    state.credit[0] = UNIT_CAPACITY - 5;
    let mut meter = VirtualMeter::from_state(&state).unwrap();
    let bought = token(&attributes, kwh(6), MANUFACTURED + 1);
    assert_eq!(meter.enter(&bought, NOW), Answer::Rejected(Rejection::Overflow));
    meter.credit[0] = 0;
    assert!(matches!(meter.enter(&bought, NOW), Answer::Accepted(_)));
}

#[test]
fn displays_speak_to_meters_by_manufacturer_code() {
    let attributes = attributes(EncryptionAlgorithm::Ea07);
    let mut meter = meter(&attributes);
    let shown = Display::all(DisplayForm::TwoDigit);
    assert_eq!(meter.enter(&shown.token(), NOW), Answer::Accepted(Effect::Displayed(shown)));
    let other_form = Display::all(DisplayForm::FourDigit).token();
    assert_eq!(meter.enter(&other_form, NOW), Answer::Rejected(Rejection::Manufacturer));
    let other_code = Display::new(DisplayForm::TwoDigit, 1, 11).unwrap().token();
    assert_eq!(meter.enter(&other_code, NOW), Answer::Rejected(Rejection::Manufacturer));
}

#[test]
fn key_changes_of_every_shape_in_any_order() {
    for (ea, transfer_sgc) in [
        (EncryptionAlgorithm::Ea07, false),
        (EncryptionAlgorithm::Ea07, true),
        (EncryptionAlgorithm::Ea11, false),
    ] {
        let current = Attributes { kt: KeyType::Ddtk, ..attributes(ea) };
        let new = Attributes {
            kt: KeyType::Dutk,
            sgc: "201461".parse().unwrap(),
            ken: KeyExpiry(0xA5),
            ti: "99".parse().unwrap(),
            ..current
        };
        let mut tokens = key_change(&current, &new, transfer_sgc);
        for _ in 0..tokens.len() {
            tokens.rotate_left(1);
            let mut meter = meter(&current);
            let answers: Vec<Answer> = tokens.iter().map(|token| meter.enter(token, NOW)).collect();
            let (last, before) = answers.split_last().unwrap();
            for answer in before {
                assert!(matches!(answer, Answer::Accepted(Effect::SectionKept { .. })), "{answer:?}");
            }
            let sgc = (transfer_sgc || ea == EncryptionAlgorithm::Ea11).then_some(new.sgc);
            let changed =
                NewKey { kt: new.kt, krn: new.krn, ti: new.ti, ken: new.ken, sgc, roll_over: false };
            assert_eq!(*last, Answer::Accepted(Effect::KeyChanged(changed)));
            let bought = token(&new, kwh(5), MANUFACTURED + 1);
            assert!(matches!(meter.enter(&bought, NOW), Answer::Accepted(Effect::Credited { .. })));
        }
    }
}

#[test]
fn sections_wait_for_an_hour_and_survive_being_stored() {
    let current = attributes(EncryptionAlgorithm::Ea07);
    let new = Attributes { ti: "02".parse().unwrap(), ..current };
    let tokens = key_change(&current, &new, false);
    let mut meter = meter(&current);
    meter.enter(&tokens[0], NOW);
    let late = NOW + SECTION_TIMEOUT_SECONDS + 1;
    assert_eq!(
        meter.enter(&tokens[1], late),
        Answer::Accepted(Effect::SectionKept { missing: 1 }),
        "the first one was dropped"
    );
    let text = serde_json::to_string(&meter.state()).unwrap();
    let mut meter = VirtualMeter::from_state(&serde_json::from_str(&text).unwrap()).unwrap();
    assert!(matches!(
        meter.enter(&tokens[0], late + SECTION_TIMEOUT_SECONDS),
        Answer::Accepted(Effect::KeyChanged(_))
    ));
}

#[test]
fn key_types_do_not_move_back() {
    let current = attributes(EncryptionAlgorithm::Ea07);
    let new = Attributes { kt: KeyType::Dctk, ..current };
    let key = decoder_key(&current, METER);
    let change = KeyChange { kt: new.kt, ..KeyChange::plan(&current, &current, false, NOW).unwrap() };
    let tokens = change.tokens_below_policy(key.borrow(), key.borrow()).unwrap();
    let mut meter = meter(&current);
    meter.enter(&tokens[0], NOW);
    assert_eq!(
        meter.enter(&tokens[1], NOW),
        Answer::Rejected(Rejection::KeyType { current: KeyType::Dutk, new: KeyType::Dctk })
    );
}

#[test]
fn roll_over_clears_the_memory() {
    let current = attributes(EncryptionAlgorithm::Ea11);
    let new = Attributes { base_date: BaseDate::Y2035, krn: "2".parse().unwrap(), ..current };
    let mut meter = meter(&current);
    for token in key_change(&current, &new, true) {
        meter.enter(&token, NOW);
    }
    let early = token(&new, kwh(5), 0);
    assert!(matches!(meter.enter(&early, NOW), Answer::Accepted(_)));
    assert!(matches!(meter.enter(&early, NOW), Answer::Rejected(Rejection::Used(_))));
}

#[test]
fn management_tokens_set_what_they_say() {
    let attributes = attributes(EncryptionAlgorithm::Ea07);
    let mut meter = meter(&attributes);
    meter.tamper();
    let watts = UnitAmount::from_units(20_001).unwrap();
    let set = ExtendedSet::new(63, 1).unwrap();
    for (index, (management, effect)) in [
        (Management::MaximumPowerLimit(watts), Effect::PowerLimit(20_004)),
        (Management::MaximumPhasePowerUnbalance(watts), Effect::PhaseUnbalanceLimit(20_004)),
        (Management::TariffRate(7), Effect::TariffRate(7)),
        (Management::WaterMeterFactor(10), Effect::WaterMeterFactor(10)),
        (Management::ClearTamper, Effect::TamperCleared),
        (Management::Extended(set), Effect::Extended(set)),
    ]
    .into_iter()
    .enumerate()
    {
        let entered = token(&attributes, Payload::Management(management), MANUFACTURED + 1 + index as u32);
        assert_eq!(meter.enter(&entered, NOW), Answer::Accepted(effect));
    }
    let state = meter.state();
    assert_eq!(
        (state.tampered, state.power_limit, state.extended.as_slice()),
        (false, Some(20_004), &[(63, 1)][..])
    );
}

#[test]
fn states_that_are_no_meter() {
    let good = meter(&attributes(EncryptionAlgorithm::Ea07)).state();
    let broken = |change: fn(&mut MeterState)| {
        let mut state = good.clone();
        change(&mut state);
        VirtualMeter::from_state(&state).unwrap_err()
    };
    assert_eq!(broken(|state| state.decoder_key.push_str("00")), StateError::Key(EncryptionAlgorithm::Ea07));
    assert_eq!(broken(|state| state.credit[1] = UNIT_CAPACITY + 1), StateError::Register);
    assert_eq!(broken(|state| state.currency[1] = "x".to_owned()), StateError::Register);
    assert!(matches!(broken(|state| state.ea = 8), StateError::Attribute(_)));
    assert!(matches!(broken(|state| state.meter.push('0')), StateError::Meter(_)));
    assert!(matches!(broken(|state| state.tids.push(1 << 24)), StateError::Tid(_)));
    let sections = SectionsState { started: 0, blocks: vec!["00".to_owned()] };
    let mut state = good.clone();
    state.key_change = Some(sections);
    assert_eq!(VirtualMeter::from_state(&state).unwrap_err(), StateError::KeyChange);
    assert!(!format!("{good:?}").contains(&good.decoder_key));
}
