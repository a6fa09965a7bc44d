//! The service `grpc.health.v1.Health`: what load balancers ask, and clients that watch their
//! server.

use std::{collections::BTreeSet, pin::Pin};

use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt as _, wrappers::WatchStream};
use tonic::{Request, Response, Status};

use crate::{
    access::methods,
    acts::{Reason, Refusal},
    api::health::{
        HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
        health_check_response::ServingStatus, health_server::Health,
    },
};

/// All services are as well as the server is: they have the HSM and the store in common.
#[derive(Clone)]
pub(in crate::server) struct HealthService {
    server: watch::Receiver<ServingStatus>,
    services: BTreeSet<&'static str>,
}

impl HealthService {
    /// Tells what the sender says. Whoever watches is told until the sender is dropped.
    pub(in crate::server) fn new(server: watch::Receiver<ServingStatus>) -> Self {
        let named = methods().iter().filter_map(|(method, _)| method.strip_prefix('/')?.split('/').next());
        // The empty name is the server.
        let services = named.filter(|service| service.starts_with("vendkey.")).chain([""]).collect();
        Self { server, services }
    }
}

fn told(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !self.services.contains(service.as_str()) {
            return Err(Refusal::new(Reason::ServiceNotFound, format!("no service {service:?}")).into());
        }
        Ok(Response::new(told(*self.server.borrow())))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        let status = told(*self.server.borrow());
        let statuses = self.services.iter().map(|service| ((*service).to_owned(), status)).collect();
        Ok(Response::new(HealthListResponse { statuses }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = self.services.contains(request.into_inner().service.as_str());
        let mut last = None;
        let changes = WatchStream::new(self.server.clone()).filter_map(move |server| {
            let status = if known { server } else { ServingStatus::ServiceUnknown };
            (last.replace(status) != Some(status)).then(|| Ok(told(status)))
        });
        Ok(Response::new(Box::pin(changes)))
    }
}
