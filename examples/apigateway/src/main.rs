//! Runs the gateway.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use apigateway::{Args, app};
use clap::Parser;
use tokio::net::TcpListener;
use towerkit::{
    core::BoxError,
    log::{Background, EventLog, Format, LineFormatter},
    metrics::Registry,
    server::Server,
};
use tracing_subscriber::{
    Layer, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt,
};

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("apigateway: {error}");
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

    let app = app(args, &Registry::new())?;
    let listener = TcpListener::bind(&args.addr)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", args.addr))?;
    let address = listener.local_addr()?;
    let server = Server::new().name("apigateway").events(EventLog::new());
    let running = server.listen(listener, app).run_until_signal()?;
    // A service serves as well if its output is closed.
    let _ = writeln!(io::stdout(), "listening on {address}");
    running.await;
    Ok(())
}
