use tokio::runtime::{Builder, Runtime};

/// Makes a runtime for the timers, and the upkeep, of those who need one. The calls themselves are polled by hand.
///
/// # Panics
///
/// If the operating system gives no thread.
#[must_use]
pub fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_time();
    builder.build().expect("a thread")
}
