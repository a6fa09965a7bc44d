//! What a run of the vectors showed, for a person to read or to keep.
//!
//! No vending key is in it: the vectors are named by file, digest and id. Expected and actual
//! values are, decoder keys of `derive` vectors among them: the figures that were published.

mod csv;
mod html;
mod json;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::compare::same;
use super::run::{Outcome, Path, Verdict};
use crate::hsm::Capabilities;

/// A file of vectors that was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Its name as it was given.
    pub name: String,
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
    /// How many vectors it holds.
    pub vectors: usize,
}

/// A vector with what came out.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The name of its file.
    pub file: String,
    /// Its name.
    pub id: String,
    /// Its kind and type.
    pub group: String,
    /// Where it was published.
    pub source: String,
    /// What was published.
    pub expected: Map<String, Value>,
    /// What came out.
    pub outcome: Outcome,
}

/// A field that did not come out as published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub field: String,
    /// What was published.
    pub expected: String,
    /// What came out; none where nothing did.
    pub actual: Option<String>,
}

impl Checked {
    /// The fields that are wrong.
    pub fn differences(&self) -> Vec<Difference> {
        self.expected
            .iter()
            .filter_map(|(field, expected)| {
                let actual = self.outcome.actual.get(field);
                if actual.is_some_and(|actual| same(field, expected, actual)) {
                    return None;
                }
                Some(Difference { field: field.clone(), expected: text(expected), actual: actual.map(text) })
            })
            .collect()
    }

    /// Why it failed or was skipped, where there is more to say than the differences.
    pub fn reason(&self) -> Option<&str> {
        match &self.outcome.verdict {
            Verdict::Failed(reason) => reason.as_deref(),
            Verdict::Skipped(reason) => Some(reason),
            Verdict::Passed => None,
        }
    }
}

/// Who made the keys, in a word.
pub fn path_name(path: Path) -> &'static str {
    match path {
        Path::Module => "HSM",
        Path::Software => "software",
        Path::NoKey => "no key",
    }
}

/// The verdict in a word.
pub fn verdict_name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Failed(_) => "failed",
        Verdict::Skipped(_) => "skipped",
    }
}

/// A value as text; lists with blanks between.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// Fields as one line of text.
fn line(fields: &Map<String, Value>) -> String {
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name} {}", text(value))).collect();
    pairs.join(", ")
}

/// How many vectors ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Passed, with keys that the module derived.
    pub module: usize,
    /// Passed, with keys made in software.
    pub software: usize,
    /// Passed, without any key.
    pub no_key: usize,
    /// Did not pass.
    pub failed: usize,
    /// Not served by this module.
    pub skipped: usize,
}

impl Tally {
    /// All that passed.
    pub fn passed(&self) -> usize {
        self.module + self.software + self.no_key
    }

    fn add(&mut self, outcome: &Outcome) {
        let count = match (&outcome.verdict, outcome.path) {
            (Verdict::Passed, Path::Module) => &mut self.module,
            (Verdict::Passed, Path::Software) => &mut self.software,
            (Verdict::Passed, Path::NoKey) => &mut self.no_key,
            (Verdict::Failed(_), _) => &mut self.failed,
            (Verdict::Skipped(_), _) => &mut self.skipped,
        };
        *count += 1;
    }
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Report {
    /// When it ended, ISO 8601 UTC.
    pub made: String,
    /// What the module was seen to do.
    pub capabilities: Capabilities,
    /// The files.
    pub files: Vec<FileFacts>,
    /// Every vector, in the order of the files.
    pub checked: Vec<Checked>,
}

impl Report {
    /// All vectors.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.checked.iter().for_each(|checked| total.add(&checked.outcome));
        total
    }

    /// By kind and type, in alphabetical order.
    pub fn by_group(&self) -> BTreeMap<&str, Tally> {
        self.by(|checked| &checked.group)
    }

    /// By where they were published.
    pub fn by_source(&self) -> BTreeMap<&str, Tally> {
        self.by(|checked| if checked.source.is_empty() { "(no source given)" } else { &checked.source })
    }

    fn by<'a>(&'a self, name: impl Fn(&'a Checked) -> &'a str) -> BTreeMap<&'a str, Tally> {
        let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
        for checked in &self.checked {
            tallies.entry(name(checked)).or_default().add(&checked.outcome);
        }
        tallies
    }

    /// Those that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Checked> {
        self.checked.iter().filter(|checked| matches!(checked.outcome.verdict, Verdict::Failed(_)))
    }

    /// Those that were skipped.
    pub fn skipped(&self) -> impl Iterator<Item = &Checked> {
        self.checked.iter().filter(|checked| matches!(checked.outcome.verdict, Verdict::Skipped(_)))
    }

    /// The last line: `N passed, N failed, N skipped`.
    pub fn summary(&self) -> String {
        let total = self.total();
        format!("{} passed, {} failed, {} skipped", total.passed(), total.failed, total.skipped)
    }
}

/// The forms in which a report is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One object, for programs.
    Json,
    /// A line a vector, for spreadsheets (RFC 4180).
    Csv,
    /// A page that stands alone, for a person.
    Html,
}

impl Format {
    /// The form that goes with a file's extension.
    pub fn of(file: &std::path::Path) -> Option<Self> {
        match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "html" | "htm" => Some(Self::Html),
            _ => None,
        }
    }

    /// The report in this form.
    pub fn render(self, report: &Report) -> String {
        match self {
            Self::Json => json::render(report),
            Self::Csv => csv::render(report),
            Self::Html => html::render(report),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::conformance::{SoftwareKeys, run, vectors};
    use crate::hsm::{CbcForm, ModuleFacts, Origin, SealSuite, TokenFacts, UnwrapScheme};

    /// One vector that passes, one that fails and one that is no vector.
    pub(in crate::conformance) fn report() -> Report {
        let file = json!({"format": "sts-vectors-1", "vectors": [
            {"id": "good", "kind": "luhn", "source": "a \"quoted\", <b>source</b>",
             "inputs": {"digits": "1234567890"}, "expected": {"check_digit": 3}},
            {"id": "bad", "kind": "luhn", "inputs": {"digits": "1234567890"}, "expected": {"check_digit": 4}},
            {"id": "none", "kind": "other", "inputs": {}, "expected": {"x": 1}},
        ]});
        let checked = vectors::parse(&file.to_string())
            .unwrap()
            .into_iter()
            .map(|vector| Checked {
                file: "f.json".to_owned(),
                outcome: run::run(&vector, &SoftwareKeys),
                id: vector.id,
                group: vector.group,
                source: vector.source,
                expected: vector.expected,
            })
            .collect();
        Report {
            made: "2026-01-02T03:04:05Z".to_owned(),
            capabilities: Capabilities {
                module: ModuleFacts::default(),
                token: TokenFacts::default(),
                des: Err("<no> DES".to_owned()),
                mask: Ok(()),
                des2: Err(String::new()),
                hmac: Err(String::new()),
                upload_data: Ok(CbcForm::Padded),
                unwrap: [UnwrapScheme::Pkcs1v15, UnwrapScheme::OaepSha1, UnwrapScheme::OaepSha256]
                    .map(|scheme| (scheme, Ok(()))),
                unwrap_refusals: Vec::new(),
                sealed: SealSuite::ALL.map(|suite| (suite, Ok(()))),
                pss: Ok(()),
                origin: Ok(Origin::Local),
                allowed_mechanisms: Ok(()),
            },
            files: vec![FileFacts { name: "f.json".to_owned(), sha256: "00".repeat(32), vectors: 3 }],
            checked,
        }
    }

    #[test]
    fn tallies() {
        let report = report();
        assert_eq!(report.summary(), "1 passed, 2 failed, 0 skipped");
        assert_eq!(report.total(), Tally { no_key: 1, failed: 2, ..Tally::default() });
        assert_eq!(report.by_group()["luhn"], Tally { no_key: 1, failed: 1, ..Tally::default() });
        let differences = report.checked[1].differences();
        let expected = Difference {
            field: "check_digit".to_owned(),
            expected: "4".to_owned(),
            actual: Some("3".to_owned()),
        };
        assert_eq!(differences, [expected]);
        assert_eq!(report.checked[2].reason(), Some("none: kind: not one of the format"));
    }

    #[test]
    fn forms_by_extension() {
        let form = |name: &str| Format::of(std::path::Path::new(name));
        assert_eq!(form("a.JSON"), Some(Format::Json));
        assert_eq!(form("a.b.csv"), Some(Format::Csv));
        assert_eq!(form("a.html"), Some(Format::Html));
        assert_eq!(form("a.txt"), None);
        assert_eq!(form("json"), None);
    }
}
