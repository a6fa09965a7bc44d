//! What the commands share that encrypt an upload: whether the server's key is the right one, and the
//! faults of a text.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
};

use super::{exit::Exit, output::Failure, stdout};
use crate::envelope::FieldFault;

/// Every fault of the text, a line each.
pub(super) fn faulty(file: &Path, error: &dyn std::error::Error, faults: &[FieldFault]) -> Failure {
    let mut text = format!("{}: {error}", file.display());
    for fault in faults {
        text.push_str(&format!("\n  {fault}"));
    }
    Failure::exit(Exit::Data, text)
}

/// Checks the server key's fingerprint against the one given, or asks a person.
pub(super) fn confirm(actual: &str, given: Option<&str>) -> Result<(), Failure> {
    if let Some(given) = given {
        let digits: String = given.chars().filter(|c| !matches!(c, ':' | ' ')).collect();
        return if digits.eq_ignore_ascii_case(actual) {
            Ok(())
        } else {
            Err(Failure::text(format!(
                "--fingerprint is not that of --server-key, which is {actual}: the file may have been swapped; nothing was encrypted"
            )))
        };
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("--fingerprint is missing, and nobody can be asked".to_owned()));
    }
    stdout::prompt(format!(
        "The server key's fingerprint is\n  {actual}\nIs it the one that you learned over another channel? (yes/no) "
    ));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| Failure::text(error.to_string()))?;
    if answer.trim() == "yes" {
        Ok(())
    } else {
        Err(Failure::text("not confirmed; nothing was encrypted".to_owned()))
    }
}
