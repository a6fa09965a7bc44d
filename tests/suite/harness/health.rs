//! What a server says of its health.

use std::time::Duration;

use tonic::{Streaming, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

use super::Server;

/// What is told as it changes.
pub struct Health(Streaming<HealthCheckResponse>);

impl Health {
    pub async fn of(server: &Server) -> Self {
        let endpoint = Endpoint::from_shared(server.endpoint.clone()).unwrap();
        let mut client = HealthClient::new(endpoint.connect().await.unwrap());
        Self(client.watch(HealthCheckRequest::default()).await.unwrap().into_inner())
    }

    /// Waits until it says that it serves.
    pub async fn serving(&mut self) {
        self.says(ServingStatus::Serving).await;
    }

    /// Waits until it says that it does not.
    pub async fn not_serving(&mut self) {
        self.says(ServingStatus::NotServing).await;
    }

    async fn says(&mut self, status: ServingStatus) {
        let said = async { while self.0.message().await.unwrap().unwrap().status() != status {} };
        // Long enough for a machine that does much else; a server that never says it fails the
        // test.
        tokio::time::timeout(Duration::from_secs(120), said).await.expect("health does not change");
    }
}
