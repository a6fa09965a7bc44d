//! Memory for secrets, the hardening of the process, and what else only an `unsafe` call can ask
//! the kernel.
//!
//! With `hsm/initialize.rs` the only module with `unsafe` code: it asks the kernel for pages that are
//! never swapped out, never in a core dump, fenced by pages that cannot be touched, and wiped before
//! they go back.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use thiserror::Error;
use zeroize::Zeroize;

/// The kernel refused memory or a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the system refused {call}: {errno}")]
pub struct MemoryError {
    /// The system call.
    pub call: &'static str,
    /// Its answer.
    pub errno: rustix::io::Errno,
}

/// Whole pages outside the heap: locked in RAM, not dumpable, between two guard pages, zero at
/// birth and wiped at the end.
///
/// Locking needs room under `RLIMIT_MEMLOCK` (or `CAP_IPC_LOCK`); where the system does not give it
/// the pages are used all the same and [`LockedPage::locked`] says so, because refusing to vend is
/// worse than a page that might be swapped.
pub struct LockedPage {
    /// First usable byte; the guard page lies before it.
    start: NonNull<u8>,
    /// Usable bytes, a multiple of the page size.
    len: usize,
    locked: bool,
}

// SAFETY: the mapping belongs to this value alone, has no thread affinity, and is only reached
// through `&self` and `&mut self`.
unsafe impl Send for LockedPage {}
// SAFETY: `&LockedPage` gives nothing but `&[u8]`.
unsafe impl Sync for LockedPage {}

impl LockedPage {
    /// Maps pages for at least `bytes` bytes (one page for 0), all zero.
    ///
    /// # Errors
    /// [`MemoryError`] when the system has no memory; not when it refuses to lock.
    pub fn new(bytes: usize) -> Result<LockedPage, MemoryError> {
        let page = rustix::param::page_size();
        let refused = |call| move |errno| MemoryError { call, errno };
        let len = bytes.max(1).checked_next_multiple_of(page);
        let (Some(len), Some(total)) = (len, len.and_then(|len| len.checked_add(2 * page))) else {
            return Err(MemoryError { call: "mmap", errno: rustix::io::Errno::NOMEM });
        };
        // SAFETY: a fresh private anonymous mapping at an address of the kernel's choice aliases
        // nothing.
        let base = unsafe {
            rustix::mm::mmap_anonymous(std::ptr::null_mut(), total, ProtFlags::empty(), MapFlags::PRIVATE)
        }
        .map_err(refused("mmap"))?;
        // SAFETY: `total` is two pages more than `len`, so one page further is inside the mapping.
        let start: *mut c_void = unsafe { base.byte_add(page) };
        // SAFETY: the range is ours (above), page aligned, and nothing refers to it yet.
        let opened = unsafe { rustix::mm::mprotect(start, len, MprotectFlags::READ | MprotectFlags::WRITE) };
        let (Ok(()), Some(first)) = (opened, NonNull::new(start.cast::<u8>())) else {
            // SAFETY: the whole mapping is ours and nothing refers to it.
            let _ = unsafe { rustix::mm::munmap(base, total) };
            return Err(MemoryError {
                call: "mprotect",
                errno: opened.err().unwrap_or(rustix::io::Errno::FAULT),
            });
        };
        // SAFETY: the range is ours; neither call changes what it holds.
        let locked = unsafe {
            // A kernel without MADV_DONTDUMP still has RLIMIT_CORE = 0 (`harden_process`).
            let _ = rustix::mm::madvise(start, len, Advice::LinuxDontDump);
            rustix::mm::mlock(start, len).is_ok()
        };
        Ok(LockedPage { start: first, len, locked })
    }

    /// Whether the pages are locked in RAM. When not, say it to the operator once.
    pub fn locked(&self) -> bool {
        self.locked
    }

    /// Writes zeros over everything.
    pub fn wipe(&mut self) {
        self.deref_mut().zeroize();
    }
}

impl Deref for LockedPage {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes from `start` are mapped readable and were zeroed by the kernel, so
        // initialised.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for LockedPage {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` makes the reference unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for LockedPage {
    fn drop(&mut self) {
        self.wipe();
        let page = rustix::param::page_size();
        // SAFETY: `new` mapped exactly this range, guard pages included; no reference outlives
        // `self`.
        unsafe {
            let base = self.start.as_ptr().byte_sub(page).cast::<c_void>();
            // munmap also unlocks. There is nobody to tell of a failure, and the bytes are wiped.
            let _ = rustix::mm::munmap(base, self.len + 2 * page);
        }
    }
}

impl fmt::Debug for LockedPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedPage")
            .field("len", &self.len)
            .field("locked", &self.locked)
            .finish_non_exhaustive()
    }
}

/// Secret bytes of a length fixed at birth, in pages of their own ([`LockedPage`]).
///
/// Reads and writes as a byte slice. Neither clones, nor prints, nor compares: use `subtle` on the
/// slices.
pub struct SecretBytes {
    page: LockedPage,
    len: usize,
}

impl SecretBytes {
    /// `len` zero bytes, to be written through the slice.
    ///
    /// # Errors
    /// [`MemoryError`] when the system has no memory.
    pub fn zeroed(len: usize) -> Result<SecretBytes, MemoryError> {
        Ok(SecretBytes { page: LockedPage::new(len)?, len })
    }

    /// A copy of `bytes`. The caller wipes the original.
    ///
    /// # Errors
    /// [`MemoryError`] when the system has no memory.
    pub fn copy_of(bytes: &[u8]) -> Result<SecretBytes, MemoryError> {
        let mut secret = SecretBytes::zeroed(bytes.len())?;
        secret.copy_from_slice(bytes);
        Ok(secret)
    }

    /// Moves `bytes` off the heap and wipes where they were, also on failure.
    ///
    /// # Errors
    /// [`MemoryError`] when the system has no memory.
    pub fn absorb(mut bytes: Vec<u8>) -> Result<SecretBytes, MemoryError> {
        let secret = SecretBytes::copy_of(&bytes);
        bytes.zeroize();
        secret
    }

    /// Whether the pages are locked in RAM.
    pub fn locked(&self) -> bool {
        self.page.locked()
    }
}

impl Deref for SecretBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.page[..self.len]
    }
}

impl DerefMut for SecretBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.page[..self.len]
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}

/// No core dumps, and no other process of this user may read or trace this one.
///
/// Call it first thing, before any secret is read. `mlockall` is left out on purpose: with
/// `MCL_FUTURE` and a small `RLIMIT_MEMLOCK` it makes starting a thread fail later.
///
/// # Errors
/// [`MemoryError`] names the call that the system refused.
pub fn harden_process() -> Result<(), MemoryError> {
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(|errno| MemoryError { call: "setrlimit(RLIMIT_CORE)", errno })?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| MemoryError { call: "prctl(PR_SET_DUMPABLE)", errno })
}

/// Whether the kernel says that the wall clock is kept by a time server: adjtimex(2). `false` where
/// it does not tell. Setting the clock, in whatever way, makes it `false` until the time server says
/// it again (`ntp_clear` in Linux).
pub fn kernel_clock_is_synchronised() -> bool {
    // SAFETY: `timex` is integers alone, for which zero is a value, and `modes` 0 asks without
    // changing anything.
    let mut found: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live value of the type that the call fills.
    let state = unsafe { libc::adjtimex(&raw mut found) };
    !matches!(state, -1 | libc::TIME_ERROR) && found.status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_zero_rounded_up_and_writable_to_the_last_byte() {
        for bytes in [0, 1, 4095, 4096, 4097, 65_536] {
            let mut page = LockedPage::new(bytes).unwrap();
            assert!(page.len() >= bytes.max(1) && page.len().is_multiple_of(rustix::param::page_size()));
            assert!(page.iter().all(|byte| *byte == 0));
            let last = page.len() - 1;
            page[0] = 1;
            page[last] = 2;
            page.wipe();
            assert!(page.iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn absurd_sizes_are_refused() {
        assert_eq!(LockedPage::new(usize::MAX).unwrap_err().call, "mmap");
        assert!(LockedPage::new(usize::MAX / 2).is_err());
    }

    #[test]
    fn pages_are_excluded_from_core_dumps_and_locked() {
        let page = LockedPage::new(1).unwrap();
        let address = format!("{:x}-", page.as_ptr() as usize);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let flags = maps
            .lines()
            .skip_while(|line| !line.starts_with(&address))
            .find(|line| line.starts_with("VmFlags:"))
            .expect("the mapping is listed");
        assert!(flags.contains(" dd"), "not excluded from dumps: {flags}");
        assert_eq!(flags.contains(" lo"), page.locked());
    }

    #[test]
    fn secret_bytes_hold_what_they_are_given_and_print_nothing() {
        let mut secret = SecretBytes::absorb(b"0123456789abcdef".to_vec()).unwrap();
        assert_eq!(&*secret, b"0123456789abcdef");
        secret[..4].fill(b'x');
        assert_eq!(&*secret, b"xxxx456789abcdef");
        assert_eq!(format!("{secret:?}"), "SecretBytes(..)");
        assert!(SecretBytes::zeroed(0).unwrap().is_empty());
    }

    #[test]
    fn hardening_takes_effect() {
        harden_process().unwrap();
        assert_eq!(rustix::process::getrlimit(Resource::Core).current, Some(0));
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
