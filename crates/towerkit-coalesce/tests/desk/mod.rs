//! A service whose calls are answered by hand, and tasks that are polled by hand.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use tower_service::Service;

/// An error that can neither be cloned nor compared.
#[derive(Debug)]
pub(crate) struct Failed;

/// What became of a call: nothing yet, an answer that waits to be taken, or its end.
#[derive(Debug)]
enum Line {
    Open(Option<Waker>),
    Answered(Option<Result<u64, Failed>>),
    Dropped,
}

/// Answers calls when it is told to. Cloning it is free, and it is always ready.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desk(Arc<Mutex<Vec<(u8, Line)>>>);

impl Desk {
    /// Returns the keys of all calls so far, in the order in which they came.
    pub(crate) fn calls(&self) -> Vec<u8> {
        let lines = self.0.lock().unwrap();
        lines.iter().map(|(key, _)| *key).collect()
    }

    /// Returns which calls are open.
    pub(crate) fn open(&self) -> Vec<usize> {
        let lines = self.0.lock().unwrap();
        let is_open = |at: &usize| matches!(lines[*at].1, Line::Open(_));
        (0..lines.len()).filter(is_open).collect()
    }

    /// Answers a call, with its number or with a failure.
    pub(crate) fn answer(&self, call: usize, is_good: bool) {
        let result = if is_good {
            Ok(call as u64)
        } else {
            Err(Failed)
        };
        let line = &mut self.0.lock().unwrap()[call].1;
        let old = std::mem::replace(line, Line::Answered(Some(result)));
        if let Line::Open(Some(waker)) = old {
            waker.wake();
        }
    }
}

impl Service<u8> for Desk {
    type Response = u64;
    type Error = Failed;
    type Future = DeskCall;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, key: u8) -> DeskCall {
        let mut lines = self.0.lock().unwrap();
        lines.push((key, Line::Open(None)));
        DeskCall {
            desk: self.clone(),
            at: lines.len() - 1,
        }
    }
}

#[derive(Debug)]
pub(crate) struct DeskCall {
    desk: Desk,
    at: usize,
}

impl Future for DeskCall {
    type Output = Result<u64, Failed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.desk.0.lock().unwrap()[self.at].1 {
            Line::Open(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Line::Answered(result) => Poll::Ready(result.take().expect("polled once")),
            Line::Dropped => unreachable!("it is not dropped"),
        }
    }
}

impl Drop for DeskCall {
    fn drop(&mut self) {
        let line = &mut self.desk.0.lock().unwrap()[self.at].1;
        if matches!(line, Line::Open(_)) {
            *line = Line::Dropped;
        }
    }
}

/// A future that is polled by hand, and how often it was woken.
pub(crate) struct Task<T> {
    future: Option<Pin<Box<dyn Future<Output = T>>>>,
    wakes: Arc<Wakes>,
}

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl<T> Task<T> {
    pub(crate) fn new(future: impl Future<Output = T> + 'static) -> Self {
        Self {
            future: Some(Box::pin(future)),
            wakes: Arc::default(),
        }
    }

    /// Polls once; the future is dropped when it is ready.
    pub(crate) fn poll(&mut self) -> Poll<T> {
        let waker = Waker::from(self.wakes.clone());
        let future = self.future.as_mut().expect("not polled after completion");
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }

    /// Returns how often it was woken since it was asked last.
    pub(crate) fn wakes(&self) -> u32 {
        self.wakes.0.swap(0, Ordering::Relaxed)
    }

    /// Drops the future.
    pub(crate) fn abandon(&mut self) {
        self.future = None;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.future.is_none()
    }
}
