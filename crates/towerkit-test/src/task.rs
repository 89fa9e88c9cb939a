use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// A future that the test polls by hand, with a count of its wake-ups.
pub struct Task<T> {
    future: Option<Pin<Box<dyn Future<Output = T>>>>,
    wakes: Arc<Wakes>,
}

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl<T> Task<T> {
    /// Makes a task that is not polled yet.
    pub fn new(future: impl Future<Output = T> + 'static) -> Self {
        Self {
            future: Some(Box::pin(future)),
            wakes: Arc::default(),
        }
    }

    /// Polls the future once, and drops it once it is ready.
    ///
    /// # Panics
    ///
    /// Panics if the task is over.
    pub fn poll(&mut self) -> Poll<T> {
        let waker = Waker::from(self.wakes.clone());
        let future = self.future.as_mut().expect("the task goes on");
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }

    /// Returns the number of wake-ups since the last call of this method.
    pub fn take_wakes(&self) -> u32 {
        self.wakes.0.swap(0, Ordering::SeqCst)
    }

    /// Drops the future.
    pub fn cancel(&mut self) {
        self.future = None;
    }

    /// Returns true if the future was dropped.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.future.is_none()
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("is_over", &self.is_over())
            .finish_non_exhaustive()
    }
}
