//! What a module can do for Vendkey, tried by a session that cannot write to the token: what a person
//! looks at before an HSM is bought, or sends to its vendor.

use std::time::{Duration, Instant};

use cryptoki::mechanism::MechanismType;
use cryptoki::object::KeyType;

use super::capabilities::{Capabilities, Probe};
use super::error::HsmError;
use super::import::allowed;
use super::keys::{KeyKind, Role};
use super::module::Module;
use super::own_keys::{self, KeySizes};
use super::probe::{PROBE_ID, RsaKeys, in_own_session, probe_with};
use super::settings::HsmSettings;
use super::template::{self, KeyTemplate, Lifetime, Usage};
use super::token::Access;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleReport {
    /// What known-answer operations showed, with RSA keys of 2048 bits.
    pub capabilities: Capabilities,
    /// Whether an object has the attributes that it was given, and its value cannot be read.
    pub attributes: Probe<()>,
    /// Each of the server's own keys, made in its full size: how long it took.
    pub own_keys: Vec<(Role, Probe<Duration>)>,
    /// What the module says of the mechanisms that Vendkey uses.
    pub mechanisms: Vec<MechanismFacts>,
}

/// What C_GetMechanismInfo says of a mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MechanismFacts {
    /// Its name in PKCS#11.
    pub name: &'static str,
    /// Its number in PKCS#11.
    pub code: u64,
    /// What Vendkey uses it for.
    pub purpose: &'static str,
    /// The smallest and the largest key, in the unit of the mechanism, and whether it is done in
    /// hardware; none of one that the module does not list.
    pub listed: Option<(usize, usize, bool)>,
}

/// Something that Vendkey does, and what keeps it from doing it here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// What it does.
    pub name: String,
    /// What is missing, each with what was seen; nothing where it is served.
    pub missing: Vec<String>,
}

const SERVER: &str = "the server itself";

/// The mechanisms that Vendkey uses, with what for.
const MECHANISMS: [(&str, MechanismType, &str); 12] = [
    ("CKM_SHA256_HMAC", MechanismType::SHA256_HMAC, "DKGA04; seals of rows"),
    ("CKM_DES3_ECB", MechanismType::DES3_ECB, "DKGA02, DKGA03"),
    ("CKM_DES_ECB", MechanismType::DES_ECB, "DKGA02 where there is no CKM_DES3_ECB"),
    ("CKM_AES_CBC", MechanismType::AES_CBC, "masks of DKGA02 keys"),
    ("CKM_AES_CBC_PAD", MechanismType::AES_CBC_PAD, "data of legacy uploads; or CKM_AES_CBC"),
    ("CKM_RSA_PKCS", MechanismType::RSA_PKCS, "unwraps the key of legacy uploads"),
    ("CKM_RSA_PKCS_OAEP", MechanismType::RSA_PKCS_OAEP, "unwraps keys of uploads; sealed ones need it"),
    ("CKM_RSA_PKCS_PSS", MechanismType::RSA_PKCS_PSS, "signs checkpoints of the audit chain"),
    ("CKM_RSA_PKCS_KEY_PAIR_GEN", MechanismType::RSA_PKCS_KEY_PAIR_GEN, "the server's own keys"),
    ("CKM_GENERIC_SECRET_KEY_GEN", MechanismType::GENERIC_SECRET_KEY_GEN, "the server's own keys"),
    ("CKM_AES_KEY_GEN", MechanismType::AES_KEY_GEN, "masks of DKGA02 keys; uploads"),
    ("CKM_DES3_KEY_GEN", MechanismType::DES3_KEY_GEN, "sealed uploads of DKGA02 and DKGA03 keys"),
];

/// Loads the module, logs in once and tries everything, with session objects that end at once. The
/// session is a read-only one, so nothing can be left on the token. Blocks for seconds.
///
/// # Errors
/// Whatever keeps the module from being used at all; what it cannot do is in the report.
pub fn report_on_module(settings: &HsmSettings) -> Result<ModuleReport, HsmError> {
    const SESSION: usize = 0;
    let (module, _) = Module::load(settings.clone(), [Access::ReadOnly])?;
    let report = report(&module, SESSION);
    module.shut_down();
    report
}

fn report(module: &Module, session: usize) -> Result<ModuleReport, HsmError> {
    let capabilities = probe_with(module, session, RsaKeys::Made)?;
    let attributes = attributes(module, session, &capabilities);
    let own_keys = own_keys::OWN.map(|role| (role, made(module, session, &capabilities, role)));
    module.check_token(session)?;
    let facts = |(name, mechanism, purpose): (&'static str, MechanismType, &'static str)| {
        let info = module.token().mechanism(mechanism);
        let listed = info.map(|info| (info.min_key_size(), info.max_key_size(), info.hardware()));
        MechanismFacts { name, code: *mechanism, purpose, listed }
    };
    let mechanisms = MECHANISMS.map(facts).into();
    Ok(ModuleReport { capabilities, attributes, own_keys: own_keys.into(), mechanisms })
}

/// Looks at an object of the form of a DKGA04 key, which every module knows.
fn attributes(module: &Module, session: usize, capabilities: &Capabilities) -> Probe<()> {
    let template = KeyTemplate {
        role: Role::VendingKey,
        id: PROBE_ID,
        key_type: KeyType::GENERIC_SECRET,
        usage: Usage::Sign,
        lifetime: Lifetime::Session,
        immutable: true,
        mechanisms: allowed(capabilities, MechanismType::SHA256_HMAC),
    };
    in_own_session(module, session, |guard| {
        let key = template::create(guard.session, &template, &[0x0b; 64])?;
        template.check(guard.session, key)
    })
}

/// Makes one of the server's own keys as a session object, looks at it and measures how long making
/// it took.
fn made(module: &Module, session: usize, capabilities: &Capabilities, role: Role) -> Probe<Duration> {
    let template =
        KeyTemplate { lifetime: Lifetime::Session, ..own_keys::template(role, PROBE_ID, capabilities) };
    in_own_session(module, session, |guard| {
        let begin = Instant::now();
        let key = own_keys::generate(guard, &template, KeySizes::default())?;
        let took = begin.elapsed();
        template.check(guard.session, key)?;
        template.check_born_inside(guard.session, key, &capabilities.origin)?;
        if matches!(role, Role::RowSeal | Role::Fingerprint) {
            guard.hmac(key, b"vendkey probe")?;
        }
        Ok(took)
    })
}

impl ModuleReport {
    /// What Vendkey can serve with the module, and what it lacks for the rest.
    pub fn services(&self) -> Vec<Service> {
        let server = Service { name: SERVER.to_owned(), missing: self.lacks_itself() };
        let nothing_works = server.missing.first().map(|_| format!("{SERVER} cannot run"));
        let service = |name, lacks: Vec<String>| Service {
            name,
            missing: nothing_works.iter().cloned().chain(lacks).collect(),
        };
        let kinds = [KeyKind::Hmac, KeyKind::Des, KeyKind::Des2];
        let legacy =
            kinds.map(|kind| service(format!("{kind} keys, legacy uploads"), self.lacks_legacy(kind)));
        let sealed =
            kinds.map(|kind| service(format!("{kind} keys, sealed uploads"), self.lacks_sealed(kind)));
        [server].into_iter().chain(legacy).chain(sealed).collect()
    }

    /// Nothing is served without the server's own keys.
    fn lacks_itself(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (role, made) in &self.own_keys {
            if *role != Role::Sealed
                && let Err(why) = made
            {
                missing.push(format!("the {role} key: {why}"));
            }
        }
        lack(&mut missing, "CKM_RSA_PKCS_PSS", &self.capabilities.pss);
        lack(&mut missing, "attributes of keys", &self.attributes);
        missing
    }

    fn lacks_legacy(&self, kind: KeyKind) -> Vec<String> {
        let mut missing: Vec<String> =
            self.capabilities.serves(kind).err().map(|error| error.to_string()).into_iter().collect();
        lack(&mut missing, "data of uploads", &self.capabilities.upload_data);
        if self.capabilities.unwrap_schemes().next().is_none() {
            let tried = self.capabilities.unwrap.iter().map(|(scheme, probe)| tried(scheme, probe));
            missing.push(format!("no way to unwrap: {}", tried.collect::<Vec<_>>().join("; ")));
        }
        missing
    }

    fn lacks_sealed(&self, kind: KeyKind) -> Vec<String> {
        let mut missing = Vec::new();
        for (role, made) in &self.own_keys {
            if *role == Role::Sealed {
                lack(&mut missing, "the sealed server key", made);
            }
        }
        let suites = self.capabilities.sealed.iter().map(|(suite, _)| *suite);
        let refusals: Vec<HsmError> =
            suites.clone().filter_map(|suite| self.capabilities.opens(suite, kind).err()).collect();
        if refusals.len() == suites.count()
            && let Some(error) = refusals.first()
        {
            missing.push(error.to_string());
        }
        missing
    }
}

fn lack<T>(missing: &mut Vec<String>, what: &str, probe: &Probe<T>) {
    if let Err(why) = probe {
        missing.push(format!("{what}: {why}"));
    }
}

fn tried<T>(what: impl std::fmt::Display, probe: &Probe<T>) -> String {
    match probe {
        Ok(_) => what.to_string(),
        Err(why) => format!("{what}: {why}"),
    }
}
