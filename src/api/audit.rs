//! `vendkey.v1.AuditService`.

use tonic::{Request, Response, Status};

use super::{
    parse::{Fields, page_size, timestamp},
    services::Services,
    v1::{self, audit_service_server::AuditService},
};
use crate::{
    acts::EventsAfter,
    audit::{Entry, Line},
    id::ClientId,
};

#[tonic::async_trait]
impl AuditService for Services {
    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let size = page_size(&mut fields, request.page_size);
        let after = match request.page_token.as_str() {
            "" if request.last == 0 => Some(EventsAfter::Position(request.after_position)),
            "" if request.after_position == 0 => Some(EventsAfter::Last(request.last)),
            "" => {
                fields.fault("last", "is another place to begin than after_position: give one of them");
                None
            }
            token => fields.take("page_token", token.parse()).map(EventsAfter::Cursor),
        };
        let (size, after) = fields.finish(size.zip(after))?;
        let records = self.acts.list_events(after, size, request.meters).await?;
        Ok(Response::new(v1::ListEventsResponse {
            events: records.lines.iter().map(event).collect(),
            more: records.more,
            next_page_token: records.next.to_string(),
        }))
    }

    async fn get_checkpoint(
        &self,
        _: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::Checkpoint>, Status> {
        let last = self.acts.checkpoint().await?;
        Ok(Response::new(v1::Checkpoint {
            text: last.text,
            audit_key_pem: last.audit_key.spki_pem(),
            audit_key_fingerprint: last.fingerprint,
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
        chain: line.chain.to_string(),
    }
}
