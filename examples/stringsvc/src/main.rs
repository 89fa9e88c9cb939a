//! Runs the string service.

use std::process::ExitCode;
use std::sync::Arc;

use clap::CommandFactory;
use clap::Parser;
use clap::error::ErrorKind;
use stringsvc::Args;
use stringsvc::Strings;
use stringsvc::Telemetry;
use stringsvc::app;
use stringsvc::routes;
use stringsvc::serve;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let started = app(routes(Arc::new(Strings)), &args)
        .and_then(|app| Telemetry::start(&args).map(|telemetry| (app, telemetry)));
    let (app, _telemetry) = started.unwrap_or_else(|error| {
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
