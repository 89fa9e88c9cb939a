use std::{
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
use towerkit::core::BoxError;

use crate::{
    Demo, Mood, Upstream,
    client::{Fate, Stack, get},
    table::{Line, Seen, Tally},
};

/// The moods of the upstream, one after the other.
const MOODS: [Mood; 5] = [
    Mood::Well,
    Mood::SlowTail,
    Mood::Flaky,
    Mood::Down,
    Mood::Well,
];

/// Calls an upstream through the stack of a client while it goes through its moods, and writes a line each second.
///
/// # Errors
///
/// If the upstream cannot be served, or the limit makes no sense.
pub async fn demo(args: &Demo) -> Result<(), BoxError> {
    let upstream = Upstream::default();
    let addr = upstream.serve().await?;
    let stack = Stack::new(args.limit)?;
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut tick = interval(Duration::from_secs(1) / args.rate);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut before = Seen::of(&stack, &upstream);
    write(Line::HEADER);
    let mut calls = JoinSet::new();
    for second in 0..args.seconds * MOODS.len() as u32 {
        let mood = MOODS[(second / args.seconds) as usize];
        upstream.be(mood);
        for _ in 0..args.rate {
            tick.tick().await;
            let (call, tally) = (stack.service.clone().oneshot(get(addr)), tally.clone());
            calls.spawn(async move {
                let start = Instant::now();
                let fate = call.await.unwrap_or(Fate::Failed);
                lock(&tally).add(fate, start.elapsed());
            });
        }
        if second + 1 == args.seconds * MOODS.len() as u32 {
            // The last line tells of all that are still under way.
            while calls.join_next().await.is_some() {}
        }
        let seen = Seen::of(&stack, &upstream);
        let tally = mem::take(&mut *lock(&tally));
        write(&Line::new(second + 1, mood, tally, seen, before).to_string());
        before = seen;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a line; whether anyone reads it is not the program's business.
fn write(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
