//! Compiles the proto files.
fn main() {}
