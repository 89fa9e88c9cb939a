use std::path::PathBuf;

use clap::Parser;

/// Three instances behind a load balancer, of which one is killed, started again, and made slow, under load.
#[derive(Debug, Clone, Parser)]
pub struct Args {
    /// The registry: memory, or the URL of one, such as etcd://127.0.0.1:2379/demo, consul://127.0.0.1:8500/demo or
    /// zk://127.0.0.1:2181/demo; etcd, consul and zk mean these.
    #[arg(long, default_value = "memory")]
    pub registry: String,

    /// Calls a second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,

    /// Seconds of each phase.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,

    /// Also writes a page with plots to this file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}
