//! Runs the demo, the server or the load generator.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use resilience::{Args, Command, Load, LoadArgs, demo, serve};
use towerkit::core::BoxError;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let command = args.command.unwrap_or(Command::Demo(args.demo));
    let result = match &command {
        Command::Demo(args) => demo(args).await,
        Command::Serve(args) => serve(args).await,
        Command::Load(args) => load(args).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("resilience: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn load(args: &LoadArgs) -> Result<(), BoxError> {
    let load = Load {
        addr: args.addr,
        path: args.path.clone(),
        rate: args.rate,
        time: Duration::from_secs(args.seconds.into()),
        connections: args.connections as usize,
    };
    println!("{}", load.run().await);
    Ok(())
}
