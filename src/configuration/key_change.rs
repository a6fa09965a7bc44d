//! Which key changes administrators allowed. A set carries a decoder key to whoever knows the
//! source key, so two uploads never imply it.

use thiserror::Error;

use super::ConfigurationState;
use crate::audit::{Actor, Change, NewAct};
use crate::id::{ClientId, ConfigurationId};

/// From which configuration to which a meter may be carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyChangePair {
    /// Under whose key the meter is.
    pub source: ConfigurationId,
    /// Under whose key it comes.
    pub target: ConfigurationId,
}

/// A pair that is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedKeyChange {
    /// The pair.
    pub pair: KeyChangePair,
    /// Who allowed it.
    pub allowed_by: ClientId,
    /// When.
    pub created_ms: i64,
}

/// Why a pair is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyChangePairRefusal {
    /// There is no such configuration.
    #[error("there is no configuration {0}")]
    NotFound(ConfigurationId),
    /// A key that is gone or going takes no meters and gives none.
    #[error("a configuration of the pair is {0}")]
    WrongState(ConfigurationState),
}

/// Allows a pair between configurations in these states.
///
/// # Errors
/// [`KeyChangePairRefusal`].
pub fn allow(
    pair: KeyChangePair,
    source: Option<ConfigurationState>,
    target: Option<ConfigurationState>,
    by: ClientId,
    actor: Actor,
    now_ms: i64,
) -> Result<Change<AllowedKeyChange>, KeyChangePairRefusal> {
    for (id, state) in [(pair.source, source), (pair.target, target)] {
        match state.ok_or(KeyChangePairRefusal::NotFound(id))? {
            state @ (ConfigurationState::DestroyScheduled | ConfigurationState::Destroyed) => {
                return Err(KeyChangePairRefusal::WrongState(state));
            }
            ConfigurationState::Importing | ConfigurationState::Enabled | ConfigurationState::Disabled => {}
        }
    }
    let details = [
        ("allowed_by", by.to_string()),
        ("source", pair.source.to_string()),
        ("target", pair.target.to_string()),
    ];
    let act = NewAct { kind: "key_change.allowed", actor, details: details.into(), now_ms };
    Ok(Change { row: AllowedKeyChange { pair, allowed_by: by, created_ms: now_ms }, act })
}

/// The act of forbidding a pair that was allowed.
pub fn forbid(pair: KeyChangePair, actor: Actor, now_ms: i64) -> NewAct {
    let details = [("source", pair.source.to_string()), ("target", pair.target.to_string())];
    NewAct { kind: "key_change.forbidden", actor, details: details.into(), now_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_gone_or_going_takes_no_meters_and_gives_none() {
        use ConfigurationState::{DestroyScheduled, Destroyed, Disabled, Enabled, Importing};
        let pair = KeyChangePair { source: ConfigurationId::generate(), target: ConfigurationId::generate() };
        let allowed = |source, target| {
            allow(pair, source, target, ClientId::generate(), Actor::Local, 1).map(|change| change.row.pair)
        };
        for state in [Importing, Enabled, Disabled] {
            assert_eq!(allowed(Some(state), Some(Enabled)), Ok(pair));
            assert_eq!(allowed(Some(Enabled), Some(state)), Ok(pair));
        }
        for state in [DestroyScheduled, Destroyed] {
            let refused = Err(KeyChangePairRefusal::WrongState(state));
            assert_eq!(allowed(Some(state), Some(Enabled)), refused);
            assert_eq!(allowed(Some(Enabled), Some(state)), refused);
        }
        assert_eq!(allowed(None, Some(Enabled)), Err(KeyChangePairRefusal::NotFound(pair.source)));
        assert_eq!(allowed(Some(Enabled), None), Err(KeyChangePairRefusal::NotFound(pair.target)));
    }
}
