//! Runs the string service.

use std::{process::ExitCode, sync::Arc, time::Duration};

use axum::Router;
use clap::{CommandFactory, Parser, error::ErrorKind};
use stringsvc::{
    Args, Strings, Telemetry, Upstream, app, count, discover, routes, routes_to, serve, server,
};
use towerkit::{core::BoxError, metrics::Registry, server::Server};

/// The attempts of a call that another instance answers, as in go-kit's stringsvc3.
const ATTEMPTS: u8 = 3;
/// The time of all of them.
const ALL_ATTEMPTS_TIMEOUT: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let (server, app, _telemetry) = start(&args).unwrap_or_else(|error| {
        Args::command()
            .error(ErrorKind::ValueValidation, error)
            .exit()
    });
    match serve(server, app, &args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stringsvc: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<(Server, Router, Telemetry), BoxError> {
    let registry = Registry::new();
    let service = Arc::new(Strings);
    let routes = match discover(args)? {
        Some(discovery) => {
            let upstream = Upstream::new(&discovery, ATTEMPTS, ALL_ATTEMPTS_TIMEOUT)?;
            routes_to(upstream.uppercase, count(service))
        }
        None => routes(service),
    };
    let app = app(routes, args, &registry)?;
    let server = server(args)?;
    let telemetry = Telemetry::start(args)?;
    telemetry.show_losses(&registry)?;
    Ok((server, app, telemetry))
}
