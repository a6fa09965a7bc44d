//! A configuration as people read it.

use super::output;
use crate::api::v1::{Configuration, Warning, configuration::State};

pub(super) fn state(configuration: &Configuration) -> String {
    match configuration.state() {
        State::Unspecified => "",
        State::Importing => "importing",
        State::Enabled => "enabled",
        State::Disabled => "disabled",
        State::DestroyScheduled => "destroy scheduled",
        State::Destroyed => "destroyed",
    }
    .to_owned()
}

pub(super) fn described(configuration: &Configuration) -> String {
    let attributes = configuration.attributes.clone().unwrap_or_default();
    let lines = |warnings: &[Warning]| {
        let texts: Vec<&str> = warnings.iter().map(|warning| warning.message.as_str()).collect();
        texts.join("; ")
    };
    let gone = if configuration.state() == State::Destroyed { "destroyed" } else { "to be destroyed" };
    output::fields([
        ("name", configuration.name.clone()),
        ("display name", configuration.display_name.clone()),
        ("state", state(configuration)),
        ("supply group", attributes.sgc),
        ("tariff index", attributes.ti),
        ("key revision", attributes.krn.to_string()),
        ("key type", attributes.kt.to_string()),
        ("key expiry", attributes.ken.to_string()),
        ("issuer", attributes.iin),
        ("base date", attributes.base_date.to_string()),
        ("algorithms", format!("EA{:02} DKGA{:02}", attributes.ea, attributes.dkga)),
        ("key check value", configuration.kcv.clone()),
        ("held by", configuration.hsm_tokens.join(", ")),
        ("warnings", lines(&configuration.warnings)),
        ("cannot be used", lines(&configuration.unservable)),
        ("signed by", configuration.signer.clone()),
        ("uploaded by", configuration.uploader.clone()),
        ("created", output::time(configuration.create_time.as_ref())),
        (gone, output::time(configuration.destroy_time.as_ref())),
    ])
}
