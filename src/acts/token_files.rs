//! Files and logs of tokens that other systems wrote, read as `vendkey tokens clean` reads them.
//! No key is used, and nothing of them is kept.

use tokio::sync::Semaphore;

use super::{Acts, Reason, Refusal};
use crate::token_log::{Log, Profile, Summary};

/// Files that a request may hold.
const MOST_FILES: usize = 20;
/// Bytes of all of them.
const MOST_BYTES: usize = 2 * 1024 * 1024;
/// Characters of a file's name.
const MOST_NAME: usize = 200;
/// Bytes of a profile.
const MOST_PROFILE: usize = 16 * 1024;
/// Tokens that an answer may hold: more would not be a message.
const MOST_TOKENS: usize = 10_000;

/// Files are read one request after the other, so that they never take more than one core from
/// those who vend.
static READING: Semaphore = Semaphore::const_new(1);

/// What files say, and its sums.
#[derive(Debug)]
pub struct TokenFiles {
    /// Every token, marked.
    pub log: Log,
    /// Of those that are no doubles.
    pub summary: Summary,
}

impl Acts {
    /// Reads files, each with its name. `profile` is TOML.
    ///
    /// # Errors
    /// INVALID_FIELDS: too many or too large files, a profile that is none, too many tokens.
    pub async fn read_token_files(
        &self,
        files: Vec<(String, Vec<u8>)>,
        profile: &str,
    ) -> Result<TokenFiles, Refusal> {
        let profile = checked(&files, profile)?;
        let stopped = || Refusal::new(Reason::Internal, "the reading of files stopped");
        let permit = READING.acquire().await.map_err(|_| stopped())?;
        let read = tokio::task::spawn_blocking(move || {
            // Held to the end of the reading, though its caller may have hung up.
            let _permit = permit;
            read(files, &profile)
        });
        read.await.map_err(|_| stopped())?
    }
}

fn checked(files: &[(String, Vec<u8>)], profile: &str) -> Result<Profile, Refusal> {
    let mut faults = Vec::new();
    let mut fault = |field: String, text: String| faults.push((field, text));
    if files.is_empty() || files.len() > MOST_FILES {
        fault("files".to_owned(), format!("1 to {MOST_FILES} are expected"));
    }
    if files.iter().map(|(_, content)| content.len()).sum::<usize>() > MOST_BYTES {
        let text = "have more than 2 MiB in all: `vendkey tokens clean` reads files of any size";
        fault("files".to_owned(), text.to_owned());
    }
    for (place, (name, _)) in files.iter().enumerate() {
        if name.is_empty() || name.chars().count() > MOST_NAME || name.chars().any(char::is_control) {
            let text = format!("1 to {MOST_NAME} characters are expected, and no control characters");
            fault(format!("files[{place}].name"), text);
        }
    }
    let parsed = match profile.len() {
        0..=MOST_PROFILE => Profile::parse(profile).map_err(|error| error.to_string()),
        _ => Err(format!("has more than {MOST_PROFILE} bytes")),
    };
    match parsed {
        Ok(profile) if faults.is_empty() => Ok(profile),
        Ok(_) => Err(Refusal::fields(Reason::InvalidFields, faults)),
        Err(text) => {
            faults.push(("profile".to_owned(), text));
            Err(Refusal::fields(Reason::InvalidFields, faults))
        }
    }
}

fn read(files: Vec<(String, Vec<u8>)>, profile: &Profile) -> Result<TokenFiles, Refusal> {
    let mut log = Log::default();
    for (name, content) in files {
        log.read(&name, content, profile, || {});
    }
    if log.entries.len() > MOST_TOKENS {
        let text = format!(
            "hold {} tokens, more than {MOST_TOKENS}: `vendkey tokens clean` reads files of any length",
            log.entries.len()
        );
        return Err(Refusal::field("files", text));
    }
    log.mark();
    let summary = Summary::of(&log);
    Ok(TokenFiles { log, summary })
}
