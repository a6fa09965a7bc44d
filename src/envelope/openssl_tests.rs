//! The openssl command line as the uploader, with the commands of upload formats §1 and the slips
//! of §4.
//!
//! The opening side is done here in software; the same with a real HSM is in the integration tests.

use std::path::Path;
use std::process::Command;

use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::rand_core::OsRng;
use tempfile::TempDir;

use super::*;

/// 2026-01-01T00:00Z.
const NOW: i64 = 1_767_225_600;

const TEXT: &str = "---\nname: example_config \nkey_expiry_no: 255\nencryption_algorithm: sta\n\
    token_carrier_type: numeric\ndecoder_key_generation_algorithm: 04\ntariff_index: 01\nkey_revision_no: 1\n\
    vending_key: 0123456789abcdef\nsupply_group_code: 123456\nkey_type: 3\nbase_date: 2035\n\
    issuer_identification_no: 600727\n";

const IV_AND_KEY: &str = "printf %s ABCDEFGHIJKLMNOP > iv; printf %s abcdefghijklmnop > aes";
const DATA: &str = "openssl enc -aes-128-cbc -K $(od -An -tx1 aes | tr -d ' \\n') -iv $(od -An -tx1 iv | tr -d ' \\n') \
    -in text -out body 2>/dev/null; cat iv body | base64 > data";
const DIGEST: &str =
    "openssl dgst -binary -sha256 text | openssl rsautl -sign -inkey user.pem | openssl base64 > digest";
const KEY: &str = "openssl rsautl -encrypt -pubin -inkey server.pem -in aes | base64 > key";

/// A folder with the text and the keys, where `commands` run.
fn run(shell: &str, text: &str, commands: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| std::fs::write(folder.path().join(name), content).unwrap();
    write("text", text);
    write("server.pem", &test_keys::public(test_keys::server()).spki_pem());
    write("user.pem", &test_keys::administrator().to_pkcs8_pem(LineEnding::LF).unwrap());
    for command in commands {
        let output = Command::new(shell).args(["-c", command]).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    folder
}

fn parsed(folder: &Path) -> Result<LegacyEnvelope, Vec<BlobFault>> {
    let [data, digest, key] = ["data", "digest", "key"].map(|name| std::fs::read(folder.join(name)).unwrap());
    let signers = [test_keys::public(test_keys::administrator())];
    parse(&Blobs { data: &data, digest: &digest, key: &key }, 256, &signers)
}

fn opened(folder: &Path) -> Result<Verified<Box<[u8]>>, Invalid> {
    let envelope = parsed(folder).unwrap();
    let plain = test_keys::decrypt(&envelope);
    let signers = [test_keys::server(), test_keys::administrator()].map(test_keys::public);
    envelope.verify([plain.unwrap_or_default()], &signers)
}

#[test]
fn the_published_commands_upload() {
    let folder = run("bash", TEXT, &[IV_AND_KEY, DATA, DIGEST, KEY]);
    let upload = opened(folder.path()).unwrap().read(NOW).unwrap();
    assert_eq!(upload.draft.warnings.len(), 2);
    assert_eq!(upload.vending_key.bytes(), [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
    let size = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len();
    assert_eq!((size("digest"), size("key")), (350, 349));
}

#[test]
fn other_ways_to_sign() {
    for sign in [
        "openssl dgst -binary -sha256 text | openssl pkeyutl -sign -inkey user.pem | base64 -w0 > digest",
        "openssl dgst -sha256 -sign user.pem text | base64 > digest",
        "openssl dgst -binary -sha256 text > sum; openssl pkeyutl -sign -pkeyopt digest:sha256 -inkey user.pem -in sum \
         | base64 | sed 's/$/\\r/' | tr '+/' '-_' | tr -d = > digest",
    ] {
        let folder = run("bash", TEXT, &[IV_AND_KEY, DATA, sign, KEY]);
        assert!(opened(folder.path()).is_ok(), "{sign}");
    }
}

#[test]
fn texts_of_other_systems() {
    for text in [TEXT.replace('\n', "\r\n"), format!("\u{feff}{TEXT}"), TEXT.trim_end().to_owned()] {
        let folder = run("bash", &text, &[IV_AND_KEY, DATA, DIGEST, KEY]);
        assert!(opened(folder.path()).unwrap().read(NOW).is_ok(), "{text:?}");
    }
}

#[test]
fn slips_that_show_in_public_bytes() {
    let dash_echo = "echo -n -e 'ABCDEFGHIJKLMNOP' > iv; echo -n -e 'abcdefghijklmnop' > aes";
    // The hex of the files is cut as a person would paste it.
    let dash_data = "openssl enc -aes-128-cbc -K 6162636465666768696a6b6c6d6e6f70 -iv 4142434445464748494a4b4c4d4e4f50 \
        -in text -out body; cat iv body | base64 > data";
    let password =
        "openssl enc -aes-128-cbc -pass pass:secret -in text -out body 2>/dev/null; base64 body > data";
    let wrong_file = "openssl dgst -binary -sha256 text | openssl rsautl -sign -inkey user_key.pem 2>/dev/null \
        | openssl base64 > digest";
    let not_signed = "openssl dgst -binary -sha256 text | base64 > digest";
    let not_wrapped = "base64 aes > key";
    let in_clear = "base64 text > data";
    let raw = "cp text data";
    let swapped = "mv data spare; mv key data; mv spare key";
    let cases: [(&str, &[&str], Blob, Option<BlobHint>); 8] = [
        ("sh", &[dash_echo, dash_data, DIGEST, KEY], Blob::Data, Some(BlobHint::EchoOfSh)),
        ("bash", &[IV_AND_KEY, password, DIGEST, KEY], Blob::Data, None),
        ("sh", &[IV_AND_KEY, DATA, wrong_file, KEY], Blob::Digest, Some(BlobHint::SigningFailed)),
        ("bash", &[IV_AND_KEY, DATA, not_signed, KEY], Blob::Digest, Some(BlobHint::DigestNotSigned)),
        ("bash", &[IV_AND_KEY, DATA, DIGEST, not_wrapped], Blob::Key, Some(BlobHint::KeyNotEncrypted)),
        ("bash", &[IV_AND_KEY, DATA, DIGEST, KEY, in_clear], Blob::Data, None),
        ("bash", &[IV_AND_KEY, DATA, DIGEST, KEY, raw], Blob::Data, None),
        (
            "bash",
            &[IV_AND_KEY, DATA, DIGEST, KEY, swapped],
            Blob::Key,
            Some(BlobHint::SwappedWith(Blob::Data)),
        ),
    ];
    for (shell, commands, blob, hint) in cases {
        let folder = run(shell, TEXT, commands);
        let faults = parsed(folder.path()).expect_err(commands[1]);
        let named: Vec<_> = faults.iter().map(|fault| (fault.blob, fault.hint)).collect();
        assert_eq!(named, [(blob, hint)], "{commands:?}");
    }
}

#[test]
fn slips_that_only_the_signature_catches() {
    let line_feed_in_key = "printf %s ABCDEFGHIJKLMNOP > iv; echo abcdefghijklmnop > aes";
    let data_of_it = "openssl enc -aes-128-cbc -K 6162636465666768696a6b6c6d6e6f70 -iv 4142434445464748494a4b4c4d4e4f50 \
        -in text -out body; cat iv body | base64 > data";
    let wrong_iv = "cp data spare; (head -c 16 /dev/zero; cat body) | base64 > data";
    let other_text = "sed 's/key_type: 3/key_type: 2/' text > changed; mv changed text";
    let hex_digest = "openssl dgst -sha256 text | openssl rsautl -sign -inkey user.pem | base64 > digest";
    let no_iv = "base64 body > data";
    let cases: [&[&str]; 5] = [
        &[line_feed_in_key, data_of_it, DIGEST, KEY],
        &[IV_AND_KEY, DATA, DIGEST, KEY, wrong_iv],
        &[IV_AND_KEY, DATA, other_text, DIGEST, KEY],
        &[IV_AND_KEY, DATA, hex_digest, KEY],
        &[IV_AND_KEY, DATA, DIGEST, KEY, no_iv],
    ];
    for commands in cases {
        assert_eq!(opened(run("bash", TEXT, commands).path()).err(), Some(Invalid), "{commands:?}");
    }
}

#[test]
fn openssl_opens_what_we_encrypt() {
    let administrator =
        AdministratorKey::read(test_keys::administrator().to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes())
            .unwrap();
    let server = test_keys::public(test_keys::server());
    let made = encrypt(TEXT.as_bytes(), &server, &administrator, NOW, &mut OsRng).unwrap();
    let folder = run("bash", TEXT, &[]);
    let write = |name: &str, content: &str| std::fs::write(folder.path().join(name), content).unwrap();
    write("data", &made.data);
    write("digest", &made.digest);
    write("key", &made.key);
    write("server_private.pem", &test_keys::server().to_pkcs8_pem(LineEnding::LF).unwrap());
    let open = "set -e; base64 -d data > all; base64 -d key | openssl rsautl -decrypt -inkey server_private.pem > aes
        hex() { od -An -v -tx1 | tr -d ' \\n'; }
        tail -c +17 all | openssl enc -d -aes-128-cbc -K $(hex < aes) -iv $(head -c 16 all | hex) > opened
        cmp opened text
        base64 -d digest | openssl rsautl -verify -inkey user.pem > sum
        openssl dgst -binary -sha256 text | cmp - sum";
    let output = Command::new("bash").args(["-c", open]).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
