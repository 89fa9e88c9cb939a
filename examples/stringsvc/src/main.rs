//! Runs the string service.

use std::{process::ExitCode, sync::Arc};

use axum::Router;
use clap::{CommandFactory, Parser, error::ErrorKind};
use stringsvc::{
    Args, Strings, Telemetry, app, count, discover, proxy, routes, routes_to, serve, server,
};
use towerkit::{core::BoxError, metrics::Registry, server::Server};

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
        Some(discovery) => routes_to(proxy(&discovery)?, count(service)),
        None => routes(service),
    };
    let app = app(routes, args, &registry)?;
    let server = server(args)?;
    let telemetry = Telemetry::start(args)?;
    telemetry.show_losses(&registry)?;
    Ok((server, app, telemetry))
}
