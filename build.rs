//! Compiles the proto files with protox (no system protoc) and keeps their descriptors for
//! reflection and JSON.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let ours = [
        "approval",
        "attributes",
        "audit",
        "client",
        "configuration",
        "ledger",
        "public_key",
        "server",
        "simulator",
        "token",
        "token_file",
    ];
    let files = ours
        .map(|name| format!("proto/vendkey/v1/{name}.proto"))
        .into_iter()
        .chain(["proto/grpc/health/v1/health.proto".to_owned()]);
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(files)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    // With the options that are extensions, which the types of prost-types leave out.
    fs::write(out.join("vendkey.v1.bin"), compiler.encode_file_descriptor_set())?;
    let descriptors = compiler.file_descriptor_set();
    let mut prost = tonic_prost_build::Config::new();
    prost.enable_type_names();
    tonic_prost_build::configure().compile_fds_with_config(descriptors, prost)?;
    Ok(())
}
