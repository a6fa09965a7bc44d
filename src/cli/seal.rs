//! `vendkey configuration seal`, and what is sent of the file that it wrote.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;
use zeroize::Zeroizing;

use super::{
    encrypting::{confirm, faulty},
    exit::Exit,
    output::{self, Failure},
    whole_file::WholeFile,
};
use crate::{
    clock::{Clock as _, SystemClock},
    envelope::{
        AdministratorKey, PublicKey, Recipient, SealError, SealedEnvelope, Validity, recognise, seal,
    },
    hsm::SealSuite,
};

#[derive(Args)]
#[command(
    after_help = "Example: vendkey configuration seal example.yaml --sealing-key sealing.pem --suite RSA-OAEP-SHA-1 \\
  --fingerprint 5d21... --signing-key admin.pem

Writes example.sealed, in which the vending key is encrypted to the HSM itself: `vendkey configuration upload --sealed example.sealed`. \
The sealing key and the suites that its HSM opens: `vendkey server-key --sealing-out sealing.pem`. For several servers, each with an \
HSM of its own, give --sealing-key and --fingerprint several times, in the same order."
)]
pub(super) struct Seal {
    /// The configuration, YAML
    file: PathBuf,
    /// A server's sealing key, from `vendkey server-key --sealing-out`; may stand several times
    #[arg(long, value_name = "FILE", required = true)]
    sealing_key: Vec<PathBuf>,
    /// Its fingerprint as you learned it over another channel; asked for if not given
    #[arg(long, value_name = "SHA256")]
    fingerprint: Vec<String>,
    /// How it is encrypted: one of those that the HSM opens
    #[arg(long, value_name = "SUITE", default_value = "RSA-OAEP-SHA-256")]
    suite: SealSuite,
    /// Your private RSA key, PEM, not encrypted
    #[arg(long, value_name = "FILE")]
    signing_key: PathBuf,
    /// For how many hours from now it can be uploaded, 744 at most
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=744))]
    valid_hours: u16,
    /// The file to write; by default beside the configuration, with the ending `sealed`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Seal {
    pub(super) fn run(self) -> Result<(), Failure> {
        let read = |option: &str, file: &Path| {
            fs::read(file).map(Zeroizing::new).map_err(|error| Failure::file(option, file, &error))
        };
        let yaml = read("file", &self.file)?;
        let signing_key = read("--signing-key", &self.signing_key)?;
        let mut recipients = Vec::new();
        for (place, file) in self.sealing_key.iter().enumerate() {
            let server = PublicKey::parse(&read("--sealing-key", file)?)
                .map_err(|error| Failure::data("--sealing-key", file, error))?;
            confirm(&server.fingerprint().to_string(), self.fingerprint.get(place).map(String::as_str))?;
            recipients.push(Recipient { server, suite: self.suite });
        }
        let signing_key = AdministratorKey::read(&signing_key)
            .map_err(|error| Failure::data("--signing-key", &self.signing_key, error))?;
        let now = SystemClock.now_ms().div_euclid(1000);
        let validity = Validity { not_before: now, not_after: now + i64::from(self.valid_hours) * 3_600 };
        let sealed = seal(&yaml, &recipients, &signing_key, validity, now, &mut rsa::rand_core::OsRng);
        let sealed = sealed.map_err(|error| match &error {
            SealError::Faults(faults) => faulty(&self.file, &error, faults),
            _ => faulty(&self.file, &error, &[]),
        })?;
        let file = self.out.unwrap_or_else(|| self.file.with_extension("sealed"));
        let failure = |error| Failure::created("--out", &file, &error);
        let mut out = WholeFile::begin(&file, 0o600).map_err(failure)?;
        out.write_all(sealed.text.as_bytes()).map_err(failure)?;
        out.finish().map_err(failure)?;
        let mut told = vec![
            format!("wrote {}", file.display()),
            format!("key check value: {}", hex::encode(sealed.kcv)),
        ];
        told.extend(sealed.draft.warnings.iter().map(|warning| format!("warning: {warning}")));
        output::print_text(told.join("\n"))
    }
}

/// What to send of a file. Nothing is sent of one that is something else: it may be a secret.
pub(super) fn read(file: &Path) -> Result<String, Failure> {
    let bytes =
        fs::read(file).map(Zeroizing::new).map_err(|error| Failure::file("--sealed", file, &error))?;
    let refused = |why: String| {
        let text = format!("{} is no sealed upload; nothing was sent{why}", file.display());
        Failure::exit(Exit::Data, text)
    };
    SealedEnvelope::parse(&bytes).map_err(|faults| {
        let told: String = faults.iter().map(|fault| format!("\n  {fault}")).collect();
        refused(format!(": it looks like {}{told}", recognise(&bytes).phrase()))
    })?;
    String::from_utf8(bytes.to_vec()).map_err(|_| refused(String::new()))
}
