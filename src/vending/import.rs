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
    envelope::{
        self, Blobs, ConfigurationDraft, Envelope, Fingerprint, Invalid, PublicKey, SealedEnvelope,
        SealedUpload, SealingServer, Unservable, Upload,
    },
    hsm::{HsmError, KeyId, SealSuite, SealedKey, SealingKey, VendingKeyMaterial, key_check_value},
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
    material: Option<Material>,
}

/// A vending key on its way into the HSM.
enum Material {
    /// In clear, out of a legacy upload.
    Clear(VendingKeyMaterial),
    /// As it came, to be opened by the HSM alone.
    Sealed(Arc<SealedKey>),
}

/// How long an import may take: so long after a server died in one, others import again.
const LONGEST_IMPORT: Duration = Duration::from_secs(60);
/// How long an upload waits for the import of another server.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks.
const AGAIN: Duration = Duration::from_millis(100);

/// The domain of upload fingerprints among the HMACs of the row-seal key.
const FINGERPRINT_DOMAIN: &str = "vendkey upload v1";
/// The same of sealed uploads.
const SEALED_FINGERPRINT_DOMAIN: &str = "vendkey sealed upload v1";

impl Vending {
    /// Opens an upload and imports the vending key, or finds the configuration that it made before.
    ///
    /// With `validate_only` nothing is stored, and the answer is what would be.
    ///
    /// # Errors
    /// [`UploadError`]: the envelope does not open, the text is no valid configuration, or HSM or store
    /// failed.
    pub async fn upload(
        self: &Arc<Self>,
        caller: &Caller,
        envelope: Envelope<'_>,
        validate_only: bool,
    ) -> Result<Uploaded, UploadError> {
        let opened = match envelope {
            Envelope::Legacy(_) if !self.legacy_uploads => return Err(UploadError::LegacyDenied),
            Envelope::Legacy(blobs) => self.open_legacy(caller, &blobs).await?,
            Envelope::Sealed(document) => self.open_sealed(caller, document).await?,
        };
        if validate_only {
            let known = self.store.configuration_of_upload(opened.new.fingerprint).await?;
            let known = known.filter(|known| known.state != ConfigurationState::Importing);
            return Ok(match known {
                Some(gone) if gone.destroy_begun() => return Err(UploadError::Destroyed),
                Some(configuration) => Uploaded { configuration, existing: true },
                None => Uploaded { configuration: self.preview(opened).await?, existing: false },
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

    /// The public key to which sealed uploads are encrypted, with the suites that the HSM opens;
    /// none where the token has none yet.
    ///
    /// # Errors
    /// What the HSM says; a key that is no RSA key.
    pub async fn sealing_key(&self) -> Result<Option<(PublicKey, Vec<SealSuite>)>, HsmError> {
        let read = || async {
            let Some(SealingKey { key, suites }) = self.hsm.sealing_key().await? else { return Ok(None) };
            let key = PublicKey::parse(&key.spki_der)
                .map_err(|_| HsmError::Nonsense("the sealed server key is no RSA public key"))?;
            Ok(Some((key, suites)))
        };
        self.sealing_key.get_or_try_init(read).await.cloned()
    }

    /// The keys whose signature opens an upload of this caller.
    async fn signers(&self, caller: &Caller) -> Result<Signers, UploadError> {
        let rows = self.store.enabled_public_keys(caller.client).await?;
        Ok(Signers(rows.iter().filter_map(|row| Some((row.id, PublicKey::parse(&row.spki).ok()?))).collect()))
    }

    async fn open_legacy(&self, caller: &Caller, blobs: &Blobs<'_>) -> Result<Opened, UploadError> {
        let server_key = self.server_key().await?;
        let signers = self.signers(caller).await?;
        let keys = signers.keys();
        let envelope =
            envelope::parse(blobs, server_key.modulus_bytes(), &keys).map_err(UploadError::Malformed)?;
        let candidates =
            self.hsm.open_legacy(envelope.wrapped_key().to_vec(), envelope.data().to_vec()).await?;
        let verified = envelope.verify(candidates, &keys).map_err(|Invalid| not_opened(caller))?;
        let signer = signers.id(verified.signer())?;
        let fingerprint = self.hsm.fingerprint(FINGERPRINT_DOMAIN, verified.digest()).await?;
        let now_ms = self.clock.now_ms();
        let Upload { draft, vending_key } =
            verified.read(now_ms.div_euclid(1000)).map_err(UploadError::Configuration)?;
        caller.may_bring(draft.attributes.sgc)?;
        let (unservable, warnings) = judged(&draft);
        let material = if unservable.is_empty() {
            self.material(&draft, vending_key.bytes())?.map(Material::Clear)
        } else {
            None
        };
        let new = NewConfiguration {
            id: ConfigurationId::generate(),
            fingerprint,
            nonce: None,
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

    /// Nothing of a sealed upload is believed before its signature is checked, and the HSM is asked
    /// to open nothing before all that can be read in it is right.
    async fn open_sealed(&self, caller: &Caller, document: &[u8]) -> Result<Opened, UploadError> {
        let envelope = SealedEnvelope::parse(document).map_err(UploadError::Document)?;
        let signers = self.signers(caller).await?;
        let sealed = envelope.verify(&signers.keys()).map_err(|Invalid| not_opened(caller))?;
        let signer = signers.id(sealed.signer())?;
        let (server, _) = self.sealing_key().await?.ok_or_else(|| HsmError::NotServed {
            what: "sealed uploads",
            why: "the token has no sealed server key yet: run `vendkey setup` again".to_owned(),
        })?;
        let now_ms = self.clock.now_ms();
        let server =
            SealingServer { fingerprint: server.fingerprint(), modulus_bytes: server.modulus_bytes() };
        let upload = sealed.read(server, now_ms.div_euclid(1000))?;
        caller.may_bring(upload.draft.attributes.sgc)?;
        let fingerprint = self.hsm.fingerprint(SEALED_FINGERPRINT_DOMAIN, sealed.content()).await?;
        // One that was begun in its time may be ended, and told, later.
        if self.store.configuration_of_upload(fingerprint).await?.is_none() {
            upload.meant_for(now_ms.div_euclid(1000))?;
        }
        let SealedUpload { draft, key_bytes, key, nonce, .. } = upload;
        let (unservable, warnings) = judged(&draft);
        let material = key.filter(|_| unservable.is_empty());
        if let Some(key) = &material {
            let opens = self.hsm.capabilities().opens(key.suite, key.kind());
            opens.map_err(|why| UploadError::KeyClass(why.to_string()))?;
        }
        let new = NewConfiguration {
            id: ConfigurationId::generate(),
            fingerprint,
            nonce: Some(nonce.0),
            display_name: draft.display_name,
            attributes: draft.attributes,
            // 8, 16 or 20.
            key_length: u8::try_from(key_bytes).unwrap_or_default(),
            unservable,
            warnings,
            signer,
            uploaded_by: caller.client,
            actor: caller.actor(),
            now_ms,
        };
        Ok(Opened { new, material: material.map(|key| Material::Sealed(Arc::new(key))) })
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
            Begun::NonceUsed => return Err(UploadError::NonceUsed),
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
    async fn keep(&self, id: ConfigurationId, material: Material) -> Result<ImportedFields, UploadError> {
        let object = KeyId(id.to_bytes());
        let imported = match material {
            Material::Clear(key) => self.hsm.import_vending_key(object, key).await.map(Some),
            Material::Sealed(key) => self.hsm.import_sealed_key(object, key).await,
        };
        let imported = match imported {
            Ok(Some(imported)) => imported,
            Ok(None) => {
                tracing::warn!(configuration = %id, "a sealed key could not be opened");
                self.store.abandon_import(id, self.clock.now_ms()).await?;
                return Err(UploadError::Invalid);
            }
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

    /// The row that would be stored.
    async fn preview(&self, Opened { new, material }: Opened) -> Result<Configuration, UploadError> {
        let kcv = match &material {
            None => None,
            Some(Material::Clear(key)) => Some(key_check_value(key)?),
            Some(Material::Sealed(key)) if self.hsm.opens_sealed_key(key.clone()).await? => Some(key.kcv),
            Some(Material::Sealed(_)) => return Err(UploadError::Invalid),
        };
        let start = self.uploads_start;
        Ok(Configuration {
            id: new.id,
            fingerprint: new.fingerprint,
            nonce: new.nonce,
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

/// The answer to whatever keeps an envelope from opening.
fn not_opened(caller: &Caller) -> UploadError {
    tracing::warn!(client = %caller.client, credential = %caller.key_id, "an upload could not be opened");
    UploadError::Invalid
}

/// Keys that may sign.
struct Signers(Vec<(PublicKeyId, PublicKey)>);

impl Signers {
    fn keys(&self) -> Vec<PublicKey> {
        self.0.iter().map(|(_, key)| key.clone()).collect()
    }

    fn id(&self, signer: Fingerprint) -> Result<PublicKeyId, UploadError> {
        let found = self.0.iter().find(|(_, key)| key.fingerprint() == signer);
        found.map(|(id, _)| *id).ok_or(UploadError::Invalid)
    }
}
