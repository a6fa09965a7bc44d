//! Clients and their credentials, and that nobody locks everybody out.

use super::*;

fn administrator(name: &str) -> NewClient {
    NewClient {
        id: ClientId::generate(),
        display_name: name.into(),
        rights: Rights::administrator(),
        limits: Limits::default(),
        actor: Actor::Local,
        now_ms: NOW_MS,
    }
}

fn secret(key_id: &str, client: ClientId) -> NewCredential {
    NewCredential {
        key_id: key_id.into(),
        client,
        proof: Proof::Secret([8; 32]),
        expires_ms: None,
        actor: Actor::Local,
        now_ms: NOW_MS,
    }
}

fn act(keepers: u32) -> ClientAct {
    ClientAct { actor: Actor::Local, now_ms: NOW_MS, keepers }
}

pub(in crate::store) async fn a_credential_leads_to_its_client<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    let id = client(&store, "key-1").await;
    let holder = store.credential("key-1").await.unwrap().unwrap();
    assert_eq!((holder.client.id, holder.credential.client), (id, id));
    assert_eq!((&holder.client.rights, holder.client.enabled), (&Rights::till(), true));
    assert_eq!((holder.credential.proof, holder.credential.enabled), (Proof::Secret([7; 32]), true));
    assert_eq!(store.credential("key-2").await, Ok(None));
    assert_eq!(store.client(id).await, Ok(Some(holder.client.clone())));
    assert_eq!(store.list_clients(PageRequest::first()).await.unwrap().items, [holder.client]);
}

pub(in crate::store) async fn a_client_may_have_two_credentials_and_a_stranger_none<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    let id = client(&store, "key-1").await;
    let second = NewCredential { expires_ms: Some(NOW_MS + 1_000), ..secret("key-2", id) };
    let made = store.create_credential(second.clone()).await.unwrap();
    assert_eq!(store.credential("key-2").await.unwrap().unwrap().credential, made);
    assert_eq!(store.create_credential(second.clone()).await, Ok(made.clone()), "the same again is found");
    let listed = store.list_credentials(id, PageRequest::first()).await.unwrap().items;
    assert_eq!(listed.iter().map(|one| one.key_id.as_str()).collect::<Vec<_>>(), ["key-1", "key-2"]);

    let nobody = secret("key-3", ClientId::generate());
    assert_eq!(
        store.create_credential(nobody.clone()).await,
        Err(ClientRefusal::NotFound(nobody.client).into())
    );
    let other = NewCredential { proof: Proof::Certificate, ..second };
    assert_eq!(store.create_credential(other).await, Err(ClientRefusal::Exists("key-2".into()).into()));
}

pub(in crate::store) async fn a_client_is_created_once<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    let new = administrator("asha");
    let made = store.create_client(new.clone()).await.unwrap();
    assert_eq!(store.create_client(new.clone()).await, Ok(made));
    let other = NewClient { rights: Rights::till(), ..new.clone() };
    assert_eq!(store.create_client(other).await, Err(ClientRefusal::Exists(new.id.to_string()).into()));
}

pub(in crate::store) async fn two_administrators_do_not_overwrite_each_other<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    let id = client(&store, "key-1").await;
    let read = store.client(id).await.unwrap().unwrap();
    let replace = |name: &str| ClientChange::Replace {
        version: read.version,
        display_name: name.into(),
        rights: Rights::auditor(),
        limits: Limits::default(),
    };
    let changed = store.change_client(id, replace("first"), act(0)).await.unwrap();
    assert_eq!((changed.display_name.as_str(), &changed.rights), ("first", &Rights::auditor()));
    assert!(changed.version > read.version);
    let again = store.change_client(id, replace("first"), act(0)).await;
    assert_eq!(again, Ok(changed.clone()), "what is done already is no change");
    let second = store.change_client(id, replace("second"), act(0)).await;
    assert_eq!(second, Err(ClientRefusal::Changed { found: changed.version }.into()));
    assert_eq!(store.client(id).await, Ok(Some(changed)));
}

pub(in crate::store) async fn nobody_locks_everybody_out<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    let (asha, ben) = (administrator("asha"), administrator("ben"));
    for (new, key_id) in [(&asha, "asha"), (&ben, "ben")] {
        store.create_client(new.clone()).await.unwrap();
        store.create_credential(secret(key_id, new.id)).await.unwrap();
    }
    let locked = |left| Err(ClientRefusal::LockOut { left, needed: 2 }.into());
    let less = ClientChange::Replace {
        version: store.client(ben.id).await.unwrap().unwrap().version,
        display_name: "ben".into(),
        rights: Rights::auditor(),
        limits: Limits::default(),
    };
    let head = store.chain_head().await.unwrap();
    for change in [less.clone(), ClientChange::Enabled(false)] {
        assert_eq!(store.change_client(ben.id, change, act(2)).await, locked(1));
    }
    for change in [CredentialChange::Enabled(false), CredentialChange::Expires(Some(NOW_MS))] {
        let refused = store.change_credential("ben", change, act(2)).await;
        assert_eq!(refused.map(drop), Err(ClientRefusal::LockOut { left: 1, needed: 2 }.into()));
    }
    assert_eq!(store.chain_head().await.unwrap(), head, "what is refused leaves nothing");
    // A second credential makes the first one free to go.
    store.create_credential(secret("ben-2", ben.id)).await.unwrap();
    store.change_credential("ben", CredentialChange::Enabled(false), act(2)).await.unwrap();
    // With one needed, one may go.
    store.change_client(ben.id, less, act(1)).await.unwrap();
    assert!(store.change_client(asha.id, ClientChange::Enabled(false), act(1)).await.is_err());
    // Where there are too few already, what makes none fewer is not refused.
    let till = client(&store, "till").await;
    store.change_client(till, ClientChange::Enabled(false), act(2)).await.unwrap();
    assert_eq!(store.verify_seals().await.unwrap(), SealReport::default());
}

pub(in crate::store) async fn every_change_is_on_record_with_its_actor<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    let id = client(&store, "key-1").await;
    let chief = ClientId::generate();
    let actor = Actor::Client { client: chief, credential: "chief".into(), approval: None };
    let by_chief = ClientAct { actor, ..act(0) };
    for enabled in [false, false, true] {
        store.change_client(id, ClientChange::Enabled(enabled), by_chief.clone()).await.unwrap();
        let change = CredentialChange::Enabled(enabled);
        store.change_credential("key-1", change, by_chief.clone()).await.unwrap();
    }
    let change = CredentialChange::Expires(Some(NOW_MS + 1));
    store.change_credential("key-1", change, by_chief).await.unwrap();
    let records = store.records(Cursor::default(), 100, false).await.unwrap();
    let acts: Vec<(String, bool)> = records
        .lines
        .iter()
        .filter_map(|line| match &line.record.entry {
            crate::audit::Entry::Act(act) => Some((act.kind.clone(), act.actor == Some(chief.to_bytes()))),
            crate::audit::Entry::Token(_) => None,
        })
        .collect();
    let of = |kind: &str, chief: bool| (kind.to_owned(), chief);
    assert_eq!(
        acts,
        [
            of("client.created", false),
            of("credential.created", false),
            of("client.disabled", true),
            of("credential.disabled", true),
            of("client.enabled", true),
            of("credential.enabled", true),
            of("credential.expiry_set", true),
        ]
    );
}

pub(in crate::store) async fn hashes_of_secrets_do_not_print<F: Factory>() {
    let factory = F::default();
    let store = factory.open();
    client(&store, "key-1").await;
    let printed = format!("{:?}", store.credential("key-1").await.unwrap());
    assert!(printed.contains("key-1") && !printed.contains("7, 7"), "{printed}");
}
