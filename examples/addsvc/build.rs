//! Compiles the service definition in Rust alone, so that no `protoc` needs to be installed.

use std::{env, error::Error, fs, path::Path};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let service = protox::compile(["addsvc.proto"], ["proto"])?;
    // Server reflection sends the definition to its clients.
    let definition = Path::new(&env::var("OUT_DIR")?).join("addsvc.bin");
    fs::write(definition, service.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(service)?;
    println!("cargo::rerun-if-changed=proto");
    Ok(())
}
