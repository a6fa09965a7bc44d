//! The acts that may have to wait for a second person, as values: what an approval stores, what its
//! hash binds, and what is done in the end are one and the same.
//!
//! The stored form is JSON with a version,
//! `{"version":1,"act":{"enable_client":{"client":"..."}}}`. An approval outlives an upgrade of the
//! server: whoever changes the form gives it another version and goes on reading the old ones. No
//! field of an act is a secret.

use serde::{Deserialize, Serialize};

use super::orders::{
    AcceptRestore, AllowKeyChange, CreateClient, CreateCredential, EnableClient, EnableConfiguration,
    EnableCredential, EnablePublicKey, LowerLastTid, RegisterPublicKey, ScheduleDestruction,
    SetCredentialExpiry, UpdateClient,
};

/// The version of the form that is written.
const VERSION: u32 = 1;

/// An act that may have to wait for more than one person. Every one may be done twice: a server
/// that died in the middle does it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Lets a key sign uploads.
    RegisterPublicKey(RegisterPublicKey),
    /// Lets a disabled key sign uploads again.
    EnablePublicKey(EnablePublicKey),
    /// Lets a configuration issue.
    EnableConfiguration(EnableConfiguration),
    /// Destroys a key after a delay.
    ScheduleDestruction(ScheduleDestruction),
    /// Lets meters be carried from one key to another.
    AllowKeyChange(AllowKeyChange),
    /// Makes a client that may do something.
    CreateClient(CreateClient),
    /// Raises a permission or a limit.
    UpdateClient(UpdateClient),
    /// Brings a client back that vends or administers.
    EnableClient(EnableClient),
    /// Gives such a client one more credential.
    CreateCredential(CreateCredential),
    /// Brings a credential of such a client back.
    EnableCredential(EnableCredential),
    /// Lets a credential of such a client live longer.
    SetCredentialExpiry(SetCredentialExpiry),
    /// Goes on with a restored database.
    AcceptRestore(AcceptRestore),
    /// Lowers the last TID of a meter.
    LowerLastTid(LowerLastTid),
}

/// Why stored bytes are no act.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActUnreadable {
    /// An earlier version of the server stored the bytes of a protobuf message.
    #[error("it was asked for in the form of an earlier version of the server: ask for the act again")]
    Earlier,
    /// A later version stored it.
    #[error(
        "it was asked for in form {0}, which this version of the server does not read: ask for the act again"
    )]
    Version(u32),
    /// The text is no act of its version.
    #[error("the stored act cannot be read: ask for it again")]
    Damaged,
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    act: &'a Act,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(rename = "version")]
    _version: u32,
    act: Act,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Act {
    /// The call that asks for it, `/package.Service/Method`: who may make this call may vote on the
    /// act.
    pub fn method(&self) -> &'static str {
        match self {
            Self::RegisterPublicKey(_) => "/vendkey.v1.PublicKeyService/RegisterPublicKey",
            Self::EnablePublicKey(_) => "/vendkey.v1.PublicKeyService/EnablePublicKey",
            Self::EnableConfiguration(_) => "/vendkey.v1.ConfigurationService/EnableConfiguration",
            Self::ScheduleDestruction(_) => "/vendkey.v1.ConfigurationService/ScheduleDestroyConfiguration",
            Self::AllowKeyChange(_) => "/vendkey.v1.ConfigurationService/AllowKeyChange",
            Self::CreateClient(_) => "/vendkey.v1.ClientService/CreateClient",
            Self::UpdateClient(_) => "/vendkey.v1.ClientService/UpdateClient",
            Self::EnableClient(_) => "/vendkey.v1.ClientService/EnableClient",
            Self::CreateCredential(_) => "/vendkey.v1.ClientService/CreateCredential",
            Self::EnableCredential(_) => "/vendkey.v1.ClientService/EnableCredential",
            Self::SetCredentialExpiry(_) => "/vendkey.v1.ClientService/SetCredentialExpiry",
            Self::AcceptRestore(_) => "/vendkey.v1.LedgerService/AcceptRestore",
            Self::LowerLastTid(_) => "/vendkey.v1.LedgerService/LowerLastTid",
        }
    }

    /// The bytes that are stored: JSON, one form for one act.
    ///
    /// # Errors
    /// The act cannot wait, since when it is done nobody is there to whom its secret could be
    /// shown.
    pub fn to_stored(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Written { version: VERSION, act: self })
    }

    /// Reads what was stored.
    ///
    /// # Errors
    /// [`ActUnreadable`].
    pub fn from_stored(stored: &[u8]) -> Result<Self, ActUnreadable> {
        // No message of ours begins with a brace: that would be a group, which proto3 lacks.
        if !stored.starts_with(b"{") {
            return Err(ActUnreadable::Earlier);
        }
        let Versioned { version } = serde_json::from_slice(stored).map_err(|_| ActUnreadable::Damaged)?;
        if version != VERSION {
            return Err(ActUnreadable::Version(version));
        }
        let read: Read = serde_json::from_slice(stored).map_err(|_| ActUnreadable::Damaged)?;
        Ok(read.act)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::need;

    /// One of each act in the form of version 1, as `approvals.request` holds it. These lines are
    /// never changed: approvals that wait in some database have them.
    const VERSION_1: &str = include_str!("act/version_1.jsonl");

    #[test]
    fn every_act_is_stored_as_it_ever_was() {
        let mut seen = Vec::new();
        for line in VERSION_1.lines() {
            let act = Act::from_stored(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(String::from_utf8(act.to_stored().unwrap()).unwrap(), line);
            assert!(need(act.method()).is_some(), "no such call: {}", act.method());
            seen.push(act.method());
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 13, "one line for each act");
    }

    #[test]
    fn what_is_no_act_of_this_version_is_refused() {
        let line = VERSION_1.lines().next().unwrap();
        let read = |text: &str| Act::from_stored(text.as_bytes()).unwrap_err();
        // EnableConfigurationRequest, and AcceptRestoreRequest, as they were stored before.
        assert_eq!(
            read("\n\u{33}configurations/01a200d6-b833-706f-b11e-a24e508732d8"),
            ActUnreadable::Earlier
        );
        assert_eq!(read(""), ActUnreadable::Earlier);
        assert_eq!(read(&line.replace("\"version\":1", "\"version\":2")), ActUnreadable::Version(2));
        assert_eq!(read(&line.replace("\"version\":1,", "")), ActUnreadable::Damaged);
        assert_eq!(read(&line.replace("\"act\":", "\"more\":1,\"act\":")), ActUnreadable::Damaged);
        assert_eq!(read("{\"version\":1,\"act\":{\"sell_the_key\":{}}}"), ActUnreadable::Damaged);
        assert_eq!(read(&line[..line.len() - 1]), ActUnreadable::Damaged);
        // Nothing of an act is passed over: what is not understood is not agreed to.
        for line in VERSION_1.lines() {
            let more = line.replacen("\":{", "\":{\"more\":1,", 2).replacen("\":{\"more\":1,", "\":{", 1);
            assert_eq!(read(&more), ActUnreadable::Damaged, "{more}");
        }
    }

    #[test]
    fn an_act_that_would_show_a_secret_is_not_stored() {
        use crate::{acts::NewProof, id::ClientId};
        let (client, expires_ms) = (ClientId::generate(), None);
        let act = Act::CreateCredential(CreateCredential { client, proof: NewProof::Made, expires_ms });
        assert!(act.to_stored().is_err());
        let text = format!(
            r#"{{"version":1,"act":{{"create_credential":{{"client":"{client}","proof":"made","expires_ms":null}}}}}}"#
        );
        assert_eq!(Act::from_stored(text.as_bytes()), Err(ActUnreadable::Damaged));
    }
}
