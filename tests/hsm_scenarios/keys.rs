//! Vending keys: import, proof, derivation, destruction.

use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeEncrypt, KeyIvInit};
use vendkey::hsm::{
    HsmError, KeyId, KeyKind, Mask, Mismatch, Role, TokenId, Tokens, VendingKey, VendingKeyClass,
    VendingKeyMaterial, VendingKeys, key_check_value,
};
use vendkey::sts::derivation::{Derivation, KeyBits};

use super::rig::{
    block, derive, des, dkga02, dkga03, dkga04, hmac, id, message, runtime, with_any_token, with_token,
};

/// Mixed parity on purpose: nothing may "repair" it.
const DES: [u8; 8] = [0x0a, 0xbc, 0x12, 0xde, 0xf3, 0x45, 0x67, 0x89];
const DES2: [u8; 16] = [0xab, 0x94, 1, 2, 3, 4, 5, 6, 0x94, 0xab, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60];
const HMAC: [u8; 20] = *b"\xab\xab\xab\xab\x94\x94\x94\x94\x01\x23\x45\x67\x00\x01\x02\x03\x04\x05\x06\x00";

#[test]
fn keys_derive_as_software_does() {
    with_any_token(
        "hsm_scenarios::keys::keys_derive_as_software_does",
        &[KeyKind::Des, KeyKind::Des2, KeyKind::Hmac],
        |rig| {
            let hsm = rig.hsm();
            runtime().block_on(async {
                let des_material = VendingKeyMaterial::des(&DES).unwrap();
                assert_eq!(key_check_value(&des_material).unwrap(), des(&DES, [0; 8])[..3]);
                let first = hsm.import_vending_key(id(1), des_material).await.unwrap();
                let two =
                    hsm.import_vending_key(id(2), VendingKeyMaterial::des2(&DES2).unwrap()).await.unwrap();
                let three =
                    hsm.import_vending_key(id(3), VendingKeyMaterial::hmac(&HMAC).unwrap()).await.unwrap();
                assert_eq!(first.kcv, des(&DES, [0; 8])[..3]);
                assert_eq!(three.kcv, hmac(&HMAC, b"vendkey kcv v1")[..3]);
                assert!(first.mask().is_some() && two.mask().is_none() && three.mask().is_none());

                let wanted = |n: u32| {
                    vec![
                        (first.key, Derivation::Dkga02 { block: block(n) }),
                        (two.key, Derivation::Dkga03 { block: block(n) }),
                        (three.key, Derivation::Dkga04 { message: message(n), bits: KeyBits::Bits64 }),
                        (three.key, Derivation::Dkga04 { message: message(n), bits: KeyBits::Bits128 }),
                        (first.key, Derivation::Dkga02 { block: block(n + 1_000_000) }),
                    ]
                };
                let expected = |n: u32| {
                    vec![
                        dkga02(DES, block(n)),
                        dkga03(DES2, block(n)),
                        dkga04(HMAC, message(n), KeyBits::Bits64),
                        dkga04(HMAC, message(n), KeyBits::Bits128),
                        dkga02(DES, block(n + 1_000_000)),
                    ]
                };
                // Alone, and all at once, so that jobs share calls.
                assert_eq!(derive(&hsm, wanted(0)).await.unwrap(), expected(0));
                let tasks: Vec<_> = (1..200)
                    .map(|n| {
                        let (hsm, wanted) = (hsm.clone(), wanted(n));
                        let only_des = (n % 2 == 0).then(|| vec![wanted[0], wanted[4]]);
                        (n, tokio::spawn(async move { derive(&hsm, only_des.unwrap_or(wanted)).await }))
                    })
                    .collect();
                for (n, task) in tasks {
                    let all = expected(n);
                    let expected = if n % 2 == 0 { vec![all[0].clone(), all[4].clone()] } else { all };
                    assert_eq!(task.await.unwrap().unwrap(), expected, "{n}");
                }
                // One job as large as fits, one larger.
                let many = |count: u32| {
                    (0..count).map(|n| (first.key, Derivation::Dkga02 { block: block(n) })).collect()
                };
                let keys = derive(&hsm, many(1024)).await.unwrap();
                assert!(keys.iter().zip(0..).all(|(key, n)| *key == dkga02(DES, block(n))));
                assert_eq!(
                    derive(&hsm, many(1025)).await.unwrap_err(),
                    HsmError::TooMany { asked: 1025, most: 1024 }
                );
                assert!(derive(&hsm, Vec::new()).await.unwrap().is_empty());
            });
        },
    );
}

#[test]
fn one_bad_job_does_not_spoil_the_batch() {
    with_any_token("hsm_scenarios::keys::one_bad_job_does_not_spoil_the_batch", &[KeyKind::Des], |rig| {
        let hsm = rig.hsm();
        runtime().block_on(async {
            let good =
                hsm.import_vending_key(id(1), VendingKeyMaterial::des(&DES).unwrap()).await.unwrap().key;
            let other =
                hsm.import_vending_key(id(2), VendingKeyMaterial::des(&[7; 8]).unwrap()).await.unwrap();
            let wanted = |key| vec![(key, Derivation::Dkga02 { block: block(1) })];
            let mut tampered = good;
            let VendingKeyClass::Des { mask } = &mut tampered.class else { panic!() };
            mask.ciphertext[3] ^= 1;
            // Another configuration's mask gives no key either.
            let mut swapped = good;
            swapped.class = other.key.class;
            let mut missing = good;
            missing.id = id(9);
            let mut elsewhere = good;
            elsewhere.token = TokenId([7; 8]);
            let (a, b, c, d, e, f) = tokio::join!(
                derive(&hsm, wanted(good)),
                derive(&hsm, wanted(tampered)),
                derive(&hsm, wanted(missing)),
                derive(&hsm, wanted(swapped)),
                derive(&hsm, vec![(good, Derivation::Dkga03 { block: block(1) })]),
                derive(&hsm, wanted(elsewhere)),
            );
            assert_eq!(good.token, hsm.tokens()[0]);
            assert_eq!(f.unwrap_err(), HsmError::OtherToken { id: id(1), token: TokenId([7; 8]) });
            assert_eq!(a.unwrap(), [dkga02(DES, block(1))]);
            let untrusted =
                HsmError::KeyUntrusted { role: Role::Mask, id: id(1), mismatch: Mismatch::Derivation };
            assert_eq!(b.unwrap_err(), untrusted);
            assert_eq!(c.unwrap_err(), HsmError::KeyMissing { role: Role::VendingKey, id: id(9) });
            assert_eq!(d.unwrap_err(), untrusted);
            assert_eq!(
                e.unwrap_err(),
                HsmError::WrongKind { id: id(1), held: KeyKind::Des, needed: KeyKind::Des2 }
            );
        });
    });
}

/// Masks that were made before had the CKA_ID of their key.
#[test]
fn masks_of_before_are_found_and_destroyed() {
    with_token("hsm_scenarios::keys::masks_of_before_are_found_and_destroyed", |rig| {
        let hsm = rig.hsm();
        runtime().block_on(async {
            let imported =
                hsm.import_vending_key(id(1), VendingKeyMaterial::des(&DES).unwrap()).await.unwrap();
            let mut of_mask = id(1).0;
            of_mask[0] |= 0x80;
            let delete = ["--delete-object", "--type", "secrkey", "--id", &hex::encode(of_mask)];
            assert!(rig.pkcs11_tool(&delete).status.success());

            let (mask_key, iv) = ([0x4d; 32], [3; 16]);
            let mut pair = [DES, DES].concat();
            let encrypted = cbc::Encryptor::<aes::Aes256>::new(&mask_key.into(), &iv.into())
                .encrypt_padded::<NoPadding>(&mut pair, 16)
                .unwrap();
            let ciphertext = encrypted.try_into().unwrap();
            let file = rig.folder.join("mask");
            std::fs::write(&file, mask_key).unwrap();
            let (file, of_key) = (file.to_str().unwrap(), hex::encode(id(1).0));
            let write =
                ["--write-object", file, "--type", "secrkey", "--key-type", "AES:32", "--id", &of_key];
            let written =
                rig.pkcs11_tool(&[&write[..], &["--label", "vendkey mask key", "--usage-decrypt"]].concat());
            assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));

            let class = VendingKeyClass::Des { mask: Mask { iv, ciphertext } };
            let wanted = vec![(VendingKey { class, ..imported.key }, Derivation::Dkga02 { block: block(1) })];
            assert_eq!(derive(&hsm, wanted).await.unwrap(), [dkga02(DES, block(1))]);
            assert_eq!(hsm.key_objects().await.unwrap().len(), 2);
            hsm.destroy_vending_key(id(1)).await.unwrap();
            assert!(hsm.key_objects().await.unwrap().is_empty());
        });
    });
}

/// Seen by a tool that is not ours.
#[test]
fn imported_keys_are_locked_away() {
    with_token("hsm_scenarios::keys::imported_keys_are_locked_away", |rig| {
        let hsm = rig.hsm();
        let imports = async {
            hsm.import_vending_key(id(1), VendingKeyMaterial::des(&DES).unwrap()).await.unwrap();
            hsm.import_vending_key(id(3), VendingKeyMaterial::hmac(&HMAC).unwrap()).await.unwrap();
        };
        runtime().block_on(imports);
        let listed = rig.pkcs11_tool(&["--list-objects", "--type", "secrkey"]);
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert_eq!(
            text.matches("Secret Key Object").count(),
            5,
            "row seal, fingerprint, two vending keys, a mask: {text}"
        );
        assert_eq!(text.matches("vendkey vending key").count(), 2, "{text}");
        for line in text.lines().filter(|line| line.trim_start().starts_with("Usage:")) {
            let usage = line.trim_start().trim_start_matches("Usage:").trim();
            // The tool shows no usage of secret keys that only sign.
            assert!(["encrypt", "decrypt", "sign", "none"].contains(&usage), "more than one usage: {line}");
        }
        for line in text.lines().filter(|line| line.trim_start().starts_with("Access:")) {
            let access: Vec<&str> =
                line.trim_start().trim_start_matches("Access:").split(',').map(str::trim).collect();
            assert!(access.contains(&"sensitive") && !access.contains(&"extractable"), "{line}");
        }
        for key in [id(1), id(3)] {
            let read = rig.pkcs11_tool(&["--read-object", "--type", "secrkey", "--id", &key.to_string()]);
            assert!(!read.status.success());
            assert!(read.stdout.is_empty(), "something was read");
        }
        // The file store of SoftHSM holds no key in clear either.
        let mut files = vec![rig.folder.join("tokens")];
        while let Some(path) = files.pop() {
            if path.is_dir() {
                files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                let bytes = std::fs::read(&path).unwrap();
                assert!(!bytes.windows(8).any(|window| window == DES), "{}", path.display());
                assert!(!bytes.windows(20).any(|window| window == HMAC), "{}", path.display());
            }
        }
    });
}

#[test]
fn importing_again_replaces_and_destroying_is_seen_by_all_threads() {
    with_any_token(
        "hsm_scenarios::keys::importing_again_replaces_and_destroying_is_seen_by_all_threads",
        &[KeyKind::Des],
        |rig| {
            let mut settings = rig.settings();
            settings.threads = 2;
            let hsm = rig.hsm_with(settings);
            runtime().block_on(async {
                let import = |id: KeyId, key: [u8; 8]| {
                    let hsm = hsm.clone();
                    async move {
                        hsm.import_vending_key(id, VendingKeyMaterial::des(&key).unwrap()).await.unwrap().key
                    }
                };
                let wanted = |key| vec![(key, Derivation::Dkga02 { block: block(5) })];
                let (old, kept) = (import(id(1), DES).await, import(id(2), [3; 8]).await);
                for _ in 0..20 {
                    derive(&hsm, wanted(old)).await.unwrap();
                }
                let new = import(id(1), [9; 8]).await;
                assert_eq!(hsm.key_objects().await.unwrap().len(), 4, "one key and one mask each");
                assert_ne!(old, new);
                assert_eq!(derive(&hsm, wanted(new)).await.unwrap(), [dkga02([9; 8], block(5))]);
                // The first import's mask goes with the first mask key.
                assert!(derive(&hsm, wanted(old)).await.is_err());

                hsm.destroy_vending_key(id(1)).await.unwrap();
                hsm.destroy_vending_key(id(1)).await.unwrap();
                for _ in 0..20 {
                    assert!(matches!(
                        derive(&hsm, wanted(new)).await.unwrap_err(),
                        HsmError::KeyMissing { .. }
                    ));
                }
                assert_eq!(derive(&hsm, wanted(kept)).await.unwrap(), [dkga02([3; 8], block(5))]);
                let objects = hsm.key_objects().await.unwrap();
                assert!(objects.iter().all(|object| object.id == Some(id(2))), "{objects:?}");
                assert_eq!(
                    objects.iter().map(|object| object.role).collect::<Vec<_>>(),
                    [Role::VendingKey, Role::Mask]
                );
            });
        },
    );
}
