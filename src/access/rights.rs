//! What a client may do, and what it may let others do.
//!
//! The text of [`Rights`] in the database is JSON that names everything: a field more or less is
//! refused.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::ConfigurationId;
use crate::sts::attributes::SupplyGroupCode;
use crate::sts::token::{Management, Payload, Service};

/// A text that names nothing of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not the name of {1}")]
pub struct UnknownName(String, &'static str);

/// Declares an enum whose variants have names, the same in the database and on the command line.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident, $what:literal { $($(#[$about:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(into = "&'static str", try_from = "String")]
        pub enum $type {
            $($(#[$about])* $variant,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                let found = Self::ALL.iter().find(|known| known.as_str() == text);
                found.copied().ok_or_else(|| UnknownName(text.to_owned(), $what))
            }
        }

        impl From<$type> for &'static str {
            fn from(named: $type) -> Self {
                named.as_str()
            }
        }

        impl TryFrom<String> for $type {
            type Error = UnknownName;

            fn try_from(text: String) -> Result<Self, UnknownName> {
                text.parse()
            }
        }
    };
}

named! {
    /// A group of methods that are permitted together.
    Group, "a group of methods" {
        /// Issue credits and meter tests.
        Vend = "vend",
        /// Issue management tokens: class 2 without key changes.
        Manage = "manage",
        /// Issue key-change sets.
        ChangeKeys = "change_keys",
        /// Ask what a token that was issued here is.
        Verify = "verify",
        /// Look into tokens that were not issued here.
        VerifyForeign = "verify_foreign",
        /// Read the ledger's rows of all clients; one's own need no permission of their own.
        ReadLedger = "read_ledger",
        /// Upload, enable, disable and destroy configurations; allow key changes between them.
        Configurations = "configurations",
        /// Register, enable and disable the keys that sign uploads.
        PublicKeys = "public_keys",
        /// Create and change clients, their rights and their credentials.
        Clients = "clients",
        /// Decide about the ledger: seed meters, accept the clock or a restored database.
        Ledger = "ledger",
        /// Read the audit chain.
        Audit = "audit",
    }
}

impl Group {
    /// Whether it makes its holder an administrator.
    pub fn is_administrative(self) -> bool {
        matches!(self, Self::Configurations | Self::PublicKeys | Self::Clients | Self::Ledger)
    }

    /// Whether it makes tokens that are worth money or carry keys.
    pub fn is_vending(self) -> bool {
        matches!(self, Self::Vend | Self::Manage | Self::ChangeKeys)
    }
}

named! {
    /// A kind of token, by what a request asks for.
    TokenKind, "a kind of token" {
        /// Units of electricity.
        ElectricityCredit = "electricity_credit",
        /// Units of water.
        WaterCredit = "water_credit",
        /// Units of gas.
        GasCredit = "gas_credit",
        /// Units of time.
        TimeCredit = "time_credit",
        /// Currency for electricity.
        ElectricityCurrencyCredit = "electricity_currency_credit",
        /// Currency for water.
        WaterCurrencyCredit = "water_currency_credit",
        /// Currency for gas.
        GasCurrencyCredit = "gas_currency_credit",
        /// Currency for time.
        TimeCurrencyCredit = "time_currency_credit",
        /// Class 1.
        MeterTest = "meter_test",
        /// Set the largest load.
        MaximumPowerLimit = "maximum_power_limit",
        /// Clear a credit register.
        ClearCredit = "clear_credit",
        /// Set the tariff rate.
        TariffRate = "tariff_rate",
        /// Clear a tamper condition.
        ClearTamper = "clear_tamper",
        /// Set the largest difference between phases.
        MaximumPhasePowerUnbalance = "maximum_phase_power_unbalance",
        /// Set the water meter's factor.
        WaterMeterFactor = "water_meter_factor",
        /// The extended functions of STS 202-5.
        Extended = "extended",
    }
}

impl TokenKind {
    /// The kind of a token of class 0 or 2.
    pub fn of(payload: &Payload) -> Self {
        match payload {
            Payload::Credit { service, .. } => match service {
                Service::Electricity => Self::ElectricityCredit,
                Service::Water => Self::WaterCredit,
                Service::Gas => Self::GasCredit,
                Service::Time => Self::TimeCredit,
            },
            Payload::Currency { service, .. } => match service {
                Service::Electricity => Self::ElectricityCurrencyCredit,
                Service::Water => Self::WaterCurrencyCredit,
                Service::Gas => Self::GasCurrencyCredit,
                Service::Time => Self::TimeCurrencyCredit,
            },
            Payload::Management(management) => match management {
                Management::MaximumPowerLimit(_) => Self::MaximumPowerLimit,
                Management::ClearCredit(_) => Self::ClearCredit,
                Management::TariffRate(_) => Self::TariffRate,
                Management::ClearTamper => Self::ClearTamper,
                Management::MaximumPhasePowerUnbalance(_) => Self::MaximumPhasePowerUnbalance,
                Management::WaterMeterFactor(_) => Self::WaterMeterFactor,
                Management::Extended(_) => Self::Extended,
            },
        }
    }

    /// Whether it transfers credit, which amounts limit.
    pub fn is_credit(self) -> bool {
        self < Self::MeterTest
    }

    /// What one must be permitted to do to issue it.
    pub fn group(self) -> Group {
        if self <= Self::MeterTest { Group::Vend } else { Group::Manage }
    }
}

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

    #[test]
    fn kinds_know_their_groups() {
        for kind in TokenKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
            assert_eq!(
                kind.is_credit(),
                kind.as_str().ends_with("_credit") && *kind != TokenKind::ClearCredit
            );
        }
        assert_eq!(TokenKind::MeterTest.group(), Group::Vend);
        assert_eq!(TokenKind::MaximumPowerLimit.group(), Group::Manage);
    }
}
