//! Importing a configuration: the row is there before the key object, so that a crash between them
//! is mended by the same upload again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    EnableError, Unusable, UploadError, Vending,
    configurations::{kind_of, vending_key},
};
use crate::{
    access::{Caller, rights::Scope},
    audit::Actor,
    configuration::{
        Begun, Configuration, ConfigurationState, FinishedState, ImportedFields, KeyState, MaskedKey,
        NewConfiguration, TokenKey, Warning,
    },
    envelope::{
        self, Blobs, ConfigurationDraft, Envelope, Fingerprint, Invalid, PublicKey, SealedEnvelope,
        SealedUpload, SealingServer, Unservable, Upload,
    },
    hsm::{HsmError, KeyId, SealSuite, SealedKey, SealingKey, TokenId, VendingKeyMaterial, key_check_value},
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
    /// In clear, out of a legacy upload: for every token.
    Clear(VendingKeyMaterial),
    /// As it came, to be opened by the HSM alone: for each token that is a recipient.
    Sealed(Vec<(TokenId, Arc<SealedKey>)>),
}

/// The answer's word on a token that does not hold the key.
const KEY_NOT_ON_TOKEN: &str = "KEY_NOT_ON_TOKEN";

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
            let Some(SealingKey { key, suites, .. }) = self.hsm.sealing_key().await? else { return Ok(None) };
            Ok(Some((sealing_key(&key.spki_der)?, suites)))
        };
        self.sealing_key.get_or_try_init(read).await.cloned()
    }

    /// The same of the further tokens that answer.
    ///
    /// # Errors
    /// What the HSM says; a key that is no RSA key.
    pub async fn other_sealing_keys(&self) -> Result<Vec<(PublicKey, Vec<SealSuite>)>, HsmError> {
        let first = self.hsm.tokens().first().copied();
        let keys = self.hsm.sealing_keys(self.clock.now_ms()).await?.into_iter();
        // Old keys have no suites: nobody is to seal to them any more.
        let keys = keys.filter(|(token, key)| Some(*token) != first && !key.suites.is_empty());
        keys.map(|(_, SealingKey { key, suites, .. })| Ok((sealing_key(&key.spki_der)?, suites))).collect()
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
        let now_ms = self.clock.now_ms();
        let (wrapped_key, data) = (envelope.wrapped_key().to_vec(), envelope.data().to_vec());
        let candidates = self.hsm.open_legacy(wrapped_key, data, now_ms).await?;
        let verified = envelope.verify(candidates, &keys).map_err(|Invalid| not_opened(caller))?;
        let signer = signers.id(verified.signer())?;
        let fingerprint = self.hsm.fingerprint(FINGERPRINT_DOMAIN, verified.digest()).await?;
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
        let now_ms = self.clock.now_ms();
        let mut servers = Vec::new();
        for (token, SealingKey { id, key, .. }) in self.hsm.sealing_keys(now_ms).await? {
            let key = sealing_key(&key.spki_der)?;
            let (fingerprint, modulus_bytes) = (key.fingerprint(), key.modulus_bytes());
            servers.push((token, id, SealingServer { fingerprint, modulus_bytes }));
        }
        if servers.is_empty() {
            let why = "the token has no sealed server key yet: run `vendkey setup` again".to_owned();
            return Err(HsmError::NotServed { what: "sealed uploads", why }.into());
        }
        let readers: Vec<SealingServer> = servers.iter().map(|(_, _, server)| *server).collect();
        let upload = sealed.read(&readers, now_ms.div_euclid(1000))?;
        caller.may_bring(upload.draft.attributes.sgc)?;
        let fingerprint = self.hsm.fingerprint(SEALED_FINGERPRINT_DOMAIN, sealed.content()).await?;
        // One that was begun in its time may be ended, and told, later.
        if self.store.configuration_of_upload(fingerprint).await?.is_none() {
            upload.meant_for(now_ms.div_euclid(1000))?;
        }
        let SealedUpload { draft, key_bytes, keys, nonce, .. } = upload;
        let (unservable, warnings) = judged(&draft);
        let mut material = Vec::new();
        let mut refused = None;
        for (recipient, key) in keys.into_iter().filter(|_| unservable.is_empty()) {
            let named = servers.iter().find(|(_, _, server)| server.fingerprint == recipient);
            let Some((token, id, _)) = named else { continue };
            // To the old key of a token and to its new one: either will do.
            if material.iter().any(|(known, _)| known == token) {
                continue;
            }
            let key = SealedKey { server_key: Some(*id), ..key };
            match self.hsm.on(*token)?.capabilities().opens(key.suite, key.kind()) {
                Ok(()) => material.push((*token, Arc::new(key))),
                Err(why) => refused = refused.or(Some(UploadError::KeyClass(why.to_string()))),
            }
        }
        if let Some(refused) = refused.filter(|_| material.is_empty()) {
            return Err(refused);
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
        let material = Some(material).filter(|material| !material.is_empty());
        Ok(Opened { new, material: material.map(Material::Sealed) })
    }

    /// The key for the HSM, if the HSM passed the probe of its class.
    fn material(
        &self,
        draft: &ConfigurationDraft,
        key: &[u8],
    ) -> Result<Option<VendingKeyMaterial>, UploadError> {
        let Some(kind) = kind_of(draft.attributes.dkga) else { return Ok(None) };
        let served = self.hsm.first().capabilities().serves(kind);
        served.map_err(|why| UploadError::KeyClass(why.to_string()))?;
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
            Begun::Existing(known) => {
                let configuration = self.spread(known, material.as_ref(), &actor).await?;
                return Ok(Uploaded { configuration, existing: true });
            }
            Begun::NonceUsed => return Err(UploadError::NonceUsed),
            Begun::Started(row) | Begun::Resumed(row) => row,
        };
        let fields = match &material {
            None => ImportedFields { key: None, state: FinishedState::Disabled },
            Some(material) => {
                ImportedFields { key: Some(self.keep(row.id, material).await?), state: self.uploads_start }
            }
        };
        let configuration =
            self.store.finish_import(row.id, fields, actor.clone(), now_ms).await.map_err(of_import)?;
        tracing::info!(
            configuration = %configuration.id,
            kcv = configuration.kcv().map(hex::encode),
            state = %configuration.state,
            "configuration imported"
        );
        let configuration = self.spread(configuration, material.as_ref(), &actor).await?;
        Ok(Uploaded { configuration, existing: false })
    }

    /// The tokens that a key is meant for.
    fn meant_for(&self, material: &Material) -> Vec<TokenId> {
        match material {
            Material::Clear(_) => self.hsm.tokens(),
            Material::Sealed(keys) => keys.iter().map(|(token, _)| *token).collect(),
        }
    }

    /// Puts the key into one token, the first that takes it.
    async fn keep(&self, id: ConfigurationId, material: &Material) -> Result<TokenKey, UploadError> {
        let (mut refused, mut failed) = (None, None);
        for token in self.meant_for(material) {
            match self.keep_on(token, id, material).await {
                Ok(Some(key)) => return Ok(key),
                Ok(None) => {
                    tracing::warn!(configuration = %id, "a sealed key could not be opened");
                    self.store.abandon_import(id, self.clock.now_ms()).await?;
                    return Err(UploadError::Invalid);
                }
                Err(error @ (HsmError::KeyUntrusted { .. } | HsmError::NotServed { .. })) => {
                    refused = refused.or(Some(error));
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match (failed, refused) {
            // The row stays IMPORTING: the same upload goes on from there.
            (Some(error), _) => Err(error.into()),
            (None, refused) => {
                // The object is gone again: so goes the row.
                self.store.abandon_import(id, self.clock.now_ms()).await?;
                let why = refused.map_or_else(|| "no token takes it".to_owned(), |error| error.to_string());
                Err(UploadError::Import(why))
            }
        }
    }

    /// Puts the key into one token under the configuration's id. None: it is sealed, and does not
    /// open.
    async fn keep_on(
        &self,
        token: TokenId,
        id: ConfigurationId,
        material: &Material,
    ) -> Result<Option<TokenKey>, HsmError> {
        let (hsm, object) = (self.hsm.on(token)?, KeyId(id.to_bytes()));
        let imported = match material {
            Material::Clear(key) => Some(hsm.import_vending_key(object, key.copied()?).await?),
            Material::Sealed(keys) => {
                let key = keys.iter().find(|(recipient, _)| *recipient == token);
                let (_, key) = key.ok_or(HsmError::Nonsense("a token that is no recipient"))?;
                hsm.import_sealed_key(object, key.clone()).await?
            }
        };
        Ok(imported.map(|imported| {
            self.hsm.note_key(&imported.key);
            TokenKey {
                token: Some(token),
                kcv: imported.kcv,
                mask: imported.mask().map(|mask| MaskedKey { iv: mask.iv, ciphertext: mask.ciphertext }),
                state: KeyState::Held,
            }
        }))
    }

    /// Puts the key into every other token that it is meant for and that does not hold it, or not as
    /// it must. A token that cannot take it now is named by a warning of the answer: the same upload
    /// again tries again.
    async fn spread(
        &self,
        mut row: Configuration,
        material: Option<&Material>,
        actor: &Actor,
    ) -> Result<Configuration, UploadError> {
        let usable = matches!(row.state, ConfigurationState::Enabled | ConfigurationState::Disabled);
        let (Some(material), Some(first), true) = (material, self.hsm.tokens().first().copied(), usable)
        else {
            return Ok(row);
        };
        let mut without = Vec::new();
        for token in self.meant_for(material) {
            if self.holds(&row, token, first).await {
                continue;
            }
            let key = match self.keep_on(token, row.id, material).await {
                Ok(Some(key)) => key,
                Ok(None) => {
                    tracing::warn!(configuration = %row.id, %token, "a sealed key could not be opened");
                    without.push(token);
                    continue;
                }
                Err(error) => {
                    tracing::warn!(configuration = %row.id, %token, %error, "a token does not take a key");
                    without.push(token);
                    continue;
                }
            };
            match self.store.add_key(row.id, key, first, actor.clone(), self.clock.now_ms()).await {
                Ok(changed) => row = changed,
                Err(refused @ ConfigurationError::Refused(_)) => {
                    // It is another key.
                    self.hsm.on(token)?.destroy_vending_key(KeyId(row.id.to_bytes())).await?;
                    return Err(of_import(refused));
                }
                // The row may know it; the same upload again makes both fit.
                Err(error) => return Err(of_import(error)),
            }
            self.configurations.forget(row.id);
            tracing::info!(configuration = %row.id, %token, "a further token holds the key");
        }
        row.warnings.extend(without.iter().map(|token| Warning {
            code: KEY_NOT_ON_TOKEN.to_owned(),
            message: format!(
                "the token {token} does not hold the key: send the same upload again when it answers"
            ),
        }));
        if let Some(why) = self.hsm.unreached() {
            row.warnings.push(Warning { code: KEY_NOT_ON_TOKEN.to_owned(), message: why.to_string() });
        }
        Ok(row)
    }

    /// Whether a token holds the key as the row says, or cannot be asked.
    async fn holds(&self, row: &Configuration, token: TokenId, first: TokenId) -> bool {
        let (Some(key), Ok(hsm)) = (vending_key(row, token, first), self.hsm.on(token)) else { return false };
        match hsm.inspect_vending_key(key).await {
            Ok(kcv) if kcv == key.kcv => {
                self.hsm.note_key(&key);
                true
            }
            Ok(_)
            | Err(
                HsmError::KeyMissing { .. } | HsmError::KeyAmbiguous { .. } | HsmError::KeyUntrusted { .. },
            ) => false,
            Err(_) => true,
        }
    }

    /// The check value of a sealed key that each of the tokens opens that can be asked.
    async fn opened_kcv(&self, keys: &[(TokenId, Arc<SealedKey>)]) -> Result<Option<[u8; 3]>, UploadError> {
        let (mut kcv, mut failed) = (None, None);
        for (token, key) in keys {
            let opens = match self.hsm.on(*token) {
                Ok(hsm) => hsm.opens_sealed_key(key.clone()).await,
                Err(error) => Err(error),
            };
            match opens {
                Ok(true) => kcv = Some(key.kcv),
                Ok(false) => return Err(UploadError::Invalid),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match (kcv, failed) {
            (None, Some(error)) => Err(error.into()),
            (kcv, _) => Ok(kcv),
        }
    }

    /// The row that would be stored.
    async fn preview(&self, Opened { new, material }: Opened) -> Result<Configuration, UploadError> {
        let kcv = match &material {
            None => None,
            Some(Material::Clear(key)) => Some(key_check_value(key)?),
            Some(Material::Sealed(keys)) => self.opened_kcv(keys).await?,
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
            keys: kcv
                .map(|kcv| TokenKey { token: None, kcv, mask: None, state: KeyState::Held })
                .into_iter()
                .collect(),
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

fn sealing_key(spki: &[u8]) -> Result<PublicKey, HsmError> {
    PublicKey::parse(spki).map_err(|_| HsmError::Nonsense("the sealed server key is no RSA public key"))
}

/// What the store said of a row under import.
fn of_import(error: ConfigurationError) -> UploadError {
    match error {
        ConfigurationError::Store(error) => UploadError::Store(error),
        ConfigurationError::Refused(refusal) => UploadError::Import(refusal.to_string()),
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
