//! What the module was seen to do, and how each kind of key is held in it.

use std::fmt;

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::KeyType;

use super::error::HsmError;
use super::keys::KeyKind;
use super::seal_suite::SealSuite;

/// How a DES key is held, best first: not every module does plain DES (SoftHSM wants OpenSSL's
/// legacy provider for it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DesForm {
    /// CKK_DES3 with K|K|K (DKGA02) or K1|K2|K1 (DKGA03).
    Des3,
    /// CKK_DES2 with K|K or K1|K2.
    Des2,
    /// CKK_DES, DKGA02 only.
    Des,
}

impl DesForm {
    /// CKA_KEY_TYPE of the object.
    pub(super) fn key_type(self) -> KeyType {
        match self {
            DesForm::Des3 => KeyType::DES3,
            DesForm::Des2 => KeyType::DES2,
            DesForm::Des => KeyType::DES,
        }
    }

    /// The mechanism of one DES operation per block.
    pub(super) fn mechanism(self) -> Mechanism<'static> {
        match self {
            DesForm::Des3 | DesForm::Des2 => Mechanism::Des3Ecb,
            DesForm::Des => Mechanism::DesEcb,
        }
    }
}

impl fmt::Display for DesForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DesForm::Des3 => "CKK_DES3, CKM_DES3_ECB",
            DesForm::Des2 => "CKK_DES2, CKM_DES3_ECB",
            DesForm::Des => "CKK_DES, CKM_DES_ECB",
        })
    }
}

/// How a 20-byte HMAC key is held, best first. Zero padding up to the block of 64 bytes is part of
/// HMAC itself (RFC 2104 §2), so the result is the same; SoftHSM refuses keys under 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HmacForm {
    /// CKK_GENERIC_SECRET, padded to 64 bytes.
    Padded64,
    /// CKK_GENERIC_SECRET, padded to 32 bytes.
    Padded32,
    /// CKK_GENERIC_SECRET, 20 bytes.
    Native,
}

impl HmacForm {
    /// Length of CKA_VALUE in bytes.
    pub(super) fn len(self) -> usize {
        match self {
            HmacForm::Padded64 => 64,
            HmacForm::Padded32 => 32,
            HmacForm::Native => 20,
        }
    }
}

impl fmt::Display for HmacForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CKK_GENERIC_SECRET of {} bytes, CKM_SHA256_HMAC", self.len())
    }
}

/// How the data of a legacy upload is decrypted, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CbcForm {
    /// CKM_AES_CBC_PAD: the HSM takes the padding off.
    Padded,
    /// CKM_AES_CBC, for modules without the other: the padding is taken off in this process, which
    /// gets the clear text anyway.
    Plain,
}

impl fmt::Display for CbcForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CbcForm::Padded => "CKM_AES_CBC_PAD",
            CbcForm::Plain => "CKM_AES_CBC, padding taken off by the server",
        })
    }
}

/// By which marks a key that was generated in the HSM is told from one that was put into it, best
/// first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// CKA_LOCAL, CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE.
    Local,
    /// The last two alone: NSS softokn sets no CKA_LOCAL.
    NeverOutside,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Local => "CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE",
            Origin::NeverOutside => "CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE",
        })
    }
}

/// How an RSA key unwraps the AES key of a legacy upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnwrapScheme {
    /// CKM_RSA_PKCS (v1.5), what `openssl rsautl` makes.
    Pkcs1v15,
    /// CKM_RSA_PKCS_OAEP with SHA-1 and MGF1-SHA-1.
    OaepSha1,
    /// CKM_RSA_PKCS_OAEP with SHA-256 and MGF1-SHA-256.
    OaepSha256,
}

impl UnwrapScheme {
    /// All, in the order in which they are tried.
    pub(super) const ALL: [UnwrapScheme; 3] =
        [UnwrapScheme::Pkcs1v15, UnwrapScheme::OaepSha1, UnwrapScheme::OaepSha256];
}

impl From<SealSuite> for UnwrapScheme {
    /// How the HSM unwraps what is encrypted in a suite.
    fn from(suite: SealSuite) -> UnwrapScheme {
        match suite {
            SealSuite::OaepSha256 => UnwrapScheme::OaepSha256,
            SealSuite::OaepSha1 => UnwrapScheme::OaepSha1,
        }
    }
}

impl fmt::Display for UnwrapScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UnwrapScheme::Pkcs1v15 => "CKM_RSA_PKCS",
            UnwrapScheme::OaepSha1 => "CKM_RSA_PKCS_OAEP, SHA-1",
            UnwrapScheme::OaepSha256 => "CKM_RSA_PKCS_OAEP, SHA-256",
        })
    }
}

/// What a probe found: how the ability is served, or why it is not.
pub type Probe<T> = Result<T, String>;

/// The results of the known-answer operations at start. Not what the module's mechanism list
/// promises: what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The PKCS#11 library.
    pub module: ModuleFacts,
    /// The token.
    pub token: TokenFacts,
    /// DKGA02, first step: DES in ECB mode.
    pub des: Probe<DesForm>,
    /// DKGA02, last step: AES-256-CBC under a mask key that can only decrypt.
    pub mask: Probe<()>,
    /// DKGA03: two-key triple DES in ECB mode.
    pub des2: Probe<DesForm>,
    /// DKGA04: HMAC-SHA-256 with a key of 20 bytes.
    pub hmac: Probe<HmacForm>,
    /// What decrypts the data of a legacy upload.
    pub upload_data: Probe<CbcForm>,
    /// Unwrapping with the legacy server key, per scheme; a reason for all where the key does not
    /// exist yet.
    pub unwrap: [(UnwrapScheme, Probe<()>); 3],
    /// By which codes the module refuses what does not unwrap, where they would mean of other
    /// modules that the HSM is gone: kryoptic answers CKR_DEVICE_ERROR.
    pub unwrap_refusals: Vec<RvError>,
    /// Unwrapping a vending key with the sealed server key, per suite; a reason for all where the
    /// key does not exist yet.
    pub sealed: [(SealSuite, Probe<()>); 2],
    /// CKM_RSA_PKCS_PSS with SHA-256 by the audit key.
    pub pss: Probe<()>,
    /// The marks of keys that never were outside.
    pub origin: Probe<Origin>,
    /// CKA_ALLOWED_MECHANISMS is taken and obeyed. Only then our templates carry it.
    pub allowed_mechanisms: Probe<()>,
}

/// What the library says of itself (C_GetInfo).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModuleFacts {
    /// Path in the settings.
    pub path: String,
    /// CK_INFO.libraryDescription.
    pub description: String,
    /// CK_INFO.manufacturerID.
    pub manufacturer: String,
    /// CK_INFO.libraryVersion.
    pub version: String,
    /// CK_INFO.cryptokiVersion.
    pub cryptoki: String,
}

/// What the token says of itself (C_GetTokenInfo); empty where the module's answer cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenFacts {
    /// Slot id.
    pub slot: u64,
    /// Label without its padding.
    pub label: String,
    /// Model.
    pub model: String,
    /// Serial number.
    pub serial: String,
}

/// One line of a report on capabilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapabilityRow {
    /// The ability.
    pub name: String,
    /// How it is served, or why not.
    pub detail: String,
    /// Whether it is.
    pub served: bool,
}

impl Capabilities {
    /// Whether keys of this kind can be imported and derived with.
    ///
    /// # Errors
    /// [`HsmError::NotServed`] with what the probe saw.
    pub fn serves(&self, kind: KeyKind) -> Result<(), HsmError> {
        match kind {
            KeyKind::Des => {
                self.des_form()?;
                self.mask.clone().map_err(|why| HsmError::NotServed { what: "DKGA02's mask keys", why })
            }
            KeyKind::Des2 => self.des2_form().map(drop),
            KeyKind::Hmac => self.hmac_form().map(drop),
        }
    }

    /// How DKGA02 keys are held.
    pub(super) fn des_form(&self) -> Result<DesForm, HsmError> {
        self.des.clone().map_err(|why| HsmError::NotServed { what: "DKGA02", why })
    }

    /// How DKGA03 keys are held.
    pub(super) fn des2_form(&self) -> Result<DesForm, HsmError> {
        self.des2.clone().map_err(|why| HsmError::NotServed { what: "DKGA03", why })
    }

    /// How DKGA04 keys are held.
    pub(super) fn hmac_form(&self) -> Result<HmacForm, HsmError> {
        self.hmac.clone().map_err(|why| HsmError::NotServed { what: "DKGA04", why })
    }

    /// The unwrapping schemes that work.
    pub(super) fn unwrap_schemes(&self) -> impl Iterator<Item = UnwrapScheme> + '_ {
        self.unwrap.iter().filter(|(_, probe)| probe.is_ok()).map(|(scheme, _)| *scheme)
    }

    /// The suites of sealed uploads that work, best first.
    pub fn seal_suites(&self) -> impl Iterator<Item = SealSuite> + '_ {
        self.sealed.iter().filter(|(_, probe)| probe.is_ok()).map(|(suite, _)| *suite)
    }

    /// Whether sealed keys of this suite and kind can be imported.
    ///
    /// # Errors
    /// [`HsmError::NotServed`] with what the probe saw.
    pub fn opens(&self, suite: SealSuite, kind: KeyKind) -> Result<(), HsmError> {
        self.serves(kind)?;
        let form = |right: bool| if right { Ok(()) } else { Err("held in another form here") };
        let fits = match kind {
            KeyKind::Des => form(self.des == Ok(DesForm::Des3)),
            KeyKind::Des2 => form(self.des2 == Ok(DesForm::Des3)),
            KeyKind::Hmac => form(self.hmac == Ok(HmacForm::Padded64)),
        };
        let not_served = |why: String| HsmError::NotServed { what: "sealed uploads of this key", why };
        fits.map_err(|why| not_served(format!("{kind} keys are {why}")))?;
        let probe = self.sealed.iter().find(|(known, _)| *known == suite).map(|(_, probe)| probe.clone());
        let others: Vec<&str> = self.seal_suites().map(SealSuite::id).collect();
        let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
        probe
            .unwrap_or_else(|| Err("not probed".to_owned()))
            .map_err(|why| not_served(format!("{suite}: {why} (suites that it opens: {others})")))
    }

    /// The lines of a report, in a fixed order.
    pub fn rows(&self) -> Vec<CapabilityRow> {
        fn row<T>(
            name: impl Into<String>,
            probe: &Probe<T>,
            how: impl FnOnce(&T) -> String,
        ) -> CapabilityRow {
            let detail = match probe {
                Ok(served) => how(served),
                Err(why) => why.clone(),
            };
            CapabilityRow { name: name.into(), detail, served: probe.is_ok() }
        }
        let mut rows = vec![
            row("DKGA02 derivation", &self.des, DesForm::to_string),
            row("DKGA02 mask", &self.mask, |()| "CKK_AES of 32 bytes, CKM_AES_CBC, decrypt only".to_owned()),
            row("DKGA03 derivation", &self.des2, DesForm::to_string),
            row("DKGA04 derivation", &self.hmac, HmacForm::to_string),
            row("upload data", &self.upload_data, CbcForm::to_string),
        ];
        rows.extend(self.unwrap.iter().map(|(scheme, probe)| {
            let name = match scheme {
                UnwrapScheme::Pkcs1v15 => "upload key, PKCS#1 v1.5",
                UnwrapScheme::OaepSha1 => "upload key, OAEP SHA-1",
                UnwrapScheme::OaepSha256 => "upload key, OAEP SHA-256",
            };
            row(name, probe, |()| scheme.to_string())
        }));
        rows.extend(self.sealed.iter().map(|(suite, probe)| {
            row(format!("sealed upload, {suite}"), probe, |()| UnwrapScheme::from(*suite).to_string())
        }));
        rows.push(row("audit signature", &self.pss, |()| "CKM_RSA_PKCS_PSS, SHA-256".to_owned()));
        rows.push(row("marks of keys made inside", &self.origin, Origin::to_string));
        rows.push(row("mechanism limits", &self.allowed_mechanisms, |()| {
            "CKA_ALLOWED_MECHANISMS is enforced".to_owned()
        }));
        rows
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ModuleFacts { description, version, path, .. } = &self.module;
        writeln!(f, "module {description} {version} ({path})")?;
        let TokenFacts { label, model, serial, slot } = &self.token;
        writeln!(f, "token {label} (slot {slot}, {model}, serial {serial})")?;
        for CapabilityRow { name, detail, served } in self.rows() {
            writeln!(f, "{} {name}: {detail}", if served { "yes" } else { "no " })?;
        }
        Ok(())
    }
}
