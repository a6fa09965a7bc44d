//! Exit codes: those of sysexits(3), as service managers and scripts know them, and two of our own.

use std::process::ExitCode;

use tonic::Code;

use crate::{
    connection::Fault,
    hsm::{HsmError, PinRefusal},
    server::ServeError,
    store::OpenError,
};

/// Why a command ended as it did. 0 is success. The table in docs/operations.md says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// The server says no, or what was examined is not as it must be.
    No = 1,
    /// A batch is done, and some of its lines were refused.
    Partly = 2,
    /// `EX_USAGE`
    Usage = 64,
    /// `EX_DATAERR`
    Data = 65,
    /// `EX_NOINPUT`
    NoInput = 66,
    /// `EX_UNAVAILABLE`
    Unavailable = 69,
    /// `EX_SOFTWARE`
    Software = 70,
    /// `EX_OSERR`
    System = 71,
    /// `EX_CANTCREAT`
    NotCreated = 73,
    /// `EX_IOERR`
    NotShown = 74,
    /// `EX_TEMPFAIL`
    Later = 75,
    /// `EX_NOPERM`
    NotAllowed = 77,
    /// `EX_CONFIG`
    Settings = 78,
    /// Not one of sysexits: a service that tries a wrong PIN again and again locks the token.
    PinRefused = 80,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Code> for Exit {
    fn from(code: Code) -> Self {
        match code {
            Code::InvalidArgument | Code::OutOfRange => Self::Data,
            Code::Unauthenticated | Code::PermissionDenied => Self::NotAllowed,
            Code::Unavailable | Code::Unimplemented => Self::Unavailable,
            Code::ResourceExhausted | Code::Aborted | Code::DeadlineExceeded | Code::Cancelled => Self::Later,
            Code::Internal | Code::Unknown | Code::DataLoss => Self::Software,
            Code::Ok | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition => Self::No,
        }
    }
}

impl From<&Fault> for Exit {
    fn from(fault: &Fault) -> Self {
        match fault {
            Fault::NoTls | Fault::SpeaksTls => Self::Usage,
            Fault::CertificateWanted
            | Fault::OwnOutOfTime { .. }
            | Fault::OwnUnknownAuthority { .. }
            | Fault::OwnRevoked { .. }
            | Fault::OwnRefused { .. } => Self::NotAllowed,
            // There is no server there that can be believed, for now.
            _ => Self::Unavailable,
        }
    }
}

impl From<&HsmError> for Exit {
    fn from(error: &HsmError) -> Self {
        match error {
            HsmError::PinRefused(PinRefusal::NotInitialized) => Self::Settings,
            HsmError::PinRefused(_) | HsmError::PinRefusedBefore { .. } => Self::PinRefused,
            HsmError::PinFile { .. }
            | HsmError::ModuleLoad { .. }
            | HsmError::Initialize { .. }
            | HsmError::TokenAmbiguous { .. }
            | HsmError::NotSetUp(_)
            | HsmError::RotationUnfinished(_)
            | HsmError::NotServed { .. } => Self::Settings,
            HsmError::KeyMissing { .. }
            | HsmError::KeyAmbiguous { .. }
            | HsmError::KeyUntrusted { .. }
            | HsmError::OtherToken { .. } => Self::No,
            HsmError::Memory(_) => Self::System,
            HsmError::WrongKind { .. } | HsmError::TooMany { .. } | HsmError::NotExclusive => Self::Software,
            // It may be away for now: a network HSM that starts again has no token either.
            _ => Self::Unavailable,
        }
    }
}

impl From<&OpenError> for Exit {
    fn from(error: &OpenError) -> Self {
        match error {
            OpenError::InUse { .. }
            | OpenError::NameInUse { .. }
            | OpenError::ServerRuns { .. }
            | OpenError::Maintenance => Self::Later,
            OpenError::Unreachable { .. } => Self::Unavailable,
            OpenError::Copy { .. } => Self::NotCreated,
            OpenError::Chain(error) if error.is_transient() => Self::Unavailable,
            OpenError::Unsealed | OpenError::Forged { .. } | OpenError::Chain(_) => Self::No,
            OpenError::Threads { .. } | OpenError::Randomness(_) => Self::System,
            // Where it lies, what lies there, who may read it.
            _ => Self::Settings,
        }
    }
}

impl From<&ServeError> for Exit {
    fn from(error: &ServeError) -> Self {
        match error {
            ServeError::Settings(_) | ServeError::Root | ServeError::Tls(_) | ServeError::Hardening(_) => {
                Self::Settings
            }
            ServeError::Hsm(error) => error.into(),
            ServeError::Store(error) => error.into(),
            ServeError::Chain(_) => Self::No,
            ServeError::Bind(..) => Self::System,
            ServeError::Task(_) | ServeError::Stopped(_) => Self::Software,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Exit; 14] = [
        Exit::No,
        Exit::Partly,
        Exit::Usage,
        Exit::Data,
        Exit::NoInput,
        Exit::Unavailable,
        Exit::Software,
        Exit::System,
        Exit::NotCreated,
        Exit::NotShown,
        Exit::Later,
        Exit::NotAllowed,
        Exit::Settings,
        Exit::PinRefused,
    ];

    /// The numbers in the first column of the table under a heading.
    fn documented(heading: &str) -> Vec<u8> {
        let text = include_str!("../../docs/operations.md");
        let section = text.split(heading).nth(1).unwrap().split("\n## ").next().unwrap();
        let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next());
        cells.filter_map(|cell| cell.parse().ok()).collect()
    }

    #[test]
    fn the_table_in_the_documents_has_these_and_no_others() {
        let codes: Vec<u8> = [0].into_iter().chain(ALL.map(|exit| exit as u8)).collect();
        assert_eq!(documented("\n## Exit codes\n"), codes);
    }

    #[test]
    fn the_unit_does_not_start_again_what_a_start_does_not_cure() {
        let unit = include_str!("../../deploy/vendkey.service");
        let line = unit.lines().find_map(|line| line.strip_prefix("RestartPreventExitStatus=")).unwrap();
        let codes: Vec<u8> = line.split(' ').map(|code| code.parse().unwrap()).collect();
        assert_eq!(codes, [Exit::Usage, Exit::Settings, Exit::PinRefused].map(|exit| exit as u8));
    }

    #[test]
    fn a_wrong_pin_is_told_from_an_hsm_that_is_away() {
        assert_eq!(Exit::from(&HsmError::PinRefused(PinRefusal::Incorrect)), Exit::PinRefused);
        assert_eq!(Exit::from(&HsmError::Unavailable("gone".to_owned())), Exit::Unavailable);
        assert_eq!(Exit::from(&HsmError::TokenNotFound("a token".to_owned())), Exit::Unavailable);
    }
}
