//! The HSM under test as a source of decoder keys: the code that serves, with session objects for
//! vending keys.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

use tokio::runtime::{Builder, Runtime};

use super::fields::KeyBytes;
use super::keys::{Keys, KeysError, Wanted};
use crate::hsm::{
    DecoderKeys, Hsm, HsmError, KeyKind, SessionKey, VendingKey, VendingKeyMaterial, WithDecoderKeys,
};
use crate::sts::cipher::DecoderKey;
use crate::sts::derivation::Derivation;

/// Vending keys held at once; an import costs milliseconds, and some modules have room for few
/// objects.
const MOST_HELD: usize = 64;

/// Imports each vending key of the vectors as a session object, once, and derives through
/// [`WithDecoderKeys::with_decoder_keys`] as a token does. Not for use inside async code: it waits.
#[derive(Debug)]
pub struct HsmKeys {
    hsm: Hsm,
    runtime: Runtime,
    held: RefCell<Held>,
}

#[derive(Debug, Default)]
struct Held {
    keys: HashMap<(KeyKind, KeyBytes), SessionKey>,
    /// Oldest first.
    order: VecDeque<(KeyKind, KeyBytes)>,
}

impl HsmKeys {
    /// Over a running HSM, with or without the server's own keys in it.
    ///
    /// # Errors
    /// When the system gives no timer or pipe for the runtime.
    pub fn new(hsm: Hsm) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        Ok(Self { hsm, runtime, held: RefCell::default() })
    }

    /// The session object of a vending key, made if it is not there.
    fn session_key(&self, kind: KeyKind, bytes: &KeyBytes) -> Result<VendingKey, KeysError> {
        let name = (kind, bytes.clone());
        if let Some(held) = self.held.borrow().keys.get(&name) {
            return Ok(held.key());
        }
        let material = VendingKeyMaterial::from_slice(kind, bytes.as_bytes())
            .map_err(|error| KeysError::Failed(error.to_string()))?
            .ok_or_else(|| {
                let found = bytes.as_bytes().len();
                KeysError::Failed(format!("the vending key has {found} bytes, {kind} wants {}", kind.len()))
            })?;
        let made = self.runtime.block_on(self.hsm.import_session_key(material)).map_err(refused)?;
        let key = made.key();
        let mut held = self.held.borrow_mut();
        if held.order.len() >= MOST_HELD
            && let Some(oldest) = held.order.pop_front()
        {
            held.keys.remove(&oldest);
        }
        held.order.push_back(name.clone());
        held.keys.insert(name, made);
        Ok(key)
    }
}

impl Keys for HsmKeys {
    fn with<R: Send + 'static>(
        &self,
        wanted: Vec<Wanted>,
        finish: impl FnOnce(&[DecoderKey<'_>]) -> R + Send + 'static,
    ) -> Result<R, KeysError> {
        let wanted: Vec<(VendingKey, Derivation)> = wanted
            .iter()
            .map(|Wanted { vending_key, derivation }| {
                Ok((self.session_key(kind_for(derivation), vending_key)?, *derivation))
            })
            .collect::<Result<_, KeysError>>()?;
        let permit = self.hsm.try_reserve().map_err(refused)?;
        self.runtime.block_on(self.hsm.with_decoder_keys(permit, wanted, finish)).map_err(refused)
    }
}

fn kind_for(derivation: &Derivation) -> KeyKind {
    match derivation {
        Derivation::Dkga02 { .. } => KeyKind::Des,
        Derivation::Dkga03 { .. } => KeyKind::Des2,
        Derivation::Dkga04 { .. } => KeyKind::Hmac,
    }
}

/// What the module cannot do is no failure of ours; everything else is one.
fn refused(error: HsmError) -> KeysError {
    match error {
        HsmError::NotServed { .. } => KeysError::Unsupported(error.to_string()),
        error => KeysError::Failed(error.to_string()),
    }
}
