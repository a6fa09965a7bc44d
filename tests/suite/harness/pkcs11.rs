//! A second look at the token: OpenSC's pkcs11-tool.

use std::{fs, process::Command};

use super::Home;

/// What `pkcs11-tool` prints with these arguments, logged in.
pub fn pkcs11_tool(home: &Home, arguments: &[&str]) -> std::process::Output {
    let pin = fs::read_to_string(home.path("hsm/pin")).unwrap();
    Command::new("pkcs11-tool")
        .args(["--module", "/usr/lib/softhsm/libsofthsm2.so", "--token-label", "vendkey", "--login"])
        .args(["--pin", pin.trim()])
        .args(arguments)
        .env("SOFTHSM2_CONF", home.path("hsm/softhsm2.conf"))
        .output()
        .expect("pkcs11-tool is installed")
}

/// How many secret key objects the token holds.
pub fn key_objects(home: &Home) -> usize {
    let listed = pkcs11_tool(home, &["--list-objects", "--type", "secrkey"]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    String::from_utf8_lossy(&listed.stdout).matches("Secret Key Object").count()
}
