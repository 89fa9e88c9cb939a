use tokio::time::Instant;
use towerkit_core::Clock;

/// Makes a clock that follows the time of tokio, also while it is [paused](tokio::time::pause), so that policies and timers agree.
///
/// Call it inside of the runtime whose time it follows.
#[must_use]
pub fn tokio_clock() -> Clock {
    let origin = Instant::now();
    Clock::custom(move || origin.elapsed())
}

/// Runs a future on a runtime of its own with [paused](tokio::time::pause) time, which advances to the next timer when no task can
/// continue.
///
/// # Panics
///
/// Panics if it cannot make a runtime.
pub fn run_paused<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O")
        .block_on(future)
}
