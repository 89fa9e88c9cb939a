//! Measures towerkit beside its peers, interleaved, and prints the tables that `docs/benchmarks.md` keeps.

use std::{env, process::Command};

use towerkit_benches::{Allocations, Bench, Table, catalogue, runtime};

fn main() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let filter = env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let allocations = allocations();
    let mut bench = Bench::new(filter.unwrap_or_default());
    catalogue(&mut bench);
    for group in bench.finish() {
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
