use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};

/// The layers that protect a service and its callers, under load.
#[derive(Debug, Clone, Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// The program to run; the demo by default.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The flags of the demo.
    #[command(flatten)]
    pub demo: Demo,
}

/// The programs of this package.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Calls an upstream that goes from healthy to down and back, through the stack of a client, and prints a line each second.
    Demo(Demo),
    /// Serves a limited number of requests at a time, and rejects the others.
    Serve(Serve),
    /// Sends requests to a server at a constant rate.
    Load(LoadArgs),
}

/// The demo.
#[derive(Debug, Clone, clap::Args)]
pub struct Demo {
    /// Calls a second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,

    /// Calls a second that the rate limit admits.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,

    /// Seconds that the upstream stays in each of its states.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,

    /// Also runs the demo without each of the layers, and writes a page with plots to this file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// The server under load.
#[derive(Debug, Clone, clap::Args)]
pub struct Serve {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub addr: SocketAddr,

    /// Requests that are served at a time.
    #[arg(long, default_value_t = 20)]
    pub slots: u32,

    /// Milliseconds that each request takes.
    #[arg(long, default_value = "20", value_parser = millis)]
    pub work: Duration,
}

/// The load.
#[derive(Debug, Clone, clap::Args)]
pub struct LoadArgs {
    /// Address of the server.
    pub addr: SocketAddr,

    /// Path of the requests.
    #[arg(long, default_value = "/work")]
    pub path: String,

    /// Requests a second.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,

    /// Seconds of load.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,

    /// Connections, each of which carries one request at a time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
}

fn millis(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_millis)
}
