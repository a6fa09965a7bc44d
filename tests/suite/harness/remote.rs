//! An HSM in another process: SoftHSM behind `tests/pkcs11_remote`, which may die, hang and come back.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Home, Server};

const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Builds an example of the package with the profile of these tests, and says where it is.
pub fn example(name: &str, file: &str) -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_vendkey")).parent().unwrap();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--locked", "--quiet", "--example", name]);
    build.arg("--target-dir").arg(folder.parent().unwrap());
    if folder.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    folder.join("examples").join(file).to_str().unwrap().to_owned()
}

/// The module whose HSM is another process.
fn library() -> &'static str {
    static LIBRARY: OnceLock<String> = OnceLock::new();
    LIBRARY.get_or_init(|| example("pkcs11_remote", "libpkcs11_remote.so"))
}

fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| example("pkcs11_server", "pkcs11_server"))
}

/// The process of the HSM; killed when dropped.
pub struct RemoteHsm {
    child: Child,
    conf: PathBuf,
    socket: String,
    death: PathBuf,
}

impl RemoteHsm {
    /// Starts it with the home's token, for a server that is started with [`RemoteHsm::server`].
    pub fn of(home: &Home) -> Self {
        let (conf, socket, death) =
            (home.path("hsm/softhsm2.conf"), home.text("hsm/socket"), home.path("death"));
        let child = started(&conf, &socket, &death);
        Self { child, conf, socket, death }
    }

    /// Starts a server whose HSM it is.
    pub fn server(&self, home: &Home) -> Server {
        let settings = fs::read_to_string(home.path("vendkey.toml")).unwrap();
        fs::write(home.path("vendkey.toml"), settings.replace(SOFTHSM, library())).unwrap();
        Server::start_with(home, &[("PKCS11_REMOTE_SOCKET", &self.socket), ("SOFTHSM2_CONF", "/nowhere")])
    }

    /// Takes it out of the settings: the token as a module in the server's own process.
    pub fn taken_out(home: &Home) {
        let settings = fs::read_to_string(home.path("vendkey.toml")).unwrap();
        fs::write(home.path("vendkey.toml"), settings.replace(library(), SOFTHSM)).unwrap();
    }

    /// Kills it, as if its power failed.
    pub fn dies(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, once it is dead.
    pub fn comes_back(&mut self) {
        self.child.wait().unwrap();
        self.child = started(&self.conf, &self.socket, &self.death);
    }

    /// Has it die behind so many calls from now on, when the last one is done and not answered.
    pub fn dies_behind(&self, calls: usize) {
        let new = self.death.with_extension("new");
        fs::write(&new, calls.to_string()).unwrap();
        fs::rename(new, &self.death).unwrap();
    }

    /// Whether it is dead.
    pub fn is_dead(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Nothing is answered any more, as by a network that lost the way.
    pub fn hangs(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on.
    pub fn goes_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

fn started(conf: &Path, socket: &str, death: &Path) -> Child {
    let mut child = Command::new(program())
        .args([SOFTHSM, socket])
        .env("SOFTHSM2_CONF", conf)
        .env("PKCS11_SERVER_DEATH", death)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert_eq!(ready, "ready\n");
    child
}

impl Drop for RemoteHsm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
