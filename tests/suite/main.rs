//! The whole service from outside: the real program, a real SoftHSM token for each test, the
//! openssl command line as uploader.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod access;
mod approvals;
mod approved;
mod batches;
mod busy;
mod certificates;
mod clock;
mod command_line;
mod conformance;
mod console;
mod crashing;
mod custody;
mod destroying;
mod faulty_hsm;
mod foreign;
mod forgery;

mod fuzzing;
mod hardening;
mod harness;
mod healing;
mod history;
mod hsm_probe;
mod http;
mod interrupted;
mod issuing;
mod ledger;
mod limits;
mod meter;
mod migrating;
mod modules;
mod one_server;
mod outputs;
mod platform;
mod postgresql;
mod proof;
mod protocol;
mod reports;
mod revocation;
mod rotating;
mod sealed;
mod selftest;
mod serve_check;
mod servers;
mod several_servers;
mod several_tokens;
mod simulator;
mod slips;
mod stopping;
mod tables;
mod tls;
mod token_files;
mod tools;
mod transport;
mod unheard;
mod uploading;
mod verifying;
mod wire;
