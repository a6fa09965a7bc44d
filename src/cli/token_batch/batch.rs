//! What is kept beside the output, and the request ids that follow from it.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::cli::{exit::Exit, output::Failure};

/// What the file `OUTPUT.batch` holds.
#[derive(Serialize, Deserialize)]
struct Kept {
    batch_id: Uuid,
    /// Of outputs that an earlier version began: its ids are made of line numbers, so its input
    /// must stay as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input_sha256: Option<String>,
}

/// The batch of an output. Nobody else works on it while this lives.
pub(super) struct Batch {
    kept: Kept,
    _locked: File,
}

impl Batch {
    /// The batch that was begun for this output, or a new one.
    pub(super) fn open(input: &Path, output: &Path) -> Result<Self, Failure> {
        let mut name = output.as_os_str().to_owned();
        name.push(".batch");
        let path = PathBuf::from(name);
        let failure = |error: io::Error| Failure::created("output", &path, &error);
        let is_new = !path.exists();
        if is_new && output.exists() {
            return Err(Failure::usage(format!(
                "{} exists and {} does not: it is the output of no batch; give another output",
                output.display(),
                path.display()
            )));
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failure)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let text = "another command works on this output; wait for its end";
                return Err(Failure::exit(Exit::Later, format!("{}: {text}", output.display())));
            }
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
                return Err(failure(error));
            }
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failure)?;
        let kept = match serde_json::from_str(&text) {
            Ok(kept) => kept,
            // It is durable before the output is begun: without an output, nothing was asked for.
            Err(_) if !output.exists() => begin(&mut file, &path)?,
            Err(error) => return Err(Failure::data("output", &path, error)),
        };
        if let Some(sha256) = &kept.input_sha256
            && *sha256 != digest(input)?
        {
            return Err(Failure::usage(format!(
                "{} was begun by an earlier version, which knows lines by their numbers: it goes on with the same input alone. \
                 Give another output, and an input without the lines that this one has tokens for",
                output.display()
            )));
        }
        Ok(Self { kept, _locked: file })
    }

    pub(super) fn id(&self) -> Uuid {
        self.kept.batch_id
    }

    /// The request ids of its rows.
    pub(super) fn ids(&self) -> Ids {
        Ids { batch: self.kept.batch_id, by_number: self.kept.input_sha256.is_some(), seen: HashMap::new() }
    }
}

/// Writes a new batch, durably: without its id a second run would be another one.
fn begin(file: &mut File, path: &Path) -> Result<Kept, Failure> {
    let kept = Kept { batch_id: Uuid::now_v7(), input_sha256: None };
    let text = serde_json::to_string_pretty(&kept)
        .map_err(|error| Failure::exit(Exit::Software, error.to_string()))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(|error| Failure::created("output", path, &error))?;
    Ok(kept)
}

fn digest(input: &Path) -> Result<String, Failure> {
    let mut hash = Sha256::new();
    File::open(input)
        .and_then(|mut file| {
            let mut buffer = vec![0; 1 << 16];
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(()),
                    count => hash.update(&buffer[..count]),
                }
            }
        })
        .map_err(|error| Failure::file("input", input, &error))?;
    Ok(hex::encode(hash.finalize()))
}

/// Request ids, one after the other. That of an order is made of the batch's id, the order, and how
/// many equal ones stand before it: it stays the same wherever the row moves.
pub(super) struct Ids {
    batch: Uuid,
    by_number: bool,
    seen: HashMap<Uuid, u32>,
}

impl Ids {
    /// The id of the next row, which begins on `line` and orders `key`.
    pub(super) fn next(&mut self, line: u64, key: &str) -> Uuid {
        if self.by_number {
            return Uuid::new_v5(&self.batch, (line - 1).to_string().as_bytes());
        }
        let order = Uuid::new_v5(&self.batch, key.as_bytes());
        let seen = self.seen.entry(order).or_default();
        *seen += 1;
        Uuid::new_v5(&order, seen.to_string().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(keys: &[&str]) -> Vec<Uuid> {
        let mut ids = Ids { batch: Uuid::from_u128(7), by_number: false, seen: HashMap::new() };
        keys.iter().map(|key| ids.next(0, key)).collect()
    }

    #[test]
    fn ids_stay_with_their_orders_wherever_rows_move() {
        let before = ids(&["a", "b", "a", "c"]);
        let after = ids(&["x", "a", "a", "c", "b", "a"]);
        assert_eq!([after[1], after[4], after[2], after[3]], *before.as_slice());
        assert!(!before.contains(&after[0]) && !before.contains(&after[5]));
        let mut all = after.clone();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), after.len());
    }
}
