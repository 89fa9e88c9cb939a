//! Measures towerkit beside its peers, interleaved, and prints it as Markdown.
//!
//! `cargo bench --bench report -- [FILTER] [--write FILE]`: only the groups whose title contains the filter, or the servers for the filter
//! `loopback`; the whole of it is appended to the file, if one is named.

use std::{
    env,
    fmt::Write,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use towerkit_benches::{Allocations, Bench, Machine, Table, catalogue, loopback, runtime};

/// What the document says before its first run.
const HEADER: &str = include_str!("report.md");

/// The filter that measures servers only.
const LOOPBACK: &str = "loopback";

fn main() -> io::Result<()> {
    let (filter, file) = arguments();
    let mut report = layers(&filter);
    if filter.is_empty() || filter == LOOPBACK {
        report += &loopback()?;
    }
    if filter.is_empty() {
        report += "\n";
        report += &said_by(env!("CARGO_BIN_EXE_peer_bugs"));
    }
    println!("{report}");
    match file {
        Some(file) => append(&file, &report),
        None => Ok(()),
    }
}

/// Reads the filter and the file; cargo adds `--bench`.
fn arguments() -> (String, Option<PathBuf>) {
    let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
    let (mut filter, mut file) = (String::new(), None);
    while let Some(argument) = arguments.next() {
        if argument == "--write" {
            file = arguments.next().map(PathBuf::from);
        } else {
            filter = argument;
        }
    }
    (filter, file)
}

fn layers(filter: &str) -> String {
    let runtime = runtime();
    let _entered = runtime.enter();
    // A process of its own, because to count would slow those down that allocate.
    let allocations = Allocations::read(&said_by(env!("CARGO_BIN_EXE_allocations")));
    let mut bench = Bench::new(filter.to_owned());
    catalogue(&mut bench);
    let mut tables = String::new();
    for group in &bench.finish() {
        let allocations = &allocations;
        let _ = writeln!(tables, "{}", Table { group, allocations });
    }
    tables
}

fn said_by(program: &str) -> String {
    let output = Command::new(program)
        .output()
        .expect("a program of this crate");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Appends a run to the document, which contains all earlier runs.
fn append(file: &Path, report: &str) -> io::Result<()> {
    let document = fs::read_to_string(file).unwrap_or_default();
    let number = document
        .lines()
        .filter(|line| line.starts_with("## Run "))
        .count()
        + 1;
    let header = if document.is_empty() { HEADER } else { "" };
    let machine = Machine::here();
    let run = format!(
        "{header}\n## Run {number}\n\n{machine}.\n\n{}\n",
        report.trim_end()
    );
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)?
        .write_all(run.as_bytes())
}
