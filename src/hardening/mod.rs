//! What the kernel is asked to keep from the process, so that whoever takes it over through a fault
//! of ours or of the PKCS#11 module gets no further: paths and ports by Landlock (`reach`), and
//! calls that it never makes by seccomp (`calls`).
//!
//! Both bind the thread that asks for them and all that it starts, and cannot be taken back. So they
//! are asked for before any other thread is there.

mod calls;
mod reach;

pub use calls::{NoCalls, refuse_calls};
pub use reach::{Enforced, NoReach, Reach, confine, is_known_here};
