//! The PIN file: parsed before the HSM is asked, since each wrong try brings the token nearer to
//! its lock.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use cryptoki::types::AuthPin;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::error::{HsmError, PinFileProblem};

/// No token takes longer PINs (SoftHSM: 255).
const MOST_PIN_BYTES: usize = 255;

/// Reads the PIN. One LF at the end is not part of it; everything else is, or the file is refused:
/// nothing is cut in silence.
///
/// # Errors
/// [`HsmError::PinFile`] when the file cannot be read, is open to others than its owner, or holds
/// something else than a PIN.
pub(super) fn read_pin(path: &Path) -> Result<AuthPin, HsmError> {
    let refuse = |problem| HsmError::PinFile { path: path.to_owned(), problem };
    let unreadable = |error: std::io::Error| refuse(PinFileProblem::Unreadable(error.to_string()));
    // Non-blocking, so that a pipe put there does not hang the server; the checks are made on the
    // open file, so that it cannot be swapped.
    let mut file = File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(refuse(PinFileProblem::NotAFile));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(refuse(PinFileProblem::Exposed(metadata.mode() & 0o777)));
    }
    let (owner, own) = (metadata.uid(), geteuid().as_raw());
    if owner != own && owner != 0 {
        return Err(refuse(PinFileProblem::OtherOwner { owner, own }));
    }
    // One byte for the line end, two for a BOM and CR that are told of, and one to notice that
    // there is more. Never grows, so leaves no copies behind.
    let mut bytes = Zeroizing::new(vec![0; MOST_PIN_BYTES + 5]);
    let mut len = 0;
    while len < bytes.len() {
        match file.read(&mut bytes[len..]).map_err(unreadable)? {
            0 => break,
            more => len += more,
        }
    }
    parse(&bytes[..len]).map(|pin| AuthPin::new(Box::from(pin))).map_err(refuse)
}

/// The PIN in a file's bytes.
fn parse(bytes: &[u8]) -> Result<&str, PinFileProblem> {
    use PinFileProblem as Problem;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Problem::Utf16);
    }
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if text.trim_ascii().is_empty() {
        return Err(Problem::Empty);
    }
    if text.starts_with("\u{feff}".as_bytes()) {
        return Err(Problem::ByteOrderMark);
    }
    if text.contains(&b'\n')
        || text.iter().rposition(|byte| *byte == b'\r').is_some_and(|at| at + 1 < text.len())
    {
        return Err(Problem::SeveralLines);
    }
    if text.len() > MOST_PIN_BYTES + 1 {
        return Err(Problem::TooLong(MOST_PIN_BYTES));
    }
    let text = str::from_utf8(text).map_err(|_| Problem::NotUtf8)?;
    // What stands at its ends, from the outside in. A CR is that of a Windows line end.
    if text.trim_end_matches('\r').ends_with(char::is_whitespace) {
        return Err(Problem::BlankAtEnd);
    }
    if text.ends_with('\r') {
        return Err(Problem::CarriageReturn);
    }
    if text.starts_with(char::is_whitespace) {
        return Err(Problem::BlankAtStart);
    }
    if let Some(hidden) = text.chars().find(|character| is_hidden(*character)) {
        return Err(Problem::Hidden(hidden as u32));
    }
    if is_quoted(text) {
        return Err(Problem::Quoted);
    }
    if is_comment(text) {
        return Err(Problem::Comment);
    }
    if is_assignment(text) {
        return Err(Problem::Assignment);
    }
    if text.len() > MOST_PIN_BYTES {
        return Err(Problem::TooLong(MOST_PIN_BYTES));
    }
    Ok(text)
}

/// Control characters, those of no width that come along when a text is copied from a web page or a
/// letter, and blanks that are not the one of the keyboard.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || character.is_whitespace() && character != ' '
        || matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// A pair of quotation marks around all of it.
fn is_quoted(text: &str) -> bool {
    const PAIRS: [(char, char); 9] = [
        ('"', '"'),
        ('\'', '\''),
        ('`', '`'),
        ('\u{201c}', '\u{201d}'),
        ('\u{201e}', '\u{201c}'),
        ('\u{201e}', '\u{201d}'),
        ('\u{2018}', '\u{2019}'),
        ('\u{ab}', '\u{bb}'),
        ('\u{bb}', '\u{ab}'),
    ];
    text.chars().count() > 1
        && PAIRS.iter().any(|(open, close)| text.starts_with(*open) && text.ends_with(*close))
}

/// A line that is a comment, or has one behind a blank.
fn is_comment(text: &str) -> bool {
    text.starts_with("# ") || text.starts_with("//") || text.contains(" #") || text.contains("\t#")
}

/// `NAME=value`, `name: value`, or JSON, as in files of settings. A PIN may hold an equals sign, as base64
/// does at its end, so the name must look like one: capitals, or a word that speaks of a secret.
fn is_assignment(text: &str) -> bool {
    if text.starts_with("{\"") && text.contains("\":") {
        return true;
    }
    let text = text.strip_prefix("export ").unwrap_or(text);
    let Some(at) = text.find(['=', ':']) else { return false };
    let (name, value) = (text[..at].trim_end(), text[at + 1..].trim_start_matches('='));
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.'));
    let capitals = name.len() > 2 && !name.contains(|character: char| character.is_ascii_lowercase());
    let lower = name.to_ascii_lowercase();
    let speaks = ["pin", "pass", "secret", "token", "hsm", "vendkey"].iter().any(|word| lower.contains(word));
    is_name && !value.trim().is_empty() && (capitals || speaks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::os::unix::fs::PermissionsExt;

    fn pin_of(content: &[u8], mode: u32) -> Result<String, PinFileProblem> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        match read_pin(&path) {
            Ok(pin) => Ok(pin.expose_secret().to_owned()),
            Err(HsmError::PinFile { problem, .. }) => Err(problem),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn one_line_end_is_cut_and_nothing_else() {
        assert_eq!(pin_of(b"1234", 0o600).unwrap(), "1234");
        assert_eq!(pin_of(b"1234\n", 0o400).unwrap(), "1234");
        assert_eq!(pin_of(&[b'9'; 255], 0o600).unwrap().len(), 255);
        // PINs that only resemble what is refused.
        for pin in [
            "12 34",
            "MTIzNDU2Nzg=",
            "MTIzNDU2NzgPIN==",
            "a=b",
            "7:7",
            "\"1234",
            "#1234",
            "12'34'",
            "o'clock",
            "X=1",
        ] {
            assert_eq!(pin_of(pin.as_bytes(), 0o600).unwrap(), pin);
        }
    }

    #[test]
    fn what_people_put_around_a_pin_is_named() {
        use PinFileProblem as Problem;
        for (content, problem) in [
            ("\u{feff}1234\n", Problem::ByteOrderMark),
            ("1234\r\n", Problem::CarriageReturn),
            ("1234\r", Problem::CarriageReturn),
            ("1234 \r\n", Problem::BlankAtEnd),
            ("1234 \n", Problem::BlankAtEnd),
            ("1234\t", Problem::BlankAtEnd),
            ("1234\u{a0}\n", Problem::BlankAtEnd),
            (" 1234", Problem::BlankAtStart),
            ("\t1234\n", Problem::BlankAtStart),
            ("\u{3000}1234\n", Problem::BlankAtStart),
            ("1234\n\n", Problem::SeveralLines),
            ("\n1234\n", Problem::SeveralLines),
            ("1234\r\n\r\n", Problem::SeveralLines),
            ("12\r34\n", Problem::SeveralLines),
            ("# the PIN\n1234\n", Problem::SeveralLines),
            ("# the PIN", Problem::Comment),
            ("1234 # the PIN\n", Problem::Comment),
            ("\"1234\"\n", Problem::Quoted),
            ("'1234'", Problem::Quoted),
            ("\u{201c}1234\u{201d}\n", Problem::Quoted),
            ("VENDKEY_PIN=1234\n", Problem::Assignment),
            ("export PIN='1234'\n", Problem::Assignment),
            ("pin = \"1234\"\n", Problem::Assignment),
            ("pin: 1234\n", Problem::Assignment),
            ("hsm_user=1234", Problem::Assignment),
            ("{\"pin\": \"1234\"}\n", Problem::Assignment),
            ("12\u{200b}34", Problem::Hidden(0x200b)),
            ("12\u{a0}34", Problem::Hidden(0xa0)),
            ("12\u{0}34", Problem::Hidden(0)),
            ("\n", Problem::Empty),
            ("", Problem::Empty),
            (" \r\n", Problem::Empty),
        ] {
            assert_eq!(pin_of(content.as_bytes(), 0o600), Err(problem), "{content:?}");
        }
        assert_eq!(pin_of(b"\xff\xfe1\x002\x00", 0o600), Err(Problem::Utf16));
        assert_eq!(pin_of(b"12\xff", 0o600), Err(Problem::NotUtf8));
    }

    #[test]
    fn bad_files_are_refused() {
        assert_eq!(pin_of(b"1234", 0o640), Err(PinFileProblem::Exposed(0o640)));
        assert_eq!(pin_of(b"1234", 0o604), Err(PinFileProblem::Exposed(0o604)));
        assert_eq!(pin_of(&[b'9'; 256], 0o600), Err(PinFileProblem::TooLong(255)));
        assert_eq!(pin_of(&[b'9'; 5000], 0o600), Err(PinFileProblem::TooLong(255)));
        let dir = tempfile::tempdir().unwrap();
        let of = |path: &Path| match read_pin(path).unwrap_err() {
            HsmError::PinFile { problem, .. } => problem,
            other => panic!("{other}"),
        };
        assert_eq!(of(dir.path()), PinFileProblem::NotAFile);
        assert!(matches!(of(&dir.path().join("none")), PinFileProblem::Unreadable(_)));
        if geteuid().is_root() {
            let path = dir.path().join("pin");
            std::fs::write(&path, "1234").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(&path, Some(4711), None).unwrap();
            assert_eq!(of(&path), PinFileProblem::OtherOwner { owner: 4711, own: 0 });
        }
    }

    #[test]
    fn no_problem_shows_the_pin() {
        for content in ["\u{feff}86420\n", "86420 \r\n", "PIN=86420", "'86420'", "86420\n86420\n"] {
            let text = pin_of(content.as_bytes(), 0o600).unwrap_err().to_string();
            assert!(!text.contains("86420"), "{text}");
        }
    }
}
