//! `vendkey setup`.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;

use super::output::{self, Failure};
use crate::{
    access::Credential,
    clock::{Clock as _, SystemClock},
    hsm,
    settings::Settings,
    store::{
        ClientId, NewClient, NewCredential, PageRequest, Role, Store,
        sqlite::{SqliteSettings, SqliteStore},
    },
};

#[derive(Args)]
#[command(after_help = "Example: vendkey setup --settings vendkey.toml --credential-file credential

Creates in the HSM what is missing of: the server key that opens uploads (RSA-4096), the audit key (RSA-3072) and the
row-seal key; the database; and a client `administrator` whose credential is written to the file, mode 600.")]
pub(super) struct Arguments {
    /// The settings file
    #[arg(long, env = "VENDKEY_SETTINGS", value_name = "FILE")]
    settings: PathBuf,
    /// Where the credential is written; kept if it is one of this server's already
    #[arg(long, env = "VENDKEY_CREDENTIAL_FILE", value_name = "FILE")]
    credential_file: PathBuf,
    /// Seal the rows that decide as they are in the database, whatever another hand may have done to them: after an upgrade from a
    /// version without seals, or when you have seen that they are what they should be
    #[arg(long)]
    seal_rows: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let settings = Settings::load(&self.settings).map_err(|error| Failure::usage(error.to_string()))?;
        eprintln!("making keys in the HSM: RSA-4096 takes some seconds");
        let report = hsm::setup(&settings.hsm, hsm::KeySizes::default())
            .map_err(|error| Failure::text(error.to_string()))?;
        println!("{}", capabilities(&report.capabilities));
        println!("{}", own_keys(&report));
        let hsm = hsm::Hsm::start(settings.hsm.clone()).map_err(|error| Failure::text(error.to_string()))?;
        let store = self.open_store(&settings, &hsm)?;
        super::calling(async {
            let outcome = first_credential(&store, &self.credential_file).await?;
            println!(
                "{}",
                output::fields([
                    ("database", settings.store.path.display().to_string()),
                    ("credential", format!("{} ({outcome})", self.credential_file.display())),
                ])
            );
            Ok(())
        })
    }
}

impl Arguments {
    fn open_store(&self, settings: &Settings, hsm: &hsm::Hsm) -> Result<SqliteStore, Failure> {
        let path = &settings.store.path;
        let (sqlite, sealer) = (SqliteSettings::new(path), Arc::new(hsm.clone()));
        let opened = if self.seal_rows {
            SqliteStore::open_and_seal(&sqlite, sealer).map(|(store, sealed)| {
                eprintln!("{sealed} rows were sealed as they are");
                store
            })
        } else {
            SqliteStore::open(&sqlite, sealer)
        };
        opened.map_err(|error| {
            Failure::text(format!("the database {} cannot be opened: {error}", path.display()))
        })
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

fn own_keys(report: &hsm::SetupReport) -> String {
    let provisioned = report.keys.iter().map(|(role, provision)| {
        let provision = match provision {
            hsm::Provision::Created => "created",
            hsm::Provision::Found => "found",
        };
        [format!("{role} key"), provision.to_owned()]
    });
    format!(
        "{}\nserver key fingerprint (SHA-256): {}",
        output::table(["in the HSM", ""], provisioned),
        report.server_key.fingerprint
    )
}

/// Sees to it that the file holds a credential of the first client, which is made if there is none.
async fn first_credential(store: &dyn Store, file: &Path) -> Result<&'static str, Failure> {
    let unavailable = |error: crate::store::StoreError| Failure::text(error.to_string());
    if let Some(held) = read(file)? {
        let known = store.credential(held.key_id().as_str()).await.map_err(unavailable)?;
        return match known {
            Some(holder) if holder.credential.secret_sha256 == held.hash().0 => Ok("found"),
            _ => Err(Failure::text(format!(
                "{} holds a credential that this database does not know: move it away and run setup again",
                file.display()
            ))),
        };
    }
    let now_ms = SystemClock.now_ms();
    let clients = store.list_clients(PageRequest::first()).await.map_err(unavailable)?;
    let client = match clients.items.first() {
        Some(client) => client.id,
        None => {
            let new = NewClient {
                id: ClientId::generate(),
                display_name: "administrator".to_owned(),
                role: Role::Administrator,
                now_ms,
            };
            store.create_client(new).await.map_err(unavailable)?.id
        }
    };
    let credential = Credential::generate().map_err(|error| Failure::text(error.to_string()))?;
    // The file first: a credential that nobody holds helps nobody.
    write(file, &credential).map_err(|error| Failure::file("--credential-file", file, &error))?;
    let new = NewCredential {
        key_id: credential.key_id().to_string(),
        client,
        secret_sha256: credential.hash().0,
        expires_ms: None,
        now_ms,
    };
    let stored = store.create_credential(new).await;
    if !matches!(stored, Ok(Some(_))) {
        // Otherwise the next run would take it for a foreign one.
        let _ = fs::remove_file(file);
    }
    match stored {
        Ok(Some(_)) => Ok("written, mode 600"),
        Ok(None) => Err(Failure::text("the client vanished; run setup again".to_owned())),
        Err(error) => Err(unavailable(error)),
    }
}

fn read(file: &Path) -> Result<Option<Credential>, Failure> {
    match fs::read_to_string(file) {
        Ok(text) => {
            text.parse().map(Some).map_err(|error| Failure::text(format!("{}: {error}", file.display())))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file("--credential-file", file, &error)),
    }
}

fn write(file: &Path, credential: &Credential) -> io::Result<()> {
    let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    writeln!(out, "{}", *credential.expose())?;
    out.sync_all()
}
