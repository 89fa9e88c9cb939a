//! A log line, a trace and metrics of the same calls, as those who receive them see them.
//!
//! `just demo-observability` builds stringsvc and trace-relay and runs this: it starts both, a receiver of OTLP, and Prometheus; makes a
//! few calls, good and bad; and prints the tree of one trace, the log lines that belong to it, the metrics with their exemplars, and
//! what Prometheus has made of them. It ends with code 1 if something of that is missing.

mod calls;
mod collector;
mod process;
mod prometheus;
mod report;
mod tree;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use towerkit::{core::BoxError, opentelemetry::SpanPipeline};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    calls::Calls, collector::Collector, process::Process, prometheus::Prometheus, report::Report,
};

/// Shows what is observed of calls.
#[derive(Debug, Parser)]
struct Args {
    /// Program of Prometheus; Debian's package is called prometheus.
    #[arg(long, default_value = "prometheus")]
    prometheus: PathBuf,

    /// Does without Prometheus.
    #[arg(long, conflicts_with = "prometheus")]
    no_prometheus: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("observability: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<Report, BoxError> {
    const LIMIT: Duration = Duration::from_secs(60);
    let collector = Collector::start().await?;
    let spans = SpanPipeline::new("demo").otlp_grpc(&collector.endpoint())?;
    tracing_subscriber::registry()
        .with(spans.layer())
        .try_init()?;

    let limits = ["--rate", "1", "--burst", "5", "--otlp"];
    let mut strings = Process::start("stringsvc", &limits, &collector.endpoint())?;
    let mut relay = Process::start("trace-relay", &["--otlp-grpc"], &collector.endpoint())?;
    strings.answers().await?;
    relay.answers().await?;
    let prometheus = match args.no_prometheus {
        true => None,
        false => Some(Prometheus::start(&args.prometheus, strings.addr()).await?),
    };

    let calls = Calls::make(relay.addr(), strings.addr()).await?;
    let scrape = calls::scrape(strings.addr()).await?;
    let queried = match &prometheus {
        Some(prometheus) => Some(prometheus.ask().await?),
        None => None,
    };

    spans.shutdown(LIMIT)?;
    relay.stop("INT")?;
    let log = strings.stop("TERM")?;
    Report::new(calls, &collector.received(), &log, &scrape, queried)
}
