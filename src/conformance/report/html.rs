//! The report as one page that needs nothing else: for an auditor.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::{Report, Tally, line, path_name, verdict_name};
use crate::{chart::escaped, conformance::run::Verdict};

const STYLE: &str = "\
:root{color-scheme:light}\
body{font:15px/1.45 system-ui,sans-serif;color:#1c2330;background:#fff;max-width:75rem;margin:2rem auto;padding:0 1.25rem}\
h1{font-size:1.6rem;margin:0 0 .25rem}h2{font-size:1.1rem;margin:2.2rem 0 .5rem}p{margin:.3rem 0}\
.made{color:#5a6474}\
.result{font-size:1.25rem;font-weight:600;padding:.7rem 1rem;border-radius:.4rem;margin:1rem 0}\
.result.passed{background:#e3f4e8;color:#135c2e}.result.failed{background:#fbe4e4;color:#8b1717}\
table{border-collapse:collapse;width:100%;font-size:.87rem}\
th,td{text-align:left;vertical-align:top;padding:.28rem .6rem;border-bottom:1px solid #dfe3ea}\
th{background:#f3f5f8;position:sticky;top:0}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
td.v{font-family:ui-monospace,monospace;font-size:.8rem;overflow-wrap:anywhere}\
table.vectors{table-layout:fixed}table.vectors td{overflow-wrap:anywhere}\
tr.failed td{background:#fdf0f0}tr.skipped td{background:#fdf8e6}.word{white-space:nowrap}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.2rem;margin:0}dt{color:#5a6474}dd{margin:0}\
@media print{body{margin:0;max-width:none;font-size:11px}th{position:static}tr{break-inside:avoid}}";

/// A document of HTML 5, without scripts and without anything from elsewhere.
pub(super) fn render(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = write_page(&mut page, report);
    page
}

fn write_page(page: &mut String, report: &Report) -> fmt::Result {
    let total = report.total();
    let all_well = total.failed == 0;
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Vendkey conformance report</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>Vendkey conformance report</h1>\n\
         <p class=\"made\">Vendkey {}, {}</p>\n<p class=\"result {}\">{}</p>\n",
        env!("CARGO_PKG_VERSION"),
        escaped(&report.made),
        if all_well { "passed" } else { "failed" },
        report.summary(),
    )?;
    writeln!(
        page,
        "<p>Of those that passed, {} used decoder keys that the HSM derived from vending keys held in it as session \
         objects, on the way that issued tokens take; {} used keys made in software (the vector gives a decoder key or \
         asks for DKGA01, or it is about a cipher alone); {} need no key.</p>",
        total.module, total.software, total.no_key
    )?;
    page.push_str(
        "<p>This page was made by Vendkey about itself. It is no certificate of the STS Association, and Vendkey is no \
         STS-certified security module.</p>\n",
    );
    write_module(page, report)?;
    write_files(page, report)?;
    write_tallies(page, "Results by kind and type", "kind, type", &report.by_group())?;
    write_tallies(page, "Results by source", "source", &report.by_source())?;
    write_vectors(page, report)?;
    page.push_str("</body>\n</html>\n");
    Ok(())
}

fn write_module(page: &mut String, report: &Report) -> fmt::Result {
    let (module, token) = (&report.capabilities.module, &report.capabilities.token);
    page.push_str("<h2>Module under test</h2>\n<dl>\n");
    let slot = token.slot.to_string();
    for (name, value) in [
        ("library", &module.path),
        ("description", &module.description),
        ("manufacturer", &module.manufacturer),
        ("version", &module.version),
        ("Cryptoki version", &module.cryptoki),
        ("token", &token.label),
        ("model", &token.model),
        ("serial number", &token.serial),
        ("slot", &slot),
    ] {
        writeln!(page, "<dt>{name}</dt><dd>{}</dd>", escaped(value))?;
    }
    page.push_str("</dl>\n<h2>What it can do, by known-answer operations</h2>\n<table>\n");
    page.push_str("<tr><th>ability</th><th>served</th><th>how, or why not</th></tr>\n");
    for row in report.capabilities.rows() {
        let served = if row.served { "yes" } else { "no" };
        let (name, detail) = (escaped(&row.name), escaped(&row.detail));
        writeln!(page, "<tr><td class=\"word\">{name}</td><td>{served}</td><td>{detail}</td></tr>")?;
    }
    page.push_str("</table>\n");
    Ok(())
}

fn write_files(page: &mut String, report: &Report) -> fmt::Result {
    page.push_str("<h2>Files of vectors</h2>\n<table>\n");
    page.push_str("<tr><th>file</th><th class=\"n\">vectors</th><th>SHA-256</th></tr>\n");
    for file in &report.files {
        let name = escaped(&file.name);
        let (vectors, sha256) = (file.vectors, &file.sha256);
        writeln!(
            page,
            "<tr><td>{name}</td><td class=\"n\">{vectors}</td><td class=\"v\">{sha256}</td></tr>"
        )?;
    }
    page.push_str("</table>\n");
    Ok(())
}

fn write_tallies(page: &mut String, title: &str, by: &str, tallies: &BTreeMap<&str, Tally>) -> fmt::Result {
    write!(
        page,
        "<h2>{title}</h2>\n<table>\n<tr><th>{by}</th><th class=\"n\">passed, HSM</th><th class=\"n\">passed, software</th>\
         <th class=\"n\">passed, no key</th><th class=\"n\">failed</th><th class=\"n\">skipped</th></tr>\n"
    )?;
    for (name, tally) in tallies {
        let class = match tally {
            Tally { failed: 1.., .. } => "failed",
            Tally { skipped: 1.., .. } => "skipped",
            _ => "passed",
        };
        write!(page, "<tr class=\"{class}\"><td>{}</td>", escaped(name))?;
        for count in [tally.module, tally.software, tally.no_key, tally.failed, tally.skipped] {
            // Zeros only hide the numbers that say something.
            let count = if count == 0 { String::new() } else { count.to_string() };
            write!(page, "<td class=\"n\">{count}</td>")?;
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
    Ok(())
}

fn write_vectors(page: &mut String, report: &Report) -> fmt::Result {
    page.push_str(
        "<h2>Every vector</h2>\n<table class=\"vectors\">\n<colgroup><col style=\"width:24%\"><col style=\"width:21%\">\
         <col style=\"width:7%\"><col style=\"width:7%\"><col><col></colgroup>\n<tr><th>id</th><th>kind, type</th><th>keys</th><th>verdict</th>\
         <th>expected</th><th>actual</th></tr>\n",
    );
    // What went wrong comes first.
    let rank = |verdict: &Verdict| match verdict {
        Verdict::Failed(_) => 0,
        Verdict::Skipped(_) => 1,
        Verdict::Passed => 2,
    };
    let mut checked: Vec<_> = report.checked.iter().collect();
    checked.sort_by_key(|checked| rank(&checked.outcome.verdict));
    for checked in checked {
        let verdict = verdict_name(&checked.outcome.verdict);
        let mut actual = line(&checked.outcome.actual);
        if let Some(reason) = checked.reason() {
            actual = if actual.is_empty() { reason.to_owned() } else { format!("{actual} ({reason})") };
        }
        writeln!(
            page,
            "<tr class=\"{verdict}\" title=\"{}\"><td>{}</td><td>{}</td><td class=\"word\">{}</td><td>{verdict}</td>\
             <td class=\"v\">{}</td><td class=\"v\">{}</td></tr>",
            escaped(&format!("{}: {}", checked.file, checked.source)),
            escaped(&checked.id),
            escaped(&checked.group),
            path_name(checked.outcome.path),
            escaped(&line(&checked.expected)),
            escaped(&actual),
        )?;
    }
    page.push_str("</table>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn nothing_of_a_file_becomes_markup() {
        let page = render(&report());
        assert!(!page.contains("<b>") && !page.contains("<no>"));
        assert!(page.contains("&lt;b&gt;source&lt;/b&gt;") && page.contains("&lt;no&gt; DES"));
        assert!(page.contains("1 passed, 2 failed, 0 skipped"));
        for elsewhere in ["http", "<script", "src=", "@import", "url("] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
        let (bad, good) = (page.find("<td>bad</td>"), page.find("<td>good</td>"));
        assert!(bad < good, "failures come first");
    }
}
