//! Rights and limits as options, and as text.

use std::{collections::BTreeSet, str::FromStr};

use clap::Args;

use crate::{
    access::{
        limits::Amount,
        rights::{Group, TokenKind},
    },
    api::v1::{AmountLimit, Group as WireGroup, Limits, Rights, TokenKind as WireKind},
};

#[derive(Args)]
pub(super) struct RightsArguments {
    /// A group that it may do: vend, manage, change_keys, verify, verify_foreign, read_ledger,
    /// configurations, public_keys, clients, ledger, audit
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    allow: Vec<Group>,
    /// A group that it may not do
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    deny: Vec<Group>,
    /// A group that it may let others do or grant
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    grant: Vec<Group>,
    /// A group that it may not let others do or grant
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    no_grant: Vec<Group>,
    /// Only with this configuration, configurations/{uuid}; may stand several times, and replaces
    /// what was before
    #[arg(long, value_name = "NAME")]
    configuration: Vec<String>,
    /// Only with configurations of this supply group, those to come included; as --configuration
    #[arg(long, value_name = "CODE")]
    supply_group: Vec<String>,
    /// With all configurations
    #[arg(long, conflicts_with_all = ["configuration", "supply_group"])]
    all_configurations: bool,
    /// Only tokens of this kind, such as electricity_credit, meter_test or clear_tamper; may stand
    /// several times, and replaces what was before
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    token_kind: Vec<TokenKind>,
    /// Tokens of all kinds
    #[arg(long, conflicts_with = "token_kind")]
    all_token_kinds: bool,
    /// A limit, or `none` in place of its value: tokens_per_day, requests_per_second,
    /// uploads_per_minute, alarm_share (percent), and for each kind of credit KIND.per_token and
    /// KIND.per_day
    #[arg(long, value_name = "LIMIT=VALUE")]
    limit: Vec<Limit>,
}

/// One limit with its value; `None`: not limited.
#[derive(Clone)]
struct Limit {
    name: LimitName,
    value: Option<String>,
}

#[derive(Clone, Copy)]
enum LimitName {
    TokensPerDay,
    RequestsPerSecond,
    UploadsPerMinute,
    AlarmShare,
    PerToken(TokenKind),
    PerDay(TokenKind),
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("expected LIMIT=VALUE")?;
        let name = match (name, name.split_once('.')) {
            ("tokens_per_day", _) => LimitName::TokensPerDay,
            ("requests_per_second", _) => LimitName::RequestsPerSecond,
            ("uploads_per_minute", _) => LimitName::UploadsPerMinute,
            ("alarm_share", _) => LimitName::AlarmShare,
            (_, Some((kind, "per_token"))) => LimitName::PerToken(credit(kind)?),
            (_, Some((kind, "per_day"))) => LimitName::PerDay(credit(kind)?),
            _ => return Err(format!("{name} is no limit")),
        };
        if value == "none" {
            return Ok(Self { name, value: None });
        }
        match name {
            LimitName::TokensPerDay => value.parse::<u64>().map(drop).map_err(|error| error.to_string())?,
            LimitName::PerToken(_) | LimitName::PerDay(_) => {
                value.parse::<Amount>().map(drop).map_err(|error| error.to_string())?;
            }
            _ => value.parse::<u32>().map(drop).map_err(|error| error.to_string())?,
        }
        Ok(Self { name, value: Some(value.to_owned()) })
    }
}

fn credit(name: &str) -> Result<TokenKind, String> {
    let kind: TokenKind =
        name.parse().map_err(|error: crate::access::rights::UnknownName| error.to_string())?;
    if kind.is_credit() { Ok(kind) } else { Err(format!("{kind} transfers no credit")) }
}

impl RightsArguments {
    /// Changes what the options name and leaves the rest.
    pub(super) fn apply(&self, rights: &mut Rights, limits: &mut Limits) {
        changed(&mut rights.may_do, &self.allow, &self.deny);
        changed(&mut rights.may_grant, &self.grant, &self.no_grant);
        if self.all_configurations || !self.configuration.is_empty() || !self.supply_group.is_empty() {
            rights.configurations = self.configuration.clone();
            rights.supply_groups = self.supply_group.clone();
        }
        if self.all_token_kinds || !self.token_kind.is_empty() {
            rights.token_kinds = self.token_kind.iter().map(|kind| wire_kind(*kind).into()).collect();
        }
        for limit in &self.limit {
            limit.apply(limits);
        }
    }
}

fn changed(groups: &mut Vec<i32>, more: &[Group], less: &[Group]) {
    let wire = |group: &Group| i32::from(wire_group(*group));
    let mut set: BTreeSet<i32> = groups.iter().copied().chain(more.iter().map(wire)).collect();
    for group in less {
        set.remove(&wire(group));
    }
    *groups = set.into_iter().collect();
}

fn wire_group(group: Group) -> WireGroup {
    WireGroup::from_str_name(&group.as_str().to_ascii_uppercase()).unwrap_or_default()
}

fn wire_kind(kind: TokenKind) -> WireKind {
    WireKind::from_str_name(&kind.as_str().to_ascii_uppercase()).unwrap_or_default()
}

impl Limit {
    fn apply(&self, limits: &mut Limits) {
        // The text was parsed once: it is a number of its kind.
        let small = || self.value.as_ref().and_then(|text| text.parse().ok());
        match self.name {
            LimitName::TokensPerDay => {
                limits.tokens_per_day = self.value.as_ref().and_then(|text| text.parse().ok());
            }
            LimitName::RequestsPerSecond => limits.requests_per_second = small(),
            LimitName::UploadsPerMinute => limits.uploads_per_minute = small(),
            LimitName::AlarmShare => limits.alarm_share_percent = small(),
            LimitName::PerToken(kind) => {
                amount(limits, kind).per_token = self.value.clone().unwrap_or_default();
            }
            LimitName::PerDay(kind) => amount(limits, kind).per_day = self.value.clone().unwrap_or_default(),
        }
    }
}

/// The limits of a kind, added if there were none.
fn amount(limits: &mut Limits, kind: TokenKind) -> &mut AmountLimit {
    let token_kind = i32::from(wire_kind(kind));
    let at = limits.amounts.iter().position(|limit| limit.token_kind == token_kind);
    let at = at.unwrap_or_else(|| {
        limits.amounts.push(AmountLimit { token_kind, ..AmountLimit::default() });
        limits.amounts.len() - 1
    });
    &mut limits.amounts[at]
}

/// May do, may grant, configurations, token kinds.
pub(super) fn rights_text(rights: Option<&Rights>) -> (String, String, String, String) {
    let Some(rights) = rights else { return Default::default() };
    let group = |number: &i32| {
        WireGroup::try_from(*number).map(|group| group.as_str_name().to_ascii_lowercase()).unwrap_or_default()
    };
    let groups = |numbers: &[i32]| numbers.iter().map(group).collect::<Vec<_>>().join(", ");
    let mut scope = rights.configurations.clone();
    scope.extend(rights.supply_groups.iter().map(|code| format!("supply group {code}")));
    let kinds: Vec<String> = rights.token_kinds.iter().map(|number| kind_text(*number)).collect();
    let or_all = |list: Vec<String>| if list.is_empty() { "all".to_owned() } else { list.join(", ") };
    (groups(&rights.may_do), groups(&rights.may_grant), or_all(scope), or_all(kinds))
}

fn kind_text(number: i32) -> String {
    WireKind::try_from(number).map(|kind| kind.as_str_name().to_ascii_lowercase()).unwrap_or_default()
}

/// Limits as they are written as options.
pub(super) fn limits_text(limits: Option<&Limits>) -> String {
    let Some(limits) = limits else { return String::new() };
    let mut texts = Vec::new();
    for limit in &limits.amounts {
        let kind = kind_text(limit.token_kind);
        for (name, value) in [("per_token", &limit.per_token), ("per_day", &limit.per_day)] {
            if !value.is_empty() {
                texts.push(format!("{kind}.{name}={value}"));
            }
        }
    }
    let numbers = [
        ("tokens_per_day", limits.tokens_per_day),
        ("requests_per_second", limits.requests_per_second.map(u64::from)),
        ("uploads_per_minute", limits.uploads_per_minute.map(u64::from)),
        ("alarm_share", limits.alarm_share_percent.map(u64::from)),
    ];
    texts.extend(numbers.iter().filter_map(|(name, value)| value.map(|value| format!("{name}={value}"))));
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_set_and_taken_away() {
        let mut limits = Limits::default();
        let set = |limits: &mut Limits, text: &str| text.parse::<Limit>().unwrap().apply(limits);
        for text in ["gas_credit.per_token=12.5", "gas_credit.per_day=100", "tokens_per_day=7"] {
            set(&mut limits, text);
        }
        assert_eq!(
            limits_text(Some(&limits)),
            "gas_credit.per_token=12.5, gas_credit.per_day=100, tokens_per_day=7"
        );
        for text in ["gas_credit.per_token=none", "gas_credit.per_day=none", "tokens_per_day=none"] {
            set(&mut limits, text);
        }
        assert_eq!(limits_text(Some(&limits)), "none");
        for bad in [
            "",
            "tokens_per_day",
            "tokens=1",
            "clear_credit.per_day=1",
            "gas_credit.per_day=x",
            "alarm_share=-1",
        ] {
            assert!(bad.parse::<Limit>().is_err(), "{bad}");
        }
    }

    #[test]
    fn groups_are_added_and_taken_away() {
        let mut groups = vec![WireGroup::Vend.into(), WireGroup::Verify.into()];
        changed(&mut groups, &[Group::Manage], &[Group::Verify, Group::Audit]);
        assert_eq!(groups, [i32::from(WireGroup::Vend), WireGroup::Manage.into()]);
    }
}
