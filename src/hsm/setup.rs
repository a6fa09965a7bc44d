//! `vendkey setup`: the server's own keys, made inside the HSM.

use super::capabilities::Capabilities;
use super::error::HsmError;
use super::keys::Role;
use super::module::Module;
use super::own_keys::{self, KeySizes, Provision, ServerKey};
use super::pin::read_pin;
use super::probe::probe;
use super::settings::HsmSettings;
use super::token::{Access, Token};

/// What `setup` found and made.
#[derive(Debug, Clone)]
pub struct SetupReport {
    /// What the module can do, the new keys included.
    pub capabilities: Capabilities,
    /// Each own key: made now, or found.
    pub keys: Vec<(Role, Provision)>,
    /// The public half of the legacy server key.
    pub server_key: ServerKey,
    /// The public half of the sealed server key.
    pub sealing_key: ServerKey,
    /// The public half of the audit key.
    pub audit_key: ServerKey,
}

/// Makes the legacy and the sealed server key (RSA, unwrap only), the audit key (RSA, PSS signatures only) the
/// row-seal key and the fingerprint key (32 bytes, HMAC only) in the token, and checks them. Safe
/// to run again: what exists is checked and kept. Blocks for seconds (RSA key generation); not to
/// be run by two processes at once, PKCS#11 knows no unique names.
///
/// # Errors
/// [`HsmError::KeyUntrusted`] or [`HsmError::KeyAmbiguous`] when existing objects are not what they
/// must be; any other failure of the HSM.
pub fn setup(settings: &HsmSettings, sizes: KeySizes) -> Result<SetupReport, HsmError> {
    const SESSION: usize = 0;
    let (module, _) = Module::load(settings.clone(), [Access::ReadWrite])?;
    let before = probe(&module, SESSION, false)?;
    let (own, keys) = module.with_session(SESSION, |guard| own_keys::provide(guard, &before, sizes))?;
    module.token().use_own_keys(own, Vec::new());
    let capabilities = probe(&module, SESSION, true)?;
    let [server_key, sealing_key, audit_key] = module.with_session(SESSION, |guard| {
        let mut public = |role| {
            let key = guard.own(role)?;
            own_keys::server_key(guard, key)
        };
        Ok([public(Role::Legacy)?, public(Role::Sealed)?, public(Role::Audit)?])
    })?;
    Ok(SetupReport { capabilities, keys, server_key, sealing_key, audit_key })
}

/// Looks whether the module loads, the token is there and its PIN may be tried. The PIN is not
/// tried, and nothing is changed.
pub fn examine(settings: &HsmSettings) -> Vec<HsmError> {
    match Token::load(settings.clone()) {
        Ok(token) => {
            let fault = token.examine().err();
            token.finalize();
            fault.into_iter().collect()
        }
        Err(error) => [Some(error), read_pin(&settings.pin_file).err()].into_iter().flatten().collect(),
    }
}
