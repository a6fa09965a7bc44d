//! System calls that the server never makes, refused by seccomp with EPERM: to run programs, to look
//! into other processes, to change the kernel, its mounts, its clock or its modules.
//!
//! A list of what is refused, not of what is let through: a PKCS#11 module is another's code, and
//! what a network HSM's driver calls nobody here knows. EPERM and not the end of the process: a
//! library that tries something and does without must not end a till.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

/// The calls. What only one kind of machine has follows below.
const REFUSED: &[i64] = &[
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes, and this one from outside.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_perf_event_open,
    // Ways around what looks at calls.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_bpf,
    // The kernel.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_personality,
    libc::SYS_vhangup,
    // Its clock and name: `adjtimex` is asked only what the clock is like.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    // The kernel's own store of keys.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
];

#[cfg(target_arch = "x86_64")]
const OF_THIS_MACHINE: &[i64] =
    &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_kexec_file_load, libc::SYS_uselib];
#[cfg(not(target_arch = "x86_64"))]
const OF_THIS_MACHINE: &[i64] = &[];

/// Why the kernel refuses none of them.
#[derive(Debug, thiserror::Error)]
pub enum NoCalls {
    /// There is no list for this kind of machine.
    #[error("seccomp: there is no list of calls for {0}")]
    Machine(&'static str),
    /// What the kernel says.
    #[error("seccomp: {0}")]
    Kernel(#[from] seccompiler::Error),
    /// The list has no form that it takes.
    #[error("seccomp: {0}")]
    Filter(#[from] seccompiler::BackendError),
}

/// Refuses these calls to this thread and all that it starts from now on, and says how many they
/// are. Calls by the numbers of another kind of machine end the process.
///
/// # Errors
/// [`NoCalls`]; none is refused then.
pub fn refuse_calls() -> Result<usize, NoCalls> {
    let machine = std::env::consts::ARCH;
    let target = TargetArch::try_from(machine).map_err(|_| NoCalls::Machine(machine))?;
    let refused: BTreeMap<i64, _> =
        REFUSED.iter().chain(OF_THIS_MACHINE).map(|call| (*call, Vec::new())).collect();
    let (count, eperm) = (refused.len(), libc::EPERM.cast_unsigned());
    let filter = SeccompFilter::new(refused, SeccompAction::Allow, SeccompAction::Errno(eperm), target)?;
    let filter = BpfProgram::try_from(filter)?;
    let filter = [second_numbers(eperm), filter].concat();
    apply_filter(&filter)?;
    Ok(count)
}

/// On x86-64 every call has a second number for the x32 ABI, under the same machine: those are
/// refused one and all.
#[cfg(target_arch = "x86_64")]
fn second_numbers(errno: u32) -> BpfProgram {
    use seccompiler::sock_filter;
    /// Where their numbers begin (`__X32_SYSCALL_BIT`).
    const X32: u32 = 0x4000_0000;
    let instruction = |code: u32, jf: u8, k: u32| sock_filter { code: code as u16, jt: 0, jf, k };
    vec![
        // The call's number, the first field of `seccomp_data`; as large as those or not; the answer.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 1, X32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | errno),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn second_numbers(_errno: u32) -> BpfProgram {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use std::{fs, io, process::Command};

    use super::*;

    /// In a thread of its own: it is bound for good.
    #[test]
    fn no_program_is_run_and_the_rest_goes_on() {
        let bound = || {
            assert!(refuse_calls().unwrap() > 40);
            let run = Command::new("true").status().unwrap_err();
            assert_eq!(run.kind(), io::ErrorKind::PermissionDenied);
            let started = std::thread::spawn(|| Command::new("true").status().map(drop));
            assert_eq!(started.join().unwrap().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("file"), "x").unwrap();
            std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        };
        std::thread::scope(|scope| scope.spawn(bound).join().unwrap());
        assert!(Command::new("true").status().unwrap().success(), "this thread is free");
    }
}
