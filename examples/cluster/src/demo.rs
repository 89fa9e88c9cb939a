use std::{
    fs,
    io::{self, Write},
    time::Duration,
};

use resilience::Load;
use towerkit::core::BoxError;

use crate::{Args, Instance, Phase, Registry, Second, front, html, instance::DELAY};

/// How long the slow instance takes.
const SLOW: Duration = DELAY.saturating_mul(20);

/// Connections of the load generator to the front, each with one call at a time.
const CONNECTIONS: usize = 50;

/// Runs the phases under load, prints a line each second, and returns the lines.
///
/// # Errors
///
/// If the registry cannot be used, no port is free, or the page cannot be written.
pub async fn demo(args: &Args) -> Result<Vec<Second>, BoxError> {
    let registry = Registry::new(&args.registry)?;
    let [mut a, mut b, mut c] = [
        Instance::start(&registry).await?,
        Instance::start(&registry).await?,
        Instance::start(&registry).await?,
    ];
    let discovery = registry.discover()?;
    while discovery.ready().await.instances.len() < 3 {
        discovery.clone().changed().await;
    }
    let address = front(&discovery).await?;
    print(Second::HEADER);
    let mut seconds = Vec::new();
    let mut before = [&a, &b, &c].map(Instance::calls);
    for phase in Phase::ALL {
        match phase {
            Phase::AllWell => {}
            Phase::Killed => b.kill(),
            Phase::Restarted => b.restart(&registry).await?,
            Phase::Slow => c.set_delay(SLOW),
            Phase::Recovered => c.set_delay(DELAY),
        }
        for _ in 0..args.seconds {
            let load = Load {
                addr: address,
                path: "/".to_owned(),
                rate: args.rate,
                time: Duration::from_secs(1),
                connections: CONNECTIONS,
            };
            let report = load.run().await;
            let latencies = report.latencies();
            let calls = [&a, &b, &c].map(Instance::calls);
            let second = Second {
                second: seconds.len() as u32 + 1,
                phase,
                known: discovery.current().instances.len(),
                arrived: [0, 1, 2].map(|index| calls[index] - before[index]),
                served: latencies.len() as u64,
                failed: report.failures(),
                p50: percentile(&latencies, 50),
                p99: percentile(&latencies, 99),
            };
            before = calls;
            print(&second.to_string());
            seconds.push(second);
        }
    }
    if let Some(path) = &args.html {
        let page = html::page(args, &seconds);
        fs::write(path, page).map_err(|error| format!("--html {}: {error}", path.display()))?;
        print(&format!("the plots are in {}", path.display()));
    }
    for instance in [&mut a, &mut b, &mut c] {
        instance.kill();
    }
    Ok(seconds)
}

fn print(line: &str) {
    // The demo goes on if its output is closed.
    let _ = writeln!(io::stdout(), "{line}");
}

/// Returns a percentile of sorted latencies.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(index).copied().unwrap_or_default()
}
