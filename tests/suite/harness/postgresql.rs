//! PostgreSQL for tests: a cluster of its own for each test process, on a Unix socket, and a
//! database in it for each test.
//!
//! As root it runs as the user `postgres`, because PostgreSQL refuses root; otherwise as whoever runs
//! the tests. It ends with the process of the tests, whatever ends that, and takes its folder along.

#![allow(dead_code, unreachable_pub, reason = "used by tests of the library and of the program")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

/// Where Debian has the programs of PostgreSQL 15.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// A program of PostgreSQL, to be run as the user that owns the cluster. It ends when the thread
/// that starts it does.
fn program(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if rustix::process::geteuid().is_root() {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups"]);
    }
    command.arg(Path::new(PROGRAMS).join(name)).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    command.current_dir("/");
    command
}

fn run(command: &mut Command) {
    let output = command.output().expect("PostgreSQL 15 is missing: scripts/prepare.sh test installs it");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A cluster: one server of PostgreSQL.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    /// Which names its socket too.
    port: u16,
    server: Option<Child>,
}

impl Cluster {
    /// Makes a cluster and starts its server, from a thread that lives as long as it.
    pub fn start() -> Self {
        let folder = Self::folder();
        let data = folder.join("data");
        run(program("initdb")
            .args(["--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C"])
            .args(["--no-sync", "--no-instructions", "--pgdata"])
            .arg(&data));
        let mut cluster = Self { folder, port: 5_432, server: None };
        cluster.run();
        cluster
    }

    /// A folder of its own.
    fn folder() -> PathBuf {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("vendkey-postgresql-{}-{number}", std::process::id());
        // A tmpfs where there is one: the database syncs as it must, and that costs nothing there.
        let memory = PathBuf::from("/dev/shm");
        let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let folder = base.join(name);
        forget_old(&base);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        if rustix::process::geteuid().is_root() {
            run(Command::new("chown").arg("postgres:postgres").arg(&folder));
        }
        folder
    }

    /// Makes a standby, which gets by streaming what is committed here. It answers when it has come
    /// to where this one is.
    pub fn standby(&self) -> Self {
        let mut standby = Self { folder: Self::folder(), port: 5_432, server: None };
        run(program("pg_basebackup")
            .args(["--username", "postgres", "--checkpoint", "fast", "--no-sync", "--write-recovery-conf"])
            .args(["--port", &self.port.to_string(), "--host"])
            .arg(&self.folder)
            .arg("--pgdata")
            .arg(standby.folder.join("data")));
        standby.run();
        standby.catch_up(self);
        standby
    }

    /// Waits until this standby has all that is committed at another one.
    pub fn catch_up(&self, primary: &Self) {
        let end = primary.sql("postgres", "SELECT pg_current_wal_flush_lsn()");
        let has = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'::pg_lsn");
        let since = Instant::now();
        while self.sql("postgres", &has) != "t" {
            assert!(since.elapsed() < Duration::from_secs(60), "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes this standby take writes.
    pub fn promote(&self) {
        assert_eq!(self.sql("postgres", "SELECT pg_promote()"), "t", "{}", self.log());
    }

    /// The URL of a database at whichever of these takes writes.
    pub fn url_of_either(&self, other: &Self, database: &str) -> String {
        let [one, other] = [self, other].map(|cluster| cluster.folder.display().to_string());
        format!("postgresql://postgres@/{database}?host={one}&host={other}&port={}", self.port)
    }

    /// Starts the server again, and waits until it answers.
    pub fn run(&mut self) {
        self.run_with(&[]);
    }

    /// The same with more arguments.
    pub fn run_with(&mut self, arguments: &[&str]) {
        let since = Instant::now();
        self.server = Some(self.started(arguments));
        while !self.answers() {
            assert!(since.elapsed() < Duration::from_secs(60), "{}", self.log());
            // What is left of one that was killed is in its way for a moment.
            if let Some(server) = &mut self.server
                && server.try_wait().unwrap().is_some()
            {
                self.server = Some(self.started(arguments));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn started(&self, arguments: &[&str]) -> Child {
        let mut server = program("postgres");
        server
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(["-c", "listen_addresses=", "-c", "max_connections=200", "-c", "shared_buffers=64MB"])
            .args(arguments)
            .arg("-k")
            .arg(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap());
        // A process ends with the thread that started it: this one waits for ever.
        let (started, child) = mpsc::channel();
        std::thread::spawn(move || {
            started.send(server.spawn()).unwrap();
            loop {
                std::thread::park();
            }
        });
        child.recv().unwrap().unwrap()
    }

    fn answers(&self) -> bool {
        let ready =
            program("pg_isready").args(["-q", "-p", &self.port.to_string(), "-h"]).arg(&self.folder).status();
        ready.is_ok_and(|status| status.success())
    }

    /// What the server has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Ends the server and all its processes without warning.
    pub fn kill(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        // Its processes find out by themselves.
        server.kill().unwrap();
        server.wait().unwrap();
        let leftover = self.folder.join("data/postmaster.pid");
        let _ = fs::remove_file(leftover);
    }

    /// Makes it answer TLS on a port of this machine, by this certificate and key alone.
    pub fn speak_tls(&mut self, certificate: &Path, key: &Path) -> u16 {
        for (from, to) in [(certificate, "server.pem"), (key, "server.key")] {
            let to = self.folder.join("data").join(to);
            fs::copy(from, &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
            if rustix::process::geteuid().is_root() {
                run(Command::new("chown").arg("postgres:postgres").arg(&to));
            }
        }
        let rules = "local all all trust\nhostssl all all all scram-sha-256\n";
        fs::write(self.folder.join("data/pg_hba.conf"), rules).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        self.kill();
        self.port = free;
        let port = format!("port={free}");
        let files = ["ssl_cert_file=server.pem", "ssl_key_file=server.key"];
        let tls = ["-c", "ssl=on", "-c", files[0], "-c", files[1], "-c", "listen_addresses=localhost"];
        self.run_with(&[&tls[..], &["-c", &port]].concat());
        free
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@/{database}?host={}&port={}", self.folder.display(), self.port)
    }

    /// Runs SQL in a database and answers what it prints.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.try_sql(database, sql).unwrap_or_else(|refused| panic!("{sql}: {refused}"))
    }

    /// The same of SQL that may be refused, with what is said then.
    pub fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = program("psql");
        psql.args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-c", sql]);
        psql.args(["-p", &self.port.to_string(), "-h"]);
        let output = psql.arg(&self.folder).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes the folders of test processes that are gone.
fn forget_old(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(process) = name.strip_prefix("vendkey-postgresql-").and_then(|rest| rest.split('-').next())
        else {
            continue;
        };
        if !Path::new("/proc").join(process).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The cluster of this process.
fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(Cluster::start)
}

/// A database of its own in the cluster of this process.
#[derive(Debug)]
pub struct TestDatabase(String);

impl TestDatabase {
    /// Makes an empty one.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        shared().sql("postgres", &format!("CREATE DATABASE {name}"));
        Self(name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// What is said of SQL that must be refused.
    pub fn refused_sql(&self, sql: &str) -> String {
        shared().try_sql(&self.0, sql).expect_err("it was not refused")
    }

    /// The socket of its cluster.
    pub fn socket(&self) -> PathBuf {
        shared().folder.join(format!(".s.PGSQL.{}", shared().port))
    }

    /// Its URL.
    pub fn url(&self) -> String {
        shared().url(&self.0)
    }

    /// Runs SQL in it and answers what it prints.
    pub fn sql(&self, sql: &str) -> String {
        shared().sql(&self.0, sql)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        shared().sql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", self.0));
    }
}
