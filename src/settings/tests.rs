//! What a settings file may say.

use super::*;
use crate::store::DatabaseUrl;

const GOOD: &str = "[hsm]\nmodule = '/proc/self/exe'\ntoken_label = 'vendkey'\npin_file = '/proc/self/status'\n\
                    [store]\npath = 'vendkey.db'\n";

fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Settings::parse(Path::new("/etc/vendkey/vendkey.toml"), text, environment)
}

#[test]
fn defaults_and_relative_paths() {
    let settings = parse(GOOD, &[]).unwrap();
    assert_eq!(settings.store.url, DatabaseUrl::Sqlite("/etc/vendkey/vendkey.db".into()));
    assert_eq!(settings.server.main.listen.to_string(), "127.0.0.1:7443");
    assert_eq!(settings.vending.horizon_minutes, 1440);
    assert!(settings.vending.allow_dkga02);
}

#[test]
fn environment_overrides_the_file() {
    let settings = parse(
        GOOD,
        &[
            ("VENDKEY_SERVER__LISTEN", "127.0.0.1:9"),
            ("VENDKEY_ENDPOINT", "x"),
            ("VENDKEY_HSM__THREADS", "3"),
        ],
    )
    .unwrap();
    assert_eq!(settings.server.main.listen.port(), 9);
    assert_eq!(settings.hsm.threads, 3);
}

#[test]
fn a_module_may_be_given_a_text() {
    let given = |text: &str| {
        parse(&GOOD.replace("[store]", &format!("initialize = {text}\n[store]")), &[])
            .map(|settings| settings.hsm.initialize)
    };
    assert_eq!(parse(GOOD, &[]).unwrap().hsm.initialize, None);
    let text = c"configdir='sql:/var/lib/vendkey/nss'";
    assert_eq!(given(&format!("{:?}", text.to_str().unwrap())).unwrap().as_deref(), Some(text));
    for bad in ["''", "\"a\\u0000b\"", "['a']"] {
        let error = given(bad).unwrap_err();
        assert_eq!(error.faults.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["hsm.initialize"]);
    }
}

#[test]
fn every_fault_is_named() {
    let error = parse(
        "[server]\nlisten = '0.0.0.0:1'\ncolour = 'red'\n[hsm]\nslot = 'x'\nthreads = 0\n[vending]\ndkga02 = 'maybe'\n",
        &[],
    )
    .unwrap_err();
    let keys: Vec<&str> = error.faults.iter().map(|(key, _)| key.as_str()).collect();
    for key in [
        "server.listen",
        "server.colour",
        "hsm.module",
        "hsm.pin_file",
        "hsm.slot",
        "hsm.threads",
        "store.path",
        "vending.dkga02",
    ] {
        assert!(keys.contains(&key), "{key} is not among {keys:?}");
    }
}

#[test]
fn destruction_waits_a_week_or_as_long_as_is_asked_for() {
    let delay = |text: &str| {
        parse(&format!("{GOOD}[vending]\ndestroy_delay = '{text}'\n"), &[]).map(|s| s.vending.destroy_delay)
    };
    assert_eq!(parse(GOOD, &[]).unwrap().vending.destroy_delay, DESTROY_DELAY);
    assert_eq!(delay("0s").unwrap(), Duration::ZERO);
    assert_eq!(delay("36h").unwrap(), Duration::from_secs(36 * 3_600));
    for bad in ["", "7", "-1h", "8761h"] {
        assert!(delay(bad).is_err(), "{bad}");
    }
}

#[test]
fn approvals_and_their_time() {
    let access = parse(GOOD, &[]).unwrap().access;
    assert_eq!((access.approvals, access.approval_expiry), (1, APPROVAL_EXPIRY));
    let access = parse(&format!("{GOOD}[access]\napprovals = 2\napproval_expiry = '1h 30m'\n"), &[]);
    let access = access.unwrap().access;
    assert_eq!((access.approvals, access.approval_expiry), (2, Duration::from_secs(5_400)));
    for bad in ["approvals = 0", "approvals = 10", "approval_expiry = '0s'", "approval_expiry = '-1h'"] {
        assert!(parse(&format!("{GOOD}[access]\n{bad}\n"), &[]).is_err(), "{bad}");
    }
}

#[test]
fn plain_text_only_on_loopback() {
    assert!(parse(&format!("{GOOD}[server]\nlisten = '[::1]:1'\n"), &[]).is_ok());
    assert!(parse(&format!("{GOOD}[server]\nlisten = '192.0.2.1:1'\n"), &[]).is_err());
}
#[test]
fn listeners_of_their_own() {
    let administration = format!("{GOOD}[administration]\nlisten = '127.0.0.1:2'\n");
    assert_eq!(parse(&administration, &[]).unwrap().server.administration.unwrap().listen.port(), 2);
    assert!(parse(GOOD, &[]).unwrap().server.administration.is_none());
    let tls = "certificate_file = '/proc/self/exe'\nkey_file = '/proc/self/exe'\n";
    for (section, refused) in [
        ("[administration]\nlisten = '192.0.2.1:1'\n".to_owned(), "administration.listen"),
        (format!("[administration.tls]\n{tls}"), "administration.tls.key_file"),
        (format!("[server.tls]\n{tls}client_auth = 'required'\n"), "server.tls.client_ca_file"),
        (format!("[server.tls]\n{tls}client_ca_file = '/proc/self/exe'\n"), "server.tls.client_auth"),
        (
            "[server.tls]\nclient_auth = 'optional'\nclient_ca_file = '/proc/self/exe'\n".to_owned(),
            "server.tls.certificate_file",
        ),
        ("[server.tls]\nkey_file = '/proc/self/exe'\n".to_owned(), "server.tls.certificate_file"),
    ] {
        let error = parse(&format!("{GOOD}{section}"), &[]).unwrap_err();
        assert!(error.faults.iter().any(|(key, _)| key == refused), "{section}: {error}");
    }
}

#[test]
fn the_wire_has_ranges() {
    let wire = parse(&format!("{GOOD}[wire]\nstream_idle_seconds = 7\n"), &[]).unwrap().wire;
    assert_eq!((wire.stream_idle.as_secs(), wire.message_bytes), (7, 4_194_304));
    for bad in ["connections = 0", "message_bytes = 1", "message_bytes = 67108864\nreceiving_bytes = 1048576"]
    {
        assert!(parse(&format!("{GOOD}[wire]\n{bad}\n"), &[]).is_err(), "{bad}");
    }
}

#[test]
fn metrics_stay_on_the_machine_unless_said_so() {
    let listening = |more: &str| parse(&format!("{GOOD}[metrics]\n{more}\n"), &[]).map(|read| read.metrics);
    assert!(listening("listen = '127.0.0.1:9464'").unwrap().is_some());
    assert!(listening("listen = '192.0.2.1:9464'").is_err());
    assert!(listening("listen = '192.0.2.1:9464'\nallow_remote = true").unwrap().is_some());
    assert!(parse(GOOD, &[]).unwrap().metrics.is_none());
}
