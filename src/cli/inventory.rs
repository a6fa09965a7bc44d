//! `vendkey inventory`.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use serde_json::{Value, json};

use super::output::{self, Failure};
use crate::{
    custody::{self, Finding, Inventory},
    hsm::Hsm,
    settings::Settings,
    store,
};

#[derive(Args)]
#[command(after_help = "Example: vendkey inventory --settings vendkey.toml

Compares the HSM's key objects with the database's configurations: that each key is there and is what it must be, that its check value, \
made anew by the HSM, is the one on record, and that nothing is left of destroyed ones. Reads alone; the server may run. Exits 1 if \
anything is missing or not what it must be. Objects that no configuration knows are listed and left alone.")]
pub(super) struct Arguments {
    /// The settings file
    #[arg(long, env = "VENDKEY_SETTINGS", value_name = "FILE")]
    settings: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let settings = Settings::load(&self.settings).map_err(Failure::settings)?;
        let hsm = Hsm::start(settings.hsm).map_err(Failure::hsm)?;
        let rows = store::all_configurations(&settings.store.url, Arc::new(hsm.clone()));
        let rows = rows.map_err(Failure::database)?;
        super::calling(async {
            let token = hsm.token();
            let inventory = custody::take(&hsm, (token, token), rows).await;
            hsm.stop();
            let inventory = inventory.map_err(|error| Failure::text(error.to_string()))?;
            output::print_text(if self.json {
                format!("{:#}", as_json(&inventory))
            } else {
                as_text(&inventory)
            })?;
            if inventory.is_sound() {
                Ok(())
            } else {
                Err(Failure::text("the HSM does not hold what it must".to_owned()))
            }
        })
    }
}

pub(super) fn said(finding: &Finding) -> String {
    match finding {
        Finding::Sound => "sound".to_owned(),
        Finding::Importing => "its upload did not end".to_owned(),
        Finding::NoKey => "has no key".to_owned(),
        Finding::Elsewhere => "another token holds its key".to_owned(),
        Finding::Gone => "gone".to_owned(),
        Finding::Faulty(fault) => fault.clone(),
        Finding::OtherKey { kcv } => format!("the HSM holds another key: {}", hex::encode(kcv)),
        Finding::NotGone => "objects are left of it".to_owned(),
    }
}

fn kcv(kcv: Option<[u8; 3]>) -> String {
    kcv.map(hex::encode).unwrap_or_default()
}

fn as_text(inventory: &Inventory) -> String {
    let own = inventory
        .own
        .iter()
        .map(|key| [format!("{} key", key.role), key.generation.to_string(), key.fingerprint.clone()]);
    let configurations = inventory.configurations.iter().map(|item| {
        let row = &item.configuration;
        [format!("configurations/{}", row.id), row.state.to_string(), kcv(row.kcv()), said(&item.finding)]
    });
    let mut text = output::table(["the server's own", "generation", "fingerprint or check value"], own);
    text.push('\n');
    text.push_str(&output::table(["configuration", "state", "kcv", "its keys in the HSM"], configurations));
    for object in &inventory.unknown {
        let id = object.id.map(|id| id.to_string()).unwrap_or_default();
        text.push_str(&format!("\nno configuration knows the {} {id}", object.role));
    }
    text
}

fn as_json(inventory: &Inventory) -> Value {
    let own = inventory.own.iter().map(|key| {
        json!({"role": key.role.to_string(), "generation": key.generation, "fingerprint": key.fingerprint})
    });
    let configurations = inventory.configurations.iter().map(|item| {
        let row = &item.configuration;
        json!({
            "name": format!("configurations/{}", row.id),
            "state": row.state.to_string(),
            "kcv": kcv(row.kcv()),
            "finding": said(&item.finding),
            "fault": item.finding.is_fault(),
        })
    });
    let unknown = inventory
        .unknown
        .iter()
        .map(|object| json!({"role": object.role.to_string(), "id": object.id.map(|id| id.to_string())}));
    json!({
        "ownKeys": own.collect::<Value>(),
        "configurations": configurations.collect::<Value>(),
        "unknown": unknown.collect::<Value>(),
        "sound": inventory.is_sound(),
    })
}
