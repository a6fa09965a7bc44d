//! Which services a listener offers.

use std::sync::Arc;

use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};

use super::ServeError;
use crate::{
    access::Attempts,
    api::{
        Audit, Configurations, DESCRIPTORS, Ledger, PublicKeys, Tokens,
        v1::{
            audit_service_server::AuditServiceServer,
            configuration_service_server::ConfigurationServiceServer,
            ledger_service_server::LedgerServiceServer, public_key_service_server::PublicKeyServiceServer,
            token_service_server::TokenServiceServer,
        },
    },
    clock::Clock,
    settings::WireSettings,
    store::Store,
    vending::Vending,
};

/// What the services are made of.
pub(super) struct Parts {
    pub(super) vending: Arc<Vending>,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) uploads: Arc<Attempts>,
    pub(super) wire: WireSettings,
}

/// A service that takes and gives messages of the size that the settings allow.
macro_rules! sized {
    ($parts:expr, $server:ident, $service:expr) => {
        $server::new($service)
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
        routes.add_service(sized!(self, TokenServiceServer, tokens))
    }

    /// What administrators call.
    pub(super) fn administration(&self, routes: Routes) -> Routes {
        let configurations = Configurations::new(self.vending.clone(), self.uploads.clone());
        let public_keys = PublicKeys::new(self.store.clone(), self.clock.clone());
        routes
            .add_service(sized!(self, ConfigurationServiceServer, configurations))
            .add_service(sized!(self, AuditServiceServer, Audit::new(self.vending.clone())))
            .add_service(sized!(self, LedgerServiceServer, Ledger::new(self.vending.clone())))
            .add_service(sized!(self, PublicKeyServiceServer, public_keys))
    }
}

fn reflection() -> Result<ServerReflectionServer<impl ServerReflection>, ServeError> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| ServeError::Stopped(error.to_string()))
}
