//! `vendkey configuration destroy` and `restore`.

use std::io::{self, IsTerminal as _, Write as _};

use clap::Args;

use super::{
    configuration_shown::described,
    connection::{Connection, Named},
    output::{self, Failure},
    stdout,
};
use crate::api::v1::{
    Configuration, GetConfigurationRequest, RestoreConfigurationRequest, ScheduleDestroyConfigurationRequest,
    configuration_service_client::ConfigurationServiceClient,
};

#[derive(Args)]
#[command(after_help = "Example: vendkey configuration destroy configurations/01a2... --confirm 4884a7

The configuration must be disabled. After the delay of the server's settings (vending.destroy_delay, a week) the HSM destroys the key \
for good; until then `vendkey configuration restore` takes it back. What was issued stays on record, but its digits cannot be made \
again.")]
pub(super) struct Destroy {
    /// configurations/{uuid}
    name: String,
    /// Its key check value, or its display name where it has none; asked for if not given
    #[arg(long, value_name = "KCV")]
    confirm: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Destroy {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Self { name, confirm, connection } = self;
        let refused = Failure::refused(connection.json);
        let mut client = ConfigurationServiceClient::new(connection.open().await?);
        let request = GetConfigurationRequest { name: name.clone() };
        let configuration = client.get_configuration(request).await.map_err(&refused)?.into_inner();
        confirmed(&configuration, confirm)?;
        let request = ScheduleDestroyConfigurationRequest { name };
        let reply = client.schedule_destroy_configuration(request).await.map_err(&refused)?;
        output::show(connection.json, reply.get_ref(), |scheduled| {
            let until = output::time(scheduled.destroy_time.as_ref());
            format!(
                "{}\nIts key is destroyed at {until}. Until then: vendkey configuration restore {}",
                described(scheduled),
                scheduled.name
            )
        })
    }
}

/// Takes a scheduled destruction back.
pub(super) async fn restore(named: Named) -> Result<(), Failure> {
    let Named { name, connection } = named;
    let mut client = ConfigurationServiceClient::new(connection.open().await?);
    let reply = client.restore_configuration(RestoreConfigurationRequest { name }).await;
    output::show(connection.json, reply.map_err(Failure::refused(connection.json))?.get_ref(), described)
}

/// Whoever destroys a key must name it by something that they did not copy together with the
/// command.
fn confirmed(configuration: &Configuration, given: Option<String>) -> Result<(), Failure> {
    let (what, wanted) = match configuration.kcv.as_str() {
        "" => ("display name", configuration.display_name.as_str()),
        kcv => ("key check value", kcv),
    };
    let given = match given {
        Some(given) => given,
        None if !io::stdin().is_terminal() => {
            return Err(Failure::usage("--confirm is missing, and nobody can be asked".to_owned()));
        }
        None => {
            stdout::note(format!("{}\nThis destroys its key.", described(configuration)));
            stdout::prompt(format!("To go on, type its {what}: "));
            let _ = io::stderr().flush();
            let mut answer = String::new();
            io::stdin().read_line(&mut answer).map_err(|error| Failure::text(error.to_string()))?;
            answer
        }
    };
    if given.trim().eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(Failure::text(format!("this is not the {what} of {}; nothing was changed", configuration.name)))
}
