//! A bounded run of the fuzz targets' own functions, on their seeds and on damaged copies of them.
//! Long runs: `make fuzz`.

use std::{fs, path::Path};

use proptest::{
    prelude::{Just, Strategy, any},
    sample::Index,
    test_runner::{Config, TestRunner},
};

#[path = "../../fuzz/entries.rs"]
mod entries;

/// Cases for each target; a second or two each without optimisation.
const CASES: u32 = 20_000;

/// One damage to a text.
#[derive(Clone, Debug)]
enum Damage {
    Put(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index, usize),
    /// Copies a piece of it to another place.
    Copy(Index, Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    proptest::prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Put(at, byte)),
        (any::<Index>(), "[0-9a-fx{}\\[\\]\",:'&*#\\n\\r\\t =+/-]{1,8}")
            .prop_map(|(at, text)| Damage::Insert(at, text.into_bytes())),
        (any::<Index>(), proptest::collection::vec(any::<u8>(), 1..8))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<Index>(), 1usize..40).prop_map(|(at, length)| Damage::Cut(at, length)),
        (any::<Index>(), any::<Index>(), 1usize..40)
            .prop_map(|(from, to, length)| Damage::Copy(from, to, length)),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let position = |index: &Index| index.index(bytes.len() + 1);
        match damage {
            Damage::Put(at, byte) => {
                let at = position(at);
                if let Some(old) = bytes.get_mut(at) {
                    *old = *byte;
                }
            }
            Damage::Insert(at, inserted) => {
                let at = position(at);
                bytes.splice(at..at, inserted.iter().copied());
            }
            Damage::Cut(at, length) => {
                let at = position(at);
                bytes.drain(at..(at + length).min(bytes.len()));
            }
            Damage::Copy(from, to, length) => {
                let (from, to) = (position(from), position(to));
                let piece = bytes[from..(from + length).min(bytes.len())].to_vec();
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes
}

/// Runs a target on its seeds as they are, on damaged ones, and on bytes of no form at all.
fn bounded(target: &str, entry: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(seeds.len() > 1, "no seeds for {target}");
    seeds.iter().for_each(|seed| entry(seed));
    let input = proptest::prop_oneof![
        1 => proptest::collection::vec(any::<u8>(), 0..200),
        9 => (proptest::sample::select(seeds), proptest::collection::vec(damage(), 1..6))
            .prop_flat_map(|(seed, damages)| Just(damaged(seed, &damages))),
    ];
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    runner
        .run(&input, |bytes| {
            entry(&bytes);
            Ok(())
        })
        .unwrap();
}

#[test]
fn token() {
    bounded("token", entries::token);
}

#[test]
fn block() {
    bounded("block", entries::block);
}

#[test]
fn configuration() {
    bounded("configuration", entries::configuration);
}

#[test]
fn envelope() {
    bounded("envelope", entries::envelope);
}

#[test]
fn sealed() {
    bounded("sealed", entries::sealed);
}

#[test]
fn public_key() {
    bounded("public_key", entries::public_key);
}

#[test]
fn vectors() {
    bounded("vectors", entries::vectors);
}

#[test]
fn token_log() {
    bounded("token_log", entries::token_log);
}

#[test]
fn http() {
    bounded("http", entries::http);
}
