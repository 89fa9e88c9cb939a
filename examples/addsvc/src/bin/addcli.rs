//! Calls the add service over one of its transports.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    process::ExitCode,
    time::Duration,
};

use addsvc::{AddService, Endpoints, client_layers, grpc_client, http_client, json_rpc_client};
use clap::{Parser, ValueEnum};
use tonic::transport::Channel;
use towerkit::core::{BoxError, Clock, Deadline};

/// Sums or concatenates by the add service.
#[derive(Debug, Parser)]
#[command(group = clap::ArgGroup::new("address").required(true))]
struct Args {
    /// Address of the service over HTTP, such as localhost:8081.
    #[arg(long, group = "address")]
    http_addr: Option<String>,

    /// Address of the service over gRPC.
    #[arg(long, group = "address")]
    grpc_addr: Option<String>,

    /// Address of the service over JSON-RPC.
    #[arg(long, group = "address")]
    jsonrpc_addr: Option<String>,

    /// The operation.
    #[arg(long, value_enum, default_value_t = Method::Sum)]
    method: Method,

    /// Time for the call with all its attempts, in seconds. The service gets what is left of it.
    #[arg(long, default_value = "1", value_parser = seconds)]
    timeout: Duration,

    /// The first operand.
    #[arg(allow_hyphen_values = true)]
    a: String,

    /// The second operand.
    #[arg(allow_hyphen_values = true)]
    b: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Method {
    Sum,
    Concat,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let result = call_in_time(Args::parse()).await;
    match result {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "not a number")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Calls with a deadline, which every client inside finds by itself.
async fn call_in_time(args: Args) -> Result<String, BoxError> {
    let deadline = Deadline::after(&Clock::monotonic(), args.timeout);
    let mut call = pin!(call(args));
    poll_fn(|cx| Deadline::enter(Some(&deadline), || call.as_mut().poll(cx))).await
}

async fn call(args: Args) -> Result<String, BoxError> {
    let add = client_layers(client(&args)?, args.timeout)?;
    let Args { a, b, .. } = args;
    Ok(match args.method {
        Method::Sum => {
            let (a, b) = (a.parse()?, b.parse()?);
            format!("{a} + {b} = {}", add.sum(a, b).await?)
        }
        Method::Concat => {
            let v = add.concat(a.clone(), b.clone()).await?;
            format!("{a:?} + {b:?} = {v:?}")
        }
    })
}

fn client(args: &Args) -> Result<Endpoints, BoxError> {
    if let Some(address) = &args.http_addr {
        return http_client(towerkit::http::client(), &format!("http://{address}"));
    }
    if let Some(address) = &args.jsonrpc_addr {
        return json_rpc_client(towerkit::http::client(), &format!("http://{address}/rpc"));
    }
    let address = args.grpc_addr.as_deref().unwrap_or_default();
    let channel = Channel::from_shared(format!("http://{address}"))?.connect_lazy();
    Ok(grpc_client(channel)?)
}
