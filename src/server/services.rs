//! Which services a listener offers.

use std::sync::Arc;

use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};

use super::ServeError;
use crate::{
    api::{
        Acts, Approvals, Audit, Clients, Configurations, DESCRIPTORS, FourEyes, Ledger, PublicKeys, Tokens,
        v1::{
            approval_service_server::ApprovalServiceServer, audit_service_server::AuditServiceServer,
            client_service_server::ClientServiceServer,
            configuration_service_server::ConfigurationServiceServer,
            ledger_service_server::LedgerServiceServer, public_key_service_server::PublicKeyServiceServer,
            token_service_server::TokenServiceServer,
        },
    },
    settings::WireSettings,
    vending::Vending,
};

/// What the services are made of.
pub(super) struct Parts {
    pub(super) vending: Arc<Vending>,
    pub(super) configurations: Arc<Configurations>,
    pub(super) clients: Arc<Clients>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) public_keys: Arc<PublicKeys>,
    pub(super) four_eyes: Arc<FourEyes>,
    pub(super) acts: Arc<Acts>,
    pub(super) wire: WireSettings,
}

/// A service that takes and gives messages of the size that the settings allow.
macro_rules! sized {
    ($parts:expr, $server:ident, $service:expr) => {
        $server::from_arc($service)
            .max_decoding_message_size($parts.wire.message_bytes)
            .max_encoding_message_size($parts.wire.message_bytes)
    };
}

impl Parts {
    /// What every listener has.
    pub(super) fn common<H: Health>(health: HealthServer<H>) -> Result<Routes, ServeError> {
        Ok(Routes::new(health).add_service(reflection()?))
    }

    /// What tills call.
    pub(super) fn tokens(&self, routes: Routes) -> Routes {
        let tokens = Tokens::new(self.vending.clone(), self.wire.stream_idle);
        routes.add_service(sized!(self, TokenServiceServer, Arc::new(tokens)))
    }

    /// What administrators call.
    pub(super) fn administration(&self, routes: Routes) -> Routes {
        let audit = Audit::new(self.vending.clone());
        let approvals = Approvals::new(self.four_eyes.clone(), self.acts.clone());
        routes
            .add_service(sized!(self, ConfigurationServiceServer, self.configurations.clone()))
            .add_service(sized!(self, ClientServiceServer, self.clients.clone()))
            .add_service(sized!(self, AuditServiceServer, Arc::new(audit)))
            .add_service(sized!(self, LedgerServiceServer, self.ledger.clone()))
            .add_service(sized!(self, PublicKeyServiceServer, self.public_keys.clone()))
            .add_service(sized!(self, ApprovalServiceServer, Arc::new(approvals)))
    }
}

fn reflection() -> Result<ServerReflectionServer<impl ServerReflection>, ServeError> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| ServeError::Stopped(error.to_string()))
}
