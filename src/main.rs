//! The `vendkey` program.

fn main() {}
