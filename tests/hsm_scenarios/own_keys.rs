//! Setup, capabilities, self-tests, signatures, PINs.

use std::os::unix::fs::PermissionsExt;

use rsa::pkcs8::DecodePublicKey;
use rsa::{Pss, RsaPublicKey};
use sha2::{Digest, Sha256};
use vendkey::hsm::{
    AuditKey, CbcForm, DesForm, HmacForm, Hsm, HsmError, KeyKind, KeySizes, PinFileProblem, PinRefusal,
    Provision, Role, TokenSelector, UnwrapScheme, UploadKey, VendingKeyMaterial, VendingKeys, setup,
};
use vendkey::sts::derivation::Derivation;

use super::rig::{block, derive, dkga02, runtime, with_any_token, with_token};

const SIZES: KeySizes = KeySizes { legacy: 2048, sealed: 2048, audit: 2048 };

#[test]
fn setup_is_safe_to_run_again() {
    with_token("hsm_scenarios::own_keys::setup_is_safe_to_run_again", |rig| {
        let settings = rig.settings();
        assert!(matches!(
            Hsm::start(settings.clone()).unwrap_err(),
            HsmError::NotSetUp(missing) if missing == [Role::RowSeal, Role::Fingerprint, Role::Legacy, Role::Audit]
        ));
        let first = setup(&settings, SIZES).unwrap();
        assert!(first.keys.iter().all(|(_, provision)| *provision == Provision::Created));
        let second = setup(&settings, SIZES).unwrap();
        assert!(second.keys.iter().all(|(_, provision)| *provision == Provision::Found));
        assert_eq!(first.server_key, second.server_key);
        assert_eq!(first.audit_key, second.audit_key);
        assert_ne!(first.server_key.fingerprint, first.audit_key.fingerprint);
        assert_eq!(first.server_key.bits, 2048);
        assert_eq!(first.server_key.fingerprint, hex::encode(Sha256::digest(&first.server_key.spki_der)));
        // A key that was lost is made again, the others stay.
        let deleted = rig.pkcs11_tool(&[
            "--delete-object",
            "--type",
            "privkey",
            "--id",
            &hex::encode(b"vendkey:audit\0\0\0"),
        ]);
        assert!(deleted.status.success());
        let third = setup(&settings, SIZES).unwrap();
        let created: Vec<Role> = third
            .keys
            .iter()
            .filter(|(_, provision)| *provision == Provision::Created)
            .map(|(role, _)| *role)
            .collect();
        assert_eq!(created, [Role::Audit]);
        assert_eq!(first.server_key, third.server_key);
    });
}

/// A key that somebody made by hand under our name is not trusted.
#[test]
fn foreign_keys_under_our_names_are_refused() {
    with_token("hsm_scenarios::own_keys::foreign_keys_under_our_names_are_refused", |rig| {
        let made = rig.pkcs11_tool(&[
            "--keygen",
            "--key-type",
            "generic:32",
            "--usage-sign",
            "--extractable",
            "--label",
            Role::RowSeal.label(),
            "--id",
            &hex::encode(b"vendkey:row-seal"),
        ]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let refused = setup(&rig.settings(), SIZES).unwrap_err();
        assert!(matches!(refused, HsmError::KeyUntrusted { role: Role::RowSeal, .. }), "{refused}");
    });
}

#[test]
fn capabilities_are_what_softhsm_does() {
    with_token("hsm_scenarios::own_keys::capabilities_are_what_softhsm_does", |rig| {
        let hsm = rig.hsm();
        let capabilities = hsm.capabilities();
        assert_eq!(capabilities.des, Ok(DesForm::Des3));
        assert_eq!(capabilities.des2, Ok(DesForm::Des3));
        assert_eq!(capabilities.hmac, Ok(HmacForm::Padded64));
        assert_eq!(capabilities.mask, Ok(()));
        assert_eq!(capabilities.upload_data, Ok(CbcForm::Padded));
        assert_eq!(capabilities.pss, Ok(()));
        assert_eq!(capabilities.allowed_mechanisms, Ok(()));
        for (scheme, probe) in &capabilities.unwrap {
            assert_eq!(probe.is_ok(), *scheme != UnwrapScheme::OaepSha256, "{scheme}: {probe:?}");
        }
        assert_eq!(capabilities.token.label, "test");
        let table = capabilities.to_string();
        assert!(table.contains("yes DKGA02 derivation: CKK_DES3, CKM_DES3_ECB"), "{table}");
        println!("{table}");
        let tests = runtime().block_on(hsm.selftest()).unwrap();
        assert!(tests.len() >= 10, "{tests:?}");
        assert!(tests.iter().all(|test| test.outcome.is_ok()), "{tests:?}");
        hsm.stop();
        let refused = runtime().block_on(hsm.server_key()).unwrap_err();
        assert!(matches!(refused, HsmError::Unavailable(_)), "{refused}");
    });
}

#[test]
fn checkpoints_are_signed_and_fingerprints_are_the_tokens_own() {
    with_any_token(
        "hsm_scenarios::own_keys::checkpoints_are_signed_and_fingerprints_are_the_tokens_own",
        &[],
        |rig| {
            let hsm = rig.hsm();
            runtime().block_on(async {
                let signature = hsm.sign_checkpoint(b"checkpoint 1").await.unwrap();
                let public = hsm.audit_public_key().await.unwrap();
                let public = RsaPublicKey::from_public_key_der(&public.spki_der).unwrap();
                let verify = |message: &[u8]| {
                    public.verify(Pss::new::<rsa::sha2::Sha256>(), &Sha256::digest(message), &signature)
                };
                verify(b"checkpoint 1").unwrap();
                verify(b"checkpoint 2").unwrap_err();

                let one = hsm.fingerprint("upload", b"data").await.unwrap();
                assert_eq!(one, hsm.fingerprint("upload", b"data").await.unwrap());
                assert_ne!(one, hsm.fingerprint("uploa", b"d\0data").await.unwrap());
                assert_ne!(one, hsm.fingerprint("row", b"data").await.unwrap());
                hsm.fingerprint("upload", b"").await.unwrap();
            });
        },
    );
}

#[test]
fn a_wrong_pin_is_tried_once() {
    with_token("hsm_scenarios::own_keys::a_wrong_pin_is_tried_once", |rig| {
        let settings = rig.settings();
        setup(&settings, SIZES).unwrap();
        let pin = std::fs::read(&settings.pin_file).unwrap();
        std::fs::write(&settings.pin_file, "not the PIN").unwrap();
        assert_eq!(Hsm::start(settings.clone()).unwrap_err(), HsmError::PinRefused(PinRefusal::Incorrect));
        std::fs::set_permissions(&settings.pin_file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            Hsm::start(settings.clone()).unwrap_err(),
            HsmError::PinFile { problem: PinFileProblem::Exposed(0o644), .. }
        ));
        std::fs::set_permissions(&settings.pin_file, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&settings.pin_file, pin).unwrap();
        Hsm::start(settings.clone()).unwrap();
        let elsewhere = TokenSelector::Label("another".to_owned());
        let mut other = settings.clone();
        other.token = elsewhere.clone();
        assert_eq!(Hsm::start(other).unwrap_err(), HsmError::TokenNotFound(elsewhere.to_string()));
        let mut absent = settings;
        absent.module = "/nonexistent/libpkcs11.so".into();
        assert!(matches!(Hsm::start(absent).unwrap_err(), HsmError::ModuleLoad { .. }));
    });
}

#[test]
fn session_keys_need_no_setup_and_go_when_dropped() {
    with_any_token(
        "hsm_scenarios::own_keys::session_keys_need_no_setup_and_go_when_dropped",
        &[KeyKind::Des],
        |rig| {
            let hsm = Hsm::start_bare(rig.settings()).unwrap();
            runtime().block_on(async {
                let vk = [0xab; 8];
                let key = hsm.import_session_key(VendingKeyMaterial::des(&vk).unwrap()).await.unwrap();
                let wanted = vec![(key.key(), Derivation::Dkga02 { block: block(1) })];
                assert_eq!(derive(&hsm, wanted.clone()).await.unwrap(), [dkga02(vk, block(1))]);
                assert!(hsm.key_objects().await.unwrap().is_empty(), "session keys are no token objects");
                drop(key);
                // The queue is first come, first served: the destruction is done when this is.
                hsm.key_objects().await.unwrap();
                assert!(matches!(derive(&hsm, wanted).await.unwrap_err(), HsmError::KeyMissing { .. }));
            });
        },
    );
}
