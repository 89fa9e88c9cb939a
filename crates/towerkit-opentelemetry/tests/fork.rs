//! TR-10: a process that was forked has other ids.
//!
//! Runs without the test harness, whose threads a fork would lose.

use std::{collections::HashSet, error::Error, fs, process};

use fork::{Fork, fork, waitpid};
use towerkit_opentelemetry::{
    SpanPipeline,
    opentelemetry::trace::{Span, Tracer},
};

const SPANS: usize = 1000;

/// The ids of spans of a pipeline of its own.
fn draw() -> Result<Vec<String>, Box<dyn Error>> {
    let spans = SpanPipeline::new("forked").otlp_grpc("http://127.0.0.1:1")?;
    let tracer = spans.tracer();
    let ids = (0..SPANS).flat_map(|_| {
        let span = tracer.start("work");
        let context = span.span_context();
        [
            context.trace_id().to_string(),
            context.span_id().to_string(),
        ]
    });
    Ok(ids.collect())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    if has("--list") {
        // Lists the tests as a harness does; no test is ignored.
        if !has("--ignored") {
            println!("{TEST}: test");
        }
        return Ok(());
    }
    check()?;
    println!("test {TEST} ... ok\n");
    println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
    Ok(())
}

const TEST: &str = "a_process_that_was_forked_has_other_ids";

fn check() -> Result<(), Box<dyn Error>> {
    // The first random number of a thread asks the system, so draw it before the fork.
    let before = draw()?;
    let path = std::env::temp_dir().join(format!("towerkit-forked-{}", process::id()));
    match fork()? {
        Fork::Child => {
            fs::write(&path, draw()?.join("\n"))?;
            process::exit(0);
        }
        Fork::Parent(child) => {
            let here = draw()?;
            waitpid(child)?;
            let there = fs::read_to_string(&path)?;
            fs::remove_file(&path)?;
            let there: Vec<_> = there.lines().map(str::to_owned).collect();
            let ids: HashSet<_> = before.into_iter().chain(here).chain(there).collect();
            assert_eq!(ids.len(), 3 * 2 * SPANS);
        }
    }
    Ok(())
}
