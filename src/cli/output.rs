//! What a command prints: tables for people, protobuf's JSON mapping for scripts, failures with the
//! next step.

use std::{
    error::Error,
    fmt::{self, Write as _},
    io,
    path::Path,
    process::ExitCode,
    sync::LazyLock,
};

use comfy_table::{ContentArrangement, Table, presets::ASCII_MARKDOWN};
use prost_reflect::{DescriptorPool, DynamicMessage};
use tonic::{Code, Status};
use tonic_types::{ErrorInfo, StatusExt as _};

use super::{exit::Exit, stdout};
use crate::{
    acts::Reason, api::DESCRIPTORS, connection::NoConnection, hsm::HsmError, settings::SettingsError,
    store::OpenError,
};

/// Why a command failed.
pub(super) enum Failure {
    /// Something on this side.
    Text { exit: Exit, text: String },
    /// Standard output cannot be written; what the command was for is done.
    NotShown { error: io::Error, again: String },
    /// The server refused.
    Refused { status: Box<Status>, json: bool },
}

impl Failure {
    pub(super) fn exit(exit: Exit, text: impl Into<String>) -> Self {
        Self::Text { exit, text: text.into() }
    }

    /// What was examined is not as it must be, or the answer is no.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::exit(Exit::No, text)
    }

    /// The options cannot be used as they are.
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self::exit(Exit::Usage, text)
    }

    /// What a file holds cannot be used.
    pub(super) fn data(option: &str, file: &Path, fault: impl fmt::Display) -> Self {
        Self::exit(Exit::Data, format!("{option} {}: {fault}", file.display()))
    }

    /// A file cannot be read.
    pub(super) fn file(option: &str, file: &Path, error: &io::Error) -> Self {
        Self::exit(Exit::NoInput, format!("{option} {}: {error}", file.display()))
    }

    /// A file cannot be made or written, or not now.
    pub(super) fn created(option: &str, file: &Path, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::ResourceBusy => Exit::Later,
            _ => Exit::NotCreated,
        };
        Self::exit(exit, format!("{option} {}: {error}", file.display()))
    }

    pub(super) fn settings(error: SettingsError) -> Self {
        Self::exit(Exit::Settings, error.to_string())
    }

    pub(super) fn not_shown(error: io::Error) -> Self {
        Self::NotShown { error, again: "the same command again shows it".to_owned() }
    }

    /// Says how to get what was not shown, where the same command again is not enough.
    pub(super) fn again(self, how: impl FnOnce() -> String) -> Self {
        match self {
            Self::NotShown { error, again: _ } => Self::NotShown { error, again: how() },
            other => other,
        }
    }

    pub(super) fn runtime(error: io::Error) -> Self {
        Self::exit(Exit::System, format!("cannot start the runtime: {error}"))
    }

    pub(super) fn hsm(error: HsmError) -> Self {
        Self::exit(Exit::from(&error), format!("the HSM cannot be used: {error}"))
    }

    pub(super) fn database(error: OpenError) -> Self {
        Self::exit(Exit::from(&error), format!("the store cannot be used: {error}"))
    }

    /// Turns a status into a failure, for `map_err`.
    pub(super) fn refused(json: bool) -> impl Fn(Status) -> Self {
        move |status| Self::Refused { status: Box::new(status), json }
    }

    /// Whether the act may be done nevertheless, or later: it waits for approvals, or the answer
    /// was lost.
    pub(super) fn may_still_happen(&self) -> bool {
        match self {
            Self::Text { .. } | Self::NotShown { .. } => false,
            Self::Refused { status, .. } => match status.get_error_details().error_info() {
                // Not ours to say, but whoever says this has done nothing.
                None => !matches!(
                    status.code(),
                    Code::Unimplemented
                        | Code::Unauthenticated
                        | Code::PermissionDenied
                        | Code::InvalidArgument
                ),
                Some(info) => {
                    info.reason == "APPROVAL_PENDING"
                        || info.metadata.get("issued").is_some_and(|issued| issued == "maybe")
                }
            },
        }
    }

    /// Prints it on standard error.
    pub(super) fn report(self) -> ExitCode {
        match self {
            Self::Text { exit, text } => {
                stdout::note(format!("error: {text}"));
                exit.into()
            }
            Self::NotShown { error, again } => {
                stdout::note(format!("error: standard output cannot be written: {error}\n{again}"));
                Exit::NotShown.into()
            }
            Self::Refused { status, json } => {
                let waiting = waiting(&status);
                let text = match (json, &waiting) {
                    (true, _) => as_json(&status),
                    (false, Some(waiting)) => waiting.clone(),
                    (false, None) => as_text(&status),
                };
                stdout::note(text);
                if waiting.is_some() { Exit::Later } else { exit_of(&status) }.into()
            }
        }
    }
}

fn exit_of(status: &Status) -> Exit {
    let is_plain = |info: &ErrorInfo| info.reason == Reason::TlsRequired.text();
    match no_connection(status) {
        Some(known) => Exit::from(&known.fault),
        None if broken(status).is_some() => Exit::Unavailable,
        None if status.get_error_details().error_info().is_some_and(is_plain) => Exit::Usage,
        None => Exit::from(status.code()),
    }
}

/// Why there is no connection, if that is why a call failed.
fn no_connection(status: &Status) -> Option<&NoConnection> {
    status.source()?.downcast_ref()
}

/// What the transport says, if a call has no answer.
fn broken(status: &Status) -> Option<&tonic::transport::Error> {
    status.source()?.downcast_ref()
}

/// Whether a call ended without an answer of a server.
pub(super) fn has_no_answer(status: &Status) -> bool {
    no_connection(status).is_some() || broken(status).is_some()
}

/// An error with its causes, each once: some that only pass on another have its text.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// What to do next, if the act waits for other persons.
fn waiting(status: &Status) -> Option<String> {
    let details = status.get_error_details();
    let info = details.error_info().filter(|info| info.reason == Reason::ApprovalPending.text())?;
    let approval = info.metadata.get("approval")?;
    Some(format!(
        "waiting: {}\nThey read and decide with:\n  vendkey approval show {approval}\n  vendkey approval approve {approval}",
        status.message()
    ))
}

fn as_text(status: &Status) -> String {
    if let Some(known) = no_connection(status) {
        return format!("error: {known}");
    }
    if let Some(error) = broken(status) {
        return format!("error: no answer: {}; is `vendkey serve` running still?", chain(error));
    }
    let mut text = format!("error: {}", status.message());
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    if !violations.is_empty() {
        text = "error: the request was refused".to_owned();
    }
    for violation in violations {
        let _ = write!(text, "\n  {}: {}", violation.field, violation.description);
    }
    let Some(info) = details.error_info() else { return format!("{text} ({:?})", status.code()) };
    let _ = write!(text, "\nreason: {}", info.reason);
    if let Some(reason) = Reason::ALL.iter().find(|reason| reason.text() == info.reason) {
        let _ = write!(text, ": {}", reason.advice());
    }
    if let Some(issued) = info.metadata.get("issued").filter(|issued| *issued == "maybe") {
        let _ = write!(text, "\nissued: {issued}; repeat the call with the same request id");
    }
    text
}

fn as_json(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info();
    let violations: Vec<_> = details
        .bad_request()
        .map(|bad| bad.field_violations.as_slice())
        .unwrap_or_default()
        .iter()
        .map(|v| serde_json::json!({"field": v.field, "description": v.description}))
        .collect();
    let error = serde_json::json!({"error": {
        "code": format!("{:?}", status.code()),
        "reason": info.map(|info| info.reason.clone()),
        "message": status.message(),
        "fieldViolations": violations,
        "metadata": info.map(|info| info.metadata.clone()),
    }});
    format!("{error:#}")
}

static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).ok());

/// The reply in protobuf's JSON mapping.
pub(super) fn json<M: prost::Message + prost::Name>(reply: &M) -> Result<String, Failure> {
    mapped(reply, serde_json::to_string_pretty)
}

/// The same on one line.
pub(super) fn json_line<M: prost::Message + prost::Name>(reply: &M) -> Result<String, Failure> {
    mapped(reply, serde_json::to_string)
}

fn mapped<M: prost::Message + prost::Name>(
    reply: &M,
    print: impl FnOnce(&DynamicMessage) -> serde_json::Result<String>,
) -> Result<String, Failure> {
    let mapped = POOL
        .as_ref()
        .and_then(|pool| pool.get_message_by_name(&M::full_name()))
        .and_then(|descriptor| DynamicMessage::decode(descriptor, reply.encode_to_vec().as_slice()).ok())
        .and_then(|message| print(&message).ok());
    mapped.ok_or_else(|| Failure::text(format!("{} has no JSON form", M::full_name())))
}

/// Prints a text and a line end on standard output, in one piece.
///
/// # Errors
/// [`Failure::NotShown`] when it cannot be written.
pub(super) fn print_text(text: impl AsRef<str>) -> Result<(), Failure> {
    stdout::print(text).map_err(Failure::not_shown)
}

/// Prints a reply as JSON, or as `text` makes it.
pub(super) fn show<M: prost::Message + prost::Name>(
    as_json: bool,
    reply: &M,
    text: impl FnOnce(&M) -> String,
) -> Result<(), Failure> {
    print_text(if as_json { json(reply)? } else { text(reply) })
}

/// A table of rows under a header.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    table.to_string()
}

/// Names and values below each other; empty values are left out.
pub(super) fn fields<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = pairs.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect();
    lines.join("\n")
}

/// A protobuf time as ISO 8601.
pub(super) fn time(timestamp: Option<&prost_types::Timestamp>) -> String {
    timestamp.and_then(|t| jiff::Timestamp::new(t.seconds, 0).ok()).map(|t| t.to_string()).unwrap_or_default()
}
