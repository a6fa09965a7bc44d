//! `vendkey setup`.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use clap::Args;

use super::{
    output::{self, Failure},
    secret_file::SecretFile,
    stdout,
};
use crate::{
    access::{
        Credential,
        client::{Client, ClientAct, ClientChange, NewClient, NewCredential, Proof},
        limits::Limits,
        rights::Rights,
    },
    audit::Actor,
    clock::{Clock as _, SystemClock},
    hsm,
    id::ClientId,
    server,
    settings::Settings,
    store::{self, ClientError, DatabaseSettings, Listing, PageRequest, Store, StoreError},
};

#[derive(Args)]
#[command(after_help = "Example: vendkey setup --settings vendkey.toml --credential-file credential
  vendkey setup --settings vendkey.toml --administrator asha=asha.credential --administrator ben=ben.credential

Creates in the HSM what is missing of: the server keys that open uploads and sealed uploads (RSA-4096), the audit key (RSA-3072), the
row-seal key and the fingerprint key, in every token of the settings; the database; and administrators, whose credentials are written to files of mode 600. They administer and may
grant everything, but do not vend: `vendkey client create` makes a till. With access.approvals = N there must be N of them.")]
pub(super) struct Arguments {
    /// The settings file
    #[arg(long, env = "VENDKEY_SETTINGS", value_name = "FILE")]
    settings: PathBuf,
    /// Where the credential of `administrator` is written, if no --administrator is given; kept if
    /// it is one of this server's already
    #[arg(long, env = "VENDKEY_CREDENTIAL_FILE", value_name = "FILE")]
    credential_file: Option<PathBuf>,
    /// An administrator and the file of its credential; may stand several times. Who is there
    /// already and has no such file gets one more credential, and is enabled again: the way back in
    /// for whoever lost all others
    #[arg(long, value_name = "NAME=FILE")]
    administrator: Vec<Administrator>,
    /// Seal the rows that decide as they are in the database, whatever somebody else may have done
    /// to them: after an upgrade from a version without seals, or when you have seen that they are
    /// what they should be
    #[arg(long)]
    seal_rows: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let settings = Settings::load(&self.settings).map_err(Failure::settings)?;
        let administrators = self.administrators()?;
        // The certificate may come later: `serve` refuses what cannot be used.
        for finding in server::tls_findings(&settings) {
            stdout::note(format!("warning: {finding}"));
        }
        stdout::note("making keys in the HSM: RSA-4096 takes some seconds");
        let report = hsm::setup(&settings.hsm, hsm::KeySizes::default()).map_err(Failure::hsm)?;
        let others = other_tokens(&settings);
        let hsm = hsm::Hsm::start(settings.hsm.clone()).map_err(Failure::hsm)?;
        let store = self.open_store(&settings, &hsm)?;
        super::calling(async {
            enough(&administrators, &keepers(store.as_ref()).await?, settings.access.approvals)?;
            let database = output::fields([("database", settings.store.url.to_string())]);
            // Told when all is done: a set-up does not stop half way because nobody reads.
            let mut text =
                format!("{}\n{}\n{database}", capabilities(&report.capabilities), own_keys(&report));
            text.push_str(&others);
            for one in &administrators {
                let outcome = administrator(store.as_ref(), one).await?;
                let _ = write!(text, "\nadministrator {}: {} ({outcome})", one.name, one.file.display());
            }
            output::print_text(text)
        })
    }
}

impl Arguments {
    fn administrators(&self) -> Result<Vec<Administrator>, Failure> {
        if !self.administrator.is_empty() {
            return Ok(self.administrator.clone());
        }
        let file = self.credential_file.clone().ok_or_else(|| {
            Failure::usage(
                "--credential-file is missing, or --administrator NAME=FILE for each administrator",
            )
        })?;
        Ok(vec![Administrator { name: "administrator".to_owned(), file }])
    }

    fn open_store(&self, settings: &Settings, hsm: &hsm::Hsm) -> Result<Arc<dyn Store>, Failure> {
        let database = DatabaseSettings::new(settings.store.url.clone(), &settings.server.name);
        let sealer = Arc::new(hsm.clone());
        let opened = if self.seal_rows {
            store::open_and_seal(&database, sealer).map(|(store, sealed)| {
                stdout::note(format!("{sealed} rows were sealed as they are"));
                store
            })
        } else {
            store::open(&database, sealer)
        };
        opened.map_err(Failure::database)
    }
}

/// What the HSM can do.
pub(super) fn capabilities(capabilities: &hsm::Capabilities) -> String {
    let rows = capabilities
        .rows()
        .into_iter()
        .map(|row| [row.name, if row.served { "yes" } else { "no" }.to_owned(), row.detail]);
    output::table(["the HSM can do", "", "by known-answer operations"], rows)
}

/// Makes the keys that are missing in the further tokens. One that is away does not keep the others
/// from being set up.
fn other_tokens(settings: &Settings) -> String {
    let set_up = settings.other_tokens.iter().map(|other| {
        let name = other.token.to_string();
        match hsm::setup(other, hsm::KeySizes::default()) {
            Ok(report) => {
                format!("\n{name}: sealing key fingerprint (SHA-256): {}", report.sealing_key.fingerprint)
            }
            Err(error) => {
                stdout::note(format!("warning: {name}: {error}; run setup again when it is there"));
                format!("\n{name}: not set up")
            }
        }
    });
    set_up.collect()
}

fn own_keys(report: &hsm::SetupReport) -> String {
    let provisioned = report.keys.iter().map(|(role, provision)| {
        let provision = match provision {
            hsm::Provision::Created => "created",
            hsm::Provision::Found => "found",
        };
        [format!("{role} key"), provision.to_owned()]
    });
    format!(
        "{}\nserver key fingerprint (SHA-256): {}\nsealing key fingerprint (SHA-256): {}",
        output::table(["in the HSM", ""], provisioned),
        report.server_key.fingerprint,
        report.sealing_key.fingerprint
    )
}

/// An administrator to be there after the set-up, and the file of its credential.
#[derive(Clone, Debug)]
struct Administrator {
    name: String,
    file: PathBuf,
}

impl FromStr for Administrator {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (name, file) = text.split_once('=').ok_or("expected NAME=FILE")?;
        if name.is_empty() || file.is_empty() || name.chars().any(char::is_control) {
            return Err("expected NAME=FILE");
        }
        Ok(Self { name: name.to_owned(), file: file.into() })
    }
}

/// Those who can give every right back, as the database has them.
async fn keepers(store: &dyn Store) -> Result<Vec<Client>, Failure> {
    let (mut keepers, mut page) = (Vec::new(), PageRequest::first());
    loop {
        let clients = store.list_clients(page).await.map_err(unavailable)?;
        keepers.extend(clients.items.into_iter().filter(|client| client.rights.keeps_the_keys()));
        let Some(next) = clients.next else { return Ok(keepers) };
        page = PageRequest::new(Listing::Clients, 0, &next.to_string())
            .map_err(|error| Failure::text(error.to_string()))?;
    }
}

/// Refuses fewer administrators than every act that matters will take.
fn enough(administrators: &[Administrator], keepers: &[Client], approvals: u32) -> Result<(), Failure> {
    let mut names: BTreeSet<&str> = administrators.iter().map(|one| one.name.as_str()).collect();
    names.extend(keepers.iter().map(|client| client.display_name.as_str()));
    if names.len() >= approvals as usize {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "access.approvals is {approvals}, so that there must be {approvals} administrators: give --administrator NAME=FILE for each"
    )))
}

/// Sees to it that the file holds a credential of this administrator, who is made if there is none.
async fn administrator(store: &dyn Store, one: &Administrator) -> Result<&'static str, Failure> {
    let Administrator { name, file } = one;
    if !SecretFile::is_unfinished(file)
        && let Some(held) = read(file)?
    {
        let known = store.credential(held.key_id().as_str()).await.map_err(unavailable)?;
        return match known {
            Some(holder) if holder.credential.proof == Proof::Secret(held.hash().0) => Ok("found"),
            _ => Err(Failure::text(format!(
                "{} holds a credential that this database does not know: move it away and run setup again",
                file.display()
            ))),
        };
    }
    let refused = |error: ClientError| Failure::text(error.to_string());
    let (actor, now_ms) = (Actor::Local, SystemClock.now_ms());
    let known = keepers(store).await?.into_iter().find(|client| client.display_name == *name);
    let client = match known {
        Some(client) => {
            let act = ClientAct { actor: actor.clone(), now_ms, keepers: 0 };
            store.change_client(client.id, ClientChange::Enabled(true), act).await.map_err(refused)?.id
        }
        None => {
            let new = NewClient {
                id: ClientId::generate(),
                display_name: name.clone(),
                rights: Rights::administrator(),
                limits: Limits::default(),
                actor: actor.clone(),
                now_ms,
            };
            store.create_client(new).await.map_err(refused)?.id
        }
    };
    // The file first: a credential that nobody holds helps nobody.
    let secret = SecretFile::begin("--administrator", file, None)?;
    let new = NewCredential {
        key_id: secret.credential.key_id().to_string(),
        client,
        proof: Proof::Secret(secret.credential.hash().0),
        expires_ms: None,
        actor,
        now_ms,
    };
    match store.create_credential(new).await {
        Ok(_) => {
            secret.finish();
            Ok("written, mode 600")
        }
        Err(error) => {
            // Otherwise the next run would take it for a foreign one.
            secret.give_up();
            Err(refused(error))
        }
    }
}

fn unavailable(error: StoreError) -> Failure {
    Failure::text(error.to_string())
}

fn read(file: &Path) -> Result<Option<Credential>, Failure> {
    match fs::read_to_string(file) {
        Ok(text) => text.parse().map(Some).map_err(|error| Failure::data("--credential-file", file, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file("--credential-file", file, &error)),
    }
}
