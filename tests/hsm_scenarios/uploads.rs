//! Opening legacy uploads: what comes out, and that nothing else is told.

use aes::Aes128;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeEncrypt, KeyIvInit};
use rsa::pkcs8::DecodePublicKey;
use rsa::rand_core::OsRng;
use rsa::{Oaep, Pkcs1v15Encrypt, RsaPublicKey};
use vendkey::hsm::{Hsm, KeySizes, OwnKeys, Role, UploadKey, setup};

use super::rig::{runtime, with_any_token};

const KEY: &[u8; 16] = b"sixteen letters!";
const CLEAR: &[u8] = b"---\nname: example_config \nkey_expiry_no: 255\n";

fn data() -> Vec<u8> {
    let iv = [0x33; 16];
    let mut buffer = CLEAR.to_vec();
    buffer.resize(CLEAR.len() + 16, 0);
    let encrypted = cbc::Encryptor::<Aes128>::new(KEY.into(), &iv.into())
        .encrypt_padded::<Pkcs7>(&mut buffer, CLEAR.len())
        .unwrap();
    [&iv, encrypted].concat()
}

async fn open(hsm: &Hsm, wrapped: &[u8], data: &[u8]) -> Vec<Vec<u8>> {
    let opened = hsm.open_legacy(wrapped.to_vec(), data.to_vec(), 0).await.unwrap();
    opened.iter().map(|candidate| candidate.to_vec()).collect()
}

#[test]
fn only_good_uploads_open() {
    with_any_token("hsm_scenarios::uploads::only_good_uploads_open", &[], |rig| {
        let hsm = rig.hsm();
        runtime().block_on(async {
            let server = hsm.server_key().await.unwrap();
            let public = RsaPublicKey::from_public_key_der(&server.spki_der).unwrap();
            let wrap = |key: &[u8]| public.encrypt(&mut OsRng, Pkcs1v15Encrypt, key).unwrap();
            let oaep = public.encrypt(&mut OsRng, Oaep::new::<sha1::Sha1>(), KEY).unwrap();
            let (good, data) = (wrap(KEY), data());

            for wrapped in [&good, &oaep] {
                assert!(open(&hsm, wrapped, &data).await.iter().any(|candidate| candidate == CLEAR));
            }
            // A wrong IV still opens, to something that the digest will refuse.
            let mut other_iv = data.clone();
            other_iv[0] ^= 1;
            assert!(open(&hsm, &good, &other_iv).await.iter().all(|candidate| candidate != CLEAR));

            let mut flipped = good.clone();
            flipped[100] ^= 1;
            let bad_wraps: [&[u8]; 9] = [
                &flipped,
                &good[1..],
                &[],
                &[0; 256],
                &[0xff; 256],
                &wrap(b"sixteen letters!\n"),
                &wrap(b"fifteen letters"),
                &wrap(&[7; 32]),
                &wrap(b"another AES key!"),
            ];
            for (n, wrapped) in bad_wraps.into_iter().enumerate() {
                // A key of the right length that is not the right key may hit valid padding once in
                // 256 times.
                let opened = open(&hsm, wrapped, &data).await;
                assert!(opened.iter().all(|candidate| candidate != CLEAR), "{n}");
                assert!(n >= 7 || opened.is_empty(), "{n}");
            }
            for bad in [&data[..0], &data[..16], &data[..31], &data[..data.len() - 1]] {
                assert!(open(&hsm, &good, bad).await.is_empty());
            }
            // After all that the HSM is as well as before.
            assert!(open(&hsm, &good, &data).await.iter().any(|candidate| candidate == CLEAR));
            assert_eq!(*hsm.health().borrow(), vendkey::hsm::Health::Healthy);
        });
    });
}

#[test]
fn an_old_server_key_opens_until_its_time_and_no_longer() {
    with_any_token(
        "hsm_scenarios::uploads::an_old_server_key_opens_until_its_time_and_no_longer",
        &[],
        |rig| {
            const UNTIL_MS: i64 = 1_795_298_400_000;
            let sizes = KeySizes { legacy: 2048, sealed: 2048, audit: 2048 };
            setup(&rig.settings(), sizes).unwrap();
            let keys = OwnKeys::open(&rig.settings()).unwrap();
            for role in [Role::Legacy, Role::Sealed] {
                let old = keys.generations(role).unwrap().remove(0);
                keys.renew(&old, sizes).unwrap();
                keys.keep_until(&old, UNTIL_MS).unwrap();
                if role == Role::Legacy {
                    let public = RsaPublicKey::from_public_key_der(old.spki_der.as_ref().unwrap()).unwrap();
                    let wrapped = public.encrypt(&mut OsRng, Pkcs1v15Encrypt, KEY).unwrap();
                    std::fs::write(rig.folder.join("wrapped"), wrapped).unwrap();
                }
            }
            drop(keys);
            let hsm = rig.hsm();
            runtime().block_on(async {
                let wrapped = std::fs::read(rig.folder.join("wrapped")).unwrap();
                let opened = async |now_ms| {
                    let opened = hsm.open_legacy(wrapped.clone(), data(), now_ms).await.unwrap();
                    opened.iter().any(|candidate| **candidate == *CLEAR)
                };
                assert!(opened(UNTIL_MS - 1).await);
                assert!(!opened(UNTIL_MS).await, "its time is over, though the token holds it");
                let sealing = async |now_ms| hsm.sealing_keys(now_ms).await.unwrap().len();
                assert_eq!((sealing(UNTIL_MS - 1).await, sealing(UNTIL_MS).await), (2, 1));
            });
        },
    );
}
