//! The end of a configuration: scheduled, restored, begun, done.
//!
//! Between the row that says that destruction has begun and the row that says that it is done the HSM destroys the keys.
//! Whatever dies there is due again, and done again.

use super::{Configuration, ConfigurationRefusal, ConfigurationState as State, TokenKey, Transition};
use crate::audit::Actor;

impl Configuration {
    /// Schedules the destruction of a disabled configuration. One that is scheduled already keeps its time.
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

    /// Takes a scheduled destruction back; the configuration is disabled then. One that is not scheduled stays as it is.
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

    /// The keys were seen to be gone. What is left of the mask in the row goes too; attributes and check value stay.
    ///
    /// # Errors
    /// [`ConfigurationRefusal::WrongState`] unless destruction was begun.
    pub fn finish_destruction(&self, now_ms: i64) -> Transition {
        match self.state {
            State::Destroyed => return Ok(None),
            State::DestroyScheduled if self.destroy_begun() => {}
            state => return Err(ConfigurationRefusal::WrongState { state }),
        }
        let row = Self {
            state: State::Destroyed,
            keys: self.keys.iter().map(|key| TokenKey { mask: None, ..*key }).collect(),
            destroy_ms: Some(now_ms),
            updated_ms: now_ms,
            ..self.clone()
        };
        let details = [("kcv", self.kcv_text())];
        Ok(Some(row.told("configuration.destroyed", details, Actor::Local, now_ms)))
    }
}
