//! The contract: configurations, the keys that sign uploads, and key changes.

use async_trait::async_trait;

use crate::audit::Actor;
use crate::configuration::{
    AllowedKeyChange, Begun, Configuration, Gone, ImportedFields, KeyChangePair, NewConfiguration, PublicKey,
    Registered, TokenKey,
};
use crate::hsm::TokenId;
use crate::id::{ClientId, ConfigurationId, PublicKeyId};
use crate::store::{ConfigurationError, KeyChangePairError, Page, PageRequest, StoreError};

/// Configurations: from their upload to the end of their keys.
///
/// Each change is on record. Asking for what is so already changes nothing and succeeds.
#[async_trait]
pub trait ConfigurationStore: Send + Sync {
    /// Notes an upload before its key enters the HSM.
    ///
    /// Uploads with equal fingerprints are the same configuration: see [`Begun`]. The caller must
    /// not run two imports of one fingerprint at a time.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn begin_import(&self, new: NewConfiguration) -> Result<Begun, StoreError>;

    /// Completes an import: what the HSM answered, and the state in which the configuration begins
    /// its life.
    ///
    /// Refused unless it is IMPORTING, and refused to enable what is not servable.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    async fn finish_import(
        &self,
        id: ConfigurationId,
        fields: ImportedFields,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError>;

    /// Notes that one more token holds the key of a configuration, or holds it anew; `first` is the
    /// first token of the server that made it do so. What is so already is left as it is.
    ///
    /// Refused unless it is enabled or disabled, and where the check value is another one.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    async fn add_key(
        &self,
        id: ConfigurationId,
        key: TokenKey,
        first: TokenId,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError>;

    /// Forgets an import that the HSM refused. Only an IMPORTING row is deleted; says whether there
    /// was one.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn abandon_import(&self, id: ConfigurationId, now_ms: i64) -> Result<bool, StoreError>;

    /// One configuration, in whatever state.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn configuration(&self, id: ConfigurationId) -> Result<Option<Configuration>, StoreError>;

    /// The configuration that an upload of this fingerprint made, in whatever state.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn configuration_of_upload(
        &self,
        fingerprint: [u8; 32],
    ) -> Result<Option<Configuration>, StoreError>;

    /// Configurations in the order of their uploads.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_configurations(&self, page: PageRequest) -> Result<Page<Configuration>, StoreError>;

    /// Enables or disables a configuration; asking for what already is changes nothing and
    /// succeeds.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    async fn set_configuration_enabled(
        &self,
        id: ConfigurationId,
        enabled: bool,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError>;

    /// Schedules the destruction of a disabled configuration; one that is scheduled already keeps
    /// its time.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    async fn schedule_destruction(
        &self,
        id: ConfigurationId,
        destroy_ms: i64,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError>;

    /// Takes a scheduled destruction back: the configuration is disabled then. One that is not
    /// scheduled stays as it is. Refused once destruction has begun.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    async fn restore_configuration(
        &self,
        id: ConfigurationId,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError>;

    /// The configurations whose keys are to be destroyed now, and those whose destruction was begun
    /// and did not end.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn due_destructions(&self, now_ms: i64) -> Result<Vec<ConfigurationId>, StoreError>;

    /// Says that keys are about to be destroyed: from here on there is no way back. Refused before
    /// its time.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    async fn begin_destruction(
        &self,
        id: ConfigurationId,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError>;

    /// Says what was seen of the keys: destroyed once no token holds one. Refused unless destruction
    /// was begun.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    async fn finish_destruction(
        &self,
        id: ConfigurationId,
        gone: Gone,
        now_ms: i64,
    ) -> Result<Configuration, ConfigurationError>;
}

/// The keys that sign uploads.
#[async_trait]
pub trait PublicKeyStore: Send + Sync {
    /// Registers a key that signs uploads. The same key (by fingerprint) again answers the row that
    /// is there.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn register_public_key(&self, new: PublicKey, actor: Actor) -> Result<Registered, StoreError>;

    /// One public key.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn public_key(&self, id: PublicKeyId) -> Result<Option<PublicKey>, StoreError>;

    /// Public keys in the order of their registration.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_public_keys(&self, page: PageRequest) -> Result<Page<PublicKey>, StoreError>;

    /// All keys whose signature opens an upload of this client now.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn enabled_public_keys(&self, owner: ClientId) -> Result<Vec<PublicKey>, StoreError>;

    /// Enables or disables a public key. `None`: there is none of this id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn set_public_key_enabled(
        &self,
        id: PublicKeyId,
        enabled: bool,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Option<PublicKey>, StoreError>;
}

/// The pairs of configurations between which meters may be carried.
#[async_trait]
pub trait KeyChangeStore: Send + Sync {
    /// Allows a key change; one that is allowed already stays as it is.
    ///
    /// # Errors
    /// [`KeyChangePairError`].
    async fn allow_key_change(
        &self,
        pair: KeyChangePair,
        by: ClientId,
        actor: Actor,
        now_ms: i64,
    ) -> Result<AllowedKeyChange, KeyChangePairError>;

    /// Whether a key change is allowed.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn key_change_allowed(&self, pair: KeyChangePair) -> Result<bool, StoreError>;

    /// Forbids a key change; says whether it was allowed.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn forbid_key_change(
        &self,
        pair: KeyChangePair,
        actor: Actor,
        now_ms: i64,
    ) -> Result<bool, StoreError>;

    /// The allowed key changes in the order in which they were allowed.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_key_changes(&self, page: PageRequest) -> Result<Page<AllowedKeyChange>, StoreError>;
}
