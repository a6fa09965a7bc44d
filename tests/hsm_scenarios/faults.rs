//! Things that get lost under load, and come back; queues that fill up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use vendkey::hsm::{
    AuditKey, DecoderKeys, Health, Hsm, HsmError, HsmSettings, PinRefusal, Queue, UploadKey, VendingKey,
    VendingKeyMaterial, VendingKeys, WithDecoderKeys,
};
use vendkey::sts::derivation::{Derivation, KeyBits};

use super::rig::{MODULE, Rig, block, derive, dkga02, dkga04, id, message, runtime, with_token};

const DES: [u8; 8] = [0xab; 8];
const HMAC: [u8; 20] = [0x94; 20];

/// Clients that ask all the time: every answer must be right, or say that the HSM is unavailable.
struct Load {
    hsm: Hsm,
    key: VendingKey,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    async fn start(hsm: &Hsm) -> Load {
        let des = hsm.import_vending_key(id(1), VendingKeyMaterial::des(&DES).unwrap()).await.unwrap().key;
        let mac = hsm.import_vending_key(id(2), VendingKeyMaterial::hmac(&HMAC).unwrap()).await.unwrap().key;
        let mut load = Load {
            hsm: hsm.clone(),
            key: des,
            stop: Arc::default(),
            answered: Arc::default(),
            refused: Arc::default(),
            clients: Vec::new(),
        };
        for client in 0..8 {
            let (stop, answered, refused) = (load.stop.clone(), load.answered.clone(), load.refused.clone());
            let hsm = hsm.clone();
            load.clients.push(tokio::spawn(async move {
                let mut n = client * 1_000_000;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    match derive(&hsm, wanted(des, mac, n)).await {
                        Ok(keys) => {
                            assert_eq!(keys, expected(n));
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(HsmError::Unavailable(_)) => {
                            refused.fetch_add(1, Ordering::Relaxed);
                            tokio::time::sleep(Duration::from_millis(2)).await;
                        }
                        Err(other) => panic!("{other:?}"),
                    }
                }
            }));
        }
        load.some_more().await;
        load
    }

    /// Does harm while no call into the module is under way: SoftHSM crashes when a session is
    /// closed in the middle of its use, as PKCS#11 allows. The closure runs on the only worker
    /// thread, and the monitor is silent in these tests.
    async fn between_calls(&self, harm: impl FnOnce() + Send + 'static) {
        let mut harm = Some(harm);
        loop {
            let Ok(permit) = self.hsm.try_reserve() else {
                tokio::time::sleep(Duration::from_millis(2)).await;
                continue;
            };
            let now = harm.take().unwrap();
            let wanted = vec![(self.key, Derivation::Dkga02 { block: block(0) })];
            return self.hsm.with_decoder_keys(permit, wanted, |_| now()).await.unwrap();
        }
    }

    /// Until another hundred answers came.
    async fn some_more(&self) {
        let start = self.answered.load(Ordering::Relaxed);
        patiently(&format!("answers, after {start}"), || {
            self.answered.load(Ordering::Relaxed) >= start + 100
        })
        .await;
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

fn wanted(des: VendingKey, mac: VendingKey, n: u32) -> Vec<(VendingKey, Derivation)> {
    vec![
        (des, Derivation::Dkga02 { block: block(n) }),
        (mac, Derivation::Dkga04 { message: message(n), bits: KeyBits::Bits64 }),
    ]
}

fn expected(n: u32) -> Vec<Vec<u8>> {
    vec![dkga02(DES, block(n)), dkga04(HMAC, message(n), KeyBits::Bits64)]
}

async fn patiently(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within 30 s");
}

async fn until_well(hsm: &Hsm) {
    let health = hsm.health();
    patiently("well", || *health.borrow() == Health::Healthy).await;
}

async fn until_ill(hsm: &Hsm) {
    let health = hsm.health();
    patiently("ill", || *health.borrow() != Health::Healthy).await;
}

#[test]
fn a_token_folder_that_vanishes_and_returns_heals() {
    with_token("hsm_scenarios::faults::a_token_folder_that_vanishes_and_returns_heals", |rig| {
        let hsm = rig.hsm();
        runtime().block_on(async {
            let load = Load::start(&hsm).await;
            let (there, away) = (rig.folder.join("tokens"), rig.folder.join("away"));
            for _ in 0..2 {
                std::fs::rename(&there, &away).unwrap();
                until_ill(&hsm).await;
                assert!(matches!(hsm.try_reserve().unwrap_err(), HsmError::Unavailable(_)));
                assert!(matches!(hsm.server_key().await.unwrap_err(), HsmError::Unavailable(_)));
                let refused = load.refused.load(Ordering::Relaxed);
                patiently("refusals", || load.refused.load(Ordering::Relaxed) > refused + 10).await;
                // SoftHSM makes the folder anew where it can.
                let _ = std::fs::remove_dir_all(&there);
                std::fs::rename(&away, &there).unwrap();
                until_well(&hsm).await;
                load.some_more().await;
                hsm.import_vending_key(id(7), VendingKeyMaterial::des(&DES).unwrap()).await.unwrap();
                hsm.sign_checkpoint(b"still here").await.unwrap();
            }
            load.end().await;
        });
    });
}

/// Without a monitor that might be in the module while it is harmed.
fn quiet(rig: &Rig) -> HsmSettings {
    HsmSettings { check_interval: Duration::from_secs(3600), ..rig.settings() }
}

/// Imports, uploads, destructions and signatures beside token traffic disturb nobody.
#[test]
fn administration_goes_on_under_load() {
    with_token("hsm_scenarios::faults::administration_goes_on_under_load", |rig| {
        let hsm = rig.hsm_with(HsmSettings { threads: 2, ..rig.settings() });
        runtime().block_on(async {
            let load = Load::start(&hsm).await;
            for n in 0..40 {
                let made =
                    hsm.import_vending_key(id(10 + n), VendingKeyMaterial::des(&[n; 8]).unwrap()).await;
                let wanted = vec![(made.unwrap().key, Derivation::Dkga02 { block: block(1) })];
                assert_eq!(derive(&hsm, wanted).await.unwrap(), [dkga02([n; 8], block(1))]);
                assert!(hsm.open_legacy(vec![n; 256], vec![n; 64], 0).await.unwrap().is_empty());
                hsm.sign_checkpoint(&[n]).await.unwrap();
                if n % 2 == 0 {
                    hsm.destroy_vending_key(id(10 + n)).await.unwrap();
                }
            }
            assert!(hsm.selftest().await.unwrap().iter().all(|test| test.outcome.is_ok()));
            assert_eq!(load.refused.load(Ordering::Relaxed), 0);
            assert_eq!(hsm.key_objects().await.unwrap().len(), 20 * 2 + 3);
            load.end().await;
        });
    });
}

/// Another user of the module in this process.
fn intruder() -> (Pkcs11, cryptoki::slot::Slot) {
    let library = Pkcs11::new(MODULE).unwrap();
    let again = library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    assert!(matches!(again, Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _))));
    let slots = library.get_slots_with_initialized_token().unwrap();
    (library, slots[0])
}

/// Takes every session away, and the login with them.
#[allow(unsafe_code)]
fn close_all_sessions() {
    let (_, slot) = intruder();
    // SAFETY: a PKCS#11 function of a loaded library, given a slot of it.
    let code = unsafe {
        let raw = cryptoki_sys::Pkcs11::new(MODULE).unwrap();
        let mut list = std::ptr::null_mut();
        assert_eq!(raw.C_GetFunctionList(&mut list), 0);
        let close = (*list).C_CloseAllSessions.unwrap();
        let code = close(slot.id());
        std::mem::forget(raw);
        code
    };
    assert_eq!(code, 0);
}

#[test]
fn sessions_that_are_closed_under_load_open_again() {
    with_token("hsm_scenarios::faults::sessions_that_are_closed_under_load_open_again", |rig| {
        let hsm = rig.hsm_with(quiet(rig));
        runtime().block_on(async {
            let load = Load::start(&hsm).await;
            for _ in 0..5 {
                load.between_calls(close_all_sessions).await;
                until_well(&hsm).await;
                load.some_more().await;
                until_well(&hsm).await;
                hsm.server_key().await.unwrap();
            }
            load.end().await;
        });
    });
}

#[test]
fn a_logout_by_somebody_else_is_undone() {
    with_token("hsm_scenarios::faults::a_logout_by_somebody_else_is_undone", |rig| {
        let hsm = rig.hsm_with(quiet(rig));
        runtime().block_on(async {
            let load = Load::start(&hsm).await;
            for _ in 0..5 {
                load.between_calls(|| {
                    let (library, slot) = intruder();
                    library.open_ro_session(slot).unwrap().logout().unwrap();
                })
                .await;
                load.some_more().await;
                until_well(&hsm).await;
                hsm.import_vending_key(id(7), VendingKeyMaterial::des(&DES).unwrap()).await.unwrap();
            }
            load.end().await;
        });
    });
}

#[test]
fn a_finalised_module_is_initialised_again() {
    with_token("hsm_scenarios::faults::a_finalised_module_is_initialised_again", |rig| {
        let hsm = rig.hsm_with(quiet(rig));
        runtime().block_on(async {
            let load = Load::start(&hsm).await;
            load.between_calls(|| intruder().0.finalize().unwrap()).await;
            load.some_more().await;
            until_well(&hsm).await;
            load.end().await;
        });
    });
}

/// A PIN that was changed meanwhile is tried once; then the HSM stays ill, and the token's counter
/// stays where it is.
#[test]
fn a_pin_that_was_changed_is_not_tried_again() {
    with_token("hsm_scenarios::faults::a_pin_that_was_changed_is_not_tried_again", |rig: &Rig| {
        let hsm = rig.hsm();
        runtime().block_on(async {
            let pin_file = rig.settings().pin_file;
            let pin = std::fs::read(&pin_file).unwrap();
            std::fs::write(&pin_file, "not the PIN").unwrap();
            // The monitor notices.
            close_all_sessions();
            until_ill(&hsm).await;
            let refused = HsmError::PinRefused(PinRefusal::Incorrect).to_string();
            let health = hsm.health();
            patiently(
                "the PIN as the reason",
                || matches!(&*health.borrow(), Health::Unhealthy { reason } if *reason == refused),
            )
            .await;
            std::fs::write(&pin_file, pin).unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!(matches!(&*health.borrow(), Health::Unhealthy { reason } if *reason == refused));
            assert!(matches!(hsm.server_key().await.unwrap_err(), HsmError::Unavailable(_)));
        });
    });
}

#[test]
fn a_hanging_thread_is_noticed() {
    with_token("hsm_scenarios::faults::a_hanging_thread_is_noticed", |rig| {
        let limit = Duration::from_millis(300);
        let hsm = rig.hsm_with(HsmSettings { answer_timeout: limit, ..quiet(rig) });
        runtime().block_on(async {
            let des = VendingKeyMaterial::des(&DES).unwrap();
            let key = hsm.import_vending_key(id(1), des).await.unwrap().key;
            let wanted = vec![(key, Derivation::Dkga02 { block: block(1) })];
            let mut health = hsm.health();
            let permit = hsm.try_reserve().unwrap();
            let hangs = hsm
                .with_decoder_keys(permit, wanted.clone(), |_| std::thread::sleep(Duration::from_secs(1)))
                .await;
            assert_eq!(hangs.unwrap_err(), HsmError::Timeout(limit));
            health.changed().await.unwrap();
            until_well(&hsm).await;
            // The next waits behind it; once the thread goes on, so does all.
            assert_eq!(derive(&hsm, wanted.clone()).await.unwrap_err(), HsmError::Timeout(limit));
            tokio::time::sleep(Duration::from_millis(800)).await;
            until_well(&hsm).await;
            assert_eq!(derive(&hsm, wanted).await.unwrap(), [dkga02(DES, block(1))]);
        });
    });
}

#[test]
fn a_full_queue_says_busy() {
    with_token("hsm_scenarios::faults::a_full_queue_says_busy", |rig| {
        let mut settings = rig.settings();
        settings.queue = 2;
        settings.admin_queue = 1;
        let hsm = rig.hsm_with(settings);
        let key = runtime().block_on(async {
            let (first, second) = (hsm.try_reserve().unwrap(), hsm.try_reserve().unwrap());
            assert_eq!(hsm.try_reserve().unwrap_err(), HsmError::Busy(Queue::Vending));
            drop(first);
            let third = hsm.try_reserve().unwrap();
            drop((second, third));
            hsm.import_vending_key(id(1), VendingKeyMaterial::des(&DES).unwrap()).await.unwrap().key
        });
        runtime().block_on(async {
            // A job that keeps the worker busy keeps its permit as well.
            let (go, wait) = std::sync::mpsc::channel::<()>();
            let wanted = vec![(key, Derivation::Dkga02 { block: block(1) })];
            let slow = {
                let (hsm, wanted, permit) = (hsm.clone(), wanted.clone(), hsm.try_reserve().unwrap());
                tokio::spawn(async move {
                    hsm.with_decoder_keys(permit, wanted, move |_| wait.recv().is_ok()).await
                })
            };
            let next = {
                let (hsm, wanted, permit) = (hsm.clone(), wanted.clone(), hsm.try_reserve().unwrap());
                tokio::spawn(async move { hsm.with_decoder_keys(permit, wanted, |keys| keys.len()).await })
            };
            assert_eq!(hsm.try_reserve().unwrap_err(), HsmError::Busy(Queue::Vending));
            go.send(()).unwrap();
            assert!(slow.await.unwrap().unwrap());
            assert_eq!(next.await.unwrap().unwrap(), 1);
            // A closure that panics costs its caller an answer, and nobody else anything.
            let permit = hsm.try_reserve().unwrap();
            let failed = hsm.with_decoder_keys(permit, wanted.clone(), |_| panic!("on purpose")).await;
            assert!(matches!(failed, Err::<(), _>(HsmError::Unavailable(_))));
            assert_eq!(derive(&hsm, wanted).await.unwrap(), [dkga02(DES, block(1))]);

            let asked: Vec<_> = (0..20)
                .map(|_| {
                    let hsm = hsm.clone();
                    tokio::spawn(async move { hsm.sign_checkpoint(b"many").await })
                })
                .collect();
            let mut busy = 0;
            for asked in asked {
                match asked.await.unwrap() {
                    Ok(_) => {}
                    Err(HsmError::Busy(Queue::Admin)) => busy += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            assert!(busy > 0);
        });
    });
}
