//! Runs the proved bugs of the peers against the peers, and the same scenario against towerkit, and prints what comes out.
//!
//! The ids are those of the project's acceptance cases. A peer that has mended a bug since shows it here.

mod breakers;
mod bulkheads;
mod callee;
mod coalescing;
mod http_calls;
mod keys;
mod limiters;
mod log_lines;
mod metrics;
mod retries;
mod spans;
mod tracing_layer;

use towerkit_benches::runtime;

/// A bug, and what it looks like.
struct Bug {
    id: &'static str,
    peer: &'static str,
    what: &'static str,
    expected: &'static str,
    observed: String,
    ours: String,
}

fn main() {
    let runtime = runtime();
    let _entered = runtime.enter();
    std::panic::set_hook(Box::new(|_| {}));
    println!("| case | peer | scenario | expected | observed | towerkit |");
    println!("|---|---|---|---|---|---|");
    for bug in all() {
        let Bug { id, peer, what, .. } = bug;
        let version = version_of(peer);
        let (expected, observed, ours) = (bug.expected, bug.observed, bug.ours);
        println!("| {id} | {peer} {version} | {what} | {expected} | {observed} | {ours} |");
    }
}

fn all() -> Vec<Bug> {
    let mut bugs = breakers::bugs();
    bugs.extend(limiters::bugs());
    bugs.extend(keys::bugs());
    bugs.extend(bulkheads::bugs());
    bugs.extend(retries::bugs());
    bugs.extend(coalescing::bugs());
    bugs.extend(metrics::bugs());
    bugs.extend(tracing_layer::bugs());
    bugs.extend(spans::bugs());
    bugs.extend(log_lines::bugs());
    bugs
}

/// Looks up the version that was built.
fn version_of(package: &str) -> &'static str {
    const LOCK: &str = include_str!("../../../../Cargo.lock");
    let entry = format!("name = \"{package}\"\nversion = \"");
    let after = LOCK.split_once(&entry).map_or("", |(_, after)| after);
    after.split('"').next().unwrap_or_default()
}
