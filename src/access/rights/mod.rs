//! What a client may do, and what it may let others do.
//!
//! The text of [`Rights`] in the database is JSON that names everything: a field more or less is
//! refused.

mod group;
mod named;
mod token_kind;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use group::Group;
pub use named::UnknownName;
pub use token_kind::TokenKind;

use crate::id::ConfigurationId;
use crate::sts::attributes::SupplyGroupCode;

/// Which configurations the rights are about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Scope {
    /// All that there are and will be.
    All,
    /// These, and all of these supply groups.
    Only {
        /// By name.
        #[serde(with = "as_text")]
        ids: BTreeSet<ConfigurationId>,
        /// By supply group, whatever configurations it has or will have.
        #[serde(with = "as_text")]
        supply_groups: BTreeSet<SupplyGroupCode>,
    },
}

impl Scope {
    /// Whether a configuration is in it.
    pub fn admits(&self, id: ConfigurationId, supply_group: SupplyGroupCode) -> bool {
        match self {
            Self::All => true,
            Self::Only { ids, supply_groups } => ids.contains(&id) || supply_groups.contains(&supply_group),
        }
    }

    /// Whether all that `other` names is named here too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only { .. }, Self::All) => false,
            (Self::Only { ids, supply_groups }, Self::Only { ids: theirs, supply_groups: groups }) => {
                ids.is_superset(theirs) && supply_groups.is_superset(groups)
            }
        }
    }
}

/// Which kinds of tokens the rights are about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kinds {
    /// All.
    All,
    /// These.
    Only(BTreeSet<TokenKind>),
}

impl Kinds {
    /// Whether a kind is among them.
    pub fn admits(&self, kind: TokenKind) -> bool {
        match self {
            Self::All => true,
            Self::Only(kinds) => kinds.contains(&kind),
        }
    }

    /// Whether all of `other` are among them.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(kinds), Self::Only(theirs)) => kinds.is_superset(theirs),
        }
    }
}

/// Rights that nobody may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RightsError {
    /// Who decides about keys and clients must not make tokens.
    #[error(
        "who may do `{vending}` must not administer: neither `{administrative}` nor any other such group"
    )]
    VendsAndAdministers {
        /// A group that makes tokens.
        vending: Group,
        /// A group that administers.
        administrative: Group,
    },
    /// To grant is to administer.
    #[error("who may do `{0}` must not grant anything")]
    VendsAndGrants(Group),
    /// Rights to nothing, which look like rights to everything where an empty list means all.
    #[error("a list of configurations or token kinds must not be empty")]
    Nothing,
}

/// What a client may do, with which configurations and tokens, and what it may let others do.
///
/// No value of this type lets one client both administer and vend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Rights(Fields);

/// The text of [`Rights`], not yet checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    may_do: BTreeSet<Group>,
    may_grant: BTreeSet<Group>,
    configurations: Scope,
    token_kinds: Kinds,
}

impl TryFrom<Fields> for Rights {
    type Error = RightsError;

    fn try_from(fields: Fields) -> Result<Self, RightsError> {
        let no_configuration = matches!(&fields.configurations,
            Scope::Only { ids, supply_groups } if ids.is_empty() && supply_groups.is_empty());
        if no_configuration || fields.token_kinds == Kinds::Only(BTreeSet::new()) {
            return Err(RightsError::Nothing);
        }
        if let Some(vending) = fields.may_do.iter().copied().find(|group| group.is_vending()) {
            if let Some(administrative) = fields.may_do.iter().copied().find(|g| g.is_administrative()) {
                return Err(RightsError::VendsAndAdministers { vending, administrative });
            }
            if !fields.may_grant.is_empty() {
                return Err(RightsError::VendsAndGrants(vending));
            }
        }
        Ok(Self(fields))
    }
}

impl From<Rights> for Fields {
    fn from(rights: Rights) -> Self {
        rights.0
    }
}

impl Rights {
    /// Rights that somebody may have.
    ///
    /// # Errors
    /// [`RightsError`].
    pub fn new(
        may_do: BTreeSet<Group>,
        may_grant: BTreeSet<Group>,
        configurations: Scope,
        token_kinds: Kinds,
    ) -> Result<Self, RightsError> {
        Fields { may_do, may_grant, configurations, token_kinds }.try_into()
    }

    /// Everything that administers and reads, nothing that vends; may grant everything.
    pub fn administrator() -> Self {
        use Group::{Audit, Clients, Configurations, Ledger, PublicKeys, ReadLedger, Verify};
        let may_do = [Configurations, PublicKeys, Clients, Ledger, Audit, ReadLedger, Verify].into();
        Self::of_all(may_do, Group::ALL.iter().copied().collect())
    }

    /// Credits and meter tests, and the look at a token.
    pub fn till() -> Self {
        Self::of_all([Group::Vend, Group::Verify].into(), BTreeSet::new())
    }

    /// Reads what was done.
    pub fn auditor() -> Self {
        Self::of_all([Group::Audit, Group::ReadLedger].into(), BTreeSet::new())
    }

    fn of_all(may_do: BTreeSet<Group>, may_grant: BTreeSet<Group>) -> Self {
        Self(Fields { may_do, may_grant, configurations: Scope::All, token_kinds: Kinds::All })
    }

    /// The groups that the client may do.
    pub fn may_do(&self) -> &BTreeSet<Group> {
        &self.0.may_do
    }

    /// The groups that the client may let others do or grant.
    pub fn may_grant(&self) -> &BTreeSet<Group> {
        &self.0.may_grant
    }

    /// With which configurations.
    pub fn configurations(&self) -> &Scope {
        &self.0.configurations
    }

    /// Which kinds of tokens.
    pub fn token_kinds(&self) -> &Kinds {
        &self.0.token_kinds
    }

    /// Whether the client may do what this group holds.
    pub fn may(&self, group: Group) -> bool {
        self.0.may_do.contains(&group)
    }

    /// Whether the client decides about keys or clients.
    pub fn is_administrator(&self) -> bool {
        !self.0.may_grant.is_empty() || self.0.may_do.iter().any(|group| group.is_administrative())
    }

    /// Whether the client could give everybody every right back: such must never die out.
    pub fn keeps_the_keys(&self) -> bool {
        self.may(Group::Clients)
            && self.0.configurations == Scope::All
            && Group::ALL.iter().all(|group| self.0.may_grant.contains(group))
    }

    /// Whether anything is permitted that `old` did not permit.
    pub fn raises(&self, old: &Self) -> bool {
        !self.0.may_do.is_subset(&old.0.may_do)
            || !self.0.may_grant.is_subset(&old.0.may_grant)
            || self.widens(old)
    }

    /// Whether it reaches configurations or tokens that `old` did not reach.
    pub fn widens(&self, old: &Self) -> bool {
        !old.0.configurations.covers(&self.0.configurations) || !old.0.token_kinds.covers(&self.0.token_kinds)
    }
}

/// Sets of what is written as text.
mod as_text {
    use std::collections::BTreeSet;
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<T: Display, S: Serializer>(
        set: &BTreeSet<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(set.iter().map(T::to_string))
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<BTreeSet<T>, D::Error>
    where
        T: FromStr<Err: Display> + Ord,
        D: Deserializer<'de>,
    {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(rights: &Rights) -> String {
        serde_json::to_string(rights).unwrap()
    }

    #[test]
    fn the_text_round_trips_and_is_strict() {
        let id = ConfigurationId::generate();
        let scope = Scope::Only { ids: [id].into(), supply_groups: ["123456".parse().unwrap()].into() };
        let kinds = Kinds::Only([TokenKind::ElectricityCredit].into());
        let rights = Rights::new([Group::Vend].into(), BTreeSet::new(), scope, kinds).unwrap();
        let text = json(&rights);
        assert_eq!(
            text,
            format!(
                r#"{{"may_do":["vend"],"may_grant":[],"configurations":{{"only":{{"ids":["{id}"],"supply_groups":["123456"]}}}},"token_kinds":{{"only":["electricity_credit"]}}}}"#
            )
        );
        assert_eq!(serde_json::from_str::<Rights>(&text).unwrap(), rights);
        for (from, to) in [
            ("\"vend\"", "\"sell\""),
            ("\"vend\"", "\"vend\",\"clients\""),
            ("\"may_grant\":[]", "\"may_grant\":[\"vend\"]"),
            ("\"may_grant\":[],", ""),
            ("\"may_grant\"", "\"more\":1,\"may_grant\""),
            ("123456", "12345"),
            ("[\"electricity_credit\"]", "[]"),
        ] {
            let bad = text.replacen(from, to, 1);
            assert!(serde_json::from_str::<Rights>(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nobody_administers_and_vends() {
        let all = |groups: &[Group]| groups.iter().copied().collect::<BTreeSet<_>>();
        for vending in Group::ALL.iter().copied().filter(|group| group.is_vending()) {
            for administrative in Group::ALL.iter().copied().filter(|group| group.is_administrative()) {
                let may_do = all(&[vending, administrative]);
                assert!(Rights::new(may_do, BTreeSet::new(), Scope::All, Kinds::All).is_err());
            }
            let refused = Rights::new(all(&[vending]), all(&[Group::Audit]), Scope::All, Kinds::All);
            assert_eq!(refused, Err(RightsError::VendsAndGrants(vending)));
        }
        assert!(!Rights::till().is_administrator() && !Rights::auditor().is_administrator());
        assert!(Rights::administrator().is_administrator() && Rights::administrator().keeps_the_keys());
    }

    #[test]
    fn more_of_anything_is_a_raise() {
        let some = |scope: Scope, kinds: Kinds| {
            Rights::new([Group::Vend].into(), BTreeSet::new(), scope, kinds).unwrap()
        };
        let group =
            |sgc: &str| Scope::Only { ids: BTreeSet::new(), supply_groups: [sgc.parse().unwrap()].into() };
        let credit = || Kinds::Only([TokenKind::ElectricityCredit].into());
        let old = some(group("123456"), credit());
        assert!(!old.raises(&old));
        assert!(some(group("123457"), credit()).raises(&old));
        assert!(some(Scope::All, credit()).raises(&old));
        assert!(some(group("123456"), Kinds::All).raises(&old));
        assert!(Rights::till().raises(&old) && !old.raises(&Rights::till()));
        assert!(Rights::administrator().raises(&Rights::auditor()));
    }
}
