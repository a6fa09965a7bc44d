//! Configurations: uploads, their states, and the key changes between them.

use std::time::Instant;

use super::{Act, Acts, AllowKeyChange, EnableConfiguration, Reason, Refusal, ScheduleDestruction};
use crate::{
    access::{Caller, Rate},
    configuration::{AllowedKeyChange, Configuration, ConfigurationState, KeyChangePair},
    envelope::{Envelope, PublicKey},
    hsm::SealSuite,
    id::ConfigurationId,
    store::{Page, PageRequest},
    sts::attributes::Attributes,
    vending::{EnableError, Unusable, Uploaded},
};

/// What became of an upload.
#[derive(Debug)]
pub struct UploadAnswer {
    /// The configuration; with `validate_only` one that is not stored.
    pub configuration: Configuration,
    /// Whether it had been uploaded before.
    pub existing: bool,
    /// How many persons must agree before it can be used, if it waits for that.
    pub awaits: Option<u32>,
}

impl Acts {
    /// Opens an upload and imports the vending key, or finds the configuration that it made before.
    ///
    /// # Errors
    /// UPLOADS_LIMITED; whatever is wrong with the upload; what the HSM and the store say.
    pub async fn upload_configuration(
        &self,
        caller: &Caller,
        envelope: Envelope<'_>,
        validate_only: bool,
    ) -> Result<UploadAnswer, Refusal> {
        let most = caller.limits.uploads_per_minute().unwrap_or(self.uploads_per_minute);
        self.uploads.take(caller.client, Rate::per_minute(most), Instant::now()).map_err(|wait| {
            let text = format!("uploads_per_minute: this client may try {most} in a minute");
            Refusal::new(Reason::UploadsLimited, text)
                .metadata("limit", "uploads_per_minute")
                .retry_after(wait)
        })?;
        let Uploaded { configuration, existing } =
            self.vending.upload(caller, envelope, validate_only).await?;
        let waits = self.four_eyes.needed() > 1
            && configuration.state == ConfigurationState::Disabled
            && configuration.is_servable();
        let awaits = waits.then(|| self.four_eyes.needed());
        Ok(UploadAnswer { configuration, existing, awaits })
    }

    /// One configuration.
    ///
    /// # Errors
    /// CONFIGURATION_NOT_FOUND; PERMISSION_DENIED outside the caller's scope; what the store says.
    pub async fn configuration(
        &self,
        caller: &Caller,
        id: ConfigurationId,
    ) -> Result<Configuration, Refusal> {
        let found = self.stored_configuration(id).await?;
        caller.may_use(found.id, found.attributes.sgc)?;
        Ok(found)
    }

    /// The configurations of a page that are in the caller's scope, in the order of their uploads.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list_configurations(
        &self,
        caller: &Caller,
        page: PageRequest,
    ) -> Result<Page<Configuration>, Refusal> {
        let mut page = self.store.list_configurations(page).await?;
        page.items.retain(|row| caller.may_use(row.id, row.attributes.sgc).is_ok());
        Ok(page)
    }

    /// Lets a configuration issue.
    ///
    /// # Errors
    /// APPROVAL_PENDING; PERMISSION_DENIED outside the caller's scope; what its state forbids; what
    /// the store says.
    pub async fn enable_configuration(
        &self,
        caller: &Caller,
        order: EnableConfiguration,
    ) -> Result<Configuration, Refusal> {
        let id = order.configuration;
        self.agreed(caller, self.enabling_configuration(caller, id), || Act::EnableConfiguration(order))
            .await?;
        Ok(self.vending.set_enabled(caller, id, true).await?)
    }

    /// What enabling would do. Whether it can be enabled at all is looked at when it is done, and
    /// before.
    async fn enabling_configuration(
        &self,
        caller: &Caller,
        id: ConfigurationId,
    ) -> Result<Option<String>, Refusal> {
        self.vending.reach(caller, &[id]).await?;
        let row = self.stored_configuration(id).await?;
        match row.state {
            ConfigurationState::Enabled => return Ok(None),
            ConfigurationState::Disabled if row.is_servable() => {}
            ConfigurationState::Disabled => return Err(Unusable::Unservable(row.unservable).into()),
            state => return Err(Unusable::from(state).into()),
        }
        Ok(Some(format!("enable configuration {}", in_words(&row))))
    }

    /// Lets a configuration issue no more.
    ///
    /// # Errors
    /// PERMISSION_DENIED outside the caller's scope; what its state forbids; what the store says.
    pub async fn disable_configuration(
        &self,
        caller: &Caller,
        id: ConfigurationId,
    ) -> Result<Configuration, Refusal> {
        Ok(self.vending.set_enabled(caller, id, false).await?)
    }

    /// Has the keys of a disabled configuration destroyed after the delay that the settings name.
    ///
    /// # Errors
    /// APPROVAL_PENDING; CLOCK_IN_DOUBT; what its state forbids; what the store says.
    pub async fn schedule_destruction(
        &self,
        caller: &Caller,
        order: ScheduleDestruction,
    ) -> Result<Configuration, Refusal> {
        let id = order.configuration;
        self.agreed(caller, self.destroying(caller, id), || Act::ScheduleDestruction(order)).await?;
        Ok(self.vending.schedule_destruction(caller, id).await?)
    }

    async fn destroying(&self, caller: &Caller, id: ConfigurationId) -> Result<Option<String>, Refusal> {
        self.vending.reach(caller, &[id]).await?;
        let row = self.stored_configuration(id).await?;
        match row.state {
            ConfigurationState::DestroyScheduled => Ok(None),
            ConfigurationState::Disabled => {
                Ok(Some(format!("schedule the destruction of the key of configuration {}", in_words(&row))))
            }
            state => Err(Unusable::from(state).into()),
        }
    }

    /// Takes a scheduled destruction back.
    ///
    /// # Errors
    /// PERMISSION_DENIED outside the caller's scope; what its state forbids; what the store says.
    pub async fn restore_configuration(
        &self,
        caller: &Caller,
        id: ConfigurationId,
    ) -> Result<Configuration, Refusal> {
        Ok(self.vending.restore_configuration(caller, id).await?)
    }

    /// Lets meters be carried from one configuration to another.
    ///
    /// # Errors
    /// APPROVAL_PENDING; PERMISSION_DENIED outside the caller's scope; what their states forbid;
    /// what the store says.
    pub async fn allow_key_change(
        &self,
        caller: &Caller,
        order: AllowKeyChange,
    ) -> Result<AllowedKeyChange, Refusal> {
        self.vending.reach(caller, &[order.source, order.target]).await?;
        self.agreed(caller, self.allowing(order.pair()), || Act::AllowKeyChange(order)).await?;
        self.key_change_allowed(caller, order).await
    }

    /// Allows a key change without asking anybody.
    pub(super) async fn key_change_allowed(
        &self,
        caller: &Caller,
        order: AllowKeyChange,
    ) -> Result<AllowedKeyChange, Refusal> {
        self.vending.reach(caller, &[order.source, order.target]).await?;
        Ok(self.vending.allow_key_change(caller, order.pair()).await?)
    }

    async fn allowing(&self, pair: KeyChangePair) -> Result<Option<String>, Refusal> {
        let source = in_words(&self.stored_configuration(pair.source).await?);
        let target = in_words(&self.stored_configuration(pair.target).await?);
        if self.store.key_change_allowed(pair).await? {
            return Ok(None);
        }
        Ok(Some(format!("allow key changes from {source} to {target}")))
    }

    /// Takes an allowed key change back; says whether it was allowed.
    ///
    /// # Errors
    /// PERMISSION_DENIED outside the caller's scope; what the store says.
    pub async fn forbid_key_change(&self, caller: &Caller, pair: KeyChangePair) -> Result<bool, Refusal> {
        self.vending.reach(caller, &[pair.source, pair.target]).await?;
        Ok(self.vending.forbid_key_change(caller, pair).await?)
    }

    /// The allowed key changes of a page of which both configurations are in the caller's scope.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list_key_changes(
        &self,
        caller: &Caller,
        page: PageRequest,
    ) -> Result<Page<AllowedKeyChange>, Refusal> {
        let Page { items, next } = self.store.list_key_changes(page).await?;
        let mut seen = Vec::with_capacity(items.len());
        for allowed in items {
            match self.vending.reach(caller, &[allowed.pair.source, allowed.pair.target]).await {
                Ok(()) => seen.push(allowed),
                Err(EnableError::Denied(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Page { items: seen, next })
    }

    /// The public key to which uploads are encrypted.
    ///
    /// # Errors
    /// What the HSM says.
    pub async fn server_key(&self) -> Result<PublicKey, Refusal> {
        Ok(self.vending.server_key().await?)
    }

    /// The public key to which sealed uploads are encrypted, with the suites that the HSM opens;
    /// none where the token has none yet.
    ///
    /// # Errors
    /// What the HSM says.
    pub async fn sealing_key(&self) -> Result<Option<(PublicKey, Vec<SealSuite>)>, Refusal> {
        Ok(self.vending.sealing_key().await?)
    }

    /// The same of the further tokens that answer.
    ///
    /// # Errors
    /// What the HSM says.
    pub async fn other_sealing_keys(&self) -> Result<Vec<(PublicKey, Vec<SealSuite>)>, Refusal> {
        Ok(self.vending.other_sealing_keys().await?)
    }

    async fn stored_configuration(&self, id: ConfigurationId) -> Result<Configuration, Refusal> {
        let found = self.store.configuration(id).await?;
        found.ok_or_else(|| Unusable::NotFound(id).into())
    }
}

/// A configuration as an approval names it.
fn in_words(row: &Configuration) -> String {
    let Attributes { sgc, krn, .. } = &row.attributes;
    let kcv = row.kcv().map(hex::encode).unwrap_or_default();
    format!("{:?} (configurations/{}, KCV {kcv}, SGC {sgc}, KRN {})", row.display_name, row.id, krn.value())
}
