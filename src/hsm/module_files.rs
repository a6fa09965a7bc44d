//! The files of a module beside its library, where anybody knows them: those of SoftHSM.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Where SoftHSM is told where its tokens are.
const VARIABLE: &str = "SOFTHSM2_CONF";
/// Where it looks otherwise, behind the user's own file.
const OF_THE_SYSTEM: [&str; 2] = ["/etc/softhsm/softhsm2.conf", "/etc/softhsm2.conf"];
/// The line that names the folder of tokens.
const TOKENS: &str = "directories.tokendir";

/// What a module reads and writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFiles {
    /// What it is told by.
    pub configuration: PathBuf,
    /// Where it keeps its tokens.
    pub tokens: PathBuf,
}

/// The files of a module; `None` for one of which nobody here knows them.
pub fn module_files(module: &Path) -> Option<ModuleFiles> {
    let library = module.canonicalize().ok()?;
    if !library.file_name()?.to_string_lossy().contains("softhsm") {
        return None;
    }
    let of_user = || Some(PathBuf::from(env::var_os("HOME")?).join(".config/softhsm2/softhsm2.conf"));
    found(env::var_os(VARIABLE), of_user().into_iter().chain(OF_THE_SYSTEM.map(PathBuf::from)))
}

fn found(named: Option<OsString>, usual: impl IntoIterator<Item = PathBuf>) -> Option<ModuleFiles> {
    let configuration = match named {
        Some(named) => named.into(),
        None => usual.into_iter().find(|file| file.is_file())?,
    };
    let tokens = token_folder(&fs::read_to_string(&configuration).ok()?)?;
    Some(ModuleFiles { configuration, tokens })
}

fn token_folder(text: &str) -> Option<PathBuf> {
    let mut lines = text.lines().filter_map(|line| line.split('#').next()?.split_once('='));
    let named = lines.rfind(|(name, _)| name.trim() == TOKENS);
    named.map(|(_, folder)| folder.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_tokens_is_read_where_softhsm_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("softhsm2.conf");
        fs::write(
            &file,
            "# directories.tokendir = /no\nlog.level=INFO\n  directories.tokendir = /a b/c # x\n",
        )
        .unwrap();
        let files = ModuleFiles { configuration: file.clone(), tokens: "/a b/c".into() };
        assert_eq!(found(Some(file.clone().into()), []), Some(files.clone()));
        let usual = [folder.path().join("missing"), file];
        assert_eq!(found(None, usual.clone()), Some(files));
        assert_eq!(found(Some("/missing".into()), usual), None, "what is named alone counts");
        assert_eq!(token_folder("slots.removable = false\n"), None);
        let other = folder.path().join("other.so");
        fs::write(&other, "").unwrap();
        assert!(module_files(&other).is_none());
    }
}
