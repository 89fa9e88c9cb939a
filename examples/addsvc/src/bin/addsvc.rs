//! Runs the add service.

use std::{
    fmt::Write as _,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use addsvc::{Adder, Endpoints, Options, grpc_app, http_app, json_rpc_app, server_layers};
use clap::Parser;
use flags::AuthScheme;
use tokio::net::TcpListener;
use towerkit::{
    core::BoxError,
    log::{Background, Format, LineFormatter},
    metrics::Registry,
    server::{Health, Server},
};
use tracing_subscriber::{
    Layer, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt,
};

/// go-kit's add service on towerkit.
#[derive(Debug, Parser)]
struct Args {
    /// Address for HTTP, and for the transports without an address of their own; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8081")]
    addr: String,

    /// Address for gRPC; that of HTTP by default.
    #[arg(long)]
    grpc_addr: Option<String>,

    /// Address for JSON-RPC; that of HTTP by default.
    #[arg(long)]
    jsonrpc_addr: Option<String>,

    /// Calls per second of each operation.
    #[arg(long, default_value_t = 1000)]
    rate: u32,

    /// Time that a call may take, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    timeout_ms: u64,

    /// Sends errors in the form of go-kit's addsvc.
    #[arg(long)]
    go_kit_errors: bool,

    /// Authentication of callers: basic:FILE, api-key:FILE or jwt:URL; without one, anyone may call.
    #[arg(long, value_name = "SCHEME")]
    auth: Option<AuthScheme>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("addsvc: {error}");
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

    let options = Options {
        rate: args.rate,
        timeout: Duration::from_millis(args.timeout_ms),
        go_kit_errors: args.go_kit_errors,
        auth: args.auth.clone(),
    };
    let registry = Registry::new();
    // One set of endpoints for all transports: a rate limit counts the calls of all of them.
    let endpoints = server_layers(Endpoints::new(Adder), &options)?;
    let mut http = http_app(endpoints.clone(), &options, &registry)?;
    let health = Health::new();
    let grpc = grpc_app(endpoints.clone(), &options, &registry, &health)?;
    let json_rpc = json_rpc_app(endpoints, &options, &registry)?;

    let main = listen(&args.addr).await?;
    let mut server = Server::new().health(health);
    let mut lines = format!("listening on {}\n", main.local_addr()?);
    let others = [
        (&args.grpc_addr, grpc, "gRPC"),
        (&args.jsonrpc_addr, json_rpc, "JSON-RPC"),
    ];
    for (address, app, transport) in others {
        let Some(address) = address else {
            http = http.merge(app);
            continue;
        };
        let listener = listen(address).await?;
        let _ = writeln!(lines, "{transport} on {}", listener.local_addr()?);
        server = server.listen(listener, app);
    }
    let running = server.listen(main, http).run_until_signal()?;
    // A service serves as well if its output is closed.
    let _ = io::stdout().write_all(lines.as_bytes());
    running.await;
    Ok(())
}

async fn listen(address: &str) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| format!("cannot listen on {address}: {error}"))
}
