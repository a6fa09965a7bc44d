//! The settings of what the kernel keeps from the server.

use std::path::PathBuf;

use super::Reader;

/// What the kernel is asked to keep from the server.
#[derive(Debug, Clone)]
pub struct HardeningSettings {
    /// Paths and ports that it does not need.
    pub landlock: Wanted,
    /// Calls that it never makes.
    pub seccomp: Wanted,
    /// What the PKCS#11 module writes to and reads beside its library and /etc; `None`: not said.
    pub module_paths: Option<Vec<PathBuf>>,
}

/// Whether something is asked of a kernel that may not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Where the kernel has it.
    Auto,
    /// Without it the server does not start.
    Required,
    /// Never.
    Off,
}

impl Reader<'_> {
    pub(super) fn hardening(&mut self) -> Option<HardeningSettings> {
        let landlock = self.wanted("hardening.landlock");
        let seccomp = self.wanted("hardening.seccomp");
        let paths = self.text("hardening.module_paths");
        let module_paths = paths.map(|paths| {
            let named = paths.split(',').map(str::trim).filter(|path| !path.is_empty());
            named.map(|path| self.path(path)).collect()
        });
        Some(HardeningSettings { landlock: landlock?, seccomp: seccomp?, module_paths })
    }

    fn wanted(&mut self, key: &str) -> Option<Wanted> {
        let all = [Wanted::Auto, Wanted::Required, Wanted::Off];
        all.get(self.choice(key, &["auto", "required", "off"])?).copied()
    }
}
