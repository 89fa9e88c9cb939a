//! Compiles the service definition in Rust alone, so that no `protoc` needs to be installed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let service = protox::compile(["addsvc.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(service)?;
    println!("cargo::rerun-if-changed=proto");
    Ok(())
}
