//! The standard's arithmetic: what a token costs beyond the HSM. `cargo bench --bench sts`.

// A benchmark that cannot set itself up has nothing to measure.
#![allow(clippy::expect_used)]

use divan::{Bencher, black_box};
use vendkey::sts::amount::UnitAmount;
use vendkey::sts::attributes::{Attributes, BaseDate, Dkga, EncryptionAlgorithm, KeyExpiry, KeyType};
use vendkey::sts::cipher::{DecoderKey, decrypt_block, encrypt_block};
use vendkey::sts::derivation::Derivation;
use vendkey::sts::meter::MeterPan;
use vendkey::sts::software::derive;
use vendkey::sts::tid::Tid;
use vendkey::sts::token::{ClearBlock, Payload, Rnd, Service};

const KEY: [u8; 16] = *b"sixteen byte key";
const ALGORITHMS: [u8; 3] = [7, 9, 11];

fn main() {
    divan::main();
}

fn algorithm(code: u8) -> (EncryptionAlgorithm, DecoderKey<'static>) {
    let ea = EncryptionAlgorithm::try_from(code).expect("a code of the list");
    (ea, DecoderKey::from_slice(&KEY[..ea.key_bytes()]).expect("8 or 16 bytes"))
}

fn block(tid: u32) -> ClearBlock {
    let amount = UnitAmount::from_units(tid & 0xFFFF).expect("in range");
    let payload = Payload::Credit { service: Service::Electricity, amount };
    payload.block(Rnd::from_random(tid as u8), Tid::new(tid).expect("in range"))
}

/// One block under a decoder key, key schedule included.
#[divan::bench(args = ALGORITHMS)]
fn encrypt(bencher: Bencher<'_, '_>, code: u8) {
    let (ea, key) = algorithm(code);
    let mut block = 0x0123_4567_89AB_CDEF;
    bencher.bench_local(|| {
        block = encrypt_block(ea, black_box(key), block).expect("the key fits");
        block
    });
}

/// One block back.
#[divan::bench(args = ALGORITHMS)]
fn decrypt(bencher: Bencher<'_, '_>, code: u8) {
    let (ea, key) = algorithm(code);
    let mut block = 0x0123_4567_89AB_CDEF;
    bencher.bench_local(|| {
        block = decrypt_block(ea, black_box(key), block).expect("the key fits");
        block
    });
}

/// Amount, block, CRC, cipher, transposition and the 20 digits as text.
#[divan::bench(args = ALGORITHMS)]
fn whole_token(bencher: Bencher<'_, '_>, code: u8) {
    let (ea, key) = algorithm(code);
    let mut tid = 0;
    bencher.bench_local(|| {
        tid = (tid + 1) & 0xFF_FFFF;
        block(tid).encrypt(ea, black_box(key)).expect("the key fits").to_string()
    });
}

/// A decoder key in software, from the attributes on.
#[divan::bench(args = [2, 4])]
fn derivation(bencher: Bencher<'_, '_>, code: u8) {
    let dkga = Dkga::try_from(code).expect("a code of the list");
    let vending_key = &b"twenty bytes of key!"[..dkga.vending_key_bytes()];
    let attributes = Attributes {
        iin: "600727".parse().expect("an IIN"),
        sgc: "123456".parse().expect("an SGC"),
        ti: "01".parse().expect("a TI"),
        krn: "1".parse().expect("a KRN"),
        kt: KeyType::Dutk,
        ken: KeyExpiry(255),
        ea: EncryptionAlgorithm::Ea07,
        dkga,
        base_date: BaseDate::Y2014,
    };
    let meter: MeterPan = "600727000000000009".parse().expect("a MeterPAN");
    bencher.bench_local(|| {
        let derivation = Derivation::new(black_box(&attributes), black_box(&meter)).expect("a pair");
        derive(&derivation, vending_key).expect("the key fits")
    });
}
