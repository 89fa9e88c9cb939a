//! Runs the string service.

use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use clap::CommandFactory;
use clap::Parser;
use clap::error::ErrorKind;
use stringsvc::Args;
use stringsvc::Strings;
use stringsvc::Telemetry;
use stringsvc::app;
use stringsvc::routes;
use stringsvc::serve;
use towerkit::core::BoxError;
use towerkit::metrics::Registry;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let (app, _telemetry) = start(&args).unwrap_or_else(|error| {
        Args::command()
            .error(ErrorKind::ValueValidation, error)
            .exit()
    });
    match serve(app, &args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stringsvc: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<(Router, Telemetry), BoxError> {
    let registry = Registry::new();
    let app = app(routes(Arc::new(Strings)), args, &registry)?;
    let telemetry = Telemetry::start(args)?;
    telemetry.show_losses(&registry)?;
    Ok((app, telemetry))
}
