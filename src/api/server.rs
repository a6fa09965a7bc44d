//! `vendkey.v1.ServerService`.

use tonic::{Request, Response, Status};

use super::{
    parse::timestamp,
    services::Services,
    v1::{self, server_service_server::ServerService},
};
use crate::acts::{Cause, KnownServer, ServerCondition};

#[tonic::async_trait]
impl ServerService for Services {
    async fn get_server_state(
        &self,
        _: Request<v1::GetServerStateRequest>,
    ) -> Result<Response<v1::ServerState>, Status> {
        let ServerCondition { name, causes, now_ms, approvals } = self.acts.server_condition();
        Ok(Response::new(v1::ServerState {
            display_name: name,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            serving: causes.is_empty(),
            causes: causes.into_iter().map(cause).collect(),
            time: Some(timestamp(now_ms)),
            approvals_needed: approvals,
        }))
    }

    async fn list_servers(
        &self,
        _: Request<v1::ListServersRequest>,
    ) -> Result<Response<v1::ListServersResponse>, Status> {
        let servers = self.acts.list_servers().await?;
        Ok(Response::new(v1::ListServersResponse { servers: servers.into_iter().map(shown).collect() }))
    }
}

fn cause(cause: Cause) -> v1::Cause {
    v1::Cause { kind: cause.label.to_owned(), reason: cause.reason }
}

fn shown(known: KnownServer) -> v1::Server {
    let KnownServer { server, answering } = known;
    let (version, hsm_token) = server.state.map(|state| (state.version, state.hsm_token)).unwrap_or_default();
    v1::Server {
        name: format!("servers/{}", server.number),
        display_name: server.name,
        version,
        hsm_token,
        last_life_time: server.last_life_ms.map(timestamp),
        chain: server.head.chain.to_string(),
        position: server.head.position,
        answering,
    }
}
