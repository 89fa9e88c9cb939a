use std::{error::Error, fmt::Write, io, process::Command, sync::Arc};

use clap::Parser;
use stringsvc::{Args, Strings, Telemetry};
use tokio::net::TcpListener;
use towerkit_metrics::Registry;

use crate::{Pairs, Server};

/// stringsvc's routes with nothing around them, or with its stack: what the loopback benchmark compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// The routes alone.
    Bare,
    /// The whole stack; a line for each call goes to standard error.
    Logging,
    /// The whole stack, with the log off.
    Silent,
}

impl Served {
    const ALL: [Self; 3] = [Self::Bare, Self::Logging, Self::Silent];

    /// Returns the command that serves this from the running program, which calls [`serve_if_told`] at its start.
    ///
    /// # Panics
    ///
    /// If the operating system does not know what runs.
    #[must_use]
    pub fn command(self) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("a program runs"));
        command.env(TOLD, self.name());
        command
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Logging => "logging",
            Self::Silent => "silent",
        }
    }

    async fn serve(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let routes = stringsvc::routes(Arc::new(Strings));
        if self == Self::Bare {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            println!("listening on {}", listener.local_addr()?);
            axum::serve(listener, routes).await?;
            return Ok(());
        }
        let args = self.args();
        let app = stringsvc::app(routes, &args, &Registry::new())?;
        let _telemetry = Telemetry::start(&args)?;
        Ok(stringsvc::serve(app, &args).await?)
    }

    /// The rate stands far above the load.
    fn args(self) -> Args {
        let log = if self == Self::Silent { "off" } else { "info" };
        let plenty = "1000000000";
        Args::parse_from([
            "stringsvc",
            "--addr",
            "127.0.0.1:0",
            "--rate",
            plenty,
            "--burst",
            plenty,
            "--log",
            log,
        ])
    }
}

/// How a process is told that it is to serve.
const TOLD: &str = "TOWERKIT_BENCHES_SERVE";

/// Serves for as long as the process lives, if it was started by [`Served::command`].
///
/// # Panics
///
/// If it cannot be served.
pub fn serve_if_told() {
    let Ok(told) = std::env::var(TOLD) else {
        return;
    };
    let served = Served::ALL.into_iter().find(|served| served.name() == told);
    let served = served.expect("one of the names");
    // As `#[tokio::main]` makes it for stringsvc.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(served.serve()).expect("it is served");
    std::process::exit(0);
}

/// Measures what stringsvc's stack leaves of bare axum's requests a second, as a table.
///
/// # Errors
///
/// If a server does not start, or breaks off.
pub fn loopback() -> io::Result<String> {
    let mut table = "| stringsvc over loopback, requests/s | bare axum | whole stack | share |\n\
                     |---|---:|---:|---:|\n"
        .to_owned();
    for (served, name) in [
        (Served::Silent, "log off"),
        (Served::Logging, "log to /dev/null"),
    ] {
        let bare = Server::start(&mut Served::Bare.command())?;
        let full = Server::start(&mut served.command())?;
        let pairs = Pairs::measure(&bare, &full)?;
        let (bare, full, share) = (pairs.bare(), pairs.full(), pairs.share());
        let _ = writeln!(table, "| {name} | {bare:.0} | {full:.0} | {share:.3} |");
    }
    Ok(table)
}
