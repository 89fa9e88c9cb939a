use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch};
use towerkit_core::{
    BoxError, Clock,
    sync::{AtomicU64, AtomicUsize, Mutex, Ordering, lock},
};

use crate::load_schedule::{Decision, LoadSchedule, Reason};

/// The callers that may wait for one load.
const MAX_WAITING: usize = 1024;

/// Loads something for all callers together: one load at a time, in a task of its own if it has to wait.
///
/// The task outlives the callers that wait for it, so that a caller that goes away does not end the load for the others.
pub(crate) struct Loader {
    clock: Clock,
    schedule: Mutex<LoadSchedule>,
    /// The time of the next load, for a look without the lock. [`u64::MAX`] during a load.
    due: AtomicU64,
    /// Changes with the end of each load.
    ended: watch::Sender<Option<Arc<str>>>,
    waiting: AtomicUsize,
}

/// A caller that waits for the end of a load.
pub(crate) struct Waiter {
    loader: Arc<Loader>,
    ended: watch::Receiver<Option<Arc<str>>>,
}

/// The load in progress. Without an end of its own it has failed.
struct Running {
    loader: Arc<Loader>,
    has_ended: bool,
}

impl Loader {
    pub(crate) fn new(clock: Clock, unknown_key_interval: u64) -> Arc<Self> {
        Arc::new(Self {
            clock,
            schedule: Mutex::new(LoadSchedule::new(unknown_key_interval)),
            due: AtomicU64::new(0),
            ended: watch::channel(None).0,
            waiting: AtomicUsize::new(0),
        })
    }

    /// Returns true if it is time for a load.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        // Relaxed: the schedule decides.
        self.clock.now() >= self.due.load(Ordering::Relaxed)
    }

    /// Notes that something was loaded otherwise.
    pub(crate) fn loaded(&self, lifetime: u64) {
        let mut schedule = lock(&self.schedule);
        schedule.end(Some(lifetime), self.clock.now());
        self.due.store(schedule.due(), Ordering::Relaxed);
    }

    /// Starts a load, or joins the one in progress; `None` if it is too early, or if too many callers wait.
    ///
    /// `load` returns the time for which its result is good, in nanoseconds.
    pub(crate) fn start<F>(
        self: &Arc<Self>,
        reason: Reason,
        load: impl FnOnce() -> F,
    ) -> Option<Waiter>
    where
        F: Future<Output = Result<u64, BoxError>> + Send + 'static,
    {
        let waiter = Waiter::new(self);
        let decision = {
            let mut schedule = lock(&self.schedule);
            let decision = schedule.begin(reason, self.clock.now());
            if decision == Decision::Load {
                self.due.store(u64::MAX, Ordering::Relaxed);
            }
            decision
        };
        match decision {
            Decision::Refuse => return None,
            Decision::Join => {}
            Decision::Load => {
                let running = Running {
                    loader: Arc::clone(self),
                    has_ended: false,
                };
                running.begin(load);
            }
        }
        waiter
    }

    /// Returns the time until the next attempt after a failed load.
    pub(crate) fn retry_after(&self) -> Duration {
        lock(&self.schedule).retry_after(self.clock.now())
    }

    fn end(&self, result: Result<u64, Arc<str>>) {
        let mut schedule = lock(&self.schedule);
        schedule.end(result.as_ref().ok().copied(), self.clock.now());
        self.due.store(schedule.due(), Ordering::Relaxed);
        drop(schedule);
        self.ended.send_replace(result.err());
    }
}

impl Running {
    /// Polls the load once, and spawns a task if there is more to do.
    ///
    /// Without a runtime, or after a panic, the load has failed: by the drop.
    fn begin<F>(self, load: impl FnOnce() -> F)
    where
        F: Future<Output = Result<u64, BoxError>> + Send + 'static,
    {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let first_poll = catch_unwind(AssertUnwindSafe(|| {
            let mut load = Box::pin(load());
            let polled = load.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            (load, polled)
        }));
        match first_poll {
            Ok((_, Poll::Ready(result))) => self.end(result),
            Ok((load, Poll::Pending)) => {
                runtime.spawn(async move { self.end(load.await) });
            }
            Err(_) => {}
        }
    }

    fn end(mut self, result: Result<u64, BoxError>) {
        self.has_ended = true;
        self.loader
            .end(result.map_err(|error| describe(&*error).into()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended {
            self.loader.end(Err("the load was interrupted".into()));
        }
    }
}

impl Waiter {
    /// Takes the place of a caller that waits, if there is one.
    fn new(loader: &Arc<Loader>) -> Option<Self> {
        // Relaxed: a count of its own.
        if loader.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            loader.waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self {
            ended: loader.ended.subscribe(),
            loader: Arc::clone(loader),
        })
    }

    /// Waits for the end of the load, and returns its error.
    pub(crate) async fn wait(mut self) -> Result<(), Arc<str>> {
        // The loader has the sender, and this waiter has the loader.
        let _ = self.ended.changed().await;
        match &*self.ended.borrow() {
            Some(error) => Err(Arc::clone(error)),
            None => Ok(()),
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.loader.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("schedule", &*lock(&self.schedule))
            .finish_non_exhaustive()
    }
}

/// Returns the messages of an error and its sources.
pub(crate) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
