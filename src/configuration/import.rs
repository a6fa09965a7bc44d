//! The begin and the end of an import.

use super::{
    Configuration, ConfigurationRefusal, ConfigurationState, FinishedState, ImportedFields, NewConfiguration,
};
use crate::audit::{Actor, Change};

impl NewConfiguration {
    /// The configuration while its key enters the HSM.
    pub fn begin(&self) -> Change<Configuration> {
        let row = Configuration {
            id: self.id,
            fingerprint: self.fingerprint,
            nonce: self.nonce,
            state: ConfigurationState::Importing,
            display_name: self.display_name.clone(),
            attributes: self.attributes,
            key_length: self.key_length,
            unservable: self.unservable.clone(),
            warnings: self.warnings.clone(),
            keys: Vec::new(),
            signer: self.signer,
            uploaded_by: self.uploaded_by,
            created_ms: self.now_ms,
            updated_ms: self.now_ms,
            destroy_ms: None,
            destroy_begun_ms: None,
        };
        let mut details = vec![
            ("display_name", self.display_name.clone()),
            ("sgc", self.attributes.sgc.as_str().to_owned()),
            ("signer", self.signer.to_string()),
            ("uploaded_by", self.uploaded_by.to_string()),
        ];
        details.extend(self.nonce.map(|nonce| ("sealed_nonce", hex::encode(nonce))));
        row.told("configuration.uploaded", details, self.actor.clone(), self.now_ms)
    }
}

impl Configuration {
    /// Completes an import: what the HSM answered, and the state in which the configuration begins
    /// its life.
    ///
    /// # Errors
    /// [`ConfigurationRefusal::WrongState`] unless it is IMPORTING,
    /// [`ConfigurationRefusal::NotServable`] for one that is to be enabled and cannot issue.
    pub fn finish_import(
        &self,
        fields: &ImportedFields,
        actor: Actor,
        now_ms: i64,
    ) -> Result<Change<Self>, ConfigurationRefusal> {
        if self.state != ConfigurationState::Importing {
            return Err(ConfigurationRefusal::WrongState { state: self.state });
        }
        if fields.state == FinishedState::Enabled && (!self.is_servable() || fields.key.is_none()) {
            return Err(self.not_servable());
        }
        let row = Self {
            state: fields.state.into(),
            keys: fields.key.into_iter().collect(),
            updated_ms: now_ms,
            ..self.clone()
        };
        let token = fields.key.and_then(|key| key.token).map(|token| token.to_string());
        let details =
            [("state", row.state.to_string()), ("kcv", row.kcv_text()), ("token", token.unwrap_or_default())];
        Ok(row.told("configuration.imported", details, actor, now_ms))
    }

    /// The act of forgetting an import that the HSM refused, where it is one that did not end.
    pub fn abandon_import(&self, now_ms: i64) -> Option<Change<Self>> {
        (self.state == ConfigurationState::Importing)
            .then(|| self.clone().told("configuration.abandoned", [], Actor::Local, now_ms))
    }
}
