//! Whether a caller may do what it asks for. One place says no, and names what is missing.

use crate::{
    access::Caller,
    access::rights::{Group, Rights, Scope, TokenKind},
    id::ConfigurationId,
    sts::attributes::SupplyGroupCode,
};

/// What a client is not permitted. The caller learns which permission is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A group of methods.
    #[error("this client may not `{0}`")]
    Group(Group),
    /// All of these groups, each of which would do.
    #[error("this client may do none of {}", names(.0))]
    AnyOf(&'static [Group]),
    /// A configuration outside its scope.
    #[error("this client's rights are not about configurations/{0}")]
    Configuration(ConfigurationId),
    /// A supply group outside its scope.
    #[error("this client's rights are not about supply group {0}")]
    SupplyGroup(SupplyGroupCode),
    /// A kind of token.
    #[error("this client may not issue tokens of kind {0}")]
    Kind(TokenKind),
    /// Letting others do something.
    #[error("this client may not grant `{0}`")]
    Grant(Group),
    /// Letting others reach more than one reaches oneself.
    #[error("this client may not grant rights about more configurations or token kinds than its own")]
    GrantBeyondScope,
    /// Deciding about oneself.
    #[error("nobody changes their own rights or limits: another administrator must")]
    Own,
}

impl Denied {
    /// The one group that is missing, where it is one.
    pub fn missing(&self) -> Option<Group> {
        match self {
            Self::Group(group) | Self::Grant(group) => Some(*group),
            _ => None,
        }
    }
}

fn names(groups: &[Group]) -> String {
    groups.iter().map(|group| format!("`{group}`")).collect::<Vec<_>>().join(", ")
}

impl Caller {
    /// Refuses whoever may not do this.
    ///
    /// # Errors
    /// [`Denied::Group`].
    pub fn may(&self, group: Group) -> Result<(), Denied> {
        if self.rights.may(group) { Ok(()) } else { Err(Denied::Group(group)) }
    }

    /// Refuses what lies outside the caller's scope.
    ///
    /// # Errors
    /// [`Denied::Configuration`].
    pub fn may_use(&self, id: ConfigurationId, supply_group: SupplyGroupCode) -> Result<(), Denied> {
        if self.rights.configurations().admits(id, supply_group) {
            Ok(())
        } else {
            Err(Denied::Configuration(id))
        }
    }

    /// Refuses a configuration that is yet to come outside the caller's scope.
    ///
    /// # Errors
    /// [`Denied::SupplyGroup`].
    pub fn may_bring(&self, supply_group: SupplyGroupCode) -> Result<(), Denied> {
        match self.rights.configurations() {
            Scope::All => Ok(()),
            Scope::Only { supply_groups, .. } if supply_groups.contains(&supply_group) => Ok(()),
            Scope::Only { .. } => Err(Denied::SupplyGroup(supply_group)),
        }
    }

    /// Refuses tokens of a kind that the caller may not issue.
    ///
    /// # Errors
    /// [`Denied::Group`], [`Denied::Kind`].
    pub fn may_issue(&self, kind: TokenKind) -> Result<(), Denied> {
        self.may(kind.group())?;
        if self.rights.token_kinds().admits(kind) { Ok(()) } else { Err(Denied::Kind(kind)) }
    }

    /// Refuses to let somebody have `new` rights in place of `old` ones, unless the caller may
    /// grant whatever is more.
    ///
    /// # Errors
    /// [`Denied::Grant`], [`Denied::GrantBeyondScope`].
    pub fn may_grant(&self, old: Option<&Rights>, new: &Rights) -> Result<(), Denied> {
        let had = |group: &Group, set: fn(&Rights) -> &std::collections::BTreeSet<Group>| {
            old.is_some_and(|old| set(old).contains(group))
        };
        let widened = old.is_none_or(|old| new.widens(old));
        // Whoever reaches further reaches further with all that they may do.
        let more = new.may_do().iter().filter(|group| widened || !had(group, Rights::may_do));
        let more = more.chain(new.may_grant().iter().filter(|group| !had(group, Rights::may_grant)));
        for group in more {
            if !self.rights.may_grant().contains(group) {
                return Err(Denied::Grant(*group));
            }
        }
        let within = self.rights.configurations().covers(new.configurations())
            && self.rights.token_kinds().covers(new.token_kinds());
        if widened && !within { Err(Denied::GrantBeyondScope) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::*;
    use crate::access::{limits::Limits, rights::Kinds};
    use crate::id::ClientId;

    fn caller(rights: Rights) -> Caller {
        Caller {
            client: ClientId::generate(),
            key_id: "0123456789abcdef".parse().unwrap(),
            rights: Arc::new(rights),
            limits: Arc::new(Limits::default()),
            approval: None,
        }
    }

    fn of(may_do: &[Group], may_grant: &[Group], scope: Scope) -> Rights {
        let set = |groups: &[Group]| groups.iter().copied().collect::<BTreeSet<_>>();
        Rights::new(set(may_do), set(may_grant), scope, Kinds::All).unwrap()
    }

    fn only(sgc: &str) -> Scope {
        Scope::Only { ids: BTreeSet::new(), supply_groups: [sgc.parse().unwrap()].into() }
    }

    #[test]
    fn only_what_one_may_grant_is_granted() {
        let chief = caller(of(&[Group::Clients], &[Group::Vend, Group::Verify], Scope::All));
        assert_eq!(chief.may_grant(None, &Rights::till()), Ok(()));
        assert_eq!(
            chief.may_grant(None, &of(&[Group::Manage], &[], Scope::All)),
            Err(Denied::Grant(Group::Manage))
        );
        assert_eq!(
            chief.may_grant(None, &of(&[], &[Group::Audit], Scope::All)),
            Err(Denied::Grant(Group::Audit))
        );
        // What was there already may stay, and may shrink.
        let old = of(&[Group::Manage, Group::Vend], &[], Scope::All);
        assert_eq!(chief.may_grant(Some(&old), &old), Ok(()));
        assert_eq!(chief.may_grant(Some(&old), &of(&[Group::Manage], &[], only("123456"))), Ok(()));
        // But reach no further.
        let narrow = of(&[Group::Manage], &[], only("123456"));
        assert_eq!(
            chief.may_grant(Some(&narrow), &of(&[Group::Manage], &[], only("123457"))),
            Err(Denied::Grant(Group::Manage))
        );
    }

    #[test]
    fn nobody_grants_beyond_his_own_scope() {
        let local = caller(of(&[Group::Clients], &[Group::Vend], only("123456")));
        assert_eq!(local.may_grant(None, &of(&[Group::Vend], &[], only("123456"))), Ok(()));
        for scope in [only("123457"), Scope::All] {
            let refused = local.may_grant(None, &of(&[Group::Vend], &[], scope));
            assert_eq!(refused, Err(Denied::GrantBeyondScope));
        }
    }

    #[test]
    fn kinds_and_configurations_are_held_to() {
        let id = ConfigurationId::generate();
        let kinds = Kinds::Only([TokenKind::ElectricityCredit].into());
        let scope = Scope::Only { ids: [id].into(), supply_groups: BTreeSet::new() };
        let till = caller(Rights::new([Group::Vend].into(), BTreeSet::new(), scope, kinds).unwrap());
        assert_eq!(till.may_issue(TokenKind::ElectricityCredit), Ok(()));
        assert_eq!(till.may_issue(TokenKind::WaterCredit), Err(Denied::Kind(TokenKind::WaterCredit)));
        assert_eq!(till.may_issue(TokenKind::ClearCredit), Err(Denied::Group(Group::Manage)));
        let sgc = "123456".parse().unwrap();
        assert_eq!(till.may_use(id, sgc), Ok(()));
        let other = ConfigurationId::generate();
        assert_eq!(till.may_use(other, sgc), Err(Denied::Configuration(other)));
        assert_eq!(till.may_bring(sgc), Err(Denied::SupplyGroup(sgc)));
    }
}
