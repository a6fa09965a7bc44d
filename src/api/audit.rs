//! `vendkey.v1.AuditService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    parse::{Fields, timestamp},
    v1::{self, audit_service_server::AuditService},
};
use crate::{
    acts::{Reason, Refusal},
    audit::{Entry, Line},
    envelope::PublicKey,
    store::{ClientId, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX},
    vending::Vending,
};

/// The service.
pub struct Audit {
    vending: Arc<Vending>,
}

impl Audit {
    /// Over the acts.
    pub fn new(vending: Arc<Vending>) -> Self {
        Self { vending }
    }
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let size = match u32::try_from(request.page_size) {
            Ok(0) => Some(PAGE_SIZE_DEFAULT),
            Ok(size) => Some(size.min(PAGE_SIZE_MAX)),
            Err(_) => {
                fields.fault("page_size", "must not be negative");
                None
            }
        };
        let size = fields.finish(size)? as usize;
        let store = self.vending.store();
        let records =
            store.records(request.after_position, size, request.meters).await.map_err(Refusal::from)?;
        Ok(Response::new(v1::ListEventsResponse {
            events: records.lines.iter().map(event).collect(),
            more: records.more,
        }))
    }

    async fn get_checkpoint(
        &self,
        _: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::Checkpoint>, Status> {
        let past = self.vending.store().past().await.map_err(Refusal::from)?;
        let key = self.vending.hsm().audit_public_key().await.map_err(Refusal::from)?;
        let pem = PublicKey::parse(&key.spki_der).map(|key| key.spki_pem());
        Ok(Response::new(v1::Checkpoint {
            text: past.checkpoint.unwrap_or_default(),
            audit_key_pem: pem
                .map_err(|_| Refusal::new(Reason::Internal, "the audit key is no RSA public key"))?,
            audit_key_fingerprint: key.fingerprint,
        }))
    }
}

fn event(line: &Line) -> v1::Event {
    let (kind, actor, credential) = match &line.record.entry {
        Entry::Token(token) => ("token", Some(token.client), Some(&token.credential)),
        Entry::Act(act) => (act.kind.as_str(), act.actor, act.credential.as_ref()),
    };
    v1::Event {
        position: line.record.position,
        time: Some(timestamp(line.record.at_ms)),
        kind: kind.to_owned(),
        actor: actor.map(|id| format!("clients/{}", ClientId::from_bytes(id))).unwrap_or_default(),
        credential: credential.cloned().unwrap_or_default(),
        record: line.to_json(),
    }
}
