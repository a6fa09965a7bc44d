//! Which paths and ports the process reaches, by Landlock (Linux 5.13 and later; ports since 6.7).

use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, NetPort, RestrictionStatus, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

/// What older kernels do not know of this is left out.
const KERNEL: ABI = ABI::V6;

/// What is reached; nothing else is. What does not exist is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Files, and folders with all beneath: read, listed, and loaded as libraries.
    pub read: Vec<PathBuf>,
    /// Those that are written to as well.
    pub write: Vec<PathBuf>,
    /// TCP ports that are listened on.
    pub bind: Vec<u16>,
    /// TCP ports of others that are connected to; `None`: all.
    pub connect: Option<Vec<u16>>,
}

/// How much of it this kernel keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforced {
    /// All.
    Fully,
    /// What it knows: paths, and not ports, before Linux 6.7.
    Partly,
    /// Nothing: it has no Landlock, or it is switched off.
    Not,
}

/// Why the kernel was not asked.
#[derive(Debug, thiserror::Error)]
#[error("Landlock: {0}")]
pub struct NoReach(#[from] RulesetError);

/// Whether this kernel has Landlock.
pub fn is_known_here() -> bool {
    let asked = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create);
    asked.is_ok()
}

/// Keeps everything else from this thread and all that it starts from now on. The process gets no
/// new privileges either.
///
/// # Errors
/// [`NoReach`]; nothing is kept from it then.
pub fn confine(reach: &Reach) -> Result<Enforced, NoReach> {
    let all = AccessFs::from_all(KERNEL);
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(all)?;
    let ruleset = ruleset.handle_access(AccessNet::BindTcp)?.scope(Scope::from_all(KERNEL))?;
    let ruleset = match &reach.connect {
        Some(_) => ruleset.handle_access(AccessNet::ConnectTcp)?,
        None => ruleset,
    };
    let port = |access: AccessNet| move |port: &u16| Ok::<_, RulesetError>(NetPort::new(*port, access));
    let status: RestrictionStatus = ruleset
        .create()?
        .add_rules(path_beneath_rules(&reach.read, AccessFs::from_read(KERNEL)))?
        .add_rules(path_beneath_rules(&reach.write, all))?
        .add_rules(reach.bind.iter().map(port(AccessNet::BindTcp)))?
        .add_rules(reach.connect.iter().flatten().map(port(AccessNet::ConnectTcp)))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Enforced::Fully,
        RulesetStatus::PartiallyEnforced => Enforced::Partly,
        RulesetStatus::NotEnforced => Enforced::Not,
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::ErrorKind,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// In a thread of its own: it is bound for good.
    #[test]
    fn what_is_not_named_is_not_reached() {
        if !is_known_here() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["read", "write", "other"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("file"), name).unwrap();
        }
        let [open, shut] = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let reach = Reach {
            read: vec![path("read"), path("missing")],
            write: vec![path("write")],
            bind: vec![0],
            connect: Some(vec![port(&open)]),
        };
        let confined = || {
            let enforced = confine(&reach).unwrap();
            let refused = |done: std::io::Result<()>| done.unwrap_err().kind() == ErrorKind::PermissionDenied;
            assert_eq!(fs::read(path("read/file")).unwrap(), b"read");
            assert!(
                refused(fs::write(path("read/file"), "x")) && refused(fs::remove_file(path("read/file")))
            );
            fs::write(path("write/file"), "x").unwrap();
            fs::rename(path("write/file"), path("write/new")).unwrap();
            assert!(refused(fs::read(path("other/file")).map(drop)) && refused(fs::write(path("new"), "x")));
            // A name within leads nowhere without.
            std::os::unix::fs::symlink(path("other/file"), path("write/link")).unwrap();
            assert!(refused(fs::read(path("write/link")).map(drop)));
            if enforced == Enforced::Fully {
                TcpListener::bind("127.0.0.1:0").unwrap();
                assert!(refused(TcpListener::bind(("127.0.0.1", port(&open) ^ 1)).map(drop)));
                TcpStream::connect(("127.0.0.1", port(&open))).unwrap();
                assert!(refused(TcpStream::connect(("127.0.0.1", port(&shut))).map(drop)));
            }
            // So is what this thread starts.
            let below = std::thread::spawn({
                let other = path("other/file");
                move || fs::read(other).map(drop)
            });
            assert!(refused(below.join().unwrap()));
        };
        std::thread::scope(|scope| scope.spawn(confined).join().unwrap());
        assert_eq!(fs::read(path("other/file")).unwrap(), b"other", "this thread is free");
    }
}
