//! `vendkey conformance`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sha2::{Digest as _, Sha256};

use super::{
    output::{self, Failure},
    whole_file,
};
use crate::{
    conformance::{
        HsmKeys, Vector,
        report::{Checked, FileFacts, Format, Report, Tally},
        run::run,
        vectors,
    },
    hsm::{Hsm, HsmError, HsmSettings, VendingKeys},
    settings::Settings,
};

const MORE: &str = "\
Example: vendkey conformance --settings vendkey.toml --vectors sts-vectors.json --report report.html

Imports the vending keys of the vectors into the HSM as session objects, which are gone afterwards, and makes every vector on \
the way that issued tokens take. Vectors that give a decoder key or ask for DKGA01 are made in software and counted apart. \
Ends with the line `N passed, N failed, N skipped`; the exit code is 1 if any failed, 65 if a file is no file of vectors.";

#[derive(Args)]
#[command(after_help = MORE)]
pub(super) struct Arguments {
    /// The settings file; only its section [hsm] is used
    #[arg(long, env = "VENDKEY_SETTINGS", value_name = "FILE")]
    settings: PathBuf,
    /// Files of the format sts-vectors-1
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    vectors: Vec<PathBuf>,
    /// Also write a report; the name ends in .json, .csv or .html. May be given more than once
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let settings = Settings::load(&self.settings).map_err(Failure::settings)?;
        // Everything that may be wrong on this side is found before the HSM is touched.
        let forms: Vec<(&Path, Format)> = self
            .report
            .iter()
            .map(|file| Format::of(file).map(|form| (file.as_path(), form)).ok_or(file))
            .collect::<Result<_, _>>()
            .map_err(|file| {
                Failure::usage(format!(
                    "--report {}: the name must end in .json, .csv or .html",
                    file.display()
                ))
            })?;
        let files: Vec<(FileFacts, Vec<Vector>)> =
            self.vectors.iter().map(|file| read(file)).collect::<Result<_, _>>()?;
        let report = check(settings.hsm, files)?;
        let mut text = described(&report);
        for (file, form) in forms {
            whole_file::put(file, 0o666, form.render(&report))
                .map_err(|error| Failure::created("--report", file, &error))?;
            text.push_str(&format!("report: {}\n", file.display()));
        }
        output::print_text(text + &report.summary())?;
        match report.total().failed {
            0 => Ok(()),
            failed => Err(Failure::text(format!("not as published: {failed}"))),
        }
    }
}

fn read(file: &Path) -> Result<(FileFacts, Vec<Vector>), Failure> {
    let bytes = fs::read(file).map_err(|error| Failure::file("--vectors", file, &error))?;
    let bad = |why: String| Failure::data("--vectors", file, why);
    let text = std::str::from_utf8(&bytes).map_err(|error| bad(format!("the file is not UTF-8: {error}")))?;
    let vectors = vectors::parse(text).map_err(|error| bad(error.to_string()))?;
    if vectors.is_empty() {
        return Err(bad("the file holds no vector, so it proves nothing".to_owned()));
    }
    let facts = FileFacts {
        name: file.display().to_string(),
        sha256: hex::encode(Sha256::digest(&bytes)),
        vectors: vectors.len(),
    };
    Ok((facts, vectors))
}

/// Runs all vectors of all files through the HSM.
fn check(settings: HsmSettings, files: Vec<(FileFacts, Vec<Vector>)>) -> Result<Report, Failure> {
    // A token that is not set up has no keys of the server's own, and needs none here.
    let hsm = match Hsm::start(settings.clone()) {
        Err(HsmError::NotSetUp(_)) => Hsm::start_bare(settings),
        started => started,
    }
    .map_err(Failure::hsm)?;
    let keys = HsmKeys::new(hsm.clone()).map_err(Failure::runtime)?;
    let bar = progress(files.iter().map(|(facts, _)| facts.vectors).sum());
    let mut report = Report {
        made: String::new(),
        capabilities: hsm.capabilities().clone(),
        files: Vec::new(),
        checked: Vec::new(),
    };
    for (facts, vectors) in files {
        for vector in vectors {
            let outcome = run(&vector, &keys);
            let Vector { id, group, source, expected, .. } = vector;
            report.checked.push(Checked { file: facts.name.clone(), id, group, source, expected, outcome });
            bar.inc(1);
        }
        report.files.push(facts);
    }
    bar.finish_and_clear();
    report.made = jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default().to_string();
    drop(keys);
    hsm.stop();
    Ok(report)
}

/// On a terminal only; to standard error.
fn progress(vectors: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(vectors as u64), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} vectors, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn described(report: &Report) -> String {
    let total = report.total();
    let mut text = format!("{}\n", report.capabilities);
    text.push_str(&tallies("kind, type", &report.by_group()));
    text.push_str(&tallies("source", &report.by_source()));
    for checked in report.failed() {
        text.push_str(&format!("FAILED {}: {} ({})\n", checked.file, checked.id, checked.group));
        match checked.reason() {
            Some(reason) => text.push_str(&format!("  {reason}\n")),
            None => {
                for difference in checked.differences() {
                    let actual = difference.actual.as_deref().unwrap_or("nothing");
                    text.push_str(&format!("  {}: expected {}\n", difference.field, difference.expected));
                    text.push_str(&format!(
                        "  {:1$}  actual   {actual}\n",
                        "",
                        difference.field.chars().count()
                    ));
                }
            }
        }
    }
    for checked in report.skipped() {
        let reason = checked.reason().unwrap_or_default();
        text.push_str(&format!("skipped {}: {} ({}): {reason}\n", checked.file, checked.id, checked.group));
    }
    text.push_str(&format!(
        "of those that passed: {} with keys derived in the HSM, {} in software, {} without a key\n",
        total.module, total.software, total.no_key
    ));
    text
}

/// A table without lines between its rows: there are many. Long names are cut; the reports have
/// them whole.
fn tallies(by: &str, tallies: &BTreeMap<&str, Tally>) -> String {
    let cut = |name: &str| match name.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    };
    let width = tallies.keys().map(|name| cut(name).chars().count()).max().unwrap_or(0).max(by.len());
    let mut text = format!("{by:width$}  passed: HSM  software  no key   failed  skipped\n");
    for (name, tally) in tallies {
        let counts = [tally.module, tally.software, tally.no_key, tally.failed, tally.skipped];
        // Zeros only hide the numbers that say something.
        let [module, software, no_key, failed, skipped] =
            counts.map(|count| if count == 0 { String::new() } else { count.to_string() });
        let row = format!(
            "{:width$}  {module:>11}  {software:>8}  {no_key:>6}  {failed:>7}  {skipped:>7}",
            cut(name)
        );
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text.push('\n');
    text
}

/// Characters of a name in a table.
const LONGEST_NAME: usize = 60;
