//! What the kernel keeps from the server: all paths and ports but those that its settings name, and
//! calls that it never makes. Asked for before the module is loaded and before any other thread is
//! there.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::ServeError;
use crate::{
    hardening::{self, Enforced, Reach},
    hsm::module_files,
    settings::{HardeningSettings, ListenerSettings, Settings, Wanted},
    store::DatabaseUrl,
};

/// What libraries read, wherever the system keeps it; what is not there is left out.
const OF_THE_SYSTEM: [&str; 12] = [
    "/usr",
    "/lib",
    "/lib64",
    "/opt",
    "/etc",
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    // Where resolv.conf may lead.
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/nscd",
];
/// Devices without anything behind them.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];
/// Variables that name where authorities are, beside the system's.
const OF_AUTHORITIES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What keeps a server from starting here that must be hardened: the setting, and what to do.
pub(super) fn faults(settings: &Settings) -> Vec<(&'static str, ServeError)> {
    let mut faults = Vec::new();
    if settings.hardening.landlock != Wanted::Required {
        return faults;
    }
    let mut fault = |setting, text: &str| faults.push((setting, ServeError::Hardening(text.to_owned())));
    if !hardening::is_known_here() {
        fault("hardening.landlock", UNSUPPORTED);
    }
    if reach(settings).is_none() {
        fault("hardening.module_paths", UNKNOWN);
    }
    faults
}

const UNSUPPORTED: &str =
    "this kernel has no Landlock (Linux 5.13 and later have it, unless it is left out of `lsm=`)";

const UNKNOWN: &str = "what the PKCS#11 module writes to is not known: name the folders and devices, parted by \
                       commas, or say \"\" if there are none";

/// Asks the kernel for it, and says in the log what it keeps.
pub(super) fn harden(settings: &Settings) -> Result<(), ServeError> {
    let HardeningSettings { landlock, seccomp, .. } = settings.hardening;
    confined(settings).or_else(|why| unless_required(landlock, why))?;
    match seccomp {
        Wanted::Off => tracing::warn!("seccomp refuses no calls: hardening.seccomp is \"off\""),
        wanted => match hardening::refuse_calls() {
            Ok(calls) => tracing::info!(calls, "seccomp refuses calls that the server never makes"),
            Err(error) => unless_required(wanted, error.to_string())?,
        },
    }
    Ok(())
}

/// Keeps all from the server that it does not need to reach, or says why not.
fn confined(settings: &Settings) -> Result<(), String> {
    if settings.hardening.landlock == Wanted::Off {
        return Err("hardening.landlock is \"off\"".to_owned());
    }
    let reach = reach(settings).ok_or_else(|| format!("hardening.module_paths: {UNKNOWN}"))?;
    match hardening::confine(&reach).map_err(|error| error.to_string())? {
        Enforced::Not => Err(UNSUPPORTED.to_owned()),
        enforced => {
            let Reach { write, bind, connect, .. } = reach;
            tracing::info!(
                ?enforced,
                ?write,
                ?bind,
                ?connect,
                "Landlock keeps all other paths and ports from the server"
            );
            Ok(())
        }
    }
}

fn unless_required(wanted: Wanted, why: String) -> Result<(), ServeError> {
    if wanted == Wanted::Required {
        return Err(ServeError::Hardening(why));
    }
    tracing::warn!("the server is not hardened as it could be: {why}");
    Ok(())
}

/// What a server with these settings reaches. `None`: nobody knows what its module writes to.
fn reach(settings: &Settings) -> Option<Reach> {
    let Settings { server, metrics, hsm, other_tokens, store, hardening, .. } = settings;
    let mut reach = Reach::default();
    let mut is_local = true;
    reach.write.extend(hardening.module_paths.iter().flatten().cloned());
    for hsm in [hsm].into_iter().chain(other_tokens) {
        match (module_files(&hsm.module), &hardening.module_paths) {
            (None, None) => return None,
            (None, Some(_)) => is_local = false,
            (Some(files), _) => {
                reach.read.extend(folders_of(&files.configuration));
                reach.write.push(files.tokens);
            }
        }
        for file in [&hsm.module, &hsm.pin_file] {
            reach.read.extend(folders_of(file));
        }
        reach.write.extend(folders_of(&hsm.refused_pin_file));
    }
    reach.read.extend(OF_THE_SYSTEM.map(PathBuf::from));
    reach.read.extend(env::current_exe());
    reach.read.extend(OF_AUTHORITIES.into_iter().filter_map(env::var_os).map(PathBuf::from));
    reach.write.extend(DEVICES.map(PathBuf::from));
    reach.write.extend(folders_of(&store.checkpoint_file));
    let listeners: Vec<&ListenerSettings> =
        [&server.main].into_iter().chain(&server.administration).collect();
    for tls in listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
        reach.read.extend(tls.files().flat_map(|file| folders_of(file)));
    }
    reach
        .bind
        .extend(listeners.iter().map(|listener| listener.listen).chain(*metrics).map(|listen| listen.port()));
    let mut connect = Vec::new();
    match &store.url {
        DatabaseUrl::Sqlite(path) => reach.write.extend(folders_of(path)),
        DatabaseUrl::Postgresql(address) => {
            reach.read.extend(address.files().into_iter().flat_map(folders_of));
            connect.extend(address.ports());
        }
    }
    // Other modules may have their HSM somewhere in the network.
    reach.connect = is_local.then_some(connect);
    Some(reach)
}

/// The folder in which a file has its name, and the one in which it lies: new files come in its
/// place, and a link may lead elsewhere.
fn folders_of(file: &Path) -> Vec<PathBuf> {
    let folder = |file: &Path| match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let (named, lies) = (folder(file), file.canonicalize().ok().map(|file| folder(&file)));
    lies.into_iter().filter(|lies| *lies != named).chain([named.clone()]).collect()
}
