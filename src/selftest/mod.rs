//! Known answers for every algorithm, in software and through the HSM: before the server says
//! SERVING, and for `vendkey selftest`.

mod latch;
mod software;
mod tokens;

pub use crate::hsm::SelfTest;
pub use latch::Latch;
pub use software::software;

use crate::hsm::Hsm;

/// What the tests gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Those that no HSM takes part in.
    pub software: Vec<SelfTest>,
    /// Those through the HSM. Abilities that it did not have at start are left out: nothing rests
    /// on them.
    pub hsm: Vec<SelfTest>,
}

impl Report {
    /// The first test that failed, and how, where any did.
    pub fn failure(&self) -> Option<String> {
        let all = || self.software.iter().chain(&self.hsm);
        let failed = all().filter(|test| test.outcome.is_err()).count();
        let first = all().find_map(|test| {
            let why = test.outcome.as_ref().err()?;
            Some(format!("{}: {why}", test.name))
        })?;
        Some(if failed == 1 { first } else { format!("{first} (and {} more)", failed - 1) })
    }
}

/// Runs all tests. An HSM that does not answer is a failed test.
pub async fn run(hsm: &Hsm) -> Report {
    let mut through_hsm = hsm.selftest().await.unwrap_or_else(|error| {
        vec![SelfTest { name: "known-answer operations".to_owned(), outcome: Err(error.to_string()) }]
    });
    through_hsm.extend(tokens::through_hsm(hsm).await);
    let mut software = software();
    if crate::crash::fails("selftest") {
        software
            .push(SelfTest { name: "a test's own fault".to_owned(), outcome: Err("asked for".to_owned()) });
    }
    Report { software, hsm: through_hsm }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_named() {
        let test = |name: &str, outcome: Result<&str, &str>| SelfTest {
            name: name.to_owned(),
            outcome: outcome.map(str::to_owned).map_err(str::to_owned),
        };
        let mut report = Report { software: vec![test("a", Ok("fine"))], hsm: vec![test("b", Ok("fine"))] };
        assert_eq!(report.failure(), None);
        report.hsm.push(test("c", Err("wrong")));
        assert_eq!(report.failure().as_deref(), Some("c: wrong"));
        report.software.push(test("d", Err("bad")));
        assert_eq!(report.failure().as_deref(), Some("d: bad (and 1 more)"));
    }
}
