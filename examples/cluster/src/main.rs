//! Runs the demo.

use std::process::ExitCode;

use clap::Parser;
use cluster::{Args, demo};

#[tokio::main]
async fn main() -> ExitCode {
    match demo(&Args::parse()).await {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster: {error}");
            ExitCode::FAILURE
        }
    }
}
