use std::{
    fs,
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tower::ServiceExt;
use towerkit::{circuitbreaker::State, core::BoxError};

use crate::{
    Demo, Upstream, UpstreamState,
    client::{CallResult, Stack, StackLayer, get},
    html,
    second::{Counters, Results, Second},
};

/// The states of the upstream, one after the other.
const STATES: [UpstreamState; 5] = [
    UpstreamState::Healthy,
    UpstreamState::SlowTail,
    UpstreamState::Flaky,
    UpstreamState::Down,
    UpstreamState::Healthy,
];

/// The scenario, with the whole stack or without one of its layers.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) without: Option<StackLayer>,
    pub(crate) seconds: Vec<Second>,
    /// The state of the breaker, and the seconds since the start at which it changed.
    pub(crate) breaker: Vec<(f64, State)>,
}

/// Calls an upstream through the stack of a client while the upstream changes its state, and prints a line each second.
///
/// With [`html`](Demo::html), the same scenario also runs without each of the layers, and a page with plots of all runs is written.
///
/// # Errors
///
/// If the upstream cannot be served, the limit is out of range, or the page cannot be written.
pub async fn demo(args: &Demo) -> Result<(), BoxError> {
    let Some(path) = &args.html else {
        run(args, None).await?;
        return Ok(());
    };
    let (whole, without_limit, without_retry, without_hedge, without_breaker, without_timeout) = tokio::try_join!(
        run(args, None),
        run(args, Some(StackLayer::RateLimit)),
        run(args, Some(StackLayer::Retry)),
        run(args, Some(StackLayer::Hedge)),
        run(args, Some(StackLayer::CircuitBreaker)),
        run(args, Some(StackLayer::Timeout)),
    )?;
    let without = [
        without_breaker,
        without_hedge,
        without_retry,
        without_limit,
        without_timeout,
    ];
    let page = html::page(args, &whole, &without);
    fs::write(path, page).map_err(|error| format!("--html {}: {error}", path.display()))?;
    print(&format!("the plots are in {}", path.display()));
    Ok(())
}

async fn run(args: &Demo, without: Option<StackLayer>) -> Result<Run, BoxError> {
    let upstream = Upstream::default();
    let addr = upstream.serve().await?;
    let stack = Stack::new(args.limit, without)?;
    let results = Arc::new(Mutex::new(Results::default()));
    let mut run = Run {
        without,
        seconds: Vec::new(),
        breaker: vec![(0.0, stack.breaker.state())],
    };
    let mut tick = interval(Duration::from_secs(1) / args.rate);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut before = Counters::read(&stack, &upstream);
    if without.is_none() {
        print(Second::HEADER);
    }
    let mut calls = JoinSet::new();
    let start = Instant::now();
    for second in 0..args.seconds * STATES.len() as u32 {
        let state = STATES[(second / args.seconds) as usize];
        upstream.set_state(state);
        for _ in 0..args.rate {
            tick.tick().await;
            let breaker = stack.breaker.state();
            if run.breaker.last().is_none_or(|last| last.1 != breaker) {
                run.breaker.push((start.elapsed().as_secs_f64(), breaker));
            }
            let (call, results) = (stack.service.clone().oneshot(get(addr)), results.clone());
            calls.spawn(async move {
                let start = Instant::now();
                let result = call.await.unwrap_or(CallResult::Failed);
                lock(&results).add(result, start.elapsed());
            });
        }
        if second + 1 == args.seconds * STATES.len() as u32 {
            // The last line counts all calls in flight.
            while calls.join_next().await.is_some() {}
        }
        let counters = Counters::read(&stack, &upstream);
        let results = mem::take(&mut *lock(&results));
        let line = Second::new(second + 1, state, results, counters, before);
        if without.is_none() {
            print(&line.to_string());
        }
        run.seconds.push(line);
        before = counters;
    }
    Ok(run)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints a line. A closed standard output does not end the demo.
fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
