//! Which services a listener offers.

use std::sync::Arc;

use http::Request;
use tonic::{codec::CompressionEncoding, service::Routes};
use tonic_reflection::{pb, server::Builder};

use super::{ServeError, health::HealthService};
use crate::{
    api::{
        DESCRIPTORS, Services, TokenReader,
        health::health_server::HealthServer,
        v1::{
            approval_service_server::ApprovalServiceServer, audit_service_server::AuditServiceServer,
            client_service_server::ClientServiceServer,
            configuration_service_server::ConfigurationServiceServer,
            ledger_service_server::LedgerServiceServer, public_key_service_server::PublicKeyServiceServer,
            server_service_server::ServerServiceServer, simulator_service_server::SimulatorServiceServer,
            token_file_service_server::TokenFileServiceServer, token_service_server::TokenServiceServer,
        },
    },
    console::{Console, Offers},
    http::{Json, Look},
    settings::{ConsoleSettings, HttpSettings, WireSettings},
};

/// What is spoken beside gRPC. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Web {
    json: Json,
    console: Option<Console>,
}

impl Web {
    /// What a request is to it. Nothing of its body is read.
    pub(super) fn look<B: http_body::Body>(&self, request: &Request<B>) -> Look {
        let page = self.console.as_ref().and_then(|console| console.answer(request));
        page.map_or_else(|| self.json.look(request), Look::Answer)
    }
}

/// What the services are made of.
pub(super) struct Parts {
    pub(super) services: Arc<Services>,
    pub(super) wire: WireSettings,
    pub(super) http: HttpSettings,
}

/// A service that takes and gives messages of the size that the settings allow, packed or not. What
/// counts is the size unpacked.
macro_rules! limited {
    ($wire:expr, $server:expr) => {
        $server
            .max_decoding_message_size($wire.message_bytes)
            .max_encoding_message_size($wire.message_bytes)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Zstd)
    };
}

impl Parts {
    /// What every listener has: health, and reflection as new and as older tools ask for it.
    pub(super) fn common(health: HealthService, wire: &WireSettings) -> Result<Routes, ServeError> {
        let failed = |error: tonic_reflection::server::Error| ServeError::Stopped(error.to_string());
        let v1 = reflected().build_v1().map_err(failed)?;
        let v1alpha = reflected().build_v1alpha().map_err(failed)?;
        Ok(Routes::new(limited!(wire, HealthServer::new(health)))
            .add_service(limited!(wire, v1))
            .add_service(limited!(wire, v1alpha)))
    }

    /// What is spoken beside gRPC, if the settings say so: the same methods over HTTP with JSON.
    pub(super) fn web(&self) -> Result<Option<Web>, ServeError> {
        let HttpSettings { enabled, origins, .. } = self.http.clone();
        let made = enabled.then(|| Json::new(origins, self.wire.message_bytes)).transpose();
        let json = made.map_err(|error| ServeError::Stopped(error.to_string()))?;
        Ok(json.map(|json| Web { json, console: None }))
    }

    /// The same with the console, if the settings say so: it is served where administrators call.
    /// `issues`: whether tokens are issued at the same address.
    pub(super) fn with_console(&self, web: Option<Web>, issues: bool) -> Option<Web> {
        let ConsoleSettings { enabled, idle_minutes } = self.http.console;
        let console = enabled.then(|| Console::new(Offers { issues, idle_minutes }));
        web.map(|web| Web { console, ..web })
    }

    /// What tills call.
    pub(super) fn tokens(&self, routes: Routes) -> Routes {
        routes.add_service(limited!(self.wire, TokenServiceServer::from_arc(self.services.clone())))
    }

    /// What administrators call where they have an address of their own: tokens are read and verified
    /// there, and none is issued.
    pub(super) fn administration_alone(&self, routes: Routes) -> Routes {
        let reader = TokenReader::new(self.services.clone());
        self.administration(routes).add_service(limited!(self.wire, TokenServiceServer::new(reader)))
    }

    /// What administrators call.
    pub(super) fn administration(&self, routes: Routes) -> Routes {
        routes
            .add_service(limited!(self.wire, ConfigurationServiceServer::from_arc(self.services.clone())))
            .add_service(limited!(self.wire, ClientServiceServer::from_arc(self.services.clone())))
            .add_service(limited!(self.wire, AuditServiceServer::from_arc(self.services.clone())))
            .add_service(limited!(self.wire, LedgerServiceServer::from_arc(self.services.clone())))
            .add_service(limited!(self.wire, PublicKeyServiceServer::from_arc(self.services.clone())))
            .add_service(limited!(self.wire, ApprovalServiceServer::from_arc(self.services.clone())))
            .add_service(limited!(self.wire, ServerServiceServer::from_arc(self.services.clone())))
            .add_service(limited!(self.wire, SimulatorServiceServer::from_arc(self.services.clone())))
            .add_service(limited!(self.wire, TokenFileServiceServer::from_arc(self.services.clone())))
    }
}

/// What reflection tells, in both versions alike.
fn reflected() -> Builder<'static> {
    Builder::configure()
        .include_reflection_service(false)
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        // So that tools can show the details of refusals.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(pb::v1alpha::FILE_DESCRIPTOR_SET)
}
