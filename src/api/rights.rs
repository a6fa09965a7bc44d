//! Rights and limits on the wire: into types that cannot hold a wrong value, and back.

use std::collections::{BTreeMap, BTreeSet};

use super::{parse::Fields, v1};
use crate::access::{
    limits::{Amount, AmountLimits, Limits},
    rights::{Group, Kinds, Rights, Scope, TokenKind},
};

/// Parses rights, or notes what is wrong with them.
pub(super) fn rights(fields: &mut Fields, wire: Option<v1::Rights>) -> Option<Rights> {
    let Some(wire) = wire else {
        fields.fault("rights", "is missing: say at least what the client may do");
        return None;
    };
    let may_do = groups(fields, "rights.may_do", &wire.may_do);
    let may_grant = groups(fields, "rights.may_grant", &wire.may_grant);
    let ids = each(&wire.configurations, |at, name| {
        fields.name(&format!("rights.configurations[{at}]"), "configurations", name)
    });
    let supply_groups = each(&wire.supply_groups, |at, text| {
        fields.take(&format!("rights.supply_groups[{at}]"), text.parse())
    });
    let kinds =
        each(&wire.token_kinds, |at, kind| token_kind(fields, &format!("rights.token_kinds[{at}]"), *kind));
    let (ids, supply_groups, kinds) = (ids?, supply_groups?, kinds?);
    let scope = match ids.is_empty() && supply_groups.is_empty() {
        true => Scope::All,
        false => Scope::Only { ids, supply_groups },
    };
    let kinds = if kinds.is_empty() { Kinds::All } else { Kinds::Only(kinds) };
    fields.take("rights", Rights::new(may_do?, may_grant?, scope, kinds))
}

/// Parses limits, or notes what is wrong with them. None given: no limit.
pub(super) fn limits(fields: &mut Fields, wire: Option<v1::Limits>) -> Option<Limits> {
    let wire = wire.unwrap_or_default();
    let mut amounts = BTreeMap::new();
    for (at, limit) in wire.amounts.iter().enumerate() {
        let field = |name: &str| format!("limits.amounts[{at}].{name}");
        let per_token = amount(fields, &field("per_token"), &limit.per_token);
        let per_day = amount(fields, &field("per_day"), &limit.per_day);
        let kind = token_kind(fields, &field("token_kind"), limit.token_kind)?;
        if amounts.insert(kind, AmountLimits { per_token: per_token?, per_day: per_day? }).is_some() {
            fields.fault(&field("token_kind"), "stands twice");
        }
    }
    let share = wire.alarm_share_percent.map(|share| u8::try_from(share).unwrap_or(u8::MAX));
    let limits =
        Limits::new(amounts, wire.tokens_per_day, wire.requests_per_second, wire.uploads_per_minute, share);
    fields.take("limits", limits)
}

/// Parses a whole list, so that all its faults are noted.
fn each<W, T: Ord>(wire: &[W], mut parse: impl FnMut(usize, &W) -> Option<T>) -> Option<BTreeSet<T>> {
    let parsed: Vec<Option<T>> = wire.iter().enumerate().map(|(at, wire)| parse(at, wire)).collect();
    parsed.into_iter().collect()
}

fn groups(fields: &mut Fields, field: &str, wire: &[i32]) -> Option<BTreeSet<Group>> {
    each(wire, |at, number| {
        let found = v1::Group::try_from(*number).ok().and_then(group);
        fields.take(&format!("{field}[{at}]"), found.ok_or("is no group"))
    })
}

fn token_kind(fields: &mut Fields, field: &str, wire: i32) -> Option<TokenKind> {
    let found = v1::TokenKind::try_from(wire).ok();
    let named = found.and_then(|kind| kind.as_str_name().to_ascii_lowercase().parse().ok());
    fields.take(field, named.ok_or("is no kind of token"))
}

fn amount(fields: &mut Fields, field: &str, text: &str) -> Option<Option<Amount>> {
    if text.is_empty() { Some(None) } else { fields.take(field, text.parse()).map(Some) }
}

/// The group of this name: both sides name them alike.
fn group(wire: v1::Group) -> Option<Group> {
    wire.as_str_name().to_ascii_lowercase().parse().ok()
}

fn wire_group(group: &Group) -> i32 {
    v1::Group::from_str_name(&group.as_str().to_ascii_uppercase()).unwrap_or_default().into()
}

fn wire_kind(kind: &TokenKind) -> i32 {
    v1::TokenKind::from_str_name(&kind.as_str().to_ascii_uppercase()).unwrap_or_default().into()
}

/// Rights as the API shows them.
pub fn rights_shown(rights: &Rights) -> v1::Rights {
    let (configurations, supply_groups) = match rights.configurations() {
        Scope::All => (Vec::new(), Vec::new()),
        Scope::Only { ids, supply_groups } => (
            ids.iter().map(|id| format!("configurations/{id}")).collect(),
            supply_groups.iter().map(ToString::to_string).collect(),
        ),
    };
    v1::Rights {
        may_do: rights.may_do().iter().map(wire_group).collect(),
        may_grant: rights.may_grant().iter().map(wire_group).collect(),
        configurations,
        supply_groups,
        token_kinds: match rights.token_kinds() {
            Kinds::All => Vec::new(),
            Kinds::Only(kinds) => kinds.iter().map(wire_kind).collect(),
        },
    }
}

/// Limits as the API shows them.
pub fn limits_shown(limits: &Limits) -> v1::Limits {
    let text = |amount: Option<Amount>| amount.map(|amount| amount.to_string()).unwrap_or_default();
    let amounts = limits.amounts().iter().map(|(kind, amounts)| v1::AmountLimit {
        token_kind: wire_kind(kind),
        per_token: text(amounts.per_token),
        per_day: text(amounts.per_day),
    });
    v1::Limits {
        amounts: amounts.collect(),
        tokens_per_day: limits.tokens_per_day(),
        requests_per_second: limits.requests_per_second(),
        uploads_per_minute: limits.uploads_per_minute(),
        alarm_share_percent: limits.alarm_share().map(u32::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_have_the_same_names() {
        for of_ours in Group::ALL {
            let wire = v1::Group::try_from(wire_group(of_ours)).unwrap();
            assert_eq!(group(wire), Some(*of_ours));
        }
        for of_ours in TokenKind::ALL {
            assert_eq!(token_kind(&mut Fields::default(), "kind", wire_kind(of_ours)), Some(*of_ours));
        }
    }

    #[test]
    fn rights_and_limits_round_trip() {
        let all = Rights::administrator();
        assert_eq!(rights(&mut Fields::default(), Some(rights_shown(&all))), Some(all));
        let wire = v1::Limits {
            amounts: vec![v1::AmountLimit {
                token_kind: v1::TokenKind::GasCredit.into(),
                per_token: "12.5".into(),
                per_day: String::new(),
            }],
            tokens_per_day: Some(3),
            requests_per_second: Some(2),
            uploads_per_minute: None,
            alarm_share_percent: Some(80),
        };
        let parsed = limits(&mut Fields::default(), Some(wire.clone())).unwrap();
        assert_eq!(limits_shown(&parsed), wire);
    }

    #[test]
    fn every_fault_is_noted() {
        let mut fields = Fields::default();
        let wrong = v1::Rights {
            may_do: vec![0, 99],
            may_grant: vec![],
            configurations: vec!["x".into()],
            supply_groups: vec!["12345".into()],
            token_kinds: vec![99],
        };
        assert_eq!(rights(&mut fields, Some(wrong)), None);
        let wrong = v1::Limits {
            amounts: vec![v1::AmountLimit { token_kind: 1, per_token: "-1".into(), per_day: "x".into() }],
            ..v1::Limits::default()
        };
        assert_eq!(limits(&mut fields, Some(wrong)), None);
        let status = tonic::Status::from(fields.refusal());
        let details = tonic_types::StatusExt::get_error_details(&status);
        assert_eq!(details.bad_request().unwrap().field_violations.len(), 7);
    }
}
