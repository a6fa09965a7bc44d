//! Credentials of clients: requests into orders, and how credentials are shown.

use prost_types::Timestamp;

use super::{
    parse::{Fields, timestamp},
    v1::{self, create_credential_request::Proof as WireProof},
};
use crate::{
    access::{KeyId, client::Credential},
    acts::{CreateCredential, NewProof, Refusal, SetCredentialExpiry},
};

/// Parses a request for one more credential.
pub(super) fn creation(wire: v1::CreateCredentialRequest) -> Result<CreateCredential, Refusal> {
    let mut fields = Fields::default();
    let client = fields.name("client", "clients", &wire.client);
    let proof = proof(&mut fields, wire.proof);
    let expires_ms = expiry(&mut fields, wire.expire_time);
    let parsed = client.zip(proof).zip(expires_ms);
    let ((client, proof), expires_ms) = fields.finish(parsed)?;
    Ok(CreateCredential { client, proof, expires_ms })
}

/// Parses a request for another end.
pub(super) fn end(wire: v1::SetCredentialExpiryRequest) -> Result<SetCredentialExpiry, Refusal> {
    let mut fields = Fields::default();
    let credential = fields.take("name", key_id(&wire.name));
    let expires_ms = expiry(&mut fields, wire.expire_time);
    let (credential, expires_ms) = fields.finish(credential.zip(expires_ms))?;
    Ok(SetCredentialExpiry { credential, expires_ms })
}

/// Parses the name of a credential, the one field of a request.
pub(super) fn name(text: &str) -> Result<KeyId, Refusal> {
    let mut fields = Fields::default();
    let credential = fields.take("name", key_id(text));
    fields.finish(credential)
}

/// The key id in `credentials/{key id}`.
fn key_id(name: &str) -> Result<KeyId, String> {
    let key_id = name.strip_prefix("credentials/").ok_or("expected credentials/ and a key id")?;
    key_id.parse::<KeyId>().map_err(|error| error.to_string())
}

fn proof(fields: &mut Fields, wire: Option<WireProof>) -> Option<NewProof> {
    match wire {
        None => Some(NewProof::Made),
        Some(WireProof::Certificate(text)) => {
            let parsed = text.parse().ok().filter(KeyId::is_of_certificate);
            let problem = "expected spki: and 64 hex digits, or uri: and a URI";
            fields.take("certificate", parsed.ok_or(problem)).map(NewProof::Certificate)
        }
        Some(WireProof::HeldSecret(held)) => {
            let key_id = held.key_id.parse().ok().filter(|key_id: &KeyId| !key_id.is_of_certificate());
            let key_id = fields.take("held_secret.key_id", key_id.ok_or("expected 16 lower-case hex digits"));
            let mut secret_sha256 = [0; 32];
            let decoded = hex::decode_to_slice(&held.secret_sha256, &mut secret_sha256);
            fields.take("held_secret.secret_sha256", decoded.map_err(|_| "expected 64 hex digits"))?;
            Some(NewProof::Held { key_id: key_id?, secret_sha256 })
        }
    }
}

/// Milliseconds since 1970, or never.
fn expiry(fields: &mut Fields, wire: Option<Timestamp>) -> Option<Option<i64>> {
    let Some(time) = wire else { return Some(None) };
    let ms = time.seconds.checked_mul(1000).filter(|_| (0..1_000_000_000).contains(&time.nanos));
    let ms = ms.and_then(|ms| ms.checked_add(i64::from(time.nanos) / 1_000_000));
    fields.take("expire_time", ms.ok_or("is no time")).map(Some)
}

/// A credential as the API shows it.
pub(super) fn shown(credential: &Credential) -> v1::Credential {
    v1::Credential {
        name: format!("credentials/{}", credential.key_id),
        client: format!("clients/{}", credential.client),
        enabled: credential.enabled,
        expire_time: credential.expires_ms.map(timestamp),
        create_time: Some(timestamp(credential.created_ms)),
    }
}
