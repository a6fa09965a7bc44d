//! The end of a configuration: scheduled, restored, begun, done.
//!
//! Between the row that says that destruction has begun and the row that says that it is done the
//! HSM destroys the keys. Whatever dies there is due again, and done again.

use super::{
    Configuration, ConfigurationRefusal, ConfigurationState as State, KeyState, TokenKey, Transition,
};
use crate::audit::Actor;
use crate::hsm::TokenId;

/// What a server has seen of keys that are to be destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// The tokens that were seen to hold none.
    pub tokens: Vec<TokenId>,
    /// The first token of the server.
    pub first: TokenId,
    /// Whether these are all tokens of the server: one that did not answer may hold a key of which no
    /// row tells, where the answer to an import was lost.
    pub all: bool,
}

impl Configuration {
    /// Schedules the destruction of a disabled configuration. One that is scheduled already keeps
    /// its time.
    ///
    /// # Errors
    /// [`ConfigurationRefusal::WrongState`].
    pub fn schedule_destruction(&self, destroy_ms: i64, actor: Actor, now_ms: i64) -> Transition {
        match self.state {
            State::Disabled => {}
            State::DestroyScheduled => return Ok(None),
            state => return Err(ConfigurationRefusal::WrongState { state }),
        }
        let row = Self {
            state: State::DestroyScheduled,
            destroy_ms: Some(destroy_ms),
            updated_ms: now_ms,
            ..self.clone()
        };
        let details = [("destroy_ms", destroy_ms.to_string()), ("kcv", self.kcv_text())];
        Ok(Some(row.told("configuration.destroy_scheduled", details, actor, now_ms)))
    }

    /// Takes a scheduled destruction back; the configuration is disabled then. One that is not
    /// scheduled stays as it is.
    ///
    /// # Errors
    /// [`ConfigurationRefusal::WrongState`]: once destruction has begun its key may be gone.
    pub fn restore(&self, actor: Actor, now_ms: i64) -> Transition {
        match self.state {
            State::Enabled | State::Disabled => return Ok(None),
            State::DestroyScheduled if self.destroy_begun() => {
                return Err(ConfigurationRefusal::WrongState { state: State::Destroyed });
            }
            State::DestroyScheduled => {}
            state => return Err(ConfigurationRefusal::WrongState { state }),
        }
        let row = Self { state: State::Disabled, destroy_ms: None, updated_ms: now_ms, ..self.clone() };
        Ok(Some(row.told("configuration.restored", [], actor, now_ms)))
    }

    /// Whether its keys are to be destroyed now, or their destruction was begun and did not end.
    pub fn is_due(&self, now_ms: i64) -> bool {
        let time_has_come = self.destroy_ms.is_some_and(|destroy_ms| destroy_ms <= now_ms);
        self.state == State::DestroyScheduled && (self.destroy_begun() || time_has_come)
    }

    /// The point of no return: from here on it cannot be restored.
    ///
    /// # Errors
    /// [`ConfigurationRefusal::WrongState`], also before its time.
    pub fn begin_destruction(&self, now_ms: i64) -> Transition {
        if !self.is_due(now_ms) {
            return Err(ConfigurationRefusal::WrongState { state: self.state });
        }
        if self.destroy_begun() {
            return Ok(None);
        }
        let row = Self { destroy_begun_ms: Some(now_ms), updated_ms: now_ms, ..self.clone() };
        Ok(Some(row.told("configuration.destruction_begun", [], Actor::Local, now_ms)))
    }

    /// Keys were seen to be gone. What is left of their masks in the row goes too; attributes and
    /// check values stay. It is destroyed once no token holds its key as far as its row tells, and the
    /// server has seen so of all its tokens.
    ///
    /// # Errors
    /// [`ConfigurationRefusal::WrongState`] unless destruction was begun.
    pub fn finish_destruction(&self, gone: &Gone, now_ms: i64) -> Transition {
        match self.state {
            State::Destroyed => return Ok(None),
            State::DestroyScheduled if self.destroy_begun() => {}
            state => return Err(ConfigurationRefusal::WrongState { state }),
        }
        let is_gone = |key: &TokenKey| gone.tokens.iter().any(|token| key.is_on(*token, gone.first));
        let after = |key: &TokenKey| if is_gone(key) { key.destroyed() } else { *key };
        let mut keys: Vec<TokenKey> = self.keys.iter().map(after).collect();
        keys.sort_by_key(|key| key.state);
        if gone.all && keys.iter().all(|key| key.state == KeyState::Destroyed) {
            let row = Self {
                state: State::Destroyed,
                keys,
                destroy_ms: Some(now_ms),
                updated_ms: now_ms,
                ..self.clone()
            };
            let details = [("kcv", self.kcv_text())];
            return Ok(Some(row.told("configuration.destroyed", details, Actor::Local, now_ms)));
        }
        if keys == self.keys {
            return Ok(None);
        }
        let names = gone.tokens.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let row = Self { keys, updated_ms: now_ms, ..self.clone() };
        Ok(Some(row.told("configuration.keys_destroyed", [("tokens", names)], Actor::Local, now_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::{
        Configuration, FinishedState, ImportedFields, KeyState, TokenKey, Warning, tests::upload,
    };

    const NOW: i64 = 1_795_298_400_000;
    const KEY: TokenKey = TokenKey { token: None, kcv: [1, 2, 3], mask: None, state: KeyState::Held };
    const TOKENS: [TokenId; 2] = [TokenId([1; 8]), TokenId([2; 8])];

    fn finish(row: &Configuration, now_ms: i64) -> Transition {
        row.finish_destruction(&gone(&TOKENS[..1], true), now_ms)
    }

    fn gone(tokens: &[TokenId], all: bool) -> Gone {
        Gone { tokens: tokens.to_vec(), first: TOKENS[0], all }
    }

    fn imported(state: FinishedState) -> Configuration {
        let fields = ImportedFields { key: Some(KEY), state };
        upload().begin().row.finish_import(&fields, Actor::Local, NOW).unwrap().row
    }

    fn row(transition: Transition) -> Configuration {
        transition.unwrap().expect("it changes").row
    }

    fn is(state: State) -> Transition {
        Err(ConfigurationRefusal::WrongState { state })
    }

    #[test]
    fn the_way_to_the_end_and_back() {
        let enabled = imported(FinishedState::Enabled);
        assert_eq!(enabled.schedule_destruction(NOW + 50, Actor::Local, NOW), is(State::Enabled));
        let disabled = row(enabled.set_enabled(false, Actor::Local, NOW));
        let scheduled = row(disabled.schedule_destruction(NOW + 50, Actor::Local, NOW));
        assert_eq!(scheduled.destroy_ms, Some(NOW + 50));
        let again = scheduled.schedule_destruction(NOW + 99, Actor::Local, NOW);
        assert_eq!(again, Ok(None), "it keeps its time");
        assert_eq!(scheduled.set_enabled(true, Actor::Local, NOW), is(State::DestroyScheduled));
        assert_eq!(scheduled.begin_destruction(NOW + 49), is(State::DestroyScheduled), "before its time");
        let restored = row(scheduled.restore(Actor::Local, NOW));
        assert_eq!((restored.state, restored.destroy_ms), (State::Disabled, None));
        assert_eq!(restored.begin_destruction(i64::MAX), is(State::Disabled));

        assert!(!scheduled.is_due(NOW + 49) && scheduled.is_due(NOW + 50));
        assert_eq!(finish(&scheduled, NOW + 50), is(State::DestroyScheduled));
        let begun = row(scheduled.begin_destruction(NOW + 50));
        // The clock goes back: what was begun is ended all the same, and never taken back.
        assert!(begun.is_due(NOW));
        assert_eq!(begun.begin_destruction(NOW), Ok(None));
        assert_eq!(begun.restore(Actor::Local, NOW), is(State::Destroyed));
        let done = row(finish(&begun, NOW + 60));
        assert_eq!(
            (done.state, done.destroy_ms, done.kcv()),
            (State::Destroyed, Some(NOW + 60), Some([1, 2, 3]))
        );
        assert_eq!(finish(&done, NOW + 70), Ok(None));
        assert_eq!(done.restore(Actor::Local, NOW), is(State::Destroyed));
        assert!(!done.is_due(i64::MAX));
    }

    #[test]
    fn it_is_destroyed_once_every_token_was_seen_to_hold_nothing() {
        let [first, second] = TOKENS;
        let enabled = imported(FinishedState::Enabled);
        let on_second = TokenKey { token: Some(second), ..KEY };
        let enabled = row(enabled.add_key(on_second, first, Actor::Local, NOW));
        let disabled = row(enabled.set_enabled(false, Actor::Local, NOW));
        let scheduled = row(disabled.schedule_destruction(NOW, Actor::Local, NOW));
        let begun = row(scheduled.begin_destruction(NOW));
        let half = row(begun.finish_destruction(&gone(&[first], true), NOW + 1));
        assert_eq!((half.state, half.is_due(NOW)), (State::DestroyScheduled, true));
        assert_eq!(half.keys, [on_second, KEY.destroyed()]);
        assert_eq!(half.finish_destruction(&gone(&[first], true), NOW + 2), Ok(None), "nothing new");
        let done = row(half.finish_destruction(&gone(&TOKENS, true), NOW + 3));
        assert_eq!((done.state, done.kcv()), (State::Destroyed, Some([1, 2, 3])));
        assert!(done.keys.iter().all(|key| key.state == KeyState::Destroyed));
    }

    #[test]
    fn a_token_that_did_not_answer_may_hold_a_key_that_no_row_names() {
        let disabled = row(imported(FinishedState::Enabled).set_enabled(false, Actor::Local, NOW));
        let begun = row(row(disabled.schedule_destruction(NOW, Actor::Local, NOW)).begin_destruction(NOW));
        let half = row(begun.finish_destruction(&gone(&TOKENS[..1], false), NOW + 1));
        assert_eq!((half.state, half.is_due(NOW)), (State::DestroyScheduled, true));
        assert_eq!(half.keys, [KEY.destroyed()]);
        assert_eq!(half.finish_destruction(&gone(&TOKENS[..1], false), NOW + 2), Ok(None), "nothing new");
        let done = row(half.finish_destruction(&gone(&TOKENS, true), NOW + 3));
        assert_eq!((done.state, done.kcv()), (State::Destroyed, Some([1, 2, 3])));
    }

    #[test]
    fn what_cannot_be_served_is_never_enabled() {
        let reason = Warning { code: "KEY_LENGTH".into(), message: "too short".into() };
        let mut new = upload();
        new.unservable = vec![reason.clone()];
        let begun = new.begin().row;
        let fields = |state| ImportedFields { key: Some(KEY), state };
        let refused = begun.finish_import(&fields(FinishedState::Enabled), Actor::Local, NOW);
        let never = ConfigurationRefusal::NotServable { reasons: vec![reason] };
        assert_eq!(refused, Err(never.clone()));
        let disabled = begun.finish_import(&fields(FinishedState::Disabled), Actor::Local, NOW).unwrap().row;
        assert_eq!(disabled.set_enabled(true, Actor::Local, NOW), Err(never));
        assert_eq!(disabled.set_enabled(false, Actor::Local, NOW), Ok(None));
        // Nor what the HSM has not confirmed.
        let unconfirmed = ImportedFields { key: None, ..fields(FinishedState::Enabled) };
        let refused = upload().begin().row.finish_import(&unconfirmed, Actor::Local, NOW);
        assert!(matches!(refused, Err(ConfigurationRefusal::NotServable { .. })));
    }

    #[test]
    fn only_an_import_that_did_not_end_is_forgotten() {
        assert!(upload().begin().row.abandon_import(NOW).is_some());
        let done = imported(FinishedState::Disabled);
        assert_eq!(done.abandon_import(NOW), None);
        let again = ImportedFields { key: None, state: FinishedState::Disabled };
        let refused = done.finish_import(&again, Actor::Local, NOW);
        assert_eq!(refused, Err(ConfigurationRefusal::WrongState { state: State::Disabled }));
    }
}
