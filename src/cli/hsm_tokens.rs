//! `vendkey hsm status`, `list` and `check`: the tokens of the settings and the keys on them.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use serde_json::{Value, json};

use super::{
    inventory,
    output::{self, Failure},
};
use crate::{
    configuration::{Configuration, KeyState},
    custody::{self, Finding, Inventory, TokenInventory},
    hsm::{Role, TokenList, TokenState, VendingKeys as _},
    settings::Settings,
    store,
};

/// What each of the commands is told.
#[derive(Args)]
struct Common {
    /// The settings file
    #[arg(long, env = "VENDKEY_SETTINGS", value_name = "FILE")]
    settings: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Common {
    fn tokens(&self) -> Result<(Settings, TokenList), Failure> {
        let settings = Settings::load(&self.settings).map_err(Failure::settings)?;
        let tokens = TokenList::start(settings.hsm.clone(), settings.other_tokens.clone());
        Ok((settings, tokens.map_err(Failure::hsm)?))
    }

    /// The tokens, and all configurations.
    fn tokens_and_rows(&self) -> Result<(TokenList, Vec<Configuration>), Failure> {
        let (settings, tokens) = self.tokens()?;
        let sealer = Arc::new(tokens.first_token().clone());
        let rows = store::all_configurations(&settings.store.url, sealer).map_err(Failure::database)?;
        Ok((tokens, rows))
    }

    fn print(&self, text: String, json: &Value) -> Result<(), Failure> {
        output::print_text(if self.json { format!("{json:#}") } else { text })
    }
}

#[derive(Args)]
#[command(after_help = "Example: vendkey hsm status --settings vendkey.toml

The first token of the settings holds the server's own keys; those of [[hsm.other_tokens]] hold vending keys beside it. Logs in to each; \
the server may run. Exits 1 if a token does not answer.")]
pub(super) struct Status {
    #[command(flatten)]
    common: Common,
}

impl Status {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (_, tokens) = self.common.tokens()?;
        super::calling(async {
            let states = tokens.states();
            let (mut rows, mut told) = (Vec::new(), Vec::new());
            for state in &states {
                let TokenState { name, hsm, fault } = state;
                let keys = match hsm {
                    Some(hsm) => hsm.key_objects().await.ok().map(|objects| {
                        objects.iter().filter(|object| object.role == Role::VendingKey).count()
                    }),
                    None => None,
                };
                let facts = hsm.as_ref().map(|hsm| hsm.capabilities().token.clone()).unwrap_or_default();
                let answers = fault.clone().unwrap_or_else(|| "answers".to_owned());
                let shown = keys.map(|keys| keys.to_string()).unwrap_or_default();
                rows.push([name.clone(), id(state), facts.serial.clone(), shown, answers]);
                told.push(json!({
                    "name": name, "token": id(state), "serial": facts.serial, "vendingKeys": keys,
                    "answers": fault.is_none(), "fault": fault,
                }));
            }
            tokens.stop();
            let text = output::table(["token", "id", "serial number", "vending keys", "state"], rows);
            self.common.print(text, &json!({ "tokens": told }))?;
            all(states.iter().all(|state| state.fault.is_none()), "a token does not answer")
        })
    }
}

#[derive(Args)]
#[command(after_help = "Example: vendkey hsm list --settings vendkey.toml

What the database has on record; `vendkey hsm check` asks the tokens. A token that lacks a key gets it when the same upload is sent again. \
The server may run.")]
pub(super) struct List {
    #[command(flatten)]
    common: Common,
}

impl List {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (tokens, rows) = self.common.tokens_and_rows()?;
        let first = tokens.first_token().token();
        let (mut shown, mut told) = (Vec::new(), Vec::new());
        for row in &rows {
            let held = row.keys.iter().filter(|key| key.state == KeyState::Held);
            let on: Vec<String> = held.map(|key| key.token.unwrap_or(first).to_string()).collect();
            let without = |state: &&TokenState| !on.contains(&id(state));
            let states = tokens.states();
            let lacking: Vec<String> = states
                .iter()
                .filter(without)
                .filter(|_| !on.is_empty())
                .map(|state| state.name.clone())
                .collect();
            let name = format!("configurations/{}", row.id);
            let kcv = row.kcv().map(hex::encode).unwrap_or_default();
            told.push(json!({
                "name": name, "state": row.state.to_string(), "kcv": kcv, "heldBy": on, "lackingOn": lacking,
            }));
            shown.push([name, row.state.to_string(), kcv, on.join("\n"), lacking.join("\n")]);
        }
        tokens.stop();
        let text = output::table(["configuration", "state", "kcv", "held by", "lacking on"], shown);
        self.common.print(text, &json!({ "configurations": told }))
    }
}

#[derive(Args)]
#[command(after_help = "Example: vendkey hsm check --settings vendkey.toml

Looks at every key object of every token: that it is what it must be, and that its check value, made anew by that token, is the one on \
record. Keys that a token lacks are listed; sending the same upload again adds them. Reads alone; the server may run. Exits 1 if a token \
does not answer, or does not hold what the database says that it holds.")]
pub(super) struct Check {
    #[command(flatten)]
    common: Common,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (tokens, rows) = self.common.tokens_and_rows()?;
        super::calling(async {
            let found = custody::take_all(&tokens, &rows).await;
            tokens.stop();
            let text = found.iter().map(as_text).collect::<Vec<_>>().join("\n\n");
            let sound = found.iter().all(TokenInventory::is_sound);
            let told: Value = found.iter().map(as_json).collect();
            self.common.print(text, &json!({ "tokens": told, "sound": sound }))?;
            all(sound, "a token does not hold what it must")
        })
    }
}

fn all(sound: bool, fault: &str) -> Result<(), Failure> {
    if sound { Ok(()) } else { Err(Failure::text(fault.to_owned())) }
}

fn id(state: &TokenState) -> String {
    state.hsm.as_ref().map(|hsm| hsm.token().to_string()).unwrap_or_default()
}

fn as_text(found: &TokenInventory) -> String {
    let TokenInventory { state, inventory } = found;
    let name = format!("{} {}", state.name, id(state));
    match inventory {
        Err(fault) => format!("{name}: {fault}"),
        Ok(Inventory { configurations, unknown, .. }) => {
            let rows = configurations.iter().map(|item| {
                let row = &item.configuration;
                let kcv = row.kcv().map(hex::encode).unwrap_or_default();
                [format!("configurations/{}", row.id), kcv, said(&item.finding)]
            });
            let mut text = format!("{name}\n{}", output::table(["configuration", "kcv", "its key"], rows));
            for object in unknown {
                let id = object.id.map(|id| id.to_string()).unwrap_or_default();
                text.push_str(&format!("\nno configuration knows the {} {id}", object.role));
            }
            text
        }
    }
}

fn said(finding: &Finding) -> String {
    match finding {
        Finding::Elsewhere => "lacking: send the same upload again".to_owned(),
        other => inventory::said(other),
    }
}

fn as_json(found: &TokenInventory) -> Value {
    let TokenInventory { state, inventory } = found;
    let configurations: Option<Value> = inventory.as_ref().ok().map(|inventory| {
        let items = inventory.configurations.iter();
        items
            .map(|item| {
                json!({
                    "name": format!("configurations/{}", item.configuration.id),
                    "kcv": item.configuration.kcv().map(hex::encode),
                    "finding": said(&item.finding),
                    "lacking": item.finding == Finding::Elsewhere,
                    "fault": item.finding.is_fault(),
                })
            })
            .collect()
    });
    json!({
        "name": state.name, "token": id(state), "fault": inventory.as_ref().err(),
        "configurations": configurations, "sound": found.is_sound(),
    })
}
