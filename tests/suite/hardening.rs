//! What the kernel keeps from the server.

use std::{fs, os::unix::fs::symlink, process::Command};

use rustix::process::Signal;
use vendkey::hardening;

use crate::{
    harness::{DKGA04, Home, Server, Validity, ten_kwh},
    tls::{logged, served},
};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const KEPT: &str = "Landlock keeps all other paths and ports from the server";

/// What the kernel says of each thread of a server.
fn threads(server: &Server) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
    // Threads come and go meanwhile.
    tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("status")).ok()).collect()
}

#[test]
fn files_that_no_setting_names_are_not_read_whatever_leads_to_them() {
    if !hardening::is_known_here() {
        return;
    }
    let (home, elsewhere) = (Home::new(), Home::new());
    let (server, authority) = served(&home, "");
    assert!(home.log().contains(KEPT));
    let pair = |at: &Home| authority.sign(at, "server", &Validity::Good);
    pair(&elsewhere);
    for name in ["server.pem", "server.key"] {
        fs::remove_file(home.path(name)).unwrap();
        symlink(elsewhere.path(name), home.path(name)).unwrap();
    }
    server.signal(Signal::HUP);
    logged(&home, "the files of TLS cannot be used; the certificate stays as it was");
    assert!(home.log().contains("cannot be read: Permission denied"));
    // In their place again, it reads them.
    for name in ["server.pem", "server.key"] {
        fs::remove_file(home.path(name)).unwrap();
    }
    pair(&home);
    server.signal(Signal::HUP);
    logged(&home, "new connections get the certificate of the files as they are now");
    assert!(server.stop().success());
}

#[tokio::test]
async fn a_hardened_server_does_its_work_and_no_thread_is_left_out() {
    let home = Home::new();
    home.write_settings("[metrics]\nlisten = '127.0.0.1:0'\n");
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    api.issue(ten_kwh(&configuration)).await.unwrap();
    let threads_of_one = threads(&server);
    assert!(threads_of_one.len() > 4, "{}", threads_of_one.len());
    for thread in threads_of_one {
        for line in ["Seccomp:\t2", "NoNewPrivs:\t1"] {
            assert!(thread.contains(line), "{line} is not in {thread}");
        }
    }
    let log = home.log();
    let line = |words: &str| log.lines().any(|line| line.contains(" INFO ") && line.contains(words));
    assert!(line("seccomp refuses calls that the server never makes"), "{log}");
    assert!(!hardening::is_known_here() || line(KEPT), "{log}");
    assert!(server.stop().success());

    home.write_settings("[hardening]\nlandlock = 'off'\nseccomp = 'off'\n");
    let server = Server::start(&home);
    assert!(threads(&server).iter().all(|thread| thread.contains("Seccomp:\t0")));
    let log = home.log();
    assert!(log.contains("hardening.landlock is \"off\"") && log.contains("hardening.seccomp is \"off\""));
    server.api(&home).await.issue(ten_kwh(&configuration)).await.unwrap();
}

/// Of a module of which nobody knows what it writes to.
#[test]
fn another_module_says_what_it_writes_to() {
    let home = Home::new();
    fs::copy(MODULE, home.path("other.so")).unwrap();
    let module = home.text("other.so");
    let start = |more: &str| {
        home.write_settings(more);
        home.command(&["serve", "--check", "--settings", &home.text("vendkey.toml")])
            .env("VENDKEY_HSM__MODULE", &module)
            .output()
            .unwrap()
    };
    let required = start("[hardening]\nlandlock = 'required'\n");
    let said = String::from_utf8_lossy(&required.stderr);
    assert_eq!(required.status.code(), Some(78), "{said}");
    assert!(
        said.contains("hardening.module_paths: what the PKCS#11 module writes to is not known"),
        "{said}"
    );
    assert!(start("").status.success());
    let environment = [("VENDKEY_HSM__MODULE", module.as_str())];
    assert!(Server::start_with(&home, &environment).stop().success());
    assert!(home.log().contains("not hardened as it could be: hardening.module_paths"));
    if hardening::is_known_here() {
        let named = "[hardening]\nlandlock = 'required'\nmodule_paths = 'hsm'\n";
        assert!(start(named).status.success());
        assert!(Server::start_with(&home, &environment).stop().success());
        assert!(home.log().contains(KEPT));
    }
}

#[test]
fn the_unit_keeps_from_the_server_what_it_says() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/vendkey.service");
    let arguments = ["security", "--offline=true", "--threshold=20", "--no-pager", unit];
    let analysed = Command::new("systemd-analyze").args(arguments).output().unwrap();
    assert!(analysed.status.success(), "{}", String::from_utf8_lossy(&analysed.stdout));
}
