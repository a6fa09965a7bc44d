//! The program itself as a child process, and its API.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;
use uuid::Uuid;
use vendkey::api::v1::{
    AllTests, Configuration, GetServerKeyRequest, IssueTokenRequest, IssuedToken, MeterTest,
    RegisterPublicKeyRequest, UnitCredit, UploadConfigurationRequest, UploadConfigurationResponse,
    approval_service_client::ApprovalServiceClient, audit_service_client::AuditServiceClient,
    client_service_client::ClientServiceClient, configuration_service_client::ConfigurationServiceClient,
    issue_token_request::Content, ledger_service_client::LedgerServiceClient, meter_test,
    public_key_service_client::PublicKeyServiceClient, server_service_client::ServerServiceClient,
    token_service_client::TokenServiceClient, unit_credit::Amount,
};

use super::{Administrator, Blobs, DRN};

/// A folder with a token, settings, a database and a credential.
pub struct Home {
    dir: TempDir,
}

/// Where tests write: a tmpfs where there is one.
fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("vendkey-test-").tempdir_in(base()).unwrap()
}

fn base() -> PathBuf {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() }
}

/// The template's folder bears the process's number. It lives as long as the process, so nobody
/// removes it: the next process does.
fn template_folder() -> TempDir {
    const PREFIX: &str = "vendkey-template-";
    for entry in fs::read_dir(base()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next().map(str::to_owned));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let prefix = format!("{PREFIX}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(base()).unwrap()
}

/// The module that `VENDKEY_TEST_MODULE` names, if any: softhsm, nss or kryoptic.
pub fn chosen_module() -> Option<String> {
    std::env::var("VENDKEY_TEST_MODULE").ok().filter(|module| !module.is_empty())
}

/// Made once for each module: RSA keys take seconds. Each test gets a copy.
fn template(module: &str) -> Arc<Home> {
    static TEMPLATES: Mutex<BTreeMap<String, Arc<Home>>> = Mutex::new(BTreeMap::new());
    let mut templates = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner);
    templates.entry(module.to_owned()).or_insert_with(|| Arc::new(new_home(module))).clone()
}

/// A home whose token and database are set up.
fn new_home(module: &str) -> Home {
    let home = Home::bare(template_folder(), module);
    let setup = home.vendkey(&["setup", "--settings", &home.text("vendkey.toml")]);
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
    // One that vends: the administrator does not.
    let server = Server::start(&home);
    let (endpoint, file) = (server.endpoint.clone(), home.text("till"));
    let create =
        ["client", "create", "till", "--preset", "till", "--allow", "manage,change_keys", "--out", &file];
    let till = home.vendkey(&[&create[..], &["--endpoint", &endpoint]].concat());
    assert!(till.status.success(), "{}", String::from_utf8_lossy(&till.stderr));
    assert!(server.stop().success());
    home
}

impl Home {
    /// A copy of a set-up home, on SoftHSM unless `VENDKEY_TEST_MODULE` names another module.
    pub fn new() -> Self {
        Self::on(&chosen_module().unwrap_or_else(|| "softhsm".to_owned()))
    }

    /// A copy of a set-up home on this module.
    pub fn on(module: &str) -> Self {
        template(module).copied()
    }

    /// An empty token of this module, with settings.
    pub fn with_empty_token(module: &str) -> Self {
        Self::bare(scratch(), module)
    }

    fn bare(dir: TempDir, module: &str) -> Self {
        let home = Home { dir };
        let made = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/modules/make-token.sh"))
            .args([module, &home.text("hsm"), "vendkey"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        home.write_settings("");
        home
    }

    /// A copy of this home in another place, token and all.
    pub fn copied(&self) -> Self {
        let dir = scratch();
        let copied =
            Command::new("cp").arg("-a").arg(self.dir.path().join(".")).arg(dir.path()).status().unwrap();
        assert!(copied.success());
        let home = Self { dir };
        let (from, to) = (self.dir.path().to_str().unwrap(), home.dir.path().to_str().unwrap());
        for file in ["hsm/hsm", "hsm/softhsm2.conf", "hsm/kryoptic.conf", "vendkey.toml"] {
            if let Ok(text) = fs::read_to_string(home.path(file)) {
                fs::write(home.path(file), text.replace(from, to)).unwrap();
            }
        }
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes the settings; `more` is put at the end.
    pub fn write_settings(&self, more: &str) {
        let root = rustix::process::geteuid().is_root();
        let hsm = fs::read_to_string(self.path("hsm/hsm")).unwrap();
        let text = format!(
            "[server]\nlisten = '127.0.0.1:0'\nallow_root = {root}\n[hsm]\n{hsm}pin_file = 'hsm/pin'\n\
             [store]\npath = 'vendkey.db'\n[log]\nfilter = 'trace,h2=info,hyper=info'\n{more}"
        );
        fs::write(self.path("vendkey.toml"), text).unwrap();
    }

    /// The administrator's credential.
    pub fn credential(&self) -> String {
        self.secret("credential")
    }

    /// The credential of one that vends: everything that issues and verifies.
    pub fn till(&self) -> String {
        self.secret("till")
    }

    /// The text of a credential's file.
    pub fn secret(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap().trim().to_owned()
    }

    /// A command of the program in the environment of this home.
    pub fn command(&self, arguments: &[&str]) -> Command {
        // Who vends runs what vends, and asks for digits; the administrator all else.
        let credential = match arguments {
            ["token" | "bench", ..] | ["key-change", "issue", ..] => "till",
            _ if arguments.contains(&"--digits") => "till",
            _ => "credential",
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_vendkey"));
        command
            .args(arguments)
            .env("SOFTHSM2_CONF", self.path("hsm/softhsm2.conf"))
            .env("VENDKEY_CREDENTIAL_FILE", self.path(credential))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the program to its end.
    pub fn vendkey(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The log of all servers of this home so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    pub endpoint: String,
    /// Where administrators call, if they have a listener of their own.
    pub administration: Option<String>,
}

impl Server {
    pub fn start(home: &Home) -> Self {
        Self::start_with(home, &[])
    }

    /// Starts with variables in its environment, such as crash points.
    pub fn start_with(home: &Home, environment: &[(&str, &str)]) -> Self {
        let log = fs::OpenOptions::new().append(true).create(true).open(home.path("log")).unwrap();
        let mut child = home
            .command(&["serve", "--settings", &home.text("vendkey.toml")])
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let endpoint = line.trim().strip_prefix("listening on ").unwrap_or_else(|| {
            let _ = child.kill();
            panic!("the server did not start:\n{}", home.log())
        });
        // It says everything at once.
        let more = std::str::from_utf8(output.buffer()).unwrap();
        let administration = more.trim().strip_prefix("administration listening on ").map(str::to_owned);
        Self { endpoint: endpoint.to_owned(), administration, child }
    }

    /// The API as the administrator sees it, and the tokens as the till does.
    pub async fn api(&self, home: &Home) -> Api {
        let till = Api::connect(&self.endpoint, &home.till()).await;
        Api { tokens: till.tokens, ..Api::connect(&self.endpoint, &home.credential()).await }
    }

    /// Runs a command that calls it.
    pub fn vendkey(&self, home: &Home, arguments: &[&str]) -> Output {
        home.command(arguments).env("VENDKEY_ENDPOINT", &self.endpoint).output().unwrap()
    }

    /// Waits for it to end by itself, as at a crash point; a server that goes on fails the test
    /// instead of stopping it.
    pub fn wait(&mut self) {
        let give_up = Instant::now() + Duration::from_secs(60);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < give_up, "the server did not reach its crash point");
            std::thread::yield_now();
        }
    }

    /// How it ended by itself.
    pub fn ended(mut self) -> std::process::ExitStatus {
        self.wait();
        self.child.wait().unwrap()
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGTERM, then the exit status.
    pub fn stop(mut self) -> std::process::ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    /// SIGKILL: what was not durable is lost.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Adds the credential.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

type Authorized = InterceptedService<Channel, Bearer>;

/// The services as one client sees them.
#[derive(Clone)]
pub struct Api {
    pub configurations: ConfigurationServiceClient<Authorized>,
    pub public_keys: PublicKeyServiceClient<Authorized>,
    pub tokens: TokenServiceClient<Authorized>,
    pub clients: ClientServiceClient<Authorized>,
    pub audit: AuditServiceClient<Authorized>,
    pub ledger: LedgerServiceClient<Authorized>,
    pub approvals: ApprovalServiceClient<Authorized>,
    pub servers: ServerServiceClient<Authorized>,
}

impl Api {
    pub async fn connect(endpoint: &str, credential: &str) -> Self {
        Self::over(Endpoint::from_shared(endpoint.to_owned()).unwrap().connect().await.unwrap(), credential)
    }

    /// Over a connection that was made otherwise.
    pub fn over(channel: Channel, credential: &str) -> Self {
        let bearer = Bearer(format!("Bearer {credential}").parse().unwrap());
        let service = InterceptedService::new(channel, bearer);
        Self {
            configurations: ConfigurationServiceClient::new(service.clone()),
            public_keys: PublicKeyServiceClient::new(service.clone()),
            tokens: TokenServiceClient::new(service.clone()),
            clients: ClientServiceClient::new(service.clone()),
            audit: AuditServiceClient::new(service.clone()),
            ledger: LedgerServiceClient::new(service.clone()),
            approvals: ApprovalServiceClient::new(service.clone()),
            servers: ServerServiceClient::new(service),
        }
    }

    /// An administrator whose signing key is registered.
    pub async fn administrator(&mut self) -> Administrator {
        let key = self.configurations.get_server_key(GetServerKeyRequest {}).await.unwrap().into_inner();
        let administrator = Administrator::new(&key.public_key_pem);
        let request = RegisterPublicKeyRequest {
            public_key: administrator.public_key(),
            display_name: "test".to_owned(),
        };
        self.public_keys.register_public_key(request).await.unwrap();
        administrator
    }

    pub async fn upload(&mut self, blobs: &Blobs) -> Result<UploadConfigurationResponse, Status> {
        let Blobs { data, digest, key } = blobs.clone();
        let request = UploadConfigurationRequest { data, digest, key, validate_only: false };
        self.configurations.upload_configuration(request).await.map(tonic::Response::into_inner)
    }

    /// Uploads a text in the usual way.
    pub async fn configuration(&mut self, yaml: &str) -> Configuration {
        let administrator = self.administrator().await;
        self.upload(&administrator.encrypt(yaml)).await.unwrap().configuration.unwrap()
    }

    pub async fn issue(&mut self, request: IssueTokenRequest) -> Result<IssuedToken, Status> {
        self.tokens.issue_token(request).await.map(tonic::Response::into_inner)
    }
}

/// A request for 10 kWh under a new request id.
pub fn ten_kwh(configuration: &Configuration) -> IssueTokenRequest {
    IssueTokenRequest {
        configuration: configuration.name.clone(),
        meter: DRN.to_owned(),
        request_id: Uuid::now_v7().to_string(),
        token_time: None,
        content: Some(Content::ElectricityCredit(UnitCredit {
            amount: Some(Amount::Decimal("10".to_owned())),
            rounding: 0,
        })),
    }
}

/// A request for a token of class 1 under a new request id: as many as one likes, since it carries
/// no identifier.
pub fn meter_test() -> IssueTokenRequest {
    let test = Some(meter_test::Test::All(AllTests {}));
    IssueTokenRequest {
        request_id: Uuid::now_v7().to_string(),
        content: Some(Content::MeterTest(MeterTest { test, ..MeterTest::default() })),
        ..IssueTokenRequest::default()
    }
}

/// Whether a call was never begun: it has not left the client, since its connection had ended; or it
/// crossed the server's last GOAWAY on its way, which says that it is none of those that it takes
/// (RFC 9113 §6.8). Every gRPC library sends it over a new connection then and says nothing
/// ("transparent retries"), tonic tells its caller.
pub fn was_never_sent(status: &Status) -> bool {
    let source = std::error::Error::source(status).and_then(std::error::Error::source);
    let Some(error) = source.and_then(|error| error.downcast_ref::<hyper::Error>()) else { return false };
    error.is_canceled() || format!("{error:?}").contains("NO_ERROR, Remote")
}

/// The reason of a refusal.
pub fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// Whether a token may exist in spite of a refusal: "no" or "maybe".
pub fn issued(status: &Status) -> String {
    let details = status.get_error_details();
    details.error_info().and_then(|info| info.metadata.get("issued").cloned()).unwrap_or_default()
}

/// What a refusal says of the fields that it names.
pub fn descriptions(status: &Status) -> String {
    let details = status.get_error_details();
    let bad = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    bad.into_iter().map(|violation| violation.description).collect::<Vec<_>>().join("; ")
}

/// The fields that a refusal names.
pub fn violations(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let bad = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    bad.into_iter().map(|violation| violation.field).collect()
}
