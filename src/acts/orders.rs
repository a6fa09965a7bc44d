//! What is asked for by the acts that may have to wait for a second person, parsed. Each is stored
//! as it stands here.

use serde::{Deserialize, Serialize};

use super::stored;
use crate::{
    access::{KeyId, limits::Limits, rights::Rights},
    configuration::KeyChangePair,
    envelope,
    id::{ClientId, ConfigurationId, PublicKeyId},
    ledger::Seed,
    sts::{attributes::BaseDate, meter::MeterPan, tid::Tid},
};

/// Registers a key of the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterPublicKey {
    /// Its name, for people.
    pub display_name: String,
    /// The key.
    #[serde(with = "stored::as_pem")]
    pub public_key: envelope::PublicKey,
}

/// Enables a key that was disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnablePublicKey {
    /// Which.
    #[serde(with = "stored::as_text")]
    pub public_key: PublicKeyId,
}

/// Lets a configuration issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnableConfiguration {
    /// Which.
    #[serde(with = "stored::as_text")]
    pub configuration: ConfigurationId,
}

/// Has a configuration's keys destroyed after a delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleDestruction {
    /// Which.
    #[serde(with = "stored::as_text")]
    pub configuration: ConfigurationId,
}

/// Lets meters be carried from one configuration to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowKeyChange {
    /// Under whose key the meters are.
    #[serde(with = "stored::as_text")]
    pub source: ConfigurationId,
    /// Under whose key they come.
    #[serde(with = "stored::as_text")]
    pub target: ConfigurationId,
}

impl AllowKeyChange {
    /// The two configurations.
    pub fn pair(self) -> KeyChangePair {
        KeyChangePair { source: self.source, target: self.target }
    }
}

/// Makes a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateClient {
    /// Its id, which the request chose.
    #[serde(with = "stored::as_text")]
    pub client: ClientId,
    /// Its name, for people.
    pub display_name: String,
    /// What it may do.
    pub rights: Rights,
    /// How much.
    pub limits: Limits,
}

/// Replaces what is not fixed of a client, if it is still as the caller read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateClient {
    /// Which.
    #[serde(with = "stored::as_text")]
    pub client: ClientId,
    /// The version that was read.
    pub version: i64,
    /// Its new name.
    pub display_name: String,
    /// What it may do from now on.
    pub rights: Rights,
    /// How much.
    pub limits: Limits,
}

/// Brings a client back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnableClient {
    /// Which.
    #[serde(with = "stored::as_text")]
    pub client: ClientId,
}

/// How a new credential will be proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NewProof {
    /// By a secret that the server makes and tells once. Such an act cannot wait: nobody would be
    /// there to be told.
    #[serde(skip)]
    Made,
    /// By a secret that its holder made: the server learns its hash.
    Held {
        /// The public half.
        #[serde(with = "stored::as_text")]
        key_id: KeyId,
        /// SHA-256 of the secret's 32 bytes, which are random: nothing to guess.
        #[serde(with = "stored::as_hex")]
        secret_sha256: [u8; 32],
    },
    /// By a certificate in the handshake.
    #[serde(with = "stored::as_text")]
    Certificate(KeyId),
}

/// Gives a client one more credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateCredential {
    /// For whom.
    #[serde(with = "stored::as_text")]
    pub client: ClientId,
    /// How it will be proven.
    pub proof: NewProof,
    /// When it ends, milliseconds since 1970; `None`: never.
    pub expires_ms: Option<i64>,
}

/// Brings a credential back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnableCredential {
    /// Which.
    #[serde(with = "stored::as_text")]
    pub credential: KeyId,
}

/// Says when a credential ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetCredentialExpiry {
    /// Which.
    #[serde(with = "stored::as_text")]
    pub credential: KeyId,
    /// When it ends, milliseconds since 1970; `None`: never.
    pub expires_ms: Option<i64>,
}

/// Goes on with a database that has forgotten records, or a ledger that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptRestore {
    /// The digest of what was shown to those who agreed; none of acts that were asked for before there
    /// was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
}

/// Lowers the last TID of one meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LowerLastTid {
    /// The meter.
    #[serde(with = "stored::as_text")]
    pub meter: MeterPan,
    /// From where the identifier counts.
    #[serde(with = "stored::as_year")]
    pub base_date: BaseDate,
    /// What becomes the last one.
    #[serde(with = "stored::as_number")]
    pub last_tid: Tid,
}

impl LowerLastTid {
    /// The meter and what becomes its last identifier.
    pub fn seed(self) -> Seed {
        Seed { meter: self.meter, base_date: self.base_date, tid: self.last_tid }
    }
}
