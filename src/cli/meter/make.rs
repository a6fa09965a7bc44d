//! `vendkey meter new`.

use std::{fs, path::PathBuf};

use clap::{ArgGroup, Args};
use zeroize::Zeroizing;

use super::{Failure, KeyArguments, described, file, output, text_of};
use crate::{
    clock::{Clock as _, SystemClock},
    envelope,
    secret::SecretBytes,
    sts::{
        attributes::{
            Attributes, BaseDate, Dkga, EncryptionAlgorithm, KeyExpiry, KeyRevision, KeyType,
            SupplyGroupCode, TariffIndex,
        },
        derivation::Derivation,
        meter::{Iin, MeterPan},
        software::derive,
        tid::{Tid, TidError},
        virtual_meter::VirtualMeter,
    },
};

const MORE: &str = "\
Examples:
  vendkey meter new my.meter --configuration test.yaml --meter 47500150231
  vendkey meter new my.meter --vending-key-file key.hex --sgc 123456 --krn 1 --meter 47500150231

The vending key is a test key in the clear: in a configuration's YAML file, or as hex digits in a file of its own, with the \
attributes as options. The file of the meter is encrypted: a passphrase is asked for unless --key-file is given.";

#[derive(Args)]
#[command(after_help = MORE)]
#[command(group = ArgGroup::new("source").required(true).args(["configuration", "vending_key_file"]))]
pub(in crate::cli) struct New {
    /// The meter's file, which must not exist
    state: PathBuf,
    /// The meter's number: 11, 13 or 18 digits
    #[arg(long)]
    meter: String,
    /// A configuration, YAML, with its vending key
    #[arg(long, value_name = "FILE")]
    configuration: Option<PathBuf>,
    /// The vending key as hex digits, most significant byte first
    #[arg(long, value_name = "FILE", requires_all = ["sgc", "krn"])]
    vending_key_file: Option<PathBuf>,
    /// When the meter was made, such as 2026-11-21T10:00:00Z: it takes no older token. A day and an
    /// hour ago if not given
    #[arg(long, value_name = "TIME")]
    made: Option<jiff::Timestamp>,
    #[command(flatten)]
    key: KeyArguments,
    // The last: its heading counts for all that follow.
    #[command(flatten)]
    attributes: AttributeArguments,
}

#[derive(Args)]
#[command(next_help_heading = "Attributes, beside --vending-key-file")]
struct AttributeArguments {
    /// Supply group code, 6 digits
    #[arg(long, conflicts_with = "configuration")]
    sgc: Option<SupplyGroupCode>,
    /// Key revision number, 1 to 9
    #[arg(long, conflicts_with = "configuration")]
    krn: Option<KeyRevision>,
    /// Tariff index, 2 digits
    #[arg(long, conflicts_with = "configuration", default_value = "01")]
    ti: TariffIndex,
    /// Key type: 0, 1, 2 or 3
    #[arg(long, conflicts_with = "configuration", default_value = "2")]
    kt: KeyType,
    /// Key expiry number, 0 to 255
    #[arg(long, conflicts_with = "configuration", default_value = "255")]
    ken: KeyExpiry,
    /// Encryption algorithm: 07, 09 or 11
    #[arg(long, conflicts_with = "configuration", default_value = "07", value_parser = coded::<u8, EncryptionAlgorithm>)]
    ea: EncryptionAlgorithm,
    /// Decoder key generation algorithm: 02, 03 or 04
    #[arg(long, conflicts_with = "configuration", default_value = "04", value_parser = coded::<u8, Dkga>)]
    dkga: Dkga,
    /// Base date: 1993, 2014 or 2035
    #[arg(long, conflicts_with = "configuration", default_value = "2014", value_parser = coded::<u16, BaseDate>)]
    base_date: BaseDate,
    /// Issuer identification number
    #[arg(long, conflicts_with = "configuration", default_value = "600727")]
    iin: Iin,
}

/// A number with a type of its own.
fn coded<N, T>(text: &str) -> Result<T, String>
where
    N: std::str::FromStr<Err: std::fmt::Display>,
    T: TryFrom<N, Error: std::fmt::Display>,
{
    let number: N = text.parse().map_err(|error| format!("{error}"))?;
    number.try_into().map_err(|error| format!("{error}"))
}

/// Tokens may carry a time up to a day back; a new meter should take those that are issued from now
/// on.
const DEFAULT_AGE_SECONDS: i64 = 25 * 3600;

impl New {
    pub(super) fn run(self) -> Result<(), Failure> {
        let now = SystemClock.now_ms().div_euclid(1000);
        let (attributes, vending_key) = self.source(now)?;
        let meter = MeterPan::parse(&self.meter, attributes.iin)
            .map_err(|error| Failure::text(format!("--meter {}: {error}", self.meter)))?;
        let derivation =
            Derivation::new(&attributes, &meter).map_err(|error| Failure::text(error.to_string()))?;
        let key = derive(&derivation, &vending_key).map_err(|error| Failure::text(error.to_string()))?;
        let made = self.made(attributes.base_date, now)?;
        let meter = VirtualMeter::new(meter, &attributes, key.borrow(), made)
            .map_err(|error| Failure::text(error.to_string()))?;
        let lock = self.key.lock(true)?;
        file::create(&self.state, &lock, &text_of(&meter)?)
            .map_err(|error| Failure::text(format!("{}: {error}", self.state.display())))?;
        let state = self.state.display();
        output::print_text(format!("{}\nwrote {state}, mode 600, encrypted", described(&meter))).map_err(
            |failure| failure.again(|| format!("wrote {state}; vendkey meter show {state} shows it")),
        )
    }

    /// Attributes and vending key.
    fn source(&self, now: i64) -> Result<(Attributes, Zeroizing<Vec<u8>>), Failure> {
        if let Some(file) = &self.configuration {
            let text = fs::read(file).map_err(|error| Failure::file("--configuration", file, &error))?;
            let text = SecretBytes::absorb(text).map_err(|error| Failure::text(error.to_string()))?;
            let upload = envelope::read(text, now).map_err(|faults| {
                let faults: Vec<String> = faults.iter().map(|fault| format!("\n  {fault}")).collect();
                let text = format!("not a valid configuration{}", faults.concat());
                Failure::data("--configuration", file, text)
            })?;
            return Ok((upload.draft.attributes, Zeroizing::new(upload.vending_key.bytes().to_vec())));
        }
        let AttributeArguments { sgc, krn, ti, kt, ken, ea, dkga, base_date, iin } = &self.attributes;
        let (Some(file), Some(sgc), Some(krn)) = (&self.vending_key_file, sgc, krn) else {
            return Err(Failure::usage(
                "--configuration, or --vending-key-file with --sgc and --krn, is missing".to_owned(),
            ));
        };
        let text = fs::read(file)
            .map(Zeroizing::new)
            .map_err(|error| Failure::file("--vending-key-file", file, &error))?;
        let key = hex::decode(text.trim_ascii()).map(Zeroizing::new).map_err(|_| {
            Failure::data("--vending-key-file", file, "it holds something else than hex digits")
        })?;
        let attributes = Attributes {
            iin: *iin,
            sgc: *sgc,
            ti: *ti,
            krn: *krn,
            kt: *kt,
            ken: *ken,
            ea: *ea,
            dkga: *dkga,
            base_date: *base_date,
        };
        Ok((attributes, key))
    }

    /// The minute of its manufacture, on the base date at the earliest.
    fn made(&self, base: BaseDate, now: i64) -> Result<Tid, Failure> {
        let made = self.made.map_or(now - DEFAULT_AGE_SECONDS, |made| made.as_second());
        match base.tid_at(made) {
            Err(TidError::BeforeBaseDate { .. }) if self.made.is_none() => base.tid_at(base.unix_seconds()),
            tid => tid,
        }
        .map_err(|error| Failure::text(format!("--made: {error}")))
    }
}
