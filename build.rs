//! Compiles the proto files with protox (no system protoc) and keeps their descriptors for
//! reflection and JSON.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let ours =
        ["approval", "attributes", "audit", "client", "configuration", "ledger", "public_key", "token"];
    let files = ours
        .map(|name| format!("proto/vendkey/v1/{name}.proto"))
        .into_iter()
        .chain(["proto/grpc/health/v1/health.proto".to_owned()]);
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("vendkey.v1.bin"), descriptors.encode_to_vec())?;
    let mut prost = tonic_prost_build::Config::new();
    prost.enable_type_names();
    tonic_prost_build::configure().compile_fds_with_config(descriptors, prost)?;
    Ok(())
}
