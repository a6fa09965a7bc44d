//! A token per test, and what the tests compare with.
//!
//! Tokens are SoftHSM's, unless `VENDKEY_TEST_MODULE` names another module: then the scenarios of
//! [`with_any_token`] run on it, and the others are skipped.

#![allow(clippy::print_stdout)] // what is skipped is said

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use des::cipher::{Array, BlockCipherEncrypt, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tempfile::TempDir;
use vendkey::hsm::{
    DecoderKeys, Hsm, HsmError, HsmSettings, KeyId, KeyKind, KeySizes, VendingKey, WithDecoderKeys, setup,
};
use vendkey::settings::Settings;
use vendkey::sts::cipher::DecoderKey;
use vendkey::sts::derivation::{DKGA04_MESSAGE_BYTES, Derivation, KeyBits};

pub(crate) const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const SCENARIO: &str = "VENDKEY_HSM_SCENARIO";
const FOLDER: &str = "VENDKEY_HSM_FOLDER";

/// The token of this process.
pub(crate) struct Rig {
    pub(crate) folder: PathBuf,
}

/// The module of these tests.
fn module() -> String {
    let chosen = std::env::var("VENDKEY_TEST_MODULE").ok().filter(|module| !module.is_empty());
    chosen.unwrap_or_else(|| "softhsm".to_owned())
}

/// Runs `scenario` in a process of its own, with a fresh token of SoftHSM. `name` is the test's full
/// path.
pub(crate) fn with_token(name: &str, scenario: impl FnOnce(&Rig)) {
    if module() == "softhsm" {
        in_own_process(name, scenario);
    } else {
        println!("skipped on {}: {name} is about SoftHSM", module());
    }
}

/// The same with a token of whatever module, if its probes say that it serves these kinds of keys.
pub(crate) fn with_any_token(name: &str, kinds: &[KeyKind], scenario: impl FnOnce(&Rig)) {
    in_own_process(name, |rig| {
        let hsm = Hsm::start_bare(rig.settings()).unwrap();
        let lacks: Vec<String> =
            kinds.iter().filter_map(|kind| hsm.serves(*kind).err()).map(|why| why.to_string()).collect();
        hsm.stop();
        drop(hsm);
        if lacks.is_empty() {
            scenario(rig);
        } else {
            println!("skipped on {}: {name}: {}", module(), lacks.join("; "));
        }
    });
}

fn in_own_process(name: &str, scenario: impl FnOnce(&Rig)) {
    if std::env::var(SCENARIO).is_ok_and(|running| running == name) {
        let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
        return scenario(&Rig { folder });
    }
    let folder = folder();
    let made = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/modules/make-token.sh"))
        .arg(module())
        .arg(folder.path())
        .arg("test")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let hsm = std::fs::read_to_string(folder.path().join("hsm")).unwrap();
    let settings = format!("[hsm]\n{hsm}pin_file = 'pin'\n[store]\npath = 'not-used.db'\n");
    std::fs::write(folder.path().join("vendkey.toml"), settings).unwrap();
    let run = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env("SOFTHSM2_CONF", folder.path().join("softhsm2.conf"))
        .env(SCENARIO, name)
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{output}\n{}", String::from_utf8_lossy(&run.stderr));
    assert!(output.contains("1 passed"), "{name} is not this test's path:\n{output}");
    // It stands behind the test's name there.
    let skipped = output.lines().filter_map(|line| line.find("skipped on ").map(|at| &line[at..]));
    skipped.for_each(|line| println!("{line}"));
}

/// Tokens on a tmpfs: on a disk SoftHSM takes milliseconds per attribute.
fn folder() -> TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { TempDir::new_in(shm) } else { TempDir::new() }.unwrap()
}

impl Rig {
    pub(crate) fn settings(&self) -> HsmSettings {
        let settings = Settings::load(&self.folder.join("vendkey.toml")).unwrap();
        HsmSettings { check_interval: Duration::from_millis(200), ..settings.hsm }
    }

    /// Set up with small RSA keys, and started.
    pub(crate) fn hsm(&self) -> Hsm {
        self.hsm_with(self.settings())
    }

    pub(crate) fn hsm_with(&self, settings: HsmSettings) -> Hsm {
        setup(&settings, KeySizes { legacy: 2048, sealed: 2048, audit: 2048 }).unwrap();
        Hsm::start(settings).unwrap()
    }

    /// `pkcs11-tool`, logged in.
    pub(crate) fn pkcs11_tool(&self, arguments: &[&str]) -> std::process::Output {
        let pin = std::fs::read_to_string(self.folder.join("pin")).unwrap();
        Command::new("pkcs11-tool")
            .args(["--module", MODULE, "--token-label", "test", "--login", "--pin", pin.trim_end()])
            .args(arguments)
            .output()
            .unwrap()
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) fn id(number: u8) -> KeyId {
    KeyId([number; 16])
}

/// `DES_VK(B) xor B xor VK`.
pub(crate) fn dkga02(key: [u8; 8], block: [u8; 8]) -> Vec<u8> {
    let encrypted = des(&key, block);
    (0..8).map(|i| encrypted[i] ^ block[i] ^ key[i]).collect()
}

/// `E(K1, D(K2, E(K1, B))) xor B`.
pub(crate) fn dkga03(key: [u8; 16], block: [u8; 8]) -> Vec<u8> {
    let mut array = Array::from(block);
    des::TdesEde2::new(&key.into()).encrypt_block(&mut array);
    (0..8).map(|i| array[i] ^ block[i]).collect()
}

pub(crate) fn dkga04(key: [u8; 20], message: [u8; DKGA04_MESSAGE_BYTES], bits: KeyBits) -> Vec<u8> {
    hmac(&key, &message)[..bits.bytes()].to_vec()
}

pub(crate) fn des(key: &[u8; 8], block: [u8; 8]) -> [u8; 8] {
    let mut array = Array::from(block);
    des::Des::new(&(*key).into()).encrypt_block(&mut array);
    array.into()
}

pub(crate) fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// The n-th block and message of a test.
pub(crate) fn block(n: u32) -> [u8; 8] {
    hmac(b"block", &n.to_be_bytes())[..8].try_into().unwrap()
}

pub(crate) fn message(n: u32) -> [u8; DKGA04_MESSAGE_BYTES] {
    [hmac(b"one", &n.to_be_bytes()), hmac(b"two", &n.to_be_bytes())].concat()[..DKGA04_MESSAGE_BYTES]
        .try_into()
        .unwrap()
}

/// The decoder keys, copied out as only a test may.
pub(crate) async fn derive(
    hsm: &Hsm,
    wanted: Vec<(VendingKey, Derivation)>,
) -> Result<Vec<Vec<u8>>, HsmError> {
    let permit = hsm.try_reserve()?;
    hsm.with_decoder_keys(permit, wanted, |keys| {
        keys.iter()
            .map(|key| match key {
                DecoderKey::Bits64(bytes) => bytes.to_vec(),
                DecoderKey::Bits128(bytes) => bytes.to_vec(),
            })
            .collect()
    })
    .await
}
