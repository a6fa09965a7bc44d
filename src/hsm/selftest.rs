//! The known-answer operations, done again.

use super::error::HsmError;
use super::keys::Role;
use super::module::ADMIN_SESSION;
use super::own_keys;
use super::probe::probe;
use super::service::Hsm;

/// One self-test and how it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfTest {
    /// What was tested.
    pub name: String,
    /// How it is served, or what went wrong.
    pub outcome: Result<String, String>,
}

impl Hsm {
    /// Runs the known-answer operations again. Abilities that the module did not have at start are
    /// left out.
    ///
    /// # Errors
    /// [`HsmError::Busy`], [`HsmError::Unavailable`]; a failing test is an outcome.
    pub async fn selftest(&self) -> Result<Vec<SelfTest>, HsmError> {
        self.on_admin_thread(|module, at_start| {
            let own_keys = module.token().own_id(Role::RowSeal).is_some();
            let now = probe(module, ADMIN_SESSION, own_keys)?;
            let mut tests: Vec<SelfTest> = at_start
                .rows()
                .into_iter()
                .zip(now.rows())
                .filter(|(then, _)| then.served)
                .map(|(_, now)| SelfTest {
                    name: now.name,
                    outcome: if now.served { Ok(now.detail) } else { Err(now.detail) },
                })
                .collect();
            if own_keys {
                let checked =
                    module.with_session(ADMIN_SESSION, |guard| own_keys::check_all(guard, at_start));
                tests.push(SelfTest {
                    name: "own keys".to_owned(),
                    outcome: match checked {
                        Ok(_) => Ok("present, immutable, one usage each, unreadable".to_owned()),
                        Err(error) => Err(error.to_string()),
                    },
                });
            }
            Ok(tests)
        })
        .await
    }
}
