//! What each method of the API needs, in one table. A method that is not here is not served.

use super::rights::{Group, Rights};
use super::{Caller, Denied};

/// What a caller needs for a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing, not even a credential.
    Open,
    /// A credential.
    Authenticated,
    /// Permission for this group.
    Group(Group),
    /// Permission for any of these groups; the content says which is needed in the end.
    AnyOf(&'static [Group]),
}

/// Groups whose holders may read their own tokens.
const READS_OWN_TOKENS: &[Group] = &[Group::Vend, Group::Manage, Group::ChangeKeys, Group::ReadLedger];

/// Groups that issue by a common method.
const ISSUES: &[Group] = &[Group::Vend, Group::Manage];

/// Groups whose holders see who is who.
const SEES_CLIENTS: &[Group] = &[Group::Clients, Group::Audit];

/// Groups whose holders may play with a meter in software.
const SIMULATES: &[Group] = &[Group::Verify, Group::Configurations];

/// Groups whose holders see tokens, and may have files of them read.
const READS_TOKEN_FILES: &[Group] =
    &[Group::Vend, Group::Manage, Group::ChangeKeys, Group::ReadLedger, Group::Verify];

/// Groups of acts that may need several persons.
const ADMINISTERS: &[Group] = &[Group::Configurations, Group::PublicKeys, Group::Clients, Group::Ledger];

/// Groups whose holders see what waits for approval.
const SEES_APPROVALS: &[Group] =
    &[Group::Configurations, Group::PublicKeys, Group::Clients, Group::Ledger, Group::Audit];

const METHODS: &[(&str, Need)] = &[
    // A load balancer has no credential.
    ("/grpc.health.v1.Health/Check", Need::Open),
    ("/grpc.health.v1.Health/List", Need::Open),
    ("/grpc.health.v1.Health/Watch", Need::Open),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Need::Authenticated),
    // What older tools ask.
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Need::Authenticated),
    ("/vendkey.v1.TokenService/IssueToken", Need::AnyOf(ISSUES)),
    ("/vendkey.v1.TokenService/BatchIssueTokens", Need::AnyOf(ISSUES)),
    ("/vendkey.v1.TokenService/StreamTokens", Need::AnyOf(ISSUES)),
    ("/vendkey.v1.TokenService/GetIssuedToken", Need::AnyOf(READS_OWN_TOKENS)),
    ("/vendkey.v1.TokenService/ListIssuedTokens", Need::AnyOf(READS_OWN_TOKENS)),
    ("/vendkey.v1.TokenService/IssueKeyChange", Need::Group(Group::ChangeKeys)),
    ("/vendkey.v1.TokenService/VerifyToken", Need::Group(Group::Verify)),
    ("/vendkey.v1.ConfigurationService/UploadConfiguration", Need::Group(Group::Configurations)),
    ("/vendkey.v1.ConfigurationService/ImportSealedConfiguration", Need::Group(Group::Configurations)),
    ("/vendkey.v1.ConfigurationService/GetConfiguration", Need::Authenticated),
    ("/vendkey.v1.ConfigurationService/ListConfigurations", Need::Authenticated),
    ("/vendkey.v1.ConfigurationService/EnableConfiguration", Need::Group(Group::Configurations)),
    ("/vendkey.v1.ConfigurationService/DisableConfiguration", Need::Group(Group::Configurations)),
    ("/vendkey.v1.ConfigurationService/ScheduleDestroyConfiguration", Need::Group(Group::Configurations)),
    ("/vendkey.v1.ConfigurationService/RestoreConfiguration", Need::Group(Group::Configurations)),
    ("/vendkey.v1.ConfigurationService/AllowKeyChange", Need::Group(Group::Configurations)),
    ("/vendkey.v1.ConfigurationService/ForbidKeyChange", Need::Group(Group::Configurations)),
    ("/vendkey.v1.ConfigurationService/ListKeyChangePairs", Need::Authenticated),
    ("/vendkey.v1.ConfigurationService/GetCapabilities", Need::Authenticated),
    ("/vendkey.v1.ConfigurationService/GetServerKey", Need::Authenticated),
    ("/vendkey.v1.PublicKeyService/RegisterPublicKey", Need::Group(Group::PublicKeys)),
    ("/vendkey.v1.PublicKeyService/GetPublicKey", Need::Authenticated),
    ("/vendkey.v1.PublicKeyService/ListPublicKeys", Need::Authenticated),
    ("/vendkey.v1.PublicKeyService/EnablePublicKey", Need::Group(Group::PublicKeys)),
    ("/vendkey.v1.PublicKeyService/DisablePublicKey", Need::Group(Group::PublicKeys)),
    ("/vendkey.v1.ClientService/GetCaller", Need::Authenticated),
    ("/vendkey.v1.ClientService/CreateClient", Need::Group(Group::Clients)),
    ("/vendkey.v1.ClientService/GetClient", Need::AnyOf(SEES_CLIENTS)),
    ("/vendkey.v1.ClientService/ListClients", Need::AnyOf(SEES_CLIENTS)),
    ("/vendkey.v1.ClientService/UpdateClient", Need::Group(Group::Clients)),
    ("/vendkey.v1.ClientService/EnableClient", Need::Group(Group::Clients)),
    ("/vendkey.v1.ClientService/DisableClient", Need::Group(Group::Clients)),
    ("/vendkey.v1.ClientService/CreateCredential", Need::Group(Group::Clients)),
    ("/vendkey.v1.ClientService/ListCredentials", Need::AnyOf(SEES_CLIENTS)),
    ("/vendkey.v1.ClientService/EnableCredential", Need::Group(Group::Clients)),
    ("/vendkey.v1.ClientService/DisableCredential", Need::Group(Group::Clients)),
    ("/vendkey.v1.ClientService/SetCredentialExpiry", Need::Group(Group::Clients)),
    ("/vendkey.v1.LedgerService/GetLedgerState", Need::AnyOf(&[Group::Ledger, Group::Audit])),
    (
        "/vendkey.v1.LedgerService/GetVendingReport",
        Need::AnyOf(&[Group::ReadLedger, Group::Ledger, Group::Audit]),
    ),
    ("/vendkey.v1.LedgerService/SeedMeters", Need::Group(Group::Ledger)),
    ("/vendkey.v1.LedgerService/AcceptClock", Need::Group(Group::Ledger)),
    ("/vendkey.v1.LedgerService/AcceptRestore", Need::Group(Group::Ledger)),
    ("/vendkey.v1.LedgerService/LowerLastTid", Need::Group(Group::Ledger)),
    // Who may vote on an act is looked at with the act: whoever may do it himself.
    ("/vendkey.v1.ApprovalService/GetApproval", Need::AnyOf(SEES_APPROVALS)),
    ("/vendkey.v1.ApprovalService/ListApprovals", Need::AnyOf(SEES_APPROVALS)),
    ("/vendkey.v1.ApprovalService/Approve", Need::AnyOf(ADMINISTERS)),
    ("/vendkey.v1.ApprovalService/Reject", Need::AnyOf(ADMINISTERS)),
    ("/vendkey.v1.ServerService/GetServerState", Need::Authenticated),
    ("/vendkey.v1.ServerService/ListServers", Need::AnyOf(&[Group::Ledger, Group::Audit])),
    ("/vendkey.v1.SimulatorService/MakeMeter", Need::AnyOf(SIMULATES)),
    ("/vendkey.v1.SimulatorService/MakeToken", Need::AnyOf(SIMULATES)),
    ("/vendkey.v1.SimulatorService/MakeKeyChange", Need::AnyOf(SIMULATES)),
    ("/vendkey.v1.SimulatorService/EnterToken", Need::AnyOf(SIMULATES)),
    ("/vendkey.v1.TokenFileService/ReadTokenFiles", Need::AnyOf(READS_TOKEN_FILES)),
    ("/vendkey.v1.AuditService/ListEvents", Need::Group(Group::Audit)),
    ("/vendkey.v1.AuditService/GetCheckpoint", Need::Group(Group::Audit)),
];

/// What a method needs, by its full path (`/package.Service/Method`). `None`: there is no such
/// method.
pub fn need(path: &str) -> Option<Need> {
    METHODS.iter().find(|(method, _)| *method == path).map(|(_, need)| *need)
}

/// Whether a call of the method may change anything. Of a lost answer of others nobody has to ask
/// what became of it.
pub fn may_change(path: &str) -> bool {
    let (service, name) = path.rsplit_once('/').unwrap_or_default();
    let reads = ["Get", "List", "Verify", "Read"].iter().any(|verb| name.starts_with(verb));
    service.starts_with("/vendkey.") && !reads
}

/// Every method with what it needs.
pub fn methods() -> &'static [(&'static str, Need)] {
    METHODS
}

impl Need {
    /// Whether these rights are enough.
    pub fn admits(self, rights: &Rights) -> bool {
        match self {
            Self::Open | Self::Authenticated => true,
            Self::Group(group) => rights.may(group),
            Self::AnyOf(groups) => groups.iter().any(|group| rights.may(*group)),
        }
    }

    /// Refuses a caller who lacks it.
    ///
    /// # Errors
    /// [`Denied::Group`], [`Denied::AnyOf`].
    pub fn met_by(self, caller: &Caller) -> Result<(), Denied> {
        match self {
            Self::Group(group) => caller.may(group),
            Self::AnyOf(groups) if !self.admits(&caller.rights) => Err(Denied::AnyOf(groups)),
            Self::Open | Self::Authenticated | Self::AnyOf(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_anything_needs_a_permission() {
        for (method, need) in METHODS.iter().filter(|(method, _)| method.starts_with("/vendkey.")) {
            let permits = matches!(need, Need::Group(_) | Need::AnyOf([_, ..]));
            assert!(permits || !may_change(method), "{method} is open to every client");
            assert_ne!(*need, Need::Open, "{method} needs no credential");
        }
    }
}
