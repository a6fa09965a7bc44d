//! `vendkey meter`: a person plays a customer's keypad, on test keys.

mod file;
mod make;
mod sealed;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::output::{self, Failure};
use crate::{
    clock::{Clock as _, SystemClock},
    sts::{
        amount::{CURRENCY_PLACES, UNIT_PLACES, format_decimal},
        attributes::EncryptionAlgorithm,
        token::Service,
        typed::{self, TypedError},
        virtual_meter::{Answer, MeterState, VirtualMeter},
    },
};
use file::{OpenFile, StateFile};
use sealed::Lock;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a meter that holds a decoder key, derived from a vending key in the clear: for test
    /// keys alone
    New(Box<make::New>),
    /// Type tokens into the meter and read its display
    Enter(Enter),
    /// Show what the meter knows, but for its key
    Show(Show),
}

/// What opens a meter's file.
#[derive(Args)]
struct KeyArguments {
    /// A file of 32 random bytes, mode 600, in place of a passphrase (made by: head -c 32
    /// /dev/urandom)
    #[arg(long, env = "VENDKEY_METER_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,
}

#[derive(Args)]
#[command(
    after_help = "Example: vendkey meter enter my.meter 7063 0503 4700 2872 6114\n\nExits 1 if the meter rejected a token."
)]
pub(super) struct Enter {
    /// The meter's file
    state: PathBuf,
    /// One or more tokens of 20 digits; blanks, hyphens and dots do not matter
    #[arg(required = true, value_name = "DIGITS")]
    digits: Vec<String>,
    #[command(flatten)]
    key: KeyArguments,
}

#[derive(Args)]
#[command(after_help = "Example: vendkey meter show my.meter")]
pub(super) struct Show {
    /// The meter's file
    state: PathBuf,
    #[command(flatten)]
    key: KeyArguments,
}

impl Command {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::New(new) => new.run(),
            Self::Enter(enter) => enter.run(),
            Self::Show(show) => show.run(),
        }
    }
}

impl KeyArguments {
    /// The key file, or a passphrase typed at the terminal, twice when the meter is new.
    fn lock(&self, is_new: bool) -> Result<Lock, Failure> {
        if let Some(file) = &self.key_file {
            return sealed::read_key(file)
                .map_err(|error| Failure::text(format!("--key-file {}: {error}", file.display())));
        }
        let ask = |prompt: &str| {
            rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|error| {
                Failure::usage(format!("--key-file is missing, and no passphrase can be asked for: {error}"))
            })
        };
        let passphrase = ask("Passphrase of the meter's file: ")?;
        if is_new && *ask("Once more: ")? != *passphrase {
            return Err(Failure::text("the two passphrases differ"));
        }
        if passphrase.is_empty() {
            return Err(Failure::text("an empty passphrase protects nothing"));
        }
        Ok(Lock::Passphrase(passphrase))
    }
}

/// The meter in a file, which nobody else changes meanwhile.
fn open(file: &std::path::Path, key: &KeyArguments) -> Result<(OpenFile, VirtualMeter), Failure> {
    let bad = |error: &dyn std::fmt::Display| Failure::text(format!("{}: {error}", file.display()));
    let opened = StateFile::open(file).map_err(|error| bad(&error))?;
    let (opened, text) = opened.unseal(&key.lock(false)?).map_err(|error| bad(&error))?;
    let state: MeterState =
        serde_json::from_slice(&text).map_err(|_| bad(&"what the file holds is no meter of this version"))?;
    let meter = VirtualMeter::from_state(&state).map_err(|error| bad(&error))?;
    Ok((opened, meter))
}

impl Enter {
    fn run(self) -> Result<(), Failure> {
        let (file, mut meter) = open(&self.state, &self.key)?;
        let mut rejected = 0;
        for token in tokens(&self.digits).map_err(|error| Failure::usage(error.to_string()))? {
            let answer = meter.enter_digits(&token, SystemClock.now_ms().div_euclid(1000));
            // What the meter did is kept before it is told: a token must not be used up twice.
            file.write(&text_of(&meter)?)
                .map_err(|error| Failure::text(format!("{}: {error}", self.state.display())))?;
            output::print_text(answer.to_string()).map_err(|failure| {
                failure.again(|| format!("the meter has answered to {token}: {answer}"))
            })?;
            rejected += usize::from(matches!(answer, Answer::Rejected(_)));
        }
        if rejected == 0 { Ok(()) } else { Err(Failure::text(format!("tokens rejected: {rejected}"))) }
    }
}

/// Twenty digits each. What cannot be cut into twenties is left whole, for the meter to refuse.
fn tokens(typed: &[String]) -> Result<Vec<String>, TypedError> {
    let digits: Vec<char> = typed::digits(&typed.join(" "))?.chars().collect();
    Ok(match digits.len() % 20 {
        0 => digits.chunks(20).map(|token| token.iter().collect()).collect(),
        _ => vec![digits.iter().collect()],
    })
}

/// The state as JSON.
fn text_of(meter: &VirtualMeter) -> Result<Zeroizing<Vec<u8>>, Failure> {
    serde_json::to_vec(&meter.state()).map(Zeroizing::new).map_err(|error| Failure::text(error.to_string()))
}

impl Show {
    fn run(self) -> Result<(), Failure> {
        let (_, meter) = open(&self.state, &self.key)?;
        output::print_text(described(&meter))?;
        Ok(())
    }
}

/// Everything but the key; registers that were never used are left out.
fn described(meter: &VirtualMeter) -> String {
    let state = meter.state();
    let number =
        |value: Option<u32>, unit: &str| value.map(|value| format!("{value} {unit}")).unwrap_or_default();
    let raw = |value: Option<u16>| value.map(|value| value.to_string()).unwrap_or_default();
    let mut pairs = vec![
        ("meter", format!("{} (DRN {})", state.meter, meter.meter().drn())),
        ("cipher", EncryptionAlgorithm::try_from(state.ea).map(|ea| ea.to_string()).unwrap_or_default()),
        ("key type", state.key_type.to_string()),
        ("key revision", state.key_revision.to_string()),
        ("tariff index", format!("{:02}", state.tariff_index)),
        (
            "key expiry",
            if state.key_expiry == 255 { "255 (never)".to_owned() } else { state.key_expiry.to_string() },
        ),
        (
            "supply group",
            state
                .supply_group
                .clone()
                .unwrap_or_else(|| "unknown since a key change of two tokens".to_owned()),
        ),
    ];
    for service in Service::ALL {
        let units = meter.credit(service);
        let name = ["electricity", "water", "gas", "time"][service as usize];
        if units != 0 || service == Service::Electricity {
            pairs.push((name, format!("{} {}", format_decimal(units.into(), UNIT_PLACES), service.unit())));
        }
    }
    for service in Service::ALL {
        let units = meter.currency(service);
        let name =
            ["electricity currency", "water currency", "gas currency", "time currency"][service as usize];
        if units != 0 {
            pairs.push((name, format_decimal(units, CURRENCY_PLACES)));
        }
    }
    pairs.extend([
        ("newest TID", state.tids.iter().max().map(u32::to_string).unwrap_or_default()),
        ("tamper condition", if state.tampered { "yes" } else { "" }.to_owned()),
        ("power limit", number(state.power_limit, "W")),
        ("phase unbalance", number(state.phase_unbalance_limit, "W")),
        ("tariff rate", raw(state.tariff_rate)),
        ("water factor", raw(state.water_meter_factor)),
        (
            "key change",
            state
                .key_change
                .as_ref()
                .map(|change| format!("{} tokens entered", change.blocks.len()))
                .unwrap_or_default(),
        ),
    ]);
    output::fields(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_however_they_are_typed() {
        let read = |typed: &[&str]| tokens(&typed.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>());
        let of = |typed: &[&str]| read(typed).unwrap();
        let (one, two) = ("70630503470028726114", "13165821006407279478");
        assert_eq!(of(&[one]), [one]);
        assert_eq!(of(&["7063", "0503", "4700", "2872", "6114"]), [one]);
        assert_eq!(of(&["7063-0503-4700-2872-6114", two]), [one, two]);
        assert_eq!(of(&["123", "45"]), ["12345"]);
        assert!(matches!(read(&["123", "45x"]), Err(TypedError::Strange(_))));
    }
}
