use super::*;

#[tokio::test]
async fn a_credential_leads_to_its_client() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let id = client(&store, "key-1").await;
    let holder = store.credential("key-1").await.unwrap().unwrap();
    assert_eq!((holder.client.id, holder.credential.client), (id, id));
    assert_eq!((holder.client.role, holder.client.enabled), (Role::Vending, true));
    assert_eq!((holder.credential.secret_sha256, holder.credential.enabled), ([7; 32], true));
    assert_eq!(store.credential("key-2").await, Ok(None));
    assert_eq!(store.client(id).await, Ok(Some(holder.client.clone())));
    assert_eq!(store.list_clients(PageRequest::first()).await.unwrap().items, [holder.client]);
}

#[tokio::test]
async fn a_client_may_have_two_credentials_and_a_stranger_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let id = client(&store, "key-1").await;
    let second = NewCredential {
        key_id: "key-2".into(),
        client: id,
        proof: Proof::Secret([8; 32]),
        expires_ms: Some(NOW_MS + 1_000),
        actor: Actor::Local,
        now_ms: NOW_MS,
    };
    let made = store.create_credential(second.clone()).await.unwrap().unwrap();
    assert_eq!(store.credential("key-2").await.unwrap().unwrap().credential, made);

    let nobody = NewCredential { key_id: "key-3".into(), client: ClientId::generate(), ..second.clone() };
    assert_eq!(store.create_credential(nobody).await, Ok(None));
    assert!(
        matches!(store.create_credential(second).await, Err(StoreError::Defect { .. })),
        "key ids are unique"
    );
}

#[tokio::test]
async fn hashes_of_secrets_do_not_print() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    client(&store, "key-1").await;
    let printed = format!("{:?}", store.credential("key-1").await.unwrap());
    assert!(printed.contains("key-1") && !printed.contains("7, 7"), "{printed}");
}
