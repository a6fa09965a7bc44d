//! Importing a configuration: the row is there before the key object, so that a crash between them
//! is mended by the same upload again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{EnableError, Unusable, UploadError, Vending, configurations::kind_of};
use crate::{
    access::{Caller, rights::Scope},
    audit::Actor,
    configuration::{
        Begun, Configuration, ConfigurationState, FinishedState, ImportedFields, MaskedKey, NewConfiguration,
        TokenKey, Warning,
    },
    envelope::{self, Blobs, ConfigurationDraft, Invalid, PublicKey, Unservable, Upload},
    hsm::{HsmError, KeyId, VendingKeyMaterial, key_check_value},
    id::{ConfigurationId, PublicKeyId},
    store::{ConfigurationError, Job, StoreError},
};

/// What became of an upload.
#[derive(Debug)]
pub struct Uploaded {
    /// The configuration; with `validate_only` one that is not stored.
    pub configuration: Configuration,
    /// Whether it had been uploaded before.
    pub existing: bool,
}

/// An upload that was opened and read.
struct Opened {
    new: NewConfiguration,
    /// The key for the HSM; none where no key object can serve.
    material: Option<VendingKeyMaterial>,
}

/// How long an import may take: so long after a server died in one, others import again.
const LONGEST_IMPORT: Duration = Duration::from_secs(60);
/// How long an upload waits for the import of another server.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks.
const AGAIN: Duration = Duration::from_millis(100);

/// The domain of upload fingerprints among the HMACs of the row-seal key.
const FINGERPRINT_DOMAIN: &str = "vendkey upload v1";

impl Vending {
    /// Opens the three blobs and imports the vending key, or finds the configuration that they made
    /// before.
    ///
    /// With `validate_only` nothing is stored, and the answer is what would be.
    ///
    /// # Errors
    /// [`UploadError`]: the blobs do not open, the text is no valid configuration, or HSM or store
    /// failed.
    pub async fn upload(
        self: &Arc<Self>,
        caller: &Caller,
        blobs: &Blobs<'_>,
        validate_only: bool,
    ) -> Result<Uploaded, UploadError> {
        let opened = self.open(caller, blobs).await?;
        if validate_only {
            let known = self.store.configuration_of_upload(opened.new.fingerprint).await?;
            let known = known.filter(|known| known.state != ConfigurationState::Importing);
            return Ok(match known {
                Some(gone) if gone.destroy_begun() => return Err(UploadError::Destroyed),
                Some(configuration) => Uploaded { configuration, existing: true },
                None => Uploaded { configuration: preview(opened, self.uploads_start)?, existing: false },
            });
        }
        // In a task of its own: a caller who hangs up must not leave a half import behind.
        let vending = self.clone();
        let actor = caller.actor();
        let import = tokio::spawn(async move { vending.import(opened, actor).await });
        import.await.map_err(|_| UploadError::Stopping)?
    }

    /// The public key to which uploads are encrypted.
    ///
    /// # Errors
    /// What the HSM says; a key that is no RSA key.
    pub async fn server_key(&self) -> Result<PublicKey, HsmError> {
        let read = || async {
            let key = self.hsm.server_key().await?;
            PublicKey::parse(&key.spki_der)
                .map_err(|_| HsmError::Nonsense("the server key is no RSA public key"))
        };
        self.server_key.get_or_try_init(read).await.cloned()
    }

    async fn open(&self, caller: &Caller, blobs: &Blobs<'_>) -> Result<Opened, UploadError> {
        let server_key = self.server_key().await?;
        let rows = self.store.enabled_public_keys(caller.client).await?;
        let keys: Vec<(PublicKeyId, PublicKey)> =
            rows.iter().filter_map(|row| Some((row.id, PublicKey::parse(&row.spki).ok()?))).collect();
        let signers: Vec<PublicKey> = keys.iter().map(|(_, key)| key.clone()).collect();
        let envelope =
            envelope::parse(blobs, server_key.modulus_bytes(), &signers).map_err(UploadError::Malformed)?;
        let candidates =
            self.hsm.open_legacy(envelope.wrapped_key().to_vec(), envelope.data().to_vec()).await?;
        let verified = envelope.verify(candidates, &signers).map_err(|Invalid| {
            tracing::warn!(client = %caller.client, credential = %caller.key_id, "an upload could not be opened");
            UploadError::Invalid
        })?;
        let signer = keys.iter().find(|(_, key)| key.fingerprint() == verified.signer()).map(|(id, _)| *id);
        let signer = signer.ok_or(UploadError::Invalid)?;
        let fingerprint = self.hsm.fingerprint(FINGERPRINT_DOMAIN, verified.digest()).await?;
        let now_ms = self.clock.now_ms();
        let Upload { draft, vending_key } =
            verified.read(now_ms.div_euclid(1000)).map_err(UploadError::Configuration)?;
        caller.may_bring(draft.attributes.sgc)?;
        let (unservable, warnings) = judged(&draft);
        let material = if unservable.is_empty() { self.material(&draft, vending_key.bytes())? } else { None };
        let new = NewConfiguration {
            id: ConfigurationId::generate(),
            fingerprint,
            display_name: draft.display_name,
            attributes: draft.attributes,
            // 8, 16 or 20.
            key_length: u8::try_from(vending_key.bytes().len()).unwrap_or_default(),
            unservable,
            warnings,
            signer,
            uploaded_by: caller.client,
            actor: caller.actor(),
            now_ms,
        };
        Ok(Opened { new, material })
    }

    /// The key for the HSM, if the HSM passed the probe of its class.
    fn material(
        &self,
        draft: &ConfigurationDraft,
        key: &[u8],
    ) -> Result<Option<VendingKeyMaterial>, UploadError> {
        let Some(kind) = kind_of(draft.attributes.dkga) else { return Ok(None) };
        self.hsm.capabilities().serves(kind).map_err(|why| UploadError::KeyClass(why.to_string()))?;
        VendingKeyMaterial::from_slice(kind, key).map_err(|error| UploadError::Hsm(error.into()))
    }

    /// One import at a time, of all servers: two of one upload would destroy each other's key.
    async fn import(&self, opened: Opened, actor: Actor) -> Result<Uploaded, UploadError> {
        let _one_at_a_time = self.importing.lock().await;
        let give_up = Instant::now() + PATIENCE;
        while !self.store.take_lease(Job::Imports, LONGEST_IMPORT).await? {
            if Instant::now() > give_up {
                return Err(StoreError::Busy.into());
            }
            tokio::time::sleep(AGAIN).await;
        }
        let imported = self.import_alone(opened, actor).await;
        // Given back, so that another server need not wait for its end.
        if let Err(error) = self.store.take_lease(Job::Imports, Duration::ZERO).await {
            tracing::debug!(%error, "the lease of imports ends by itself");
        }
        imported
    }

    async fn import_alone(&self, opened: Opened, actor: Actor) -> Result<Uploaded, UploadError> {
        let Opened { new, material } = opened;
        let now_ms = new.now_ms;
        let row = match self.store.begin_import(new).await? {
            Begun::Existing(gone) if gone.destroy_begun() => return Err(UploadError::Destroyed),
            Begun::Existing(configuration) => return Ok(Uploaded { configuration, existing: true }),
            Begun::Started(row) | Begun::Resumed(row) => row,
        };
        let fields = match material {
            None => ImportedFields { key: None, state: FinishedState::Disabled },
            Some(material) => self.keep(row.id, material).await?,
        };
        let configuration =
            self.store.finish_import(row.id, fields, actor, now_ms).await.map_err(|error| match error {
                ConfigurationError::Store(error) => UploadError::Store(error),
                ConfigurationError::Refused(refusal) => UploadError::Import(refusal.to_string()),
            })?;
        tracing::info!(
            configuration = %configuration.id,
            kcv = configuration.kcv().map(hex::encode),
            state = %configuration.state,
            "configuration imported"
        );
        Ok(Uploaded { configuration, existing: false })
    }

    /// Puts the key into the HSM under the configuration's id.
    async fn keep(
        &self,
        id: ConfigurationId,
        material: VendingKeyMaterial,
    ) -> Result<ImportedFields, UploadError> {
        let imported = match self.hsm.import_vending_key(KeyId(id.to_bytes()), material).await {
            Ok(imported) => imported,
            Err(refused @ (HsmError::KeyUntrusted { .. } | HsmError::NotServed { .. })) => {
                // The object is gone again: so goes the row.
                self.store.abandon_import(id, self.clock.now_ms()).await?;
                return Err(UploadError::Import(refused.to_string()));
            }
            // The row stays IMPORTING: the same upload goes on from there.
            Err(error) => return Err(error.into()),
        };
        Ok(ImportedFields {
            key: Some(TokenKey {
                token: Some(imported.key.token),
                kcv: imported.kcv,
                mask: imported.mask().map(|mask| MaskedKey { iv: mask.iv, ciphertext: mask.ciphertext }),
            }),
            state: self.uploads_start,
        })
    }

    /// Refuses configurations that the caller's rights are not about.
    ///
    /// # Errors
    /// It is outside the caller's scope, or unknown; what the store says.
    pub async fn reach(&self, caller: &Caller, ids: &[ConfigurationId]) -> Result<(), EnableError> {
        if *caller.rights.configurations() == Scope::All {
            return Ok(());
        }
        for id in ids {
            let row = self.store.configuration(*id).await.map_err(EnableError::Store)?;
            let row = row.ok_or(Unusable::NotFound(*id))?;
            caller.may_use(row.id, row.attributes.sgc)?;
        }
        Ok(())
    }

    /// Enables or disables a configuration; what is so already stays so.
    ///
    /// # Errors
    /// [`EnableError`]: it is outside the caller's scope, its state does not allow it, or the store
    /// failed.
    pub async fn set_enabled(
        &self,
        caller: &Caller,
        id: ConfigurationId,
        enabled: bool,
    ) -> Result<Configuration, EnableError> {
        self.reach(caller, &[id]).await?;
        let now_ms = self.clock.now_ms();
        let changed = self.store.set_configuration_enabled(id, enabled, caller.actor(), now_ms).await;
        changed.map_err(|error| EnableError::of(id, error))
    }
}

/// What forbids issuing for ever, and what the uploader should know.
fn judged(draft: &ConfigurationDraft) -> (Vec<Warning>, Vec<Warning>) {
    let text = |code: &str, message: String| Warning { code: code.to_owned(), message };
    let mut warnings: Vec<Warning> =
        draft.warnings.iter().map(|warning| text(warning.code(), warning.to_string())).collect();
    let reasons = draft.servable.as_ref().err().map(Vec::as_slice).unwrap_or_default();
    // What the settings may allow is no reason for ever.
    let (lifted, lasting): (Vec<Unservable>, Vec<Unservable>) =
        reasons.iter().partition(|reason| reason.is_unverified());
    if lasting.is_empty() {
        warnings.extend(lifted.iter().map(|reason| text(reason.code(), reason.to_string())));
    }
    (lasting.iter().map(|reason| text(reason.code(), reason.to_string())).collect(), warnings)
}

/// The row that would be stored.
fn preview(Opened { new, material }: Opened, start: FinishedState) -> Result<Configuration, HsmError> {
    let kcv = material.as_ref().map(key_check_value).transpose()?;
    Ok(Configuration {
        id: new.id,
        fingerprint: new.fingerprint,
        state: if material.is_some() { start.into() } else { ConfigurationState::Disabled },
        display_name: new.display_name,
        attributes: new.attributes,
        key_length: new.key_length,
        unservable: new.unservable,
        warnings: new.warnings,
        keys: kcv.map(|kcv| TokenKey { token: None, kcv, mask: None }).into_iter().collect(),
        signer: new.signer,
        uploaded_by: new.uploaded_by,
        created_ms: new.now_ms,
        updated_ms: new.now_ms,
        destroy_ms: None,
        destroy_begun_ms: None,
    })
}
