//! `vendkey.v1.ConfigurationService`.

use std::{sync::Arc, time::Instant};

use tonic::{Request, Response, Status};

use super::{
    authentication::caller,
    capabilities,
    four_eyes::{FourEyes, method},
    key_change,
    parse::{Fields, timestamp},
    v1::{self, configuration::State, configuration_service_server::ConfigurationService},
};
use crate::{
    access::{Attempts, Caller, Rate},
    acts::{Reason, Refusal},
    envelope::{Blobs, PublicKey},
    store::{Configuration, ConfigurationId, ConfigurationState, KeyChangePair, Listing, PageRequest},
    sts::attributes::Attributes,
    vending::{EnableError, Unusable, Vending},
};

/// The service.
pub struct Configurations {
    vending: Arc<Vending>,
    uploads: Attempts,
    uploads_per_minute: u32,
    four_eyes: Arc<FourEyes>,
}

impl Configurations {
    /// Over the acts, with a limit on attempts to upload for those who have none of their own.
    pub fn new(vending: Arc<Vending>, uploads_per_minute: u32, four_eyes: Arc<FourEyes>) -> Self {
        Self { vending, uploads: Attempts::default(), uploads_per_minute, four_eyes }
    }

    /// What enabling a configuration would do. Whether it can be enabled at all is looked at when it is done, and before.
    async fn enabling(&self, caller: &Caller, id: ConfigurationId) -> Result<Option<String>, Refusal> {
        self.vending.reach(caller, &[id]).await?;
        let row = self.vending.store().configuration(id).await?.ok_or_else(|| not_found(id))?;
        match row.state {
            ConfigurationState::Enabled => return Ok(None),
            ConfigurationState::Disabled if row.is_servable() => {}
            ConfigurationState::Disabled => return Err(Unusable::Unservable(row.unservable).into()),
            state => return Err(Unusable::from(state).into()),
        }
        Ok(Some(format!("enable configuration {}", in_words(&row))))
    }

    /// What scheduling a destruction would do.
    async fn destroying(&self, caller: &Caller, id: ConfigurationId) -> Result<Option<String>, Refusal> {
        self.vending.reach(caller, &[id]).await?;
        let row = self.vending.store().configuration(id).await?.ok_or_else(|| not_found(id))?;
        match row.state {
            ConfigurationState::DestroyScheduled => Ok(None),
            ConfigurationState::Disabled => {
                Ok(Some(format!("schedule the destruction of the key of configuration {}", in_words(&row))))
            }
            state => Err(Unusable::from(state).into()),
        }
    }

    /// What allowing key changes would do.
    async fn allowing(&self, pair: KeyChangePair) -> Result<Option<String>, Refusal> {
        let find = async |id| {
            let row = self.vending.store().configuration(id).await?.ok_or_else(|| not_found(id))?;
            Ok::<_, Refusal>(in_words(&row))
        };
        let (source, target) = (find(pair.source).await?, find(pair.target).await?);
        if self.vending.store().key_change_allowed(pair).await? {
            return Ok(None);
        }
        Ok(Some(format!("allow key changes from {source} to {target}")))
    }

    /// Whether both configurations of a pair are in the caller's scope.
    async fn sees(&self, caller: &Caller, pair: KeyChangePair) -> Result<bool, Refusal> {
        match self.vending.reach(caller, &[pair.source, pair.target]).await {
            Ok(()) => Ok(true),
            Err(EnableError::Denied(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What an uploader must be told who cannot use his configuration yet.
    fn awaited(&self, row: &Configuration) -> Option<v1::Warning> {
        let waits =
            self.four_eyes.needed() > 1 && row.state == ConfigurationState::Disabled && row.is_servable();
        waits.then(|| v1::Warning {
            code: "AWAITS_APPROVAL".to_owned(),
            message: format!(
                "disabled until {} administrators agree to enable it (EnableConfiguration)",
                self.four_eyes.needed()
            ),
        })
    }
}

#[tonic::async_trait]
impl ConfigurationService for Configurations {
    async fn upload_configuration(
        &self,
        request: Request<v1::UploadConfigurationRequest>,
    ) -> Result<Response<v1::UploadConfigurationResponse>, Status> {
        let caller = caller(&request)?;
        let v1::UploadConfigurationRequest { data, digest, key, validate_only } = request.into_inner();
        let most = caller.limits.uploads_per_minute().unwrap_or(self.uploads_per_minute);
        self.uploads.take(caller.client, Rate::per_minute(most), Instant::now()).map_err(|wait| {
            let text = format!("uploads_per_minute: this client may try {most} in a minute");
            Refusal::new(Reason::UploadsLimited, text)
                .metadata("limit", "uploads_per_minute")
                .retry_after(wait)
        })?;
        let blobs = Blobs { data: data.as_bytes(), digest: digest.as_bytes(), key: key.as_bytes() };
        let uploaded = self.vending.upload(&caller, &blobs, validate_only).await.map_err(Refusal::from)?;
        let mut shown = shown(&uploaded.configuration);
        shown.warnings.extend(self.awaited(&uploaded.configuration));
        Ok(Response::new(v1::UploadConfigurationResponse {
            configuration: Some(v1::Configuration {
                // What is not stored has no name.
                name: if validate_only && !uploaded.existing {
                    String::new()
                } else {
                    name(&uploaded.configuration)
                },
                ..shown
            }),
            existing: uploaded.existing,
        }))
    }

    async fn get_configuration(
        &self,
        request: Request<v1::GetConfigurationRequest>,
    ) -> Result<Response<v1::Configuration>, Status> {
        let caller = caller(&request)?;
        let id = parse_name(&request.into_inner().name)?;
        let found = self.vending.store().configuration(id).await.map_err(Refusal::from)?;
        let found = found.ok_or_else(|| not_found(id))?;
        caller.may_use(found.id, found.attributes.sgc).map_err(Refusal::from)?;
        Ok(Response::new(shown(&found)))
    }

    async fn list_configurations(
        &self,
        request: Request<v1::ListConfigurationsRequest>,
    ) -> Result<Response<v1::ListConfigurationsResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ListConfigurationsRequest { page_size, page_token } = request.into_inner();
        let page =
            PageRequest::new(Listing::Configurations, page_size, &page_token).map_err(Refusal::from)?;
        let page = self.vending.store().list_configurations(page).await.map_err(Refusal::from)?;
        Ok(Response::new(v1::ListConfigurationsResponse {
            configurations: page
                .items
                .iter()
                .filter(|row| caller.may_use(row.id, row.attributes.sgc).is_ok())
                .map(shown)
                .collect(),
            next_page_token: page.next.map(|token| token.to_string()).unwrap_or_default(),
        }))
    }

    async fn enable_configuration(
        &self,
        request: Request<v1::EnableConfigurationRequest>,
    ) -> Result<Response<v1::Configuration>, Status> {
        let caller = caller(&request)?;
        let id = parse_name(&request.get_ref().name)?;
        self.four_eyes.pass(&request, method::ENABLE_CONFIGURATION, self.enabling(&caller, id)).await?;
        let changed = self.vending.set_enabled(&caller, id, true).await.map_err(Refusal::from)?;
        Ok(Response::new(shown(&changed)))
    }

    async fn disable_configuration(
        &self,
        request: Request<v1::DisableConfigurationRequest>,
    ) -> Result<Response<v1::Configuration>, Status> {
        let caller = caller(&request)?;
        let id = parse_name(&request.into_inner().name)?;
        let changed = self.vending.set_enabled(&caller, id, false).await.map_err(Refusal::from)?;
        Ok(Response::new(shown(&changed)))
    }

    async fn schedule_destroy_configuration(
        &self,
        request: Request<v1::ScheduleDestroyConfigurationRequest>,
    ) -> Result<Response<v1::Configuration>, Status> {
        let caller = caller(&request)?;
        let id = parse_name(&request.get_ref().name)?;
        self.four_eyes.pass(&request, method::DESTROY_CONFIGURATION, self.destroying(&caller, id)).await?;
        let changed = self.vending.schedule_destruction(&caller, id).await.map_err(Refusal::from)?;
        Ok(Response::new(shown(&changed)))
    }

    async fn restore_configuration(
        &self,
        request: Request<v1::RestoreConfigurationRequest>,
    ) -> Result<Response<v1::Configuration>, Status> {
        let caller = caller(&request)?;
        let id = parse_name(&request.into_inner().name)?;
        let changed = self.vending.restore_configuration(&caller, id).await.map_err(Refusal::from)?;
        Ok(Response::new(shown(&changed)))
    }

    async fn allow_key_change(
        &self,
        request: Request<v1::AllowKeyChangeRequest>,
    ) -> Result<Response<v1::KeyChangePair>, Status> {
        let caller = caller(&request)?;
        let v1::AllowKeyChangeRequest { source, target } = request.get_ref();
        let pair = key_change::pair(source, target)?;
        self.vending.reach(&caller, &[pair.source, pair.target]).await.map_err(Refusal::from)?;
        self.four_eyes.pass(&request, method::ALLOW_KEY_CHANGE, self.allowing(pair)).await?;
        let allowed = self.vending.allow_key_change(&caller, pair).await.map_err(Refusal::from)?;
        Ok(Response::new(key_change::pair_shown(&allowed)))
    }

    async fn forbid_key_change(
        &self,
        request: Request<v1::ForbidKeyChangeRequest>,
    ) -> Result<Response<v1::ForbidKeyChangeResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ForbidKeyChangeRequest { source, target } = request.into_inner();
        let pair = key_change::pair(&source, &target)?;
        self.vending.reach(&caller, &[pair.source, pair.target]).await.map_err(Refusal::from)?;
        let was_allowed = self.vending.forbid_key_change(&caller, pair).await.map_err(Refusal::from)?;
        Ok(Response::new(v1::ForbidKeyChangeResponse { was_allowed }))
    }

    async fn list_key_change_pairs(
        &self,
        request: Request<v1::ListKeyChangePairsRequest>,
    ) -> Result<Response<v1::ListKeyChangePairsResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ListKeyChangePairsRequest { page_size, page_token } = request.into_inner();
        let page =
            PageRequest::new(Listing::KeyChangePairs, page_size, &page_token).map_err(Refusal::from)?;
        let page = self.vending.store().list_key_changes(page).await.map_err(Refusal::from)?;
        let mut pairs = Vec::with_capacity(page.items.len());
        for allowed in &page.items {
            if self.sees(&caller, allowed.pair).await? {
                pairs.push(key_change::pair_shown(allowed));
            }
        }
        Ok(Response::new(v1::ListKeyChangePairsResponse {
            pairs,
            next_page_token: page.next.map(|token| token.to_string()).unwrap_or_default(),
        }))
    }

    async fn get_capabilities(
        &self,
        request: Request<v1::GetCapabilitiesRequest>,
    ) -> Result<Response<v1::Capabilities>, Status> {
        Ok(Response::new(capabilities::of(&self.vending, &caller(&request)?)))
    }

    async fn get_server_key(
        &self,
        _: Request<v1::GetServerKeyRequest>,
    ) -> Result<Response<v1::ServerKey>, Status> {
        let key: PublicKey = self.vending.server_key().await.map_err(Refusal::from)?;
        Ok(Response::new(v1::ServerKey {
            public_key_pem: key.spki_pem(),
            fingerprint: key.fingerprint().to_string(),
            bits: u32::try_from(key.bits()).unwrap_or_default(),
        }))
    }
}

fn parse_name(name: &str) -> Result<ConfigurationId, Refusal> {
    let mut fields = Fields::default();
    let id = fields.name("name", "configurations", name);
    fields.finish(id)
}

/// A configuration as an approval names it.
fn in_words(row: &Configuration) -> String {
    let Attributes { sgc, krn, .. } = &row.attributes;
    let kcv = row.kcv.map(hex::encode).unwrap_or_default();
    format!("{:?} ({}, KCV {kcv}, SGC {sgc}, KRN {})", row.display_name, name(row), krn.value())
}

fn not_found(id: ConfigurationId) -> Refusal {
    Refusal::from(Unusable::NotFound(id))
}

fn name(configuration: &Configuration) -> String {
    format!("configurations/{}", configuration.id)
}

fn shown(configuration: &Configuration) -> v1::Configuration {
    let warning = |warning: &crate::store::Warning| v1::Warning {
        code: warning.code.clone(),
        message: warning.message.clone(),
    };
    v1::Configuration {
        name: name(configuration),
        display_name: configuration.display_name.clone(),
        state: match configuration.state {
            ConfigurationState::Importing => State::Importing,
            ConfigurationState::Enabled => State::Enabled,
            ConfigurationState::Disabled => State::Disabled,
            ConfigurationState::DestroyScheduled => State::DestroyScheduled,
            ConfigurationState::Destroyed => State::Destroyed,
        }
        .into(),
        attributes: Some(attributes(&configuration.attributes)),
        kcv: configuration.kcv.map(hex::encode).unwrap_or_default(),
        warnings: configuration.warnings.iter().map(warning).collect(),
        unservable: configuration.unservable.iter().map(warning).collect(),
        signer: format!("publicKeys/{}", configuration.signer),
        uploader: format!("clients/{}", configuration.uploaded_by),
        create_time: Some(timestamp(configuration.created_ms)),
        update_time: Some(timestamp(configuration.updated_ms)),
        destroy_time: configuration.destroy_ms.map(timestamp),
    }
}

pub(super) fn attributes(attributes: &Attributes) -> v1::KeyAttributes {
    v1::KeyAttributes {
        iin: attributes.iin.to_string(),
        sgc: attributes.sgc.to_string(),
        ti: attributes.ti.to_string(),
        krn: attributes.krn.value().into(),
        kt: attributes.kt.value().into(),
        ken: attributes.ken.0.into(),
        ea: attributes.ea.code().into(),
        dkga: attributes.dkga.code().into(),
        base_date: attributes.base_date.year().into(),
    }
}
