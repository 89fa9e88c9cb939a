//! Runs the string service.

use std::process::ExitCode;
use std::sync::Arc;

use clap::CommandFactory;
use clap::Parser;
use clap::error::ErrorKind;
use stringsvc::Args;
use stringsvc::Strings;
use stringsvc::app;
use stringsvc::routes;
use stringsvc::serve;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let app = app(routes(Arc::new(Strings)), &args).unwrap_or_else(|error| {
        Args::command()
            .error(ErrorKind::ValueValidation, error)
            .exit()
    });
    let subscriber = towerkit::log::subscriber(args.log_format.into()).level(args.log);
    subscriber.try_init().expect("the first subscriber");
    match serve(app, &args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stringsvc: {error}");
            ExitCode::FAILURE
        }
    }
}
