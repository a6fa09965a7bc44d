//! A failure that stays.

use std::sync::{Arc, OnceLock};

/// Set by the first failed self-test of the process, never reset: what computed wrongly once is not
/// trusted again until somebody has looked. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Latch(Arc<OnceLock<String>>);

impl Latch {
    /// Sets it; the first reason stays.
    pub fn fail(&self, reason: String) {
        let _ = self.0.set(reason);
    }

    /// Why nothing may be issued, if so.
    pub fn failure(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays() {
        let latch = Latch::default();
        let other = latch.clone();
        assert_eq!(other.failure(), None);
        latch.fail("first".to_owned());
        latch.fail("second".to_owned());
        assert_eq!(other.failure(), Some("first"));
    }
}
