//! Vendkey: key management for prepaid vending.
//!
//! The folders are the layers; each knows only those above it in this list.

pub mod sts;

pub mod secret;

pub mod clock;

pub mod crash;

pub mod metrics;

pub mod table;

pub mod token_log;

pub mod chart;

pub mod hardening;

pub mod hsm;

pub mod envelope;

pub mod pem_file;

pub mod id;

pub mod audit;

pub mod selftest;

pub mod access;

pub mod configuration;

pub mod ledger;

pub mod store;

pub mod settings;

pub mod vending;

pub mod custody;

pub mod acts;

pub mod api;

pub mod http;

pub mod console;

pub mod server;

pub mod connection;

pub mod bench;

pub mod conformance;

pub mod cli;
