//! `vendkey.v1.ConfigurationService`.

use tonic::{Request, Response, Status};

use super::{
    attributes::attributes,
    authentication::caller,
    key_change,
    parse::{self, timestamp},
    services::Services,
    v1::{self, configuration::State, configuration_service_server::ConfigurationService},
};
use crate::{
    acts::{AllowKeyChange, Capability, EnableConfiguration, Listing, ScheduleDestruction, UploadAnswer},
    configuration::{Configuration, ConfigurationState, KeyChangePair, Warning},
    envelope::{Blobs, Envelope, PublicKey},
    hsm::SealSuite,
};

#[tonic::async_trait]
impl ConfigurationService for Services {
    async fn upload_configuration(
        &self,
        request: Request<v1::UploadConfigurationRequest>,
    ) -> Result<Response<v1::UploadConfigurationResponse>, Status> {
        let caller = caller(&request)?;
        let v1::UploadConfigurationRequest { data, digest, key, validate_only } = request.into_inner();
        let blobs = Blobs { data: data.as_bytes(), digest: digest.as_bytes(), key: key.as_bytes() };
        let uploaded =
            self.acts.upload_configuration(&caller, Envelope::Legacy(blobs), validate_only).await?;
        Ok(Response::new(v1::UploadConfigurationResponse {
            configuration: Some(uploaded_shown(&uploaded, validate_only)),
            existing: uploaded.existing,
        }))
    }

    async fn import_sealed_configuration(
        &self,
        request: Request<v1::ImportSealedConfigurationRequest>,
    ) -> Result<Response<v1::ImportSealedConfigurationResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ImportSealedConfigurationRequest { document, validate_only } = request.into_inner();
        let envelope = Envelope::Sealed(document.as_bytes());
        let uploaded = self.acts.upload_configuration(&caller, envelope, validate_only).await?;
        Ok(Response::new(v1::ImportSealedConfigurationResponse {
            configuration: Some(uploaded_shown(&uploaded, validate_only)),
            existing: uploaded.existing,
        }))
    }

    async fn get_configuration(
        &self,
        request: Request<v1::GetConfigurationRequest>,
    ) -> Result<Response<v1::Configuration>, Status> {
        let caller = caller(&request)?;
        let id = parse::name("name", "configurations", &request.into_inner().name)?;
        Ok(Response::new(shown(&self.acts.configuration(&caller, id).await?)))
    }

    async fn list_configurations(
        &self,
        request: Request<v1::ListConfigurationsRequest>,
    ) -> Result<Response<v1::ListConfigurationsResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ListConfigurationsRequest { page_size, page_token } = request.into_inner();
        let page = parse::page(Listing::Configurations, page_size, &page_token)?;
        let page = self.acts.list_configurations(&caller, page).await?;
        Ok(Response::new(v1::ListConfigurationsResponse {
            configurations: page.items.iter().map(shown).collect(),
            next_page_token: page.next.map(|token| token.to_string()).unwrap_or_default(),
        }))
    }

    async fn enable_configuration(
        &self,
        request: Request<v1::EnableConfigurationRequest>,
    ) -> Result<Response<v1::Configuration>, Status> {
        let caller = caller(&request)?;
        let configuration = parse::name("name", "configurations", &request.into_inner().name)?;
        let order = EnableConfiguration { configuration };
        Ok(Response::new(shown(&self.acts.enable_configuration(&caller, order).await?)))
    }

    async fn disable_configuration(
        &self,
        request: Request<v1::DisableConfigurationRequest>,
    ) -> Result<Response<v1::Configuration>, Status> {
        let caller = caller(&request)?;
        let id = parse::name("name", "configurations", &request.into_inner().name)?;
        Ok(Response::new(shown(&self.acts.disable_configuration(&caller, id).await?)))
    }

    async fn schedule_destroy_configuration(
        &self,
        request: Request<v1::ScheduleDestroyConfigurationRequest>,
    ) -> Result<Response<v1::Configuration>, Status> {
        let caller = caller(&request)?;
        let configuration = parse::name("name", "configurations", &request.into_inner().name)?;
        let order = ScheduleDestruction { configuration };
        Ok(Response::new(shown(&self.acts.schedule_destruction(&caller, order).await?)))
    }

    async fn restore_configuration(
        &self,
        request: Request<v1::RestoreConfigurationRequest>,
    ) -> Result<Response<v1::Configuration>, Status> {
        let caller = caller(&request)?;
        let id = parse::name("name", "configurations", &request.into_inner().name)?;
        Ok(Response::new(shown(&self.acts.restore_configuration(&caller, id).await?)))
    }

    async fn allow_key_change(
        &self,
        request: Request<v1::AllowKeyChangeRequest>,
    ) -> Result<Response<v1::KeyChangePair>, Status> {
        let caller = caller(&request)?;
        let v1::AllowKeyChangeRequest { source, target } = request.into_inner();
        let KeyChangePair { source, target } = key_change::pair(&source, &target)?;
        let allowed = self.acts.allow_key_change(&caller, AllowKeyChange { source, target }).await?;
        Ok(Response::new(key_change::pair_shown(&allowed)))
    }

    async fn forbid_key_change(
        &self,
        request: Request<v1::ForbidKeyChangeRequest>,
    ) -> Result<Response<v1::ForbidKeyChangeResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ForbidKeyChangeRequest { source, target } = request.into_inner();
        let pair = key_change::pair(&source, &target)?;
        let was_allowed = self.acts.forbid_key_change(&caller, pair).await?;
        Ok(Response::new(v1::ForbidKeyChangeResponse { was_allowed }))
    }

    async fn list_key_change_pairs(
        &self,
        request: Request<v1::ListKeyChangePairsRequest>,
    ) -> Result<Response<v1::ListKeyChangePairsResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ListKeyChangePairsRequest { page_size, page_token } = request.into_inner();
        let page = parse::page(Listing::KeyChangePairs, page_size, &page_token)?;
        let page = self.acts.list_key_changes(&caller, page).await?;
        Ok(Response::new(v1::ListKeyChangePairsResponse {
            pairs: page.items.iter().map(key_change::pair_shown).collect(),
            next_page_token: page.next.map(|token| token.to_string()).unwrap_or_default(),
        }))
    }

    async fn get_capabilities(
        &self,
        request: Request<v1::GetCapabilitiesRequest>,
    ) -> Result<Response<v1::Capabilities>, Status> {
        let found = self.acts.capabilities(&caller(&request)?);
        Ok(Response::new(v1::Capabilities {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hsm: found.hsm.into_iter().map(capability).collect(),
            algorithms: found.algorithms.into_iter().map(capability).collect(),
            verify_foreign: found.verify_foreign,
        }))
    }

    async fn get_server_key(
        &self,
        _: Request<v1::GetServerKeyRequest>,
    ) -> Result<Response<v1::ServerKey>, Status> {
        let key = self.acts.server_key().await?;
        let others = self.acts.other_sealing_keys().await?;
        Ok(Response::new(v1::ServerKey {
            public_key_pem: key.spki_pem(),
            fingerprint: key.fingerprint().to_string(),
            bits: u32::try_from(key.bits()).unwrap_or_default(),
            sealing: self.acts.sealing_key().await?.map(|(key, suites)| sealing_key(&key, &suites)),
            other_sealing: others.iter().map(|(key, suites)| sealing_key(key, suites)).collect(),
        }))
    }
}

fn sealing_key(key: &PublicKey, suites: &[SealSuite]) -> v1::SealingKey {
    v1::SealingKey {
        public_key_pem: key.spki_pem(),
        fingerprint: key.fingerprint().to_string(),
        bits: u32::try_from(key.bits()).unwrap_or_default(),
        suites: suites.iter().map(|suite| suite.id().to_owned()).collect(),
    }
}

/// What became of an upload.
fn uploaded_shown(uploaded: &UploadAnswer, validate_only: bool) -> v1::Configuration {
    let mut configuration = shown(&uploaded.configuration);
    if validate_only && !uploaded.existing {
        // What is not stored has no name.
        configuration.name.clear();
    }
    configuration.warnings.extend(awaited(uploaded));
    configuration
}

/// What an uploader must be told whose configuration cannot be used yet.
fn awaited(uploaded: &UploadAnswer) -> Option<v1::Warning> {
    uploaded.awaits.map(|persons| v1::Warning {
        code: "AWAITS_APPROVAL".to_owned(),
        message: format!("disabled until {persons} administrators agree to enable it (EnableConfiguration)"),
    })
}

fn capability(Capability { name, served, detail }: Capability) -> v1::Capability {
    v1::Capability { name, served, detail }
}

fn name(configuration: &Configuration) -> String {
    format!("configurations/{}", configuration.id)
}

fn shown(configuration: &Configuration) -> v1::Configuration {
    let warning =
        |warning: &Warning| v1::Warning { code: warning.code.clone(), message: warning.message.clone() };
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
        kcv: configuration.kcv().map(hex::encode).unwrap_or_default(),
        warnings: configuration.warnings.iter().map(warning).collect(),
        unservable: configuration.unservable.iter().map(warning).collect(),
        signer: format!("publicKeys/{}", configuration.signer),
        uploader: format!("clients/{}", configuration.uploaded_by),
        create_time: Some(timestamp(configuration.created_ms)),
        update_time: Some(timestamp(configuration.updated_ms)),
        destroy_time: configuration.destroy_ms.map(timestamp),
        hsm_tokens: configuration.held_by().map(|token| token.to_string()).collect(),
    }
}
