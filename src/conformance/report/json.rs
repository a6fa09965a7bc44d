//! The report for programs.

use serde_json::{Value, json};

use super::{Checked, Report, Tally, path_name, verdict_name};

/// One object; every name in it is stable.
pub(super) fn render(report: &Report) -> String {
    let module = &report.capabilities.module;
    let token = &report.capabilities.token;
    let capabilities: Vec<Value> = report
        .capabilities
        .rows()
        .into_iter()
        .map(|row| json!({"ability": row.name, "served": row.served, "detail": row.detail}))
        .collect();
    let files: Vec<Value> = report
        .files
        .iter()
        .map(|file| json!({"name": file.name, "sha256": file.sha256, "vectors": file.vectors}))
        .collect();
    let document = json!({
        "report": "vendkey conformance 1",
        "vendkey": env!("CARGO_PKG_VERSION"),
        "made": report.made,
        "module": {
            "path": module.path, "description": module.description, "manufacturer": module.manufacturer,
            "version": module.version, "cryptoki": module.cryptoki,
        },
        "token": {"label": token.label, "slot": token.slot, "model": token.model, "serial": token.serial},
        "capabilities": capabilities,
        "files": files,
        "total": tally(&report.total()),
        "vectors": report.checked.iter().map(vector).collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

fn tally(tally: &Tally) -> Value {
    json!({
        "passed": tally.passed(), "failed": tally.failed, "skipped": tally.skipped,
        "passed_hsm": tally.module, "passed_software": tally.software, "passed_no_key": tally.no_key,
    })
}

fn vector(checked: &Checked) -> Value {
    json!({
        "file": checked.file, "id": checked.id, "group": checked.group, "source": checked.source,
        "keys": path_name(checked.outcome.path), "verdict": verdict_name(&checked.outcome.verdict),
        "expected": checked.expected, "actual": checked.outcome.actual, "reason": checked.reason(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn it_is_json_with_every_vector() {
        let document: Value = serde_json::from_str(&render(&report())).unwrap();
        assert_eq!(document["total"]["passed"], 1);
        assert_eq!(document["vectors"].as_array().unwrap().len(), 3);
        assert_eq!(document["vectors"][1]["actual"]["check_digit"], 3);
        assert_eq!(document["capabilities"][0]["served"], false);
    }
}
