//! `vendkey configuration`.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::{
    configuration_shown::{described, state},
    connection::{Connection, Named},
    destruction,
    encrypting::{confirm, faulty},
    exit::Exit,
    output::{self, Failure},
    seal,
    whole_file::WholeFile,
};
use crate::{
    api::v1::{
        Configuration, DisableConfigurationRequest, EnableConfigurationRequest, GetConfigurationRequest,
        ImportSealedConfigurationRequest, ListConfigurationsRequest, ListConfigurationsResponse,
        UploadConfigurationRequest, configuration_service_client::ConfigurationServiceClient,
    },
    clock::{Clock as _, SystemClock},
    envelope::{AdministratorKey, Blob, EncryptError, PublicKey, encrypt, text_of},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make the three blobs of an upload from a YAML file; works offline
    Encrypt(Encrypt),
    /// Seal a YAML file to the HSM: no server sees the vending key; works offline
    Seal(seal::Seal),
    /// Upload the three blobs, or a sealed document
    Upload(Upload),
    /// List the configurations
    List(Connection),
    /// Show one configuration
    Show(Named),
    /// Let tokens be issued again
    Enable(Named),
    /// Stop issuing; retries of issued tokens still get them
    Disable(Named),
    /// Have the key of a disabled configuration destroyed, after a delay
    Destroy(destruction::Destroy),
    /// Take a scheduled destruction back
    #[command(after_help = "Example: vendkey configuration restore configurations/01a2...

The configuration is disabled then; enable it if it is to issue again.")]
    Restore(Named),
}

#[derive(Args)]
#[command(after_help = "Example: vendkey configuration encrypt example.yaml --server-key server.pem \\
  --fingerprint 3f0c... --signing-key admin.pem --out upload

Writes upload/example.data, upload/example.digest and upload/example.key.")]
pub(super) struct Encrypt {
    /// The configuration, YAML
    file: PathBuf,
    /// The server's public key, from `vendkey server-key --out`
    #[arg(long, value_name = "FILE")]
    server_key: PathBuf,
    /// The server key's fingerprint as you learned it over another channel; asked for if not given
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<String>,
    /// Your private RSA key, PEM, not encrypted
    #[arg(long, value_name = "FILE")]
    signing_key: PathBuf,
    /// Folder for the three files; made if missing
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

#[derive(Args)]
#[command(after_help = "Example: vendkey configuration upload --sealed example.sealed
  vendkey configuration upload --data c.data --digest c.digest --key c.key")]
pub(super) struct Upload {
    /// What `vendkey configuration seal` wrote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "digest", "key"])]
    sealed: Option<PathBuf>,
    /// base64 of IV and AES-128-CBC ciphertext
    #[arg(long, value_name = "FILE", required_unless_present = "sealed")]
    data: Option<PathBuf>,
    /// base64 of the signed SHA-256
    #[arg(long, value_name = "FILE", required_unless_present = "sealed")]
    digest: Option<PathBuf>,
    /// base64 of the wrapped AES key
    #[arg(long, value_name = "FILE", required_unless_present = "sealed")]
    key: Option<PathBuf>,
    /// Check everything and store nothing
    #[arg(long)]
    validate_only: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Command {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Encrypt(encrypt) => encrypt.run(),
            Self::Seal(seal) => seal.run(),
            Self::Upload(upload) => super::calling(upload.run()),
            Self::List(connection) => super::calling(list(&connection)),
            Self::Show(Named { name, connection }) => super::calling(async move {
                let mut client = ConfigurationServiceClient::new(connection.open().await?);
                let reply = client.get_configuration(GetConfigurationRequest { name }).await;
                let reply = reply.map_err(Failure::refused(connection.json))?;
                output::show(connection.json, reply.get_ref(), described)
            }),
            Self::Enable(Named { name, connection }) => super::calling(async move {
                let mut client = ConfigurationServiceClient::new(connection.open().await?);
                let reply = client.enable_configuration(EnableConfigurationRequest { name }).await;
                let reply = reply.map_err(Failure::refused(connection.json))?;
                output::show(connection.json, reply.get_ref(), described)
            }),
            Self::Destroy(destroy) => super::calling(destroy.run()),
            Self::Restore(named) => super::calling(destruction::restore(named)),
            Self::Disable(Named { name, connection }) => super::calling(async move {
                let mut client = ConfigurationServiceClient::new(connection.open().await?);
                let reply = client.disable_configuration(DisableConfigurationRequest { name }).await;
                let reply = reply.map_err(Failure::refused(connection.json))?;
                output::show(connection.json, reply.get_ref(), described)
            }),
        }
    }
}

impl Encrypt {
    fn run(self) -> Result<(), Failure> {
        let read = |option: &str, file: &Path| {
            fs::read(file).map(Zeroizing::new).map_err(|error| Failure::file(option, file, &error))
        };
        let yaml = read("file", &self.file)?;
        let server_key = read("--server-key", &self.server_key)?;
        let signing_key = read("--signing-key", &self.signing_key)?;
        let server_key = PublicKey::parse(&server_key)
            .map_err(|error| Failure::data("--server-key", &self.server_key, error))?;
        confirm(&server_key.fingerprint().to_string(), self.fingerprint.as_deref())?;
        let signing_key = AdministratorKey::read(&signing_key)
            .map_err(|error| Failure::data("--signing-key", &self.signing_key, error))?;
        let now = SystemClock.now_ms().div_euclid(1000);
        let sealed =
            encrypt(&yaml, &server_key, &signing_key, now, &mut rsa::rand_core::OsRng).map_err(|error| {
                let faults = match &error {
                    EncryptError::Faults(faults) => faults.as_slice(),
                    _ => &[],
                };
                faulty(&self.file, &error, faults)
            })?;
        fs::create_dir_all(&self.out).map_err(|error| Failure::created("--out", &self.out, &error))?;
        let stem = self.file.file_stem().unwrap_or_default().to_string_lossy();
        let mut told = Vec::new();
        let mut written = Vec::new();
        for (extension, text) in [("data", &sealed.data), ("digest", &sealed.digest), ("key", &sealed.key)] {
            let file = self.out.join(format!("{stem}.{extension}"));
            let failure = |error: io::Error| Failure::created("--out", &file, &error);
            // Nobody else reads it: the digest tells a guessed vending key from a wrong one.
            let mut out = WholeFile::begin(&file, 0o600).map_err(failure)?;
            out.write_all(text.as_bytes()).map_err(failure)?;
            told.push(format!("wrote {}", file.display()));
            written.push((file, out));
        }
        // Together, since none is of any use with the others of another run.
        for (file, out) in written {
            out.finish().map_err(|error| Failure::created("--out", &file, &error))?;
        }
        told.extend(sealed.draft.warnings.iter().map(|warning| format!("warning: {warning}")));
        output::print_text(told.join("\n"))
    }
}

impl Upload {
    /// What to send of the three files. Nothing is sent of any if one shows that it is something
    /// else: it may be a secret.
    fn read(&self) -> Result<[String; 3], Failure> {
        let mut faults = Vec::new();
        let mut texts = [const { String::new() }; 3];
        let files = [(Blob::Data, &self.data), (Blob::Digest, &self.digest), (Blob::Key, &self.key)];
        for ((blob, file), text) in files.into_iter().zip(&mut texts) {
            let Some(file) = file else { continue };
            let read = fs::read(file).map_err(|error| Failure::file(&format!("--{blob}"), file, &error))?;
            match text_of(blob, &Zeroizing::new(read)) {
                Ok(found) => *text = found,
                Err(fault) => faults.push(format!("\n  {fault}")),
            }
        }
        if faults.is_empty() {
            return Ok(texts);
        }
        let text = format!("these are not the blobs of an upload; nothing was sent{}", faults.concat());
        Err(Failure::exit(Exit::Data, text))
    }

    async fn run(self) -> Result<(), Failure> {
        let (json, validate_only) = (self.connection.json, self.validate_only);
        if let Some(file) = &self.sealed {
            let document = seal::read(file)?;
            let request = ImportSealedConfigurationRequest { document, validate_only };
            let mut client = ConfigurationServiceClient::new(self.connection.open().await?);
            let reply = client.import_sealed_configuration(request).await.map_err(Failure::refused(json))?;
            return output::show(json, reply.get_ref(), |reply| {
                verdict(validate_only, reply.existing, reply.configuration.as_ref())
            });
        }
        let [data, digest, key] = self.read()?;
        let request = UploadConfigurationRequest { data, digest, key, validate_only };
        let mut client = ConfigurationServiceClient::new(self.connection.open().await?);
        let reply = client.upload_configuration(request).await.map_err(Failure::refused(json))?;
        output::show(json, reply.get_ref(), |reply| {
            verdict(validate_only, reply.existing, reply.configuration.as_ref())
        })
    }
}

/// What became of an upload.
fn verdict(validated: bool, existing: bool, configuration: Option<&Configuration>) -> String {
    let verdict = match (validated, existing) {
        (true, _) => "valid; nothing was stored",
        (false, true) => "uploaded before; this is that configuration",
        (false, false) => "uploaded",
    };
    format!("{verdict}\n{}", configuration.map(described).unwrap_or_default())
}

async fn list(connection: &Connection) -> Result<(), Failure> {
    let mut client = ConfigurationServiceClient::new(connection.open().await?);
    let mut all = ListConfigurationsResponse::default();
    loop {
        let request = ListConfigurationsRequest { page_size: 0, page_token: all.next_page_token };
        let reply = client
            .list_configurations(request)
            .await
            .map_err(Failure::refused(connection.json))?
            .into_inner();
        all.configurations.extend(reply.configurations);
        all.next_page_token = reply.next_page_token;
        if all.next_page_token.is_empty() {
            break;
        }
    }
    output::show(connection.json, &all, |all| {
        let rows = all.configurations.iter().map(|configuration| {
            let attributes = configuration.attributes.clone().unwrap_or_default();
            [
                configuration.name.clone(),
                configuration.display_name.clone(),
                state(configuration),
                attributes.sgc,
                attributes.krn.to_string(),
                format!("EA{:02} DKGA{:02}", attributes.ea, attributes.dkga),
                configuration.kcv.clone(),
            ]
        });
        output::table(["name", "display name", "state", "sgc", "krn", "algorithms", "kcv"], rows)
    })
}
