//! A new key in the place of one of the server's own, while no server runs.
//!
//! The order is the same for all: the new key is made; what rested on the old one is made to rest
//! on the new one, on record; the old one is destroyed. While the token holds both, no server
//! starts, and the same command goes on wherever it was cut off.

use std::{collections::BTreeMap, io, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::checkpoint_file;
use crate::{
    audit::{Actor, Checkpoint, CheckpointError, NewAct, SignedCheckpoint},
    clock::{Clock as _, SystemClock},
    crash,
    hsm::{Hsm, HsmError, KeySizes, OwnKey, OwnKeys, Role, SealKeyId},
    settings::{Settings, StoreSettings},
    store::{self, DatabaseSettings, NoSeal, OpenError, Resealing, Sealer, Store, StoreError},
    vending::{Stop, lacking},
};

/// A key that was exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The one that is destroyed, now or when its time is over.
    pub old: OwnKey,
    /// Until when it opens uploads, in milliseconds since 1970; none: it is destroyed.
    pub until_ms: Option<i64>,
    /// The one in its place.
    pub new: OwnKey,
}

/// Why a key is not exchanged. The same command again goes on where this one stopped.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// There is no such rotation: keys of configurations are not exchanged, and the fingerprint key
    /// names uploads for ever.
    #[error("the {0} key is not rotated")]
    NotRotated(Role),
    /// Only what opens uploads is kept for a time.
    #[error("the old {0} key is not kept: nothing would use it")]
    NotKept(Role),
    /// What no rotation leaves behind.
    #[error("the token holds {1} generations of the {0} key: an operator must look")]
    TooMany(Role, usize),
    /// The HSM cannot be used.
    #[error("the HSM: {0}")]
    Hsm(#[from] HsmError),
    /// The database cannot be used, or a server has it.
    #[error("the store: {0}")]
    Open(#[from] OpenError),
    /// The store does not answer.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// The last checkpoint is not what it should be.
    #[error("the last checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The database lacks what the last checkpoint names.
    #[error("{0}")]
    Behind(Stop),
    /// The checkpoint file cannot be read or written.
    #[error("the checkpoint file: {0}")]
    File(#[from] io::Error),
}

/// Exchanges one of the server's own keys. Takes the database for itself, so that no server runs
/// meanwhile. The old key of two that open uploads is kept until a time, if one is given.
///
/// # Errors
/// [`RotationError`].
pub async fn rotate(
    settings: &Settings,
    role: Role,
    sizes: KeySizes,
    until_ms: Option<i64>,
) -> Result<Rotated, RotationError> {
    if until_ms.is_some() && !matches!(role, Role::Legacy | Role::Sealed) {
        return Err(RotationError::NotKept(role));
    }
    let act = match role {
        Role::Legacy => "server_key.rotated",
        Role::Sealed => "sealed_key.rotated",
        Role::Audit => "audit_key.rotated",
        Role::RowSeal => "row_seal_key.rotated",
        Role::Fingerprint | Role::VendingKey | Role::Mask => return Err(RotationError::NotRotated(role)),
    };
    let keys = Arc::new(OwnKeys::open(&settings.hsm)?);
    // The database is taken before a key is made: while a server has it, nothing is begun.
    let database = DatabaseSettings::new(settings.store.url.clone(), &settings.server.name);
    if role == Role::RowSeal {
        let database = Resealing::begin(&database)?;
        let rotated = two_generations(&keys, role, sizes)?;
        let sealer = |key| RowSealKey::of(&keys, key).map(Arc::new);
        let (old, new) = (sealer(&rotated.old)?, sealer(&rotated.new)?);
        database.reseal(old, new, &rotated.act(act))?;
        return retire(&keys, rotated);
    }
    let seals = match keys.generations(Role::RowSeal)?.as_slice() {
        [one] => Arc::new(RowSealKey::of(&keys, one)?),
        _ => return Err(HsmError::RotationUnfinished(Role::RowSeal).into()),
    };
    let store = store::open_alone(&database, seals)?;
    let rotated = Rotated { until_ms, ..two_generations(&keys, role, sizes)? };
    // One that was kept ends now.
    let ends = until_ms.is_none() && keys.kept_until(&rotated.old)?.is_some();
    store.record_act_once(rotated.act(if ends { ended(role) } else { act })).await?;
    crash::point("rotate-after-act");
    if role == Role::Audit {
        hand_over(&keys, store.as_ref(), &settings.store, &rotated).await?;
    }
    if let Some(until_ms) = until_ms {
        keys.keep_until(&rotated.old, until_ms)?;
        return Ok(rotated);
    }
    retire(&keys, rotated)
}

/// The old key and the new one, which is made now unless a rotation that did not end has made it.
fn two_generations(keys: &OwnKeys, role: Role, sizes: KeySizes) -> Result<Rotated, RotationError> {
    let found = keys.generations(role)?;
    match found.as_slice() {
        [old] => {
            let new = keys.renew(old, sizes)?;
            crash::point("rotate-after-new-key");
            Ok(Rotated { old: old.clone(), new, until_ms: None })
        }
        [old, new] => Ok(Rotated { old: old.clone(), new: new.clone(), until_ms: None }),
        several => Err(RotationError::TooMany(role, several.len())),
    }
}

/// The act of destroying a key that was kept for a time.
fn ended(role: Role) -> &'static str {
    if role == Role::Sealed { "sealed_key.old_destroyed" } else { "server_key.old_destroyed" }
}

/// Destroys the old server keys whose time is over, on record.
///
/// # Errors
/// What the HSM and the store say; the next look tries again.
pub async fn end_overlaps(hsm: &Hsm, store: &dyn Store, now_ms: i64) -> Result<(), RotationError> {
    for old in hsm.old_keys().into_iter().filter(|old| old.until_ms <= now_ms) {
        let details =
            BTreeMap::from([("key", old.id.to_string()), ("old_until_ms", old.until_ms.to_string())]);
        let act = NewAct { kind: ended(old.role), actor: Actor::Local, details, now_ms };
        // First: once the key is gone nobody knows of it.
        store.record_act_once(act).await?;
        hsm.destroy_old_key(old).await?;
        tracing::warn!(key = %old.role, "the time of an old server key is over: it is destroyed");
    }
    Ok(())
}

fn retire(keys: &OwnKeys, rotated: Rotated) -> Result<Rotated, RotationError> {
    crash::point("rotate-before-retire");
    keys.retire(&rotated.old)?;
    Ok(rotated)
}

/// Signs the heads of the chains twice: by the old key, over the record that names the new one, and
/// by the new key. Whoever trusts the old key can so follow to the new one.
async fn hand_over(
    keys: &OwnKeys,
    store: &dyn Store,
    settings: &StoreSettings,
    rotated: &Rotated,
) -> Result<(), RotationError> {
    let mut number = 0;
    let kept = checkpoint_file::read(&settings.checkpoint_file)?;
    for text in [kept, store.past().await?.checkpoint].into_iter().flatten() {
        let signed = SignedCheckpoint::parse(&text)?;
        signed.verify(spki(&rotated.old)).or_else(|_| signed.verify(spki(&rotated.new)))?;
        if let Some(stop) = lacking(store, &signed.checkpoint).await? {
            return Err(RotationError::Behind(stop));
        }
        number = number.max(signed.checkpoint.number);
    }
    let heads = store.chain_heads().await?;
    for key in [&rotated.old, &rotated.new] {
        number += 1;
        let checkpoint = Checkpoint::new(number, SystemClock.now_ms(), heads.clone());
        let signature = keys.sign_checkpoint(key, checkpoint.text(spki(key)).as_bytes())?;
        let text = checkpoint.signed(spki(key), signature).to_text();
        checkpoint_file::write(&settings.checkpoint_file, &text)?;
        crash::point("rotate-between-checkpoints");
        store.keep_checkpoint(number, text).await?;
    }
    Ok(())
}

fn spki(key: &OwnKey) -> &[u8] {
    key.spki_der.as_deref().unwrap_or_default()
}

impl Rotated {
    /// The act, the same whenever it is asked for but for its time, so that it is put on record
    /// once.
    fn act(&self, kind: &'static str) -> NewAct {
        let mut details = BTreeMap::from([
            ("old", self.old.fingerprint.clone()),
            ("new", self.new.fingerprint.clone()),
            ("generation", self.new.generation.to_string()),
        ]);
        details.extend(self.until_ms.map(|until_ms| ("old_until_ms", until_ms.to_string())));
        if self.old.role == Role::Audit {
            // What the old key signed verifies as long as the record is kept.
            details.insert("old_key", STANDARD.encode(spki(&self.old)));
        }
        NewAct { kind, actor: Actor::Local, details, now_ms: SystemClock.now_ms() }
    }
}

/// A generation of the row-seal key as the store uses it.
#[derive(Debug)]
struct RowSealKey {
    keys: Arc<OwnKeys>,
    key: OwnKey,
    id: SealKeyId,
}

impl RowSealKey {
    fn of(keys: &Arc<OwnKeys>, key: &OwnKey) -> Result<Self, HsmError> {
        Ok(Self { keys: keys.clone(), key: key.clone(), id: keys.seal_key_id(key)? })
    }
}

impl Sealer for RowSealKey {
    fn key_id(&self) -> SealKeyId {
        self.id
    }

    fn seal(&self, message: &[u8]) -> Result<[u8; 32], NoSeal> {
        self.keys.seal_row(&self.key, message).map_err(|error| NoSeal(error.to_string()))
    }
}
