use tokio::time::Instant;
use towerkit_core::Clock;

/// A clock that follows tokio's time, also where that is paused, so that a policy and a sleep agree.
///
/// To be made inside the runtime that it follows.
#[must_use]
pub fn tokio_clock() -> Clock {
    let origin = Instant::now();
    Clock::custom(move || origin.elapsed())
}

/// Runs a future to its end on a runtime of its own whose time is paused: it jumps to the next timer when nothing else can go on.
///
/// # Panics
///
/// If no runtime can be made.
pub fn run_paused<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O")
        .block_on(future)
}
