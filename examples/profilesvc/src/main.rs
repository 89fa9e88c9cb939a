//! Runs the profile service.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use profilesvc::{Endpoints, InMemory, app, routes};
use tokio::net::TcpListener;
use towerkit::{
    core::BoxError,
    log::{Background, Format, LineFormatter},
    metrics::Registry,
    server::Server,
};
use tracing_subscriber::{
    Layer, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt,
};

/// go-kit's profile service on towerkit.
#[derive(Debug, Parser)]
struct Args {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080")]
    addr: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("profilesvc: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), BoxError> {
    // A thread writes the log, so that a slow reader of it delays no call.
    let (queue, _log) = Background::new().start(Format::Logfmt, io::stderr)?;
    let lines = LineFormatter::new(Format::Logfmt).writer(queue);
    let lines = lines.with_filter(LevelFilter::INFO);
    tracing_subscriber::registry().with(lines).try_init()?;

    let registry = Registry::new();
    let app = app(
        routes(Endpoints::new(InMemory::new())),
        &registry,
        Duration::from_secs(5),
    )?;
    let listener = listen(&args.addr).await?;
    let address = listener.local_addr()?;
    let running = Server::new().listen(listener, app).run_until_signal()?;
    let _ = writeln!(io::stdout(), "listening on {address}");
    running.await;
    Ok(())
}

async fn listen(address: &str) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| format!("cannot listen on {address}: {error}"))
}
