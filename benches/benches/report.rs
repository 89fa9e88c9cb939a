//! Measures towerkit beside its peers, interleaved, and prints the tables that `docs/benchmarks.md` keeps.

use std::env;
use std::process::Command;

use towerkit_benches::Allocations;
use towerkit_benches::Bench;
use towerkit_benches::Table;
use towerkit_benches::catalogue;
use towerkit_benches::runtime;

fn main() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let filter = env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let allocations = allocations();
    let mut bench = Bench::default();
    catalogue(&mut bench);
    for group in bench.run(&filter.unwrap_or_default()) {
        let table = Table {
            group: &group,
            allocations: &allocations,
        };
        println!("{table}");
    }
}

/// Runs the count, which is a process of its own.
fn allocations() -> Allocations {
    let output = Command::new(env!("CARGO_BIN_EXE_allocations"))
        .output()
        .expect("the count runs");
    Allocations::read(&String::from_utf8_lossy(&output.stdout))
}
