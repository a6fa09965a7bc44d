//! The HSM layer on a real SoftHSM token.
//!
//! `SOFTHSM2_CONF` must be in the environment before the module is loaded, and a module is the
//! process's, not the test's. So each test makes a token of its own and runs itself again in a
//! process of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may

mod hsm_scenarios {
    mod faults;
    mod keys;
    mod own_keys;
    pub(crate) mod rig;
    mod uploads;
}
