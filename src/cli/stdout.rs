//! The one place where commands write to standard output and standard error. Neither may be there
//! any more (a full disk, `| head`), and no command may break because of it: what was done stays
//! done, and whoever asked for it learns how to get it again.

use std::io::{self, Write as _};

/// Prints a text and a line end on standard output, in one piece.
///
/// # Errors
/// It cannot be written.
pub(super) fn print(text: impl AsRef<str>) -> io::Result<()> {
    let mut whole = String::with_capacity(text.as_ref().len() + 1);
    whole.push_str(text.as_ref());
    whole.push('\n');
    let mut out = io::stdout().lock();
    // Flushed, so that the fault is noticed here and not when the process ends.
    out.write_all(whole.as_bytes()).and_then(|()| out.flush())
}

/// Prints a line on standard error, for people. Where that is closed nobody can be told.
pub(super) fn note(text: impl AsRef<str>) {
    let mut whole = text.as_ref().to_owned();
    whole.push('\n');
    prompt(whole);
}

/// The same without a line end, before a question.
pub(super) fn prompt(text: impl AsRef<str>) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_ref().as_bytes()).and_then(|()| err.flush());
}
