//! `vendkey capabilities`.

use clap::Args;

use super::{
    connection::Connection,
    output::{self, Failure},
};
use crate::api::v1::{
    Capability, GetCapabilitiesRequest, configuration_service_client::ConfigurationServiceClient,
};

#[derive(Args)]
#[command(after_help = "Example: vendkey capabilities --json")]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

impl Arguments {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let json = self.connection.json;
        let mut client = ConfigurationServiceClient::new(self.connection.open().await?);
        let reply =
            client.get_capabilities(GetCapabilitiesRequest {}).await.map_err(Failure::refused(json))?;
        output::show(json, reply.get_ref(), |reply| {
            format!(
                "vendkey {}\n{}\n{}\nlooking into tokens of others: {}",
                reply.version,
                table("algorithms", &reply.algorithms),
                table("the HSM can do", &reply.hsm),
                if reply.verify_foreign {
                    "permitted to this client"
                } else {
                    "not permitted to this client"
                },
            )
        })
    }
}

fn table(title: &str, capabilities: &[Capability]) -> String {
    let rows = capabilities.iter().map(|capability| {
        let served = if capability.served { "yes" } else { "no" };
        [capability.name.clone(), served.to_owned(), capability.detail.clone()]
    });
    output::table([title, "", "how, or why not"], rows)
}
