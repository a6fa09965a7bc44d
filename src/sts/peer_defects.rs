//! Defects of the public peer (STS facts §8) that no other test is named after: 3, 4, 8 and 9.
//! Those of 1, 2, 5, 6, 7 and 10 stand beside the code that avoids them.

use super::amount::{CurrencyAmount, UnitAmount};
use super::attributes::{Attributes, BaseDate, Dkga, EncryptionAlgorithm};
use super::cipher::{DecoderKey, decrypt_block, encrypt_block};
use super::derivation::{Derivation, des_block};
use super::meter::MeterPan;
use super::software::{derive, derive_dkga01};
use super::tid::Tid;
use super::token::{Content, CreditRegister, Management, Payload, Rnd, Service};

fn attributes(dkga: Dkga, ea: EncryptionAlgorithm) -> Attributes {
    Attributes { ea, dkga, base_date: BaseDate::Y1993, ..Attributes::example() }
}

fn meter() -> MeterPan {
    "600727000000000009".parse().unwrap()
}

/// Its boundary takes vending keys of 16 hex digits only, so DKGA04 and with it EA11 cannot be
/// reached.
#[test]
fn peer_defect_3_keys_of_dkga04_have_20_bytes() {
    let derivation = Derivation::new(&attributes(Dkga::Dkga04, EncryptionAlgorithm::Ea11), &meter()).unwrap();
    let key = hex::decode("abababababababab949494949494949401234567").unwrap();
    assert_eq!(derive(&derivation, &key).unwrap().borrow().as_bytes().len(), 16);
    assert!(derive(&derivation, &key[..8]).is_err());
}

/// It issues subclasses 0 to 7 only, RND 0 to 9 only, no "clear all", no currency, time or extended
/// tokens, and reads every TID from 1993.
#[test]
fn peer_defect_4_all_subclasses_rnds_and_registers() {
    let amount = UnitAmount::from_units(1).unwrap();
    let currency = CurrencyAmount::from_units(-1).unwrap();
    let payloads = [
        (Payload::Credit { service: Service::Time, amount }, (0, 3)),
        (Payload::Currency { service: Service::Time, amount: currency }, (0, 7)),
        (Payload::Management(Management::ClearCredit(CreditRegister::All)), (2, 1)),
        (Payload::Management(Management::from_register(10, 0xFC01).unwrap()), (2, 10)),
    ];
    let tid = Tid::new(480).unwrap();
    for (payload, class_subclass) in payloads {
        assert_eq!(payload.class_subclass(), class_subclass);
        for rnd in 0..16 {
            let rnd = Rnd::try_from(rnd).unwrap();
            let Ok(Content::Vending { rnd: read, tid: read_tid, .. }) =
                Content::parse(&payload.block(rnd, tid), EncryptionAlgorithm::Ea07)
            else {
                panic!("{payload:?}")
            };
            assert_eq!((read, read_tid), (payload.carries_rnd().then_some(rnd), tid));
        }
    }
    // 08:00 on the first day, whichever day that is.
    for base in [BaseDate::Y1993, BaseDate::Y2014, BaseDate::Y2035] {
        assert_eq!(tid.unix_seconds(base), base.unix_seconds() + 8 * 3600);
    }
}

/// Its EA09 and DKGA01 throw; its DKGA03 depends on a provider's quirk.
#[test]
fn peer_defect_8_withdrawn_algorithms_compute() {
    let key = DecoderKey::Bits64(&[0x13; 8]);
    let encrypted = encrypt_block(EncryptionAlgorithm::Ea09, key, 42).unwrap();
    assert_eq!(decrypt_block(EncryptionAlgorithm::Ea09, key, encrypted), Ok(42));
    let attributes = attributes(Dkga::Dkga03, EncryptionAlgorithm::Ea07);
    let derivation = Derivation::new(&attributes, &meter()).unwrap();
    assert_eq!(derive(&derivation, &[0x13; 16]).unwrap().borrow().as_bytes().len(), 8);
    assert!(derive_dkga01(des_block(&attributes, &meter()), &[0xAB; 8]).is_ok());
}

/// Each of its derivations registers a provider anew, for the whole process, and is slow for that.
/// Here a derivation is a function of its arguments and gives the same key each time; what it
/// costs, `benches/sts.rs` measures.
#[test]
fn peer_defect_9_a_derivation_leaves_nothing_behind() {
    for (dkga, bytes) in [(Dkga::Dkga02, 8), (Dkga::Dkga03, 16), (Dkga::Dkga04, 20)] {
        let derivation = Derivation::new(&attributes(dkga, EncryptionAlgorithm::Ea07), &meter()).unwrap();
        let key = vec![0x13; bytes];
        let first = derive(&derivation, &key).unwrap();
        for _ in 0..333 {
            let again = derive(&derivation, &key).unwrap();
            assert_eq!(again.borrow().as_bytes(), first.borrow().as_bytes(), "{dkga}");
        }
    }
}
