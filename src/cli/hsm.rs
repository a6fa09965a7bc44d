//! `vendkey hsm`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    hsm_tokens,
    output::{self, Failure},
    setup, stdout,
};
use crate::{
    hsm::{ModuleReport, Service, report_on_module},
    settings::Settings,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Try what an HSM can do for Vendkey; leaves nothing on its token
    Probe(Probe),
    /// Show whether each token answers, and how many keys it holds
    Status(hsm_tokens::Status),
    /// List the configurations with the tokens that hold their keys, as the database has them
    List(hsm_tokens::List),
    /// Prove every key on every token by its check value
    Check(hsm_tokens::Check),
}

impl Command {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Probe(arguments) => arguments.run(),
            Self::Status(arguments) => arguments.run(),
            Self::List(arguments) => arguments.run(),
            Self::Check(arguments) => arguments.run(),
        }
    }
}

#[derive(Args)]
#[command(after_help = "Example: vendkey hsm probe --settings vendkey.toml > hsm.txt

Logs in once, and tries what Vendkey does with keys by known answers, on keys that live no longer than a read-only session: nothing is \
written to the token, which may be an empty one. Send the output to the HSM's vendor if something is missing; it holds no secret. Exits 1 \
if no configuration could be served. docs/hsm.md tells what to ask before buying.")]
pub(super) struct Probe {
    /// The settings file; only its section [hsm] is used
    #[arg(long, env = "VENDKEY_SETTINGS", value_name = "FILE")]
    settings: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Probe {
    fn run(self) -> Result<(), Failure> {
        let settings = Settings::load(&self.settings).map_err(Failure::settings)?;
        stdout::note("making RSA keys as session objects: this takes some seconds");
        let report = report_on_module(&settings.hsm).map_err(Failure::hsm)?;
        let services = report.services();
        output::print_text(if self.json {
            format!("{:#}", as_json(&report, &services))
        } else {
            as_text(&report, &services)
        })?;
        // The first is the server, without keys of anybody.
        if services.iter().skip(1).any(|service| service.missing.is_empty()) {
            Ok(())
        } else {
            Err(Failure::text("no configuration could be served with this HSM"))
        }
    }
}

fn yes(served: bool) -> String {
    if served { "yes" } else { "no" }.to_owned()
}

fn as_text(report: &ModuleReport, services: &[Service]) -> String {
    let (module, token) = (&report.capabilities.module, &report.capabilities.token);
    let facts = output::fields([
        ("module", format!("{} {} ({})", module.description, module.version, module.path)),
        ("manufacturer", module.manufacturer.clone()),
        ("PKCS#11", module.cryptoki.clone()),
        ("token", format!("{}, {}, serial {}", token.label, token.model, token.serial)),
        ("probed by", format!("vendkey {}", env!("CARGO_PKG_VERSION"))),
    ]);
    let served = services
        .iter()
        .map(|service| [service.name.clone(), yes(service.missing.is_empty()), service.missing.join("\n")]);
    let attributes = match &report.attributes {
        Ok(()) => "the attributes of a key are kept, and its value cannot be read".to_owned(),
        Err(why) => why.clone(),
    };
    let keys = report.own_keys.iter().map(|(role, made)| {
        let detail = match made {
            Ok(took) => format!("made in {:.2} s", took.as_secs_f64()),
            Err(why) => why.clone(),
        };
        [format!("{role} key"), yes(made.is_ok()), detail]
    });
    let attributes = [["attributes".to_owned(), yes(report.attributes.is_ok()), attributes]];
    let mechanisms = report.mechanisms.iter().map(|facts| {
        let listed = match facts.listed {
            Some((min, max, hardware)) => {
                format!("{min} to {max}{}", if hardware { ", in hardware" } else { "" })
            }
            None => "not listed".to_owned(),
        };
        [facts.name.to_owned(), listed, facts.purpose.to_owned()]
    });
    [
        facts,
        output::table(["Vendkey can serve", "", "what is missing"], served),
        setup::capabilities(&report.capabilities),
        output::table(["the server's own keys", "", "made as session objects"], keys.chain(attributes)),
        output::table(["mechanism", "the module says: sizes of keys", "needed for"], mechanisms),
    ]
    .join("\n\n")
}

fn as_json(report: &ModuleReport, services: &[Service]) -> Value {
    let (module, token) = (&report.capabilities.module, &report.capabilities.token);
    let services = services.iter().map(
        |Service { name, missing }| json!({"name": name, "served": missing.is_empty(), "missing": missing}),
    );
    let abilities = report
        .capabilities
        .rows()
        .into_iter()
        .map(|row| json!({"name": row.name, "served": row.served, "detail": row.detail}));
    let own_keys = report.own_keys.iter().map(|(role, made)| match made {
        Ok(took) => json!({"name": format!("{role} key"), "made": true, "milliseconds": millis(*took)}),
        Err(why) => json!({"name": format!("{role} key"), "made": false, "detail": why}),
    });
    let mechanisms = report.mechanisms.iter().map(|facts| {
        let listed = facts
            .listed
            .map(|(min, max, hardware)| json!({"smallestKey": min, "largestKey": max, "hardware": hardware}));
        json!({"name": facts.name, "code": facts.code, "neededFor": facts.purpose, "listed": listed})
    });
    json!({
        "vendkey": env!("CARGO_PKG_VERSION"),
        "module": {
            "path": module.path,
            "description": module.description,
            "manufacturer": module.manufacturer,
            "version": module.version,
            "cryptoki": module.cryptoki,
        },
        "token": {"label": token.label, "model": token.model, "serial": token.serial, "slot": token.slot},
        "services": services.collect::<Value>(),
        "abilities": abilities.collect::<Value>(),
        "attributes": {"kept": report.attributes.is_ok(), "detail": report.attributes.as_ref().err()},
        "ownKeys": own_keys.collect::<Value>(),
        "mechanisms": mechanisms.collect::<Value>(),
    })
}

fn millis(took: std::time::Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
