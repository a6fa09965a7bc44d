//! Known-answer operations: what the module can really do, and whether it still does.
//!
//! Mechanism lists promise too much (SoftHSM lists CKM_DES_ECB and refuses it), so every ability is
//! tried on a session object with an answer that is known from elsewhere.

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, KeyType, ObjectHandle};
use cryptoki::types::Ulong;
use des::cipher::block_padding::Pkcs7;
use des::cipher::{BlockModeEncrypt, KeyIvInit};
use rsa::rand_core::OsRng;
use rsa::traits::PublicKeyParts;
use rsa::{Oaep, Pkcs1v15Encrypt, Pss};
use sha2::{Digest, Sha256};

use super::capabilities::{Capabilities, CbcForm, DesForm, HmacForm, Origin, Probe, UnwrapScheme};
use super::error::{Cure, HsmError, cure_of};
use super::import::{self, make_mask};
use super::keys::{KeyId, KeyKind, Role};
use super::module::Module;
use super::own_keys::{self, KeySizes};
use super::reference;
use super::seal_suite::SealSuite;
use super::sealed::{self, SealedClass, SealedKey};
use super::session::SessionGuard;
use super::template::{self, KeyTemplate, Lifetime, Usage};
use super::unwrap;

/// CKA_ID of what the probes make.
pub(super) const PROBE_ID: KeyId = KeyId(*b"vendkey:probe\0\0\0");

/// FIPS 81, appendix B: the key, a block and its ciphertext.
const DES_KEY: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
const DES_CLEAR: [u8; 8] = *b"Now is t";
const DES_ENCRYPTED: [u8; 8] = [0x3f, 0xa4, 0x0e, 0x8a, 0x98, 0x4d, 0x48, 0x15];

/// SP 800-67 §B.1's first two keys; the answer is computed.
const DES2_KEY: [u8; 16] =
    [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01];

/// RFC 4231 §4.2 (test case 1): a key of 20 bytes, as DKGA04's are.
const HMAC_KEY: [u8; 20] = [0x0b; 20];
const HMAC_MESSAGE: &[u8] = b"Hi There";
const HMAC_START: [u8; 8] = [0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53];

/// The RSA keys of the probes that need some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RsaKeys {
    /// There are none: what needs them is not probed.
    Absent,
    /// The server's own.
    Own,
    /// Pairs that are made for each probe, as session objects.
    Made,
}

impl RsaKeys {
    /// The private key of this role.
    fn key(
        self,
        guard: &mut SessionGuard<'_>,
        role: Role,
        capabilities: &Capabilities,
    ) -> Result<ObjectHandle, HsmError> {
        match self {
            RsaKeys::Absent | RsaKeys::Own => guard.own(role),
            RsaKeys::Made => {
                let template = KeyTemplate {
                    lifetime: Lifetime::Session,
                    ..own_keys::template(role, PROBE_ID, capabilities)
                };
                own_keys::generate(guard, &template, KeySizes { legacy: 2048, sealed: 2048, audit: 2048 })
            }
        }
    }
}

/// Tries everything through a session. `own_keys` says whether the server's own keys exist, for
/// what needs them.
///
/// # Errors
/// When the token itself does not answer afterwards; a probe that fails is an answer.
pub(super) fn probe(module: &Module, session: usize, own_keys: bool) -> Result<Capabilities, HsmError> {
    probe_with(module, session, if own_keys { RsaKeys::Own } else { RsaKeys::Absent })
}

/// As [`probe`], with these RSA keys.
pub(super) fn probe_with(module: &Module, session: usize, keys: RsaKeys) -> Result<Capabilities, HsmError> {
    // A failing probe may leave an operation or an object behind: each gets a session that may be
    // thrown away.
    let attempt = |work: &mut dyn FnMut(&mut SessionGuard<'_>) -> Result<(), HsmError>| -> Probe<()> {
        in_own_session(module, session, work)
    };
    let des_in = |forms: &[DesForm], key: &[u8], encrypted: [u8; 8]| {
        first(forms, |form| attempt(&mut |guard| try_des(guard, form, key, encrypted)))
    };
    let des2_answer = *reference::des(&DES2_KEY, DES_CLEAR)?;
    let absent = || Err("the server's own keys do not exist yet: run `vendkey setup`".to_owned());
    let (facts, token) = module.token().facts();
    let mut capabilities = Capabilities {
        module: facts,
        token,
        des: des_in(&[DesForm::Des3, DesForm::Des2, DesForm::Des], &DES_KEY, DES_ENCRYPTED),
        des2: des_in(&[DesForm::Des3, DesForm::Des2], &DES2_KEY, des2_answer),
        hmac: first(&[HmacForm::Padded64, HmacForm::Padded32, HmacForm::Native], |form| {
            attempt(&mut |guard| try_hmac(guard, form))
        }),
        origin: first(&[Origin::Local, Origin::NeverOutside], |origin| {
            attempt(&mut |guard| try_origin(guard, origin))
        }),
        allowed_mechanisms: attempt(&mut try_allowed_mechanisms),
        mask: Err(String::new()),
        upload_data: first(&[CbcForm::Padded, CbcForm::Plain], |form| {
            attempt(&mut |guard| try_cbc(guard, form))
        }),
        unwrap: UnwrapScheme::ALL.map(|scheme| (scheme, absent())),
        unwrap_refusals: Vec::new(),
        sealed: SealSuite::ALL.map(|suite| (suite, absent())),
        pss: absent(),
    };
    capabilities.mask = attempt(&mut |guard| try_mask(guard, &capabilities));
    if keys != RsaKeys::Absent {
        capabilities.pss = attempt(&mut |guard| try_pss(guard, &capabilities, keys));
        let refusals = in_own_session(module, session, |guard| refusals(guard, &capabilities, keys));
        capabilities.unwrap_refusals = refusals.unwrap_or_default();
        for scheme in UnwrapScheme::ALL {
            let only = Capabilities {
                unwrap: UnwrapScheme::ALL.map(|s| (s, if s == scheme { Ok(()) } else { absent() })),
                ..capabilities.clone()
            };
            let probe = attempt(&mut |guard| try_unwrap(guard, &only, scheme, keys));
            if let Some(entry) = capabilities.unwrap.iter_mut().find(|(s, _)| *s == scheme) {
                entry.1 = probe;
            }
        }
        for suite in SealSuite::ALL {
            let probe = match module.token().own_id(Role::Sealed) {
                None if keys == RsaKeys::Own => absent_sealed(),
                _ => attempt(&mut |guard| try_sealed(guard, &capabilities, suite, keys)),
            };
            if let Some(entry) = capabilities.sealed.iter_mut().find(|(s, _)| *s == suite) {
                entry.1 = probe;
            }
        }
    }
    module.check_token(session)?;
    Ok(capabilities)
}

/// Does `work` in a session that may be thrown away.
pub(super) fn in_own_session<T>(
    module: &Module,
    session: usize,
    mut work: impl FnMut(&mut SessionGuard<'_>) -> Result<T, HsmError>,
) -> Probe<T> {
    module
        .with_session_unchecked(session, |guard| {
            guard.exclusive()?;
            guard.close_after();
            work(guard)
        })
        .map_err(|error| error.to_string())
}

fn absent_sealed() -> Probe<()> {
    Err("there is no sealed server key in this token yet: run `vendkey setup` again".to_owned())
}

/// The first form that works, or why none does.
fn first<F: Copy + std::fmt::Display>(forms: &[F], mut works: impl FnMut(F) -> Probe<()>) -> Probe<F> {
    let mut reasons = Vec::new();
    for form in forms {
        match works(*form) {
            Ok(()) => return Ok(*form),
            Err(why) => reasons.push(format!("{form}: {why}")),
        }
    }
    Err(reasons.join("; "))
}

const WRONG: HsmError = HsmError::Nonsense("the known answer does not come out");

fn right(answer: bool) -> Result<(), HsmError> {
    if answer { Ok(()) } else { Err(WRONG) }
}

/// A session key with a known value.
fn known_key(
    guard: &SessionGuard<'_>,
    key_type: KeyType,
    usage: Usage,
    mechanisms: Vec<MechanismType>,
    value: &[u8],
) -> Result<ObjectHandle, HsmError> {
    let template = KeyTemplate {
        role: Role::VendingKey,
        id: PROBE_ID,
        key_type,
        usage,
        lifetime: Lifetime::Session,
        immutable: true,
        mechanisms,
    };
    template::create(guard.session, &template, value)
}

fn try_des(guard: &SessionGuard<'_>, form: DesForm, key: &[u8], encrypted: [u8; 8]) -> Result<(), HsmError> {
    let value = import::des_value(form, key)?;
    let object = known_key(guard, form.key_type(), Usage::Encrypt, Vec::new(), &value)?;
    // Two blocks, because derivations are batched.
    let answer = guard.des(form, object, &[DES_CLEAR, DES_CLEAR].concat())?;
    right(*answer == [encrypted, encrypted].concat())
}

fn try_hmac(guard: &SessionGuard<'_>, form: HmacForm) -> Result<(), HsmError> {
    let mut value = vec![0; form.len()];
    value[..HMAC_KEY.len()].copy_from_slice(&HMAC_KEY);
    let object = known_key(guard, KeyType::GENERIC_SECRET, Usage::Sign, Vec::new(), &value)?;
    right(guard.hmac(object, HMAC_MESSAGE)?.starts_with(&HMAC_START))
}

/// The list must be taken, the listed mechanism must work, and another must be refused.
fn try_allowed_mechanisms(guard: &mut SessionGuard<'_>) -> Result<(), HsmError> {
    let listed = vec![MechanismType::SHA256_HMAC];
    let object = known_key(guard, KeyType::GENERIC_SECRET, Usage::Sign, listed, &[0x0b; 64])?;
    guard.hmac(object, HMAC_MESSAGE)?;
    match guard.session.sign(&Mechanism::Sha512Hmac, object, HMAC_MESSAGE) {
        Err(_) => Ok(()),
        Ok(_) => Err(HsmError::Nonsense("CKA_ALLOWED_MECHANISMS is taken but not obeyed")),
    }
}

/// A key that is generated must bear the marks, and one that is put in must not bear all of them.
fn try_origin(guard: &SessionGuard<'_>, origin: Origin) -> Result<(), HsmError> {
    let template = KeyTemplate {
        role: Role::VendingKey,
        id: PROBE_ID,
        key_type: KeyType::GENERIC_SECRET,
        usage: Usage::Sign,
        lifetime: Lifetime::Session,
        immutable: true,
        mechanisms: Vec::new(),
    };
    let mut attributes = template.attributes();
    attributes.push(Attribute::ValueLen(Ulong::new(32)));
    let generated = guard.session.generate_key(&Mechanism::GenericSecretKeyGen, &attributes)?;
    template.check_born_inside(guard.session, generated, &Ok(origin))?;
    let put_in = template::create(guard.session, &template, &[0x0b; 32])?;
    match template.check_born_inside(guard.session, put_in, &Ok(origin)) {
        Err(_) => Ok(()),
        Ok(()) => Err(HsmError::Nonsense("a key that was put in is marked as made inside")),
    }
}

/// The whole life of a mask key, and one shifted decryption.
fn try_mask(guard: &mut SessionGuard<'_>, capabilities: &Capabilities) -> Result<(), HsmError> {
    for left_over in guard.find(Role::Mask, PROBE_ID)? {
        guard.session.destroy_object(left_over)?;
    }
    let pair = [DES_KEY, DES_KEY].concat();
    let mask = make_mask(guard, capabilities, PROBE_ID, &pair, Lifetime::Session)?;
    let found = guard.find(Role::Mask, PROBE_ID)?;
    let [object] = *found.as_slice() else {
        return Err(HsmError::Nonsense("the mask key is not the only one of its name"));
    };
    let blocks = [mask.iv.map(|byte| byte ^ 0x5a), mask.ciphertext].concat();
    let shifted = guard.cbc_decrypt(object, [0; 16], &blocks);
    let encrypting = guard.session.encrypt(&Mechanism::AesCbc([0; 16]), object, &blocks);
    // It belongs to the key_session's session, which stays open.
    guard.session.destroy_object(object)?;
    if encrypting.is_ok() {
        return Err(HsmError::Nonsense("a key that may only decrypt encrypts"));
    }
    right(shifted?[16..].iter().zip(&pair).all(|(got, clear)| *got == clear ^ 0x5a))
}

fn try_cbc(guard: &SessionGuard<'_>, form: CbcForm) -> Result<(), HsmError> {
    let (key, iv, clear) = ([0x2b; 16], [0x7e; 16], b"vendkey upload probe");
    let object = known_key(guard, KeyType::AES, Usage::Decrypt, Vec::new(), &key)?;
    let data = aes_cbc(&key, &iv, clear)?;
    let decrypted = unwrap::decrypt(guard, form, object, &iv, &data)?;
    right(decrypted.is_some_and(|decrypted| *decrypted == *clear))
}

/// AES-128-CBC with PKCS#7 padding in software.
fn aes_cbc(key: &[u8; 16], iv: &[u8; 16], clear: &[u8]) -> Result<Vec<u8>, HsmError> {
    let mut buffer = clear.to_vec();
    buffer.resize(clear.len() + 16, 0);
    cbc::Encryptor::<aes::Aes128>::new(key.into(), iv.into())
        .encrypt_padded::<Pkcs7>(&mut buffer, clear.len())
        .map(<[u8]>::to_vec)
        .map_err(|_| HsmError::Nonsense("a buffer too small for its padding"))
}

/// By which codes noise is refused that is unwrapped, where they say that the HSM is gone. It is
/// asked whether it is.
fn refusals(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    keys: RsaKeys,
) -> Result<Vec<RvError>, HsmError> {
    let server_key = keys.key(guard, Role::Legacy, capabilities)?;
    // Less than the modulus.
    let mut noise = vec![0; own_keys::public_key(guard, server_key)?.size()];
    import::fill_random(&mut noise[1..])?;
    let mut refusals = Vec::new();
    for scheme in UnwrapScheme::ALL {
        let template = unwrap::aes_template();
        match guard.session.unwrap_key(&scheme.mechanism(), server_key, &noise, &template) {
            Err(Error::Pkcs11(code, _)) if cure_of(code) == Cure::Rebuild && !refusals.contains(&code) => {
                refusals.push(code);
            }
            _ => {}
        }
    }
    guard.check_token()?;
    Ok(refusals)
}

/// An upload of our own to the legacy server key. It goes the way of all uploads.
fn try_unwrap(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    scheme: UnwrapScheme,
    keys: RsaKeys,
) -> Result<(), HsmError> {
    let server_key = keys.key(guard, Role::Legacy, capabilities)?;
    let public = own_keys::public_key(guard, server_key)?;
    let (mut key, iv, clear) = ([0; 16], [0x7e; 16], b"vendkey upload probe");
    import::fill_random(&mut key)?;
    let wrapped = match scheme {
        UnwrapScheme::Pkcs1v15 => public.encrypt(&mut OsRng, Pkcs1v15Encrypt, &key),
        UnwrapScheme::OaepSha1 => public.encrypt(&mut OsRng, Oaep::new::<sha1::Sha1>(), &key),
        UnwrapScheme::OaepSha256 => public.encrypt(&mut OsRng, Oaep::new::<rsa::sha2::Sha256>(), &key),
    }
    .map_err(|_| HsmError::Nonsense("an RSA key that encrypts nothing"))?;
    let data = [&iv, aes_cbc(&key, &iv, clear)?.as_slice()].concat();
    let opened = unwrap::open_by(guard, capabilities, |_| Ok(server_key), &wrapped, &data)?;
    if opened.is_empty() {
        return Err(why_not(guard, scheme, server_key, &wrapped, &unwrap::aes_template()));
    }
    right(opened.iter().any(|candidate| **candidate == *clear))
}

/// A vending key of our own, sealed to the sealed server key. It goes the way of all sealed keys.
fn try_sealed(
    guard: &mut SessionGuard<'_>,
    capabilities: &Capabilities,
    suite: SealSuite,
    keys: RsaKeys,
) -> Result<(), HsmError> {
    let server_key = keys.key(guard, Role::Sealed, capabilities)?;
    let public = own_keys::public_key(guard, server_key)?;
    let mut value = [0; 64];
    value[..HMAC_KEY.len()].copy_from_slice(&HMAC_KEY);
    let vending_key = suite
        .encrypt(&public, &mut OsRng, &value)
        .map_err(|_| HsmError::Nonsense("an RSA key that encrypts nothing"))?;
    let kcv = reference::kcv(KeyKind::Hmac, &HMAC_KEY)?;
    let key = SealedKey { server_key: None, suite, vending_key, kcv, class: SealedClass::Hmac };
    let template = import::key_template(capabilities, PROBE_ID, KeyKind::Hmac, Lifetime::Session)?;
    let born = KeyTemplate { immutable: false, ..template };
    match sealed::opened(guard, capabilities, |_| Ok(server_key), PROBE_ID, &key)? {
        // opencryptoki forgets that it is sensitive.
        Some(opened) => born.check(guard.session, opened.vending_key()),
        None => Err(why_not(guard, suite.into(), server_key, &key.vending_key, &born.attributes())),
    }
}

/// Why a ciphertext of our own does not unwrap. Of an upload's nobody is told.
fn why_not(
    guard: &SessionGuard<'_>,
    scheme: UnwrapScheme,
    server_key: ObjectHandle,
    wrapped: &[u8],
    template: &[Attribute],
) -> HsmError {
    match guard.session.unwrap_key(&scheme.mechanism(), server_key, wrapped, template).map_err(HsmError::from)
    {
        Ok(_) => HsmError::Nonsense("it does not unwrap what was wrapped for it"),
        // The HSM is there: it answered what went before.
        Err(error) if error.cure() == Cure::Rebuild => {
            HsmError::NotServed { what: "this way of unwrapping", why: error.to_string() }
        }
        Err(error) => error,
    }
}

fn try_pss(guard: &mut SessionGuard<'_>, capabilities: &Capabilities, keys: RsaKeys) -> Result<(), HsmError> {
    let message = b"vendkey audit probe";
    let key = keys.key(guard, Role::Audit, capabilities)?;
    let signature = own_keys::sign(guard, key, message)?;
    let public = own_keys::public_key(guard, key)?;
    let digest = Sha256::digest(message);
    right(
        signature.len() == public.size()
            && public.verify(Pss::new::<rsa::sha2::Sha256>(), &digest, &signature).is_ok(),
    )
}
