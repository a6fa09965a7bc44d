//! The `vendkey` program.

use std::process::ExitCode;

/// Zeroes what it frees: parsers and PKCS#11 bindings make copies that nobody else would wipe.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    vendkey::cli::main()
}
