//! The whole service from outside: the real program, a real SoftHSM token for each test, the openssl command line as uploader.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod command_line;
mod crashing;
mod custody;
mod foreign;
mod harness;
mod healing;
mod history;
mod issuing;
mod ledger;
mod many;
mod transport;
mod uploading;
