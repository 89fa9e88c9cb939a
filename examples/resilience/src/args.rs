use std::{net::SocketAddr, time::Duration};

use clap::{Parser, Subcommand};

/// Every way to protect a service and its callers, under load.
#[derive(Debug, Clone, Parser)]
pub struct Args {
    /// What to run; the demo by default.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The programs in this one.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Calls an upstream that goes from well to down and back, through the stack of a client, and prints each second.
    Demo(Demo),
    /// Serves work of which so many at a time can be done, and sheds the rest.
    Serve(Serve),
    /// Sends so many requests a second, whatever becomes of them.
    Load(LoadArgs),
}

/// The demo.
#[derive(Debug, Clone, clap::Args)]
pub struct Demo {
    /// Calls a second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,

    /// Calls that the limit admits a second.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,

    /// Seconds that the upstream stays in each of its moods.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
}

impl Default for Demo {
    fn default() -> Self {
        Self {
            rate: 200,
            limit: 100,
            seconds: 4,
        }
    }
}

/// The server under load.
#[derive(Debug, Clone, clap::Args)]
pub struct Serve {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub addr: SocketAddr,

    /// Pieces of work at a time.
    #[arg(long, default_value_t = 20)]
    pub slots: u32,

    /// Milliseconds that a piece of work takes.
    #[arg(long, default_value = "20", value_parser = millis)]
    pub work: Duration,
}

/// The load.
#[derive(Debug, Clone, clap::Args)]
pub struct LoadArgs {
    /// The server.
    pub addr: SocketAddr,

    /// The path.
    #[arg(long, default_value = "/work")]
    pub path: String,

    /// Requests a second.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,

    /// Seconds to go on for.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,

    /// Connections.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
}

fn millis(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_millis)
}
