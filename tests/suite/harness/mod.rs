//! A server of its own for each test, on a token of its own on a tmpfs.

mod browser;
mod certificates;
mod health;
mod openssl;
pub mod persons;
mod pkcs11;
mod postgresql;
mod raw;
mod remote;
mod sealing;
mod search;
mod server;
mod shim;
mod two_tokens;

pub use browser::Browser;
pub use certificates::{Authority, OpensslServer, Validity};
pub use health::Health;
pub use openssl::{AES_IV, AES_KEY, Administrator, Blobs, base64, openssl};
pub use pkcs11::{key_objects, pkcs11_tool};
pub use postgresql::{Cluster, TestDatabase};
pub use raw::{Answer, Raw, flagged, framed, grpc, post};
pub use remote::RemoteHsm;
pub use sealing::{Sealer, decoder_key, flat, unflat};
pub use search::{Region, Secrets, memory};
pub use server::{
    Api, Home, Server, chosen_module, descriptions, issued, meter_test, reason, ten_kwh, violations,
    was_never_sent,
};
pub use shim::{Faults, library as shim};
pub use two_tokens::Which;

/// A configuration that can issue: DKGA04, EA07, base date 2014.
pub const DKGA04: &str = "\
---
name: test configuration
key_expiry_no: 255
encryption_algorithm: sta
token_carrier_type: numeric
decoder_key_generation_algorithm: 04
tariff_index: 01
key_revision_no: 1
vending_key: abababababababab949494949494949401234567
supply_group_code: 123456
key_type: 2
base_date: 2014
issuer_identification_no: 600727
";

/// One with a DES key: DKGA02, EA07, base date 2014.
pub const DKGA02: &str = "\
---
name: des configuration
key_expiry_no: 255
encryption_algorithm: sta
token_carrier_type: numeric
decoder_key_generation_algorithm: 02
tariff_index: 01
key_revision_no: 1
vending_key: 0123456789abcdef
supply_group_code: 123456
key_type: 2
base_date: 2014
issuer_identification_no: 600727
";

/// A meter number with a right check digit.
pub const DRN: &str = "47500150231";
