//! The store over an engine: configurations, the keys that sign uploads, and key changes.

use async_trait::async_trait;

use super::Database;
use crate::audit::Actor;
use crate::configuration::{
    AllowedKeyChange, Begun, Configuration, Gone, ImportedFields, KeyChangePair, NewConfiguration, PublicKey,
    Registered, TokenKey,
};
use crate::crash;
use crate::hsm::TokenId;
use crate::id::{ClientId, ConfigurationId, PublicKeyId};
use crate::store::contract::{ConfigurationStore, KeyChangeStore, PublicKeyStore};
use crate::store::engine::Engine;
use crate::store::transactions::{configurations, key_changes, public_keys};
use crate::store::{ConfigurationError, KeyChangePairError, Page, PageRequest, StoreError};

#[async_trait]
impl<E: Engine> ConfigurationStore for Database<E> {
    async fn begin_import(&self, new: NewConfiguration) -> Result<Begun, StoreError> {
        let begun = self.write(move |c| configurations::begin_import(c, &new)).await?;
        if matches!(begun, Begun::Started(_)) {
            crash::point("import-after-begin");
        }
        Ok(begun)
    }

    async fn finish_import(
        &self,
        id: ConfigurationId,
        fields: ImportedFields,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        crash::point("import-before-finish");
        self.write_or_refuse(move |c| configurations::finish_import(c, id, &fields, actor, now_ms)).await
    }

    async fn add_key(
        &self,
        id: ConfigurationId,
        key: TokenKey,
        first: TokenId,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        crash::point("import-before-key-added");
        self.write_or_refuse(move |c| {
            configurations::change(c, id, (actor, now_ms), |row, actor| {
                row.add_key(key, first, actor, now_ms)
            })
        })
        .await
    }

    async fn abandon_import(&self, id: ConfigurationId, now_ms: i64) -> Result<bool, StoreError> {
        self.write(move |c| configurations::abandon_import(c, id, now_ms)).await
    }

    async fn configuration(&self, id: ConfigurationId) -> Result<Option<Configuration>, StoreError> {
        self.read(move |c| configurations::get(c, id)).await
    }

    async fn configuration_of_upload(
        &self,
        fingerprint: [u8; 32],
    ) -> Result<Option<Configuration>, StoreError> {
        self.read(move |c| configurations::of_upload(c, fingerprint)).await
    }

    async fn list_configurations(&self, page: PageRequest) -> Result<Page<Configuration>, StoreError> {
        self.read(move |c| configurations::list(c, page)).await
    }

    async fn set_configuration_enabled(
        &self,
        id: ConfigurationId,
        enabled: bool,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        self.write_or_refuse(move |c| {
            configurations::change(c, id, (actor, now_ms), |row, actor| {
                row.set_enabled(enabled, actor, now_ms)
            })
        })
        .await
    }

    async fn schedule_destruction(
        &self,
        id: ConfigurationId,
        destroy_ms: i64,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        self.write_or_refuse(move |c| {
            configurations::change(c, id, (actor, now_ms), |row, actor| {
                row.schedule_destruction(destroy_ms, actor, now_ms)
            })
        })
        .await
    }

    async fn restore_configuration(
        &self,
        id: ConfigurationId,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        self.write_or_refuse(move |c| {
            configurations::change(c, id, (actor, now_ms), |row, actor| row.restore(actor, now_ms))
        })
        .await
    }

    async fn due_destructions(&self, now_ms: i64) -> Result<Vec<ConfigurationId>, StoreError> {
        self.read(move |c| configurations::due(c, now_ms)).await
    }

    async fn begin_destruction(
        &self,
        id: ConfigurationId,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        self.write_or_refuse(move |c| {
            configurations::change(c, id, (Actor::Local, now_ms), |row, _| row.begin_destruction(now_ms))
        })
        .await
    }

    async fn finish_destruction(
        &self,
        id: ConfigurationId,
        gone: Gone,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError> {
        self.write_or_refuse(move |c| {
            configurations::change(c, id, (Actor::Local, now_ms), |row, _| {
                row.finish_destruction(&gone, now_ms)
            })
        })
        .await
    }
}

#[async_trait]
impl<E: Engine> PublicKeyStore for Database<E> {
    async fn register_public_key(&self, new: PublicKey, actor: Actor) -> Result<Registered, StoreError> {
        self.write(move |c| public_keys::register_key(c, new, actor)).await
    }

    async fn public_key(&self, id: PublicKeyId) -> Result<Option<PublicKey>, StoreError> {
        self.read(move |c| public_keys::get(c, id)).await
    }

    async fn list_public_keys(&self, page: PageRequest) -> Result<Page<PublicKey>, StoreError> {
        self.read(move |c| public_keys::list(c, page)).await
    }

    async fn enabled_public_keys(&self, owner: ClientId) -> Result<Vec<PublicKey>, StoreError> {
        self.read(move |c| public_keys::enabled_of(c, owner)).await
    }

    async fn set_public_key_enabled(
        &self,
        id: PublicKeyId,
        enabled: bool,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Option<PublicKey>, StoreError> {
        self.write(move |c| public_keys::set_enabled(c, id, enabled, actor, now_ms)).await
    }
}

#[async_trait]
impl<E: Engine> KeyChangeStore for Database<E> {
    async fn allow_key_change(
        &self,
        pair: KeyChangePair,
        by: ClientId,
        actor: Actor,
        now_ms: i64,
    ) -> Result<AllowedKeyChange, KeyChangePairError> {
        self.write_or_refuse(move |c| key_changes::allow_pair(c, pair, by, actor, now_ms)).await
    }

    async fn key_change_allowed(&self, pair: KeyChangePair) -> Result<bool, StoreError> {
        self.read(move |c| key_changes::is_allowed(c, pair)).await
    }

    async fn forbid_key_change(
        &self,
        pair: KeyChangePair,
        actor: Actor,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        self.write(move |c| key_changes::forbid_pair(c, pair, actor, now_ms)).await
    }

    async fn list_key_changes(&self, page: PageRequest) -> Result<Page<AllowedKeyChange>, StoreError> {
        self.read(move |c| key_changes::list(c, page)).await
    }
}
